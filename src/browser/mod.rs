//! The shells: they do what the engine decided, and decide nothing.

pub(crate) mod calls;
pub(crate) mod channel;
pub(crate) mod cipher;
pub(crate) mod driver;
pub(crate) mod environment;
pub(crate) mod leader;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod once;
mod realtime;
pub(crate) mod schema;
pub(crate) mod store;
pub(crate) mod transport;
