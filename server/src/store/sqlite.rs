//! A store in one SQLite file: nothing to set up, as durable as the disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use objectql_sync_protocol::merge::Stamp;
use objectql_sync_protocol::{
    ClientId, Fields, MutationId, ObjectName, Operation, RecordId, RecordKey, Sequence, ServerChange,
    ServerVersion, Timestamp,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use serde_json::value::RawValue;

use super::{LogState, NewChange, Page, PageLimit, Pruned, Settled, Store, StoreError, Transaction, View};
use crate::error::Error;
use crate::record::{LiveRecord, Record, Write};

/// The version of the schema, kept in `user_version`.
const SCHEMA_VERSION: i64 = 1;
/// How long a statement waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many readers work at a time; each holds a connection of its own.
const READERS: usize = 4;
/// How many rows one call of `prune` deletes at most, so that no writer waits long for it.
const PRUNED_AT_ONCE: i64 = 5000;
/// How many positions are left out when a new epoch begins.
const EPOCH_GAP: i64 = 1_000_000;

/// A SQLite database file. All writes go through one connection, one after the other; reads have connections of their own
/// and do not wait for writes (WAL).
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Opens the database, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be opened or is no database of this server's.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let mut writer = connect(&path)?;
        migrate(&mut writer)?;
        Ok(Self { path, writer: Mutex::new(writer), readers: Mutex::new(Vec::new()) })
    }

    /// The writing connection. A panic while it was held has rolled its transaction back, so it is as good as before.
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!("the journal mode is {mode}, not wal").into()));
    }
    // FULL: a commit is on the disk before it is answered. With NORMAL, WAL loses the last ones in a power cut.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => transaction.execute_batch(include_str!("schema.sql"))?,
        SCHEMA_VERSION => return Ok(()),
        _ => return Err(StoreError::TooNew { found, known: SCHEMA_VERSION }),
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(transaction.commit()?)
}

impl Store for SqliteStore {
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error> {
        let idle = self.idle_readers().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => connect(&self.path)?,
        };
        let transaction =
            reader.transaction_with_behavior(TransactionBehavior::Deferred).map_err(StoreError::from)?;
        let outcome = work(&SqliteTransaction(&transaction));
        transaction.finish().map_err(StoreError::from)?;
        self.idle_readers().push(reader);
        outcome
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), Error>) -> Result<(), Error> {
        let mut writer = self.writer();
        // Immediate: a transaction that begins with reading and then wants to write may find that another was first.
        let transaction =
            writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        work(&mut SqliteTransaction(&transaction))?;
        Ok(transaction.commit().map_err(StoreError::from)?)
    }

    fn prune(&self, before: Timestamp) -> Result<Pruned, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pruned = Pruned {
            changes: prune_changes(&transaction, before)?,
            verdicts: prune_verdicts(&transaction, before)?,
        };
        transaction.commit()?;
        Ok(pruned)
    }

    fn begin_epoch(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        renew_epoch(&transaction)?;
        // SQLite has no row for a table that nothing was ever put into, as in a backup made before the first write.
        transaction.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'changes', 0
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'changes')",
            [],
        )?;
        transaction
            .execute("UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'changes'", [EPOCH_GAP])?;
        Ok(transaction.commit()?)
    }

    fn publish(&self, objects: &[ObjectName]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let published = serde_json::to_string(objects).map_err(broken)?;
        let has_unseen: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM json_each(?1) new WHERE new.value NOT IN
               (SELECT old.value FROM store, json_each(store.published) old)
               AND EXISTS (SELECT 1 FROM records WHERE object = new.value))",
            [&published],
            |row| row.get(0),
        )?;
        if has_unseen {
            renew_epoch(&transaction)?;
        }
        transaction.execute("UPDATE store SET published = ?1", [&published])?;
        Ok(transaction.commit()?)
    }

    fn check_health(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        SqliteTransaction(&transaction).state()?;
        Ok(transaction.rollback()?)
    }

    fn readers(&self) -> usize {
        READERS
    }
}

fn renew_epoch(connection: &Connection) -> Result<(), StoreError> {
    connection.execute("UPDATE store SET epoch = lower(hex(randomblob(8)))", [])?;
    Ok(())
}

