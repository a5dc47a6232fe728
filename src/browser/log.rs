//! The log in IndexedDB, and the segments that it becomes: the only transactions there are.
//!
//! Inside a transaction only its own requests are awaited, and the first is made in the turn in which it is opened: any other
//! wait would let it commit by itself. Everything is encoded before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use idb::request::{GetAllKeysStoreRequest, GetAllStoreRequest, GetStoreRequest};
use idb::{KeyRange, ObjectStore, Query, Transaction};
use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{IdbDatabase, IdbTransaction};

use super::cipher::is_as_noted;
use super::listener::Listener;
use super::once::{Filler, Once};
use super::schema::{IDENTITY, LOG, ROOT, SEALED, SEGMENTS, from_exception, to_error};
use crate::engine::root_number;
use crate::error::Error;

/// How many rows one read takes to begin with, and at most; it grows while they are small.
const ROWS_AT_FIRST: u32 = 4;
const ROWS_AT_MOST: u32 = 2048;
/// A read that brought so many bytes is large enough: 1 MiB is folded in a few milliseconds.
const BYTES_PER_READ: usize = 1 << 20;
/// An append that was certainly not made is made again, each time on a new connection, until it failed so often. Dexie and others do
/// it three times; what reads is asked again by the engine, as often.
const MAX_TRIES: u32 = 3;
/// The stores of a transaction that writes segments, also of one that needs no rows: writes of one database must not overlap. Of a
/// Chromium that is killed between the first flush and the commit of two that do, the next start finds two undo logs that both
/// lock the database, takes that for damage, and deletes all databases of the origin (`LevelDBScopes::Initialize`, "Invalid
/// locks on disk"). An append has the log: whoever has it, too, waits.
const EVERY_STORE: [&str; 2] = [LOG, SEGMENTS];
/// The modes of a transaction.
const READ_ONLY: &str = "readonly";
const READ_WRITE: &str = "readwrite";

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase.transaction` with options; web-sys has it behind a flag for unstable interfaces.
    #[wasm_bindgen(js_name = IDBDatabase, extends = IdbDatabase)]
    type DatabaseWithOptions;

    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction_with_options(
        this: &DatabaseWithOptions,
        stores: &JsValue,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
}

/// How long an append must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut.
    Strict,
    /// A crash of the browser.
    Relaxed,
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// In the log under the expected key, and durable.
    Appended,
    /// Another tab was first, or rows are missing: the key would have been this one. Not in the log.
    Behind(u64),
    /// Not in the log.
    Failed(Error),
    /// Nobody knows.
    Unknown(Error),
}

/// What came of segments that were to be written.
#[derive(Debug)]
pub(crate) enum Written {
    /// They are there, under these keys.
    Keys(Vec<u64>),
    /// Nothing was done: the root is another one by now.
    Stale,
    /// Nothing was done: the first one would have had this key.
    Elsewhere(u64),
}

/// An open connection.
struct Connection {
    database: IdbDatabase,
    _listener: Listener,
}

impl Connection {
    fn new(database: IdbDatabase, is_deleted: Rc<Cell<bool>>) -> Self {
        // Another tab wants to delete or upgrade the database: this one lets go, and opens it again when it needs it.
        let to_close = database.clone();
        let listener = Listener::new(database.clone().into(), "versionchange", move |event| {
            let event: web_sys::IdbVersionChangeEvent = event.unchecked_into();
            is_deleted.set(event.new_version().is_none());
            to_close.close();
        });
        Self { database, _listener: listener }
    }
}

/// What the facade does before there is a connection to work with.
#[derive(Clone)]
pub(crate) struct Opener {
    /// Opens the database: with true also one that is not there.
    pub(crate) open: Function,
    /// Reads what it begins with: given the connection, and how many rows at most.
    pub(crate) begin: Function,
}

/// The log of one database.
pub(crate) struct LogStore {
    /// None once it is closed: they lead to the app's objects, and these to the driver.
    opener: RefCell<Option<Opener>>,
    durability: Durability,
    /// Whether what is written is sealed.
    has_key: bool,
    /// Is awaited before the first write.
    before_writing: RefCell<Option<Function>>,
    connection: RefCell<Option<Connection>>,
    /// Which database it is, once that was read: another one may take its place under the same name.
    identity: RefCell<Option<Identity>>,
    /// How often any database was right: what was asked of an earlier one is not done with a later one.
    epoch: Cell<u32>,
    /// Whether somebody deleted it on purpose.
    is_deleted: Rc<Cell<bool>>,
    is_closed: Cell<bool>,
    rows_per_read: Cell<u32>,
    /// How many transactions were made: for those who count them.
    transactions: Cell<u32>,
}

impl LogStore {
    pub(crate) fn new(
        opener: Opener,
        durability: Durability,
        before_writing: Option<Function>,
        has_key: bool,
    ) -> Self {
        Self {
            opener: RefCell::new(Some(opener)),
            durability,
            has_key,
            before_writing: RefCell::new(before_writing),
            connection: RefCell::default(),
            identity: RefCell::default(),
            epoch: Cell::new(0),
            is_deleted: Rc::default(),
            is_closed: Cell::new(false),
            rows_per_read: Cell::new(ROWS_AT_FIRST),
            transactions: Cell::new(0),
        }
    }

    /// How many read-write transactions were made.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions.get()
    }

    /// The connection, opened if need be; for what was asked in that epoch.
    async fn database(&self, epoch: u32) -> Result<IdbDatabase, Error> {
        if self.epoch.get() != epoch {
            return Err(Error::Cleared);
        }
        if let Some(connection) = &*self.connection.borrow() {
            return Ok(connection.database.clone());
        }
        // What is asked for last may come after the close: a connection opened for it would stay, and block a deletion.
        if self.is_closed.get() {
            return Err(Error::Closed);
        }
        if self.is_deleted.get() {
            return Err(Error::DatabaseLost);
        }
        let known = self.identity.borrow().clone();
        let open = self.opener()?.open;
        let opening = open.call1(&JsValue::NULL, &JsValue::from_bool(known.is_none()));
        let database: IdbDatabase = answer(opening).await?.unchecked_into();
        let connection = Connection::new(database.clone(), Rc::clone(&self.is_deleted));
        let refusal = match known {
            _ if self.is_closed.get() => Some(Error::Closed),
            Some(known) => match read_identity(&database).await {
                Ok(identity) => (identity != known || self.epoch.get() != epoch).then_some(Error::Cleared),
                Err(error) => Some(error),
            },
            None => (self.epoch.get() != epoch).then_some(Error::Cleared),
        };
        if let Some(refusal) = refusal.or(self.is_closed.get().then_some(Error::Closed)) {
            connection.database.close();
            return Err(refusal);
        }
        if let Some(connection) = self.connection.borrow_mut().replace(connection) {
            // Somebody else was as fast.
            connection.database.close();
        }
        Ok(database)
    }

    /// Something failed: the next one gets a connection of its own, because a dead one may stay dead.
    pub(crate) fn failed(&self, error: &Error) {
        if let Error::StorageFailed(_) = error {
            self.disconnect();
        }
    }

    /// Closes the log for good; a transaction under way is finished first.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.before_writing.take();
        self.opener.take();
        self.disconnect();
    }

    fn opener(&self) -> Result<Opener, Error> {
        self.opener.borrow().clone().ok_or(Error::Closed)
    }

    fn disconnect(&self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            connection.database.close();
        }
    }

    /// A transaction. A connection dies when the browser says so, without an event that could be relied on: what tells is that it
    /// gives no transaction.
    async fn transaction(&self, stores: &[&str], mode: &str) -> Result<IdbTransaction, Error> {
        self.transaction_in(self.epoch.get(), stores, mode).await
    }

    /// One for what was asked in that epoch.
    async fn transaction_in(&self, epoch: u32, stores: &[&str], mode: &str) -> Result<IdbTransaction, Error> {
        let before_writing = self.before_writing.borrow().clone().filter(|_| mode == READ_WRITE);
        if let Some(before_writing) = before_writing {
            // Whatever comes of it: it is a precaution.
            if let Ok(promise) = before_writing.call0(&JsValue::NULL) {
                let _ = JsFuture::from(Promise::resolve(&promise)).await;
            }
            self.before_writing.take();
        }
        let stores: Array = stores.iter().map(|store| JsValue::from_str(store)).collect();
        let options = js_sys::Object::new();
        let durability = match self.durability {
            Durability::Strict => "strict",
            Durability::Relaxed => "relaxed",
        };
        let _ =
            js_sys::Reflect::set(&options, &JsValue::from_str("durability"), &JsValue::from_str(durability));
        let database = self.database(epoch).await?;
        let database: &DatabaseWithOptions = database.unchecked_ref();
        database.transaction_with_options(&stores, mode, &options).map_err(|error| from_exception(&error))
    }

    /// Appends a row if it gets the key that is expected.
    pub(crate) async fn append(&self, key: u64, value: &Uint8Array) -> Outcome {
        let epoch = self.epoch.get();
        let mut tries = 1;
        loop {
            match self.try_append(epoch, key, value).await {
                Outcome::Failed(error @ Error::StorageFailed(_)) if tries < MAX_TRIES => self.failed(&error),
                outcome => return outcome,
            }
            tries += 1;
        }
    }

    async fn try_append(&self, epoch: u32, key: u64, value: &Uint8Array) -> Outcome {
        let both = self.transaction_in(epoch, &[LOG], READ_WRITE).await;
        let (transaction, store) = match both.and_then(|transaction| with_store(transaction, LOG)) {
            Ok(both) => both,
            Err(error) => return Outcome::Failed(error),
        };
        self.transactions.set(self.transactions.get() + 1);
        let ending = Ending::of(&transaction);
        let request = match store.add(value, None) {
            Ok(request) => request,
            // A value that cannot be stored: nothing was asked for.
            Err(error) => {
                if transaction.abort().is_ok() {
                    let _ = ending.wait().await;
                }
                return Outcome::Failed(to_error(&error));
            }
        };
        let given = match request.await {
            Ok(given) => given,
            // A failed request aborts its transaction by itself.
            Err(error) => return failed_append(ending.wait().await, to_error(&error)),
        };
        let given = to_key(&given);
        let is_expected = given == Some(key);
        // At once, so that a tab that is frozen now does not hold the lock of the store.
        let transaction = Transaction::from(transaction);
        let was_ended_here = if is_expected { transaction.commit() } else { transaction.abort() };
        match ending.wait().await {
            Ok(()) if is_expected => Outcome::Appended,
            Ok(()) => Outcome::Unknown(not_a_log()),
            Err(error) if was_ended_here.is_err() => Outcome::Unknown(error),
            Err(_) if !is_expected => Outcome::Behind(given.unwrap_or_default()),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// The root and the first rows, as they are at one moment; of any database, where one may be made.
    pub(crate) async fn begin(&self, may_create: bool) -> Result<Beginning, Error> {
        if may_create {
            self.disconnect();
            self.identity.take();
            self.epoch.set(self.epoch.get() + 1);
        }
        let epoch = self.epoch.get();
        let database = self.database(epoch).await?;
        let limit = self.rows_per_read.get();
        let reading = self.opener()?.begin.call2(&JsValue::NULL, &database, &limit.into());
        let read: Array = answer(reading).await?.unchecked_into();
        let [identity, sealed, root, keys, rows] = [0, 1, 2, 3, 4].map(|place| read.get(place));
        let identity = to_bytes(&identity)?;
        if self.epoch.get() != epoch {
            return Err(Error::Cleared);
        }
        self.identity.borrow_mut().get_or_insert(identity);
        if !self.has_key {
            refuse_key(&sealed)?;
        }
        let root = to_bytes(&root)?;
        let both = [keys, rows].map(|values| values.unchecked_into::<Array>());
        let [keys, rows] = both.map(|values| values.iter().collect::<Vec<_>>());
        let (rows, is_last) = self.take_rows(&keys, &rows, limit)?;
        Ok(Beginning { root, rows, is_last })
    }

    /// The root.
    pub(crate) async fn root(&self) -> Result<Option<Vec<u8>>, Error> {
        let transaction = self.transaction(&[SEGMENTS], READ_ONLY).await?;
        let root = get(&store_of(&transaction, SEGMENTS)?, ROOT)?;
        bytes_of(root).await
    }

    /// Segments, in the order of these keys; none for one that is not there.
    pub(crate) async fn segments(&self, keys: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let transaction = self.transaction(&[SEGMENTS], READ_ONLY).await?;
        let store = store_of(&transaction, SEGMENTS)?;
        let requests: Vec<_> = keys
            .iter()
            .map(|key| store.get(Query::Key(JsValue::from_f64(as_f64(*key)))))
            .collect::<Result<_, _>>()
            .map_err(|error| to_error(&error))?;
        let mut segments = Vec::with_capacity(keys.len());
        for request in requests {
            segments.push(bytes_of(request).await?);
        }
        Ok(segments)
    }

    /// Puts segments into the store, under keys from `first` on if that is given, and takes all out first but those to be kept. Nothing
    /// is done where the root is another one by now, what is not of this one may be of that, or all is sealed by another key.
    pub(crate) async fn write_segments(
        &self,
        epoch: u32,
        keep: Option<&(u64, Vec<u64>)>,
        values: &[Uint8Array],
        first: Option<u64>,
    ) -> Result<Written, Error> {
        let transaction = self.transaction_in(epoch, &EVERY_STORE, READ_WRITE).await?;
        let ending = Ending::of(&transaction);
        let store = store_of(&transaction, SEGMENTS)?;
        let noted = get(&store, SEALED)?;
        if let Some(value) = values.first()
            && !is_as_noted(bytes_of(noted).await?.as_deref(), value)
        {
            return Ok(Written::Stale);
        }
        if let Some((number, keep)) = keep {
            let root = get(&store, ROOT)?;
            let keys = store.get_all_keys(None, None).map_err(|error| to_error(&error))?;
            let root = bytes_of(root).await?;
            let keys = keys.await.map_err(|error| to_error(&error))?;
            if root_number(root.as_deref()) != *number {
                return Ok(Written::Stale);
            }
            remove_others(&store, keys.iter().filter_map(to_key), keep)?;
        }
        let requests: Vec<_> = values
            .iter()
            .map(|value| store.add(value, None))
            .collect::<Result<_, _>>()
            .map_err(|error| to_error(&error))?;
        let mut keys = Vec::with_capacity(requests.len());
        for request in requests {
            let key = request.await.map_err(|error| to_error(&error))?;
            keys.push(to_key(&key).ok_or_else(not_a_log)?);
        }
        let transaction = Transaction::from(transaction);
        if let (Some(wanted), Some(given)) = (first, keys.first())
            && wanted != *given
        {
            if transaction.abort().is_ok() {
                let _ = ending.wait().await;
            }
            return Ok(Written::Elsewhere(*given));
        }
        let _ = transaction.commit();
        ending.wait().await?;
        Ok(Written::Keys(keys))
    }

    /// Puts a root in the place of the one with that number, and removes what it makes superfluous. False, and nothing is done,
    /// where the root is another one by now, a segment is missing, or all is sealed by another key.
    pub(crate) async fn compact(&self, epoch: u32, new: &NewRoot, value: &Uint8Array) -> Result<bool, Error> {
        let transaction = self.transaction_in(epoch, &EVERY_STORE, READ_WRITE).await?;
        let ending = Ending::of(&transaction);
        let (log, store) = (store_of(&transaction, LOG)?, store_of(&transaction, SEGMENTS)?);
        let transaction = Transaction::from(transaction);
        let done = replace_root(&log, &store, value, new).await;
        if let Ok(true) = done {
            let _ = transaction.commit();
            ending.wait().await?;
        } else if transaction.abort().is_ok() {
            let _ = ending.wait().await;
        }
        done
    }

    /// In which what is asked from here on is asked: another database may take the place of this one before it is done.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.get()
    }

    /// Which database it is, once that was read.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.borrow().clone().flatten()
    }

    /// The rows after a key: as many as make a good portion, and whether there were no more.
    pub(crate) async fn read(&self, after: u64) -> Result<(Rows, bool), Error> {
        let stores: &[&str] = if self.has_key { &[LOG] } else { &EVERY_STORE };
        let transaction = self.transaction(stores, READ_ONLY).await?;
        // They are waited for in this order.
        let sealed = if self.has_key { None } else { self.ask_for_key(&store_of(&transaction, SEGMENTS)?)? };
        let rows = self.rows_after(&store_of(&transaction, LOG)?, after)?;
        if let Some(sealed) = sealed {
            refuse_key(&sealed.await.map_err(|error| to_error(&error))?.unwrap_or_default())?;
        }
        let RowRequests { keys, values, limit } = rows;
        let keys = keys.await.map_err(|error| to_error(&error))?;
        let values = values.await.map_err(|error| to_error(&error))?;
        self.take_rows(&keys, &values, limit)
    }

    /// Asks whether there is a key by which all is sealed, where this tab has none.
    fn ask_for_key(&self, segments: &ObjectStore) -> Result<Option<GetStoreRequest>, Error> {
        if self.has_key { Ok(None) } else { get(segments, SEALED).map(Some) }
    }

    fn rows_after(&self, store: &ObjectStore, after: u64) -> Result<RowRequests, Error> {
        let range = KeyRange::lower_bound(&JsValue::from_f64(as_f64(after)), Some(true))
            .map_err(|error| to_error(&error))?;
        let limit = self.rows_per_read.get();
        let keys =
            store.get_all_keys(Some(range.clone().into()), Some(limit)).map_err(|error| to_error(&error))?;
        let values = store.get_all(Some(range.into()), Some(limit)).map_err(|error| to_error(&error))?;
        Ok(RowRequests { keys, values, limit })
    }

    fn take_rows(&self, keys: &[JsValue], values: &[JsValue], limit: u32) -> Result<(Rows, bool), Error> {
        let rows: Rows = keys
            .iter()
            .zip(values)
            .map(|(key, value)| to_row(key, value))
            .collect::<Option<_>>()
            .ok_or_else(not_a_log)?;
        let bytes: usize = rows.iter().map(|(_, row)| row.len()).sum();
        if bytes < BYTES_PER_READ {
            self.rows_per_read.set((limit * 4).min(ROWS_AT_MOST));
        } else {
            self.rows_per_read.set((limit / 2).max(1));
        }
        let is_last = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        Ok((rows, is_last))
    }
}

/// Rows under their keys.
pub(crate) type Rows = Vec<(u64, Vec<u8>)>;

/// The root and the first rows.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) rows: Rows,
    pub(crate) is_last: bool,
}

/// A root that takes the place of another.
#[derive(Debug)]
pub(crate) struct NewRoot {
    pub(crate) replaces: u64,
    pub(crate) root: Vec<u8>,
    /// The keys of its segments, in order: all others go.
    pub(crate) segments: Vec<u64>,
    /// The rows before this one go, and of it only the key is left.
    pub(crate) through: u64,
}

struct RowRequests {
    keys: GetAllKeysStoreRequest,
    values: GetAllStoreRequest,
    limit: u32,
}

fn get(store: &ObjectStore, key: f64) -> Result<GetStoreRequest, Error> {
    store.get(Query::Key(JsValue::from_f64(key))).map_err(|error| to_error(&error))
}

/// What tells a database from another one of the same name; none for those that earlier releases made.
pub(crate) type Identity = Option<Vec<u8>>;

async fn read_identity(database: &IdbDatabase) -> Result<Identity, Error> {
    let transaction = database.transaction_with_str(SEGMENTS).map_err(|error| from_exception(&error))?;
    bytes_of(get(&store_of(&transaction, SEGMENTS)?, IDENTITY)?).await
}

async fn replace_root(
    log: &ObjectStore,
    store: &ObjectStore,
    value: &Uint8Array,
    new: &NewRoot,
) -> Result<bool, Error> {
    let to_error = |error| to_error(&error);
    let noted = get(store, SEALED)?;
    let root = get(store, ROOT)?;
    let keys = store.get_all_keys(None, None).map_err(to_error)?;
    let noted = bytes_of(noted).await?;
    let root = bytes_of(root).await?;
    let keys: Vec<u64> = keys.await.map_err(to_error)?.iter().filter_map(to_key).collect();
    let is_possible = root_number(root.as_deref()) == new.replaces
        && is_as_noted(noted.as_deref(), value)
        && new.segments.iter().all(|segment| keys.binary_search(segment).is_ok());
    if !is_possible {
        return Ok(false);
    }
    // The last request's end is the transaction's: none of these is awaited.
    store.put(value, Some(&JsValue::from_f64(ROOT))).map_err(to_error)?;
    let last = JsValue::from_f64(as_f64(new.through));
    let rows = KeyRange::upper_bound(&last, Some(true)).map_err(to_error)?;
    log.delete(Query::KeyRange(rows)).map_err(to_error)?;
    log.put(&Uint8Array::new_with_length(0), Some(&last)).map_err(to_error)?;
    remove_others(store, keys.into_iter(), &new.segments)?;
    Ok(true)
}

/// Removes segments that are not among those to be kept, which are in order.
fn remove_others(store: &ObjectStore, keys: impl Iterator<Item = u64>, keep: &[u64]) -> Result<(), Error> {
    for key in keys.filter(|key| *key != 0 && keep.binary_search(key).is_err()) {
        store.delete(Query::Key(JsValue::from_f64(as_f64(key)))).map_err(|error| to_error(&error))?;
    }
    Ok(())
}

fn store_of(transaction: &IdbTransaction, name: &str) -> Result<ObjectStore, Error> {
    Transaction::from(transaction.clone()).object_store(name).map_err(|error| to_error(&error))
}

/// A tab without the key must not write what anybody can read beside what is sealed.
fn refuse_key(noted: &JsValue) -> Result<(), Error> {
    if noted.is_undefined() { Ok(()) } else { Err(Error::WrongKey) }
}

/// What a function of the facade gave.
async fn answer(called: Result<JsValue, JsValue>) -> Result<JsValue, Error> {
    let answer = match called {
        Ok(promise) => JsFuture::from(Promise::resolve(&promise)).await,
        Err(error) => Err(error),
    };
    answer.map_err(|error| from_exception(&error))
}

fn with_store(transaction: IdbTransaction, name: &str) -> Result<(IdbTransaction, ObjectStore), Error> {
    let store = store_of(&transaction, name)?;
    Ok((transaction, store))
}

async fn bytes_of(request: GetStoreRequest) -> Result<Option<Vec<u8>>, Error> {
    to_bytes(&request.await.map_err(|error| to_error(&error))?.unwrap_or_default())
}

fn to_bytes(value: &JsValue) -> Result<Option<Vec<u8>>, Error> {
    if value.is_undefined() {
        return Ok(None);
    }
    value.dyn_ref::<Uint8Array>().map(|bytes| Some(bytes.to_vec())).ok_or_else(not_a_log)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "keys of a generator are whole and below 2^53"
)]
fn to_key(key: &JsValue) -> Option<u64> {
    Some(key.as_f64()? as u64)
}

/// The end of a transaction. A promise may be kept only at `complete`: over quota a request succeeds and the transaction is
/// aborted afterwards.
struct Ending {
    once: Once<()>,
    _listeners: [Listener; 2],
}

impl Ending {
    fn of(transaction: &IdbTransaction) -> Self {
        let (filler, once) = Once::new();
        let completed = filler.clone();
        let listeners = [
            Listener::new(transaction.clone().into(), "complete", move |_| {
                completed.fill(Ok(()));
            }),
            Listener::new(transaction.clone().into(), "abort", move |event| {
                fill_with_reason(&filler, &event)
            }),
        ];
        Self { once, _listeners: listeners }
    }

    async fn wait(self) -> Result<(), Error> {
        self.once.wait().await
    }
}

fn fill_with_reason(filler: &Filler<()>, event: &JsValue) {
    let reason = event
        .dyn_ref::<web_sys::Event>()
        .and_then(|event| event.target()?.dyn_into::<IdbTransaction>().ok()?.error());
    filler.fill(Err(match reason {
        Some(reason) => from_exception(&reason),
        None => Error::StorageFailed("the transaction was aborted".to_owned()),
    }));
}

fn failed_append(end: Result<(), Error>, request: Error) -> Outcome {
    match end {
        // The request failed and the transaction committed: without the row.
        Ok(()) => Outcome::Failed(request),
        Err(error) => Outcome::Failed(error),
    }
}

fn to_row(key: &JsValue, value: &JsValue) -> Option<(u64, Vec<u8>)> {
    Some((to_key(key)?, value.dyn_ref::<Uint8Array>()?.to_vec()))
}

fn not_a_log() -> Error {
    Error::StorageFailed("the database is not one of the driver's: choose another name".to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "keys are far below 2^53")]
fn as_f64(key: u64) -> f64 {
    key as f64
}
