//! Row by row into the state. The same for our own rows and other tabs', for the first time and after a restart.

use hashbrown::{HashMap, HashSet};
use objectql_sync_protocol::{
    Fields, MAX_SAFE_INTEGER, MutationId, ObjectName, Operation, RecordId, RecordKey, Sequence,
    ServerVersion, merge,
};

use super::record::{Base, apply};
use super::row::{Change, Event, Received, Recorded, Row, TabId, Verdict};
use super::state::{Parked, Pending, Progress, Rejected, Snapshot, State};
use super::table::Table;

/// How often one mutation may be rebased onto the server's state by itself before it waits for a decision.
const MAX_ROUNDS: u8 = 5;

/// What a fold did, for those who watch.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The records that may look different now, by object; a record may come more than once.
    pub(crate) touched: Vec<(ObjectName, Vec<RecordId>)>,
    /// The mutations that were parked.
    pub(crate) parked: Vec<MutationId>,
    /// The mutations that were rejected.
    pub(crate) rejected: Vec<MutationId>,
    /// How many mutations the server applied.
    pub(crate) applied: u32,
    /// Whether the row came from the server.
    pub(crate) is_from_server: bool,
    /// The records whose base or pending mutations changed. What is seen of one is computed once, when all that changes it
    /// is done: an answer on a hundred of ten thousand edits of a record would be a million merges otherwise.
    stale: HashSet<RecordKey>,
}

impl Folded {
    fn touch(&mut self, object: &ObjectName, id: &RecordId) {
        match self.touched.iter_mut().find(|(name, _)| name == object) {
            Some((_, ids)) => ids.push(id.clone()),
            None => self.touched.push((object.clone(), vec![id.clone()])),
        }
    }
}

