//! A verdict `conflict`: compared three ways before anybody is asked, and settled by the object's strategy where the server
//! only detects conflicts.

use objectql_sync_protocol::merge::{self, Rule, Settlement};
use objectql_sync_protocol::{Fields, Operation, Sequence};

use super::receive::set_applied;
use super::{Folded, Outcome, Superseded, remove_pending};
use crate::engine::record::apply;
use crate::engine::row::Recorded;
use crate::engine::state::{Parked, Pending, Progress, State};

/// How often one mutation may be rebased onto the server's state by itself before it waits for a decision.
const MAX_ROUNDS: u8 = 5;

/// Decides what a conflict comes to. A server that only compares versions reports conflicts that are none.
pub(super) fn judge_conflict(
    state: &mut State,
    sequence: Sequence,
    mut parked: Parked,
    rule: Option<&Rule>,
    folded: &mut Folded,
) {
    let Some(pending) = state.pending.get(&sequence) else { return };
    let Progress::Queued { rounds } = pending.progress else { return };
    let key = pending.recorded.key();
    let in_base = || Some(state.record(&key)?.base()?.version);
    let is_pulled = state.pulls(&key.object);
    if !is_pulled {
        parked.server_version = parked.server_version.or_else(|| state.seen_versions.get(&key).copied());
    }
    let version = parked.server_version.or_else(in_base);
    let mine = pending.recorded.data.as_ref();
    folded.has_self_conflict |= follows_own(state, pending);
    let is_held = match (mine, &parked.server_record) {
        (Some(mine), Some(theirs)) => {
            merge::already_holds(theirs, mine) && !follows_unapplied(state, pending)
        }
        // A delete of what is deleted is done.
        (None, None) => true,
        _ => false,
    };
    if is_held {
        match version {
            // Where the answer is paged, it stays on top until the changes have all come.
            Some(version) => set_applied(state, sequence, version, false),
            None => {
                folded.outcomes.push((pending.recorded.id, Outcome::Applied));
                remove_pending(state, sequence, folded);
            }
        }
        return;
    }
    parked.fields = fields_in_conflict(state, pending, parked.server_record.as_ref());
    let is_real = !parked.fields.is_empty() || mine.is_none();
    let settlement = match rule {
        _ if rounds >= MAX_ROUNDS => Settlement::Ask,
        _ if !is_real => Settlement::Again(mine.cloned()),
        None => Settlement::Ask,
        Some(rule) => {
            let theirs = parked.server_record.as_ref();
            merge::settle(rule, mine, pending.recorded.timestamp, theirs, &parked.fields)
        }
    };
    if let (false, Some(theirs), Some(version)) = (is_pulled, &parked.server_record, version) {
        let entry = state.tables.entry(&key.object).entry(&key.id);
        if entry.base().is_none() {
            // Its changes are not taken: nothing else says what there is to change.
            entry.rebase(Operation::Create, Some(theirs), version);
            folded.touch(&key.object, &key.id);
            folded.stale.insert(key.clone());
        }
    }
    let Some(pending) = state.pending.get_mut(&sequence) else { return };
    match settlement {
        Settlement::Ask => {
            folded.outcomes.push((pending.recorded.id, Outcome::Conflict));
            state.parked.push(sequence);
            pending.progress = Progress::Parked(Box::new(parked));
        }
        Settlement::Again(data) => {
            folded.touch(&key.object, &key.id);
            let lost = lost_between(pending.recorded.data.as_ref(), data.as_ref());
            if let Some(lost) = lost {
                let recorded = pending.recorded.clone();
                folded.superseded.push(Superseded { recorded, sequence, lost: Some(lost) });
            }
            pending.recorded.data = data;
            let entry = state.tables.entry(&key.object).entry(&key.id);
            // Where its page has not come yet, the create goes on being seen.
            let is_there = entry.base().is_some();
            if is_there && pending.recorded.operation == Operation::Create {
                // Somebody else made the record: from here on it is changed.
                pending.recorded.operation = Operation::Update;
                let data = pending.recorded.data.take();
                pending.recorded.data = data.map(|data| data.filtered(|name, _| !is_of_create(name)));
            }
            pending.recorded.base_version = version;
            pending.base = parked.server_record;
            pending.is_overtaken = false;
            pending.progress = Progress::Queued { rounds: rounds + 1 };
            folded.stale.insert(key);
        }
        Settlement::Lost => {
            let Some(Pending { recorded, .. }) = remove_pending(state, sequence, folded) else { return };
            folded.outcomes.push((recorded.id, Outcome::Superseded));
            let theirs = parked.server_record.as_ref();
            let lost = recorded.data.as_ref().map(|data| merge::lost_fields(data, theirs));
            folded.superseded.push(Superseded { recorded, sequence, lost });
        }
    }
}

