#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod config;
pub mod decide;
pub mod error;
pub mod exchange;
pub mod objects;
pub mod realtime;
pub mod record;
pub mod retention;
pub mod routes;
pub mod serve;
pub mod store;
pub mod validate;

pub use config::Config;
pub use error::Error;
pub use exchange::Rules;
pub use objects::Objects;
pub use routes::{App, app};
