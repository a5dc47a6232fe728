//! Tests of the engine through its inputs and outputs: one log in memory, any number of tabs on it, virtual time, and doubles of
//! the store and the network that are stricter than the real ones.

mod absent;
mod compact;
mod early;
mod election;
mod fold;
mod log;
mod mend;
mod migrate;
mod plain;
mod poison;
mod push;
mod realtime;
mod receive;
mod reset;
mod schedule;
mod start_over;
mod statuses;
mod subscriptions;
mod tabs;
mod takeover;
mod transaction;
mod undo;
mod unique;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use objectql_sync_protocol::{Fields, MutationId, ObjectDefinition, ObjectName, RecordId, Timestamp};
use serde_json::{Value, json};

use super::seal::make_newer;
use super::sync::answer::{Answer, Features};
use super::{
    Announcement, Command, CompactAfter, Config, Engine, Event, Input, Need, Notice, Now, Output, Query,
    Recorded, Reply, RequestId, Resolution, Row, SegmentsInMemory, SyncReport, SyncSettings, root_number,
};
use crate::error::Error;

/// 2026-01-01, where virtual time begins.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// More steps than any test needs between two moments: beyond, something runs in a circle.
const MANY_STEPS: usize = 20_000;

/// A log in memory and the tabs that share it.
struct World {
    now: Duration,
    /// All rows that ever were.
    disk: Vec<Vec<u8>>,
    /// How many of them were removed.
    removed: usize,
    /// Whether the store lost its last rows under open tabs.
    went_back: bool,
    stored: SegmentsInMemory,
    /// What the rows of the disk hold.
    recorded: Vec<Recorded>,
    /// The ids of the records in them.
    written: BTreeSet<String>,
    /// How many appends were asked for.
    appends: usize,
    tabs: Vec<Tab>,
    config: Config,
    next_request: u64,
    /// Makes the engines of this database others than those of another.
    salt: u8,
    /// How wrong the device's clock is.
    skew_ms: i64,
    /// Whether there are no Web Locks, so that the tabs elect the one that syncs.
    is_lockless: bool,
}

/// One engine, what it waits for and what it said.
struct Tab {
    engine: Engine,
    /// The call that opens it.
    open: u64,
    store: Option<StoreCall>,
    /// Segments that are being read: beside what else is asked of the store.
    reading: VecDeque<StoreCall>,
    /// The step of a compaction that is under way.
    compaction: Option<Output>,
    sends: Vec<Sent>,
    /// The socket it wants, and the last one it ever wanted.
    socket: Option<u64>,
    last_socket: u64,
    waiting: BTreeSet<u64>,
    replies: BTreeMap<u64, Result<Reply, Error>>,
    notices: Vec<Notice>,
    inbox: VecDeque<Announcement>,
    wake_at: Option<Duration>,
    is_alive: bool,
    /// How many requests were sent.
    requests: usize,
    /// How often it wanted the lock of the one that syncs.
    steals: usize,
    appended: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq)]
enum StoreCall {
    Append { append: u64, key: u64, bytes: Vec<u8> },
    Begin { read: u64, may_create: bool },
    ReadSegments { read: u64, segments: Vec<u64> },
    Read { read: u64, after: u64 },
}

/// A request that has left.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    send: u64,
    body: Vec<u8>,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn mutations(&self) -> Vec<Value> {
        self.json()["mutations"].as_array().unwrap().clone()
    }

    fn sequences(&self) -> Vec<u64> {
        self.mutations().iter().map(|mutation| mutation["sequence"].as_u64().unwrap()).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.mutations().iter().map(|mutation| mutation["id"].as_str().unwrap().to_owned()).collect()
    }

    fn checkpoint(&self) -> Option<String> {
        self.json()["lastCheckpoint"].as_str().map(str::to_owned)
    }
}

