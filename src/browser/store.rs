//! Where a log is: in IndexedDB, sealed or not, or in memory.

use std::cell::{Cell, RefCell};

use js_sys::{Function, Uint8Array};
use wasm_bindgen::JsValue;

use super::cipher::{Cipher, Place, Values, refuse_sealed};
use super::log::{Beginning, Durability, LogStore, NewRoot, Opener, Outcome, Written};
use super::memory::MemoryLog;
use crate::engine::root_number;
use crate::error::Error;

/// How often segments are sealed for the keys that they will have: another tab may take these meanwhile.
const SEGMENT_TRIES: u32 = 3;

/// Where what is appended is to be.
pub(crate) enum Storage {
    /// In IndexedDB.
    IndexedDb(DiskSettings),
    /// In memory, as long as the page or the process.
    Memory,
}

/// What a log in IndexedDB is opened with.
pub(crate) struct DiskSettings {
    pub(crate) durability: Durability,
    pub(crate) opener: Opener,
    /// Is awaited before the first write.
    pub(crate) before_writing: Option<Function>,
    /// Seals what goes on the disk.
    pub(crate) cipher: Option<Cipher>,
    /// Is told which database it is.
    pub(crate) began: Option<Function>,
}

/// The log of one database.
pub(crate) enum Store {
    IndexedDb(Disk),
    Memory(MemoryLog),
}

/// The log in IndexedDB.
pub(crate) struct Disk {
    log: LogStore,
    cipher: Option<Cipher>,
    /// The key that the next segment gets, unless another tab writes one before.
    next_segment: Cell<u64>,
    /// Is told the identity of the database when that is known.
    began: RefCell<Option<Function>>,
}

