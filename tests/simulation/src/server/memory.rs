//! A store in memory that owes what every [`Store`] owes, for the millions of steps that a disk is too slow for. The same
//! conformance test runs over it and over the production store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use objectql_sync_protocol::{
    ClientId, MutationId, ObjectName, Operation, RecordKey, Sequence, ServerChange, ServerVersion, Timestamp,
};
use objectql_sync_server::Error;
use objectql_sync_server::record::Record;
use objectql_sync_server::store::{
    LogState, NewChange, Page, PageLimit, Pruned, Settled, Store, StoreError, Transaction, View,
};
use serde_json::value::RawValue;

/// How many positions are left out when a new epoch begins, as in the production store.
const EPOCH_GAP: u64 = 1_000_000;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

/// Everything that is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    epoch: u64,
    published: BTreeSet<ObjectName>,
    changes: BTreeMap<u64, (ServerChange, Timestamp)>,
    last_position: u64,
    pruned_through: u64,
    forgotten_through: Timestamp,
    records: BTreeMap<RecordKey, Record>,
    by_version: BTreeMap<u64, RecordKey>,
    verdicts: BTreeMap<MutationId, (Box<RawValue>, Timestamp)>,
    sequences: BTreeMap<(ClientId, Sequence), MutationId>,
}

/// How to undo what a transaction did, last first.
#[derive(Debug)]
enum Undo {
    Append(u64),
    Put(RecordKey, Option<Box<Record>>),
    Remember(MutationId, ClientId, Sequence, Option<(Box<RawValue>, Timestamp)>),
}

struct Work<'a> {
    contents: &'a mut Contents,
    undo: Vec<Undo>,
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of everything.
    pub(crate) fn save(&self) -> Contents {
        self.contents().clone()
    }

    /// Puts a copy in the place of everything, except that no epoch is given out twice.
    pub(crate) fn put_back(&self, saved: Contents) {
        let mut contents = self.contents();
        let epoch = contents.epoch;
        *contents = saved;
        contents.epoch = epoch;
    }
}

impl Store for MemoryStore {
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error> {
        let mut contents = self.contents();
        work(&Work { contents: &mut contents, undo: Vec::new() })
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), Error>) -> Result<(), Error> {
        let mut contents = self.contents();
        let mut transaction = Work { contents: &mut contents, undo: Vec::new() };
        let outcome = work(&mut transaction);
        if outcome.is_err() {
            transaction.roll_back();
        }
        outcome
    }

    fn prune(&self, before: Timestamp) -> Result<Pruned, StoreError> {
        let mut contents = self.contents();
        let recent = contents.changes.iter().find(|(_, (_, recorded_at))| *recorded_at >= before);
        let first_kept = recent.map_or(contents.last_position + 1, |(position, _)| *position);
        let kept = contents.changes.split_off(&first_kept);
        let changes = std::mem::replace(&mut contents.changes, kept).len();
        if changes > 0 {
            contents.pruned_through = first_kept - 1;
            contents.drop_tombstones(first_kept);
        }
        let verdicts = contents.forget_verdicts(before);
        Ok(Pruned { changes, verdicts })
    }

    fn begin_epoch(&self) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.epoch += 1;
        contents.last_position += EPOCH_GAP;
        Ok(())
    }

    fn publish(&self, objects: &[ObjectName]) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let published: BTreeSet<ObjectName> = objects.iter().cloned().collect();
        let is_unseen =
            |key: &RecordKey| published.contains(&key.object) && !contents.published.contains(&key.object);
        if contents.records.keys().any(is_unseen) {
            contents.epoch += 1;
        }
        contents.published = published;
        Ok(())
    }

    fn check_health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn readers(&self) -> usize {
        1
    }
}

impl Contents {
    fn drop_tombstones(&mut self, first_kept: u64) {
        let gone: Vec<u64> = self
            .by_version
            .range(..first_kept)
            .filter(|(_, key)| matches!(self.records.get(key), Some(Record::Deleted(_))))
            .map(|(version, _)| *version)
            .collect();
        for version in gone {
            if let Some(key) = self.by_version.remove(&version) {
                self.records.remove(&key);
            }
        }
    }

    fn forget_verdicts(&mut self, before: Timestamp) -> usize {
        let known = self.verdicts.len();
        let forgotten = &mut self.forgotten_through;
        self.verdicts.retain(|_, (_, settled_at)| {
            let is_kept = *settled_at >= before;
            if !is_kept {
                *forgotten = (*forgotten).max(*settled_at);
            }
            is_kept
        });
        let verdicts = &self.verdicts;
        self.sequences.retain(|_, mutation| verdicts.contains_key(mutation));
        known - self.verdicts.len()
    }
}

impl Work<'_> {
    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Append(position) => {
                    self.contents.changes.remove(&position);
                    self.contents.last_position = position - 1;
                }
                Undo::Put(key, before) => self.contents.replace(&key, before.map(|record| *record)),
                Undo::Remember(mutation, _, _, Some(before)) => {
                    self.contents.verdicts.insert(mutation, before);
                }
                Undo::Remember(mutation, client, sequence, None) => {
                    self.contents.verdicts.remove(&mutation);
                    self.contents.sequences.remove(&(client, sequence));
                }
            }
        }
    }
}

