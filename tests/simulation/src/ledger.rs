//! What a client's log says happened to each of its mutations, kept row by row beside the engines, and checked row by row.

mod damaged;
mod migrated;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use objectql_offline::engine::{Event, Place, Received, Recorded, Row, Subscription, TabId, Verdict};
use objectql_sync_protocol::{
    ClientId, Direction, Fields, MutationId, ObjectName, Operation, RecordId, Sequence,
};

use crate::coverage::{Coverage, Sight};
use crate::server::history::History;
use crate::server::parse_checkpoint;
use crate::setup::{AUDIT, DRAFT, Edition, OBJECTS, PRICE};

/// What became of a mutation so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    Applied,
    /// Reported as a conflict: it waits for a decision, or it turned out to be none.
    Conflict,
    Rejected,
    /// A server that cannot tell a repeat was asked for its changes instead: they show whether it was applied.
    Probed,
    /// An app has decided.
    Decided,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) recorded: Recorded,
    pub(crate) fate: Fate,
    /// At which row it was reported as a conflict.
    pub(crate) conflict_at: Option<usize>,
    /// At which row it was recorded, and which rows said something of it since.
    recorded_at: usize,
    judged_at: Vec<usize>,
    /// Whether what holds it was damaged, and whether a row that said what became of it was.
    pub(crate) may_be_lost: bool,
    pub(crate) may_be_undone: bool,
    /// Which version of its object its data have, and which data it had before each row with a migration of them.
    version: u32,
    pub(crate) before: Vec<(usize, Option<Fields>)>,
}

impl Entry {
    pub(crate) fn is_pending(&self) -> bool {
        self.fate == Fate::Pending
    }

    /// Whether the log has not said its last word on it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Pending | Fate::Conflict | Fate::Probed)
    }
}

/// The release of the app that appends a row.
pub(crate) struct Writer<'a> {
    pub(crate) edition: &'a Edition,
    /// The versions of its objects.
    pub(crate) versions: &'a [(ObjectName, u32)],
}

impl Writer<'_> {
    fn version(&self, object: &ObjectName) -> u32 {
        self.versions.iter().find(|(name, _)| name == object).map_or(1, |(_, version)| *version)
    }
}

/// How far the migrations of an object have come.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    version: u32,
    /// The one that the data before the place have.
    newest: u32,
    place: Place,
    /// The row with which the last one began.
    pub(crate) began_at: usize,
    /// The records that it has been through.
    records: BTreeSet<RecordId>,
}

impl Shape {
    pub(crate) fn is_under_way(&self) -> bool {
        self.newest > self.version
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self { version: 1, newest: 1, place: Place::default(), began_at: 0, records: BTreeSet::new() }
    }
}

/// The account of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// Those whose sequence another one has, because nobody knew of it any more.
    pub(crate) past: Vec<Entry>,
    /// Whether anything that it is about was ever damaged.
    pub(crate) is_damaged: bool,
    /// Whether it is not known which batch is frozen, because the row that said so may be lost.
    is_frozen_unsure: bool,
    /// The last row with which the database went on under another id.
    renamed_at: usize,
    /// What damage was written down of, and by whom in which row.
    pub(crate) mended: Vec<(usize, Vec<String>)>,
    /// Under which ids which sequences were sent.
    pub(crate) sent: BTreeMap<(ClientId, Sequence), MutationId>,
    pub(crate) shapes: BTreeMap<ObjectName, Shape>,
    /// Every batch that was ever frozen.
    pub(crate) batches: HashSet<Vec<Sequence>>,
    pub(crate) frozen: Vec<Sequence>,
    pub(crate) checkpoint: Option<String>,
    /// The objects whose mutations go to the server, as the log last says.
    pushed: Option<BTreeSet<ObjectName>>,
    is_collecting: bool,
    ids: BTreeSet<MutationId>,
    /// The tokens of the writes that are in the log, and in which rows.
    pub(crate) tokens: BTreeMap<usize, Vec<usize>>,
    /// The rows that were damaged.
    unreadable: BTreeSet<usize>,
    /// What pages without an engine asked for and nobody has decided: of which object.
    pub(crate) asked: BTreeMap<(TabId, u64), String>,
    rows: usize,
}

