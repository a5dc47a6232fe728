//! The production store, in a folder of its own, with backups made as an operator makes them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use objectql_sync_server::store::Store;
use objectql_sync_server::store::sqlite::SqliteStore;
use tempfile::TempDir;

use crate::server::own::Shelf;

/// How many processes serve the one database.
const FRONTS: usize = 2;

/// A database file and its backups.
pub(crate) struct SqliteShelf {
    folder: TempDir,
    /// A store for each process that serves the file, none while the file is being replaced. Whatever a process keeps in its
    /// memory the others do not know.
    fronts: Vec<SqliteStore>,
    /// How many requests there were: they go to the processes in turn.
    turn: Cell<usize>,
    backups: BTreeMap<usize, PathBuf>,
}

impl Default for SqliteShelf {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let mut shelf = Self { folder, fronts: Vec::new(), turn: Cell::new(0), backups: BTreeMap::new() };
        shelf.open();
        shelf
    }
}

impl SqliteShelf {
    fn path(&self) -> PathBuf {
        self.folder.path().join("sync.db")
    }

    fn open(&mut self) {
        let open = || SqliteStore::open(self.path()).expect("a database that opens");
        self.fronts = std::iter::repeat_with(open).take(FRONTS).collect();
    }
}

impl Shelf for SqliteShelf {
    fn store(&self) -> &dyn Store {
        self.turn.set(self.turn.get() + 1);
        &self.fronts[self.turn.get() % FRONTS]
    }

    fn backup(&mut self, number: usize) {
        // The last connection that closes leaves everything in the one file.
        self.fronts.clear();
        let backup = self.folder.path().join(format!("backup{number}.db"));
        fs::copy(self.path(), &backup).expect("a copy of the database");
        self.backups.insert(number, backup);
        self.open();
    }

    fn restore(&mut self, number: usize) -> bool {
        let Some(backup) = self.backups.get(&number).cloned() else { return false };
        self.fronts.clear();
        fs::copy(backup, self.path()).expect("a copy of the backup");
        self.open();
        self.store().begin_epoch().expect("a new epoch");
        true
    }
}
