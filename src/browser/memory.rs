//! The log in memory: for servers, tests, and whoever wants nothing on disk. It lasts as long as the page or the process, also
//! when it is closed and opened again, until it is deleted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::log::{Beginning, NewRoot, Outcome};
use crate::engine::SegmentsInMemory;

/// What IndexedDB would hold; the first row has the key 1, as there.
#[derive(Default)]
struct Contents {
    /// How many rows were removed.
    removed: u64,
    rows: VecDeque<Vec<u8>>,
    stored: SegmentsInMemory,
}

type Shared = Rc<RefCell<Contents>>;

thread_local! {
    static LOGS: RefCell<Vec<(String, Shared)>> = RefCell::default();
}

/// The log of one database.
pub(crate) struct MemoryLog {
    contents: Shared,
    transactions: Cell<u32>,
}

impl MemoryLog {
    /// The log with that name, made if there is none.
    pub(crate) fn open(name: &str) -> Self {
        let contents = LOGS.with_borrow_mut(|logs| {
            if let Some((_, contents)) = logs.iter().find(|(other, _)| other == name) {
                return Rc::clone(contents);
            }
            let contents = Shared::default();
            logs.push((name.to_owned(), Rc::clone(&contents)));
            contents
        });
        Self { contents, transactions: Cell::new(0) }
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
        let mut contents = self.contents.borrow_mut();
        let given = contents.removed + contents.rows.len() as u64 + 1;
        if key != given {
            return Outcome::Behind(given);
        }
        contents.rows.push_back(bytes);
        self.transactions.set(self.transactions.get() + 1);
        Outcome::Appended
    }

    /// The root and all rows.
    pub(crate) fn begin(&self) -> Beginning {
        Beginning { root: self.contents.borrow().stored.root.clone(), rows: self.read(0), is_last: true }
    }

    /// The rows after a key.
    pub(crate) fn read(&self, after: u64) -> Vec<(u64, Vec<u8>)> {
        let contents = self.contents.borrow();
        let rows = (contents.removed + 1..).zip(contents.rows.iter());
        rows.filter(|(key, _)| *key > after).map(|(key, row)| (key, row.clone())).collect()
    }

    /// Segments, in the order of these keys.
    pub(crate) fn segments(&self, keys: &[u64]) -> Vec<Option<Vec<u8>>> {
        self.contents.borrow().stored.get(keys)
    }

    /// Puts segments in, and takes all out first but those to be kept; gives their keys.
    pub(crate) fn write_segments(
        &self,
        keep: Option<(u64, Vec<u64>)>,
        segments: Vec<Vec<u8>>,
    ) -> Option<Vec<u64>> {
        self.contents.borrow_mut().stored.write(keep, segments)
    }

    /// Puts a root in the place of the one that it replaces.
    pub(crate) fn compact(&self, new: NewRoot) -> bool {
        let mut contents = self.contents.borrow_mut();
        if !contents.stored.replace_root(new.replaces, new.root, &new.segments) {
            return false;
        }
        while contents.removed + 1 < new.through && contents.rows.pop_front().is_some() {
            contents.removed += 1;
        }
        if let Some(last) = contents.rows.front_mut() {
            last.clear();
        }
        true
    }
}
