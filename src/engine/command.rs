//! What an app asks to be written, and what it gets back. What is recorded for it is decided in [`staged`](super::staged).

use objectql_sync_protocol::{Fields, MutationId, ObjectName, RecordId};

use super::fold::Outcome;
use super::query::Query;
use super::sync::progress::SyncReport;
use super::transaction::Read;

/// One write of an app. Each is recorded as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Makes records, all or none; replies with them. An id that is not given is made.
    Create {
        /// The object's name.
        object: ObjectName,
        /// The fields of each record.
        records: Vec<Fields>,
    },
    /// Changes fields of records, of each its own, all or none; replies with them.
    BulkUpdate {
        /// The object's name.
        object: ObjectName,
        /// Which records, and the fields to change of each.
        updates: Vec<(RecordId, Fields)>,
    },
    /// Removes records, all or none; replies how many there were.
    BulkDelete {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        ids: Vec<RecordId>,
    },
    /// Changes the same fields of the records that a query finds, all or none; replies how many.
    UpdateMany {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        query: Query,
        /// The fields to change.
        patch: Fields,
    },
    /// Removes the records that a query finds, all or none; replies how many.
    DeleteMany {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        query: Query,
    },
    /// Does all of these or none, if what was read for them is as it was.
    Transaction {
        /// What was read.
        reads: Vec<Read>,
        /// What to write, in order.
        commands: Vec<Self>,
    },
    /// Takes back the last write that was not taken back, as far as nobody changed it since; replies whether there was one.
    Undo,
    /// Makes again what was last taken back, likewise.
    Redo,
    /// Changes fields of a record; replies with the record.
    Update {
        /// The object's name.
        object: ObjectName,
        /// Which record.
        id: RecordId,
        /// The fields to change.
        patch: Fields,
    },
    /// Makes records as they are given, their times included, and changes those that are there to what is given; replies how many
    /// are others now.
    Import {
        /// The object's name.
        object: ObjectName,
        /// The fields of each record, with its id.
        records: Vec<Fields>,
    },
    /// Changes the record with that id, or makes it; replies with the record.
    Upsert {
        /// The object's name.
        object: ObjectName,
        /// The fields, with the id.
        record: Fields,
    },
    /// Removes a record; replies whether there was one.
    Delete {
        /// The object's name.
        object: ObjectName,
        /// Which record.
        id: RecordId,
    },
    /// Decides a conflict.
    Resolve {
        /// The mutation that waits.
        mutation: MutationId,
        /// The decision.
        resolution: Resolution,
    },
    /// Records a rejected mutation again, changed or not.
    Retry {
        /// The mutation that was rejected.
        mutation: MutationId,
        /// Fields to put over its data.
        patch: Option<Fields>,
    },
    /// Drops a rejected mutation.
    Discard {
        /// The mutation that was rejected.
        mutation: MutationId,
    },
}

/// How a conflict is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// The local change is made on top of the server's record.
    Mine,
    /// The local change is dropped.
    Theirs,
    /// The record becomes this.
    Record(Fields),
}

/// What an app gets back.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The record as it now is.
    Record(Fields),
    /// The records as they now are.
    Records(Vec<Fields>),
    /// The records that were made.
    Made(Vec<Fields>),
    /// Whether there was something to delete, to undo, to redo or to migrate.
    Existed(bool),
    /// How many records were changed or deleted.
    Count(usize),
    /// What a `sync()` did.
    Synced(SyncReport),
    /// What became of a mutation.
    Settled(Outcome),
    /// Done.
    Done,
}
