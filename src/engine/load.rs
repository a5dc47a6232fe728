//! Beginning with what is stored: the root, what is pending, and the records that this is about.

use objectql_sync_protocol::ObjectName;

use super::absent::{Absent, Need, each_live};
use super::fold::{Folded, Outcome};
use super::log::Unsure;
use super::mend::Damage;
use super::record::Record;
use super::seal::FormatError;
use super::sort::sorted;
use super::state::{Parts, Pending, State};
use super::stored::{Block, Kind, Root, decode_record};
use super::table::Table;
use super::{Engine, Now, Reply};
use crate::error::Error;

/// So many segments are asked for at a time: 2 MiB or so, which are taken in within some milliseconds.
const PORTION: usize = 8;

/// A state that is being read.
#[derive(Debug)]
pub(crate) struct Loading {
    root: Root,
    parts: Parts,
    absent: Absent,
    /// The blocks of what is not records, that are not read yet; the next one last.
    others: Vec<(Kind, Block)>,
    /// The segments of records that are being read, the next one last.
    records: Vec<u64>,
    /// The rows that came with the root.
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    pub(crate) is_last: bool,
    /// The segments that were not there before, under the same root: they are lost, and not in another root.
    pub(crate) missing: Vec<u64>,
    /// What cannot be read.
    pub(crate) damage: Damage,
}

impl Loading {
    pub(crate) fn new(root: Root, rows: Vec<(u64, Vec<u8>)>, is_last: bool, missing: Vec<u64>) -> Self {
        let mut parts = Parts::default();
        let mut others = Vec::new();
        for section in &root.body.sections {
            match &section.kind {
                Kind::Records(object) => parts.tables.add(object, Table::for_stored(section.next)),
                Kind::Collected(_, object) => parts.collected.add(object, Table::for_stored(section.next)),
                Kind::Undo => parts.next_unit = section.next,
                Kind::Pending => {}
            }
            if let Kind::Pending | Kind::Collected(..) = section.kind {
                others.extend(section.blocks.iter().map(|block| (section.kind.clone(), block.clone())));
            }
        }
        others.reverse();
        let absent = Absent::of(&root);
        let damage = Damage::default();
        Self { root, parts, absent, others, records: Vec::new(), rows, is_last, missing, damage }
    }

    /// The number of the root.
    pub(crate) const fn root_number(&self) -> u64 {
        self.root.number
    }

    /// The key of the last row that is in it.
    pub(crate) const fn folded(&self) -> u64 {
        self.root.body.folded
    }

    /// The segments to read next, where all records of these objects are to be there; none when everything is here.
    pub(crate) fn wanted(&mut self, whole: &[ObjectName]) -> Vec<u64> {
        if self.others.is_empty() && self.records.is_empty() {
            // What is pending lies on top of records.
            let pending = self.parts.pending.iter().map(|pending| Need::Record(pending.recorded.key()));
            let needs: Vec<Need> = whole.iter().cloned().map(Need::Object).chain(pending).collect();
            self.records = sorted(needs.iter().flat_map(|need| self.absent.holding(need)).collect());
            self.records.reverse();
        }
        self.portion()
    }

    /// The next of those that are known to be wanted.
    fn portion(&self) -> Vec<u64> {
        let others = self.others.iter().rev().map(|(_, block)| block.segment);
        // What is pending tells which records are wanted.
        let records = self.records.iter().rev().copied().filter(|_| self.others.is_empty());
        others.chain(records).take(PORTION).collect()
    }

