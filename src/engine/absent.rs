//! What of the stored state is not in memory yet, and reading it when it is needed.
//!
//! A database opens with its root and what is pending. The blocks of records stay where they are until somebody needs one of their
//! records: whoever writes to it, the fold of a row that changes it, or an app that asks for it. A block is taken in as a
//! whole and once, so that a record is in memory, or in a block that is named here, or nowhere; what was removed in memory is in no
//! such block. An app that queries an object waits for all its blocks.

use std::collections::VecDeque;

use objectql_sync_protocol::{Fields, ObjectName, RecordId, RecordKey};

use super::command::{Command, Reply};
use super::log::{Job, MAX_ATTEMPTS};
use super::row::{Change, Event, Received, Row};
use super::seal::FormatError;
use super::sort::{sort, sorted};
use super::stored::{Block, Entries, Kind, Root, Runs, decode_record, hash_id};
use super::sync::job::SyncJob;
use super::table::{Table, Tables};
use super::{Engine, Now, Output, RequestId};
use crate::error::Error;

/// About how many bytes of segments are asked for at a time: they are taken in within some milliseconds.
const PORTION_BYTES: u64 = 2 << 20;
/// So many portions are read at a time: while one is taken in, the browser reads the next.
const MOST_READS: usize = 2;

/// Something that has to be in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// One record, wherever it is.
    Record(RecordKey),
    /// All records of an object.
    Object(ObjectName),
    /// What can be taken back.
    History,
}

/// The blocks that are not in memory.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    /// With the object whose records they hold; none: what can be taken back.
    blocks: Vec<(Option<ObjectName>, Block)>,
    /// Whether some of what they hold may be in memory, or gone from there: they are of a later root than the state began with.
    is_later: bool,
    /// The segments that are lost: the next root does not name them.
    lost: Vec<u64>,
}

