//! Data in the shape of a later version of their object.

use objectql_sync_protocol::{Fields, RecordKey, Sequence};

use super::Folded;
use super::conflict::fields_in_conflict;
use crate::engine::row::{Migrated, Part};
use crate::engine::state::{Progress, State};

/// Puts a portion in the place of what it was. Whatever else there is of the records and of the mutations stays: versions, ids,
/// times, what is frozen, and what waits for a decision.
pub(super) fn migrate(state: &mut State, migrated: &Migrated, folded: &mut Folded) {
    let Migrated { object, version, mutations, records, next, is_last } = migrated;
    for (id, fields) in records {
        if let Some(record) = state.tables.entry(object).get_mut(id) {
            record.reshape(fields);
            folded.stale.insert(RecordKey { object: object.clone(), id: id.clone() });
        }
        folded.touch(object, id);
    }
    for (sequence, part, fields) in mutations {
        reshape(state, *sequence, *part, fields, folded);
    }
    // When all that belongs to each has the new shape.
    for (sequence, ..) in mutations {
        name_fields_anew(state, *sequence);
    }
    // An undo would bring the old shape back.
    state.history.forget_all();
    state.versions.note(object, *version, *next, *is_last);
    // What was collected has the old shape, too.
    if *is_last && let Some(snapshot) = state.snapshot.take_if(|snapshot| snapshot.objects.contains(object)) {
        state.begin_snapshot(snapshot.objects);
    }
}

fn reshape(state: &mut State, sequence: Sequence, part: Part, fields: &Fields, folded: &mut Folded) {
    let (recorded, base, parked) = if let Some(pending) = state.pending.get_mut(&sequence) {
        let parked = if let Progress::Parked(parked) = &mut pending.progress { Some(parked) } else { None };
        (&mut pending.recorded, &mut pending.base, parked)
    } else if let Some(rejected) = state.rejected.iter_mut().find(|rejected| rejected.sequence == sequence) {
        (&mut rejected.recorded, &mut rejected.base, None)
    } else {
        return;
    };
    let key = recorded.key();
    let place = match (part, parked) {
        (Part::Data, _) => &mut recorded.data,
        (Part::Base, _) => base,
        (Part::ServerRecord, Some(parked)) => &mut parked.server_record,
        (Part::Suggestion, Some(parked)) => &mut parked.suggestion,
        (Part::ServerRecord | Part::Suggestion, None) => return,
    };
    *place = Some(fields.clone());
    folded.touch(&key.object, &key.id);
    folded.stale.insert(key);
}

/// The fields of a conflict may have other names.
fn name_fields_anew(state: &mut State, sequence: Sequence) {
    let Some(pending) = state.pending.get(&sequence) else { return };
    let Progress::Parked(parked) = &pending.progress else { return };
    let fields = fields_in_conflict(state, pending, parked.server_record.as_ref());
    if let Some(Progress::Parked(parked)) =
        state.pending.get_mut(&sequence).map(|pending| &mut pending.progress)
    {
        parked.fields = fields;
    }
}
