//! An answer of the server: changes, then verdicts, then the checkpoint.

use hashbrown::HashMap;
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{Fields, Operation, RecordKey, Sequence, ServerVersion, merge};

use super::conflict::judge_conflict;
use super::snapshot::collect;
use super::{
    CREATE_REJECTED, Folded, Superseded, dependant_reason, reject, reject_dependants, settle_applied,
};
use crate::engine::record::Record;
use crate::engine::row::{Change, Received, Recorded, Verdict};
use crate::engine::state::{Parked, Progress, Rejected, State};

/// What the changes of an answer say of the mutations whose echo is awaited, by record.
type News = HashMap<RecordKey, RecordNews>;

/// What is awaited of one record.
#[derive(Debug, Default)]
struct RecordNews {
    /// The mutations that the server has applied, with the version each led to.
    applied: Vec<(Sequence, ServerVersion)>,
    /// The newest version that came.
    latest: Option<ServerVersion>,
}

pub(super) fn receive(state: &mut State, received: &Received, folded: &mut Folded) {
    state.clock.saw(received.newest);
    state.clock.measured_offset(received.clock_offset_ms);
    if received.is_snapshot {
        collect(state, received, folded);
        return;
    }
    let mut news = awaited_news(state, received);
    let mut lost = lost_before(state, received, &news);
    // Changes before verdicts: another client's v4 must not be skipped because our own v5 is acknowledged beside it.
    let taken = received.changes.len()
        - usize::from(has(Defect::CheckpointBeforeData) && !received.changes.is_empty());
    for change in received.changes.iter().take(taken) {
        let key = RecordKey { object: change.object.clone(), id: change.record_id.clone() };
        if state.notes_version(change) {
            continue;
        }
        let is_recognised = received.is_probe && recognise(state, &key, change);
        let news = news.get_mut(&key);
        let is_own = is_recognised
            || news
                .as_ref()
                .is_some_and(|news| news.applied.iter().any(|(_, version)| *version == change.version));
        apply_change(state, &key, change, is_own, folded);
        if let Some(news) = news {
            news.latest = news.latest.max(Some(change.version));
            compare(state, &key, news, change.version, &mut lost);
        }
    }
    mark_echoes(state, &news);
    if state.checkpoint.is_none() && (received.is_repeat || received.verdicts.is_empty()) {
        // The first answer of all may be a snapshot, taken after somebody undid what the batch had done the first time.
        for sequence in &state.frozen {
            if let Some(pending) = state.pending.get_mut(sequence) {
                pending.gone_at = Some(ServerVersion::MAX);
            }
        }
    }
    let known = state.rejected.len();
    for (sequence, verdict) in &received.verdicts {
        judge(state, *sequence, verdict, &news, received.has_echoes, folded);
    }
    for (sequence, lost) in lost {
        supersede(state, sequence, lost, folded);
    }
    // After all verdicts: one of its own counts more than what its create's says about it.
    let creates = state.rejected.iter().skip(known).filter(|it| it.recorded.operation == Operation::Create);
    for create in creates.cloned().collect::<Vec<_>>() {
        blame(state, &create, known);
        reject_dependants(state, &create.recorded, &create.reason, folded);
    }
    if !received.verdicts.is_empty() || (received.is_probe && received.is_complete) {
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

/// What was rejected beside the create of its record, was rejected for that: it is made again with it.
fn blame(state: &mut State, create: &Rejected, known: usize) {
    let key = create.recorded.key();
    let of_record = |it: &&mut Rejected| it.recorded.key() == key && it.sequence > create.sequence;
    let later = state.rejected.iter_mut().skip(known).filter(of_record);
    for dependant in later.take_while(|it| it.recorded.operation != Operation::Create) {
        dependant.cause = Some(create.recorded.id);
        if dependant.reason == CREATE_REJECTED {
            dependant.reason = dependant_reason(&create.recorded, &create.reason);
        }
    }
}

/// The mutations that are applied and whose echo is awaited, by record.
fn awaited_news(state: &State, received: &Received) -> News {
    let mut news = News::new();
    let judged = received.verdicts.iter().filter_map(|(sequence, verdict)| match verdict {
        Verdict::Applied(version) => Some((*sequence, *version)),
        Verdict::Conflict { .. } | Verdict::Rejected { .. } => None,
    });
    let earlier = state.applied.iter().filter_map(|sequence| match state.pending.get(sequence)?.progress {
        Progress::Applied { version, .. } => Some((*sequence, version)),
        Progress::Queued { .. } | Progress::Parked(_) => None,
    });
    for (sequence, version) in judged.chain(earlier) {
        if let Some(pending) = state.pending.get(&sequence) {
            news.entry(pending.recorded.key()).or_default().applied.push((sequence, version));
        }
    }
    news
}

/// The mutations whose verdict names a version that is in the base already, without their values: they were superseded before
/// they came.
fn lost_before(state: &State, received: &Received, news: &News) -> Vec<(Sequence, Fields)> {
    let mut lost = Vec::new();
    for (sequence, _) in &received.verdicts {
        let Some(key) = state.pending.get(sequence).map(|pending| pending.recorded.key()) else { continue };
        let version = state.record(&key).and_then(Record::base).map(|base| base.version);
        if let (Some(version), Some(news)) = (version, news.get(&key)) {
            compare(state, &key, news, version, &mut lost);
        }
    }
    lost
}

/// Compares the base, which has that version, with the mutations that are said to have led to it.
fn compare(
    state: &State,
    key: &RecordKey,
    news: &RecordNews,
    version: ServerVersion,
    lost: &mut Vec<(Sequence, Fields)>,
) {
    for (sequence, _) in news.applied.iter().filter(|(_, applied)| *applied == version) {
        // The last word counts: plain servers begin to count anew after a delete.
        lost.retain(|(other, _)| other != sequence);
        let base = state.record(key).and_then(Record::base);
        let values = state.pending.get(sequence).and_then(|pending| lost_values(&pending.recorded, base));
        lost.extend(values.map(|values| (*sequence, values)));
    }
}

/// The values of a mutation that the base does not hold; nothing of a delete that has been carried out.
fn lost_values(recorded: &Recorded, base: Option<&crate::engine::record::Base>) -> Option<Fields> {
    match (&recorded.data, base) {
        (_, Some(base)) if base.is_partial => None,
        (Some(data), base) => {
            Some(merge::lost_fields(data, base.map(|base| &base.fields))).filter(|lost| !lost.is_empty())
        }
        (None, Some(_)) => Some(Fields::empty()),
        (None, None) => None,
    }
}

fn supersede(state: &mut State, sequence: Sequence, lost: Fields, folded: &mut Folded) {
    let Some(pending) = state.pending.get_mut(&sequence) else { return };
    let Progress::Applied { is_superseded, .. } = &mut pending.progress else { return };
    if !std::mem::replace(is_superseded, true) {
        let recorded = pending.recorded.clone();
        let lost = recorded.data.is_some().then_some(lost);
        folded.superseded.push(Superseded { recorded, sequence, lost });
    }
}

/// Finds our own mutation in a change, after an answer to it was lost and the server cannot be asked the same again. The
/// driver's own `updated_at` tells it apart from the same values written by somebody else.
fn recognise(state: &mut State, key: &RecordKey, change: &Change) -> bool {
    let is_same = |recorded: &Recorded| match (&recorded.data, &change.data) {
        (Some(mine), Some(theirs)) => {
            let same_time = match (mine.get("updated_at"), theirs.get("updated_at")) {
                (Some(mine), Some(theirs)) => mine.deep_equals(theirs),
                _ => true,
            };
            recorded.operation == change.operation && same_time && merge::already_holds(theirs, mine)
        }
        (None, None) => true,
        _ => false,
    };
    let found = state.frozen.iter().copied().find(|sequence| {
        state.pending.get(sequence).is_some_and(|pending| {
            pending.is_queued() && pending.recorded.key() == *key && is_same(&pending.recorded)
        })
    });
    if let Some(sequence) = found {
        set_applied(state, sequence, change.version, true);
    }
    found.is_some()
}

/// The mutation is applied with that version.
pub(super) fn set_applied(state: &mut State, sequence: Sequence, version: ServerVersion, is_echoed: bool) {
    if let Some(pending) = state.pending.get_mut(&sequence) {
        pending.progress = Progress::Applied { version, is_echoed, is_superseded: false };
        state.applied.push(sequence);
    }
}

fn apply_change(state: &mut State, key: &RecordKey, change: &Change, is_own: bool, folded: &mut Folded) {
    let table = state.tables.entry(&change.object);
    let entry = table.entry(&change.record_id);
    entry.rebase(change.operation, change.data.as_ref(), change.version);
    if entry.pending().is_empty() {
        table.drop_if_gone(&change.record_id);
    } else {
        let is_delete = change.operation == Operation::Delete;
        if is_delete || !is_own {
            for sequence in entry.pending() {
                let Some(pending) = state.pending.get_mut(sequence) else { continue };
                pending.is_overtaken |= !is_own;
                if is_delete {
                    pending.gone_at = pending.gone_at.max(Some(change.version));
                }
            }
        }
        if !has(Defect::ViewStale) {
            folded.stale.insert(key.clone());
        }
    }
    folded.touch(&change.object, &change.record_id);
}

fn mark_echoes(state: &mut State, news: &News) {
    for sequence in &state.applied {
        let Some(pending) = state.pending.get_mut(sequence) else { continue };
        if let Progress::Applied { version, is_echoed, .. } = &mut pending.progress {
            let latest = news.get(&pending.recorded.key()).and_then(|news| news.latest);
            *is_echoed |= latest >= Some(*version);
        }
    }
}

fn judge(
    state: &mut State,
    sequence: Sequence,
    verdict: &Verdict,
    news: &News,
    has_echoes: bool,
    folded: &mut Folded,
) {
    let Some(pending) = state.pending.get(&sequence) else { return };
    match verdict {
        Verdict::Applied(version) => {
            let latest = news.get(&pending.recorded.key()).and_then(|news| news.latest);
            // Where echoes come for certain, what was not echoed by the last page was in the base before, or was undone since.
            let is_echoed = latest >= Some(*version)
                || (has_echoes && state.pulls(&pending.recorded.object))
                // A delete of what was not found: what came of the record since is not to be deleted.
                || (*version == ServerVersion::MAX && latest.is_some());
            set_applied(state, sequence, *version, is_echoed);
        }
        Verdict::Conflict { server_record, server_version, suggestion, rule } => {
            let parked = Parked {
                server_record: server_record.clone(),
                server_version: *server_version,
                fields: Vec::new(),
                suggestion: suggestion.clone(),
            };
            judge_conflict(state, sequence, parked, rule.as_deref(), folded);
        }
        Verdict::Rejected { reason } => reject(state, sequence, reason, None, folded),
    }
}
