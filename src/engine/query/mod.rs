//! Queries over the records of one object.
//!
//! The meaning of values, the same everywhere: an absent field is null. Equality is deep; null equals null. Order is defined
//! between two numbers, two strings (by code point) and two booleans (false first); between anything else `$gt` and its like
//! do not hold. In `orderBy`, different kinds are sorted as booleans, numbers, strings, nested values; nulls come last in both
//! directions; records that compare equal stay in the order in which they came.

mod filter;
mod order;
mod parse;

use objectql_sync_protocol::{Fields, Json, RecordId, quoted};

use filter::Condition;
pub use filter::Filter;
use order::OrderBy;

use super::table::Table;

/// The path of a field: its name, or names joined by dots that lead into nested values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// The whole path as one quoted name: a field may have dots in its name.
    whole: String,
    /// The first name, quoted, and the others; none when there is no dot.
    parts: Option<(String, Vec<String>)>,
}

impl Path {
    fn new(text: &str) -> Self {
        let mut names = text.split('.');
        let first = names.next().unwrap_or_default();
        let rest: Vec<String> = names.map(str::to_owned).collect();
        Self { whole: quoted(text), parts: (!rest.is_empty()).then(|| (quoted(first), rest)) }
    }

    fn find<'a>(&self, record: &'a Fields) -> Option<Json<'a>> {
        record.get_quoted(&self.whole).or_else(|| {
            let (first, rest) = self.parts.as_ref()?;
            rest.iter().try_fold(record.get_quoted(first)?, |value, name| value.child(name))
        })
    }
}

/// What to find.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Which records; none: all.
    filter: Option<Filter>,
    /// In which order; none: as they came.
    order_by: Vec<OrderBy>,
    /// How many at most.
    limit: Option<usize>,
    /// How many to pass over first.
    offset: usize,
    /// Which fields, by their quoted names; none: all.
    fields: Option<Vec<String>>,
}

impl Query {
    /// The records found, as a JSON array.
    pub(crate) fn run(&self, table: &Table) -> String {
        let mut out = String::from("[");
        for record in self.select(table) {
            if out.len() > 1 {
                out.push(',');
            }
            match &self.fields {
                None => out.push_str(record.as_str()),
                Some(names) => out
                    .push_str(record.filtered(|name, _| names.iter().any(|wanted| wanted == name)).as_str()),
            }
        }
        out.push(']');
        out
    }

    fn select<'a>(&self, table: &'a Table) -> Vec<&'a Fields> {
        let matching: Box<dyn Iterator<Item = &'a Fields> + '_> =
            match self.condition().and_then(Condition::only_id) {
                Some(id) => Box::new(find_id(table, &id).filter(|record| self.matches(record)).into_iter()),
                None => Box::new(table.visible().filter(|record| self.matches(record))),
            };
        let limit = self.limit.unwrap_or(usize::MAX);
        if self.order_by.is_empty() {
            return matching.skip(self.offset).take(limit).collect();
        }
        let wanted = limit.saturating_add(self.offset);
        let mut sorted = order::sort(matching, &self.order_by, wanted);
        sorted.drain(..self.offset.min(sorted.len()));
        sorted
    }

    fn condition(&self) -> Option<&Condition> {
        self.filter.as_ref().map(|filter| &filter.0)
    }

    fn matches(&self, record: &Fields) -> bool {
        self.condition().is_none_or(|condition| condition.matches(record))
    }
}

/// How many records match.
pub(crate) fn count(table: &Table, filter: Option<&Filter>) -> usize {
    table.visible().filter(|record| filter.is_none_or(|filter| filter.0.matches(record))).count()
}

fn find_id<'a>(table: &'a Table, id: &RecordId) -> Option<&'a Fields> {
    table.get(id)?.visible()
}

#[cfg(test)]
mod tests;
