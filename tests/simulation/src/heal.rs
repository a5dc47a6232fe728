//! The second phase: the faults stop, nobody writes, and a bounded time later all is said and done (L1 to L10), all agree (Q1, Q2),
//! and syncing once more changes nothing (Q4).

mod agreement;

use std::time::Duration;

use objectql_offline::engine::{Engine, Input, Output, RequestId};

use crate::action::{Action, CarryFate, Choice, DiskFate, WriteKind};
use crate::client::{Call, Client, Tab};
use crate::coverage::Sight;
use crate::invariants;
use crate::ledger::Ledger;
use crate::setup::{DRAFT, OBJECTS};
use crate::world::World;

/// How long it may take until all agree, in virtual time.
const BOUND: Duration = Duration::from_secs(4 * 3600);
/// No timer of a client with something to send is further away: the longest pause that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// More steps at one moment than this are a circle.
pub(crate) const MANY_STEPS: usize = 200_000;

impl World {
    /// Heals everything, and sees to it that all agree.
    pub(crate) fn heal(&mut self) {
        self.trace.tell(|| "           --- the faults stop ---".to_owned());
        self.mend();
        self.settle();
        // What is damaged where nobody looked is found now.
        self.ask_for_everything();
        self.drain();
        self.settle();
        self.load_everything();
        self.check_losses();
        self.check_agreement();
        self.sync_once_more();
        self.forget_everything();
        self.open_once_more();
    }

    /// Until all is said and done.
    fn settle(&mut self) {
        let (end, handled) = (self.now + BOUND, self.network.handled);
        let lives = self.clients.iter().flat_map(|client| &client.lives);
        let waiting: usize = lives.map(|life| life.ledger.all().count()).sum();
        let bound = 40 * (self.clients.len() as u64 + 1) * (100 + waiting as u64);
        let mut decisions = 0;
        while self.violation.is_none() {
            self.drain();
            self.check_not_idle();
            let requests = self.network.handled - handled;
            if requests > bound || decisions > 100 + 10 * waiting {
                return self.violate(format!(
                    "L3/L7: {requests} requests and {decisions} decisions after the heal: {}",
                    self.describe_rest()
                ));
            }
            // A disk that was full before refused the last tab that was opened: the person opens another.
            let closed = (0..self.clients.len()).find(|at| self.clients[*at].alive().next().is_none());
            if let Some(client) = closed {
                self.apply(&Action::Open { client });
                continue;
            }
            if self.decide_everything() {
                decisions += 1;
                continue;
            }
            if self.is_quiet() && !self.is_asked() {
                break;
            }
            if self.now >= end {
                return self.violate(format!("L1/L2/L10: no end in sight: {}", self.describe_rest()));
            }
            self.pass_to_next_event();
        }
    }

    /// Whether nobody has decided something that a page asked for early, though some tab could (L10). It may be lost with a damaged row.
    fn is_asked(&self) -> bool {
        let is_asked = |client: &Client| {
            let edition = &self.editions[client.edition];
            let Ledger { asked, is_damaged, .. } = &client.life().ledger;
            !is_damaged && asked.values().any(|object| edition.defines(object))
        };
        self.clients.iter().any(is_asked)
    }

    /// All tabs take everything into memory.
    fn load_everything(&mut self) {
        self.ask_for_everything();
        self.drain();
        let is_missing = |client: &Client| {
            client.alive().any(|tab| client.tabs[tab].calls.values().any(|call| *call == Call::Load))
        };
        if self.violation.is_none() && self.clients.iter().any(is_missing) {
            self.violate(format!("L9: a load is not answered: {}", self.describe_rest()));
        }
        for client in &mut self.clients {
            for tab in client.alive().collect::<Vec<_>>() {
                for object in OBJECTS {
                    while client.tabs[tab].engine.prepare_next(object).is_ok_and(|has_more| has_more) {}
                }
            }
        }
    }

    fn ask_for_everything(&mut self) {
        for client in 0..self.clients.len() {
            for tab in self.clients[client].alive().collect::<Vec<_>>() {
                for object in 0..OBJECTS.len() {
                    self.apply(&Action::Load { client, tab, object });
                }
            }
        }
    }

