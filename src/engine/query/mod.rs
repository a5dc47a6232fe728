//! Queries over the records of one object.
//!
//! The meaning of values, the same everywhere: an absent field is null, except for `$exists`. Equality is deep; null equals
//! null. Order is defined between two numbers, two strings (by code point; dates are ISO 8601 strings) and two booleans (false
//! first); between anything else `$gt` and its like do not hold. In `orderBy`, different kinds are sorted as booleans, numbers,
//! strings, nested values; nulls come last in both directions; records that compare equal stay in the order in which they
//! came. A path that leads through an array means any of its elements, unless it names one by its number.

mod aggregate;
mod collection;
mod filter;
mod index;
mod letters;
mod live;
mod order;
mod overlay;
mod parse;
mod pass;
mod plan;
mod prepare;
mod rows;
mod search;

use objectql_sync_protocol::{Fields, Json, quoted};

pub use aggregate::Aggregate;
pub use collection::Found;
pub(crate) use collection::{Collections, Seen};
use filter::Condition;
pub use filter::Filter;
use index::Index;
pub use live::LiveChange;
use order::OrderBy;
use pass::Pass;
use plan::{Plan, Source};
use rows::{RowNumber, Rows};
use search::Search;

/// The path of a field: its name, or names joined by dots that lead into nested values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    /// The whole path as one quoted name: a field may have dots in its name.
    whole: String,
    /// The first name, quoted, and the others; none when there is no dot.
    parts: Option<(String, Vec<String>)>,
}

impl Path {
    pub(crate) fn new(text: &str) -> Self {
        let mut names = text.split('.');
        let first = names.next().unwrap_or_default();
        let rest: Vec<String> = names.map(str::to_owned).collect();
        Self { whole: quoted(text), parts: (!rest.is_empty()).then(|| (quoted(first), rest)) }
    }

    /// The value in a record.
    pub(crate) fn find<'a>(&self, record: &'a Fields) -> Option<Json<'a>> {
        record.get_quoted(&self.whole).or_else(|| {
            let (first, rest) = self.parts.as_ref()?;
            rest.iter().try_fold(record.get_quoted(first)?, |value, name| value.child(name))
        })
    }

    fn is_id(&self) -> bool {
        self.whole == "\"id\""
    }

    /// The name, as JSON text.
    pub(crate) fn name(&self) -> &str {
        &self.whole
    }

    /// Whether a test holds for the value in a record, or for one of the values where the path leads through arrays.
    fn any(&self, record: &Fields, holds: &mut dyn FnMut(Option<Json<'_>>) -> bool) -> bool {
        let value = record.get_quoted(&self.whole);
        match &self.parts {
            Some((first, rest)) if value.is_none() => any_below(record.get_quoted(first), rest, holds),
            _ => holds(value),
        }
    }
}

fn any_below(
    value: Option<Json<'_>>,
    names: &[String],
    holds: &mut dyn FnMut(Option<Json<'_>>) -> bool,
) -> bool {
    let (Some(value), Some((name, rest))) = (value, names.split_first()) else { return holds(value) };
    match value.child(name) {
        None if value.as_str().starts_with('[') => {
            value.elements().any(|element| any_below(Some(element), names, holds))
        }
        child => any_below(child, rest, holds),
    }
}

/// What to find.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Which records; none: all.
    filter: Option<Filter>,
    /// Which of them; in the order of how well they fit, if no other is given.
    search: Option<Search>,
    /// In which order; none: as they came.
    order_by: Vec<OrderBy>,
    /// How many at most.
    limit: Option<usize>,
    /// How many to pass over first.
    offset: usize,
}

