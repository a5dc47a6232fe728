//! Live queries: results that are kept up to date record by record.

use objectql_sync_protocol::Fields;

use super::index::Index;
use super::pass::Pass;
use super::rows::{RowNumber, Rows, Stamp};
use super::{Query, order::OrderBy};

/// How many rows beyond its limit a live query keeps at least, so that not every row that leaves it means a search for another.
const SPARE: usize = 64;

/// A query whose result is kept.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: u32,
    pub(super) query: Query,
    /// The first rows that match, in order; more than the query wants.
    kept: Vec<RowNumber>,
    /// Whether more rows match than are kept.
    has_more: bool,
    /// What the page was told: the states of the rows, in order.
    told: Vec<Stamp>,
    /// Whether anything happened to its rows since.
    is_touched: bool,
    /// Whether the rows that are kept have to be looked for again.
    is_stale: bool,
}

/// How the result of a live query changed: from a place on, so many rows are gone and others stand there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveChange {
    /// Which live query.
    pub live: u32,
    /// The first place that is different.
    pub start: usize,
    /// How many rows are gone from there.
    pub removed: usize,
    pub(super) rows: Vec<RowNumber>,
    /// What was told before.
    before: Vec<Stamp>,
}

impl Live {
    pub(super) fn new(id: u32, query: Query) -> Self {
        let (kept, told) = (Vec::new(), Vec::new());
        Self { id, query, kept, has_more: false, told, is_touched: true, is_stale: true }
    }

    /// A record goes, or its old state does: the row still holds it.
    pub(super) fn leave(&mut self, rows: &Rows, number: RowNumber, record: &Fields) {
        if self.is_stale || !self.query.matches(record) {
            return;
        }
        self.is_touched = true;
        if self.query.is_ranked() {
            return self.is_stale = true;
        }
        let place = self.place_of(rows, number);
        if self.kept.get(place) == Some(&number) {
            self.kept.remove(place);
        }
    }

    /// A record has come, or its new state.
    pub(super) fn enter(&mut self, rows: &Rows, number: RowNumber, record: &Fields) {
        if self.is_stale || !self.query.matches(record) {
            return;
        }
        self.is_touched = true;
        if self.query.is_ranked() {
            return self.is_stale = true;
        }
        let place = self.place_of(rows, number);
        if place == self.kept.len() && self.has_more {
            return;
        }
        self.kept.insert(place, number);
        if self.kept.len() > self.most_kept() {
            self.kept.pop();
            self.has_more = true;
        }
    }

    /// The rows have other numbers now, or too many changed to follow each.
    pub(super) fn invalidate(&mut self) {
        self.is_stale = true;
        self.is_touched = true;
    }

    /// What is different from what was told; none when nothing is. From here on it counts as told.
    pub(super) fn change(
        &mut self,
        rows: &Rows,
        indexes: &[Index],
        known: Option<&Pass>,
    ) -> Option<LiveChange> {
        if !std::mem::take(&mut self.is_touched) {
            return None;
        }
        let offset = self.query.offset;
        let end = offset.saturating_add(self.query.limit.unwrap_or(usize::MAX));
        if self.is_stale || (self.has_more && self.kept.len() < end) {
            self.search(rows, indexes, known);
        }
        let window = self.kept.get(offset.min(self.kept.len())..end.min(self.kept.len())).unwrap_or_default();
        let stamps: Vec<Stamp> =
            window.iter().map(|number| rows.get(*number).map_or(0, |row| row.stamp)).collect();
        let start = self.told.iter().zip(&stamps).take_while(|(told, now)| told == now).count();
        let rest = self.told.len().min(stamps.len()) - start;
        let same = self.told.iter().rev().zip(stamps.iter().rev()).take(rest);
        let same = same.take_while(|(told, now)| told == now).count();
        let removed = self.told.len() - start - same;
        let rows = window.get(start..window.len() - same).unwrap_or_default().to_vec();
        let before = std::mem::replace(&mut self.told, stamps);
        (removed > 0 || !rows.is_empty()).then_some(LiveChange {
            live: self.id,
            start,
            removed,
            rows,
            before,
        })
    }

    /// The change cannot be told yet: it is to be looked for again.
    pub(super) fn put_off(&mut self, change: &mut LiveChange) {
        self.told = std::mem::take(&mut change.before);
        self.is_touched = true;
        (change.start, change.removed) = (0, 0);
    }

    /// The query for what is kept, and one more, which tells whether there are more.
    pub(super) fn search_query(&self) -> Query {
        let most = self.most_kept();
        Query { limit: (most < usize::MAX).then(|| most + 1), offset: 0, ..self.query.clone() }
    }

    fn search(&mut self, rows: &Rows, indexes: &[Index], known: Option<&Pass>) {
        let most = self.most_kept();
        (self.kept, ..) = self.search_query().run(rows, indexes, known);
        self.has_more = self.kept.len() > most;
        self.kept.truncate(most);
        self.is_stale = false;
    }

    fn most_kept(&self) -> usize {
        match self.query.limit {
            Some(limit) => limit.saturating_add(self.query.offset).saturating_mul(2).saturating_add(SPARE),
            None => usize::MAX,
        }
    }

    /// Where a row stands among those that are kept, or would.
    fn place_of(&self, rows: &Rows, number: RowNumber) -> usize {
        let keys: &[OrderBy] = &self.query.order_by;
        self.kept.partition_point(|other| rows.compare(*other, number, keys).then(other.cmp(&number)).is_lt())
    }
}