impl Contents {
    fn replace(&mut self, key: &RecordKey, record: Option<Record>) {
        if let Some(old) = self.records.remove(key) {
            self.by_version.remove(&old.version().get());
        }
        if let Some(record) = record {
            self.by_version.insert(record.version().get(), key.clone());
            self.records.insert(key.clone(), record);
        }
    }
}

impl View for Work<'_> {
    fn state(&self) -> Result<LogState, StoreError> {
        Ok(LogState {
            // As long as the production store's.
            epoch: format!("e{:015}", self.contents.epoch),
            last_position: self.contents.last_position,
            pruned_through: self.contents.pruned_through,
            forgotten_through: self.contents.forgotten_through,
        })
    }

    fn changes_after(&self, after: u64, limit: PageLimit) -> Result<Page, StoreError> {
        let published = &self.contents.published;
        let changes = self.contents.changes.range(after + 1..).map(|(_, (change, _))| change);
        Page::collect(
            changes.filter(|change| published.contains(&change.object_name)).map(|it| Ok(it.clone())),
            limit,
        )
    }

    fn records_after(&self, after: u64, since: u64, limit: PageLimit) -> Result<Page, StoreError> {
        let contents = &self.contents;
        let records = contents
            .by_version
            .range(after + 1..)
            .filter(|(_, key)| contents.published.contains(&key.object))
            .filter_map(|(version, key)| Some((version, key, contents.records.get(key)?)))
            .filter(|(version, _, record)| record.data().is_some() || **version > since)
            .map(|(_, key, record)| Ok(to_change(key, record)));
        Page::collect(records, limit)
    }
}

fn to_change(key: &RecordKey, record: &Record) -> ServerChange {
    ServerChange {
        object_name: key.object.clone(),
        record_id: key.id.clone(),
        operation: if record.data().is_some() { Operation::Create } else { Operation::Delete },
        data: record.data().cloned(),
        server_version: record.version(),
        timestamp: record.last().stamp.timestamp,
    }
}

impl Transaction for Work<'_> {
    fn verdict(&self, mutation: MutationId) -> Result<Option<Box<RawValue>>, StoreError> {
        Ok(self.contents.verdicts.get(&mutation).map(|(verdict, _)| verdict.clone()))
    }

    fn is_sequence_taken(&self, client: &ClientId, sequence: Sequence) -> Result<bool, StoreError> {
        Ok(self.contents.sequences.contains_key(&(client.clone(), sequence)))
    }

    fn record(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Ok(self.contents.records.get(key).cloned())
    }

    fn append(&mut self, change: &NewChange<'_>) -> Result<ServerVersion, StoreError> {
        let position = self.contents.last_position + 1;
        let version = ServerVersion::new(position).map_err(|error| StoreError::Broken(Box::new(error)))?;
        let stored = ServerChange {
            object_name: change.key.object.clone(),
            record_id: change.key.id.clone(),
            operation: change.operation,
            data: change.data.cloned(),
            server_version: version,
            timestamp: change.timestamp,
        };
        self.contents.last_position = position;
        self.contents.changes.insert(position, (stored, change.now));
        self.undo.push(Undo::Append(position));
        Ok(version)
    }

    fn put(&mut self, key: &RecordKey, record: &Record) -> Result<(), StoreError> {
        let before = self.contents.records.get(key).cloned().map(Box::new);
        self.contents.replace(key, Some(record.clone()));
        self.undo.push(Undo::Put(key.clone(), before));
        Ok(())
    }

    fn remember(&mut self, settled: &Settled<'_>) -> Result<(), StoreError> {
        let Settled { mutation, client, sequence, verdict, now } = settled;
        let id_millis = i64::try_from(mutation.millis()).unwrap_or(i64::MAX);
        let settled_at = Timestamp::from_millis(id_millis.max(now.millis()));
        let sequence = *sequence;
        let before = self.contents.verdicts.insert(*mutation, ((*verdict).to_owned(), settled_at));
        self.contents.sequences.insert(((*client).clone(), sequence), *mutation);
        self.undo.push(Undo::Remember(*mutation, (*client).clone(), sequence, before));
        Ok(())
    }
}

/// A store in memory and its backups.
#[derive(Debug, Default)]
pub(crate) struct MemoryShelf {
    store: MemoryStore,
    backups: BTreeMap<usize, Contents>,
}

impl super::own::Shelf for MemoryShelf {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn backup(&mut self, number: usize) {
        self.backups.insert(number, self.store.save());
    }

    fn restore(&mut self, number: usize) -> bool {
        let Some(saved) = self.backups.get(&number) else { return false };
        self.store.put_back(saved.clone());
        self.store.begin_epoch().is_ok()
    }
}
