//! The store of a client: what becomes of the reads and appends of its tabs.

use std::time::Duration;

use objectql_offline::engine::{Input, Output, Row};
use objectql_offline::error::Error;

use crate::action::DiskFate;
use crate::client::{StoreCall, Tab};
use crate::coverage::Sight;
use crate::ledger::Writer;
use crate::life::DiskRow;
use crate::world::World;

impl World {
    pub(crate) fn use_disk(&mut self, at: usize, tab: usize, fate: DiskFate) {
        if !self.clients.get(at).is_some_and(|client| client.is_alive(tab)) {
            return;
        }
        if self.clients[at].is_store_away(self.now) {
            return;
        }
        self.finish_store_call(at, tab, fate);
    }

    /// The connections of a client's tabs are closed underneath: what is under way ends so, and whoever asks from now on waits
    /// until the database can be opened again.
    pub(crate) fn close_store(&mut self, at: usize, fate: DiskFate, ms: u64) {
        let Some(client) = self.clients.get_mut(at) else { return };
        client.store_away_until = Some(self.now + Duration::from_millis(ms));
        self.coverage.saw(Sight::StoreClosed);
        for tab in self.clients[at].alive().collect::<Vec<_>>() {
            self.finish_store_call(at, tab, fate);
        }
    }

    /// A tab asks the store for something.
    pub(crate) fn ask_store(&mut self, at: usize, tab: usize, call: StoreCall) {
        let is_away = self.clients[at].is_store_away(self.now);
        let place = &mut self.clients[at].tabs[tab];
        if let StoreCall::ReadSegments { .. } = call {
            place.reading.push_back(call);
            return;
        }
        if place.store.is_some() || place.done.is_some() {
            return self.violate("an engine asks the store for two things at a time".to_owned());
        }
        if is_away {
            self.coverage.saw(match (&call, place.is_open) {
                (_, false) => Sight::OpenHangs,
                (StoreCall::Append { .. }, true) => Sight::AppendWaited,
                (_, true) => Sight::ReadWaited,
            });
        }
        place.store = Some(call);
    }

    fn finish_store_call(&mut self, at: usize, tab: usize, fate: DiskFate) {
        let is_read = !self.clients[at].tabs[tab].reading.is_empty();
        let place = &mut self.clients[at].tabs[tab];
        let Some(call) = place.reading.pop_front().or_else(|| place.store.take()) else { return };
        let (done, is_row_made) = match call {
            StoreCall::Begin { may_create: true, read } => {
                let begun = self.use_disk_to_begin(at, read, fate);
                if let Input::Begun { .. } = begun {
                    // Whichever there is now.
                    self.clients[at].tabs[tab].life = self.clients[at].lives.len() - 1;
                }
                (begun, false)
            }
            call if !self.clients[at].has_its_life(tab) => {
                self.coverage.saw(Sight::ClearedMet);
                let error = Error::Cleared;
                let done = match call {
                    StoreCall::Append { append, .. } => Input::AppendFailed { append, error },
                    StoreCall::Begin { read, .. }
                    | StoreCall::ReadSegments { read, .. }
                    | StoreCall::Read { read, .. } => Input::ReadFailed { read, error },
                };
                (done, false)
            }
            StoreCall::Begin { read, .. } => {
                // Of the rows that became segments it reads none.
                let through = self.clients[at].life().through;
                let place = &mut self.clients[at].tabs[tab];
                place.opened_at = place.opened_at.max(through);
                (self.use_disk_to_begin(at, read, fate), false)
            }
            StoreCall::ReadSegments { read, segments } => {
                (self.use_disk_for_segments(at, read, &segments, fate), false)
            }
            StoreCall::Read { read, after } => (self.use_disk_to_read(at, read, after, fate), false),
            StoreCall::Append { append, key, bytes } => {
                self.use_disk_to_append((at, tab), append, key, bytes, fate)
            }
        };
        let place = &mut self.clients[at].tabs[tab];
        if is_read {
            place.read_done.push_back(done);
            return;
        }
        place.done = Some(done);
        place.is_row_made = is_row_made;
    }

    fn fail_to_read(&mut self, read: u64) -> Input {
        self.coverage.saw(Sight::ReadFailed);
        Input::ReadFailed { read, error: Error::StorageFailed("the disk is away".to_owned()) }
    }

    fn use_disk_to_begin(&mut self, at: usize, read: u64, fate: DiskFate) -> Input {
        let root = self.clients[at].life().stored.root.clone();
        match self.use_disk_to_read(at, read, 0, fate) {
            Input::Rows { read, rows, is_last } => Input::Begun { read, root, rows, is_last },
            other => other,
        }
    }

    fn use_disk_for_segments(&mut self, at: usize, read: u64, segments: &[u64], fate: DiskFate) -> Input {
        if let DiskFate::Failed | DiskFate::UnknownMade | DiskFate::UnknownNotMade = fate {
            return self.fail_to_read(read);
        }
        let segments = self.clients[at].life().stored.get(segments);
        self.coverage.saw(if segments.contains(&None) { Sight::SegmentGone } else { Sight::SegmentsRead });
        Input::Segments { read, segments }
    }

