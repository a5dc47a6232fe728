//! What becomes of one mutation: pure decisions, without a clock, a database or HTTP.
//!
//! A mutation is *concurrent* where somebody else wrote to the record after the version its author had seen; a client's own
//! writes are known to it, so that a chain of mutations of one record needs no answer in between. It *overlaps* where it
//! writes a field that was among those writes, with another value. Only then does anything but "apply it" come up, and
//! only then do clocks matter.
//!
//! | | `last-write-wins` | `crdt` | `manual` |
//! | --- | --- | --- | --- |
//! | overlap | later stamp wins, the mutation as a whole; a conflict on `conflict_fields` | later stamp wins, field by field | conflict |
//! | delete of a record changed since | deleted | deleted | conflict |
//! | update of a record deleted since | rejected | rejected | conflict |
//! | create of a record that is there | as an update that knew nothing | the same | the same |
//!
//! **A life of a record** begins with a create and ends with a delete. A create of a deleted record is always applied and
//! begins a new life, whether its author knew of the delete or not: a delete is about the life its author saw, and nobody
//! can have meant to delete what did not exist yet. For the same reason an update or a delete whose author saw only an
//! earlier life (its base version is older than the create of the present one, and that create is not its own) does not
//! reach the present one: that life's delete has won already.

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::merge::{Stamp, differing_fields, is_system_field};
use objectql_sync_protocol::{
    Fields, MAX_FIELDS_BYTES, Mutation, Operation, ServerVersion, Strategy, SyncConfig, Timestamp, quoted,
};
use thiserror::Error;

use crate::record::{Effect, LiveRecord, Record, Write, field_name};

/// What becomes of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is written; the verdict is `applied` with the version the write makes.
    Write(Effect),
    /// Nothing is written; the verdict is `applied` with the present version. Either a later write has superseded the
    /// mutation, or what it wants is so already.
    Settled,
    /// Somebody has to decide.
    Conflict {
        /// The fields on which the two sides differ.
        fields: Vec<String>,
        /// The record as merging field by field would have it, where there is anything to merge.
        suggestion: Option<Fields>,
    },
    /// It is never to be applied.
    Refuse(Refusal),
}

/// Why a mutation is rejected. The text begins with a code for programs; the rest is for people.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It does not have the shape of a mutation.
    #[error("INVALID_MUTATION: {0}")]
    Invalid(String),
    /// The server has no such object.
    #[error("UNKNOWN_OBJECT: there is no object {0:?}")]
    UnknownObject(String),
    /// The object does not take part in sync.
    #[error("SYNC_DISABLED: the object {0:?} is not synced")]
    SyncDisabled(String),
    /// The object takes no mutations from clients.
    #[error("PULL_ONLY: the object {0:?} takes no mutations from clients")]
    PullOnly(String),
    /// A field does not have a value it may have.
    #[error("INVALID_FIELD: {0}")]
    Field(String),
    /// It is an update of a record that never was, or was deleted long ago.
    #[error("RECORD_NOT_FOUND: there is no such record")]
    NotFound,
    /// It is an update of a record that was deleted.
    #[error("RECORD_DELETED: the record was deleted")]
    Deleted,
    /// The record would grow beyond what a record may have.
    #[error("VALUE_TOO_LARGE: with this change the record would be longer than {MAX_FIELDS_BYTES} bytes")]
    TooLarge,
    /// It is so old that the server can no longer tell whether it was applied before.
    #[error(
        "MUTATION_TOO_OLD: recorded more than {retention_days} days ago, so that the server cannot tell whether it was applied before"
    )]
    TooOld {
        /// How long the server remembers mutations.
        retention_days: u32,
    },
}

/// Decides on one mutation, given the record as it is and the server's time.
#[must_use]
pub fn decide(record: Option<&Record>, mutation: &Mutation, sync: &SyncConfig, now: Timestamp) -> Decision {
    let case = Case::new(record, mutation, sync, now);
    let data = mutation.data.as_ref();
    match (mutation.operation, record, data) {
        (Operation::Delete, None | Some(Record::Deleted(_)), _) => Decision::Settled,
        (Operation::Delete, Some(Record::Live(live)), _) => case.delete(live),
        (Operation::Create, None | Some(Record::Deleted(_)), Some(data)) => case.create(data),
        (Operation::Create, Some(Record::Live(live)), Some(data)) => case.merge(live, data),
        (Operation::Update, Some(Record::Live(live)), Some(data)) => case.update(live, data),
        (Operation::Update, Some(Record::Deleted(write)), Some(data)) => case.update_deleted(write, data),
        (Operation::Update, None, _) => Decision::Refuse(Refusal::NotFound),
        (Operation::Create | Operation::Update, _, None) => {
            Decision::Refuse(Refusal::Invalid("a create or update needs data".to_owned()))
        }
    }
}

