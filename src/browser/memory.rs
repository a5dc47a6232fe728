//! The log in memory: for servers, tests, and whoever wants nothing on disk. It lasts as long as the page or the process, also
//! when it is closed and opened again, until it is deleted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::log::Outcome;

/// The rows of a log; the first has the key 1, as in IndexedDB.
type Rows = Rc<RefCell<Vec<Vec<u8>>>>;

thread_local! {
    static LOGS: RefCell<Vec<(String, Rows)>> = RefCell::default();
}

/// The log of one database.
pub(crate) struct MemoryLog {
    rows: Rows,
    transactions: Cell<u32>,
}

impl MemoryLog {
    /// The log with that name, made if there is none.
    pub(crate) fn open(name: &str) -> Self {
        let rows = LOGS.with_borrow_mut(|logs| {
            if let Some((_, rows)) = logs.iter().find(|(other, _)| other == name) {
                return Rc::clone(rows);
            }
            let rows = Rows::default();
            logs.push((name.to_owned(), Rc::clone(&rows)));
            rows
        });
        Self { rows, transactions: Cell::new(0) }
    }

    /// Deletes the log with that name.
    pub(crate) fn delete(name: &str) {
        LOGS.with_borrow_mut(|logs| logs.retain(|(other, _)| other != name));
    }

    /// How many rows were appended.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions.get()
    }

    /// Appends a row if it gets the key that is expected.
    pub(crate) fn append(&self, key: u64, bytes: Vec<u8>) -> Outcome {
        let mut rows = self.rows.borrow_mut();
        if key != rows.len() as u64 + 1 {
            return Outcome::Behind;
        }
        rows.push(bytes);
        self.transactions.set(self.transactions.get() + 1);
        Outcome::Appended
    }

    /// The rows after a key.
    pub(crate) fn read(&self, after: u64) -> Vec<(u64, Vec<u8>)> {
        let rows = self.rows.borrow();
        (1..).zip(rows.iter()).filter(|(key, _)| *key > after).map(|(key, row)| (key, row.clone())).collect()
    }
}