    /// A tab's compaction takes a step, or fails to; it hears of it when it is awake.
    pub(crate) fn use_disk_to_compact(&mut self, at: usize, tab: usize, fate: DiskFate) {
        if !self.clients.get(at).is_some_and(|client| client.is_alive(tab))
            || self.clients[at].is_store_away(self.now)
        {
            return;
        }
        let Some(step) = self.clients[at].tabs[tab].step.take() else { return };
        let (Output::ReadRoot { compaction }
        | Output::WriteSegments { compaction, .. }
        | Output::Compact { compaction, .. }) = step
        else {
            return;
        };
        let mut done = Input::CompactionFailed { compaction };
        if let (DiskFate::Done | DiskFate::UnknownMade, true) = (fate, self.clients[at].has_its_life(tab)) {
            let made = self.clients[at].life_mut().take_step(step);
            match &made {
                Input::Compacted { .. } => self.coverage.saw(Sight::Compacted),
                Input::CompactionFailed { .. } => self.coverage.saw(Sight::CompactionLate),
                _ => {}
            }
            if fate == DiskFate::Done {
                done = made;
            } else {
                self.coverage.saw(Sight::CompactionUnknown);
            }
        } else {
            self.coverage.saw(Sight::CompactionFailed);
        }
        self.clients[at].tabs[tab].step_done = Some(done);
    }

    fn use_disk_to_read(&mut self, at: usize, read: u64, after: u64, fate: DiskFate) -> Input {
        match fate {
            DiskFate::Failed | DiskFate::UnknownMade | DiskFate::UnknownNotMade => self.fail_to_read(read),
            DiskFate::Done => {
                Input::Rows { read, rows: self.clients[at].life().rows_after(after), is_last: true }
            }
            DiskFate::Quota => {
                // A read has no quota; instead it comes in several parts.
                let mut rows = self.clients[at].life().rows_after(after);
                let is_last = rows.len() < 2;
                rows.truncate(rows.len().div_ceil(2));
                Input::Rows { read, rows, is_last }
            }
        }
    }

    fn use_disk_to_append(
        &mut self,
        (at, tab): (usize, usize),
        append: u64,
        key: u64,
        bytes: Vec<u8>,
        fate: DiskFate,
    ) -> (Input, bool) {
        let next = u64::try_from(self.clients[at].life().disk.len()).unwrap_or(u64::MAX - 1) + 1;
        let is_first = key == next;
        let unknown = || Error::StorageUnknown("the connection closed".to_owned());
        match fate {
            DiskFate::Quota => {
                self.coverage.saw(Sight::QuotaExceeded);
                (Input::AppendFailed { append, error: Error::QuotaExceeded }, false)
            }
            DiskFate::Failed => {
                self.coverage.saw(Sight::AppendFailed);
                let error = Error::StorageFailed("the connection closed".to_owned());
                (Input::AppendFailed { append, error }, false)
            }
            DiskFate::UnknownNotMade => {
                self.coverage.saw(Sight::UnknownNotMade);
                (Input::AppendUnknown { append, error: unknown() }, false)
            }
            DiskFate::Done | DiskFate::UnknownMade if !is_first => {
                self.coverage.saw(Sight::Behind);
                (Input::Behind { append, given: next }, false)
            }
            DiskFate::UnknownMade => {
                self.coverage.saw(Sight::UnknownMade);
                self.add_row(at, tab, bytes);
                (Input::AppendUnknown { append, error: unknown() }, true)
            }
            DiskFate::Done => {
                self.add_row(at, tab, bytes);
                (Input::Appended { append }, true)
            }
        }
    }

    pub(crate) fn add_row(&mut self, at: usize, tab: usize, bytes: Vec<u8>) {
        let row = match Row::decode(&bytes) {
            Ok(row) => row,
            Err(error) => return self.violate(format!("a row that cannot be read: {error}")),
        };
        self.trace.tell(|| format!("           {at} appends {:?}", row.events));
        let Tab { edition, release, .. } = self.clients[at].tabs[tab];
        let writer = Writer { edition: &self.editions[edition], versions: &self.setup.versions(release) };
        let history = self.server.history();
        let life = self.clients[at].life_mut();
        let added = life.ledger.add(&row, &writer, history, &mut self.coverage);
        life.disk.push(DiskRow { bytes: Some(bytes), row });
        if let Err(violation) = added {
            self.violate(format!("client {at}: {violation}"));
        }
    }

    pub(crate) fn report(&mut self, at: usize, tab: usize) {
        if !self.clients.get(at).is_some_and(|client| client.is_awake(tab)) {
            return;
        }
        let place = &mut self.clients[at].tabs[tab];
        let all = [place.done.take(), place.read_done.pop_front(), place.step_done.take()];
        for done in all.into_iter().flatten() {
            if self.clients[at].is_awake(tab) {
                if let Input::ReadFailed { error: Error::Cleared, .. }
                | Input::AppendFailed { error: Error::Cleared, .. } = &done
                {
                    // Nobody waits for what the database that is gone asked for; the answer may come all the same.
                    self.clients[at].tabs[tab].sending = None;
                }
                self.give(at, tab, done);
            }
        }
    }
}
