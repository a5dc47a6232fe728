//! Row by row into the state. The same for our own rows and other tabs', for the first time and after a restart.

mod conflict;
mod migrate;
mod receive;
mod snapshot;

use hashbrown::HashSet;
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    Direction, Fields, MutationId, ObjectName, Operation, RecordId, RecordKey, Sequence, ServerVersion,
};

use super::early::Early;
use super::history::{Step, Unit};
use super::places::Places;
use super::record::apply;
use super::row::{Event, Recorded, Row, Subscription, TabId};
use super::state::{Pending, Progress, Rejected, State};

/// Why rows say that a dependant is rejected. What the server said of the create they do not say again for each.
pub(crate) const CREATE_REJECTED: &str = "the create of the record was rejected";

/// What a fold did, for those who watch.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The records that may look different now, by object; a record may come more than once.
    pub(crate) touched: Vec<(ObjectName, Vec<RecordId>)>,
    /// The mutations that got an outcome, in the order in which they got it.
    pub(crate) outcomes: Vec<(MutationId, Outcome)>,
    /// What was superseded, and with which values.
    pub(crate) superseded: Vec<Superseded>,
    /// Whether the row came from the server.
    pub(crate) is_from_server: bool,
    /// What turned out to be lost, and the segments that are.
    pub(crate) lost: Vec<String>,
    pub(crate) lost_segments: Vec<u64>,
    /// What became of what pages asked for: of whose append each was, and what the page is told.
    pub(crate) answers: Vec<((TabId, u64), String)>,
    /// Whether two mutations of one record in one request conflicted with each other.
    pub(crate) has_self_conflict: bool,
    /// The records whose base or pending mutations changed. What is seen of one is computed once, when all that changes it
    /// is done: an answer on a hundred of ten thousand edits of a record would be a million merges otherwise.
    stale: HashSet<RecordKey>,
}

/// What became of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it.
    Applied,
    /// The server took it, and other values won.
    Superseded,
    /// Somebody has to decide.
    Conflict,
    /// The server will never take it.
    Rejected,
    /// The app dropped it, or put another one in its place.
    Discarded,
}

impl Outcome {
    /// The word an app sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Discarded => "discarded",
        }
    }
}

/// A mutation whose values lost, and what is lost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Superseded {
    pub(crate) recorded: Recorded,
    pub(crate) sequence: Sequence,
    /// The values that nobody has any more; none for a delete.
    pub(crate) lost: Option<Fields>,
}

impl Folded {
    fn touch(&mut self, object: &ObjectName, id: &RecordId) {
        self.ids_of(object).push(id.clone());
    }

    fn ids_of(&mut self, object: &ObjectName) -> &mut Vec<RecordId> {
        let place = self.touched.iter().position(|(name, _)| name == object).unwrap_or_else(|| {
            self.touched.push((object.clone(), Vec::new()));
            self.touched.len() - 1
        });
        &mut self.touched.get_mut(place).expect("the place was found or just made").1
    }

    /// These records of an object may look different now.
    pub(crate) fn touch_all(&mut self, object: &ObjectName, ids: Vec<RecordId>) {
        if !ids.is_empty() {
            self.ids_of(object).extend(ids);
        }
    }