/// Deletes the oldest changes up to the first that is recent. What counts is the order, not the clock: one that jumped
/// does not tear holes into the log.
fn prune_changes(connection: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let first_kept: i64 = connection.query_row(
        "SELECT min(
           coalesce((SELECT position FROM changes WHERE recorded_at >= ?1 ORDER BY position LIMIT 1), 9223372036854775807),
           coalesce((SELECT position FROM changes ORDER BY position LIMIT 1 OFFSET ?2), 9223372036854775807),
           coalesce((SELECT max(position) + 1 FROM changes), 0))",
        params![before.millis(), PRUNED_AT_ONCE],
        |row| row.get(0),
    )?;
    let deleted = connection.execute("DELETE FROM changes WHERE position < ?1", [first_kept])?;
    if deleted > 0 {
        connection.execute("DELETE FROM records WHERE data IS NULL AND version < ?1", [first_kept])?;
        connection.execute("UPDATE store SET pruned_through = ?1 - 1", [first_kept])?;
    }
    Ok(deleted)
}

fn prune_verdicts(connection: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let last_forgotten: Option<i64> = connection.query_row(
        "SELECT max(settled_at) FROM
           (SELECT settled_at FROM verdicts WHERE settled_at < ?1 ORDER BY settled_at LIMIT ?2)",
        params![before.millis(), PRUNED_AT_ONCE],
        |row| row.get(0),
    )?;
    let Some(last_forgotten) = last_forgotten else { return Ok(0) };
    connection
        .execute("UPDATE store SET forgotten_through = max(forgotten_through, ?1)", [last_forgotten])?;
    Ok(connection.execute("DELETE FROM verdicts WHERE settled_at <= ?1", [last_forgotten])?)
}

/// A transaction of a connection, reading or writing.
struct SqliteTransaction<'a>(&'a Connection);

impl View for SqliteTransaction<'_> {
    fn state(&self) -> Result<LogState, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT epoch, pruned_through, forgotten_through,
               coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) FROM store",
        )?;
        Ok(statement.query_row([], |row| {
            Ok(LogState {
                epoch: row.get(0)?,
                pruned_through: unsigned(row, 1)?,
                forgotten_through: Timestamp::from_millis(row.get(2)?),
                last_position: unsigned(row, 3)?,
            })
        })?)
    }

    fn changes_after(&self, after: u64, limit: PageLimit) -> Result<Page, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT object, id, operation, data, position, timestamp FROM changes
             WHERE position > ?1 AND object IN (SELECT value FROM store, json_each(store.published))
             ORDER BY position LIMIT ?2",
        )?;
        let rows = statement.query_and_then(params![signed(after)?, rows_wanted(limit)], change_from)?;
        Page::collect(rows, limit)
    }

    fn records_after(&self, after: u64, since: u64, limit: PageLimit) -> Result<Page, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT object, id, iif(data IS NULL, 'delete', 'create'), data, version, timestamp FROM records
             WHERE version > ?1 AND (data IS NOT NULL OR version > ?2)
               AND +object IN (SELECT value FROM store, json_each(store.published))
             ORDER BY version LIMIT ?3",
        )?;
        let rows = statement
            .query_and_then(params![signed(after)?, signed(since)?, rows_wanted(limit)], change_from)?;
        Page::collect(rows, limit)
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn verdict(&self, mutation: MutationId) -> Result<Option<Box<RawValue>>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT verdict FROM verdicts WHERE mutation = ?1")?;
        let text: Option<String> = statement.query_row([mutation.as_bytes()], |row| row.get(0)).optional()?;
        text.map(|text| RawValue::from_string(text).map_err(broken)).transpose()
    }

    fn is_sequence_taken(&self, client: &ClientId, sequence: Sequence) -> Result<bool, StoreError> {
        let mut statement =
            self.0.prepare_cached("SELECT 1 FROM verdicts WHERE client = ?1 AND sequence = ?2")?;
        Ok(statement.exists(params![client.as_str(), signed(sequence.get())?])?)
    }

    fn record(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT version, timestamp, client, data, history FROM records WHERE object = ?1 AND id = ?2",
        )?;
        let mut rows = statement.query(params![key.object.as_str(), key.id.to_json()])?;
        rows.next()?.map(record_from).transpose()
    }

    fn append(&mut self, change: &NewChange<'_>) -> Result<ServerVersion, StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT INTO changes (object, id, operation, data, timestamp, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let position = statement.insert(params![
            change.key.object.as_str(),
            change.key.id.to_json(),
            operation_name(change.operation),
            change.data.map(Fields::as_str),
            change.timestamp.millis(),
            change.now.millis(),
        ])?;
        version(position)
    }

    fn put(&mut self, key: &RecordKey, record: &Record) -> Result<(), StoreError> {
        let last = record.last();
        let history = match record {
            Record::Live(live) => Some(serde_json::to_string(&live.history).map_err(broken)?),
            Record::Deleted(_) => None,
        };
        let mut statement = self.0.prepare_cached(
            "INSERT INTO records (object, id, version, timestamp, client, data, history)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (object, id) DO UPDATE SET version = excluded.version, timestamp = excluded.timestamp,
               client = excluded.client, data = excluded.data, history = excluded.history",
        )?;
        statement.execute(params![
            key.object.as_str(),
            key.id.to_json(),
            signed(last.version.get())?,
            last.stamp.timestamp.millis(),
            last.stamp.client_id.as_str(),
            record.data().map(Fields::as_str),
            history,
        ])?;
        Ok(())
    }

    fn remember(&mut self, settled: &Settled<'_>) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT INTO verdicts (mutation, client, sequence, verdict, settled_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (mutation) DO UPDATE SET verdict = excluded.verdict, settled_at = excluded.settled_at",
        )?;
        let id_millis = i64::try_from(settled.mutation.millis()).unwrap_or(i64::MAX);
        statement.execute(params![
            settled.mutation.as_bytes(),
            settled.client.as_str(),
            signed(settled.sequence.get())?,
            settled.verdict.get(),
            id_millis.max(settled.now.millis()),
        ])?;
        Ok(())
    }
}

