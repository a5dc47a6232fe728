//! Compaction: the leader writes what changed into segments, and has the rows removed that led to it.
//!
//! It goes beside everything else, step by step, each a short one: the root is read; what changed since it was written is copied
//! (only pointers are); segments of it are written, some at a time, which nobody sees as long as no root names them; then, in one
//! transaction, the new root takes the place of the old one, and the rows and segments go that are not needed any more.
//! Of the last row the key stays: a tab that is behind sees by it that something is missing, and reads the root.
//!
//! Nothing rests on there being one leader: a root replaces only the one that it was made from.

use std::collections::VecDeque;
use std::time::Duration;

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{Fields, RecordId, Sequence};

use super::absent::Absent;
use super::history::{History, Unit};
use super::queue::Queue;
use super::seal::FormatError;
use super::sort::sorted;
use super::state::{Pending, State};
use super::stored::{Block, Body, Finished, Item, Kind, Root, Section, Segment, root_number};
use super::table::Table;
use super::{Announcement, Engine, Now, Output};

/// How long a compaction waits after it became due: writes come in bursts.
const WAIT: Duration = Duration::from_secs(1);
/// It does not wait where there is so many times as much as makes it due: an app that imports much may be closed soon after.
const URGENT: u64 = 8;
/// How long it waits after one that failed, at first and at most.
const RETRY: Duration = Duration::from_secs(15);
const MOST_RETRY: Duration = Duration::from_secs(3600);
/// So many bytes of segments are encoded at a time: one or two milliseconds.
const SLICE_BYTES: usize = 1 << 20;
/// A smaller segment may be joined with others.
const SMALL: u32 = 128 << 10;
/// What is dead is counted exactly when a section has grown by a quarter and this.
const GROWTH_IGNORED: u64 = 256 << 10;

/// When there is enough to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactAfter {
    /// So many rows since the last time. Where the root is large, more.
    pub rows: u64,
    /// Or so many bytes of them; where the root is large, twice its size.
    pub bytes: u64,
}

impl Default for CompactAfter {
    fn default() -> Self {
        Self { rows: 256, bytes: 512 << 10 }
    }
}

/// The compaction of this tab.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    phase: Phase,
    /// The rows since the root, as far as this tab knows.
    tail: Tail,
    root_bytes: u64,
    /// Not before that.
    due: Option<Duration>,
    failures: u32,
    next_number: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    ReadingRoot {
        number: u64,
    },
    Writing {
        number: u64,
        draft: Box<Draft>,
        /// The blocks whose segments are being written.
        blocks: Vec<(usize, Block)>,
    },
    Committing {
        number: u64,
        draft: Box<Draft>,
    },
    /// Whatever comes of it, all began anew since.
    Dropped {
        number: u64,
    },
}

impl Phase {
    fn dropped(self) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::ReadingRoot { number }
            | Self::Writing { number, .. }
            | Self::Committing { number, .. }
            | Self::Dropped { number } => Self::Dropped { number },
        }
    }

    fn is(&self, wanted: u64) -> bool {
        matches!(self, Self::ReadingRoot { number } | Self::Writing { number, .. } | Self::Committing { number, .. }
            if *number == wanted)
    }
}

/// A root that is being made.
#[derive(Debug)]
struct Draft {
    root: Root,
    /// The number of the root that it replaces.
    replaces: u64,
    /// What is to be written: which section it goes to, its number there.
    items: VecDeque<(usize, u64, Item)>,
    /// The tail that it makes superfluous.
    tail: Tail,
    /// Whether all that is live was found.
    is_sound: bool,
    /// The number and the segments of the root that it replaces, until the first new ones are written.
    keep: Option<(u64, Vec<u64>)>,
}

impl Compaction {
    /// All of it anew; but the next step waits for the answer to the one that is under way, which leads to nothing.
    pub(crate) fn start_over(&mut self) {
        let Self { next_number, failures, .. } = *self;
        let phase = std::mem::take(&mut self.phase).dropped();
        *self = Self { next_number, failures, phase, ..Self::default() };
    }

