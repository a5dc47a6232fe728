//! One request and its answer, over any store: what is checked, in which order, and what is written.

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    Checkpoint, Conflict, Mutation, MutationResult, ObjectDefinition, Operation, ReceivedMutation,
    ReceivedPush, ServerChange, ServerVersion, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::checkpoint::Place;
use crate::decide::{Decision, Refusal, decide, stamp};
use crate::error::Error;
use crate::objects::Objects;
use crate::record::{Effect, Record, Write};
use crate::store::{LogState, NewChange, PageLimit, Settled, StoreError, Transaction, View};
use crate::validate::check_fields;

const DAY_MS: i64 = 86_400_000;
/// The most bytes of all verdicts in one answer. Clients have to hold a whole answer, and one mutation's verdict, with
/// three records of 1 MiB at most, is always shorter.
const MAX_VERDICT_BYTES: usize = 12 << 20;

/// What an endpoint goes by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The objects it knows.
    pub objects: Objects,
    /// The most mutations in one request.
    pub max_mutations: usize,
    /// How long changes and verdicts are kept, in days.
    pub retention_days: u32,
    /// How much one answer holds.
    pub page: PageLimit,
}

/// An answer as it is sent. The verdicts are text, so that a repeated mutation gets the first one's bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// One verdict for each mutation, in the same order.
    pub results: Vec<Box<RawValue>>,
    /// The changes after the client's checkpoint.
    pub server_changes: Vec<ServerChange>,
    /// Where the client's knowledge ends once it has them.
    pub checkpoint: Checkpoint,
    /// Whether there are more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

impl Rules {
    /// The time before which the server forgets.
    #[must_use]
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.millis() - i64::from(self.retention_days) * DAY_MS)
    }

    /// Answers a request without mutations.
    ///
    /// # Errors
    /// `CHECKPOINT_UNKNOWN`, or the store's.
    pub fn pull(&self, view: &dyn View, last_checkpoint: Option<&str>) -> Result<Answer, Error> {
        let state = view.state()?;
        let place = find_place(last_checkpoint, &state)?;
        self.answer(view, &state, place, Vec::new())
    }

    /// Applies the mutations of a request in order and answers it. All of it is in the transaction, so that an error leaves
    /// no trace. The checkpoint comes first: a client that has lost its place has to learn the present state before its
    /// mutations are judged.
    ///
    /// # Errors
    /// `CHECKPOINT_UNKNOWN`, `CLIENT_ID_CLONED`, `ANSWER_TOO_LARGE`, or the store's.
    pub fn push(
        &self,
        store: &mut dyn Transaction,
        request: &ReceivedPush,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        let place = find_place(request.last_checkpoint.as_deref(), &store.state()?)?;
        let mut results = Vec::with_capacity(request.mutations.len());
        let mut bytes = 0;
        for mutation in &request.mutations {
            let verdict = self.settle(store, mutation, now)?;
            bytes += verdict.get().len();
            if bytes > MAX_VERDICT_BYTES {
                return Err(Error::AnswerTooLarge { max_bytes: MAX_VERDICT_BYTES });
            }
            results.push(verdict);
        }
        let state = store.state()?;
        self.answer(store, &state, place, results)
    }

    fn answer(
        &self,
        view: &dyn View,
        state: &LogState,
        place: Place,
        results: Vec<Box<RawValue>>,
    ) -> Result<Answer, Error> {
        let page = match place {
            Place::Log { after } => view.changes_after(after, self.page)?,
            Place::Snapshot { after, since } => view.records_after(after, since, self.page)?,
        };
        let last = page.changes.last().map(|change| change.server_version.get());
        let next = match (page.has_more, place, last) {
            (true, Place::Log { .. }, Some(_)) if has(Defect::PageSkipped) => {
                Place::Log { after: state.last_position }
            }
            (true, Place::Log { .. }, Some(after)) => Place::Log { after },
            (true, Place::Snapshot { since, .. }, Some(after)) => Place::Snapshot { after, since },
            // The client has all there is: it is as far as the log, whatever objects the last changes were of.
            _ => Place::Log { after: state.last_position },
        };
        Ok(Answer {
            results,
            server_changes: page.changes,
            checkpoint: next.checkpoint(state),
            has_more: page.has_more,
        })
    }

    /// Settles one mutation: applies it or not, and remembers the verdict.
    fn settle(
        &self,
        store: &mut dyn Transaction,
        received: &ReceivedMutation,
        now: Timestamp,
    ) -> Result<Box<RawValue>, Error> {
        let mutation = match received {
            ReceivedMutation::Valid(mutation) => mutation,
            // Not remembered: what cannot be read has no place in its client's order. Read again, it is refused again.
            ReceivedMutation::Invalid { id, error } => {
                let known = id.map(|id| store.verdict(id)).transpose()?.flatten();
                return known
                    .map_or_else(|| verdict_text(&rejected(&Refusal::Invalid(error.to_string()))), Ok);
            }
        };
        match store.verdict(mutation.id)? {
            _ if has(Defect::DedupeOff) => {}
            Some(known) if !is_rebased(&known, mutation) => return Ok(known),
            Some(_) => {}
            None if store.is_sequence_taken(&mutation.client_id, mutation.sequence)? => {
                return Err(Error::ClientIdCloned);
            }
            None => {}
        }
        let result = match self.admit(mutation, &store.state()?, now) {
            Ok(object) => judge(store, object, mutation, now)?,
            Err(refusal) => rejected(&refusal),
        };
        let verdict = verdict_text(&result)?;
        if has(Defect::VerdictForgotten) {
            return Ok(verdict);
        }
        store.remember(&Settled {
            mutation: mutation.id,
            client: &mutation.client_id,
            sequence: mutation.sequence,
            verdict: &verdict,
            now,
        })?;
        Ok(verdict)
    }

    /// Whether a mutation is to be judged at all, and by which object's rules.
    fn admit(
        &self,
        mutation: &Mutation,
        state: &LogState,
        now: Timestamp,
    ) -> Result<&ObjectDefinition, Refusal> {
        let recorded = Timestamp::from_millis(i64::try_from(mutation.id.millis()).unwrap_or(i64::MAX));
        if recorded < self.horizon(now) || recorded <= state.forgotten_through {
            return Err(Refusal::TooOld { retention_days: self.retention_days });
        }
        let name = mutation.object_name.as_str();
        let object = self.objects.get(name).ok_or_else(|| Refusal::UnknownObject(name.to_owned()))?;
        if !object.sync.enabled {
            return Err(Refusal::SyncDisabled(name.to_owned()));
        }
        if !object.sync.pushes() {
            return Err(Refusal::PullOnly(name.to_owned()));
        }
        check_fields(object, mutation)?;
        Ok(object)
    }
}

