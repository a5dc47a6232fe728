//! Where records, changes and verdicts are kept.

pub mod sqlite;

use objectql_sync_protocol::{
    ClientId, Fields, MutationId, ObjectName, Operation, RecordKey, Sequence, ServerChange, ServerVersion,
    Timestamp,
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::error::Error;
use crate::record::Record;

/// A database that serves a sync endpoint. Its methods block; call them where blocking is allowed.
///
/// An implementor owes:
///
/// - **Atomic and durable**: what `work` writes in [`write`](Self::write) is there as a whole when `write` has returned
///   `Ok`, through a crash and a power cut, and not at all otherwise, also when `work` panics.
/// - **One order**: writes happen as if one after the other. The positions that [`Transaction::append`] gives out rise with
///   that order, and no change becomes visible at a position below one that a reader has already seen.
/// - **Consistent views**: all that `work` reads in [`read`](Self::read) is of one moment.
/// - **No reuse**: a position never comes back, whatever was deleted or pruned.
/// - **Exact keys**: `1` and `"1"` are two record ids; keys are compared byte by byte.
pub trait Store: Send + Sync + 'static {
    /// Runs `work` on a view of one moment.
    ///
    /// # Errors
    /// What `work` fails with, or [`Error::Store`].
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error>;

    /// Runs `work` in a transaction, which is committed if `work` succeeds. A store may run it again from the start where the
    /// database asks for that, so `work` must have no effect but on the transaction.
    ///
    /// # Errors
    /// What `work` fails with, or [`Error::Store`].
    fn write(&self, work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), Error>) -> Result<(), Error>;

    /// Forgets changes, tombstones and verdicts from before `before`, some at a time: call it again until there was nothing
    /// left to forget. A verdict is kept for as long as its mutation's id or its own time is not before `before`.
    ///
    /// # Errors
    /// [`StoreError`]
    fn prune(&self, before: Timestamp) -> Result<Pruned, StoreError>;

    /// Makes a new epoch, so that every client takes a fresh snapshot, and leaves a gap in the positions, so that none of
    /// those given out after the backup was made is given out again. For a database restored from a backup.
    ///
    /// # Errors
    /// [`StoreError`]
    fn begin_epoch(&self) -> Result<(), StoreError>;

    /// Tells the store which objects clients get changes of. If it holds records of one that is new among them, a new epoch
    /// begins, because clients have been past those records' changes without seeing them.
    ///
    /// # Errors
    /// [`StoreError`]
    fn publish(&self, objects: &[ObjectName]) -> Result<(), StoreError>;

    /// Whether the database can be read and written.
    ///
    /// # Errors
    /// [`StoreError`]
    fn check_health(&self) -> Result<(), StoreError>;

    /// How many calls of [`read`](Self::read) make sense at a time.
    fn readers(&self) -> usize;
}

/// What can be read in one moment.
pub trait View {
    /// Where the change log stands.
    ///
    /// # Errors
    /// [`StoreError`]
    fn state(&self) -> Result<LogState, StoreError>;

    /// The changes of the published objects after a position, in order.
    ///
    /// # Errors
    /// [`StoreError`]
    fn changes_after(&self, after: u64, limit: PageLimit) -> Result<Page, StoreError>;

    /// The live records of the published objects with a version above `after`, in the order of their versions, as creates;
    /// and among them, as deletes, the tombstones with a version above `since`.
    ///
    /// # Errors
    /// [`StoreError`]
    fn records_after(&self, after: u64, since: u64, limit: PageLimit) -> Result<Page, StoreError>;
}

/// What can be read and written in a transaction.
pub trait Transaction: View {
    /// The verdict on a mutation that was settled before.
    ///
    /// # Errors
    /// [`StoreError`]
    fn verdict(&self, mutation: MutationId) -> Result<Option<Box<RawValue>>, StoreError>;

    /// Whether a mutation of the client is remembered under that sequence number.
    ///
    /// # Errors
    /// [`StoreError`]
    fn is_sequence_taken(&self, client: &ClientId, sequence: Sequence) -> Result<bool, StoreError>;

    /// What is held under a key.
    ///
    /// # Errors
    /// [`StoreError`]
    fn record(&self, key: &RecordKey) -> Result<Option<Record>, StoreError>;

    /// Appends to the change log; the position is the version that the change makes.
    ///
    /// # Errors
    /// [`StoreError`]
    fn append(&mut self, change: &NewChange<'_>) -> Result<ServerVersion, StoreError>;

    /// Replaces what is held under a key.
    ///
    /// # Errors
    /// [`StoreError`]
    fn put(&mut self, key: &RecordKey, record: &Record) -> Result<(), StoreError>;

    /// Remembers the verdict on a mutation, in the place of an earlier one on it.
    ///
    /// # Errors
    /// [`StoreError`]
    fn remember(&mut self, settled: &Settled<'_>) -> Result<(), StoreError>;
}

/// Where the change log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The random name of this log's history; positions mean nothing in another's.
    pub epoch: String,
    /// The position of the last change ever.
    pub last_position: u64,
    /// Up to which position changes and tombstones have been forgotten.
    pub pruned_through: u64,
    /// Up to which time verdicts have been forgotten.
    pub forgotten_through: Timestamp,
}

/// A change that is about to get its position.
#[derive(Debug)]
pub struct NewChange<'a> {
    /// Of which record.
    pub key: &'a RecordKey,
    /// What happens to it.
    pub operation: Operation,
    /// The fields of a create, the changed ones of an update.
    pub data: Option<&'a Fields>,
    /// When it was made, as the server counts it.
    pub timestamp: Timestamp,
    /// The server's time.
    pub now: Timestamp,
}

/// A mutation and the verdict on it.
#[derive(Debug)]
pub struct Settled<'a> {
    /// The mutation.
    pub mutation: MutationId,
    /// Whose it is.
    pub client: &'a ClientId,
    /// Its place in that client's order.
    pub sequence: Sequence,
    /// What the client was told, to be told again in the same bytes.
    pub verdict: &'a RawValue,
    /// The server's time.
    pub now: Timestamp,
}

/// How much one answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// The most changes.
    pub changes: usize,
    /// The page ends with the change that brings its data to this many bytes.
    pub bytes: usize,
}

/// Some changes in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The changes.
    pub changes: Vec<ServerChange>,
    /// Whether more were there at that moment.
    pub has_more: bool,
}

impl Page {
    /// Collects changes until the limit is reached.
    ///
    /// # Errors
    /// The first error among the changes.
    pub fn collect<E>(
        changes: impl Iterator<Item = Result<ServerChange, E>>,
        limit: PageLimit,
    ) -> Result<Self, E> {
        let mut page = Self::default();
        let mut bytes = 0;
        for change in changes {
            if page.changes.len() >= limit.changes || bytes >= limit.bytes {
                page.has_more = true;
                break;
            }
            let change = change?;
            bytes += change.data.as_ref().map_or(0, |data| data.as_str().len());
            page.changes.push(change);
        }
        Ok(page)
    }
}

/// How much was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Changes.
    pub changes: usize,
    /// Verdicts.
    pub verdicts: usize,
}

/// What a database fails with.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot do it now: it is locked, its disk is full or not to be written to. Nothing was changed; it may work later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It holds something that it should not, or answered in a way that makes no sense.
    #[error("the database failed: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was written by a newer version of this server.
    #[error("the database has schema version {found}, but this server knows {known}: use a newer server")]
    TooNew {
        /// What the database says.
        found: i64,
        /// What this server knows.
        known: i64,
    },
}