/// The definitions most tests use.
fn objects() -> Vec<ObjectDefinition> {
    let definition =
        |name: &str, sync: Value| serde_json::from_value(json!({ "name": name, "sync": sync })).unwrap();
    vec![
        definition("story", json!({ "enabled": true })),
        definition("task", json!({ "enabled": true, "batch_size": 3, "debounce_ms": 5000 })),
        definition("note", json!({ "enabled": true, "direction": "push-only" })),
        definition("price", json!({ "enabled": true, "direction": "pull-only" })),
        definition("draft", json!({ "enabled": false })),
    ]
}

fn automatic() -> Config {
    eager(Config::new(objects(), Some(SyncSettings::default())).unwrap())
}

/// Most tests look at an engine without asking it to load anything.
fn eager(config: Config) -> Config {
    Config { is_eager: true, ..config }
}

fn by_hand() -> Config {
    let settings = SyncSettings { is_automatic: false, poll_interval: None, is_realtime: false };
    eager(Config::new(objects(), Some(settings)).unwrap())
}

fn local() -> Config {
    eager(Config::new(objects(), None).unwrap())
}

impl World {
    /// A new database in one tab, which does not lead yet.
    fn new(config: Config) -> Self {
        let mut world = Self::empty(config);
        world.open_tab();
        world
    }

    /// A new database in one tab that leads, after its first pull of nothing.
    fn leading(config: Config) -> Self {
        let mut world = Self::new(config);
        world.give(0, Input::Leader(true));
        world.settle();
        if !world.tabs[0].sends.is_empty() {
            world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c0" }));
        }
        world
    }

    fn empty(config: Config) -> Self {
        Self {
            now: Duration::from_secs(1),
            disk: Vec::new(),
            removed: 0,
            went_back: false,
            stored: SegmentsInMemory::default(),
            recorded: Vec::new(),
            written: BTreeSet::new(),
            appends: 0,
            tabs: Vec::new(),
            config,
            next_request: 0,
            salt: 0,
            skew_ms: 0,
            is_lockless: false,
        }
    }

    fn now(&self) -> Now {
        let millis = i64::try_from(self.now.as_millis()).unwrap();
        Now { wall: Timestamp::from_millis(EPOCH_MS + millis + self.skew_ms), monotonic: self.now }
    }

    /// Starts an engine on the log; its first read is outstanding.
    fn start_tab(&mut self) -> (usize, u64) {
        let request = self.request();
        let tab = self.tabs.len();
        let mut seed = [u8::try_from(tab % 251).unwrap(); 32];
        seed[0] = u8::try_from(tab / 251).unwrap();
        seed[1] = self.salt;
        self.tabs.push(Tab {
            engine: Engine::new(self.config.clone(), seed, RequestId(request)),
            open: request,
            store: None,
            reading: VecDeque::new(),
            compaction: None,
            sends: Vec::new(),
            socket: None,
            last_socket: 0,
            waiting: [request].into(),
            replies: BTreeMap::new(),
            notices: Vec::new(),
            inbox: VecDeque::new(),
            wake_at: None,
            is_alive: true,
            requests: 0,
            steals: 0,
            appended: BTreeSet::new(),
        });
        self.give(tab, Input::Wake);
        if self.is_lockless {
            self.give(tab, Input::Lockless { has_channel: true });
        }
        (tab, request)
    }

    fn open_tab(&mut self) -> usize {
        let (tab, request) = self.start_tab();
        self.settle();
        assert_eq!(self.reply(tab, request), Ok(Reply::Done));
        tab
    }