/// Whether a mutation that was a conflict comes again, made on a version that its author had not seen then. A conflict is final
/// only for the base version it was judged with: a client that finds no real difference goes on with what it has learnt.
fn is_rebased(known: &RawValue, mutation: &Mutation) -> bool {
    #[derive(Deserialize)]
    struct Known {
        conflict: Judged,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Judged {
        client_mutation: Base,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Base {
        base_version: Option<ServerVersion>,
    }
    serde_json::from_str::<Known>(known.get())
        .is_ok_and(|known| known.conflict.client_mutation.base_version < mutation.base_version)
}

fn find_place(checkpoint: Option<&str>, state: &LogState) -> Result<Place, Error> {
    match checkpoint {
        None => Ok(Place::beginning(state)),
        Some(text) => Place::parse(text, state).ok_or(Error::CheckpointUnknown),
    }
}

fn judge(
    store: &mut dyn Transaction,
    object: &ObjectDefinition,
    mutation: &Mutation,
    now: Timestamp,
) -> Result<MutationResult, StoreError> {
    let record = store.record(&mutation.key())?;
    match decide(record.as_ref(), mutation, &object.sync, now) {
        Decision::Write(effect) => {
            let server_version = write(store, record.as_ref(), mutation, &effect, now)?;
            Ok(MutationResult::Applied { server_version })
        }
        Decision::Settled => {
            // Of a record that never was, the client now knows that it is not there at this point of the log.
            let server_version = match record {
                Some(record) => record.version(),
                None => version_at(store.state()?.last_position)?,
            };
            Ok(MutationResult::Applied { server_version })
        }
        Decision::Conflict { fields, suggestion } => Ok(MutationResult::Conflict {
            conflict: Box::new(Conflict {
                object_name: mutation.object_name.clone(),
                record_id: mutation.record_id.clone(),
                client_mutation: mutation.clone(),
                server_record: record.as_ref().and_then(Record::data).cloned(),
                conflicting_fields: fields,
                suggested_resolution: suggestion,
                server_version: record.as_ref().map(Record::version),
            }),
        }),
        Decision::Refuse(refusal) => {
            if let (true, Some(data)) = (has(Defect::RefusedWritten), &mutation.data) {
                write(store, record.as_ref(), mutation, &Effect::Create(data.clone()), now)?;
            }
            Ok(rejected(&refusal))
        }
    }
}

fn write(
    store: &mut dyn Transaction,
    before: Option<&Record>,
    mutation: &Mutation,
    effect: &Effect,
    now: Timestamp,
) -> Result<ServerVersion, StoreError> {
    let key = mutation.key();
    let stamp = stamp(mutation, now);
    let (operation, data) = match effect {
        Effect::Create(data) => (Operation::Create, Some(data)),
        Effect::Update(data) => (Operation::Update, Some(data)),
        Effect::Delete => (Operation::Delete, None),
    };
    // What a record's last write says of its time is what clients are told: it never goes back.
    let timestamp =
        before.map_or(stamp.timestamp, |record| stamp.timestamp.max(record.last().stamp.timestamp));
    let version = store.append(&NewChange { key: &key, operation, data, timestamp, now })?;
    store.put(&key, &Record::after(before, effect, Write { version, stamp }))?;
    Ok(version)
}

fn version_at(position: u64) -> Result<ServerVersion, StoreError> {
    ServerVersion::new(position).map_err(|error| StoreError::Broken(Box::new(error)))
}

fn rejected(refusal: &Refusal) -> MutationResult {
    MutationResult::Rejected { reason: refusal.to_string() }
}

fn verdict_text(result: &MutationResult) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(result).map_err(|_| Error::Internal)
}
