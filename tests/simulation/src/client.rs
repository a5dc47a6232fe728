//! A client: one profile of a browser, with a log that its tabs share, a lock, and what its app was promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use objectql_offline::engine::{Announcement, Config, Engine, Input, Output, RequestId};
use objectql_sync_protocol::MutationId;

use crate::action::Cut;
use crate::life::Life;
use crate::page::Page;
use crate::random::Random;

/// One profile.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its databases, one after the other: the last one is there.
    pub(crate) lives: Vec<Life>,
    /// A copy of an earlier moment.
    pub(crate) saved: Option<Life>,
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
    /// And with which of its releases, and the latest one that there was.
    pub(crate) release: usize,
    pub(crate) latest_release: usize,
    next_request: u64,
}

/// One tab: an engine, and everything that is under way around it.
#[derive(Debug)]
pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) page: Page,
    pub(crate) is_alive: bool,
    pub(crate) is_frozen: bool,
    pub(crate) is_open: bool,
    /// The app's edition it was opened with.
    pub(crate) edition: usize,
    /// And the app's release, which may have data to migrate first.
    pub(crate) release: usize,
    /// Whether the app has it: nothing is to be migrated any more.
    pub(crate) is_ready: bool,
    /// Which database it has read.
    pub(crate) life: usize,
    /// The pending mutations that it knew when they were damaged or cleared, and those that it was told are lost.
    pub(crate) endangered: BTreeSet<MutationId>,
    pub(crate) told_lost: BTreeSet<MutationId>,
    /// The details of the damage that it was told of.
    pub(crate) told_details: BTreeSet<String>,
    /// How many rows there were when it was opened: it is told of all that the later ones say.
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
    Begin { read: u64, may_create: bool },
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
    Migrate,
    Load,
    Sync {
        is_follower: bool,
    },
}

impl Client {
    pub(crate) fn new(skew_ms: i64) -> Self {
        Self {
            lives: vec![Life::default()],
            saved: None,
            tabs: Vec::new(),
            lock: None,
            waiting: VecDeque::new(),
            skew_ms,
            cut: None,
            store_away_until: None,
            edition: 0,
            release: 0,
            latest_release: 0,
            next_request: 0,
        }
    }

    /// The same profile on another device: what is on the disk, and none of the tabs.
    pub(crate) fn copy(&self) -> Self {
        Self {
            lives: vec![self.life().clone()],
            edition: self.edition,
            release: self.release,
            latest_release: self.latest_release,
            ..Self::new(self.skew_ms)
        }
    }

    /// The database that is there.
    pub(crate) fn life(&self) -> &Life {
        &self.lives[self.lives.len() - 1]
    }

    pub(crate) fn life_mut(&mut self) -> &mut Life {
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }

    /// The one that a tab has read.
    pub(crate) fn life_of(&self, tab: usize) -> &Life {
        &self.lives[self.tabs[tab].life]
    }

    /// Whether the database that a tab has read is there still.
    pub(crate) fn has_its_life(&self, tab: usize) -> bool {
        self.tabs[tab].life + 1 == self.lives.len()
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
            page: Page::default(),
            is_alive: true,
            is_frozen: false,
            is_open: false,
            edition: self.edition,
            release: self.release,
            is_ready: false,
            life: self.lives.len() - 1,
            endangered: BTreeSet::new(),
            told_lost: BTreeSet::new(),
            told_details: BTreeSet::new(),
            opened_at: self.life().disk.len(),
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
}