    /// Whether this step, which ends, is one that leads to nothing.
    pub(crate) fn ends_dropped(&mut self, step: u64) -> bool {
        let is_it = matches!(self.phase, Phase::Dropped { number } if number == step);
        if is_it {
            self.phase = Phase::Idle;
        }
        is_it
    }

    /// The state begins with a root of so many bytes.
    pub(crate) fn note_root(&mut self, bytes: usize) {
        self.root_bytes = bytes as u64;
        self.tail = Tail::default();
    }
}

/// Some segments of a draft, and the blocks that they become once they have keys: of which section each is.
#[derive(Debug, Default)]
struct Slice {
    segments: Vec<Vec<u8>>,
    blocks: Vec<(usize, Block)>,
}

impl Engine {
    /// A row is not in a root yet.
    pub(crate) fn note_tail(&mut self, bytes: usize) {
        self.compaction.tail.rows += 1;
        self.compaction.tail.bytes += bytes as u64;
    }

    /// The rows up to this one are in a root, as another tab says.
    pub(crate) fn handle_compacted_elsewhere(&mut self, through: u64) {
        if through <= self.log.folded {
            if !self.absent.needs_marks() {
                self.state.forget_marks(through);
            }
            if through < self.log.reread_for {
                // It was begun before what is lost was written down, and may have it.
                self.begin_over();
            }
            // About: what came since is the rest of it.
            self.compaction.tail = Tail::default();
            self.compaction.due = None;
        }
    }

    fn is_compaction_wanted(&self) -> bool {
        let Compaction { tail, root_bytes, .. } = &self.compaction;
        let after = self.config.compact_after;
        tail.rows >= after.rows.max(root_bytes / 256) || tail.bytes >= after.bytes.max(root_bytes * 2)
    }

    /// When something is to be done without a further input.
    pub(crate) fn next_compaction(&self) -> Option<Duration> {
        self.compaction.due.filter(|_| self.can_compact())
    }

    /// Whether a compaction may begin once it is due.
    fn can_compact(&self) -> bool {
        self.is_open
            && self.sync.is_leader
            && self.log.is_read()
            && matches!(self.compaction.phase, Phase::Idle)
            && self.is_compaction_wanted()
            // Until it is written down what is lost, a root without it would say that there was nothing.
            && self.damage.is_none()
    }

    /// Begins a compaction if one is due.
    pub(crate) fn advance_compaction(&mut self, now: Now) {
        if !self.can_compact() {
            return;
        }
        let is_urgent = self.compaction.tail.bytes >= self.config.compact_after.bytes * URGENT;
        let wait = if is_urgent { Duration::ZERO } else { WAIT };
        let due = *self.compaction.due.get_or_insert(now.monotonic + wait);
        if now.monotonic >= due {
            self.compaction.due = None;
            let number = self.next_compaction_number();
            self.compaction.phase = Phase::ReadingRoot { number };
            self.outputs.push_back(Output::ReadRoot { compaction: number });
        }
    }

    fn next_compaction_number(&mut self) -> u64 {
        self.compaction.next_number += 1;
        self.compaction.next_number
    }

    /// The root as it is in the store.
    pub(crate) fn handle_root(&mut self, now: Now, number: u64, bytes: Option<&[u8]>) {
        if !matches!(self.compaction.phase, Phase::ReadingRoot { number: current } if current == number) {
            return;
        }
        self.compaction.phase = Phase::Idle;
        if !self.damage.is_none() {
            // It was found since this began.
            return self.postpone_compaction(now);
        }
        let replaces = root_number(bytes);
        let old = match bytes.map(Root::decode) {
            Some(Ok(root)) => Some(root),
            Some(Err(FormatError::Newer(_))) => return self.postpone_compaction(now),
            // What is in memory is all there is to save then.
            Some(Err(_)) | None => None,
        };
        let through = old.as_ref().map_or(0, |root| root.body.folded);
        if through > self.log.folded || !self.log.is_read() {
            self.log.want_tail();
            return self.postpone_compaction(now);
        }
        if through < self.log.reread_for && self.log.root != Some(replaces) {
            // It was begun before what is lost was written down, and may have it.
            self.begin_over();
            return self.postpone_compaction(now);
        }
        if !self.absent.is_empty() && (old.is_none() || self.log.root != Some(replaces)) {
            // Another tab has compacted: which blocks are in memory here is known of an older root only.
            self.log.begin_anew();
            return self.postpone_compaction(now);
        }
        self.state.forget_marks(through);
        self.state.tables.order();
        let Self { state, absent, .. } = self;
        let draft =
            Draft { tail: self.compaction.tail, ..Draft::of(state, absent, self.log.folded, old, replaces) };
        if !draft.is_sound {
            if self.compaction.failures > 0 {
                // What is in memory and what is stored do not agree, and will not by themselves.
                self.begin_over();
            }
            return self.postpone_compaction(now);
        }
        self.go_on_compacting(now, Box::new(draft));
    }

