//! Every error the driver gives to an app, and its code.

use objectql_sync_protocol::ProtocolError;
use thiserror::Error;

/// Why a call failed. [`code`](Self::code) is for programs and never changes; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A value, id, name or definition outside the rules; nothing was written.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The object is not among the definitions the database was opened with.
    #[error("there is no object {0:?}: list its definition in `objects` when opening the database")]
    UnknownObject(String),
    /// Not all that the call looks at is in memory, or an index of many records is not built. No app sees it: the facade has that done, and
    /// calls again.
    #[error("{0}")]
    NotLoaded(String),
    /// The record to change does not exist.
    #[error("there is no {object} with the id {id}")]
    NotFound {
        /// The object's name.
        object: String,
        /// The id as JSON.
        id: String,
    },
    /// A record with the id exists.
    #[error("there is a {object} with the id {id} already")]
    AlreadyExists {
        /// The object's name.
        object: String,
        /// The id as JSON.
        id: String,
    },
    /// Another record has the values that only one may have.
    #[error("there is a {object} with this value of {fields} already: {id}")]
    UniqueViolation {
        /// The object's name.
        object: String,
        /// The fields.
        fields: String,
        /// The id of the other record as JSON.
        id: String,
    },
    /// One call is about too much.
    #[error("{0}")]
    CallTooLarge(&'static str),
    /// The object is `pull-only`.
    #[error("{0} is pull-only: its records change on the server only")]
    ReadOnlyObject(String),
    /// The query is not understood.
    #[error("{0}")]
    InvalidQuery(String),
    /// The options are not understood.
    #[error("{0}")]
    InvalidOptions(String),
    /// No mutation with that id waits for a decision.
    #[error("no mutation {0} is waiting in conflicts() or rejected()")]
    UnknownMutation(String),
    /// What a transaction read is not as it was.
    #[error("what the transaction read was changed meanwhile: run it again")]
    TransactionConflict,
    /// The transaction was committed or rolled back.
    #[error("the transaction was committed or rolled back before")]
    TransactionEnded,
    /// The database was opened without `sync`.
    #[error("the database was opened without `sync`")]
    SyncOff,
    /// The request did not reach the server, or its answer did not come back.
    #[error("the server cannot be reached: {0}")]
    Network(String),
    /// The request took too long.
    #[error("no answer within {0} ms")]
    Timeout(u32),
    /// The server answered with an error status.
    #[error("the server answered with status {status}: {detail}")]
    HttpStatus {
        /// The HTTP status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// The server refused the credentials.
    #[error(
        "the server refused the credentials (status {0}): make `sync.headers` return fresh ones and call sync()"
    )]
    Unauthorized(u16),
    /// The server's answer is not of the wire format; nothing of it was used.
    #[error("the server's answer is not valid: {0}")]
    InvalidAnswer(String),
    /// Another device writes under this database's client id.
    #[error("the server has other mutations of this client id: this profile was copied from another device")]
    ClientIdCloned,
    /// The browser's storage is full; the write was not made.
    #[error("the browser's storage for this site is full: free some space and write again")]
    QuotaExceeded,
    /// IndexedDB failed; the write was not made.
    #[error("IndexedDB failed: {0}")]
    StorageFailed(String),
    /// IndexedDB failed and did not say whether the write was made.
    #[error(
        "IndexedDB failed while committing: {0}; whether the write was made shows when storage works again"
    )]
    StorageUnknown(String),
    /// What became of a write that was made before the engine was there is not known any more.
    #[error(
        "the write was made before the database was open and decided by another tab, long ago: look whether it is there"
    )]
    AnswerGone,
    /// Another tab holds an old version of the database open.
    #[error("another tab holds the database open in an older version: close or reload it")]
    StorageBlocked,
    /// The database was written by a newer version of the driver.
    #[error("the database was written by a newer version of the driver: reload the page")]
    StorageOutdated,
    /// The app was released anew, with a later version of an object's definition, and its data were migrated.
    #[error("the data of {0} were migrated by a newer version of the app: reload the page")]
    DefinitionOutdated(String),
    /// IndexedDB does not answer.
    #[error(
        "IndexedDB does not answer: another tab of this site may be frozen in the middle of a write. It goes on when \
         that tab does, or is closed"
    )]
    StorageStalled,
    /// What is stored is sealed with another key.
    #[error(
        "the local database is encrypted with another key: open it with the right one in `encryption`, or destroy() it"
    )]
    WrongKey,
    /// The local database was deleted while it was open.
    #[error("the local database was deleted while it was open: open it again")]
    DatabaseLost,
    /// The local database is gone, and nobody deleted it on purpose.
    #[error(
        "the data of this site were cleared, and this write with them: a new database takes their place, write again"
    )]
    Cleared,
    /// A row of the log cannot be read.
    #[error("row {key} of the local log cannot be read: {detail}")]
    LogCorrupt {
        /// The row's key.
        key: u64,
        /// What is wrong.
        detail: String,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// The tab that syncs could not.
    #[error("{message}")]
    InLeader {
        /// The code of its error.
        code: &'static str,
        /// The text of its error.
        message: String,
    },
    /// A fault in the driver itself.
    #[error("a fault in the driver: {0}")]
    Internal(String),
}

