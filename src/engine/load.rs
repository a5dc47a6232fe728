//! Reading a state from the store: its root, then its segments, a portion at a time.

use objectql_sync_protocol::RecordId;

use super::fold::{Folded, Outcome};
use super::log::Unsure;
use super::query::Seen;
use super::record::Record;
use super::seal::FormatError;
use super::state::{Parts, Pending, State};
use super::stored::{Block, Entries, Kind, Root, decode_record};
use super::table::Table;
use super::{Engine, Now, Reply};
use crate::error::Error;

/// About how many bytes of segments are asked for at a time: they are taken in within some milliseconds.
const PORTION_BYTES: usize = 2 << 20;

/// A state that is being read.
#[derive(Debug)]
pub(crate) struct Loading {
    root: Root,
    parts: Parts,
    /// The blocks that are not read yet, the next one last: which section, which of its blocks.
    missing: Vec<(usize, usize)>,
    /// The rows that came with the root.
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    pub(crate) is_last: bool,
}

impl Loading {
    pub(crate) fn new(root: Root, rows: Vec<(u64, Vec<u8>)>, is_last: bool) -> Self {
        let mut parts = Parts::default();
        let mut missing = Vec::new();
        for (place, section) in root.body.sections.iter().enumerate() {
            missing.extend((0..section.blocks.len()).map(|block| (place, block)));
            let count: u64 = section.blocks.iter().map(|block| block.live.len()).sum();
            let table = || Table::for_stored(section.next, usize::try_from(count).unwrap_or_default());
            match &section.kind {
                Kind::Records(object) => parts.tables.add(object, table()),
                Kind::Collected(_, object) => parts.collected.add(object, table()),
                Kind::Undo => parts.next_unit = section.next,
                Kind::Pending => {}
            }
        }
        missing.reverse();
        Self { root, parts, missing, rows, is_last }
    }

    /// The number of the root.
    pub(crate) const fn root_number(&self) -> u64 {
        self.root.number
    }

    /// The key of the last row that is in it.
    pub(crate) const fn folded(&self) -> u64 {
        self.root.body.folded
    }

    fn block(&self, (section, block): (usize, usize)) -> Option<(&Kind, &Block)> {
        let section = self.root.body.sections.get(section)?;
        Some((&section.kind, section.blocks.get(block)?))
    }

    /// The segments to read next; none when all are here.
    pub(crate) fn wanted(&self) -> Vec<u64> {
        let mut bytes = 0;
        let blocks = self.missing.iter().rev().filter_map(|place| self.block(*place));
        let portion = blocks.take_while(|(_, block)| {
            let is_wanted = bytes < PORTION_BYTES;
            bytes += block.bytes as usize;
            is_wanted
        });
        portion.map(|(_, block)| block.segment).collect()
    }

    /// Takes in the segments that were wanted. False where one is not there any more: another tab has compacted, and what there
    /// is has to be looked at anew.
    ///
    /// # Errors
    /// `LOG_CORRUPT`
    pub(crate) fn take(&mut self, segments: Vec<Option<Vec<u8>>>) -> Result<bool, Error> {
        for bytes in segments {
            let (Some(bytes), Some(place)) = (bytes, self.missing.pop()) else { return Ok(false) };
            let Some((kind, block)) = self.block(place) else { return Ok(false) };
            let (segment, kind) = (block.segment, kind.clone());
            let live: Vec<u64> = block.live.iter().collect();
            self.take_block(&kind, &live, &bytes).map_err(|error| match error {
                FormatError::Newer(_) => Error::StorageOutdated,
                error => Error::SegmentCorrupt { segment, detail: error.to_string() },
            })?;
        }
        Ok(true)
    }

