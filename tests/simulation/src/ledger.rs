//! What a client's log says happened to each of its mutations, kept row by row beside the engines, and checked row by row.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use objectql_offline::engine::{Event, Received, Recorded, Row, Subscription, TabId, Verdict};
use objectql_sync_protocol::{Direction, MutationId, ObjectName, Sequence};

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
}

impl Entry {
    pub(crate) fn is_pending(&self) -> bool {
        self.fate == Fate::Pending
    }
}

/// The account of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// Every batch that was ever frozen.
    pub(crate) batches: HashSet<Vec<Sequence>>,
    pub(crate) frozen: Vec<Sequence>,
    pub(crate) checkpoint: Option<String>,
    /// The objects whose mutations go to the server, as the log last says.
    pushed: Option<BTreeSet<ObjectName>>,
    is_collecting: bool,
    ids: BTreeSet<MutationId>,
    /// The tokens of the writes that are in the log.
    pub(crate) tokens: BTreeSet<usize>,
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
        edition: &Edition,
        history: Option<&History>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        self.rows += 1;
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
                    mutations.iter().try_for_each(|recorded| self.record(recorded, edition, coverage))?;
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
                    }
                    instead.iter().try_for_each(|recorded| self.record(recorded, edition, coverage))?;
                }
                Event::Subscribed(subscriptions) => {
                    // What is wanted from now on is behind the checkpoint.
                    self.is_collecting |= self.checkpoint.is_some();
                    let is_adopting = row.events.iter().any(|event| matches!(event, Event::Recorded(_)));
                    self.note_subscribed(subscriptions, is_adopting, coverage);
                }
                Event::Renamed { .. } => coverage.saw(Sight::Renamed),
                Event::Asked(asked) => {
                    self.asked.insert((row.tab, row.number), asked.object.clone());
                }
                Event::Answered { tab, number, .. } => {
                    coverage.saw(Sight::AskedEarly);
                    if self.asked.remove(&(*tab, *number)).is_none() {
                        return Err("S1: what a page asked for early is decided twice".to_owned());
                    }
                }
                // Its disks are never damaged.
                Event::Opened { .. } | Event::Mended { .. } | Event::Migrated(_) => {}
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
        edition: &Edition,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        for token in tokens(recorded) {
            self.tokens.insert(token);
        }
        let is = |object: usize, name: &ObjectName| name.as_str() == OBJECTS[object];
        if !self.ids.insert(recorded.id) {
            return Err(format!("S2: the id {} is used twice", recorded.id));
        }
        let Some(sequence) = recorded.sequence else {
            coverage.saw(Sight::NotSynced);
            return if edition.pushes(recorded.object.as_str()) {
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
        if sequence.get() != last + 1 {
            return Err(format!("S4: sequence {} after {last}", sequence.get()));
        }
        let entry = Entry { recorded: recorded.clone(), fate: Fate::Pending, conflict_at: None };
        self.entries.insert(sequence.get(), entry);
        Ok(())
    }

    fn freeze(&mut self, batch: &[Sequence], edition: &Edition) -> Result<(), String> {
        if !self.frozen.is_empty() {
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
            let fate = entry.map(|entry| entry.fate);
            // A conflict that turned out to be none is sent again.
            if !matches!(fate, Some(Fate::Pending | Fate::Conflict | Fate::Probed)) {
                return Err(format!("S1: {} is frozen although it is {fate:?}", sequence.get()));
            }
        }
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
        let judged: Vec<Sequence> = received.verdicts.iter().map(|(sequence, _)| *sequence).collect();
        if !judged.is_empty() && judged != self.frozen {
            return Err(format!("S8: verdicts on {judged:?} while {:?} is frozen", self.frozen));
        }
        if received.is_probe && received.is_complete {
            coverage.saw(Sight::Probed);
            for sequence in std::mem::take(&mut self.frozen) {
                if let Some(entry) = self.entries.get_mut(&sequence.get()) {
                    entry.fate = Fate::Probed;
                }
            }
        }
        if !judged.is_empty() {
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

/// The tokens in the data of a mutation.
fn tokens(recorded: &Recorded) -> impl Iterator<Item = usize> {
    let fields = recorded.data.iter().flat_map(|data| data.iter());
    fields.filter_map(|(_, value)| value.as_str().strip_prefix("\"w")?.strip_suffix('"')?.parse().ok())
}
