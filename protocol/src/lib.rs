#![doc = include_str!("../README.md")]

pub mod change;
pub mod config;
pub mod conflict;
#[doc(hidden)]
pub mod defect;
mod definition;
pub mod error;
pub mod exchange;
pub mod fields;
pub mod header;
pub mod id;
mod json;
pub mod merge;
mod message;
pub mod mutation;
mod number;
pub mod object;
pub mod realtime;
mod scan;
pub mod timestamp;

pub use change::ServerChange;
pub use config::{Direction, EndpointConfig, Strategy, SyncConfig};
pub use conflict::Conflict;
pub use error::ProtocolError;
pub use exchange::{MutationResult, PushRequest, PushResponse, ReceivedMutation, ReceivedPush};
pub use fields::Fields;
pub use id::{Checkpoint, ClientId, MutationId, ObjectName, RecordId, RecordKey, Sequence, ServerVersion};
pub use json::{Json, ObjectText, Scalar, array_text, normalise, number_text, quoted};
pub use mutation::{Mutation, Operation};
pub use object::{FieldDefinition, IndexDefinition, Named, ObjectDefinition, SelectOption};
pub use scan::find_folded;
pub use timestamp::Timestamp;

/// How deep a record's values may be nested, the record itself being the first level.
pub const MAX_DEPTH: usize = 32;
/// How many bytes a record's JSON text may have: 1 MiB.
pub const MAX_FIELDS_BYTES: usize = 1 << 20;
/// How many bytes the name of an object may have.
pub const MAX_NAME_BYTES: usize = 128;
/// How many bytes a record id or client id may have.
pub const MAX_ID_BYTES: usize = 256;
/// How many bytes a checkpoint may have.
pub const MAX_CHECKPOINT_BYTES: usize = 4096;
/// The largest integer that a browser holds exactly, 2^53 - 1: ids, sequences and versions end there.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