    /// How many mutations came to that.
    pub(crate) fn count(&self, wanted: Outcome) -> u32 {
        let count = self.outcomes.iter().filter(|(_, outcome)| *outcome == wanted).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The mutations that came to that.
    pub(crate) fn of(&self, wanted: Outcome) -> impl Iterator<Item = MutationId> {
        self.outcomes.iter().filter(move |(_, outcome)| *outcome == wanted).map(|(id, _)| *id)
    }
}

/// Folds one row, which has that key, into the state.
pub(crate) fn fold(state: &mut State, key: u64, row: &Row) -> Folded {
    let mut folded = Folded::default();
    state.begin(key, (row.tab, row.number));
    for event in &row.events {
        match event {
            Event::Opened { client_id } => {
                state.client_id.get_or_insert_with(|| client_id.clone());
            }
            Event::Renamed { client_id } => {
                lead(state, row.tab);
                state.client_id = Some(client_id.clone());
            }
            Event::Recorded(mutations) => {
                let unit = record_all(state, mutations, &mut folded);
                state.history.wrote(unit);
            }
            Event::Reverted { is_redo, mutations } => {
                let unit = record_all(state, mutations, &mut folded);
                state.history.reverted(*is_redo, unit);
            }
            Event::Frozen { batch } => {
                lead(state, row.tab);
                state.frozen.clone_from(batch);
            }
            Event::Thawed => {
                lead(state, row.tab);
                state.frozen.clear();
            }
            Event::Received(received) => {
                lead(state, row.tab);
                folded.is_from_server = true;
                receive::receive(state, received, &mut folded);
            }
            Event::Subscribed(subscriptions) => {
                lead(state, row.tab);
                subscribe(state, subscriptions);
            }
            Event::ResetBegan { objects } => {
                lead(state, row.tab);
                state.begin_snapshot(objects.clone());
            }
            Event::Mended { client_id, objects, segments, details } => {
                lead(state, row.tab);
                state.mend(client_id.clone(), objects);
                folded.lost.extend(details.iter().cloned());
                folded.lost_segments.extend(segments);
            }
            Event::Migrated(migrated) => {
                lead(state, row.tab);
                migrate::migrate(state, migrated, &mut folded);
            }
            Event::Asked(asked) => {
                state.asked.push(Early { by: (row.tab, row.number), asked: asked.clone() })
            }
            Event::Answered { tab, number, reply } => {
                let by = (*tab, *number);
                state.asked.retain(|early| early.by != by);
                folded.answers.push((by, reply.clone()));
            }
            Event::Decided { sequence, instead } => {
                state.rejected.retain(|rejected| rejected.sequence != *sequence);
                if let Some(pending) = remove_pending(state, *sequence, &mut folded) {
                    folded.outcomes.push((pending.recorded.id, Outcome::Discarded));
                }
                refresh(state, &mut folded);
                if let Some(recorded) = instead {
                    record(state, recorded, &mut folded);
                }
            }
        }
        refresh(state, &mut folded);
    }
    folded
}

/// Computes what is seen of the records that changed.
fn refresh(state: &mut State, folded: &mut Folded) {
    for RecordKey { object, id } in folded.stale.drain() {
        state.replay(&object, &id);
    }
}

fn lead(state: &mut State, tab: TabId) {
    if state.leader != Some(tab) {
        state.leader = Some(tab);
        state.generation += 1;
    }
}

/// Takes note of the objects that take part in sync. Of one whose changes are wanted only from now on, the earlier ones are
/// behind the checkpoint: a snapshot has to bring them.
fn subscribe(state: &mut State, subscriptions: &[Subscription]) {
    let pulled = |list: &[Subscription]| -> Vec<ObjectName> {
        let is_pulled = |subscription: &&Subscription| subscription.direction != Direction::PushOnly;
        list.iter().filter(is_pulled).map(|subscription| subscription.object.clone()).collect()
    };
    let before = state.subscriptions.replace(subscriptions.to_vec());
    let objects = pulled(subscriptions);
    let known = before.as_deref().map(pulled).unwrap_or_default();
    let is_behind = state.checkpoint.is_some() || state.snapshot.is_some();
    if is_behind && objects.iter().any(|object| !known.contains(object)) {
        state.begin_snapshot(objects);
    }
}

/// Records mutations of the app; gives what they did to each record, to be taken back one day.
fn record_all(state: &mut State, mutations: &[Recorded], folded: &mut Folded) -> Unit {
    let (mut steps, mut places) = (Vec::with_capacity(mutations.len()), Places::default());
    for recorded in mutations {
        let (before, after) = record(state, recorded, folded);
        let key = recorded.key();
        // Most are alone, and need no table.
        let hash = if mutations.len() > 1 { places.hash(&key) } else { 0 };
        let is_it = |place: u32| steps.get(place as usize).is_some_and(|step: &Step| step.key == key);
        let place = places.find(hash, &is_it);
        if let Some(step) = place.and_then(|place| steps.get_mut(place as usize)) {
            step.after = after;
        } else {
            if mutations.len() > 1 {
                places.insert(hash, steps.len());
            }
            steps.push(Step { key, before, after });
        }
    }
    // The create of a record that was there before its object took part changes nothing to be seen.
    steps.retain(|step| step.before != step.after);
    Unit::of(steps)
}

/// Puts a mutation on its record; gives how that looked before, and how it looks after.
fn record(state: &mut State, recorded: &Recorded, folded: &mut Folded) -> (Option<Fields>, Option<Fields>) {
    let Recorded { object, record_id, operation, data, .. } = recorded;
    state.clock.saw(recorded.timestamp);
    folded.touch(object, record_id);
    let entry = state.tables.entry(object).entry(record_id);
    let before = entry.visible().cloned();
    let Some(sequence) = recorded.sequence else {
        // Not synced: there is no server to wait for.
        entry.rebase(*operation, data.as_ref(), ServerVersion::default());
        state.replay(object, record_id);
        let after = state.tables.get(object).and_then(|table| table.get(record_id)?.visible().cloned());
        return (before, after);
    };
    state.last_sequence = state.last_sequence.max(sequence);
    if *operation == Operation::Create && entry.is_local() {
        // From here on it is the create's: where the server refuses that, nothing stays behind.
        entry.set_base(None);
    }
    let base = entry.complete_base().cloned();
    entry.push(sequence, *operation, data.as_ref());
    let after = entry.visible().cloned();
    state.pending.insert(Pending {
        recorded: recorded.clone(),
        sequence,
        base,
        gone_at: None,
        is_overtaken: false,
        progress: Progress::Queued { rounds: 0 },
    });
    (before, after)
}

/// Takes a mutation out of what is pending, with what it did to its record.
fn remove_pending(state: &mut State, sequence: Sequence, folded: &mut Folded) -> Option<Pending> {
    let pending = state.pending.remove(&sequence)?;
    state.parked.retain(|parked| *parked != sequence);
    let Recorded { object, record_id, .. } = &pending.recorded;
    state.tables.entry(object).entry(record_id).remove(sequence);
    folded.touch(object, record_id);
    folded.stale.insert(pending.recorded.key());
    Some(pending)
}

/// Takes a mutation off its record and keeps it for the app.
fn reject(
    state: &mut State,
    sequence: Sequence,
    reason: &str,
    cause: Option<MutationId>,
    folded: &mut Folded,
) {
    let Some(pending) = remove_pending(state, sequence, folded) else { return };
    let Pending { recorded, base, .. } = pending;
    let key = recorded.key();
    // What was handed on to the rejected one goes on to the next, unless that one knows better, or less.
    let takes_it = |next: &Pending| next.recorded.base_version < recorded.base_version && !next.is_overtaken;
    if next_pending(state, &key).is_some_and(takes_it) {
        hand_on(state, &key, recorded.base_version, base.clone());
    }
    folded.outcomes.push((recorded.id, Outcome::Rejected));
    if has(Defect::RejectedDropped) {
        return;
    }
    state.rejected.push(Rejected { sequence, recorded, base, cause, reason: reason.to_owned() });
}

/// A create that is rejected takes along what was to be done with its record.
fn reject_dependants(state: &mut State, create: &Recorded, reason: &str, folded: &mut Folded) {
    for dependant in dependants(state, create) {
        let reason = dependant_reason(create, reason);
        reject(state, dependant, &reason, Some(create.id), folded);
    }
}

/// What is to be done with the record of a create, and was not sent or is to be sent again.
pub(crate) fn dependants(state: &State, create: &Recorded) -> Vec<Sequence> {
    let later = state.record(&create.key()).map(|record| record.pending()).unwrap_or_default();
    later
        .iter()
        .filter(|other| Some(**other) > create.sequence)
        .filter_map(|other| state.pending.get(other))
        .take_while(|other| other.recorded.operation != Operation::Create)
        .filter(|other| other.is_queued())
        .map(|other| other.sequence)
        .collect()
}

fn dependant_reason(create: &Recorded, reason: &str) -> String {
    format!("{CREATE_REJECTED} (mutation {}): {reason}", create.id)
}

/// Settles what is applied, once the changes up to the answer's checkpoint are in the base.
fn settle_applied(state: &mut State, folded: &mut Folded) {
    let applied = std::mem::take(&mut state.applied);
    if has(Defect::AppliedKept) {
        state.applied.clone_from(&applied);
    }
    for sequence in applied {
        let Some(Pending { progress: Progress::Applied { version, is_echoed, is_superseded }, .. }) =
            state.pending.get(&sequence)
        else {
            continue;
        };
        let (version, is_echoed, is_superseded) = (*version, *is_echoed, *is_superseded);
        let Some(pending) = state.pending.remove(&sequence) else { continue };
        let outcome = if is_superseded { Outcome::Superseded } else { Outcome::Applied };
        folded.outcomes.push((pending.recorded.id, outcome));
        let Pending { recorded, base: before, gone_at, .. } = pending;
        let key = recorded.key();
        let Recorded { object, record_id, operation, data, .. } = &recorded;
        let entry = state.tables.entry(object).entry(record_id);
        entry.remove(sequence);
        let latest = entry.base().map(|base| base.version).max(gone_at);
        let is_known = (is_echoed || latest >= Some(version)) && !has(Defect::AckRaisesBase);
        let would_revive = *operation == Operation::Update && entry.base().is_none();
        if !is_known && !would_revive {
            entry.rebase(*operation, data.as_ref(), version);
        }
        // The base may be past that version already, by changes that the author of the next mutation did not see.
        let at_version = match entry.base() {
            Some(base) if base.version == version => entry.complete_base().cloned(),
            _ => apply(before, *operation, data.as_ref()),
        };
        if next_pending(state, &key).is_some_and(|next| next.is_overtaken) {
            tell_later(state, &recorded);
        } else {
            hand_on(state, &key, at_version.is_some().then_some(version), at_version);
        }
        folded.touch(object, record_id);
        folded.stale.insert(key);
    }
}

/// Gives the version that a settled mutation led to, and the record of that version, to the next mutation of the record. Only a
/// settled mutation does so: versions are never predicted.
fn hand_on(state: &mut State, key: &RecordKey, version: Option<ServerVersion>, base: Option<Fields>) {
    let Some(next) = next_pending(state, key).map(|next| next.sequence) else { return };
    if let Some(next) = state.pending.get_mut(&next).filter(|next| !next.is_parked()) {
        next.recorded.base_version = version;
        next.base = base;
    }
}

/// Where somebody else changed the record since the next mutation was made, that one keeps the version it was made on: with a
/// later one the server would take the foreign change as known to its author. What is settled is known all the same. The
/// first mutation of each base version carries the base for the others.
fn tell_later(state: &mut State, settled: &Recorded) {
    let sequences = state.record(&settled.key()).map(|record| record.pending().to_vec()).unwrap_or_default();
    let mut last = None;
    for sequence in sequences {
        let Some(pending) = state.pending.get_mut(&sequence) else { continue };
        let version = Some(pending.recorded.base_version);
        if version != last {
            pending.base = apply(pending.base.take(), settled.operation, settled.data.as_ref());
            last = version;
        }
    }
}

fn next_pending<'a>(state: &'a State, key: &RecordKey) -> Option<&'a Pending> {
    state.pending.get(state.record(key)?.pending().first()?)
}