    /// The tab is gone: what it asked for may or may not have been done.
    fn crash(&mut self, tab: usize) {
        self.tabs[tab].is_alive = false;
        self.tabs[tab].store = None;
        self.tabs[tab].reading.clear();
        self.tabs[tab].compaction = None;
        self.tabs[tab].sends.clear();
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// One input, and all that comes of it at once.
    fn give(&mut self, tab: usize, input: Input) {
        assert!(self.tabs[tab].is_alive, "a dead tab got an input");
        let now = self.now();
        self.tabs[tab].engine.handle_input(now, input);
        while let Some(output) = self.tabs[tab].engine.poll_output() {
            self.take(tab, output);
        }
        assert!(self.tabs[tab].engine.poll_output().is_none());
    }

    fn take(&mut self, at: usize, output: Output) {
        let rows = u64::try_from(self.disk.len()).unwrap();
        let tab = &mut self.tabs[at];
        match output {
            Output::Append { append, key, bytes } => {
                assert_eq!(tab.store, None, "one thing at a time is asked of the store");
                assert!(key <= rows + 1 || self.went_back, "a row cannot be folded before it is there");
                assert!(tab.appended.insert(append), "an append has a number of its own");
                assert!(Row::decode(&bytes).is_ok());
                self.appends += 1;
                tab.store = Some(StoreCall::Append { append, key, bytes });
            }
            Output::Begin { read, may_create } => {
                assert_eq!(tab.store, None, "one thing at a time is asked of the store");
                tab.store = Some(StoreCall::Begin { read, may_create });
            }
            Output::ReadSegments { read, segments } => {
                assert!(!segments.is_empty() && tab.reading.len() < 2, "two portions at a time");
                tab.reading.push_back(StoreCall::ReadSegments { read, segments });
            }
            step @ (Output::ReadRoot { .. } | Output::WriteSegments { .. } | Output::Compact { .. }) => {
                assert_eq!(tab.compaction, None, "one step at a time");
                tab.compaction = Some(step);
            }
            Output::Read { read, after } => {
                assert_eq!(tab.store, None, "one thing at a time is asked of the store");
                assert!(after <= rows || self.went_back);
                tab.store = Some(StoreCall::Read { read, after });
            }
            Output::Send { send, body } => {
                if self.is_lockless {
                    // What it sent when it led before may still be under way; nobody waits for the answer.
                    tab.sends.clear();
                }
                assert!(tab.sends.is_empty(), "one request at a time");
                tab.requests += 1;
                tab.sends.push(Sent { send, body });
            }
            Output::Connect { socket, client_id } => {
                assert_eq!(tab.socket, None, "one socket at a time");
                assert!(socket > tab.last_socket, "a socket has a number of its own");
                assert_eq!(Some(client_id), tab.engine.state().client_id);
                tab.last_socket = socket;
                tab.socket = Some(socket);
            }
            Output::Disconnect { socket } => {
                assert_eq!(tab.socket.take(), Some(socket), "what is let go of must be there");
            }
            Output::WakeAt(time) => tab.wake_at = time,
            Output::Steal => tab.steals += 1,
            Output::Announce(announcement) => {
                let text = announcement.to_json();
                for (other, tab) in self.tabs.iter_mut().enumerate() {
                    if other != at && tab.is_alive {
                        let bytes = announcement.bytes().to_vec();
                        tab.inbox.push_back(Announcement::parse(&text, bytes).unwrap());
                    }
                }
            }
            Output::Reply { request, result } => {
                let records = match &result {
                    Ok(Reply::Record(record)) => std::slice::from_ref(record),
                    Ok(Reply::Records(records) | Reply::Made(records)) => records,
                    _ => &[],
                };
                for record in records {
                    let id = record.get("id").unwrap();
                    assert!(self.written.contains(id.as_str()), "a promise before the row was durable");
                }
                assert!(
                    tab.waiting.remove(&request.0),
                    "call {} was answered twice, or never made",
                    request.0
                );
                tab.replies.insert(request.0, result);
            }
            Output::Notice(notice) => tab.notices.push(notice),
        }
    }

    /// Adds a row, as a store does whose answer may get lost.
    fn add_row(&mut self, bytes: Vec<u8>) {
        let row = Row::decode(&bytes).unwrap();
        for recorded in recorded_in(&row) {
            self.written.insert(recorded.record_id.to_json());
            self.recorded.push(recorded.clone());
        }
        self.disk.push(bytes);
    }

    fn is_first(&self, key: u64) -> bool {
        usize::try_from(key).unwrap() == self.disk.len() + 1
    }

    /// Does what a tab asked of the store, as a store in good health does.
    fn serve_store(&mut self, tab: usize) {
        let place = &mut self.tabs[tab];
        let call = place.reading.pop_front().or_else(|| place.store.take());
        match call.expect("nothing is asked of the store") {
            StoreCall::Append { append, key, bytes } if self.is_first(key) => {
                self.add_row(bytes);
                self.give(tab, Input::Appended { append });
            }
            StoreCall::Append { append, .. } => {
                self.give(tab, Input::Behind { append, given: self.disk.len() as u64 + 1 });
            }
            StoreCall::Begin { read, .. } => {
                let (root, rows) = (self.stored.root.clone(), self.rows_after(0));
                self.give(tab, Input::Begun { read, root, rows, is_last: true });
            }
            StoreCall::ReadSegments { read, segments } => {
                let segments = self.stored.get(&segments);
                self.give(tab, Input::Segments { read, segments });
            }
            StoreCall::Read { read, after } => {
                let rows = self.rows_after(after);
                self.give(tab, Input::Rows { read, rows, is_last: true });
            }
        }
    }

    fn rows_after(&self, after: u64) -> Vec<(u64, Vec<u8>)> {
        let first = usize::try_from(after).unwrap().max(self.removed);
        let mut rows: Vec<_> = (first as u64 + 1..).zip(self.disk.iter().skip(first).cloned()).collect();
        // A test has removed it.
        rows.retain(|(_, bytes)| !bytes.is_empty());
        // Of the last row that is in the root only the key is left.
        if let Some((key, bytes)) = rows.first_mut().filter(|_| self.stored.root.is_some())
            && *key == self.removed as u64 + 1
        {
            bytes.clear();
        }
        rows
    }

    /// Does the step of a compaction that a tab asked for; gives what the tab is to hear.
    fn do_step(&mut self, tab: usize) -> Input {
        match self.tabs[tab].compaction.take().expect("no step is asked for") {
            Output::ReadRoot { compaction } => Input::Root { compaction, root: self.stored.root.clone() },
            Output::WriteSegments { compaction, keep, segments } => {
                assert!(!segments.is_empty());
                match self.stored.write(keep, segments) {
                    Some(keys) => Input::SegmentsWritten { compaction, keys },
                    None => Input::CompactionFailed { compaction },
                }
            }
            Output::Compact { compaction, replaces, root, segments, through } => {
                assert!(root_number(Some(&root)) > replaces || replaces == u64::MAX);
                if !self.stored.replace_root(replaces, root, &segments) {
                    return Input::CompactionFailed { compaction };
                }
                let removed = usize::try_from(through).unwrap() - 1;
                assert!(
                    (self.removed..self.disk.len()).contains(&removed),
                    "what is there is removed, but for the last"
                );
                self.removed = removed;
                Input::Compacted { compaction }
            }
            other => panic!("no step: {other:?}"),
        }
    }

    fn serve_step(&mut self, tab: usize) {
        let done = self.do_step(tab);
        self.give(tab, done);
    }

    /// The step fails, done or not.
    fn fail_step(&mut self, tab: usize, is_done: bool) {
        let compaction = match &self.tabs[tab].compaction {
            Some(
                Output::ReadRoot { compaction }
                | Output::WriteSegments { compaction, .. }
                | Output::Compact { compaction, .. },
            ) => *compaction,
            other => panic!("no step: {other:?}"),
        };
        if is_done {
            self.do_step(tab);
        } else {
            self.tabs[tab].compaction = None;
        }
        self.give(tab, Input::CompactionFailed { compaction });
    }

    /// How many bytes the store holds.
    fn stored_bytes(&self) -> usize {
        let rows = self.disk.iter().skip(self.removed + usize::from(self.stored.root.is_some()));
        rows.chain(self.stored.segments.iter().map(|(_, bytes)| bytes))
            .chain(&self.stored.root)
            .map(Vec::len)
            .sum()
    }

    /// The commit fails for good.
    fn fail_append(&mut self, tab: usize, error: Error) {
        match self.tabs[tab].store.take() {
            Some(StoreCall::Append { append, .. }) => self.give(tab, Input::AppendFailed { append, error }),
            other => panic!("no append but {other:?}"),
        }
    }

    /// The commit ends without a word on whether it was made.
    fn lose_append(&mut self, tab: usize, is_made: bool) {
        match self.tabs[tab].store.take() {
            Some(StoreCall::Append { append, key, bytes }) => {
                if is_made && self.is_first(key) {
                    self.add_row(bytes);
                }
                let error = Error::StorageUnknown("the connection closed".to_owned());
                self.give(tab, Input::AppendUnknown { append, error });
            }
            other => panic!("no append but {other:?}"),
        }
    }

    fn fail_read(&mut self, tab: usize) {
        let place = &mut self.tabs[tab];
        match place.reading.pop_front().or_else(|| place.store.take()) {
            Some(
                StoreCall::Read { read, .. }
                | StoreCall::Begin { read, .. }
                | StoreCall::ReadSegments { read, .. },
            ) => {
                let error = Error::StorageFailed("the disk is away".to_owned());
                self.give(tab, Input::ReadFailed { read, error });
            }
            other => panic!("no read but {other:?}"),
        }
    }

    /// Serves the store and the announcements until nothing is left; requests stay unanswered.
    fn settle(&mut self) {
        for _ in 0..MANY_STEPS {
            let live: Vec<usize> = (0..self.tabs.len()).filter(|tab| self.tabs[*tab].is_alive).collect();
            let mut is_busy = false;
            for tab in live {
                if self.tabs[tab].store.is_some() || !self.tabs[tab].reading.is_empty() {
                    self.serve_store(tab);
                    is_busy = true;
                } else if self.tabs[tab].compaction.is_some() {
                    self.serve_step(tab);
                    is_busy = true;
                } else if let Some(announcement) = self.tabs[tab].inbox.pop_front() {
                    self.give(tab, Input::Announced(announcement));
                    is_busy = true;
                }
            }
            if !is_busy {
                return;
            }
        }
        panic!("the store is asked in a circle");
    }

    /// Lets time pass, with a wake whenever one was wished for.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..MANY_STEPS {
            let next = (0..self.tabs.len())
                .filter(|tab| self.tabs[*tab].is_alive)
                .filter_map(|tab| Some((self.tabs[tab].wake_at?, tab)))
                .min()
                .filter(|(time, _)| *time <= end);
            let Some((time, tab)) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(time);
            self.tabs[tab].wake_at = None;
            self.give(tab, Input::Wake);
            self.settle();
            // The engine tells a wish only when it changes; the same one again would be a wake that did nothing.
            let again = self.tabs[tab].wake_at.or_else(|| self.tabs[tab].engine.next_wake());
            assert!(again.is_none_or(|again| again > self.now), "a wake changed nothing");
            self.tabs[tab].wake_at = again;
        }
        panic!("time stands still");
    }

    fn start_write(&mut self, tab: usize, command: Command) -> u64 {
        let request = self.request();
        self.tabs[tab].waiting.insert(request);
        self.give(tab, Input::Write(vec![(RequestId(request), command)]));
        request
    }

    fn write(&mut self, tab: usize, command: Command) -> Result<Reply, Error> {
        let request = self.start_write(tab, command);
        self.settle();
        self.reply(tab, request)
    }

    fn start_sync(&mut self, tab: usize) -> u64 {
        let request = self.request();
        self.tabs[tab].waiting.insert(request);
        self.give(tab, Input::Sync { request: RequestId(request) });
        self.settle();
        request
    }

    /// The tabs that lead.
    fn leaders(&self) -> Vec<usize> {
        let leads = |tab: &usize| self.tabs[*tab].is_alive && self.tabs[*tab].engine.sync.is_leader;
        (0..self.tabs.len()).filter(leads).collect()
    }

    /// The one tab that leads.
    fn leader(&self) -> usize {
        match self.leaders()[..] {
            [tab] => tab,
            ref tabs => panic!("these lead: {tabs:?}"),
        }
    }

    /// The answer of a call, which must be there.
    fn reply(&mut self, tab: usize, request: u64) -> Result<Reply, Error> {
        self.tabs[tab].replies.remove(&request).expect("the call is not answered")
    }

    fn is_answered(&self, tab: usize, request: u64) -> bool {
        self.tabs[tab].replies.contains_key(&request)
    }

    fn report(&mut self, tab: usize, request: u64) -> SyncReport {
        match self.reply(tab, request) {
            Ok(Reply::Synced(report)) => report,
            other => panic!("no report but {other:?}"),
        }
    }

    /// The request under way, which must be there.
    fn sent(&self, tab: usize) -> Sent {
        self.tabs[tab].sends.first().expect("no request is under way").clone()
    }

    fn is_sending(&self, tab: usize) -> bool {
        !self.tabs[tab].sends.is_empty()
    }

    /// Answers the request under way with a body, and serves the store.
    fn answer(&mut self, tab: usize, body: Value) {
        self.answer_with(tab, ok(body.to_string().into_bytes()));
    }

    fn answer_with(&mut self, tab: usize, answer: Answer) {
        let sent = self.tabs[tab].sends.remove(0);
        self.give(tab, Input::Answered { send: sent.send, answer });
        self.settle();
    }

    /// Answers the look at what the server does, which comes before a batch that an earlier leader left.
    fn answer_probe(&mut self, tab: usize) {
        let sent = self.sent(tab);
        assert_eq!(sent.mutations().len(), 0, "a pull comes first");
        let checkpoint = sent.checkpoint();
        self.answer(tab, json!({ "results": [], "serverChanges": [], "checkpoint": checkpoint }));
    }

    fn lose_request(&mut self, tab: usize) {
        let sent = self.tabs[tab].sends.remove(0);
        let error = Error::Network("the connection broke".to_owned());
        self.give(tab, Input::SendFailed { send: sent.send, error });
        self.settle();
    }

    /// Answers with the same status for each mutation, and these changes.
    fn apply_all(&mut self, tab: usize, first_version: u64, changes: Value, checkpoint: &str) {
        let count = self.sent(tab).mutations().len();
        let results: Vec<_> = (first_version..).take(count).map(applied).collect();
        self.answer(tab, json!({ "results": results, "serverChanges": changes, "checkpoint": checkpoint }));
    }

    /// Has a tab take everything into memory.
    fn load_all(&mut self, tab: usize) {
        let objects =
            self.config.objects.iter().map(|definition| definition.name.clone()).collect::<Vec<_>>();
        for object in objects {
            self.load(tab, Need::Object(object)).unwrap();
        }
    }

    fn load(&mut self, tab: usize, need: Need) -> Result<Reply, Error> {
        let request = self.request();
        self.tabs[tab].waiting.insert(request);
        self.give(tab, Input::Load { request: RequestId(request), need });
        self.settle();
        self.reply(tab, request)
    }

    fn find(&self, tab: usize, object: &str) -> Vec<Value> {
        let text = self.tabs[tab].engine.find(object, &Query::default()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// One record without the times, which the driver sets.
    fn get(&self, tab: usize, object: &str, id: &str) -> Option<Value> {
        let fields = self.tabs[tab].engine.get(object, RecordId::string(id).unwrap()).unwrap()?;
        let mut value: Value = serde_json::from_str(fields.as_str()).unwrap();
        let map = value.as_object_mut().unwrap();
        map.retain(|name, _| name != "created_at" && name != "updated_at");
        Some(value)
    }

    fn pending(&self, tab: usize) -> Vec<Value> {
        serde_json::from_str(&self.tabs[tab].engine.pending_mutations()).unwrap()
    }

    fn conflicts(&self, tab: usize) -> Vec<Value> {
        serde_json::from_str(&self.tabs[tab].engine.conflicts()).unwrap()
    }

    fn rejected(&self, tab: usize) -> Vec<Value> {
        serde_json::from_str(&self.tabs[tab].engine.rejected()).unwrap()
    }

    /// What must hold at any moment between steps.
    fn check(&self, tab: usize) {
        fold::check_state(self.tabs[tab].engine.state());
        let status = self.tabs[tab].engine.status();
        assert_eq!(status.pending, self.pending(tab).len());
        assert_eq!(status.conflicts, self.conflicts(tab).len());
        assert_eq!(status.rejected, self.rejected(tab).len());
        self.check_queries(tab);
    }

    /// What queries know is what is there, in its order.
    fn check_queries(&self, tab: usize) {
        let engine = &self.tabs[tab].engine;
        for definition in &self.config.objects {
            let Ok(found) = engine.find(definition.name.as_str(), &Query::default()) else { continue };
            let table = engine.state().tables.get(&definition.name);
            let visible = table
                .into_iter()
                .flat_map(|table| table.records().filter_map(crate::engine::record::Record::visible));
            let visible = visible.map(|fields| fields.as_str().to_owned());
            assert_eq!(found, objectql_sync_protocol::array_text(visible), "{}", definition.name);
        }
    }
}

fn recorded_in(row: &Row) -> impl Iterator<Item = &Recorded> {
    row.events.iter().flat_map(Event::recorded)
}

fn ok(body: Vec<u8>) -> Answer {
    Answer { features: ALL, ..plain(body) }
}

/// An answer of a server that does no more than the wire format says.
fn plain(body: Vec<u8>) -> Answer {
    Answer { status: 200, content_type: "application/json".to_owned(), body, ..Answer::default() }
}

/// What our server does.
const ALL: Features =
    Features { is_idempotent: true, has_chains: true, has_strategies: true, has_echoes: false };

fn status(status: u16) -> Answer {
    let body = br#"{"code":"X","detail":"told so"}"#.to_vec();
    let content_type = "application/problem+json".to_owned();
    Answer { status, content_type, body, features: ALL, ..Answer::default() }
}

fn object_name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

fn fields(value: &Value) -> Fields {
    Fields::parse(&value.to_string()).unwrap()
}

fn create(object: &str, record: Value) -> Command {
    Command::Create { object: object_name(object), records: vec![fields(&record)] }
}

fn update(object: &str, id: &str, patch: Value) -> Command {
    Command::Update { object: object_name(object), id: RecordId::string(id).unwrap(), patch: fields(&patch) }
}

fn delete(object: &str, id: &str) -> Command {
    Command::Delete { object: object_name(object), id: RecordId::string(id).unwrap() }
}

fn resolve(conflict: &Value, resolution: Resolution) -> Command {
    Command::Resolve { mutation: mutation_id(conflict), resolution }
}

fn mutation_id(report: &Value) -> MutationId {
    MutationId::parse(report["id"].as_str().unwrap()).unwrap()
}

fn applied(version: u64) -> Value {
    json!({ "status": "applied", "serverVersion": version })
}

fn rejected(reason: &str) -> Value {
    json!({ "status": "rejected", "reason": reason })
}

fn conflict(mutation: &Value, server_record: Value, version: Option<u64>) -> Value {
    let mut conflict = json!({
        "objectName": mutation["objectName"],
        "recordId": mutation["recordId"],
        "clientMutation": mutation,
        "serverRecord": server_record,
        "conflictingFields": ["title"],
    });
    if let Some(version) = version {
        conflict["serverVersion"] = json!(version);
    }
    json!({ "status": "conflict", "conflict": conflict })
}

/// A change of a story on the server; no data: a delete.
fn change(operation: &str, id: &str, data: Value, version: u64) -> Value {
    let mut change = json!({
        "objectName": "story",
        "recordId": id,
        "operation": operation,
        "serverVersion": version,
        "timestamp": "2026-01-01T00:00:01.000Z",
    });
    if !data.is_null() {
        change["data"] = data;
    }
    change
}
