//! A client: one profile of a browser, with a log that its tabs share, a lock, and what its app was promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use objectql_offline::engine::{
    Announcement, Config, Engine, Input, Output, RequestId, Row, SegmentsInMemory,
};

use crate::action::Cut;
use crate::ledger::Ledger;
use crate::random::Random;

/// One row as it lies on the disk.
#[derive(Debug, Clone)]
pub(crate) struct DiskRow {
    pub(crate) bytes: Vec<u8>,
    pub(crate) row: Row,
}

/// One profile.
#[derive(Debug)]
pub(crate) struct Client {
    /// All rows that ever were.
    pub(crate) disk: Vec<DiskRow>,
    /// How many of them a compaction has removed.
    pub(crate) removed: usize,
    pub(crate) stored: SegmentsInMemory,
    pub(crate) ledger: Ledger,
    pub(crate) tabs: Vec<Tab>,
    /// Who holds the lock; a frozen tab keeps it.
    pub(crate) lock: Option<usize>,
    /// Who waits for it, in order.
    pub(crate) waiting: VecDeque<usize>,
    /// How wrong the device's clock is.
    pub(crate) skew_ms: i64,
    pub(crate) cut: Option<(Cut, Duration)>,
    /// How long its database cannot be opened.
    pub(crate) store_away_until: Option<Duration>,
    /// Which of the app's editions the tabs have that are opened next.
    pub(crate) edition: usize,
    /// The tokens of writes that were promised to be durable, and of those that were refused.
    pub(crate) promised: BTreeSet<usize>,
    pub(crate) refused: BTreeSet<usize>,
    next_request: u64,
}

/// One tab: an engine, and everything that is under way around it.
#[derive(Debug)]
pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) is_alive: bool,
    pub(crate) is_frozen: bool,
    pub(crate) is_open: bool,
    /// The app's edition it was opened with.
    pub(crate) edition: usize,
    /// How many rows there were when it was opened.
    pub(crate) opened_at: usize,
    pub(crate) store: Option<StoreCall>,
    /// Segments that it reads beside that, and what came of them.
    pub(crate) reading: VecDeque<StoreCall>,
    pub(crate) read_done: VecDeque<Input>,
    /// The step of a compaction that it asked for, and what came of one.
    pub(crate) step: Option<Output>,
    pub(crate) step_done: Option<Input>,
    /// What came of the store's work, before the tab hears of it.
    pub(crate) done: Option<Input>,
    /// Whether `done` says that a row is there.
    pub(crate) is_row_made: bool,
    pub(crate) inbox: VecDeque<Announcement>,
    /// Whether it has the lock, before it hears of it.
    pub(crate) lock_news: VecDeque<bool>,
    pub(crate) wake_at: Option<Duration>,
    /// The request it waits for, and since when.
    pub(crate) sending: Option<(u64, Duration)>,
    /// The socket for realtime that it wants to have.
    pub(crate) socket: Option<u64>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) stale_answers: u32,
}

/// What a tab asked of the store.
#[derive(Debug)]
pub(crate) enum StoreCall {
    Append { append: u64, key: u64, bytes: Vec<u8> },
    Begin { read: u64 },
    ReadSegments { read: u64, segments: Vec<u64> },
    Read { read: u64, after: u64 },
}

/// A call of the app that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    /// Writes carry a token that is found in the log again; a delete carries none.
    Write {
        token: Option<usize>,
    },
    Decide,
    Load,
    Sync {
        is_follower: bool,
    },
}

impl Client {
    pub(crate) fn new(skew_ms: i64) -> Self {
        Self {
            disk: Vec::new(),
            removed: 0,
            stored: SegmentsInMemory::default(),
            ledger: Ledger::default(),
            tabs: Vec::new(),
            lock: None,
            waiting: VecDeque::new(),
            skew_ms,
            cut: None,
            store_away_until: None,
            edition: 0,
            promised: BTreeSet::new(),
            refused: BTreeSet::new(),
            next_request: 0,
        }
    }