const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

fn change_from(row: &Row<'_>) -> Result<ServerChange, StoreError> {
    let operation = match row.get_ref(2)?.as_str().map_err(broken)? {
        "create" => Operation::Create,
        "update" => Operation::Update,
        _ => Operation::Delete,
    };
    Ok(ServerChange {
        object_name: ObjectName::new(row.get::<_, String>(0)?).map_err(broken)?,
        record_id: RecordId::parse_json(row.get_ref(1)?.as_str().map_err(broken)?).map_err(broken)?,
        operation,
        data: fields(row, 3)?,
        server_version: version(row.get(4)?)?,
        timestamp: Timestamp::from_millis(row.get(5)?),
    })
}

fn record_from(row: &Row<'_>) -> Result<Record, StoreError> {
    let client_id = ClientId::new(row.get::<_, String>(2)?).map_err(broken)?;
    let stamp = Stamp { timestamp: Timestamp::from_millis(row.get(1)?), client_id };
    let last = Write { version: version(row.get(0)?)?, stamp };
    let Some(data) = fields(row, 3)? else { return Ok(Record::Deleted(last)) };
    let history = serde_json::from_str(row.get_ref(4)?.as_str().map_err(broken)?).map_err(broken)?;
    Ok(Record::Live(LiveRecord { data, last, history }))
}

fn fields(row: &Row<'_>, column: usize) -> Result<Option<Fields>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| Fields::from_normalised(text).map_err(broken)).transpose()
}

fn version(number: i64) -> Result<ServerVersion, StoreError> {
    ServerVersion::new(u64::try_from(number).map_err(broken)?).map_err(broken)
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(broken)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// One row more than fit on the page tells that there are more.
fn rows_wanted(limit: PageLimit) -> i64 {
    i64::try_from(limit.changes).unwrap_or(i64::MAX).saturating_add(1)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Broken(error.into())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable(Box::new(error)),
            _ => Self::Broken(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn what_may_pass_is_unavailable_and_all_else_is_broken() {
        for (code, is_passing) in [
            (ffi::SQLITE_BUSY, true),
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_READONLY, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_CANTOPEN, true),
            (ffi::SQLITE_CORRUPT, false),
            (ffi::SQLITE_CONSTRAINT, false),
        ] {
            let error = StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(matches!(error, StoreError::Unavailable(_)), is_passing, "{error}");
        }
    }

    #[test]
    fn a_commit_is_on_the_disk_before_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("sync.db")).unwrap();
        let writer = store.writer();
        let pragma =
            |name: &str| writer.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, String>(0));
        assert_eq!(pragma("journal_mode").unwrap(), "wal");
        assert_eq!(
            writer.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)).unwrap(),
            2,
            "FULL"
        );
    }
}