/// Folds one row into the state.
pub(crate) fn fold(state: &mut State, row: &Row) -> Folded {
    let mut folded = Folded::default();
    for event in &row.events {
        match event {
            Event::Opened { client_id } => {
                state.client_id.get_or_insert_with(|| client_id.clone());
            }
            Event::Recorded(mutations) => {
                for recorded in mutations {
                    record(state, recorded, &mut folded);
                }
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
                receive(state, received, &mut folded);
            }
            Event::ResetBegan { objects } => {
                lead(state, row.tab);
                state.snapshot = Some(Snapshot { objects: objects.clone(), ..Snapshot::default() });
            }
            Event::Decided { sequence, instead } => {
                state.rejected.retain(|rejected| rejected.sequence != *sequence);
                remove_pending(state, *sequence, &mut folded);
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

fn record(state: &mut State, recorded: &Recorded, folded: &mut Folded) {
    let Recorded { object, record_id, operation, data, .. } = recorded;
    state.clock.saw(recorded.timestamp);
    folded.touch(object, record_id);
    let Some(sequence) = recorded.sequence else {
        // Not synced: there is no server to wait for.
        state.tables.entry(object).entry(record_id).rebase(
            *operation,
            data.as_ref(),
            ServerVersion::default(),
        );
        state.replay(object, record_id);
        return;
    };
    state.last_sequence = state.last_sequence.max(sequence);
    let entry = state.tables.entry(object).entry(record_id);
    let base = entry.complete_base().cloned();
    entry.push(sequence, *operation, data.as_ref());
    let progress = Progress::Queued { rounds: 0 };
    let pending = Pending { recorded: recorded.clone(), sequence, base, gone_at: None, progress };
    state.pending.insert(pending);
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

fn receive(state: &mut State, received: &Received, folded: &mut Folded) {
    state.clock.saw(received.newest);
    state.clock.measured_offset(received.clock_offset_ms);
    if received.is_snapshot {
        collect(state, received, folded);
        return;
    }
    // Changes before verdicts: another client's v4 must not be skipped because our own v5 is acknowledged beside it.
    let mut news = awaited_records(state, received);
    for change in &received.changes {
        apply_change(state, change, folded);
        if let Some(latest) =
            news.get_mut(&RecordKey { object: change.object.clone(), id: change.record_id.clone() })
        {
            *latest = (*latest).max(Some(change.version));
        }
    }
    mark_echoes(state, &news);
    if received.is_repeat && state.checkpoint.is_none() {
        // The first answer of all may be a snapshot, taken after somebody undid what the batch had done the first time.
        for (sequence, _) in &received.verdicts {
            if let Some(pending) = state.pending.get_mut(sequence) {
                pending.gone_at = ServerVersion::new(MAX_SAFE_INTEGER).ok();
            }
        }
    }
    let known = state.rejected.len();
    for (sequence, verdict) in &received.verdicts {
        judge(state, *sequence, verdict, &news, folded);
    }
    // After all verdicts: one of its own counts more than what its create's says about it.
    let creates = state.rejected.iter().skip(known).filter(|it| it.recorded.operation == Operation::Create);
    for Rejected { recorded, reason, .. } in creates.cloned().collect::<Vec<_>>() {
        reject_dependants(state, &recorded, &reason, folded);
    }
    if !received.verdicts.is_empty() {
        state.frozen.clear();
    }
    if received.is_complete {
        settle_applied(state, folded);
    }
    state.is_behind = !received.is_complete;
    if received.checkpoint.is_some() {
        state.checkpoint.clone_from(&received.checkpoint);
    }
}

/// The records whose echo is awaited, each with the newest version that came for it (none yet).
fn awaited_records(state: &State, received: &Received) -> HashMap<RecordKey, Option<ServerVersion>> {
    let judged = received.verdicts.iter().map(|(sequence, _)| sequence);
    let sequences = judged.chain(&state.applied);
    sequences
        .filter_map(|sequence| state.pending.get(sequence))
        .map(|pending| (pending.recorded.key(), None))
        .collect()
}

fn apply_change(state: &mut State, change: &Change, folded: &mut Folded) {
    let table = state.tables.entry(&change.object);
    let entry = table.entry(&change.record_id);
    entry.rebase(change.operation, change.data.as_ref(), change.version);
    if entry.pending().is_empty() {
        table.drop_if_gone(&change.record_id);
    } else {
        if change.operation == Operation::Delete {
            for sequence in entry.pending() {
                if let Some(pending) = state.pending.get_mut(sequence) {
                    pending.gone_at = pending.gone_at.max(Some(change.version));
                }
            }
        }
        folded.stale.insert(RecordKey { object: change.object.clone(), id: change.record_id.clone() });
    }
    folded.touch(&change.object, &change.record_id);
}

fn mark_echoes(state: &mut State, news: &HashMap<RecordKey, Option<ServerVersion>>) {
    for sequence in &state.applied {
        let Some(pending) = state.pending.get_mut(sequence) else { continue };
        if let Progress::Applied { version, is_echoed } = &mut pending.progress {
            let latest = news.get(&pending.recorded.key()).copied().flatten();
            *is_echoed |= latest >= Some(*version);
        }
    }
}

fn judge(
    state: &mut State,
    sequence: Sequence,
    verdict: &Verdict,
    news: &HashMap<RecordKey, Option<ServerVersion>>,
    folded: &mut Folded,
) {
    let Some(pending) = state.pending.get_mut(&sequence) else { return };
    match verdict {
        Verdict::Applied(version) => {
            let latest = news.get(&pending.recorded.key()).copied().flatten();
            pending.progress = Progress::Applied { version: *version, is_echoed: latest >= Some(*version) };
            state.applied.push(sequence);
            folded.applied += 1;
        }
        Verdict::Conflict { server_record, server_version, suggestion } => {
            let parked = Parked {
                server_record: server_record.clone(),
                server_version: *server_version,
                fields: Vec::new(),
                suggestion: suggestion.clone(),
            };
            judge_conflict(state, sequence, parked, folded);
        }
        Verdict::Rejected { reason } => reject(state, sequence, reason, folded),
    }
}

/// Compares three ways before anybody is asked: a server that only compares versions reports conflicts that are none.
fn judge_conflict(state: &mut State, sequence: Sequence, mut parked: Parked, folded: &mut Folded) {
    let Some(pending) = state.pending.get(&sequence) else { return };
    let Progress::Queued { rounds } = pending.progress else { return };
    let key = pending.recorded.key();
    let in_base = || Some(state.record(&key)?.base()?.version);
    let version = parked.server_version.or_else(in_base);
    let mine = pending.recorded.data.as_ref();
    let is_held = match (mine, &parked.server_record) {
        (Some(mine), Some(theirs)) => merge::already_holds(theirs, mine),
        // A delete of what is deleted is done.
        (None, None) => true,
        _ => false,
    };
    if is_held {
        folded.applied += 1;
        if remove_pending(state, sequence, folded).is_some() {
            hand_on(state, &key, version, parked.server_record);
        }
        return;
    }
    parked.fields = match (mine, &parked.server_record) {
        (Some(mine), Some(theirs)) => {
            merge::conflicting_fields(known_base(state, pending).as_ref(), mine, theirs)
        }
        (Some(mine), None) => {
            mine.names().filter(|name| !merge::SYSTEM_FIELDS.contains(&name.as_str())).collect()
        }
        (None, _) => Vec::new(),
    };
    let is_real = !parked.fields.is_empty() || mine.is_none() || rounds >= MAX_ROUNDS;
    let Some(pending) = state.pending.get_mut(&sequence) else { return };
    if is_real {
        folded.parked.push(pending.recorded.id);
        state.parked.push(sequence);
        pending.progress = Progress::Parked(Box::new(parked));
    } else {
        pending.recorded.base_version = version;
        pending.base = parked.server_record;
        pending.progress = Progress::Queued { rounds: rounds + 1 };
    }
}

/// What the author of a mutation knew of the record: the base, or what settled meanwhile, with their own earlier mutations that
/// the server has applied. A difference from that is somebody else's.
fn known_base(state: &State, pending: &Pending) -> Option<Fields> {
    let record = state.record(&pending.recorded.key())?;
    let earlier = || {
        let sequences = record.pending().iter().take_while(|sequence| **sequence < pending.sequence);
        sequences.filter_map(|sequence| state.pending.get(sequence))
    };
    let newest =
        earlier().chain(std::iter::once(pending)).max_by_key(|pending| pending.recorded.base_version)?;
    let applied = earlier().filter(|pending| matches!(pending.progress, Progress::Applied { .. }));
    applied.fold(newest.base.clone(), |base, Pending { recorded, .. }| {
        apply(base, recorded.operation, recorded.data.as_ref())
    })
}

fn reject(state: &mut State, sequence: Sequence, reason: &str, folded: &mut Folded) {
    let Some(pending) = remove_pending(state, sequence, folded) else { return };
    let key = pending.recorded.key();
    let next = next_pending(state, &key);
    // What was handed on to the rejected one goes on to the next, unless that one knows better.
    if next.is_some_and(|next| next.recorded.base_version < pending.recorded.base_version) {
        hand_on(state, &key, pending.recorded.base_version, pending.base);
    }
    folded.rejected.push(pending.recorded.id);
    state.rejected.push(Rejected { sequence, recorded: pending.recorded, reason: reason.to_owned() });
}

/// A create that is rejected takes along what was to be done with its record.
fn reject_dependants(state: &mut State, create: &Recorded, reason: &str, folded: &mut Folded) {
    let later = state.record(&create.key()).map(|record| record.pending()).unwrap_or_default();
    let dependants: Vec<Sequence> = later
        .iter()
        .filter(|other| Some(**other) > create.sequence)
        .filter_map(|other| state.pending.get(other))
        .take_while(|other| other.recorded.operation != Operation::Create)
        .filter(|other| other.is_queued())
        .map(|other| other.sequence)
        .collect();
    let reason = format!("the create of the record was rejected (mutation {}): {reason}", create.id);
    for dependant in dependants {
        reject(state, dependant, &reason, folded);
    }
}

/// Settles what is applied, once the changes up to the answer's checkpoint are in the base.
fn settle_applied(state: &mut State, folded: &mut Folded) {
    for sequence in std::mem::take(&mut state.applied) {
        let Some(Pending { progress: Progress::Applied { version, is_echoed }, .. }) =
            state.pending.get(&sequence)
        else {
            continue;
        };
        let (version, is_echoed) = (*version, *is_echoed);
        let Some(pending) = state.pending.remove(&sequence) else { continue };
        let Pending { recorded, base: before, gone_at, .. } = pending;
        let key = recorded.key();
        let Recorded { object, record_id, operation, data, .. } = recorded;
        let entry = state.tables.entry(&object).entry(&record_id);
        entry.remove(sequence);
        let latest = entry.base().map(|base| base.version).max(gone_at);
        let is_known = is_echoed || latest >= Some(version);
        let would_revive = operation == Operation::Update && entry.base().is_none();
        if !is_known && !would_revive {
            entry.rebase(operation, data.as_ref(), version);
        }
        // The base may be past that version already, by changes that the author of the next mutation did not see.
        let at_version = match entry.base() {
            Some(base) if base.version == version => entry.complete_base().cloned(),
            _ => apply(before, operation, data.as_ref()),
        };
        hand_on(state, &key, at_version.is_some().then_some(version), at_version);
        folded.touch(&object, &record_id);
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

fn next_pending<'a>(state: &'a State, key: &RecordKey) -> Option<&'a Pending> {
    state.pending.get(state.record(key)?.pending().first()?)
}

/// Adds a page to the snapshot, and puts the snapshot in the place of the data when it is whole.
fn collect(state: &mut State, received: &Received, folded: &mut Folded) {
    let Some(snapshot) = &mut state.snapshot else { return };
    for change in &received.changes {
        let table = snapshot.tables.entry(&change.object);
        table.entry(&change.record_id).rebase(change.operation, change.data.as_ref(), change.version);
        table.drop_if_gone(&change.record_id);
    }
    snapshot.checkpoint.clone_from(&received.checkpoint);
    if received.is_complete {
        swap(state, folded);
    }
}

/// What the server does not have any more goes, what is pending stays on top.
fn swap(state: &mut State, folded: &mut Folded) {
    let Some(Snapshot { checkpoint, objects, tables }) = state.snapshot.take() else { return };
    for object in &objects {
        let known = state.tables.get(object).into_iter().flat_map(Table::records);
        let gone: Vec<RecordId> = known
            .filter(|record| tables.get(object).is_none_or(|table| table.get(&record.id).is_none()))
            .map(|record| record.id.clone())
            .collect();
        for id in gone {
            set_base(state, object, &id, None, folded);
        }
    }
    for (object, table) in tables.iter() {
        for record in table.records() {
            set_base(state, object, &record.id, record.base().cloned(), folded);
        }
    }
    // What was applied before the snapshot was taken is in it, or was undone by somebody since.
    for sequence in &state.applied {
        if let Some(Progress::Applied { is_echoed, .. }) =
            state.pending.get_mut(sequence).map(|pending| &mut pending.progress)
        {
            *is_echoed = true;
        }
    }
    settle_applied(state, folded);
    // Likewise what was sent and may have been applied: a record that is missing now does not come back with the verdict.
    for sequence in &state.frozen {
        let is_missing = |pending: &Pending| {
            state
                .tables
                .get(&pending.recorded.object)
                .and_then(|it| it.get(&pending.recorded.record_id)?.base())
                .is_none()
        };
        if let Some(pending) = state.pending.get_mut(sequence).filter(|pending| is_missing(pending)) {
            pending.gone_at = ServerVersion::new(MAX_SAFE_INTEGER).ok();
        }
    }
    state.checkpoint = checkpoint;
    state.is_behind = false;
}

fn set_base(state: &mut State, object: &ObjectName, id: &RecordId, base: Option<Base>, folded: &mut Folded) {
    state.tables.entry(object).entry(id).set_base(base);
    state.replay(object, id);
    folded.touch(object, id);
}