    fn take_block(&mut self, kind: &Kind, live: &[u64], bytes: &[u8]) -> Result<(), FormatError> {
        let (found, mut entries) = Entries::of(bytes)?;
        if found != *kind {
            return Err(FormatError::BadBody);
        }
        let mut live = live.iter().copied().peekable();
        let Parts { tables, collected, pending, units, .. } = &mut self.parts;
        let mut table = match kind {
            Kind::Records(object) => Some(tables.entry(object)),
            Kind::Collected(_, object) => Some(collected.entry(object)),
            Kind::Pending | Kind::Undo => None,
        };
        while let Some((number, entry)) = entries.take()? {
            if live.next_if_eq(&number).is_none() {
                continue;
            }
            let bad = |_| FormatError::BadBody;
            match (kind, &mut table) {
                (Kind::Pending, _) => pending.push(postcard::from_bytes(entry).map_err(bad)?),
                (Kind::Undo, _) => units.push(postcard::from_bytes(entry).map_err(bad)?),
                (_, Some(table)) => table.push_stored(number, decode_record(entry)?),
                (_, None) => {}
            }
        }
        if live.peek().is_some() { Err(FormatError::BadBody) } else { Ok(()) }
    }

    /// The state, when all are here.
    pub(crate) fn finish(mut self) -> State {
        self.parts.tables.complete();
        self.parts.collected.complete();
        State::restored(self.root.body.folded, self.root.body.rest, self.parts)
    }
}

impl Engine {
    /// The state begins with what is stored; where there was one, this tab was left behind by a compaction.
    pub(crate) fn begin_with(&mut self, now: Now, state: State) {
        let old = std::mem::replace(&mut self.state, state);
        let folded = self.renew(&old);
        self.show(&folded);
        let (tab, writers) = (self.tab, &self.state.writers);
        let is_made = |unsure: &mut Unsure| writers.contains(&(tab, unsure.append.row.number));
        let unsure = self.log.unsure.take_if(is_made);
        if self.is_open {
            self.tell(&folded, false);
            self.answer_watchers();
            self.nudge_sync(now);
        }
        if let Some(Unsure { append, .. }) = unsure {
            self.finish(now, append, &folded);
        }
    }

    /// What is otherwise than it was. A record that went and came again takes its new place among the others.
    fn renew(&mut self, old: &State) -> Folded {
        let Self { state, collections, .. } = self;
        let mut folded = Folded::default();
        for (object, before) in old.tables.iter() {
            let after = state.tables.get(object);
            let number = |table: Option<&Table>, id: &RecordId| table.and_then(|table| table.number_of(id));
            let is_other = |id: &&RecordId| number(after, id) != number(Some(before), id);
            let others: Vec<&RecordId> = before.records().map(|record| &record.id).filter(is_other).collect();
            collections.update(object, others.iter().map(|id| (*id, Seen::Gone)));
            let is_gone = |id: &&RecordId| number(after, id).is_none();
            folded.touch_all(object, others.into_iter().filter(is_gone).cloned().collect());
        }
        for (object, after) in state.tables.iter() {
            let before = old.tables.get(object);
            let is_as_before = |record: &&Record| {
                before.is_some_and(|before| {
                    before.number_of(&record.id) == after.number_of(&record.id)
                        && before.get(&record.id).is_some_and(|old| old.visible() == record.visible())
                })
            };
            let changed = after.records().filter(|record| !is_as_before(record));
            folded.touch_all(object, changed.map(|record| record.id.clone()).collect());
        }
        folded
    }

    /// Tells those who wait for the outcome of a mutation that is not pending any more. What became of it exactly went with the
    /// rows that said so.
    fn answer_watchers(&mut self) {
        for (mutation, request) in std::mem::take(&mut self.watchers) {
            let outcome = match self.state.find_pending(mutation).map(Pending::is_parked) {
                Some(false) => {
                    self.watchers.push((mutation, request));
                    continue;
                }
                Some(true) => Outcome::Conflict,
                None if self.state.find_rejected(mutation).is_some() => Outcome::Rejected,
                None => Outcome::Applied,
            };
            self.reply(request, Ok(Reply::Settled(outcome)));
        }
    }
}
