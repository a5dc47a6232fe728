//! The production store, in a folder of its own, with backups made as an operator makes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use objectql_sync_server::store::Store;
use objectql_sync_server::store::sqlite::SqliteStore;
use tempfile::TempDir;

use crate::server::own::Shelf;

/// A database file and its backups.
pub(crate) struct SqliteShelf {
    folder: TempDir,
    /// None only while the file is being replaced.
    store: Option<SqliteStore>,
    backups: BTreeMap<usize, PathBuf>,
}

impl Default for SqliteShelf {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let mut shelf = Self { folder, store: None, backups: BTreeMap::new() };
        shelf.open();
        shelf
    }
}

impl SqliteShelf {
    fn path(&self) -> PathBuf {
        self.folder.path().join("sync.db")
    }

    fn open(&mut self) {
        self.store = Some(SqliteStore::open(self.path()).expect("a database that opens"));
    }
}

impl Shelf for SqliteShelf {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("the database is open")
    }

    fn backup(&mut self, number: usize) {
        // The last connection that closes leaves everything in the one file.
        self.store = None;
        let backup = self.folder.path().join(format!("backup{number}.db"));
        fs::copy(self.path(), &backup).expect("a copy of the database");
        self.backups.insert(number, backup);
        self.open();
    }

    fn restore(&mut self, number: usize) -> bool {
        let Some(backup) = self.backups.get(&number).cloned() else { return false };
        self.store = None;
        fs::copy(backup, self.path()).expect("a copy of the backup");
        self.open();
        self.store().begin_epoch().expect("a new epoch");
        true
    }
}
