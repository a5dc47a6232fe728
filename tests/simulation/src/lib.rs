//! The simulator: the production engine of the driver and the production decisions and stores of the server, in one
//! deterministic world of virtual time, where everything that can go wrong does.
//!
//! A seed decides everything. First come faults and people's deeds in any order, and after every step what must hold is checked
//! (`invariants`, `ledger`, `oracle`, `server::history`); then the faults stop, and all must agree within a bounded time
//! (`heal`). A failing seed is made small (`shrink`) and kept in `regressions/`.

#![expect(clippy::indexing_slicing, reason = "a simulator that is out of bounds is to stop at once")]

mod action;
mod calm;
mod client;
mod coverage;
mod damage;
mod disk;
mod heal;
mod invariants;
mod ledger;
mod life;
mod migration;
mod network;
mod oracle;
mod page;
mod random;
mod run;
mod server;
mod setup;
mod shrink;
mod tabs;
mod trace;
mod user;
mod workload;
mod world;

pub use calm::{Calm, calm};
pub use coverage::Coverage;
pub use run::{Options, Outcome, run};
pub use server::memory::MemoryStore;
pub use setup::{ServerKind, Setup};
pub use shrink::Script;