impl Ledger {
    /// Takes in a row.
    ///
    /// # Errors
    /// What must not be in it.
    pub(crate) fn add(
        &mut self,
        row: &Row,
        writer: &Writer<'_>,
        history: Option<&History>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        self.rows += 1;
        let edition = writer.edition;
        // A page without an engine does not know which version there is.
        if !row.events.iter().all(|event| matches!(event, Event::Asked(_))) {
            self.check_release(writer)?;
        }
        for event in &row.events {
            match event {
                Event::Recorded(mutations) | Event::Reverted { mutations, .. } => {
                    if let Event::Reverted { is_redo, .. } = event {
                        coverage.saw(if *is_redo { Sight::Redone } else { Sight::Undone });
                    }
                    let is_found = |recorded: &Recorded| {
                        recorded.data.as_ref().is_some_and(|data| data.get("found").is_some())
                    };
                    if mutations.len() > 1 && mutations.iter().any(is_found) {
                        coverage.saw(Sight::Transaction);
                    }
                    mutations.iter().try_for_each(|recorded| self.record(recorded, writer, coverage))?;
                }
                Event::Frozen { batch } => self.freeze(batch, edition)?,
                Event::Thawed => self.frozen.clear(),
                Event::Received(received) => self.receive(received, edition, history, coverage)?,
                Event::ResetBegan { .. } => {
                    self.is_collecting = true;
                    coverage.saw(Sight::Reset);
                    if self.entries.values().any(|entry| entry.fate == Fate::Pending) {
                        coverage.saw(Sight::ResetWithPending);
                    }
                }
                Event::Decided { sequence, instead } => {
                    if let Some(entry) = self.entries.get_mut(&sequence.get()) {
                        entry.fate = Fate::Decided;
                        entry.judged_at.push(self.rows);
                    }
                    instead.iter().try_for_each(|recorded| self.record(recorded, writer, coverage))?;
                }
                Event::Subscribed(subscriptions) => {
                    // What is wanted from now on is behind the checkpoint.
                    self.is_collecting |= self.checkpoint.is_some();
                    let is_adopting = row.events.iter().any(|event| matches!(event, Event::Recorded(_)));
                    self.note_subscribed(subscriptions, is_adopting, coverage);
                }
                Event::Renamed { .. } => {
                    self.renamed_at = self.rows;
                    coverage.saw(Sight::Renamed);
                }
                Event::Mended { client_id, details, .. } => {
                    self.mend(client_id.is_some(), details, coverage)?;
                }
                Event::Migrated(migrated) => {
                    let is_new = |event: &Event| matches!(event, Event::Opened { .. } | Event::Mended { .. });
                    self.migrate(migrated, row.events.iter().any(is_new), coverage)?;
                }
                Event::Asked(asked) => {
                    self.asked.insert((row.tab, row.number), asked.object.clone());
                }
                Event::Answered { tab, number, .. } => {
                    coverage.saw(Sight::AskedEarly);
                    // Damage may have unsaid that it was decided.
                    if self.asked.remove(&(*tab, *number)).is_none() && !self.is_damaged {
                        return Err("S1: what a page asked for early is decided twice".to_owned());
                    }
                }
                Event::Opened { .. } => {}
            }
        }
        Ok(())
    }

