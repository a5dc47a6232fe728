//! The driver.

pub mod engine;
pub mod error;
