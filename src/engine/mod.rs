//! The engine: everything that is decided, and nothing that is done. Pure functions of the log, the inputs and the time
//! that comes with them; it runs natively in the tests as it does in a browser.
//!
//! # The contract
//!
//! Give an input with [`Engine::handle_input`], then take outputs with [`Engine::poll_output`] until there is none, and do what
//! each says; then the next input. Every output that asks for something carries a number, and what comes of it is an input
//! that quotes the number; an answer nobody waits for is ignored.
//!
//! ```
//! # use objectql_offline::engine::{Config, Engine, Input, Now, Output, RequestId};
//! # let config = Config::new(Vec::new(), None)?;
//! # let now = Now::default();
//! let mut engine = Engine::new(config, [7; 32], RequestId(0));
//! engine.handle_input(now, Input::Wake);
//! while let Some(output) = engine.poll_output() {
//!     if let Output::Begin { read, .. } = output {
//!         // The shell looks into the store, here an empty one, and says what it found.
//!         engine.handle_input(now, Input::Begun { read, root: None, rows: Vec::new(), is_last: true });
//!     }
//! }
//! # Ok::<(), objectql_offline::error::Error>(())
//! ```

mod absent;
mod announcement;
mod clock;
mod command;
mod compact;
mod config;
mod early;
mod export;
mod fold;
mod health;
mod heard;
mod history;
mod inspect;
mod load;
mod log;
mod marks;
mod mend;
mod migrate;
mod places;
mod query;
mod queue;
mod random;
mod record;
mod report;
mod row;
mod seal;
mod sort;
mod staged;
mod start_over;
mod state;
mod stored;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod transaction;
mod views;

use std::collections::VecDeque;
use std::time::Duration;

use objectql_sync_protocol::{
    ClientId, Fields, MutationId, ObjectDefinition, ObjectName, RecordId, RecordKey, Timestamp,
};

pub use self::absent::Need;
pub use self::announcement::Announcement;
pub use self::command::{Command, Reply, Resolution, made_each, read_list};
pub use self::compact::CompactAfter;
pub use self::config::{Config, SyncSettings};
pub use self::fold::Outcome;
pub use self::log::MAX_COMMAND_BYTES;
pub use self::migrate::{Migration, Portion};
pub use self::query::{Aggregate, Filter, Found, LiveChange, Query};
use self::query::{Collections, Seen};
pub use self::report::{ChangeReport, ChangedRecords, ErrorReport, Notice, Origin, Status, SyncState};
pub use self::row::{
    Asked, Change, Event, MAX_ROW_BYTES, Migrated, Part, Place, Received, Recorded, Row, Subscription, TabId,
    Verdict,
};
pub use self::seal::FormatError;
use self::state::Pending;
pub use self::state::State;
pub use self::stored::{SegmentsInMemory, root_number};
pub use self::sync::answer::{Answer, Features, MAX_ANSWER_BYTES, RetryAfter};
pub use self::sync::progress::{SyncProgress, SyncReport};
pub use self::transaction::Read;

use self::absent::{Absent, Loader};
use self::compact::Compaction;
use self::early::EarlyWrites;
use self::export::Export;
use self::fold::Folded;
use self::heard::HeardRow;
use self::log::{Job, Log, Unmade};
use self::mend::{Damage, Untold};
use self::random::Random;
use self::sync::realtime::Realtime;
use self::sync::{Asker, Sync};
use self::transaction::Transaction;
use crate::error::Error;

/// The time of an input, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The device's clock: for timestamps. It may jump.
    pub wall: Timestamp,
    /// Time since some moment in the past: for timers. It never goes back.
    pub monotonic: Duration,
}

impl Now {
    /// Both clocks, so much later.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self {
            wall: Timestamp::from_millis(self.wall.millis().saturating_add(millis)),
            monotonic: self.monotonic + wait,
        }
    }
}

