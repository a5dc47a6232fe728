//! The servers a world can have, behind one trait: what a client sees of any of them is a body in and an answer out.

pub(crate) mod history;
pub(crate) mod memory;
pub(crate) mod own;
pub(crate) mod plain;
pub(crate) mod sqlite;
pub(crate) mod witness;

use std::collections::BTreeMap;

use objectql_offline::engine::Answer;
use objectql_sync_protocol::{ClientId, Fields, Mutation, RecordKey, Timestamp};

use crate::coverage::Coverage;
use crate::server::history::History;
use crate::server::own::Own;
use crate::setup::{ServerKind, Setup};

/// What goes wrong inside the server while it works on one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// Its how-manieth call to the store fails; 0: none. One that is never reached becomes a crash after the commit, if
    /// `crashes`.
    pub(crate) fuse: usize,
    /// Whether it dies of that, instead of answering with an error.
    pub(crate) crashes: bool,
}

/// A sync endpoint.
pub(crate) trait Server {
    /// Answers a request; nothing if it crashed over it.
    fn answer(
        &mut self,
        body: &[u8],
        now: Timestamp,
        trouble: Trouble,
        coverage: &mut Coverage,
    ) -> Option<Answer>;

    /// A profile was copied: from now on two write under one id, until the server finds out.
    fn share(&mut self, client: &ClientId);

    /// Somebody on the server writes to an object that clients may only read.
    fn write_directly(&mut self, mutation: &Mutation, now: Timestamp);

    /// Forgets what is older.
    fn prune(&mut self, before: Timestamp) -> bool;

    /// Forgets everything it may ever forget.
    ///
    /// # Errors
    /// What it keeps all the same.
    fn forget_everything(&mut self) -> Result<(), String>;

    /// Makes a backup.
    fn backup(&mut self, number: usize);

    /// Puts a backup back; false if there is none.
    fn restore(&mut self, number: usize) -> bool;

    /// The live records that clients are told of.
    fn records(&self) -> BTreeMap<RecordKey, Fields>;

    /// Whether a client with that checkpoint has everything.
    fn is_at_end(&self, checkpoint: &str) -> bool;

    /// What was committed, if this server can be watched.
    fn history(&self) -> Option<&History>;

    /// A text that mentions the server's random names, with names that are the same in every run.
    fn without_chance(&self, text: &str) -> String;

    /// What the server did that it must not do.
    fn take_violation(&mut self) -> Option<String>;
}

/// The server of a world.
pub(crate) fn start(setup: &Setup) -> Box<dyn Server> {
    match setup.server {
        ServerKind::Memory => Box::new(Own::new(memory::MemoryShelf::default(), setup)),
        ServerKind::Plain => Box::new(plain::Plain::new(setup)),
        ServerKind::Sqlite => Box::new(Own::new(sqlite::SqliteShelf::default(), setup)),
    }
}

/// The epoch and the position of a checkpoint of this server's, and whether it is a place inside a snapshot.
pub(crate) fn parse_checkpoint(text: &str) -> Option<(&str, u64, bool)> {
    let (epoch, place) = text.strip_prefix("v1.")?.split_once('.')?;
    match place.split_once('.') {
        None => Some((epoch, place.parse().ok()?, false)),
        Some((_, since)) => Some((epoch, since.parse().ok()?, true)),
    }
}