    /// Takes note of what takes part from now on.
    fn note_subscribed(
        &mut self,
        subscriptions: &[Subscription],
        is_adopting: bool,
        coverage: &mut Coverage,
    ) {
        let now = subscriptions.iter();
        let now: BTreeSet<ObjectName> = now
            .filter(|subscription| subscription.direction != Direction::PullOnly)
            .map(|subscription| subscription.object.clone())
            .collect();
        let before = self.pushed.replace(now.clone());
        let Some(before) = before else { return };
        coverage.saw(Sight::Joined);
        if is_adopting {
            coverage.saw(Sight::Adopted);
        }
        let mut pending = self.entries.values().filter(|entry| entry.is_pending());
        if pending
            .clone()
            .any(|it| before.contains(&it.recorded.object) && !now.contains(&it.recorded.object))
        {
            coverage.saw(Sight::LeftPending);
        }
        if pending.any(|it| !before.contains(&it.recorded.object) && now.contains(&it.recorded.object)) {
            coverage.saw(Sight::ReturnedPending);
        }
    }

    fn record(
        &mut self,
        recorded: &Recorded,
        writer: &Writer<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        for token in tokens(recorded) {
            self.tokens.entry(token).or_default().push(self.rows);
        }
        let is = |object: usize, name: &ObjectName| name.as_str() == OBJECTS[object];
        if !self.ids.insert(recorded.id) {
            return Err(format!("S2: the id {} is used twice", recorded.id));
        }
        let Some(sequence) = recorded.sequence else {
            coverage.saw(Sight::NotSynced);
            return if writer.edition.pushes(recorded.object.as_str()) {
                Err("S4: no sequence".to_owned())
            } else {
                Ok(())
            };
        };
        if is(DRAFT, &recorded.object) || is(PRICE, &recorded.object) {
            return Err(format!("S21: a mutation of {} wants to be sent", recorded.object));
        }
        if is(AUDIT, &recorded.object) {
            coverage.saw(Sight::PushOnly);
        }
        let last = self.entries.last_key_value().map_or(0, |(last, _)| *last);
        if sequence.get() <= last && self.is_damaged {
            // Nobody may know of those with later ones any more.
            let reused = self.entries.split_off(&sequence.get());
            if let Some(known) = reused.values().find(|entry| entry.is_open() && !entry.may_be_lost) {
                let id = known.recorded.id;
                return Err(format!("D4: sequence {} is used again, and {id} is not lost", sequence.get()));
            }
            if reused.values().any(|entry| entry.recorded_at > self.renamed_at) {
                return Err(format!("D4: sequence {} is used again under the same id", sequence.get()));
            }
            coverage.saw(Sight::SequenceReused);
            self.past.extend(reused.into_values());
        } else if sequence.get() != last + 1 {
            return Err(format!("S4: sequence {} after {last}", sequence.get()));
        }
        let entry = Entry {
            recorded: recorded.clone(),
            fate: Fate::Pending,
            conflict_at: None,
            recorded_at: self.rows,
            judged_at: Vec::new(),
            may_be_lost: false,
            may_be_undone: false,
            version: if writer.edition.defines(recorded.object.as_str()) {
                writer.version(&recorded.object)
            } else {
                // One that waits is decided on as it is.
                self.shapes.get(&recorded.object).map_or(1, |shape| shape.version)
            },
            before: Vec::new(),
        };
        self.entries.insert(sequence.get(), entry);
        Ok(())
    }

    fn freeze(&mut self, batch: &[Sequence], edition: &Edition) -> Result<(), String> {
        if !self.frozen.is_empty() && !self.is_frozen_unsure {
            return Err("S20: a batch is frozen while another one is".to_owned());
        }
        if batch.is_empty() || !batch.is_sorted() {
            return Err(format!("S4: a batch out of order: {batch:?}"));
        }
        let mut of_object: BTreeMap<&str, usize> = BTreeMap::new();
        for sequence in batch {
            let entry = self.entries.get(&sequence.get());
            let name = entry.map_or("", |entry| entry.recorded.object.as_str());
            let count = of_object.entry(name).or_default();
            *count += 1;
            if *count > edition.batch_size(name) {
                return Err(format!("S20: {count} mutations of {name} in one batch"));
            }
            let fate = entry.map(|entry| if entry.may_be_undone { Fate::Pending } else { entry.fate });
            // A conflict that turned out to be none is sent again.
            if !matches!(fate, Some(Fate::Pending | Fate::Conflict | Fate::Probed)) {
                return Err(format!("S1: {} is frozen although it is {fate:?}", sequence.get()));
            }
        }
        self.is_frozen_unsure = false;
        self.frozen = batch.to_vec();
        self.batches.insert(batch.to_vec());
        Ok(())
    }