impl Absent {
    /// All that a root names of records and of what can be taken back.
    pub(crate) fn of(root: &Root) -> Self {
        let sections = root.body.sections.iter().filter_map(|section| match &section.kind {
            Kind::Records(object) => Some((Some(object), section)),
            Kind::Undo => Some((None, section)),
            Kind::Pending | Kind::Collected(..) => None,
        });
        let blocks = sections.flat_map(|(object, section)| {
            section.blocks.iter().map(move |block| (object.cloned(), block.clone()))
        });
        let blocks: Vec<_> = blocks.collect();
        // In the order of what they hold: records that are taken in like that need not be put in order.
        let first = |place: u32| blocks.get(place as usize).and_then(|(_, block)| block.live.iter().next());
        let mut places: Vec<u32> = (0..).take(blocks.len()).collect();
        sort(&mut places, &|a, b| first(a) < first(b));
        let blocks = places.into_iter().filter_map(|place| blocks.get(place as usize).cloned()).collect();
        Self { blocks, ..Self::default() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether the segment is not in memory.
    pub(crate) fn has(&self, segment: u64) -> bool {
        self.blocks.iter().any(|(_, block)| block.segment == segment)
    }

    /// Whether the segment is lost.
    pub(crate) fn has_lost(&self, segment: u64) -> bool {
        self.lost.contains(&segment)
    }

    /// The segment holds nothing any more; gives what it should have held.
    pub(crate) fn lose(&mut self, segment: u64) -> Option<(Option<ObjectName>, Block)> {
        if !self.has_lost(segment) {
            self.lost.push(segment);
        }
        self.take(segment)
    }

    /// Whether all records of an object are in memory.
    pub(crate) fn is_whole(&self, object: &ObjectName) -> bool {
        !self.blocks.iter().any(|(of, _)| of.as_ref() == Some(object))
    }

    /// The numbers of the records of an object that are not in memory, in order.
    fn numbers(&self, object: &ObjectName) -> Vec<u64> {
        let blocks =
            || self.blocks.iter().filter(|(of, _)| of.as_ref() == Some(object)).map(|(_, block)| &block.live);
        let count = blocks().map(Runs::len).sum::<u64>();
        let mut numbers = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for (start, end) in blocks().flat_map(Runs::ranges) {
            numbers.extend(start..end);
        }
        sorted(numbers)
    }

    /// The segments that something may be in.
    pub(crate) fn holding<'a>(&'a self, need: &'a Need) -> impl Iterator<Item = u64> + use<'a> {
        let hash = if let Need::Record(key) = need { hash_id(&key.id) } else { Default::default() };
        let holds = move |of: &Option<ObjectName>, block: &Block| match need {
            Need::Record(key) => of.as_ref() == Some(&key.object) && block.may_hold(&key.id, hash),
            Need::Object(object) => of.as_ref() == Some(object),
            Need::History => of.is_none(),
        };
        self.blocks.iter().filter(move |(of, block)| holds(of, block)).map(|(_, block)| block.segment)
    }

    /// As many of the segments as make a good portion.
    fn portion(&self, segments: &[u64]) -> Vec<u64> {
        let mut bytes = 0;
        let wanted = segments.iter().filter_map(|segment| {
            self.blocks.iter().find(|(_, block)| block.segment == *segment).map(|(_, block)| block)
        });
        let portion = wanted.take_while(|block| {
            let is_wanted = bytes < PORTION_BYTES;
            bytes += u64::from(block.bytes);
            is_wanted
        });
        portion.map(|block| block.segment).collect()
    }

    /// What a segment that is not in memory holds.
    pub(crate) fn kind_of(&self, segment: u64) -> Option<Kind> {
        let (object, _) = self.find(segment)?;
        Some(object.clone().map_or(Kind::Undo, Kind::Records))
    }

    fn find(&self, segment: u64) -> Option<&(Option<ObjectName>, Block)> {
        self.blocks.iter().find(|(_, block)| block.segment == segment)
    }

    fn take(&mut self, segment: u64) -> Option<(Option<ObjectName>, Block)> {
        let place = self.blocks.iter().position(|(_, block)| block.segment == segment)?;
        Some(self.blocks.remove(place))
    }

    /// The root is this one now, of which all other blocks are in memory.
    fn follow(&mut self, root: &Root) {
        let known = std::mem::take(&mut self.blocks);
        let mut blocks = Self::of(root).blocks;
        blocks.retain(|(_, block)| known.iter().any(|(_, other)| other.segment == block.segment));
        self.blocks = blocks;
        self.lost.retain(|segment| root.segments().any(|named| named == *segment));
    }

    /// Whether the marks of rows that another tab has compacted are needed: they tell what of a later root's blocks is known.
    pub(crate) fn needs_marks(&self) -> bool {
        self.is_later && self.blocks.iter().any(|(object, _)| object.is_some())
    }

    /// Takes a block of records in: once the state has begun, or while it is being read.
    ///
    /// # Errors
    /// What is wrong with the segment.
    pub(crate) fn take_records(
        &mut self,
        tables: &mut Tables,
        segment: u64,
        bytes: &[u8],
        has_begun: bool,
    ) -> Result<Option<ObjectName>, FormatError> {
        let Some((Some(object), block)) = self.find(segment) else { return Ok(None) };
        // Only what can be read to its end is taken in: until then the block is not in memory.
        let mut records = Vec::with_capacity(block.count as usize);
        each_live(&Kind::Records(object.clone()), block, bytes, &mut |number, entry| {
            records.push((number, decode_record(entry)?));
            Ok(())
        })?;
        let Some((Some(object), _)) = self.take(segment) else { return Ok(None) };
        let table = tables.entry(&object);
        let changed = if self.is_later { table.marks.numbers() } else { Vec::new() };
        for (number, record) in records {
            // What changed since is here, or gone.
            let is_known =
                self.is_later && (changed.binary_search(&number).is_ok() || table.get(&record.id).is_some());
            if has_begun && record.is_gone() {
                // What was pending of it is in memory from the beginning, or lost.
                table.marks.mark_lost(number);
            } else if !is_known {
                table.push_stored(number, record);
            }
        }
        Ok(Some(object))
    }
}

/// Takes an entry of a segment, by its number and its bytes.
type Take<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), FormatError>;

/// Hands over the live entries of a block.
pub(crate) fn each_live(kind: &Kind, block: &Block, bytes: &[u8], take: Take<'_>) -> Result<(), FormatError> {
    let (found, mut entries) = Entries::of(bytes)?;
    if found != *kind {
        return Err(FormatError::BadBody);
    }
    let mut live = block.live.iter();
    let mut next = live.next();
    while let Some((number, entry)) = entries.take()? {
        if next == Some(number) {
            take(number, entry)?;
            next = live.next();
        }
    }
    if next.is_some() { Err(FormatError::BadBody) } else { Ok(()) }
}

/// What waits for segments.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    /// The reads that are under way, and the segments of each.
    reading: Vec<(u64, Vec<u64>)>,
    /// How often one failed since one did not.
    failures: u32,
    /// What the log cannot go on without: it comes first.
    pub(crate) urgent: Vec<u64>,
    /// What the app asked for. Where nobody waits for it any more, it is loaded all the same.
    wants: VecDeque<(Option<RequestId>, Need)>,
}