/// When and by whom a mutation was made, as the server counts it: a clock that runs ahead gains nothing.
#[must_use]
pub fn stamp(mutation: &Mutation, now: Timestamp) -> Stamp {
    let now = if has(Defect::FutureBelieved) { mutation.timestamp } else { now };
    Stamp { timestamp: mutation.timestamp.min(now), client_id: mutation.client_id.clone() }
}

/// One mutation and what it is judged by.
struct Case<'a> {
    mutation: &'a Mutation,
    sync: &'a SyncConfig,
    stamp: Stamp,
    base: Option<ServerVersion>,
    now: Timestamp,
}

impl<'a> Case<'a> {
    fn new(record: Option<&Record>, mutation: &'a Mutation, sync: &'a SyncConfig, now: Timestamp) -> Self {
        // A base above the record's version is none of this server's: it was restored from a backup. Nothing is known then.
        let known = |base: &ServerVersion| record.is_some_and(|record| *base <= record.version());
        let base = mutation.base_version.filter(known);
        Self { mutation, sync, stamp: stamp(mutation, now), base, now }
    }

    fn create(&self, data: &Fields) -> Decision {
        let id = self.mutation.record_id.to_json();
        let data = if data.get("id").is_some() { data.clone() } else { data.framed(&[("id", &id)], &[]) };
        self.sized(Effect::Create(self.without_future(data)), None)
    }

    fn update(&self, live: &LiveRecord, data: &Fields) -> Decision {
        if self.sync.strategy != Strategy::Manual && self.saw_only_an_earlier_life(live) {
            return Decision::Refuse(Refusal::Deleted);
        }
        self.merge(live, data)
    }

    fn update_deleted(&self, delete: &Write, data: &Fields) -> Decision {
        if has(Defect::DeletedRevived) {
            return self.create(data);
        }
        if self.sync.strategy != Strategy::Manual || !self.is_new(delete) {
            return Decision::Refuse(Refusal::Deleted);
        }
        let fields =
            data.iter().filter(|(key, _)| !is_system_field(key)).map(|(key, _)| field_name(key)).collect();
        Decision::Conflict { fields, suggestion: None }
    }

    fn delete(&self, live: &LiveRecord) -> Decision {
        if self.sync.strategy != Strategy::Manual {
            return if self.saw_only_an_earlier_life(live) || has(Defect::DeleteIgnored) {
                Decision::Settled
            } else {
                Decision::Write(Effect::Delete)
            };
        }
        let is_changed =
            |key: &&str| !is_system_field(key) && self.is_new(live.history.last_write(&field_name(key)));
        let fields: Vec<_> =
            live.data.iter().map(|(key, _)| key).filter(is_changed).map(field_name).collect();
        if fields.is_empty() {
            return Decision::Write(Effect::Delete);
        }
        Decision::Conflict { fields, suggestion: Some(live.data.clone()) }
    }

    /// An update of a record that is there, or a create of one.
    fn merge(&self, live: &LiveRecord, data: &Fields) -> Decision {
        if self.sync.strategy == Strategy::Crdt && !has(Defect::FieldsMergedAsOne) {
            return self.write_winners(live, data);
        }
        let overlap: Vec<_> =
            differing_fields(data, &live.data).filter(|key| self.new_write(live, key).is_some()).collect();
        if overlap.is_empty() {
            return self.write(live, data);
        }
        let asks = |key: &&str| {
            !has(Defect::ConflictFieldsIgnored) && self.sync.conflict_fields.contains(&field_name(key))
        };
        let is_manual = self.sync.strategy == Strategy::Manual && !has(Defect::ManualMerged);
        if is_manual || overlap.iter().any(asks) {
            return self.conflict(live, data, &overlap);
        }
        let wins = overlap.iter().all(|key| self.wins(live, key)) || has(Defect::TimeIgnored);
        if wins { self.write(live, data) } else { Decision::Settled }
    }