/// Whose call an output answers. The shell makes them; each is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happens to the engine.
#[derive(Debug)]
pub enum Input {
    /// The app writes; each call is answered by a reply.
    Write(Vec<(RequestId, Command)>),
    /// The app hands back what it made of a portion of a migration; answered by a reply, whether it was taken. Otherwise another tab was
    /// faster, and the portion is to be looked at anew.
    Migrate {
        /// The call.
        request: RequestId,
        /// What it made.
        migration: Migration,
    },
    /// A page wants to know what became of what it asked for in a row that it made itself; answered by a reply, when it is
    /// decided. With the number 0: when all is decided that pages asked for.
    Early {
        /// The call.
        request: RequestId,
        /// Who asked, as the row says.
        tab: TabId,
        /// The number of the row.
        number: u64,
    },
    /// The app calls `sync()`; answered by a reply.
    Sync {
        /// The call.
        request: RequestId,
    },
    /// The app needs something in memory, such as the records of an object before it queries them; answered by a reply.
    Load {
        /// The call.
        request: RequestId,
        /// What.
        need: Need,
    },
    /// The app wants to know what becomes of a pending mutation; answered by a reply, when it is settled.
    Watch {
        /// The call.
        request: RequestId,
        /// The mutation.
        mutation: MutationId,
    },
    /// What the store holds: the root, if there is one, and the first of its rows in the order of their keys.
    Begun {
        /// The read.
        read: u64,
        /// The root.
        root: Option<Vec<u8>>,
        /// Keys and bytes.
        rows: Vec<(u64, Vec<u8>)>,
        /// Whether there were no more rows.
        is_last: bool,
    },
    /// The segments that were to be read, in that order; none for one that is not there.
    Segments {
        /// The read.
        read: u64,
        /// Their bytes.
        segments: Vec<Option<Vec<u8>>>,
    },
    /// What a read found: the rows after the given key in the order of their keys, as many as the shell likes.
    Rows {
        /// The read.
        read: u64,
        /// Keys and bytes.
        rows: Vec<(u64, Vec<u8>)>,
        /// Whether there were no more rows.
        is_last: bool,
    },
    /// The root as it is, if there is one.
    Root {
        /// The step.
        compaction: u64,
        /// Its bytes.
        root: Option<Vec<u8>>,
    },
    /// The segments are in the store under these keys, and durable.
    SegmentsWritten {
        /// The step.
        compaction: u64,
        /// One for each.
        keys: Vec<u64>,
    },
    /// The compaction is done, and durable.
    Compacted {
        /// The step.
        compaction: u64,
    },
    /// A step of a compaction was not done, or nobody knows.
    CompactionFailed {
        /// The step.
        compaction: u64,
    },
    /// A read failed.
    ReadFailed {
        /// The read.
        read: u64,
        /// Why.
        error: Error,
    },
    /// The row is in the log under the key it wanted, and durable.
    Appended {
        /// The append.
        append: u64,
    },
    /// The key was another one: another tab was first, or rows are missing. The row is not in the log.
    Behind {
        /// The append.
        append: u64,
        /// The key that it would have got.
        given: u64,
    },
    /// The row is not in the log.
    AppendFailed {
        /// The append.
        append: u64,
        /// Why.
        error: Error,
    },
    /// Nobody knows whether the row is in the log.
    AppendUnknown {
        /// The append.
        append: u64,
        /// Why.
        error: Error,
    },
    /// The server answered, whatever it answered.
    Answered {
        /// The request.
        send: u64,
        /// The answer.
        answer: Answer,
    },
    /// No answer came, or not all of it.
    SendFailed {
        /// The request.
        send: u64,
        /// Why.
        error: Error,
    },
    /// This tab won or lost the lock of the one that syncs.
    Leader(bool),
    /// There is no such lock in this browser: the tabs have to agree, if they can.
    Lockless {
        /// Whether announcements reach the other tabs.
        has_channel: bool,
    },
    /// The page goes away, or the database is about to be closed. Nothing but a page that comes back may follow.
    Leaving,
    /// The socket is open, and the hello was said.
    SocketOpened {
        /// The socket.
        socket: u64,
    },
    /// The server said something on the socket.
    SocketSaid {
        /// The socket.
        socket: u64,
        /// What.
        text: String,
    },
    /// The socket is closed, or could not be opened.
    SocketClosed {
        /// The socket.
        socket: u64,
    },
    /// Somebody may be looking at the page, which is what an engine takes for granted at first, or nobody can.
    Visible(bool),
    /// Another tab says something.
    Announced(Announcement),
    /// The browser says that the network is back, or that somebody looks at the page again. Only a hint.
    Nudge,
    /// The time that was asked for has come; harmless at any other time.
    Wake,
}