impl Loader {
    /// The read that was begun first of those that are under way.
    pub(crate) fn asks(&self) -> Option<u64> {
        self.reading.first().map(|(read, _)| *read)
    }

    /// Those who wait.
    pub(crate) fn requests(self) -> impl Iterator<Item = RequestId> {
        self.wants.into_iter().filter_map(|(request, _)| request)
    }

    /// Whether somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.wants.is_empty()
    }
}

impl Engine {
    /// Whether all records of an object are in memory.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn is_whole(&self, object: &str) -> Result<bool, Error> {
        Ok(self.absent.is_whole(&self.config.object(object)?.name))
    }

    /// Whether a record is in memory, or nowhere.
    #[must_use]
    pub fn has_in_memory(&self, key: &RecordKey) -> bool {
        self.absent.holding(&Need::Record(key.clone())).next().is_none()
    }

    /// Whether everything is in memory.
    #[must_use]
    pub fn has_all_in_memory(&self) -> bool {
        self.absent.is_empty()
    }

    /// Whether damage was found that is not written down yet: for tests and tools.
    #[must_use]
    pub const fn has_damage(&self) -> bool {
        !self.damage.is_none()
    }

    /// The app needs something in memory; answered by a reply when it is.
    pub(crate) fn handle_load(&mut self, request: RequestId, need: Need) {
        if let Need::Record(key) = &need {
            // Who asks for one will ask for others.
            let object = Need::Object(key.object.clone());
            self.loader.wants.push_back((None, object));
            self.loader.wants.push_front((Some(request), need));
        } else {
            self.loader.wants.push_back((Some(request), need));
        }
    }

    /// Reads what is wanted next, if nothing is being read.
    pub(crate) fn advance_loader(&mut self) {
        // Before the state has begun nobody knows what there is.
        while self.log.root.is_some() && self.loader.reading.len() < MOST_READS {
            self.loader.urgent.retain(|segment| self.absent.has(*segment));
            let mut segments = self.loader.urgent.clone();
            let is_urgent = !segments.is_empty();
            while segments.is_empty()
                && let Some((request, need)) = self.loader.wants.pop_front()
            {
                segments = self.absent.holding(&need).collect();
                if !segments.is_empty() {
                    if let Need::Object(object) = &need {
                        let table = self.state.tables.find(object);
                        if let Some(table) = table.filter(|table| !table.is_expecting()) {
                            table.expect(&self.absent.numbers(object));
                        }
                    }
                    self.loader.wants.push_front((request, need));
                } else if let Some(request) = request {
                    self.reply(request, Ok(Reply::Done));
                }
            }
            let under_way = self.loader.reading.iter().flat_map(|(_, segments)| segments);
            let under_way: Vec<u64> = under_way.copied().collect();
            segments.retain(|segment| !under_way.contains(segment));
            if is_urgent && segments.is_empty() {
                // All of it is under way: nothing else comes before it.
                return;
            }
            let portion = self.absent.portion(&segments);
            if portion.is_empty() {
                return;
            }
            let read = self.log.number();
            self.loader.reading.push((read, portion.clone()));
            self.outputs.push_back(Output::ReadSegments { read, segments: portion });
        }
    }

    /// The segments of a read that is under way, which ends.
    fn take_read(&mut self, read: u64) -> Option<Vec<u64>> {
        let place = self.loader.reading.iter().position(|(current, _)| *current == read)?;
        Some(self.loader.reading.remove(place).1)
    }

    /// Segments that were wanted.
    pub(crate) fn handle_segments(&mut self, now: Now, read: u64, found: Vec<Option<Vec<u8>>>) {
        let Some(segments) = self.take_read(read) else {
            return self.handle_loading_segments(now, read, found);
        };
        self.loader.failures = 0;
        self.log.health.answers();
        for (segment, bytes) in segments.into_iter().zip(found) {
            let taken = match bytes {
                Some(bytes) => self.take_segment(segment, &bytes),
                None if !self.absent.has(segment) => continue,
                None if self.log.missing.contains(&segment) => Err(FormatError::Missing),
                // Another tab has compacted: what there is has to be looked at anew.
                None => {
                    self.log.missing.push(segment);
                    return self.log.begin_anew();
                }
            };
            match taken {
                Ok(()) => {}
                Err(FormatError::Newer(_)) => {
                    return self.fail_loading(now, &[segment], &Error::StorageOutdated);
                }
                Err(error) => {
                    if let Some(kind) = self.absent.kind_of(segment) {
                        self.damage.add_segment(segment, &kind, &error);
                    }
                    self.lose(segment);
                }
            }
        }
    }

    /// The segment is lost: what it held is not there any more.
    pub(crate) fn lose(&mut self, segment: u64) {
        if let Some((Some(object), _)) = self.absent.lose(segment)
            && self.absent.is_whole(&object)
        {
            self.show_all(&object);
        }
    }

    fn take_segment(&mut self, segment: u64, bytes: &[u8]) -> Result<(), FormatError> {
        let Self { absent, state, .. } = self;
        if let Some((None, block)) = absent.find(segment) {
            let mut units = Vec::new();
            let taken = each_live(&Kind::Undo, block, bytes, &mut |_, entry| {
                units.push(postcard::from_bytes(entry).map_err(|_| FormatError::BadBody)?);
                Ok(())
            });
            taken?;
            absent.take(segment);
            state.history.fill(units);
            return Ok(());
        }
        let object = absent.take_records(&mut state.tables, segment, bytes, true)?;
        if let Some(object) = object.filter(|object| absent.is_whole(object)) {
            self.show_all(&object);
        }
        Ok(())
    }

    /// Another tab has compacted: what is not in memory is where its root says.
    pub(crate) fn find_absent_anew(&mut self, root: &Root) {
        let is_history_whole = self.absent.blocks.iter().all(|(object, _)| object.is_some());
        let whole = self.whole_objects();
        let lost = std::mem::take(&mut self.absent.lost);
        let mut absent = Absent { is_later: true, ..Absent::of(root) };
        absent.blocks.retain(|(object, block)| {
            let is_known = object.as_ref().map_or(is_history_whole, |object| whole.contains(object));
            !is_known && !lost.contains(&block.segment)
        });
        absent.lost = lost;
        self.absent = absent;
        self.state.forget_marks(root.body.folded);
        self.show_whole_since(&whole);
    }

    /// This tab has compacted: of the blocks that are not in memory, what changed is not live any more.
    pub(crate) fn follow_root(&mut self, root: &Root) {
        let whole = self.whole_objects();
        self.absent.follow(root);
        self.show_whole_since(&whole);
    }

    /// Shows queries the records of objects that are whole now, because nothing is left of the blocks that were not in memory.
    pub(crate) fn show_whole_since(&mut self, before: &[ObjectName]) {
        for object in self.whole_objects() {
            if !before.contains(&object) {
                self.show_all(&object);
            }
        }
    }

    /// Shows queries all records of an object that is in memory now; where there are many, what waits for them does it in portions.
    pub(crate) fn show_all(&mut self, object: &ObjectName) {
        let Self { state, collections, .. } = self;
        // One that is not there is not made: the tables are in the order in which the log made them, in every tab.
        let mut none = Table::default();
        let table = state.tables.find(object).unwrap_or(&mut none);
        table.order();
        collections.fill(object, table);
    }

    /// Shows queries at once what they do not know yet of an object that is in memory: what is decided looks at it.
    pub(crate) fn show_rest(&mut self, object: &ObjectName) {
        let Self { state, collections, .. } = self;
        if let Some(table) = state.tables.get(object) {
            while collections.fill_next(object, table) {}
        }
    }

    /// The segments were not read.
    pub(crate) fn handle_segments_failed(&mut self, now: Now, read: u64, error: &Error) -> bool {
        let Some(segments) = self.take_read(read) else { return false };
        if let Error::Cleared = error {
            self.log.want_tail();
            // What is under way meets it, too, or whoever reads next.
            if !self.log.is_busy() {
                self.start_over(now);
                return true;
            }
        }
        self.loader.failures += 1;
        // What is wanted is wanted still: it is read again.
        if self.loader.failures >= MAX_ATTEMPTS {
            self.loader.failures = 0;
            self.fail_loading(now, &segments, error);
        }
        true
    }

    /// Whoever waits for one of these segments is told that it cannot be had.
    fn fail_loading(&mut self, now: Now, segments: &[u64], error: &Error) {
        for (request, need) in std::mem::take(&mut self.loader.wants) {
            if !self.absent.holding(&need).any(|segment| segments.contains(&segment)) {
                self.loader.wants.push_back((request, need));
            } else if let Some(request) = request {
                self.reply(request, Err(error.clone()));
            }
        }
        if self.loader.urgent.iter().any(|segment| segments.contains(segment)) {
            self.loader.urgent.clear();
            self.fail_blocked(now, error.clone());
        }
    }

    /// Nobody knows what there is: whoever waits for something in memory is told so.
    pub(crate) fn fail_wants(&mut self, error: &Error) {
        if self.log.root.is_none() {
            for (request, _) in std::mem::take(&mut self.loader.wants) {
                if let Some(request) = request {
                    self.reply(request, Err(error.clone()));
                }
            }
        }
    }

    /// Whether something is being read that the next row cannot do without.
    pub(crate) fn is_blocked(&self) -> bool {
        self.loader.urgent.iter().any(|segment| self.absent.has(*segment))
    }

    /// What has to be in memory before a row is folded.
    pub(crate) fn needs_of_row(&self, row: &Row) -> Vec<Need> {
        let mut needs = Vec::new();
        for event in &row.events {
            needs.extend(event.recorded().iter().map(|recorded| Need::Record(recorded.key())));
            match event {
                Event::Received(received) => self.needs_of_answer(received, &mut needs),
                Event::Migrated(migrated) => {
                    let ids = migrated.records.iter().map(|(id, _)| id.clone());
                    let key = |id| RecordKey { object: migrated.object.clone(), id };
                    needs.extend(ids.map(|id| Need::Record(key(id))));
                }
                _ => {}
            }
        }
        needs
    }

    fn needs_of_answer(&self, received: &Received, needs: &mut Vec<Need>) {
        if !received.is_snapshot {
            let changes = received.changes.iter().filter(|change| !change.is_version_only());
            needs.extend(changes.map(|Change { object, record_id, .. }| {
                Need::Record(RecordKey { object: object.clone(), id: record_id.clone() })
            }));
        } else if received.is_complete
            && let Some(snapshot) = &self.state.snapshot
        {
            // It takes the place of all there is.
            let collected = snapshot.tables.iter().map(|(object, _)| object);
            let objects = snapshot.objects.iter().chain(collected);
            let objects = objects.chain(received.changes.iter().map(|change| &change.object));
            needs.extend(objects.cloned().map(Need::Object));
        }
    }

    /// What has to be in memory before a job is decided.
    pub(crate) fn needs_of_job(&self, job: &Job) -> Vec<Need> {
        let mut needs = Vec::new();
        match job {
            Job::Write { command, .. } => self.needs_of_command(command, &mut needs),
            Job::Migrate { migration, .. } => needs.push(Need::Object(migration.object.clone())),
            Job::Sync(SyncJob::Subscribe { .. }) => {
                // Local records of what takes part from now on are looked for.
                let objects = self.state.tables.iter().map(|(object, _)| object);
                needs.extend(objects.filter(|object| self.config.pushes(object)).cloned().map(Need::Object));
            }
            Job::Sync(SyncJob::Receive { received, .. }) => self.needs_of_answer(received, &mut needs),
            Job::Open { .. } if self.config.is_eager => {
                needs.extend(self.state.tables.iter().map(|(object, _)| Need::Object(object.clone())));
            }
            Job::Asked => {
                for early in self.decidable() {
                    for command in early.asked.commands(&self.config).unwrap_or_default() {
                        self.needs_of_command(&command, &mut needs);
                    }
                }
            }
            Job::Open { .. } | Job::Mend | Job::Sync(_) | Job::Ask(_) | Job::Answer { .. } => {}
        }
        needs
    }

    fn needs_of_command(&self, command: &Command, needs: &mut Vec<Need>) {
        let (object, ids): (&ObjectName, Vec<RecordId>) = match command {
            Command::Upsert { object, record } => (object, ids_in([record])),
            Command::Create { object, records } | Command::Import { object, records } => {
                (object, ids_in(records))
            }
            Command::Update { object, id, .. } | Command::Delete { object, id } => (object, vec![id.clone()]),
            Command::BulkUpdate { object, updates } => {
                (object, updates.iter().map(|(id, _)| id.clone()).collect())
            }
            Command::BulkDelete { object, ids } => (object, ids.clone()),
            Command::UpdateMany { object, .. } | Command::DeleteMany { object, .. } => {
                return needs.push(Need::Object(object.clone()));
            }
            Command::Transaction { reads, commands } => {
                needs.extend(reads.iter().map(|read| Need::Object(read.object.clone())));
                return commands.iter().for_each(|command| self.needs_of_command(command, needs));
            }
            Command::Undo | Command::Redo => {
                needs.push(Need::History);
                let (_, unit) = self.state.history.last(matches!(command, Command::Redo));
                let keys = unit.into_iter().flat_map(|unit| &unit.steps).map(|step| step.key.clone());
                return needs.extend(keys.map(|key| self.need_to_write(key)));
            }
            Command::Resolve { mutation, .. }
            | Command::Retry { mutation, .. }
            | Command::Discard { mutation } => {
                let pending = self.state.find_pending(*mutation).map(|pending| pending.recorded.key());
                let rejected = self.state.find_rejected(*mutation).map(|rejected| rejected.recorded.key());
                return needs.extend(pending.into_iter().chain(rejected).map(|key| self.need_to_write(key)));
            }
        };
        if self.has_unique(object) {
            return needs.push(Need::Object(object.clone()));
        }
        needs.extend(ids.into_iter().map(|id| Need::Record(RecordKey { object: object.clone(), id })));
    }

    /// What has to be in memory before a record is written: where values must be unique, all records of its object.
    fn need_to_write(&self, key: RecordKey) -> Need {
        if self.has_unique(&key.object) { Need::Object(key.object) } else { Need::Record(key) }
    }

    fn has_unique(&self, object: &ObjectName) -> bool {
        !self.collections.unique(object).is_empty()
    }

    /// Has the segments read that something needs. Whether all of it is in memory.
    pub(crate) fn has_all(&mut self, needs: &[Need]) -> bool {
        if self.absent.is_empty() {
            return true;
        }
        let mut segments: Vec<u64> = needs.iter().flat_map(|need| self.absent.holding(need)).collect();
        segments = sorted(segments);
        self.loader.urgent = segments;
        self.loader.urgent.is_empty()
    }
}

/// The ids that records are given with.
fn ids_in<'a>(records: impl IntoIterator<Item = &'a Fields>) -> Vec<RecordId> {
    records.into_iter().filter_map(|record| RecordId::from_json(record.get("id")?)).collect()
}