    fn receive(
        &mut self,
        received: &Received,
        edition: &Edition,
        history: Option<&History>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        if !received.verdicts.is_empty() && !self.is_frozen_unsure {
            self.check_judged(&received.verdicts)?;
        }
        if received.is_probe && received.is_complete {
            coverage.saw(Sight::Probed);
            for sequence in std::mem::take(&mut self.frozen) {
                if let Some(entry) = self.entries.get_mut(&sequence.get()) {
                    entry.fate = Fate::Probed;
                    entry.judged_at.push(self.rows);
                }
            }
        }
        if !received.verdicts.is_empty() {
            self.frozen.clear();
        }
        for (sequence, verdict) in &received.verdicts {
            self.judge(*sequence, verdict, history, coverage)?;
        }
        for change in &received.changes {
            if !edition.pulls(change.object.as_str()) && change.data.is_some() {
                return Err(format!("S21: a change of {} was taken, which does not pull", change.object));
            }
            if change.object.as_str() == OBJECTS[PRICE] {
                coverage.saw(Sight::PullOnly);
            }
        }
        if !received.is_complete {
            coverage.saw(Sight::Paged);
        }
        self.move_checkpoint(received, coverage)
    }

    /// The verdicts are on the frozen batch, and then on what falls with creates of it that are rejected.
    fn check_judged(&self, verdicts: &[(Sequence, Verdict)]) -> Result<(), String> {
        let (of_batch, fallen) = verdicts.split_at(self.frozen.len().min(verdicts.len()));
        let is_rejected = |verdict: &Verdict| matches!(verdict, Verdict::Rejected { .. });
        let recorded = |sequence: &Sequence| Some(&self.entries.get(&sequence.get())?.recorded);
        let falls_with = |create: &Recorded, fallen: &Recorded| {
            create.operation == Operation::Create
                && create.key() == fallen.key()
                && create.sequence < fallen.sequence
        };
        let is_fallen = |(sequence, verdict): &(Sequence, Verdict)| {
            let rejected = of_batch.iter().filter(|(_, verdict)| is_rejected(verdict));
            let mut rejected = rejected.filter_map(|(sequence, _)| recorded(sequence));
            is_rejected(verdict)
                && recorded(sequence).is_some_and(|fallen| rejected.any(|it| falls_with(it, fallen)))
        };
        if of_batch.iter().map(|(sequence, _)| sequence).eq(&self.frozen) && fallen.iter().all(is_fallen) {
            return Ok(());
        }
        let judged: Vec<Sequence> = verdicts.iter().map(|(sequence, _)| *sequence).collect();
        Err(format!("S8: verdicts on {judged:?} while {:?} is frozen", self.frozen))
    }