    /// What a tab finds that opens now is what the others have.
    fn open_once_more(&mut self) {
        for client in 0..self.clients.len() {
            if self.violation.is_some() {
                return;
            }
            let others = self.clients[client].alive().filter(|tab| self.clients[client].lock != Some(*tab));
            for tab in others.collect::<Vec<_>>() {
                self.apply(&Action::Crash { client, tab });
            }
            self.setup.max_tabs = self.setup.max_tabs.max(2);
            self.apply(&Action::Open { client });
            self.drain();
            self.load_everything();
            if let Some(tab) = self.clients[client].alive().last() {
                invariants::check_tab(self, client, tab);
            }
            self.fold_once_more(client);
        }
    }

    /// All rows that ever were, also those that became segments, give the same state as what is stored.
    fn fold_once_more(&mut self, at: usize) {
        let client = &self.clients[at];
        if client.life().ledger.is_damaged {
            // Nobody has what was lost.
            return;
        }
        let config = self.setup.config(&self.editions[client.edition], client.release);
        let mut engine = Engine::new(config, [0; 32], RequestId(0));
        let now = self.now_of(at);
        engine.handle_input(now, Input::Wake);
        while let Some(output) = engine.poll_output() {
            if let Output::Begin { read, .. } = output {
                let rows = client.life().disk.iter().map(|row| row.bytes.clone().unwrap_or_default());
                let rows = (1..).zip(rows).collect();
                engine.handle_input(now, Input::Begun { read, root: None, rows, is_last: true });
            }
        }
        let is_other = |tab: &usize| {
            let tab = &client.tabs[*tab].engine;
            tab.folded() == engine.folded() && tab.has_all_in_memory() && tab.state() != engine.state()
        };
        let other = client.alive().find(is_other);
        if let Some(tab) = other {
            let (one, two) = (client.tabs[tab].engine.state(), engine.state());
            let difference = invariants::first_difference(&format!("{one:?}"), &format!("{two:?}"));
            self.violate(format!(
                "tab {tab} of client {at} has another state than all its rows give: {difference}"
            ));
        }
    }

    fn mend(&mut self) {
        for at in 0..self.clients.len() {
            self.clients[at].cut = None;
            self.clients[at].store_away_until = None;
            self.take_back(at);
            for tab in self.clients[at].alive().collect::<Vec<_>>() {
                self.thaw(at, tab);
            }
            if self.clients[at].alive().next().is_none() {
                self.apply(&Action::Open { client: at });
            }
            for tab in self.clients[at].alive().collect::<Vec<_>>() {
                self.apply(&Action::Nudge { client: at, tab });
            }
        }
        self.drain();
        self.find_damage();
        for at in 0..self.clients.len() {
            // The app calls sync(): after a refusal of its credentials nothing else makes the driver try again.
            if let Some(tab) = self.clients[at].lock {
                self.apply(&Action::Sync { client: at, tab });
            }
        }
    }

    /// All that is damaged is found by a tab that reads everything.
    fn find_damage(&mut self) {
        for client in 0..self.clients.len() {
            if !self.clients[client].life().ledger.is_damaged {
                continue;
            }
            self.setup.max_tabs = self.setup.max_tabs.max(self.clients[client].alive().count() + 1);
            self.apply(&Action::Open { client });
            self.drain();
            self.ask_for_everything();
            self.drain();
            // That the last row is missing shows when the next one comes.
            if let Some(tab) = self.clients[client].alive().last() {
                let (object, kind) = (DRAFT, WriteKind::Upsert);
                self.apply(&Action::Write { client, tab, object, record: 0, kind, value: 0 });
            }
            self.drain();
        }
    }

    /// The app is again as the server's definitions have it, in its latest release: its tabs are opened anew.
    fn take_back(&mut self, at: usize) {
        if self.clients[at].edition != 0 {
            self.apply(&Action::Deploy { client: at, edition: 0 });
        }
        let number = self.clients[at].latest_release;
        if self.clients[at].release != number {
            self.apply(&Action::Release { client: at, number });
        }
        for tab in self.clients[at].alive().collect::<Vec<_>>() {
            let Tab { edition, release, .. } = self.clients[at].tabs[tab];
            if edition != 0 || release != number {
                self.apply(&Action::Crash { client: at, tab });
            }
        }
    }