/// The fields that differ on the two sides of a conflict.
pub(super) fn fields_in_conflict(state: &State, pending: &Pending, theirs: Option<&Fields>) -> Vec<String> {
    match (&pending.recorded.data, theirs) {
        (Some(mine), Some(theirs)) => {
            merge::conflicting_fields(known_base(state, pending).as_ref(), mine, theirs)
        }
        (Some(mine), None) => {
            mine.names().filter(|name| !merge::SYSTEM_FIELDS.contains(&name.as_str())).collect()
        }
        (None, _) => Vec::new(),
    }
}

/// The fields of `before` that are not in `after`.
fn lost_between(before: Option<&Fields>, after: Option<&Fields>) -> Option<Fields> {
    let after = after?;
    let lost = before?.filtered(|name, _| after.get_quoted(name).is_none());
    (!lost.is_empty()).then_some(lost)
}

/// The fields that only a create may set.
fn is_of_create(quoted_name: &str) -> bool {
    matches!(quoted_name, "\"id\"" | "\"created_at\"")
}

/// Whether an earlier mutation of the record went in the same request: then the server may have taken our own write for
/// somebody else's.
fn follows_own(state: &State, pending: &Pending) -> bool {
    let Some(record) = state.record(&pending.recorded.key()) else { return false };
    let mut earlier = record.pending().iter().take_while(|sequence| **sequence < pending.sequence);
    earlier.any(|sequence| state.frozen.contains(sequence))
}

/// Whether an earlier mutation of the record is still to be applied: what the server holds by chance now, that one changes.
fn follows_unapplied(state: &State, pending: &Pending) -> bool {
    let Some(record) = state.record(&pending.recorded.key()) else { return false };
    let earlier = record.pending().iter().take_while(|sequence| **sequence < pending.sequence);
    let mut unapplied = earlier.filter_map(|sequence| state.pending.get(sequence));
    unapplied.any(|pending| !matches!(pending.progress, Progress::Applied { .. }))
}

/// What the author of a mutation knew of the record: the base, or what settled meanwhile, with their own earlier mutations that
/// the server has applied. A difference from that is somebody else's.
fn known_base(state: &State, pending: &Pending) -> Option<Fields> {
    let record = state.record(&pending.recorded.key())?;
    let earlier = || {
        let sequences = record.pending().iter().take_while(|sequence| **sequence < pending.sequence);
        sequences.filter_map(|sequence| state.pending.get(sequence))
    };
    // The newest, and of those with the same version the first: it carries what has settled since.
    let newest = earlier()
        .chain(std::iter::once(pending))
        .reduce(|a, b| if b.recorded.base_version > a.recorded.base_version { b } else { a })?;
    let applied = earlier().filter(|pending| matches!(pending.progress, Progress::Applied { .. }));
    applied.fold(newest.base.clone(), |base, Pending { recorded: Recorded { operation, data, .. }, .. }| {
        apply(base, *operation, data.as_ref())
    })
}