    /// The last write of a field of the record, if it is somebody else's and new to the author of the mutation.
    fn new_write<'r>(&self, live: &'r LiveRecord, key: &str) -> Option<&'r Write> {
        // A field that the record does not have was written by nobody.
        live.data.get_quoted(key)?;
        Some(live.history.last_write(&field_name(key))).filter(|write| self.is_new(write))
    }

    fn is_new(&self, write: &Write) -> bool {
        write.stamp.client_id != self.stamp.client_id && self.base.is_none_or(|base| write.version > base)
    }

    fn wins(&self, live: &LiveRecord, key: &str) -> bool {
        self.new_write(live, key).is_none_or(|write| self.stamp.wins_over(&write.stamp))
    }

    fn saw_only_an_earlier_life(&self, live: &LiveRecord) -> bool {
        let is_own = |write: &Write| write.stamp.client_id == self.stamp.client_id;
        self.base.is_some_and(|base| base < live.history.born.version)
            && !is_own(&live.history.born)
            && !live.history.fields.values().any(is_own)
    }

    fn conflict(&self, live: &LiveRecord, data: &Fields, overlap: &[&str]) -> Decision {
        let merged = live.data.merged(&self.settable(live, &self.winners(live, data)));
        let suggestion = Some(merged).filter(|merged| merged.as_str().len() <= MAX_FIELDS_BYTES);
        Decision::Conflict { fields: overlap.iter().map(|key| field_name(key)).collect(), suggestion }
    }

    fn winners(&self, live: &LiveRecord, data: &Fields) -> Fields {
        data.filtered(|key, _| is_system_field(key) || self.wins(live, key))
    }

    fn write_winners(&self, live: &LiveRecord, data: &Fields) -> Decision {
        let winners = self.winners(live, data);
        // With all of its values gone the mutation leaves no trace, not even in updated_at.
        let has_lost = winners.iter().count() < data.iter().count();
        if has_lost && winners.iter().all(|(key, _)| is_system_field(key)) {
            return Decision::Settled;
        }
        self.write(live, &winners)
    }

    fn write(&self, live: &LiveRecord, data: &Fields) -> Decision {
        let patch = self.settable(live, data);
        if patch.is_empty() {
            return Decision::Settled;
        }
        self.sized(Effect::Update(patch), Some(live))
    }

    /// The fields of `data` that a write to the record may set: not its id, not when it was made, and when it was last
    /// changed only forwards.
    fn settable(&self, live: &LiveRecord, data: &Fields) -> Fields {
        self.without_future(data.clone()).filtered(|key, value| match key {
            "\"id\"" => false,
            "\"created_at\"" => live.data.get_quoted(key).is_none_or(|value| value.is_null()),
            "\"updated_at\"" => match (time(Some(value)), time(live.data.get_quoted(key))) {
                (Some(new), Some(old)) => new > old,
                (None, Some(_)) => false,
                (_, None) => true,
            },
            _ => true,
        })
    }

    /// The fields with an `updated_at` that is not later than the server's clock: it could never be overtaken.
    fn without_future(&self, data: Fields) -> Fields {
        if time(data.get("updated_at")).is_none_or(|time| time <= self.now) {
            return data;
        }
        data.filtered(|key, _| key != "\"updated_at\"").with("updated_at", &quoted(&self.now.to_string()))
    }

    fn sized(&self, effect: Effect, live: Option<&LiveRecord>) -> Decision {
        let bytes = match (&effect, live) {
            (Effect::Create(data), _) | (Effect::Update(data), None) => data.as_str().len(),
            (Effect::Update(patch), Some(live)) => live.data.merged(patch).as_str().len(),
            (Effect::Delete, _) => 0,
        };
        // Clients refuse a longer one, and a change that all clients refuse would stop them all.
        if bytes > MAX_FIELDS_BYTES { Decision::Refuse(Refusal::TooLarge) } else { Decision::Write(effect) }
    }
}

fn time(value: Option<objectql_sync_protocol::Json<'_>>) -> Option<Timestamp> {
    match value?.scalar() {
        objectql_sync_protocol::Scalar::String(text) => Timestamp::parse(&text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