impl Store {
    pub(crate) fn open(name: &str, storage: Storage) -> Self {
        match storage {
            Storage::IndexedDb(DiskSettings { durability, opener, before_writing, cipher, began }) => {
                let log = LogStore::new(opener, durability, before_writing, cipher.is_some());
                let next_segment = Cell::new(1);
                Self::IndexedDb(Disk { log, cipher, next_segment, began: RefCell::new(began) })
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
            Self::IndexedDb(disk) => disk.log.transactions(),
            Self::Memory(log) => log.transactions(),
        }
    }

    /// Appends a row if it gets the key that is expected.
    pub(crate) async fn append(&self, key: u64, bytes: Vec<u8>) -> Outcome {
        match self {
            Self::IndexedDb(disk) => match disk.seal(Place::Row, key, &[bytes]).await {
                Ok(values) => match values.first() {
                    Some(value) => disk.log.append(key, value).await,
                    None => Outcome::Failed(no_value()),
                },
                Err(error) => Outcome::Failed(error),
            },
            Self::Memory(log) => log.append(key, bytes),
        }
    }

    /// Something failed that was asked of it.
    pub(crate) fn failed(&self, error: &Error) {
        if let Self::IndexedDb(disk) = self {
            disk.log.failed(error);
        }
    }

    /// The root and the first rows, as they are at one moment; of any database, where one may be made.
    pub(crate) async fn begin(&self, may_create: bool) -> Result<Beginning, Error> {
        match self {
            Self::IndexedDb(disk) => {
                let mut beginning = disk.log.begin(may_create).await?;
                let began = disk.began.borrow().clone();
                if let Some(began) = began {
                    let identity = disk.log.identity();
                    let identity = identity.map(|identity| Uint8Array::from(identity.as_slice()));
                    let _ = began.call1(&JsValue::NULL, &identity.into());
                }
                let root = beginning.root.as_mut().map(|root| (Place::Root, root_number(Some(root)), root));
                let rows = beginning.rows.iter_mut().map(|(key, row)| (Place::Row, *key, row));
                disk.open(root.into_iter().chain(rows).collect()).await?;
                Ok(beginning)
            }
            Self::Memory(log) => Ok(log.begin()),
        }
    }

    /// The root.
    pub(crate) async fn root(&self) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::IndexedDb(disk) => {
                let mut root = disk.log.root().await?;
                let sealed = root.as_mut().map(|root| (Place::Root, root_number(Some(root)), root));
                disk.open(sealed.into_iter().collect()).await?;
                Ok(root)
            }
            Self::Memory(log) => Ok(log.begin().root),
        }
    }

    /// Segments, in the order of these keys; none for one that is not there.
    pub(crate) async fn segments(&self, keys: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        match self {
            Self::IndexedDb(disk) => {
                let mut segments = disk.log.segments(keys).await?;
                let sealed = keys.iter().zip(&mut segments);
                let sealed = sealed.filter_map(|(key, bytes)| Some((Place::Segment, *key, bytes.as_mut()?)));
                disk.open(sealed.collect()).await?;
                Ok(segments)
            }
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
            Self::IndexedDb(disk) => {
                let epoch = disk.log.epoch();
                for _ in 0..SEGMENT_TRIES {
                    let first = disk.next_segment.get();
                    let values = disk.seal(Place::Segment, first, &segments).await?;
                    let is_sealed = disk.cipher.is_some();
                    let wanted = is_sealed.then_some(first);
                    match disk.log.write_segments(epoch, keep.as_ref(), &values, wanted).await? {
                        Written::Keys(keys) => {
                            disk.next_segment.set(keys.last().map_or(first, |last| last + 1));
                            return Ok(Some(keys));
                        }
                        Written::Stale => return Ok(None),
                        Written::Elsewhere(given) => disk.next_segment.set(given),
                    }
                }
                Ok(None)
            }
            Self::Memory(log) => Ok(log.write_segments(keep, segments)),
        }
    }

    /// Puts a root in the place of the one that it replaces. False, and nothing is done, where that is not possible any more.
    pub(crate) async fn compact(&self, mut new: NewRoot) -> Result<bool, Error> {
        match self {
            Self::IndexedDb(disk) => {
                let epoch = disk.log.epoch();
                let root = std::mem::take(&mut new.root);
                let values = disk.seal(Place::Root, root_number(Some(&root)), &[root]).await?;
                disk.log.compact(epoch, &new, values.first().ok_or_else(no_value)?).await
            }
            Self::Memory(log) => Ok(log.compact(new)),
        }
    }

    /// The rows after a key: as many as make a good portion, and whether there were no more.
    pub(crate) async fn read(&self, after: u64) -> Result<(Vec<(u64, Vec<u8>)>, bool), Error> {
        match self {
            Self::IndexedDb(disk) => {
                let (mut rows, is_last) = disk.log.read(after).await?;
                disk.open(rows.iter_mut().map(|(key, row)| (Place::Row, *key, row)).collect()).await?;
                Ok((rows, is_last))
            }
            Self::Memory(log) => Ok((log.read(after), true)),
        }
    }

    /// Closes the log for good; what is under way is finished first.
    pub(crate) fn close(&self) {
        match self {
            Self::IndexedDb(disk) => {
                // It leads to the app's objects, and these to the driver.
                disk.began.take();
                disk.log.close();
            }
            Self::Memory(_) => {}
        }
    }
}

impl Disk {
    /// Seals values with numbers from that one on.
    async fn seal(&self, place: Place, first: u64, all: &[Vec<u8>]) -> Result<Vec<Uint8Array>, Error> {
        let Some(cipher) = &self.cipher else {
            return Ok(all.iter().map(|bytes| Uint8Array::from(bytes.as_slice())).collect());
        };
        let values = Values::new();
        all.iter().zip(first..).for_each(|(bytes, number)| values.push(place, number, bytes));
        cipher.seal(values).await
    }

    /// Opens what is sealed, in its place; what is empty stays so.
    async fn open(&self, mut all: Vec<(Place, u64, &mut Vec<u8>)>) -> Result<(), Error> {
        let Some(cipher) = &self.cipher else {
            return all.iter().try_for_each(|(_, _, bytes)| refuse_sealed(bytes));
        };
        all.retain(|(_, _, bytes)| !bytes.is_empty());
        let values = Values::new();
        all.iter().for_each(|(place, number, bytes)| values.push(*place, *number, bytes));
        for ((_, _, bytes), opened) in all.into_iter().zip(cipher.open(values).await?) {
            *bytes = opened.to_vec();
        }
        Ok(())
    }
}

fn no_value() -> Error {
    Error::Internal("the cipher gave nothing".to_owned())
}
