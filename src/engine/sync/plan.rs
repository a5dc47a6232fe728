//! Which mutations go into the next request.

use hashbrown::{HashMap, HashSet};
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{Mutation, ObjectName, RecordId, RecordKey, Sequence};

use crate::engine::config::Config;
use crate::engine::row::Recorded;
use crate::engine::state::{Pending, State};

/// The most bytes of data in one request, as long as there is more than one mutation in it: 1 MiB. Frameworks refuse
/// bodies of more than 1 to 2 MB by default.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// What a mutation has in a request beside its data and the names of its record.
const WIRE_BYTES: usize = 256;

/// What bounds a batch, beside the objects' batch sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    /// The most mutations.
    pub(crate) max_mutations: usize,
    /// Whether the server takes a client's own earlier mutation of a record in the same request for somebody else's.
    pub(crate) is_one_per_record: bool,
    /// Mutations that wait until the others have gone.
    pub(crate) aside: &'a [Sequence],
}

/// The mutations of the next request: in the client's order without gaps that matter, so that a parent's create goes before
/// its child's. It ends where an object's batch size, the endpoint's maximum or the size of a request is reached; what is
/// left goes in the next one. Records that wait for a decision are passed over, with all that is pending on them.
pub(crate) fn plan(state: &State, config: &Config, limits: Limits<'_>) -> Vec<Sequence> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut of_object: HashMap<&str, u32> = HashMap::new();
    let mut records = HashSet::new();
    for pending in sendable(state, config, limits.aside) {
        if limits.is_one_per_record && !records.insert(pending.recorded.key()) {
            continue;
        }
        let Recorded { object, record_id, data, .. } = &pending.recorded;
        let count = of_object.entry(object.as_str()).or_insert(0);
        let batch_size = config.sync_of(object).map_or(1, |sync| sync.batch_size);
        bytes +=
            WIRE_BYTES + key_bytes(object, record_id) + data.as_ref().map_or(0, |data| data.as_str().len());
        let is_full =
            (*count >= batch_size && !has(Defect::BatchSizeIgnored)) || batch.len() >= limits.max_mutations;
        if is_full || (bytes > MAX_REQUEST_BYTES && !batch.is_empty()) {
            break;
        }
        *count += 1;
        batch.push(pending.sequence);
    }
    if batch.is_empty() {
        // One at a time: another of them shall not fall with it.
        batch.extend(first_aside(state, config, limits.aside));
    }
    batch
}

/// The next mutation to be sent, if any.
pub(crate) fn next(state: &State, config: &Config, aside: &[Sequence]) -> Option<Sequence> {
    let next = sendable(state, config, aside).next().map(|pending| pending.sequence);
    next.or_else(|| first_aside(state, config, aside))
}

fn first_aside(state: &State, config: &Config, aside: &[Sequence]) -> Option<Sequence> {
    sendable(state, config, &[]).map(|pending| pending.sequence).find(|sequence| aside.contains(sequence))
}

fn key_bytes(object: &ObjectName, id: &RecordId) -> usize {
    let id = match id {
        RecordId::Number(_) => 0,
        RecordId::String(text) => text.len(),
    };
    object.as_str().len() + id
}

/// What may be sent, in order. Earlier mutations of a record that waits for a decision wait too: they have been judged with it.
pub(crate) fn sendable<'a>(
    state: &'a State,
    config: &'a Config,
    aside: &[Sequence],
) -> impl Iterator<Item = &'a Pending> + use<'a> {
    let waiting: HashSet<RecordKey> = state
        .parked
        .iter()
        .chain(aside)
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
