//! objectql-offline: a client-side offline driver for ObjectQL, for WebAssembly.
//!
//! - [`engine`] decides: the log, its fold into records, queries, the sync state machine. Pure; it runs natively.
//! - `browser` does what the engine decided: IndexedDB, fetch, timers, locks, channels. Only on wasm32.
//! - `bindings` is the surface that the npm package's TypeScript facade calls. Only on wasm32.
//!
//! The npm package is the way to use this; as a Rust crate it is there for tests and tools.

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod browser;
pub mod engine;
pub mod error;