    /// The same profile on another device: what is on the disk, and none of the tabs.
    pub(crate) fn copy(&self) -> Self {
        Self {
            disk: self.disk.clone(),
            removed: self.removed,
            stored: self.stored.clone(),
            ledger: self.ledger.clone(),
            edition: self.edition,
            ..Self::new(self.skew_ms)
        }
    }

    pub(crate) fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    pub(crate) fn is_alive(&self, tab: usize) -> bool {
        self.tabs.get(tab).is_some_and(|tab| tab.is_alive)
    }

    /// Whether the tab is there and takes part in what happens.
    pub(crate) fn is_awake(&self, tab: usize) -> bool {
        self.tabs.get(tab).is_some_and(|tab| tab.is_alive && !tab.is_frozen)
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> {
        self.tabs.iter().enumerate().filter(|(_, tab)| tab.is_alive).map(|(place, _)| place)
    }

    /// An engine on the log, and a place in the line for the lock.
    pub(crate) fn start_tab(&mut self, config: Config, random: &mut Random) -> usize {
        let open = self.request();
        let seed: [u8; 32] = std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap_or(0));
        let tab = Tab {
            engine: Engine::new(config, seed, RequestId(open)),
            is_alive: true,
            is_frozen: false,
            is_open: false,
            edition: self.edition,
            opened_at: self.disk.len(),
            store: None,
            reading: VecDeque::new(),
            read_done: VecDeque::new(),
            step: None,
            step_done: None,
            done: None,
            is_row_made: false,
            inbox: VecDeque::new(),
            lock_news: VecDeque::new(),
            wake_at: None,
            sending: None,
            socket: None,
            calls: [(open, Call::Open)].into(),
            stale_answers: 0,
        };
        self.tabs.push(tab);
        let place = self.tabs.len() - 1;
        self.waiting.push_back(place);
        self.grant_lock();
        place
    }

    /// The tab is gone, with all it knew.
    pub(crate) fn end_tab(&mut self, tab: usize) {
        let gone = &mut self.tabs[tab];
        gone.is_alive = false;
        gone.store = None;
        gone.reading.clear();
        gone.read_done.clear();
        gone.step = None;
        gone.step_done = None;
        gone.done = None;
        gone.inbox.clear();
        gone.lock_news.clear();
        gone.calls.clear();
        gone.sending = None;
        gone.socket = None;
        gone.wake_at = None;
        self.waiting.retain(|other| *other != tab);
        if self.lock == Some(tab) {
            self.lock = None;
            self.grant_lock();
        }
    }

    /// Gives the lock to the next in line, if nobody has it.
    pub(crate) fn grant_lock(&mut self) {
        if self.lock.is_none()
            && let Some(next) = self.waiting.pop_front()
        {
            self.lock = Some(next);
            self.tabs[next].lock_news.push_back(true);
        }
    }

    /// Gives the lock to a tab, whoever has it.
    pub(crate) fn steal_lock(&mut self, tab: usize) {
        self.waiting.retain(|other| *other != tab);
        if let Some(old) = self.lock.replace(tab) {
            self.tabs[old].lock_news.push_back(false);
            self.waiting.push_back(old);
        }
        self.tabs[tab].lock_news.push_back(true);
    }

    /// Whether its database cannot be opened at the moment.
    pub(crate) fn is_store_away(&self, now: Duration) -> bool {
        self.store_away_until.is_some_and(|until| now < until)
    }

    pub(crate) fn is_cut(&self, now: Duration, ways: [Cut; 2]) -> bool {
        self.cut.is_some_and(|(cut, until)| now < until && ways.contains(&cut))
    }

    pub(crate) fn rows_after(&self, after: u64) -> Vec<(u64, Vec<u8>)> {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX).max(self.removed);
        let first = u64::try_from(skipped).unwrap_or(u64::MAX) + 1;
        let rows = (first..).zip(self.disk.iter().skip(skipped));
        // Of the last row that is in the root only the key is left.
        let is_in_root = |key: u64| self.stored.root.is_some() && u64::try_from(self.removed) == Ok(key - 1);
        rows.map(|(key, row)| (key, if is_in_root(key) { Vec::new() } else { row.bytes.clone() })).collect()
    }
}