/// What the engine wants done, or tells.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Append a row. If the key that the store gives is not `key`, abort. Answered by `Appended`, `Behind`, `AppendFailed` or
    /// `AppendUnknown`.
    Append {
        /// The number to quote.
        append: u64,
        /// The key the row must get.
        key: u64,
        /// The row.
        bytes: Vec<u8>,
    },
    /// Look what there is: the root and the first rows, at one moment. Answered by `Begun` or `ReadFailed`.
    Begin {
        /// The number to quote.
        read: u64,
        /// Whether the database is made where there is none, and any one is right. Otherwise it must be the one from which this engine
        /// has read before: where that is gone, this fails with `Cleared`, and so does everything else that is asked of the store.
        may_create: bool,
    },
    /// Read segments. Answered by `Segments` or `ReadFailed`.
    ReadSegments {
        /// The number to quote.
        read: u64,
        /// Their keys.
        segments: Vec<u64>,
    },
    /// Read the root. Answered by `Root` or `CompactionFailed`.
    ReadRoot {
        /// The number to quote.
        compaction: u64,
    },
    /// Put segments into the store, each under a key that was never used. Answered by `SegmentsWritten` or `CompactionFailed`.
    WriteSegments {
        /// The number to quote.
        compaction: u64,
        /// The number of the root, and its segments in order: where that is the root still, all others are to be removed first, in
        /// the same transaction (what compactions left that came to no end); where it is not, nothing is to be done. None: nothing
        /// is to be removed.
        keep: Option<(u64, Vec<u64>)>,
        /// Their bytes.
        segments: Vec<Vec<u8>>,
    },
    /// In one transaction, if the root has the number `replaces` (see [`root_number`]) and all `segments` are there: put the new
    /// root in its place, remove the rows before `through` and all other segments, and put no bytes in the place of the row
    /// `through`. Answered by `Compacted` or `CompactionFailed`.
    Compact {
        /// The number to quote.
        compaction: u64,
        /// The number of the root that it is made from; 0: none.
        replaces: u64,
        /// The new root.
        root: Vec<u8>,
        /// The keys of its segments, in order.
        segments: Vec<u64>,
        /// The last row that is in it, of which the key stays.
        through: u64,
    },
    /// Read rows. Answered by `Rows` or `ReadFailed`.
    Read {
        /// The number to quote.
        read: u64,
        /// Rows with a higher key than this.
        after: u64,
    },
    /// Post the body to the endpoint. Answered by `Answered` or `SendFailed`.
    Send {
        /// The number to quote.
        send: u64,
        /// The JSON.
        body: Vec<u8>,
    },
    /// Open a socket for realtime and say hello on it. Answered by `SocketOpened`, then `SocketSaid` any number of times, and
    /// `SocketClosed` at the end, whatever ends it. There is never more than one.
    Connect {
        /// The number to quote.
        socket: u64,
        /// Who says hello.
        client_id: ClientId,
    },
    /// Let go of the socket, whether it is closed already or not: one follows every `Connect`.
    Disconnect {
        /// The socket.
        socket: u64,
    },
    /// Give a `Wake` at that monotonic time, instead of any earlier such wish; none: no need.
    WakeAt(Option<Duration>),
    /// Take the lock of the one that syncs from the tab that holds it: it does not answer any more. Answered by `Leader`. Not wanted
    /// where there is no lock.
    Steal,
    /// Tell the other tabs.
    Announce(Announcement),
    /// Answer a call of the app.
    Reply {
        /// The call.
        request: RequestId,
        /// The answer.
        result: Result<Reply, Error>,
    },
    /// Tell the app.
    Notice(Notice),
}