    /// Does everything that is to be done at this moment, in a fixed order.
    fn drain(&mut self) {
        for _ in 0..MANY_STEPS {
            if self.violation.is_some() || !self.step() {
                return;
            }
        }
        self.violate(format!("L3: something runs in a circle: {}", self.describe_rest()));
    }

    /// One thing that is to be done at this moment; whether there was any.
    pub(crate) fn step(&mut self) -> bool {
        self.step_tabs() || self.step_network()
    }

    /// One thing that is to be done in a tab.
    pub(crate) fn step_tabs(&mut self) -> bool {
        for client in 0..self.clients.len() {
            for tab in 0..self.clients[client].tabs.len() {
                if !self.clients[client].is_awake(tab) {
                    continue;
                }
                let place = &self.clients[client].tabs[tab];
                let action = if place.store.is_some() || !place.reading.is_empty() {
                    Action::Disk { client, tab, fate: DiskFate::Done }
                } else if place.step.is_some() {
                    Action::Compact { client, tab, fate: DiskFate::Done }
                } else if place.done.is_some() || !place.read_done.is_empty() || place.step_done.is_some() {
                    Action::Report { client, tab }
                } else if self.can_migrate(client, tab) {
                    Action::Migrate { client, tab, most: usize::MAX }
                } else if !place.lock_news.is_empty() {
                    Action::Lock { client, tab }
                } else if !place.inbox.is_empty() {
                    Action::Hear { client, tab, place: 0 }
                } else {
                    continue;
                };
                self.apply(&action);
                return true;
            }
        }
        false
    }

    /// One packet arrives.
    pub(crate) fn step_network(&mut self) -> bool {
        if let Some(packet) = self.next_answer() {
            self.apply(&Action::Answer { packet });
            return true;
        }
        if !self.network.requests.is_empty() {
            self.apply(&Action::Carry { packet: 0, fate: CarryFate::Arrives, fuse: 0, crashes: false });
            return true;
        }
        false
    }

    /// Decides all that waits for a person; whether there was anything.
    fn decide_everything(&mut self) -> bool {
        for at in 0..self.clients.len() {
            let Some(tab) = self.clients[at].lock else { continue };
            let engine = &self.clients[at].tabs[tab].engine;
            if engine.status().error.is_some_and(|error| error.code == "STORAGE_FAILED") {
                // It rests after a failure: nothing is written before it tries again.
                continue;
            }
            let state = engine.state();
            let choice = if state.refused().next().is_some() {
                Choice::Discard
            } else if state.unsettled().any(|(_, _, is_parked)| is_parked) {
                // Both sides in turn, so that an episode that never ends would show.
                if self.now.as_millis().is_multiple_of(2) { Choice::Theirs } else { Choice::Mine }
            } else {
                continue;
            };
            self.apply(&Action::Decide { client: at, tab, place: 0, choice });
            self.drain();
            return true;
        }
        false
    }