    /// Takes in the segments that were wanted. False where one is not there any more: another tab has compacted, and what there
    /// is has to be looked at anew.
    ///
    /// # Errors
    /// `STORAGE_OUTDATED`
    pub(crate) fn take(&mut self, segments: Vec<Option<Vec<u8>>>) -> Result<bool, Error> {
        let gone = self.portion().into_iter().zip(&segments).filter(|(_, bytes)| bytes.is_none());
        let gone = gone.map(|(segment, _)| segment).filter(|segment| !self.missing.contains(segment));
        let gone: Vec<u64> = gone.collect();
        if !gone.is_empty() {
            self.missing.extend(gone);
            return Ok(false);
        }
        for bytes in segments {
            let bytes = bytes.as_deref().ok_or(FormatError::Missing);
            let (segment, kind, taken) = if let Some((kind, block)) = self.others.pop() {
                let taken = bytes.and_then(|bytes| self.take_other(&kind, &block, bytes));
                (block.segment, Some(kind), taken)
            } else if let Some(segment) = self.records.pop() {
                let Self { absent, parts, .. } = self;
                let kind = absent.kind_of(segment);
                let take =
                    |bytes: &[u8]| absent.take_records(&mut parts.tables, segment, bytes, false).map(drop);
                (segment, kind, bytes.and_then(take))
            } else {
                return Ok(true);
            };
            match (kind, taken) {
                (_, Err(FormatError::Newer(_))) => return Err(Error::StorageOutdated),
                (Some(kind), Err(error)) => {
                    self.absent.lose(segment);
                    self.damage.add_segment(segment, &kind, &error);
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn take_other(&mut self, kind: &Kind, block: &Block, bytes: &[u8]) -> Result<(), FormatError> {
        let Parts { collected, pending, .. } = &mut self.parts;
        let before = pending.len();
        let taken = each_live(kind, block, bytes, &mut |number, entry| {
            match kind {
                Kind::Collected(_, object) => {
                    collected.entry(object).push_stored(number, decode_record(entry)?)
                }
                _ => pending.push(postcard::from_bytes(entry).map_err(|_| FormatError::BadBody)?),
            }
            Ok(())
        });
        if taken.is_err() {
            pending.truncate(before);
        }
        taken
    }

    /// The state, when all are here, and what of it is not in memory.
    pub(crate) fn finish(mut self) -> (State, Absent) {
        self.parts.tables.order();
        self.parts.collected.order();
        (State::restored(self.root.body.folded, self.root.body.rest, self.parts), self.absent)
    }
}

impl Engine {
    /// The objects of which all records are in memory, and whose records queries know or are getting to know.
    pub(crate) fn whole_objects(&self) -> Vec<ObjectName> {
        if !self.state.has_begun() {
            return Vec::new();
        }
        let tables = self.state.tables.iter().map(|(object, _)| object);
        let mut objects: Vec<ObjectName> = tables.cloned().collect();
        // Those that have no record yet, too: somebody may follow a query of one.
        let defined = self.config.objects.iter().map(|definition| &definition.name);
        objects.extend(defined.filter(|object| self.state.tables.get(object).is_none()).cloned());
        objects.retain(|object| self.absent.is_whole(object));
        objects
    }

    /// The state begins with what is stored; where there was one, this tab was left behind by a compaction.
    pub(crate) fn begin_with(&mut self, now: Now, state: State, absent: Absent) {
        let whole = self.whole_objects();
        if self.is_open {
            // What is not found again when all is read may be lost.
            self.keep_untold(&[]);
        }
        let old = std::mem::replace(&mut self.state, state);
        self.note_found(&old);
        self.changes += 1;
        self.absent = absent;
        let mut folded = self.renew(&old, &whole);
        if self.is_open {
            // What an earlier row would have told, had this tab read it.
            let is_new = |pending: &&Pending| {
                pending.is_parked() && !old.find_pending(pending.recorded.id).is_some_and(Pending::is_parked)
            };
            let parked =
                self.state.pending.iter().filter(is_new).map(|it| (it.recorded.id, Outcome::Conflict));
            let rejected = self.state.rejected.iter().map(|it| it.recorded.id);
            let rejected = rejected.filter(|id| old.find_rejected(*id).is_none());
            folded.outcomes.extend(parked.chain(rejected.map(|id| (id, Outcome::Rejected))));
        }
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

    /// What is otherwise than it was in the objects that were whole.
    fn renew(&mut self, old: &State, whole: &[ObjectName]) -> Folded {
        let mut folded = Folded::default();
        let none = Table::default();
        let gone = old.tables.iter().filter(|(object, _)| self.state.tables.get(object).is_none());
        let objects = self.state.tables.iter().chain(gone).map(|(object, _)| object.clone());
        let objects: Vec<ObjectName> = objects.collect();
        for object in objects {
            // Of the records that were there queries may know a part: then they begin anew.
            if !whole.contains(&object) || self.collections.filling(&object).is_some() {
                if self.absent.is_whole(&object) {
                    self.show_all(&object);
                }
                continue;
            }
            let before = old.tables.get(&object).unwrap_or(&none);
            let after = self.state.tables.get(&object).unwrap_or(&none);
            let gone = before.records().filter(|record| after.number_of(&record.id).is_none());
            folded.touch_all(&object, gone.map(|record| record.id.clone()).collect());
            let is_as_before = |(number, record): &(u64, &Record)| {
                let old = before.find(&record.id);
                old.is_some_and(|(old, it)| old == *number && it.visible() == record.visible())
            };
            let changed = after.numbered_from(0).filter(|record| !is_as_before(record));
            folded.touch_all(&object, changed.map(|(_, record)| record.id.clone()).collect());
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
