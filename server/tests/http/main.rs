//! The server through its router: a real database, a clock that the test sets, and no sockets but those of realtime.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed, as it should"
)]

mod conformance;
mod exchange;
mod files;
mod harness;
mod realtime;
mod retention;
mod snapshot;
mod status;