    /// Writes the next segments, or the root when there are none left.
    fn go_on_compacting(&mut self, now: Now, mut draft: Box<Draft>) {
        let number = self.next_compaction_number();
        match draft.next_slice() {
            Ok(Slice { segments, blocks }) if !segments.is_empty() => {
                let keep = draft.keep.take();
                self.outputs.push_back(Output::WriteSegments { compaction: number, keep, segments });
                self.compaction.phase = Phase::Writing { number, draft, blocks };
            }
            Ok(_) => match draft.root.encode() {
                Ok(root) => {
                    self.compaction.root_bytes = root.len() as u64;
                    let (replaces, through) = (draft.replaces, draft.root.body.folded);
                    let segments = sorted(draft.root.segments().collect());
                    self.outputs.push_back(Output::Compact {
                        compaction: number,
                        replaces,
                        root,
                        segments,
                        through,
                    });
                    self.compaction.phase = Phase::Committing { number, draft };
                }
                Err(_) => self.postpone_compaction(now),
            },
            Err(_) => self.postpone_compaction(now),
        }
    }

    /// The segments have these keys.
    pub(crate) fn handle_segments_written(&mut self, now: Now, number: u64, keys: &[u64]) {
        match std::mem::take(&mut self.compaction.phase) {
            Phase::Writing { number: current, mut draft, blocks } if current == number => {
                if keys.len() != blocks.len() {
                    return self.postpone_compaction(now);
                }
                for ((section, block), segment) in blocks.into_iter().zip(keys) {
                    if let Some(section) = draft.root.body.sections.get_mut(section) {
                        section.blocks.push(Block { segment: *segment, ..block });
                    }
                }
                self.go_on_compacting(now, draft);
            }
            other => self.compaction.phase = other,
        }
    }

    /// The new root is in the store, and what it makes superfluous is not.
    pub(crate) fn handle_compacted(&mut self, number: u64) {
        match std::mem::take(&mut self.compaction.phase) {
            Phase::Committing { number: current, draft } if current == number => {
                let through = draft.root.body.folded;
                let tail = &mut self.compaction.tail;
                tail.rows = tail.rows.saturating_sub(draft.tail.rows);
                tail.bytes = tail.bytes.saturating_sub(draft.tail.bytes);
                self.compaction.failures = 0;
                self.log.root = Some(draft.root.number);
                self.log.note_root_through(through);
                self.follow_root(&draft.root);
                let is_wrong = has(Defect::MarksForgotten);
                self.state.forget_marks(if is_wrong { u64::MAX } else { through });
                self.outputs.push_back(Output::Announce(Announcement::Compacted { through }));
            }
            other => self.compaction.phase = other,
        }
    }

    /// A step was not done, or nobody knows whether it was: there is no hurry, and the next time begins with the root.
    pub(crate) fn handle_compaction_failed(&mut self, now: Now, number: u64) {
        if self.compaction.phase.is(number) {
            self.postpone_compaction(now);
        }
    }

    fn postpone_compaction(&mut self, now: Now) {
        let Compaction { failures, phase, due, .. } = &mut self.compaction;
        let wait = RETRY.saturating_mul(1 << (*failures).min(16)).min(MOST_RETRY);
        *failures += 1;
        *phase = Phase::Idle;
        *due = Some(now.monotonic + wait);
    }
}