/// Every code there is; the npm package has the same list.
pub const CODES: [&str; 37] = [
    "INVALID_JSON",
    "INVALID_VALUE",
    "VALUE_TOO_DEEP",
    "VALUE_TOO_LARGE",
    "INVALID_ID",
    "INVALID_NAME",
    "INVALID_MUTATION",
    "INVALID_MESSAGE",
    "INVALID_DEFINITION",
    "UNKNOWN_OBJECT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIQUE_VIOLATION",
    "READ_ONLY_OBJECT",
    "INVALID_QUERY",
    "INVALID_OPTIONS",
    "UNKNOWN_MUTATION",
    "TRANSACTION_CONFLICT",
    "TRANSACTION_ENDED",
    "SYNC_OFF",
    "NETWORK",
    "TIMEOUT",
    "HTTP_STATUS",
    "UNAUTHORIZED",
    "INVALID_ANSWER",
    "CLIENT_ID_CLONED",
    "QUOTA_EXCEEDED",
    "STORAGE_FAILED",
    "STORAGE_UNKNOWN",
    "STORAGE_BLOCKED",
    "STORAGE_OUTDATED",
    "DATABASE_LOST",
    "LOG_CORRUPT",
    "WRONG_KEY",
    "CLOSED",
    "WASM_FAILED",
    "INTERNAL",
];

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Protocol(error) => error.code(),
            Self::UnknownObject(_) => "UNKNOWN_OBJECT",
            Self::NotLoaded(_) => "NOT_LOADED",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::UniqueViolation { .. } => "UNIQUE_VIOLATION",
            Self::CallTooLarge(_) => "VALUE_TOO_LARGE",
            Self::ReadOnlyObject(_) => "READ_ONLY_OBJECT",
            Self::InvalidQuery(_) => "INVALID_QUERY",
            Self::InvalidOptions(_) => "INVALID_OPTIONS",
            Self::UnknownMutation(_) => "UNKNOWN_MUTATION",
            Self::TransactionConflict => "TRANSACTION_CONFLICT",
            Self::TransactionEnded => "TRANSACTION_ENDED",
            Self::SyncOff => "SYNC_OFF",
            Self::Network(_) => "NETWORK",
            Self::Timeout(_) => "TIMEOUT",
            Self::HttpStatus { .. } => "HTTP_STATUS",
            Self::Unauthorized(_) => "UNAUTHORIZED",
            Self::InvalidAnswer(_) => "INVALID_ANSWER",
            Self::ClientIdCloned => "CLIENT_ID_CLONED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::StorageFailed(_) => "STORAGE_FAILED",
            Self::StorageUnknown(_) | Self::AnswerGone => "STORAGE_UNKNOWN",
            Self::StorageBlocked | Self::StorageStalled => "STORAGE_BLOCKED",
            Self::StorageOutdated | Self::DefinitionOutdated(_) => "STORAGE_OUTDATED",
            Self::DatabaseLost | Self::Cleared => "DATABASE_LOST",
            Self::WrongKey => "WRONG_KEY",
            Self::LogCorrupt { .. } => "LOG_CORRUPT",
            Self::Closed => "CLOSED",
            Self::InLeader { code, .. } => code,
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// The error that another tab told of.
    #[must_use]
    pub fn in_leader(code: &str, message: String) -> Self {
        let code = CODES.iter().find(|known| **known == code).copied().unwrap_or("INTERNAL");
        Self::InLeader { code, message }
    }
}
