//! The IndexedDB database: its stores, opening and deleting it.
//!
//! | version | stores |
//! | --- | --- |
//! | 1 | `log`: rows under keys of a generator. Keys are never used twice, not even after rows are deleted |
//! | 2 | `segments`: segments likewise, the root under the key 0, the identity of the database under -1 (early builds wrote none), and under -2 by which key all is sealed (`pkg/src/encryption.ts`) |
//!
//! A page that writes before the wasm is there makes the same (`pkg/src/early-log.ts`); a browser test compares the two.

use std::cell::RefCell;
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use idb::event::VersionChangeEvent;
use idb::{Database, DatabaseEvent, Event, Factory, ObjectStoreParams, Request};
use wasm_bindgen::JsValue;

use super::environment::{describe, error_name, random_bytes};
use super::once::{Filler, Once};
use crate::error::Error;

/// The store of the log.
pub(crate) const LOG: &str = "log";
/// The store of the segments, and of the root.
pub(crate) const SEGMENTS: &str = "segments";
/// The root's key among the segments; a generator begins at 1.
pub(crate) const ROOT: f64 = 0.0;
/// Where 16 random bytes are that tell the database from another one of the same name.
pub(crate) const IDENTITY: f64 = -1.0;
/// Where it is noted that all is sealed, or being sealed, by a key (`pkg/src/encryption.ts`).
pub(crate) const SEALED: f64 = -2.0;
const VERSION: u32 = 2;
/// Some browsers never answered an `open` (WebKit bug 226547): 10 seconds.
const OPEN_TIMEOUT_MS: u32 = 10_000;

/// Opens the database. `may_create` is false when it was open before: one that is gone by then was deleted, and a new empty
/// one in its place would start the sequence again under the same name. That is `Cleared`.
pub(crate) async fn open(name: &str, may_create: bool) -> Result<Database, Error> {
    let (filler, once) = Once::new();
    let mut request = Factory::new()
        .and_then(|factory| factory.open(name, Some(VERSION)))
        .map_err(|error| to_error(&error))?;
    let refusal: Rc<RefCell<Option<Error>>> = Rc::default();

    let refused = Rc::clone(&refusal);
    request.on_upgrade_needed(move |event| {
        if let Err(error) = upgrade(&event, may_create) {
            refused.replace(Some(error));
            // Without its upgrade the database is not made; the request then fails.
            if let Some(transaction) = event.target().ok().and_then(|request| request.transaction()) {
                let _ = transaction.abort();
            }
        }
    });
    let blocked = filler.clone();
    request.on_blocked(move |_| {
        blocked.fill(Err(Error::StorageBlocked));
    });
    let opened = filler.clone();
    request.on_success(move |event| {
        let result = event.database().map_err(|error| to_error(&error));
        // Nobody waits any more: a connection left open would block the next upgrade.
        if let Some(Ok(unwanted)) = opened.fill(result) {
            unwanted.close();
        }
    });
    let failed = filler.clone();
    request.on_error(move |event| {
        let error =
            refusal.take().unwrap_or_else(|| match event.target().and_then(|request| request.error()) {
                Ok(Some(error)) => from_exception(&error),
                _ => Error::StorageFailed("open failed without a reason".to_owned()),
            });
        failed.fill(Err(error));
    });
    let watchdog = watchdog(filler);
    let result = once.wait().await;
    drop(watchdog);
    if result.is_err() {
        // An answer may still come.
        request.forget_callbacks();
    }
    result
}

fn watchdog<T: 'static>(filler: Filler<T>) -> Timeout {
    Timeout::new(OPEN_TIMEOUT_MS, move || {
        filler.fill(Err(Error::StorageFailed(format!("open did not answer within {OPEN_TIMEOUT_MS} ms"))));
    })
}

fn upgrade(event: &VersionChangeEvent, may_create: bool) -> Result<(), Error> {
    let old = event.old_version().map_err(|error| to_error(&error))?;
    if !may_create && old == 0 {
        return Err(Error::Cleared);
    }
    let database = event.database().map_err(|error| to_error(&error))?;
    for (since, store) in [(1, LOG), (2, SEGMENTS)] {
        if old < since {
            let mut params = ObjectStoreParams::new();
            params.auto_increment(true);
            let made = database.create_object_store(store, params).map_err(|error| to_error(&error))?;
            if store == SEGMENTS {
                let identity = random_bytes(16)?;
                made.add(&identity, Some(&JsValue::from_f64(IDENTITY))).map_err(|error| to_error(&error))?;
            }
        }
    }
    Ok(())
}

/// Deletes the database. Other tabs close theirs when they are told; one that does not makes this fail after a while.
pub(crate) async fn delete(name: &str) -> Result<(), Error> {
    let (filler, once) = Once::new();
    let mut request =
        Factory::new().and_then(|factory| factory.delete(name)).map_err(|error| to_error(&error))?;
    let done = filler.clone();
    request.on_success(move |_| {
        done.fill(Ok(()));
    });
    let failed = filler.clone();
    request.on_error(move |_| {
        failed.fill(Err(Error::StorageFailed("the database could not be deleted".to_owned())));
    });
    let watchdog = Timeout::new(OPEN_TIMEOUT_MS, move || {
        filler.fill(Err(Error::StorageBlocked));
    });
    let result = once.wait().await;
    drop(watchdog);
    if result.is_err() {
        request.forget_callbacks();
    }
    result
}

/// What an error of IndexedDB means.
pub(crate) fn to_error(error: &idb::Error) -> Error {
    match error {
        idb::Error::DomException(exception) => from_exception(exception),
        idb::Error::TransactionOpenFailed(value)
        | idb::Error::IndexedDbOpenFailed(value)
        | idb::Error::AddFailed(value)
        | idb::Error::GetAllFailed(value)
        | idb::Error::GetFailed(value)
        | idb::Error::UpdateFailed(value)
        | idb::Error::DeleteFailed(value)
        | idb::Error::GetAllKeysFailed(value)
        | idb::Error::ObjectStoreNotFound(value) => from_exception(value),
        // The others say which call it was; their texts would cost 3 KB of wasm.
        _ => Error::StorageFailed("a request could not be made".to_owned()),
    }
}

/// What an exception of IndexedDB means.
pub(crate) fn from_exception(exception: &wasm_bindgen::JsValue) -> Error {
    match error_name(exception).as_str() {
        "QuotaExceededError" => Error::QuotaExceeded,
        "VersionError" => Error::StorageOutdated,
        _ => Error::StorageFailed(describe(exception)),
    }
}