/// Where the entries of a section come from.
enum Source<'a> {
    Table(&'a Table),
    Pending(&'a Queue),
    Undo(&'a History),
}

impl Source<'_> {
    /// The number that the next thing gets.
    fn next(&self, state: &State) -> u64 {
        match self {
            Self::Table(table) => table.next(),
            Self::Pending(_) => state.last_sequence.get() + 1,
            Self::Undo(history) => history.next(),
        }
    }

    /// The numbers of what changed, or is gone.
    fn changed(&self) -> Vec<u64> {
        match self {
            Self::Table(table) => table.marks.numbers(),
            Self::Pending(queue) => queue.marks.numbers(),
            Self::Undo(history) => history.marks.numbers(),
        }
    }

    /// The numbers of all there is.
    fn all(&self) -> Vec<u64> {
        match self {
            Self::Table(table) => table.numbers().collect(),
            Self::Pending(queue) => queue.iter().map(|pending| pending.sequence.get()).collect(),
            Self::Undo(history) => sorted(history.units().map(|unit| unit.number).collect()),
        }
    }

    /// About how many bytes the entry with that number has, or would have.
    fn bytes(&self, number: u64) -> u64 {
        let bytes = match self {
            Self::Table(table) => table.numbered(number).map(|record| {
                let id = if let RecordId::String(text) = &record.id { text.len() } else { 4 };
                id + 8 + length(record.base().map(|base| &base.fields))
            }),
            Self::Pending(queue) => find_pending(queue, number)
                .map(|pending| 100 + length(pending.recorded.data.as_ref()) + length(pending.base.as_ref())),
            Self::Undo(history) => history.units().find(|unit| unit.number == number).map(Unit::stored_bytes),
        };
        bytes.unwrap_or_default() as u64
    }

    /// Whether there is something with that number, of which all is in memory.
    fn has(&self, number: u64) -> bool {
        match self {
            Self::Table(table) => table.numbered(number).is_some(),
            Self::Pending(queue) => find_pending(queue, number).is_some(),
            Self::Undo(history) => {
                history.units().any(|unit| unit.number == number && !unit.steps.is_empty())
            }
        }
    }

    fn item(&self, number: u64) -> Option<Item> {
        match self {
            Self::Table(table) => {
                let record = table.numbered(number)?;
                Some(Item::Record(record.id.clone(), record.base().cloned()))
            }
            Self::Pending(queue) => Some(Item::Pending(Box::new(find_pending(queue, number)?.clone()))),
            Self::Undo(history) => {
                let is_it = |unit: &&Unit| unit.number == number && !unit.steps.is_empty();
                history.units().find(is_it).cloned().map(Item::Unit)
            }
        }
    }
}

fn length(fields: Option<&Fields>) -> usize {
    fields.map_or(0, |fields| fields.as_str().len())
}

fn find_pending(queue: &Queue, number: u64) -> Option<&Pending> {
    queue.get(&Sequence::new(number).ok()?)
}

impl Draft {
    /// What becomes of the old root.
    fn of(state: &State, absent: &Absent, folded: u64, old: Option<Root>, replaces: u64) -> Self {
        let mut draft = Self {
            root: Root {
                // One that was damaged may have any.
                number: replaces.checked_add(1).unwrap_or(1),
                body: Body { folded, sections: Vec::new(), rest: state.rest() },
            },
            replaces,
            items: VecDeque::new(),
            tail: Tail::default(),
            is_sound: true,
            // Of a root that cannot be read nobody knows what it names.
            keep: (old.is_some() || replaces == 0)
                .then(|| (replaces, sorted(old.iter().flat_map(Root::segments).collect()))),
        };
        let mut old = old.map(|root| root.body.sections).unwrap_or_default();
        for (kind, source) in state.sources() {
            let place = old.iter().position(|section| section.kind == kind);
            draft.add((state, absent), kind, &source, place.map(|place| old.swap_remove(place)));
        }
        draft
    }

    fn add(
        &mut self,
        (state, absent): (&State, &Absent),
        kind: Kind,
        source: &Source<'_>,
        old: Option<Section>,
    ) {
        let place = self.root.body.sections.len();
        let is_new = old.is_none();
        let mut section = old.unwrap_or(Section { kind, next: 0, checked: 0, blocks: Vec::new() });
        section.next = source.next(state);
        let changed = if is_new { source.all() } else { source.changed() };
        for block in &mut section.blocks {
            block.live.remove(&changed);
        }
        let mut numbers = changed;
        section.blocks.retain(|block| block.live.len() > 0 && !absent.has_lost(block.segment));
        let written = numbers.iter().map(|number| source.bytes(*number)).sum();
        let worn = section.take_worn(source, absent, written);
        // What is live and not in memory must not go with its block.
        self.is_sound &= worn.iter().all(|number| source.has(*number));
        numbers.extend(worn);
        self.root.body.sections.push(section);
        let items = sorted(numbers).into_iter();
        self.items.extend(items.filter_map(|number| Some((place, number, source.item(number)?))));
    }

    /// The next segments, as many as one slice makes, and their blocks.
    fn next_slice(&mut self) -> Result<Slice, FormatError> {
        let (mut slice, mut bytes) = (Slice::default(), 0);
        let mut entry = Vec::new();
        while bytes < SLICE_BYTES
            && let Some((place, ..)) = self.items.front()
        {
            let place = *place;
            let Some(section) = self.root.body.sections.get(place) else { break };
            let mut segment = Segment::new(&section.kind);
            while let Some((_, number, item)) = self.items.front().filter(|(other, ..)| *other == place) {
                if !segment.push(*number, item, &mut entry)? {
                    break;
                }
                self.items.pop_front();
            }
            let Finished { bytes: sealed, block } = segment.finish();
            bytes += sealed.len();
            slice.blocks.push((place, block));
            slice.segments.push(sealed);
        }
        Ok(slice)
    }
}

impl Section {
    /// Takes out the blocks that are worth being rewritten; gives what is live in them. So many bytes are written anyway.
    /// What is not in memory stays as it is.
    fn take_worn(&mut self, source: &Source<'_>, absent: &Absent, mut written: u64) -> Vec<u64> {
        let mut worn = Vec::new();
        let total: u64 = self.blocks.iter().map(|block| u64::from(block.bytes)).sum();
        let live: u64 = self.blocks.iter().map(Block::live_bytes).sum();
        let has_grown = total + written > self.checked + self.checked / 4 + GROWTH_IGNORED;
        // To count exactly is to look at every record: only after so many changes as make that worth it.
        if has_grown || live * 3 < total * 2 {
            self.blocks.retain(|block| {
                if absent.has(block.segment) {
                    return true;
                }
                let exact: u64 = block.live.iter().map(|number| source.bytes(number)).sum();
                let is_kept = exact * 3 >= u64::from(block.bytes) * 2;
                if !is_kept {
                    worn.extend(block.live.iter());
                    written += exact;
                }
                is_kept
            });
            self.checked = self.blocks.iter().map(|block| u64::from(block.bytes)).sum::<u64>() + written;
        }
        // Small ones are joined as the digits of a number are carried (Bentley and Saxe, 1980): there are never many, and an
        // entry is rewritten as often as its segment doubles.
        while written > 0
            && let Some(place) = self.smallest(absent).filter(|place| {
                self.blocks
                    .get(*place)
                    .is_some_and(|block| block.bytes < SMALL && block.live_bytes() <= written)
            })
        {
            let block = self.blocks.swap_remove(place);
            written += block.live_bytes();
            worn.extend(block.live.iter());
        }
        worn
    }

    fn smallest(&self, absent: &Absent) -> Option<usize> {
        let blocks = self.blocks.iter().enumerate().filter(|(_, block)| !absent.has(block.segment));
        blocks.min_by_key(|(_, block)| block.bytes).map(|(place, _)| place)
    }
}

impl State {
    /// All there is to be stored in sections.
    fn sources(&self) -> Vec<(Kind, Source<'_>)> {
        let records = self.tables.iter();
        let records = records.map(|(object, table)| (Kind::Records(object.clone()), Source::Table(table)));
        let collected = self.snapshot.iter().flat_map(|snapshot| {
            let number = snapshot.number;
            let tables = snapshot.tables.iter();
            tables.map(move |(object, table)| (Kind::Collected(number, object.clone()), Source::Table(table)))
        });
        let others =
            [(Kind::Pending, Source::Pending(&self.pending)), (Kind::Undo, Source::Undo(&self.history))];
        records.chain(collected).chain(others).collect()
    }
}
