//! What the store holds, read and folded: all of it at first, then its tail; what is missing or cannot be read is passed over.

use std::ops::RangeInclusive;

use objectql_sync_protocol::defect::{Defect, has};

use super::{MAX_ATTEMPTS, Phase, Unmade, Unsure};
use crate::engine::absent::Absent;
use crate::engine::fold::fold;
use crate::engine::load::Loading;
use crate::engine::row::Row;
use crate::engine::seal::FormatError;
use crate::engine::state::State;
use crate::engine::stored::{Root, root_number};
use crate::engine::{Engine, Now, Output};
use crate::error::Error;

impl Engine {
    pub(super) fn read(&mut self) {
        let read = self.log.number();
        self.log.is_tail_wanted = false;
        self.log.phase = Phase::Reading { read };
        self.outputs.push_back(match self.log.root {
            Some(_) => Output::Read { read, after: self.log.folded },
            // Where something was read, it is the same database that is read again.
            None => Output::Begin { read, may_create: !self.state.has_begun() },
        });
    }

    /// What there is: the state begins with the root.
    pub(crate) fn handle_begun(
        &mut self,
        now: Now,
        read: u64,
        bytes: Option<&[u8]>,
        rows: Vec<(u64, Vec<u8>)>,
        is_last: bool,
    ) {
        if !self.log.is_reading(read) {
            return;
        }
        let number = root_number(bytes);
        let gap_through = std::mem::take(&mut self.log.gap_through);
        let known = self.log.gap_under;
        self.log.sure_through = if known == Some(number) { gap_through } else { 0 };
        if known != Some(number) {
            self.log.missing.clear();
        }
        let root = bytes.map(Root::decode);
        if self.log.folded == 0 && self.state.has_begun() && !matches!(root, Some(Ok(_))) {
            self.begin_with(now, State::default(), Absent::default());
        }
        let (Some(root), Some(bytes)) = (root, bytes) else {
            self.log.root = Some(number);
            return self.handle_rows(now, read, rows, is_last);
        };
        match root {
            Ok(root) if let Err(error) = self.config.check_versions(&root.body.rest.versions) => {
                self.fail_read(now, error);
            }
            Ok(root)
                if root.body.folded < self.log.reread_for.min(self.log.folded) && known != Some(number) =>
            {
                // It was begun before what is lost was written down, and may have it.
                self.log.phase = Phase::Unread;
                self.begin_over();
            }
            Ok(root) if self.log.folded > 0 && root.body.folded <= self.log.folded => {
                // What is in memory is as new: only what is not is in other places.
                self.compaction.note_root(bytes.len());
                self.log.root = Some(number);
                self.log.gap_under = None;
                self.log.note_root_through(root.body.folded);
                self.find_absent_anew(&root);
                let known = root.body.folded + 1..=self.log.folded;
                for (_, row) in rows.iter().filter(|(key, _)| known.contains(key)) {
                    self.note_tail(row.len());
                }
                self.handle_rows(now, read, rows, is_last);
            }
            Ok(root) => {
                self.compaction.note_root(bytes.len());
                let missing = self.log.missing.clone();
                self.load(now, Box::new(Loading::new(root, rows, is_last, missing)));
            }
            Err(FormatError::Newer(_)) => self.fail_read(now, Error::StorageOutdated),
            Err(error) => {
                // What is in memory is all there is, and the rows, of which none was compacted since.
                self.damage.add_root(&error);
                let whole = self.whole_objects();
                self.absent = Absent::default();
                self.show_whole_since(&whole);
                self.log.root = Some(number);
                let known = rows.last().map_or(0, |(key, _)| *key);
                self.log.sure_through = self.log.sure_through.max(known);
                self.handle_rows(now, read, rows, is_last);
            }
        }
    }

    /// Asks for the next segments, or begins with the state when they are all there.
    fn load(&mut self, now: Now, mut loading: Box<Loading>) {
        let segments = loading.wanted(&self.whole_objects());
        let read = self.log.number();
        if !segments.is_empty() {
            self.log.phase = Phase::Loading { read, loading };
            return self.outputs.push_back(Output::ReadSegments { read, segments });
        }
        let mut loading = *loading;
        let (root, folded, is_last) = (loading.root_number(), loading.folded(), loading.is_last);
        let rows = std::mem::take(&mut loading.rows);
        self.log.root = Some(root);
        self.log.folded = folded;
        self.log.note_root_through(folded);
        self.damage.append(std::mem::take(&mut loading.damage));
        let (state, absent) = loading.finish();
        self.begin_with(now, state, absent);
        self.log.phase = Phase::Reading { read };
        self.handle_rows(now, read, rows, is_last);
    }

    /// Segments of the state that is being read.
    pub(crate) fn handle_loading_segments(&mut self, now: Now, read: u64, segments: Vec<Option<Vec<u8>>>) {
        match std::mem::take(&mut self.log.phase) {
            Phase::Loading { read: current, mut loading } if current == read => {
                match loading.take(segments) {
                    Ok(true) => self.load(now, loading),
                    // The phase says that it is to be read anew; with the same root it would be missing again.
                    Ok(false) => {
                        self.log.gap_under = Some(loading.root_number());
                        self.log.missing = loading.missing;
                    }
                    Err(error) => self.fail_read(now, error),
                }
            }
            other => self.log.phase = other,
        }
    }

    /// Rows that were appended since the last fold, ours among them where a commit's outcome was unknown.
    pub(crate) fn handle_rows(&mut self, now: Now, read: u64, rows: Vec<(u64, Vec<u8>)>, is_last: bool) {
        if self.log.is_reading(read) {
            if self.log.root.is_none() {
                return self.read();
            }
            self.log.phase = Phase::Folding { rows: rows.into(), is_last };
            self.go_on_folding(now);
        }
    }