impl Query {
    /// The rows found, in order; how they were found, and how many were looked at. What a pass found before need not be looked for,
    /// unless an index has it in the order that is wanted.
    fn run(&self, rows: &Rows, indexes: &[Index], known: Option<&Pass>) -> (Vec<RowNumber>, Plan, usize) {
        let mut plan = self.plan(rows, indexes);
        // Of few that are known it takes less to sort them than to look for them in an index.
        let is_source = |pass: &&Pass| {
            plan.sorted_by.is_none() || self.order_by.is_empty() || pass.found.len() < rows.len() / 16
        };
        let source = known.filter(is_source);
        if source.is_some() {
            (plan.is_exact, plan.sorted_by) = (true, self.order_by.is_empty().then_some(0));
        }
        let condition = self.condition().filter(|_| !plan.is_exact);
        let search = self.search.as_ref();
        let is_sorted = plan.sorted_by.is_some() && !self.is_ranked();
        let end = self.limit.unwrap_or(usize::MAX).saturating_add(self.offset);
        let enough = if is_sorted { end } else { usize::MAX };
        let mut looked_at = 0;
        let mut found: Vec<RowNumber> = Vec::new();
        // Whether to go on.
        let mut visit = |number: RowNumber, record: &Fields| {
            if found.len() >= enough {
                return false;
            }
            looked_at += 1;
            let is_found = match known {
                Some(pass) => source.is_some() || pass.found.binary_search(&number).is_ok(),
                None => {
                    condition.is_none_or(|condition| condition.matches(record))
                        && (self.is_ranked() || search.is_none_or(|search| search.score(record) > 0))
                }
            };
            if is_found {
                found.push(number);
            }
            found.len() < enough
        };
        if let Some(pass) = source {
            for number in &pass.found {
                if rows.fields(*number).is_some_and(|record| !visit(*number, record)) {
                    break;
                }
            }
            looked_at = pass.looked_at;
        } else if let Source::Scan = plan.source {
            // By far the most rows are looked at here.
            for (number, row) in rows.iter() {
                if !visit(number, &row.fields) {
                    break;
                }
            }
        } else {
            for number in self.candidates(&plan, rows, indexes) {
                if rows.fields(number).is_some_and(|record| !visit(number, record)) {
                    break;
                }
            }
        }
        if let Some(search) = search.filter(|_| self.is_ranked()) {
            let found = found.into_iter().filter_map(|number| Some((number, rows.fields(number)?)));
            return (self.rank(search, found), plan, looked_at);
        }
        if !is_sorted {
            let records = found.into_iter().filter_map(|number| Some((number, rows.fields(number)?)));
            found = order::sort(records, &self.order_by, end);
        }
        found.drain(..self.offset.min(found.len()));
        (found, plan, looked_at)
    }

    /// Whether enough rows match among the first so many that are looked at.
    fn ends_within(&self, plan: &Plan, rows: &Rows, indexes: &[Index], most: usize) -> bool {
        let (Some(limit), Some(_)) = (self.limit, plan.sorted_by) else { return false };
        let enough = limit.saturating_add(self.offset);
        let candidates: Box<dyn Iterator<Item = RowNumber>> = match plan.source {
            Source::Scan => Box::new(0..rows.next_number()),
            _ => self.candidates(plan, rows, indexes),
        };
        let candidates = candidates.take(most).filter_map(|number| rows.fields(number));
        !self.is_ranked() && candidates.filter(|record| self.matches(record)).take(enough).count() == enough
    }

    /// A query for all that this one looks at, and so many more.
    pub(crate) fn with_more(&self, more: usize) -> Self {
        let end = |limit: usize| limit.saturating_add(self.offset).saturating_add(more);
        Self { limit: self.limit.map(end), offset: 0, ..self.clone() }
    }

    fn condition(&self) -> Option<&Condition> {
        self.filter.as_ref().map(|filter| &filter.0)
    }

    fn matches(&self, record: &Fields) -> bool {
        self.condition().is_none_or(|condition| condition.matches(record))
            && self.search.as_ref().is_none_or(|search| search.score(record) > 0)
    }

    /// Whether the order is that of how well records fit the search.
    fn is_ranked(&self) -> bool {
        self.search.is_some() && self.order_by.is_empty()
    }
}

/// A query for how many records match.
impl From<Option<Filter>> for Query {
    fn from(filter: Option<Filter>) -> Self {
        Self { filter, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
