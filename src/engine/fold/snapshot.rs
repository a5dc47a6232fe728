//! The server's records collected anew, beside the data, and put in their place when all are there.

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{ObjectName, RecordId, ServerVersion};

use super::{Folded, settle_applied};
use crate::engine::record::Base;
use crate::engine::row::Received;
use crate::engine::state::{Pending, Progress, Snapshot, State};
use crate::engine::table::Table;

/// Adds a page to the snapshot, and puts the snapshot in the place of the data when it is whole.
pub(super) fn collect(state: &mut State, received: &Received, folded: &mut Folded) {
    for change in &received.changes {
        if state.notes_version(change) {
            continue;
        }
        let Some(snapshot) = &mut state.snapshot else { return };
        let table = snapshot.tables.entry(&change.object);
        table.entry(&change.record_id).rebase(change.operation, change.data.as_ref(), change.version);
        table.drop_if_gone(&change.record_id);
    }
    let Some(snapshot) = &mut state.snapshot else { return };
    snapshot.checkpoint.clone_from(&received.checkpoint);
    if received.is_complete {
        swap(state, folded);
    }
}

/// What the server does not have any more goes, what is pending stays on top, and so does what never was the server's.
fn swap(state: &mut State, folded: &mut Folded) {
    let Some(Snapshot { checkpoint, objects, tables, .. }) = state.snapshot.take() else { return };
    for object in &objects {
        let known = state.tables.get(object).into_iter().flat_map(Table::records);
        let gone: Vec<RecordId> = known
            .filter(|record| !record.is_local() && !has(Defect::SnapshotKeepsGone))
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
            pending.gone_at = Some(ServerVersion::MAX);
        }
    }
    state.checkpoint = checkpoint;
    state.is_behind = false;
}

fn set_base(state: &mut State, object: &ObjectName, id: &RecordId, base: Option<Base>, folded: &mut Folded) {
    let entry = state.tables.entry(object).entry(id);
    // Whoever changed the record since, its pending mutations have not seen it.
    if entry.base().map(|base| base.version) != base.as_ref().map(|base| base.version) {
        for sequence in entry.pending() {
            if let Some(pending) = state.pending.get_mut(sequence) {
                pending.is_overtaken = true;
            }
        }
    }
    entry.set_base(base);
    state.replay(object, id);
    folded.touch(object, id);
}