    pub(super) fn go_on_folding(&mut self, now: Now) {
        if self.is_blocked() {
            return;
        }
        let Phase::Folding { mut rows, is_last } = std::mem::take(&mut self.log.phase) else { return };
        while let Some((key, bytes)) = rows.pop_front() {
            if key <= self.log.folded && !has(Defect::RowsFoldedTwice) {
                // It came with the root once more, or was looked at again because one after it was missing.
                continue;
            }
            if key > self.log.folded + 1 || bytes.is_empty() {
                let last = if bytes.is_empty() { key } else { key - 1 };
                let sure = last.min(self.log.sure_through);
                if sure <= self.log.folded {
                    self.log.gap_through = last;
                    // It was compacted: the state has to begin anew, with the root.
                    self.log.begin_anew();
                    return self.read();
                }
                self.pass_over(self.log.folded + 1..=sure, FormatError::Missing);
                rows.push_front((key, bytes));
                continue;
            }
            let row = match Row::decode(&bytes) {
                Ok(row) => row,
                Err(FormatError::Newer(_)) => return self.fail_read(now, Error::StorageOutdated),
                Err(error) => {
                    self.pass_over(key..=key, error);
                    continue;
                }
            };
            if let Err(error) = self.config.check_row(&row) {
                return self.fail_read(now, error);
            }
            let is_waited_for = !self.absent.is_empty() && !has(Defect::AbsentUnwaited);
            if is_waited_for && !self.has_all(&self.needs_of_row(&row)) {
                rows.push_front((key, bytes));
                self.log.phase = Phase::Folding { rows, is_last };
                return;
            }
            self.fold_row(now, key, bytes.len(), &row);
            if self.log.root.is_none() {
                return self.read();
            }
        }
        self.log.gap_under = None;
        if !is_last {
            return self.read();
        }
        self.log.phase = Phase::Idle;
        self.log.health.reads();
        self.tell_loss();
        if !self.log.is_tail_wanted {
            self.answer_missed();
        }
        self.open_if_lost();
        match self.log.unsure.take() {
            Some(Unsure { append, why }) if self.log.attempts < MAX_ATTEMPTS => {
                self.log.given_before = if let Unmade::Behind(given) = why { given } else { 0 };
                self.requeue(append.jobs);
            }
            Some(Unsure { append, why }) => {
                self.log.attempts = 0;
                // The log was just read: whatever went wrong, the row is not in it.
                let error = match why {
                    Unmade::Unknown(Error::StorageUnknown(reason)) => Error::StorageFailed(reason),
                    Unmade::Unknown(error) => error,
                    Unmade::Behind(given) if given == self.log.given_before && self.lose_end(given) => {
                        return self.requeue(append.jobs);
                    }
                    Unmade::Behind(_) => Error::LogCorrupt {
                        key: self.log.folded + 1,
                        detail: "the store gives new rows keys that it has used".to_owned(),
                    },
                };
                self.log.health.fail(now, error.clone());
                self.fail_jobs(now, append.jobs, &error);
            }
            None => self.log.attempts = 0,
        }
    }

    /// What was read makes no sense: nobody who waits can be served.
    pub(super) fn fail_read(&mut self, now: Now, error: Error) {
        self.log.health.fail(now, error.clone());
        self.log.phase = Phase::Unread;
        self.fail_all(now, &error);
    }

    /// Rows cannot be read.
    fn pass_over(&mut self, keys: RangeInclusive<u64>, why: FormatError) {
        self.damage.add_rows(format!("rows {} to {}: {why}", keys.start(), keys.end()));
        self.log.folded = *keys.end();
        self.state.pass_over(self.log.folded);
    }

    /// The store gives the next row this key again and again, and there is nothing else to read: the rows before it are gone, or those from it
    /// on that this tab has folded. False where that was found before and did not help.
    fn lose_end(&mut self, given: u64) -> bool {
        let folded = self.log.folded;
        if given > folded + 1 {
            self.pass_over(folded + 1..=given - 1, FormatError::Missing);
            return true;
        }
        let is_new = self.damage.add_rows(format!("rows {given} to {folded}: {}", FormatError::Missing));
        if is_new {
            self.log.reread_for = self.log.reread_for.min(given.saturating_sub(1));
            self.begin_over();
        }
        is_new
    }

    fn fold_row(&mut self, now: Now, key: u64, bytes: usize, row: &Row) {
        self.log.folded = key;
        self.note_tail(bytes);
        let folded = fold(&mut self.state, key, row);
        self.note_change(row);
        self.note_found_in(row);
        if self.follow_mended(now, &folded, false) {
            return self.begin_over();
        }
        self.show(&folded);
        let unsure = self.log.unsure.take_if(|unsure| unsure.append.row.is_same_append(row));
        if self.is_open {
            self.note_writes(now, row, &folded);
            self.tell(&folded, unsure.is_some());
        }
        self.answer_early(&folded);
        if self.log.unsure.as_ref().is_none_or(|unsure| unsure.why.error().is_none()) {
            // Being behind is no failure as long as there is something to read.
            self.log.attempts = 0;
        }
        if let Some(Unsure { append, .. }) = unsure {
            self.finish(now, append, &folded);
        }
    }

    pub(crate) fn handle_read_failed(&mut self, now: Now, read: u64, error: Error) {
        if !self.log.is_reading(read) {
            return;
        }
        if let Error::Cleared = error {
            return self.start_over(now);
        }
        self.log.phase = Phase::Unread;
        self.log.health.fail(now, error.clone());
        self.log.attempts += 1;
        if self.log.attempts < MAX_ATTEMPTS {
            return self.read();
        }
        self.log.attempts = 0;
        self.fail_all(now, &error);
    }
}