/// The engine of one open database, in one tab.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    random: Random,
    tab: TabId,
    state: State,
    /// What an app sees of the state, for queries.
    collections: Collections,
    log: Log,
    compaction: Compaction,
    /// What of the state is not in memory.
    absent: Absent,
    loader: Loader,
    /// What of it cannot be read.
    damage: Damage,
    untold: Option<Untold>,
    sync: Sync,
    realtime: Realtime,
    early: EarlyWrites,
    /// Whether the log was read to its end and is not empty: what an app may see starts then.
    is_open: bool,
    /// Whether all data had the versions of their objects once.
    is_up_to_date: bool,
    /// How many rows were folded that are no migration.
    changes: u64,
    outputs: VecDeque<Output>,
    /// Who waits for the outcome of which mutation.
    watchers: Vec<(MutationId, RequestId)>,
    /// The transactions that are open, by number.
    transactions: Vec<(u32, Transaction)>,
    last_transaction: u32,
    exports: Vec<Export>,
    last_export: u32,
    told_status: Option<Status>,
    told_wake: Option<Duration>,
}

impl Engine {
    /// An engine that knows nothing yet. The first input makes it read the log; `open` is answered when the database can be
    /// used, or cannot.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], open: RequestId) -> Self {
        let mut random = Random::new(seed);
        let tab = TabId(random.number());
        let mut log = Log::default();
        log.push(Job::Open { request: Some(open) });
        Self {
            collections: Collections::of(&config.objects, config.at_once),
            config,
            random,
            tab,
            state: State::default(),
            log,
            compaction: Compaction::default(),
            absent: Absent::default(),
            loader: Loader::default(),
            damage: Damage::default(),
            untold: None,
            sync: Sync::default(),
            realtime: Realtime::default(),
            early: EarlyWrites::default(),
            is_open: false,
            is_up_to_date: false,
            changes: 0,
            outputs: VecDeque::new(),
            watchers: Vec::new(),
            transactions: Vec::new(),
            last_transaction: 0,
            exports: Vec::new(),
            last_export: 0,
            told_status: None,
            told_wake: None,
        }
    }

    /// Takes an input. Take the outputs next.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Write(writes) => {
                for (request, command) in writes {
                    self.log.push(Job::Write { request, command });
                }
            }
            Input::Migrate { request, migration } => self.log.push(Job::Migrate { request, migration }),
            Input::Early { request, tab, number } => self.handle_early(request, (tab, number)),
            Input::Load { request, need } => self.handle_load(request, need),
            Input::Watch { request, mutation } => self.watch(request, mutation),
            Input::Sync { request } => self.log.push(Job::Ask(Asker::Here(request))),
            Input::Begun { read, root, rows, is_last } => {
                self.handle_begun(now, read, root.as_deref(), rows, is_last);
            }
            Input::Segments { read, segments } => self.handle_segments(now, read, segments),
            Input::Rows { read, rows, is_last } => self.handle_rows(now, read, rows, is_last),
            Input::Root { compaction, .. }
            | Input::SegmentsWritten { compaction, .. }
            | Input::Compacted { compaction }
            | Input::CompactionFailed { compaction }
                if self.compaction.ends_dropped(compaction) => {}
            Input::Root { compaction, root } => self.handle_root(now, compaction, root.as_deref()),
            Input::SegmentsWritten { compaction, keys } => {
                self.handle_segments_written(now, compaction, &keys);
            }
            Input::Compacted { compaction } => self.handle_compacted(compaction),
            Input::CompactionFailed { compaction } => self.handle_compaction_failed(now, compaction),
            Input::ReadFailed { read, error } => {
                if !self.handle_segments_failed(now, read, &error) {
                    self.handle_read_failed(now, read, error);
                }
            }
            Input::Appended { append } => self.handle_appended(now, append),
            Input::Behind { append, given } => self.handle_append_unsure(now, append, Unmade::Behind(given)),
            Input::AppendFailed { append, error } => self.handle_append_failed(now, append, error),
            Input::AppendUnknown { append, error } => {
                self.handle_append_unsure(now, append, Unmade::Unknown(error));
            }
            Input::Answered { send, answer } => self.handle_answer(now, send, &answer),
            Input::SendFailed { send, error } => self.handle_send_failed(now, send, error),
            Input::Leader(is_leader) => self.handle_leader(is_leader),
            Input::Lockless { has_channel } => self.handle_lockless(has_channel),
            Input::Leaving => self.leave(),
            Input::SocketOpened { socket } => self.handle_socket_opened(now, socket),
            Input::SocketSaid { socket, text } => self.handle_socket_said(now, socket, &text),
            Input::SocketClosed { socket } => self.handle_socket_closed(now, socket),
            Input::Visible(is_visible) => {
                self.handle_visible(now, is_visible);
                if is_visible {
                    self.nudge(now);
                }
            }
            Input::Announced(announcement) => self.handle_announcement(now, announcement),
            Input::Nudge => self.nudge(now),
            Input::Wake => {}
        }
        self.advance_log(now);
        self.note_versions();
        self.advance_sync(now);
        // A step of the sync may have put a job into the log.
        self.advance_log(now);
        self.watch_store(now);
        self.advance_realtime(now);
        self.advance_compaction(now);
        self.advance_loader();
        self.tell_status();
        self.tell_wake();
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The records a query finds, as a JSON array.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn find(&self, object: &str, query: &Query) -> Result<String, Error> {
        Ok(self.collections.text(&self.readable(object)?.name, query))
    }

    /// Rows of a portion that the page does not know, see [`Found::ahead`].
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn introduce(&mut self, object: &str, numbers: &[u32]) -> Result<Found, Error> {
        let object = self.readable(object)?.name.clone();
        Ok(self.collections.hand_over(&object, numbers))
    }

    /// The records a query finds, those that the page knows already by their stamps only; nothing is put off where it was introduced to
    /// what was ahead.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`
    pub fn find_rows(&mut self, object: &str, mut query: Query, is_introduced: bool) -> Result<Found, Error> {
        let object = self.queryable(object, &mut query, None)?;
        Ok(self.collections.find(&object, &query, is_introduced))
    }

    /// What is computed of groups of records, as a JSON array; with what a transaction wrote, if one is named.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`, `TRANSACTION_ENDED`
    pub fn aggregate(
        &mut self,
        object: &str,
        aggregate: &Aggregate,
        within: Option<u32>,
    ) -> Result<String, Error> {
        let Some(number) = within else {
            let object = self.queryable(object, &mut aggregate.source.clone(), Some(aggregate))?;
            return Ok(self.collections.aggregate(&object, aggregate));
        };
        // A transaction is to see the records as they are: it does not wait.
        let object = self.readable(object)?.name.clone();
        let views = self.borrow_views(number, &object, &aggregate.source)?;
        let text = self.collections.aggregate_over(&object, aggregate, &views);
        self.give_back(number, views);
        Ok(text)
    }

    /// The values of a field that are not null, each once, as a JSON array; likewise.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`, `TRANSACTION_ENDED`
    pub fn distinct(
        &mut self,
        object: &str,
        field: &str,
        filter: Option<Filter>,
        within: Option<u32>,
    ) -> Result<String, Error> {
        self.aggregate(object, &Aggregate::distinct(field, filter), within)
    }

    /// How many records match.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`
    pub fn count_rows(&mut self, object: &str, mut query: Query) -> Result<usize, Error> {
        let object = self.queryable(object, &mut query, None)?;
        self.collections.prepare(&object, &query);
        Ok(self.collections.count(&object, &query))
    }

    /// Lets go of a portion of the records, when nobody asks for any of them any more; whether there are more.
    pub fn drop_next(&mut self) -> bool {
        let Self { state, collections, config, .. } = self;
        let portion = config.at_once.div_ceil(4);
        state.tables.drop_next(portion) || collections.drop_next(portion)
    }

    /// Does a part of what keeps a query waiting when all records of its object are in memory; whether there is more.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn prepare_next(&mut self, object: &str) -> Result<bool, Error> {
        let object = self.object_name(object)?;
        let Self { state, collections, absent, .. } = self;
        let table = state.tables.get(&object).filter(|_| absent.is_whole(&object));
        let is_filling = table.is_some_and(|table| collections.fill_next(&object, table));
        Ok(is_filling || collections.build_next(&object))
    }

    /// One record: its stamp and, unless the page knows it, its JSON; see `Collections::get_one`. Without a stamp, after a question
    /// mark, as long as queries do not know all records of the object.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`
    pub fn get_row(&mut self, object: &str, id: &RecordId) -> Result<Option<String>, Error> {
        let object = &self.config.object(object)?.name;
        if self.is_known(object) {
            return Ok(self.collections.get_one(object, id));
        }
        let need = Need::Record(RecordKey { object: object.clone(), id: id.clone() });
        if self.absent.holding(&need).next().is_some() {
            return Err(Error::NotLoaded(object.to_string()));
        }
        let record = self.state.tables.get(object).and_then(|table| table.get(id)?.visible());
        Ok(record.map(|fields| format!("?{}", fields.as_str())))
    }

    /// How a query is answered, as JSON.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`
    pub fn explain(&mut self, object: &str, mut query: Query) -> Result<String, Error> {
        let object = self.queryable(object, &mut query, None)?;
        Ok(self.collections.explain(&object, &query))
    }

    /// Begins to keep the result of a query up to date; gives its number. What the result is comes with the next
    /// [`live_changes`](Self::live_changes).
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn watch_query(&mut self, object: &str, mut query: Query) -> Result<u32, Error> {
        let definition = self.readable(object)?;
        query.search_in(definition);
        let object = definition.name.clone();
        if self.collections.is_waiting_to_watch(&object, &query) {
            return Err(Error::NotLoaded(object.to_string()));
        }
        Ok(self.collections.watch(&object, query))
    }

    /// Keeps it up to date no more.
    pub fn unwatch_query(&mut self, live: u32) {
        self.collections.unwatch(live);
    }

    /// What changed in the results of live queries, or of one of them, since they were last told; likewise.
    pub fn live_changes(&mut self, only: Option<u32>, is_introduced: bool) -> Vec<(LiveChange, Found)> {
        self.collections.changes(only, is_introduced)
    }

    /// The stamps that the page need not keep any more.
    pub fn take_stale(&mut self) -> Vec<u32> {
        self.collections.take_stale()
    }

    /// Changes whenever a record does.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.collections.last_stamp()
    }

    /// One record.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn get(&self, object: &str, id: RecordId) -> Result<Option<&Fields>, Error> {
        let object = self.config.object(object)?.name.clone();
        Ok(self.state.visible(&RecordKey { object, id }))
    }

    /// How many records match.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn count(&self, object: &str, filter: Option<&Filter>) -> Result<usize, Error> {
        let query = Query::from(filter.cloned());
        Ok(self.collections.count(&self.readable(object)?.name, &query))
    }

    /// Whether queries of an object can be answered: they know all of its records.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn is_readable(&self, object: &str) -> Result<bool, Error> {
        Ok(self.is_known(&self.config.object(object)?.name))
    }

    /// Whether queries know all records of an object.
    fn is_known(&self, object: &ObjectName) -> bool {
        self.absent.is_whole(object) && self.collections.filling(object).is_none()
    }

    /// The definition of an object of which queries know all records.
    pub(crate) fn readable(&self, object: &str) -> Result<&ObjectDefinition, Error> {
        let definition = self.config.object(object)?;
        if self.is_known(&definition.name) {
            return Ok(definition);
        }
        Err(Error::NotLoaded(object.to_owned()))
    }

    /// The name of an object, when all is there to answer a query of it.
    fn queryable(
        &mut self,
        object: &str,
        query: &mut Query,
        of: Option<&Aggregate>,
    ) -> Result<ObjectName, Error> {
        let definition = self.readable(object)?;
        query.search_in(definition);
        let name = definition.name.clone();
        if self.collections.is_waiting(&name, query, of) {
            Err(Error::NotLoaded(name.to_string()))
        } else {
            Ok(name)
        }
    }

    /// The name of a defined object.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn object_name(&self, object: &str) -> Result<ObjectName, Error> {
        self.config.object(object).map(|definition| definition.name.clone())
    }

    /// What the log says: for tests and tools.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    fn reply(&mut self, request: RequestId, result: Result<Reply, Error>) {
        self.outputs.push_back(Output::Reply { request, result });
    }

    fn nudge(&mut self, now: Now) {
        self.log.want_tail();
        if self.log.reread_for > 0 {
            // A root that was begun before what is lost was written down may have landed since, and nobody may have heard of it.
            self.log.look_at_root();
        }
        self.defend_lead();
        self.nudge_sync(now);
        self.realtime.hurry();
    }

    fn handle_announcement(&mut self, now: Now, announcement: Announcement) {
        match announcement {
            Announcement::Rows { key, after, bytes } => self.log.hear(HeardRow { key, after, bytes }),
            Announcement::Compacted { through } => self.handle_compacted_elsewhere(through),
            Announcement::Ping { is_visible } => {
                if is_visible {
                    self.handle_other_visible(now);
                }
                if self.leads() {
                    self.say_alive();
                }
            }
            Announcement::Alive { tab, election } => self.handle_alive(tab, election),
            Announcement::Gone => self.handle_gone(now),
            Announcement::SyncWanted { tab, ask } => {
                if self.leads() {
                    // What that tab wrote before is in the log, but perhaps not read here.
                    self.log.want_tail();
                    self.log.push(Job::Ask(Asker::Tab { tab, ask }));
                }
            }
            Announcement::Synced { tab, ask, result } => {
                if tab == self.tab {
                    self.handle_synced(ask, result);
                }
            }
        }
    }

    /// When something is to be done without a further input.
    fn next_wake(&self) -> Option<Duration> {
        let wakes = [
            self.next_sync_wake(),
            self.next_realtime_wake(),
            self.next_compaction(),
            self.log.health.next_wake(),
            self.early.retry_at,
        ];
        wakes.into_iter().flatten().min()
    }

    fn tell_wake(&mut self) {
        let wake = self.next_wake();
        if wake != self.told_wake {
            self.told_wake = wake;
            self.outputs.push_back(Output::WakeAt(wake));
        }
    }

    fn watch(&mut self, request: RequestId, mutation: MutationId) {
        let parked = self.state.find_pending(mutation).map(Pending::is_parked);
        let outcome = match parked {
            Some(false) => return self.watchers.push((mutation, request)),
            Some(true) => Ok(Outcome::Conflict),
            None if self.state.find_rejected(mutation).is_some() => Ok(Outcome::Rejected),
            None => Err(Error::UnknownMutation(mutation.to_string())),
        };
        self.reply(request, outcome.map(Reply::Settled));
    }

    /// Shows queries what a row changed.
    fn show(&mut self, folded: &Folded) {
        let Self { state, collections, absent, .. } = self;
        for (object, ids) in folded.touched.iter().filter(|(object, _)| absent.is_whole(object)) {
            let table = state.tables.get(object);
            let seen = |id: &RecordId| {
                table
                    .and_then(|table| table.find(id))
                    .map_or(Seen::Gone, |(number, record)| Seen::of(number, record))
            };
            let records: Vec<_> = ids.iter().map(|id| (id, seen(id))).collect();
            collections.update(object, &records);
        }
    }

    /// Tells the app what a row changed.
    fn tell(&mut self, folded: &Folded, is_own: bool) {
        for (mutation, outcome) in &folded.outcomes {
            while let Some(place) = self.watchers.iter().position(|(watched, _)| watched == mutation) {
                let (_, request) = self.watchers.remove(place);
                self.reply(request, Ok(Reply::Settled(*outcome)));
            }
        }
        for notice in self.notices(folded, is_own) {
            self.outputs.push_back(Output::Notice(notice));
        }
    }
}
