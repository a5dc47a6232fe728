//! Which mutations go into the next request.

use hashbrown::{HashMap, HashSet};
use objectql_sync_protocol::{Mutation, ObjectName, RecordId, RecordKey, Sequence};

use crate::engine::config::Config;
use crate::engine::row::Recorded;
use crate::engine::state::{Pending, State};

/// The most bytes of data in one request, as long as there is more than one mutation in it: 1 MiB. Frameworks refuse
/// bodies of more than 1 to 2 MB by default.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// What a mutation has in a request beside its data and the names of its record.
const WIRE_BYTES: usize = 256;

/// The mutations of the next request: in the client's order without gaps that matter, so that a parent's create goes before
/// its child's. It ends where an object's batch size, the endpoint's maximum or the size of a request is reached; what is
/// left goes in the next one. Records that wait for a decision are passed over, with all that is pending on them.
pub(crate) fn plan(state: &State, config: &Config, max_mutations: usize) -> Vec<Sequence> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut of_object: HashMap<&str, u32> = HashMap::new();
    for pending in sendable(state, config) {
        let Recorded { object, record_id, data, .. } = &pending.recorded;
        let count = of_object.entry(object.as_str()).or_insert(0);
        let batch_size = config.sync_of(object).map_or(1, |sync| sync.batch_size);
        bytes +=
            WIRE_BYTES + key_bytes(object, record_id) + data.as_ref().map_or(0, |data| data.as_str().len());
        let is_full = *count >= batch_size || batch.len() >= max_mutations;
        if is_full || (bytes > MAX_REQUEST_BYTES && !batch.is_empty()) {
            break;
        }
        *count += 1;
        batch.push(pending.sequence);
    }
    batch
}

fn key_bytes(object: &ObjectName, id: &RecordId) -> usize {
    let id = match id {
        RecordId::Number(_) => 0,
        RecordId::String(text) => text.len(),
    };
    object.as_str().len() + id
}

/// What may be sent, in order. Earlier mutations of a record that waits for a decision wait too: they have been judged with it.
pub(crate) fn sendable<'a>(state: &'a State, config: &'a Config) -> impl Iterator<Item = &'a Pending> {
    let waiting: HashSet<RecordKey> = state
        .parked
        .iter()
        .filter_map(|sequence| state.pending.get(sequence))
        .map(|pending| pending.recorded.key())
        .collect();
    state.pending.iter().filter(move |pending| {
        pending.is_queued()
            && config.pushes(&pending.recorded.object)
            && (waiting.is_empty() || !waiting.contains(&pending.recorded.key()))
    })
}

/// The mutations of a batch as they go over the wire.
pub(crate) fn to_wire(state: &State, batch: &[Sequence]) -> Vec<Mutation> {
    let Some(client_id) = &state.client_id else { return Vec::new() };
    batch
        .iter()
        .filter_map(|sequence| state.pending.get(sequence))
        .map(|pending| pending.recorded.to_wire(pending.sequence, client_id))
        .collect()
}
