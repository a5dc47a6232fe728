//! What the database in IndexedDB has, and what its errors mean. The facade opens and deletes it (`pkg/src/indexeddb.ts`).

use super::environment::{describe, error_name};
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

/// What an exception of IndexedDB means, or one of the facade that has such a name.
pub(crate) fn from_exception(exception: &wasm_bindgen::JsValue) -> Error {
    match error_name(exception).as_str() {
        "QuotaExceededError" => Error::QuotaExceeded,
        "VersionError" => Error::StorageOutdated,
        "BlockedError" => Error::StorageBlocked,
        "ClearedError" => Error::Cleared,
        _ => Error::StorageFailed(describe(exception)),
    }
}