    fn judge(
        &mut self,
        sequence: Sequence,
        verdict: &Verdict,
        history: Option<&History>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Some(entry) = self.entries.get_mut(&sequence.get()) else {
            return Err(format!("S1: a verdict on {}, which was never recorded", sequence.get()));
        };
        let id = entry.recorded.id;
        let (fate, status) = match verdict {
            Verdict::Applied(version) => {
                coverage.saw(Sight::Applied);
                (Fate::Applied, format!(r#"{{"status":"applied","serverVersion":{}}}"#, version.get()))
            }
            Verdict::Conflict { .. } => {
                coverage.saw(Sight::Conflict);
                entry.conflict_at = Some(self.rows);
                (Fate::Conflict, r#""status":"conflict""#.to_owned())
            }
            Verdict::Rejected { reason } => {
                coverage.saw(Sight::Rejected);
                if reason.contains("too large for the server") {
                    coverage.saw(Sight::TooLargeAlone);
                }
                (Fate::Rejected, String::new())
            }
        };
        entry.fate = fate;
        entry.judged_at.push(self.rows);
        if let Some(history) = history
            && !history.verdicts_ever(id).any(|given| given.text.contains(&status))
            && fate != Fate::Rejected
            && !(fate == Fate::Conflict && history.was_conflict(id))
        {
            return Err(format!("S3: the log says {fate:?} of {id}, the server never did"));
        }
        Ok(())
    }

    /// Inside an epoch the checkpoint only goes on; another epoch is entered by a snapshot that is whole.
    fn move_checkpoint(&mut self, received: &Received, coverage: &mut Coverage) -> Result<(), String> {
        let Some(next) = &received.checkpoint else { return Ok(()) };
        if received.is_snapshot {
            if !self.is_collecting {
                return Err("S8: a page of a snapshot that nobody collects".to_owned());
            }
            if !received.is_complete {
                return Ok(());
            }
            self.is_collecting = false;
            coverage.saw(Sight::SnapshotSwapped);
        } else if let Some(before) = &self.checkpoint
            && let (Some((epoch, from, was_snapshot)), Some((next_epoch, to, is_snapshot))) =
                (parse_checkpoint(before), parse_checkpoint(next.as_str()))
        {
            let is_forward = to >= from && (was_snapshot || !is_snapshot);
            if epoch != next_epoch || !is_forward {
                return Err(format!("S8: the checkpoint went from {before} to {next}"));
            }
        }
        self.checkpoint = Some(next.as_str().to_owned());
        Ok(())
    }
}

impl Ledger {
    /// The mutation, whether another one has its sequence by now or not.
    pub(crate) fn find(&self, sequence: u64, id: MutationId) -> Option<&Entry> {
        let is_it = |entry: &&Entry| entry.recorded.id == id;
        self.entries.get(&sequence).filter(is_it).or_else(|| self.past.iter().find(is_it))
    }

    /// Whether a write is in the log, in a row that can be read. Whoever lost the answer to an append and does not find its row refuses what
    /// was in it, though that was there.
    pub(crate) fn is_made(&self, token: usize) -> bool {
        let mut rows = self.tokens.get(&token).into_iter().flatten();
        rows.any(|row| !self.unreadable.contains(row))
    }

    /// Every mutation that there ever was.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.past.iter().chain(self.entries.values())
    }

    /// Whether a batch was frozen, or is what damage may have left of one that was.
    pub(crate) fn was_frozen(&self, batch: &[Sequence]) -> bool {
        let may_be_lost = |sequence: &Sequence| {
            // One whose sequence was used again may be, or that would have been a violation.
            let is_past = self.past.iter().any(|entry| entry.recorded.sequence == Some(*sequence));
            let entry = self.entries.get(&sequence.get());
            is_past || entry.is_none_or(|entry| entry.may_be_lost || entry.may_be_undone || !entry.is_open())
        };
        let is_rest = |frozen: &Vec<Sequence>| {
            batch.iter().all(|sequence| frozen.contains(sequence))
                && frozen.iter().all(|sequence| batch.contains(sequence) || may_be_lost(sequence))
        };
        self.batches.contains(batch) || (self.is_damaged && self.batches.iter().any(is_rest))
    }
}

/// The tokens in the data of a mutation.
fn tokens(recorded: &Recorded) -> impl Iterator<Item = usize> {
    let fields = recorded.data.iter().flat_map(|data| data.iter());
    fields.filter_map(|(_, value)| value.as_str().strip_prefix("\"w")?.strip_suffix('"')?.parse().ok())
}
