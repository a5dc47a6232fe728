//! The world: clients, the network between them and the server, and what becomes of each action.

use std::time::Duration;

use objectql_offline::engine::{Announcement, Answer, Input, Now, Output, Reply, RequestId};
use objectql_offline::error::Error;
use objectql_sync_protocol::{Timestamp, realtime::ServerFrame};

use crate::action::{Action, Cut, SocketWord};
use crate::client::{Call, Client, StoreCall};
use crate::coverage::{Coverage, Sight};
use crate::invariants;
use crate::network::Network;
use crate::random::Random;
use crate::server::{self, Server};
use crate::setup::{EPOCH_MS, Edition, Setup};
use crate::trace::Trace;

/// How long a shell waits for an answer.
const TIMEOUT_MS: u32 = 60_000;
/// No more clients than this, however often a profile is copied.
const MAX_CLIENTS: usize = 10;

/// Everything there is.
pub(crate) struct World {
    pub(crate) setup: Setup,
    /// The app's definitions, release by release.
    pub(crate) editions: Vec<Edition>,
    pub(crate) now: Duration,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    pub(crate) server: Box<dyn Server>,
    pub(crate) server_skew_ms: i64,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// Inputs handed to an engine, requests handled by the server, faults and deeds of users.
    pub(crate) steps: u64,
    /// The first thing that must not have happened.
    pub(crate) violation: Option<String>,
    pub(crate) next_token: usize,
    pub(crate) server_writes: u64,
    pub(crate) seeds: Random,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut seeds = Random::new(setup.seed ^ 0x5eed);
        let mut world = Self {
            now: Duration::from_secs(1),
            clients: Vec::new(),
            network: Network::new(!setup.has_late_requests()),
            server: server::start(&setup),
            server_skew_ms: 0,
            coverage: Coverage::default(),
            trace: Trace::default(),
            steps: 0,
            violation: None,
            next_token: 0,
            server_writes: 0,
            seeds: seeds.clone(),
            editions: setup.editions(),
            setup,
        };
        for _ in 0..world.setup.clients {
            // Clocks are never right: by seconds, an hour, or a year.
            let skew = seeds.pick(&[0, 0, 0, 700, 3000, -20_000, 3_600_000, -31_536_000_000, 31_536_000_000]);
            world.clients.push(Client::new(skew));
        }
        world
    }

    /// Something happens.
    pub(crate) fn apply(&mut self, action: &Action) {
        self.steps += 1;
        self.trace.note(&action.to_string());
        self.trace.tell(|| format!("{:>10?} {action}", self.now));
        match *action {
            Action::Write { client, tab, object, record, kind, value } => {
                self.write(client, tab, object, record, kind, value);
            }
            Action::Sync { client, tab } => self.call_sync(client, tab),
            Action::Nudge { client, tab } => self.give_if_awake(client, tab, Input::Nudge),
            Action::Decide { client, tab, place, choice } => self.decide(client, tab, place, choice),
            Action::Open { client } => self.open(client),
            Action::Crash { client, tab } => self.crash(client, tab),
            Action::CrashBrowser { client } => self.crash_browser(client),
            Action::Freeze { client, tab } => self.freeze(client, tab),
            Action::Thaw { client, tab } => self.thaw(client, tab),
            Action::Steal { client, tab } => self.steal(client, tab),
            Action::Disk { client, tab, fate } => self.use_disk(client, tab, fate),
            Action::CloseStore { client, fate, ms } => self.close_store(client, fate, ms),
            Action::Deploy { client, edition } => self.deploy(client, edition),
            Action::Release { client, number } => self.release(client, number),
            Action::Migrate { client, tab, most } => self.migrate(client, tab, most),
            Action::Damage { client, what, place, harm, bit } => self.damage(client, what, place, harm, bit),
            Action::Clear { client } => self.clear(client),
            Action::Save { client } => self.save(client),
            Action::PutBack { client } => self.put_back(client),
            Action::Load { client, tab, object } => self.load(client, tab, object),
            Action::Compact { client, tab, fate } => self.use_disk_to_compact(client, tab, fate),
            Action::Report { client, tab } => self.report(client, tab),
            Action::Lock { client, tab } => self.hear_lock(client, tab),
            Action::Hear { client, tab, place } => self.hear(client, tab, place, true),
            Action::Miss { client, tab, place } => self.hear(client, tab, place, false),
            Action::Socket { client, tab, word } => self.use_socket(client, tab, word),
            Action::Carry { packet, fate, fuse, crashes } => self.carry(packet, fate, fuse, crashes),
            Action::Answer { packet } => self.deliver_answer(packet),
            Action::Time { ms } => self.pass_time(Duration::from_millis(ms)),
            Action::ClientClock { client, ms } => self.jump_client_clock(client, ms),
            Action::ServerClock { ms } => {
                self.server_skew_ms = self.server_skew_ms.saturating_add(ms);
                self.coverage.saw(Sight::ServerClockJumped);
            }
            Action::Partition { client, cut, ms } => self.partition(client, cut, ms),
            Action::Clone { client } => self.clone_profile(client),
            Action::Prune { age_ms } => self.prune(age_ms),
            Action::Backup { number } => self.server.backup(number),
            Action::Restore { number } => self.restore(number),
            Action::ServerWrite { record, kind, value } => self.write_on_server(record, kind, value),
        }
        if let Some(violation) = self.server.take_violation() {
            self.violate(violation);
        }
    }

    pub(crate) fn violate(&mut self, violation: String) {
        self.trace.tell(|| format!("VIOLATION {violation}"));
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn server_now(&self) -> Timestamp {
        let millis = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(EPOCH_MS + millis + self.server_skew_ms)
    }

    pub(crate) fn now_of(&self, client: usize) -> Now {
        let millis = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        let wall = EPOCH_MS.saturating_add(millis).saturating_add(self.clients[client].skew_ms);
        Now { wall: Timestamp::from_millis(wall), monotonic: self.now }
    }

    fn give_if_awake(&mut self, client: usize, tab: usize, input: Input) {
        if self.clients.get(client).is_some_and(|client| client.is_awake(tab)) {
            self.give(client, tab, input);
        }
    }

    /// One input, and all that comes of it at once.
    pub(crate) fn give(&mut self, at: usize, tab: usize, input: Input) {
        self.steps += 1;
        let now = self.now_of(at);
        let place = &mut self.clients[at].tabs[tab];
        let before = place.engine.folded();
        place.engine.handle_input(now, input);
        while let Some(output) = self.clients[at].tabs[tab].engine.poll_output() {
            self.take(at, tab, output);
        }
        let place = &mut self.clients[at].tabs[tab];
        if place.engine.stale_answers() != place.stale_answers {
            place.stale_answers = place.engine.stale_answers();
            self.coverage.saw(Sight::StaleAnswer);
        }
        let after = place.engine.folded();
        self.note_ready(at, tab);
        if after != before && self.clients[at].tabs[tab].is_alive {
            invariants::check_rows(self, at, tab, before, after);
        }
    }

    /// Does what an engine wants, or begins to.
    fn take(&mut self, at: usize, tab: usize, output: Output) {
        if !self.clients[at].is_alive(tab) {
            // Its shell let go of it while it was still talking.
            return;
        }
        let rows = u64::try_from(self.clients[at].life_of(tab).disk.len()).unwrap_or(u64::MAX);
        match output {
            Output::Append { append, key, bytes } => {
                self.trace.note(&(1, key, bytes.len()));
                if key > rows + 1 {
                    self.violate(format!("S5: a row is folded before it is there: {key} of {rows}"));
                }
                self.ask_store(at, tab, StoreCall::Append { append, key, bytes });
            }
            Output::Begin { read, may_create } => {
                self.trace.note(&(8, read));
                if self.clients[at].tabs[tab].is_open {
                    self.coverage.saw(Sight::LeftBehind);
                }
                self.ask_store(at, tab, StoreCall::Begin { read, may_create });
            }
            Output::ReadSegments { read, segments } => {
                self.trace.note(&(9, segments.len()));
                self.ask_store(at, tab, StoreCall::ReadSegments { read, segments });
            }
            step @ (Output::ReadRoot { .. } | Output::WriteSegments { .. } | Output::Compact { .. }) => {
                let place = &mut self.clients[at].tabs[tab];
                if place.step.is_some() || place.step_done.is_some() {
                    self.violate("an engine takes two steps of a compaction at a time".to_owned());
                } else {
                    place.step = Some(step);
                }
            }
            Output::Read { read, after } => {
                self.trace.note(&(2, after));
                self.ask_store(at, tab, StoreCall::Read { read, after });
            }
            Output::Send { send, body } => {
                let text = String::from_utf8_lossy(&body);
                self.trace.note(&self.server.without_chance(&text));
                self.trace.tell(|| format!("           {at}.{tab} sends {text}"));
                self.send(at, tab, send, body);
            }
            Output::WakeAt(wake) => {
                self.trace.note(&(3, wake));
                self.clients[at].tabs[tab].wake_at = wake;
            }
            Output::Connect { socket, .. } => {
                self.trace.note(&(6, socket));
                if self.clients[at].tabs[tab].socket.replace(socket).is_some() {
                    self.violate("an engine wants two sockets at a time".to_owned());
                }
            }
            Output::Disconnect { socket } => {
                self.trace.note(&(7, socket));
                self.clients[at].tabs[tab].socket.take_if(|open| *open == socket);
            }
            Output::Steal => {
                self.trace.note(&5);
                if self.clients[at].lock != Some(tab) {
                    self.clients[at].steal_lock(tab);
                    self.coverage.saw(Sight::Robbed);
                }
            }
            Output::Announce(announcement) => {
                let text = announcement.to_json();
                self.trace.note(&text);
                self.announce(at, tab, &text, announcement.bytes());
            }
            Output::Reply { request, result } => self.reply(at, tab, request, result),
            Output::Notice(notice) => {
                self.trace.tell(|| format!("           {at}.{tab} tells {notice:?}"));
                invariants::hear_notice(self, at, tab, &notice);
            }
        }
    }

    fn announce(&mut self, at: usize, tab: usize, text: &str, bytes: &[u8]) {
        let Some(announcement) = Announcement::parse(text, bytes.to_vec()) else {
            return self.violate(format!("an announcement that no tab understands: {text}"));
        };
        for (place, other) in self.clients[at].tabs.iter_mut().enumerate() {
            if place != tab && other.is_alive {
                other.inbox.push_back(announcement.clone());
            }
        }
    }

    fn reply(&mut self, at: usize, tab: usize, request: RequestId, result: Result<Reply, Error>) {
        self.trace.note(&(4, request.0, result.as_ref().err().map(Error::code)));
        self.trace.tell(|| format!("           {at}.{tab} replies {} {result:?}", request.0));
        let place = &mut self.clients[at].tabs[tab];
        let Some(call) = place.calls.remove(&request.0) else {
            return self.violate(format!("L9: the call {} was answered twice, or never made", request.0));
        };
        match (call, result) {
            (Call::Open, Ok(_)) => {
                place.is_open = true;
                let folded = usize::try_from(place.engine.folded()).unwrap_or(usize::MAX);
                place.opened_at = place.opened_at.max(folded);
                invariants::check_tab(self, at, tab);
            }
            // A tab whose open failed is no database: its shell lets go of it.
            (Call::Open, Err(error)) => {
                if let Error::DefinitionOutdated(_) = error {
                    self.coverage.saw(Sight::OutdatedOpen);
                }
                self.clients[at].end_tab(tab);
            }
            (Call::Write { token: Some(token) }, result) => {
                if matches!(&result, Err(error) if error.code() == "TRANSACTION_CONFLICT") {
                    self.coverage.saw(Sight::TransactionConflict);
                }
                invariants::check_promise(self, at, tab, token, &result);
            }
            (Call::Sync { is_follower: true }, Ok(_)) => self.coverage.saw(Sight::FollowerSync),
            (Call::Migrate, Ok(Reply::Existed(false))) => self.coverage.saw(Sight::PortionStale),
            (
                Call::Write { token: None } | Call::Decide | Call::Migrate | Call::Load | Call::Sync { .. },
                _,
            ) => {}
        }
    }

    fn call_sync(&mut self, at: usize, tab: usize) {
        if !self.is_usable(at, tab) {
            return;
        }
        let request = self.clients[at].request();
        let is_follower = self.clients[at].lock != Some(tab);
        self.clients[at].tabs[tab].calls.insert(request, Call::Sync { is_follower });
        self.give(at, tab, Input::Sync { request: RequestId(request) });
    }

    /// The clocks go on; the timers that are due fire, once, and requests that hang are given up.
    pub(crate) fn pass_time(&mut self, by: Duration) {
        self.now += by;
        let timeout = Duration::from_millis(TIMEOUT_MS.into());
        for at in 0..self.clients.len() {
            for tab in 0..self.clients[at].tabs.len() {
                if !self.clients[at].is_awake(tab) {
                    continue;
                }
                let place = &mut self.clients[at].tabs[tab];
                if let Some((send, since)) = place.sending
                    && since + timeout <= self.now
                {
                    self.network.abort(at, tab, send);
                    self.fail_send(at, tab, send, Error::Timeout(TIMEOUT_MS));
                }
                let place = &mut self.clients[at].tabs[tab];
                if place.wake_at.is_some_and(|wake| wake <= self.now) {
                    place.wake_at = None;
                    self.give(at, tab, Input::Wake);
                }
            }
        }
    }

    pub(crate) fn fail_send(&mut self, at: usize, tab: usize, send: u64, error: Error) {
        if !self.clients[at].is_awake(tab) {
            return;
        }
        self.clients[at].tabs[tab].sending.take_if(|(current, _)| *current == send);
        self.give(at, tab, Input::SendFailed { send, error });
    }

    pub(crate) fn answer_send(&mut self, at: usize, tab: usize, send: u64, answer: Answer) {
        let place = &mut self.clients[at].tabs[tab];
        if place.sending.take_if(|(current, _)| *current == send).is_none() {
            self.coverage.saw(Sight::AnswerForNobody);
        }
        self.give(at, tab, Input::Answered { send, answer });
    }

    fn use_socket(&mut self, at: usize, tab: usize, word: SocketWord) {
        if !self.clients.get(at).is_some_and(|client| client.is_awake(tab)) {
            return;
        }
        let Some(socket) = self.clients[at].tabs[tab].socket else { return };
        let said = |text: &str| Input::SocketSaid { socket, text: text.to_owned() };
        let input = match word {
            SocketWord::Opened => Input::SocketOpened { socket },
            SocketWord::Ready => said(ServerFrame::Ready.as_json()),
            SocketWord::Poke => {
                self.coverage.saw(Sight::Rung);
                said(ServerFrame::Poke.as_json())
            }
            SocketWord::Beat => said(ServerFrame::Beat.as_json()),
            SocketWord::Unknown => said("{\"type\":\"news\"}"),
            SocketWord::Closed => Input::SocketClosed { socket },
        };
        self.give(at, tab, input);
    }

    fn jump_client_clock(&mut self, at: usize, ms: i64) {
        if let Some(client) = self.clients.get_mut(at) {
            client.skew_ms = client.skew_ms.saturating_add(ms);
            self.coverage.saw(Sight::ClientClockJumped);
        }
    }

    fn partition(&mut self, at: usize, cut: Cut, ms: u64) {
        if let Some(client) = self.clients.get_mut(at) {
            client.cut = Some((cut, self.now + Duration::from_millis(ms)));
            self.coverage.saw(Sight::Partition);
        }
    }

    fn clone_profile(&mut self, at: usize) {
        if self.clients.len() >= MAX_CLIENTS {
            return;
        }
        if let Some(client) = self.clients.get(at).filter(|client| !client.life().disk.is_empty()) {
            let copy = client.copy();
            self.share(copy.life());
            self.clients.push(copy);
            self.coverage.saw(Sight::Cloned);
        }
    }

    fn prune(&mut self, age_ms: u64) {
        let age = i64::try_from(age_ms).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.server_now().millis().saturating_sub(age));
        if self.server.prune(before) {
            self.coverage.saw(Sight::ServerPruned);
        }
    }

    fn restore(&mut self, number: usize) {
        if self.server.restore(number) {
            self.coverage.saw(Sight::ServerRestored);
            let is_pending =
                |client: &Client| client.life().ledger.entries.values().any(|it| it.is_pending());
            if self.clients.iter().any(is_pending) {
                self.coverage.saw(Sight::RestoredWithPending);
            }
        }
    }
}
