//! Queries over records with changes that are not folded yet.

use objectql_sync_protocol::{Fields, ObjectName, RecordId, RecordKey};

use super::aggregate::Aggregate;
use super::collection::Collections;
use super::rows::RowNumber;
use super::{Condition, Query, order};
use crate::engine::transaction::{Read, What};
use crate::engine::views::Views;

impl Collections {
    /// What a query finds once these changes are made. A record keeps its place among those that compare equal; new ones come last.
    pub(crate) fn over<'a>(
        &'a self,
        object: &'a ObjectName,
        query: &Query,
        views: &'a Views,
    ) -> Vec<(&'a RecordId, &'a Fields)> {
        let Some((rows, indexes)) = self.rows_of(object) else { return Vec::new() };
        if let Some([id]) = query.condition().and_then(Condition::only_ids).as_deref() {
            let key = RecordKey { object: object.clone(), id: id.clone() };
            let found = match views.get_pair(&key) {
                Some((id, view)) => view.map(|fields| (id, fields)),
                None => rows.find(id).and_then(|number| rows.get(number)).map(|row| (&row.id, &row.fields)),
            };
            let is_wanted = query.offset == 0 && query.limit != Some(0);
            let found = found.filter(|(_, fields)| is_wanted && query.matches(fields));
            return found.into_iter().collect();
        }
        // What will look different, by its place; and what was changed is not to be found as it was.
        let mut next = rows.next_number();
        let mut changed = Vec::new();
        for (id, view) in views.of(object) {
            let number = rows.find(id).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            changed.push((number, view.map(|fields| (id, fields))));
        }
        // Where each row is among them, and one more.
        let mut places = vec![0_usize; if changed.is_empty() { 0 } else { next as usize }];
        for (place, (number, _)) in (1..).zip(&changed) {
            if let Some(of_row) = places.get_mut(*number as usize) {
                *of_row = place;
            }
        }
        let change_of = |number: RowNumber| {
            let place = places.get(number as usize)?.checked_sub(1)?;
            changed.get(place).map(|(_, view)| *view)
        };
        let (numbers, ..) = query.with_more(changed.len()).run(rows, indexes, None);
        let kept = numbers.into_iter().filter(|number| change_of(*number).is_none());
        let kept = kept.filter_map(|number| Some((number, rows.fields(number)?)));
        let new = changed.iter().filter_map(|(number, view)| Some((*number, (*view)?.1)));
        let new = new.filter(|(_, fields)| query.matches(fields));
        let wanted = query.limit.unwrap_or(usize::MAX).saturating_add(query.offset);
        let records = kept.chain(new);
        let sorted = match query.search.as_ref().filter(|_| query.is_ranked()) {
            Some(search) => query.rank(search, records),
            None => {
                let sorted = order::sort(records, &query.order_by, wanted).into_iter();
                sorted.skip(query.offset).collect()
            }
        };
        let found = sorted.into_iter().filter_map(|number| match change_of(number) {
            Some(view) => view,
            None => rows.get(number).map(|row| (&row.id, &row.fields)),
        });
        found.collect()
    }

    /// What is computed of records once these changes are made.
    pub(crate) fn aggregate_over(&self, object: &ObjectName, aggregate: &Aggregate, views: &Views) -> String {
        let found = self.over(object, &aggregate.source, views);
        aggregate.rows(&mut found.into_iter().map(|(_, fields)| fields))
    }

    /// What is to be seen again for a transaction to be committed that asks this.
    pub(crate) fn read(&mut self, object: &ObjectName, what: What) -> Read {
        if let What::Found(query, _) = &what {
            self.prepare(object, query);
        }
        Read { object: object.clone(), what: self.look(object, &what), at: self.last_stamp() }
    }

    /// Whether what was read is as it was.
    pub(crate) fn is_as_read(&self, read: &Read) -> bool {
        self.last_change(&read.object) <= read.at || self.look(&read.object, &read.what) == read.what
    }

    /// The same question, with what is seen now.
    fn look(&self, object: &ObjectName, what: &What) -> What {
        match what {
            What::One(id, _) => {
                let rows = self.rows_of(object).map(|(rows, _)| rows);
                let row = rows.and_then(|rows| rows.get(rows.find(id)?));
                What::One(id.clone(), row.map(|row| row.stamp))
            }
            What::Found(query, _) => What::Found(query.clone(), self.seen(object, query)),
        }
    }

    fn seen(&self, object: &ObjectName, query: &Query) -> Vec<u32> {
        let Some((rows, indexes)) = self.rows_of(object) else { return Vec::new() };
        let (numbers, ..) = query.run(rows, indexes, None);
        numbers.into_iter().filter_map(|number| Some(rows.get(number)?.stamp)).collect()
    }
}