    fn pass_to_next_event(&mut self) {
        let tabs = self.clients.iter().flat_map(|client| client.tabs.iter().filter(|tab| tab.is_alive));
        let next = tabs.filter_map(|tab| tab.wake_at).min();
        let now = self.now;
        let wait = next.map_or(Duration::from_secs(10), |next| next.saturating_sub(now));
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(30));
        self.apply(&Action::Time { ms: u64::try_from(wait.as_millis()).unwrap_or(1) });
        if !self.setup.is_automatic {
            // The app is the one that syncs.
            for at in 0..self.clients.len() {
                if let Some(tab) = self.clients[at].lock {
                    self.apply(&Action::Sync { client: at, tab });
                }
            }
        }
    }

    /// Whether every queue is empty, every call answered, and every client as far as the server.
    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| {
            let Some(leader) = client.lock else { return false };
            let state = client.tabs[leader].engine.state();
            // While a snapshot is collected the checkpoint is that of the data before it.
            let is_as_far = !state.is_collecting()
                && state.checkpoint().is_some_and(|checkpoint| self.server.is_at_end(checkpoint.as_str()));
            let is_read = |tab: usize| {
                usize::try_from(client.tabs[tab].engine.folded()) == Ok(client.life().disk.len())
            };
            is_as_far
                && state.unsettled().next().is_none()
                && state.refused().next().is_none()
                && client
                    .alive()
                    .all(|tab| client.tabs[tab].calls.is_empty() && is_read(tab) && is_in_order(client, tab))
        })
    }

    /// A tab that leads and has something to send has a request under way or a timer for one, once everything is done that can be done now (L6).
    fn check_not_idle(&mut self) {
        if !self.setup.is_automatic {
            return;
        }
        let is_idle = |client: &Client| {
            let leader = client.lock.map(|tab| &client.tabs[tab]);
            leader.is_some_and(|tab| {
                let has_more = tab.engine.state().unsettled().any(|(_, _, is_parked)| !is_parked);
                has_more
                    && tab.sending.is_none()
                    && tab.wake_at.is_none_or(|wake| wake > self.now + LONGEST_WAIT)
            })
        };
        if let Some(at) = self.clients.iter().position(is_idle) {
            self.violate(format!(
                "L6: client {at} is idle and has something to send: {}",
                self.describe_rest()
            ));
        }
    }

    fn describe_rest(&self) -> String {
        let clients = self.clients.iter().enumerate().map(|(at, client)| {
            let tabs = client.alive().map(|tab| {
                let place = &client.tabs[tab];
                let status = place.engine.status();
                format!(
                    "tab {tab} {:?} pending {} conflicts {} rejected {} calls {:?} error {:?}",
                    status.state,
                    status.pending,
                    status.conflicts,
                    status.rejected,
                    place.calls,
                    status.error
                )
            });
            let checkpoint = client.lock.and_then(|tab| client.tabs[tab].engine.state().checkpoint());
            let checkpoint = self.server.without_chance(&format!("{checkpoint:?}"));
            format!(
                "client {at} led by {:?} at {checkpoint}: {}",
                client.lock,
                tabs.collect::<Vec<_>>().join("; ")
            )
        });
        clients.collect::<Vec<_>>().join(" | ")
    }

    /// The server can forget everything but the records, and nobody who is as far as it notices (L8).
    fn forget_everything(&mut self) {
        if self.violation.is_some() {
            return;
        }
        if let Err(problem) = self.server.forget_everything() {
            self.violate(problem);
        }
        let rows: Vec<usize> = self.clients.iter().map(|client| client.life().disk.len()).collect();
        self.sync_once_more();
        if self.violation.is_none()
            && self.clients.iter().zip(rows).any(|(client, rows)| client.life().disk.len() != rows)
        {
            self.violate("L8: what the server forgot was needed by a client that had it all".to_owned());
        }
    }

    /// Syncing once more sends no mutation and changes nothing.
    fn sync_once_more(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let before = self.server.records();
        let folded: Vec<usize> =
            self.clients.iter().map(|client| client.life().ledger.batches.len()).collect();
        for at in 0..self.clients.len() {
            let Some(tab) = self.clients[at].lock else { continue };
            let request = self.clients[at].request();
            self.clients[at].tabs[tab].calls.insert(request, Call::Sync { is_follower: false });
            self.give(at, tab, Input::Sync { request: objectql_offline::engine::RequestId(request) });
            self.drain();
            if !self.clients[at].tabs[tab].calls.is_empty() {
                self.violate(format!("L9: a sync() of client {at} is not answered"));
            }
            if Some(&self.clients[at].life().ledger.batches.len()) != folded.get(at) {
                self.violate(format!("Q4: client {at} sends mutations although there are none"));
            }
        }
        if self.server.records() != before {
            self.violate("Q4: a sync() of nothing changed the server".to_owned());
        }
        self.check_agreement();
        if self.violation.is_none() {
            self.coverage.saw(Sight::Agreed);
        }
    }
}

/// Whether a tab has the database that is there, all of it in the latest versions, and has written down what cannot be read.
fn is_in_order(client: &Client, tab: usize) -> bool {
    let place = &client.tabs[tab];
    client.has_its_life(tab) && place.is_ready && !place.engine.has_damage()
}
