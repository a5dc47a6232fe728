//! The tabs of a client: opened, closed, frozen, and what they tell each other.

use std::time::Duration;

use objectql_offline::engine::Input;

use crate::client::StoreCall;
use crate::coverage::Sight;
use crate::invariants;
use crate::world::World;

impl World {
    pub(crate) fn open(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if client.alive().count() >= self.setup.max_tabs {
            return;
        }
        if client.alive().count() > 0 {
            self.coverage.saw(Sight::TabOpened);
        }
        let edition = client.edition;
        if client.alive().any(|tab| client.tabs[tab].edition != edition) {
            self.coverage.saw(Sight::TwoEditions);
        }
        let config = self.setup.config(&self.editions[edition], client.release);
        let tab = client.start_tab(config, &mut self.seeds);
        self.give(at, tab, Input::Wake);
    }

    pub(crate) fn crash(&mut self, at: usize, tab: usize) {
        if !self.clients.get(at).is_some_and(|client| client.is_alive(tab)) {
            return;
        }
        let place = &self.clients[at].tabs[tab];
        match (&place.store, &place.done) {
            (Some(StoreCall::Append { .. }), _) => self.coverage.saw(Sight::CrashBeforeAppend),
            (None, Some(_)) if place.is_row_made => self.coverage.saw(Sight::CrashAfterAppend),
            _ => {}
        }
        if place.sending.is_some() {
            self.coverage.saw(Sight::CrashWithAnswer);
        }
        if place.is_open && !place.is_ready {
            self.coverage.saw(Sight::CrashMigrating);
        }
        invariants::check_tab(self, at, tab);
        self.clients[at].end_tab(tab);
        self.network.forget_tab(at, tab);
    }

    pub(crate) fn crash_browser(&mut self, at: usize) {
        let Some(client) = self.clients.get(at) else { return };
        let tabs: Vec<usize> = client.alive().collect();
        if tabs.len() > 1 {
            self.coverage.saw(Sight::BrowserCrash);
        }
        tabs.into_iter().for_each(|tab| self.crash(at, tab));
    }

    pub(crate) fn freeze(&mut self, at: usize, tab: usize) {
        if self.clients.get(at).is_some_and(|client| client.is_awake(tab)) {
            let client = &mut self.clients[at];
            client.tabs[tab].is_frozen = true;
            self.coverage.saw(Sight::TabFrozen);
            if client.lock == Some(tab) {
                self.coverage.saw(Sight::LeaderFrozen);
            }
        }
    }

    pub(crate) fn thaw(&mut self, at: usize, tab: usize) {
        if !self.clients.get(at).is_some_and(|client| client.is_alive(tab) && !client.is_awake(tab)) {
            return;
        }
        let place = &mut self.clients[at].tabs[tab];
        place.is_frozen = false;
        if place.lock_news.contains(&false) {
            self.coverage.saw(Sight::ExLeaderThawed);
        }
        self.pass_time(Duration::ZERO);
    }

    pub(crate) fn steal(&mut self, at: usize, tab: usize) {
        if self.clients.get(at).is_some_and(|client| client.is_awake(tab) && client.lock != Some(tab)) {
            self.clients[at].steal_lock(tab);
            self.coverage.saw(Sight::LockStolen);
        }
    }

    pub(crate) fn hear_lock(&mut self, at: usize, tab: usize) {
        if !self.clients.get(at).is_some_and(|client| client.is_awake(tab)) {
            return;
        }
        let place = &mut self.clients[at].tabs[tab];
        if let Some(is_leader) = place.lock_news.pop_front() {
            if !is_leader {
                // Nobody waits for the answer any more; it may come all the same.
                place.sending = None;
            }
            self.give(at, tab, Input::Leader(is_leader));
        }
    }

    pub(crate) fn hear(&mut self, at: usize, tab: usize, place: usize, is_heard: bool) {
        if !self.clients.get(at).is_some_and(|client| client.is_awake(tab)) {
            return;
        }
        let inbox = &mut self.clients[at].tabs[tab].inbox;
        if inbox.is_empty() {
            return;
        }
        let place = place % inbox.len();
        let Some(announcement) = inbox.remove(place) else { return };
        if !is_heard {
            return self.coverage.saw(Sight::AnnouncementLost);
        }
        if place > 0 {
            self.coverage.saw(Sight::AnnouncementReordered);
        }
        self.give(at, tab, Input::Announced(announcement));
    }

    /// The app's next release defines its objects otherwise: tabs that are opened from now on have that one.
    pub(crate) fn deploy(&mut self, at: usize, edition: usize) {
        if let Some(client) = self.clients.get_mut(at) {
            client.edition = edition % self.editions.len();
            self.coverage.saw(Sight::Deployed);
        }
    }
}
