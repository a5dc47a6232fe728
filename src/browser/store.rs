//! Where a log is: in IndexedDB, or in memory.

use js_sys::Function;

use super::log::{Beginning, Durability, LogStore, NewRoot, Outcome};
use super::memory::MemoryLog;
use crate::error::Error;

/// How long what is appended must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In IndexedDB.
    IndexedDb(Durability),
    /// As long as the page or the process.
    Memory,
}

/// The log of one database.
pub(crate) enum Store {
    IndexedDb(LogStore),
    Memory(MemoryLog),
}

impl Store {
    pub(crate) fn open(name: &str, storage: Storage, before_writing: Option<Function>) -> Self {
        match storage {
            Storage::IndexedDb(durability) => {
                Self::IndexedDb(LogStore::new(name.to_owned(), durability, before_writing))
            }
            Storage::Memory => Self::Memory(MemoryLog::open(name)),
        }
    }

    /// Whether other tabs have the log, too.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::IndexedDb(_))
    }

    /// How many rows were appended, or tried to be.
    pub(crate) fn transactions(&self) -> u32 {
        match self {
            Self::IndexedDb(log) => log.transactions(),
            Self::Memory(log) => log.transactions(),
        }
    }

    /// Appends a row if it gets the key that is expected.
    pub(crate) async fn append(&self, key: u64, bytes: Vec<u8>) -> Outcome {
        match self {
            Self::IndexedDb(log) => log.append(key, &bytes).await,
            Self::Memory(log) => log.append(key, bytes),
        }
    }

    /// It did what was asked of it.
    pub(crate) fn worked(&self) {
        if let Self::IndexedDb(log) = self {
            log.worked();
        }
    }

    /// It did not.
    pub(crate) fn failed(&self, error: &Error) {
        if let Self::IndexedDb(log) = self {
            log.failed(error);
        }
    }

    /// The root and the first rows, as they are at one moment; of any database, where one may be made.
    pub(crate) async fn begin(&self, may_create: bool) -> Result<Beginning, Error> {
        match self {
            Self::IndexedDb(log) => log.begin(may_create).await,
            Self::Memory(log) => Ok(log.begin()),
        }
    }

    /// The root.
    pub(crate) async fn root(&self) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::IndexedDb(log) => log.root().await,
            Self::Memory(log) => Ok(log.begin().root),
        }
    }

    /// Segments, in the order of these keys; none for one that is not there.
    pub(crate) async fn segments(&self, keys: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        match self {
            Self::IndexedDb(log) => log.segments(keys).await,
            Self::Memory(log) => Ok(log.segments(keys)),
        }
    }

    /// Puts segments into the store, and takes all out first but those to be kept; gives their keys. None, and nothing is done, where
    /// the root is another one by now.
    pub(crate) async fn write_segments(
        &self,
        keep: Option<(u64, Vec<u64>)>,
        segments: Vec<Vec<u8>>,
    ) -> Result<Option<Vec<u64>>, Error> {
        match self {
            Self::IndexedDb(log) => log.write_segments(keep, segments).await,
            Self::Memory(log) => Ok(log.write_segments(keep, segments)),
        }
    }

    /// Puts a root in the place of the one that it replaces. False, and nothing is done, where that is not possible any more.
    pub(crate) async fn compact(&self, new: NewRoot) -> Result<bool, Error> {
        match self {
            Self::IndexedDb(log) => log.compact(new).await,
            Self::Memory(log) => Ok(log.compact(new)),
        }
    }

    /// The rows after a key: as many as make a good portion, and whether there were no more.
    pub(crate) async fn read(&self, after: u64) -> Result<(Vec<(u64, Vec<u8>)>, bool), Error> {
        match self {
            Self::IndexedDb(log) => log.read(after).await,
            Self::Memory(log) => Ok((log.read(after), true)),
        }
    }

    /// Closes the log for good; what is under way is finished first.
    pub(crate) fn close(&self) {
        match self {
            Self::IndexedDb(log) => log.close(),
            Self::Memory(_) => {}
        }
    }
}
