//! Which rows match, found a part at a time: a filter that no index serves looks at all of them.

use super::Query;
use std::cell::Cell;

use super::aggregate::{Aggregate, Groups};
use super::index::Index;
use super::plan::{Plan, Source};
use super::rows::{RowNumber, Rows, Stamp};

/// Going through the rows that a query looks at, which stay as they are meanwhile, for those that it wants.
#[derive(Debug)]
pub(super) struct Pass {
    /// Its filter and search.
    query: Query,
    /// The stamp of the last change of any of the rows.
    pub(super) stamp: Stamp,
    /// None: all rows.
    candidates: Option<Vec<RowNumber>>,
    /// How many of them were looked at.
    pub(super) looked_at: usize,
    /// Those that match, in the order in which they came; all of them, once it is done.
    pub(super) found: Vec<RowNumber>,
    /// What is computed of them instead.
    computed: Option<(Aggregate, Groups)>,
    pub(super) is_done: bool,
    /// Whether somebody had what it found.
    pub(super) is_used: Cell<bool>,
    /// How often one like it was in vain before.
    tries: u32,
}

impl Pass {
    pub(super) fn new(
        query: &Query,
        of: Option<&Aggregate>,
        plan: Plan,
        (rows, indexes): (&Rows, &[Index]),
        (stamp, tries): (Stamp, u32),
    ) -> Self {
        let query = Query { filter: query.filter.clone(), search: query.search.clone(), ..Query::default() };
        let candidates = match plan.source {
            Source::Scan => None,
            // It only sorts.
            _ if plan.candidates(rows, indexes) == rows.len() => None,
            // In the order in which they came, whatever the index sorts by.
            _ => Some(query.candidates(&Plan { sorted_by: None, ..plan }, rows, indexes).collect()),
        };
        Self {
            query,
            computed: of.map(|aggregate| (aggregate.clone(), Groups::default())),
            stamp,
            candidates,
            looked_at: 0,
            found: Vec::new(),
            is_done: false,
            is_used: Cell::default(),
            tries,
        }
    }

    /// Whether it finds what a query wants, or computes what is wanted of that.
    pub(super) fn is_of(&self, query: &Query, of: Option<&Aggregate>) -> bool {
        let computed = self.computed.as_ref().map(|(aggregate, _)| aggregate);
        computed == of && self.query.filter == query.filter && self.query.search == query.search
    }

    /// The rows changed: what it found is of no use any more.
    pub(super) fn give_up(&mut self) {
        (self.candidates, self.found) = (None, Vec::new());
        if let Some((_, groups)) = &mut self.computed {
            *groups = Groups::default();
        }
    }

    /// How often one like it was in vain, where this one was given up.
    pub(super) fn tries(&self) -> u32 {
        if self.is_used.get() { 0 } else { self.tries + 1 }
    }

    /// The result, where something is computed.
    pub(super) fn result(&self) -> Option<String> {
        self.computed.as_ref().map(|(aggregate, groups)| aggregate.finish(groups))
    }

    /// Looks at the next rows.
    pub(super) fn step(&mut self, rows: &Rows, count: usize) {
        let end = self.looked_at + count;
        for place in self.looked_at..end {
            let number = match &self.candidates {
                None => RowNumber::try_from(place).ok().filter(|number| *number < rows.next_number()),
                Some(candidates) => candidates.get(place).copied(),
            };
            let Some(number) = number else {
                self.is_done = true;
                self.candidates = None;
                return;
            };
            if let Some(record) = rows.fields(number).filter(|record| self.query.matches(record)) {
                match &mut self.computed {
                    Some((aggregate, groups)) => aggregate.add(record, groups),
                    None => self.found.push(number),
                }
            }
            self.looked_at = place + 1;
        }
    }
}
