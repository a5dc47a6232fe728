//! Followers ask the leader now and then whether it is there. A tab that the system has frozen keeps its Web Lock for ever; it
//! does not answer, and is robbed of it. What it had under way when it wakes is stale: another tab has written since.
//!
//! Where there are no Web Locks the same questions elect the leader: who gets no answer leads, and says so. Several may for as long
//! as a message takes. Of two that hear of each other the one of the later election stays, so that a leader that was frozen does not take its
//! place back from tabs that saw it go (who knows of no election begins to count anew); in one election the tab with the higher number.

use std::time::Duration;

use objectql_sync_protocol::defect::{Defect, has};

use crate::engine::{Announcement, Engine, Now, Output, TabId};

/// How often a follower asks. A leader that does not answer is replaced after three times this, in 24 seconds.
const PING_INTERVAL: Duration = Duration::from_secs(8);
/// After so many questions without an answer, each with the whole interval to answer in, the leader is gone.
const MOST_UNANSWERED: u32 = 2;
/// How long a tab that wants to be elected waits for a leader to say that it is there, or for another tab to be faster: 300 ms to
/// 500 ms, at random, so that one of several is alone with it.
const STAND_FOR: Duration = Duration::from_millis(300);
const STAND_SPREAD_MS: u64 = 200;

/// What a follower knows of the leader.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Questions without an answer. They count, and not the time: a follower that was frozen itself has to ask first.
    pub(super) unanswered: u32,
    next_at: Option<Duration>,
}

impl Engine {
    /// There are no Web Locks here. Where tabs cannot talk to each other either, each of them leads, which costs requests and is safe,
    /// because an answer that meets another tab's row is dropped and the server knows a mutation it has seen.
    pub(crate) fn handle_lockless(&mut self, has_channel: bool) {
        if has_channel {
            self.sync.election = Some(0);
            // A page that comes back has not heard who leads now: it asks first.
            self.sync.watch = Watch::default();
        } else {
            self.handle_leader(true);
        }
    }

    /// The leader is there: in that tab, and since that election.
    pub(crate) fn handle_alive(&mut self, tab: TabId, election: u64) {
        self.sync.watch.unanswered = 0;
        let Some(own) = self.sync.election else { return };
        self.sync.election = Some(own.max(election));
        if !self.sync.is_leader {
            return;
        }
        if (own, self.tab) > (election, tab) {
            self.say_alive();
        } else {
            self.handle_leader(false);
            // It asks that one from time to time, and does not stand again.
            self.sync.watch.next_at = Some(Duration::ZERO);
        }
    }

    /// The leader goes, or its page: who is not beaten to it takes its place.
    pub(crate) fn handle_gone(&mut self, now: Now) {
        if self.sync.election.is_some() {
            self.stand(now);
        }
    }

    /// This tab goes, perhaps to come back: nobody has to find out by asking.
    pub(crate) fn leave(&mut self) {
        if self.is_elected() {
            self.outputs.push_back(Output::Announce(Announcement::Gone));
        }
    }

    /// Somebody looks at the page again. It may have been away, and another tab elected, without hearing of it.
    pub(crate) fn defend_lead(&mut self) {
        if self.is_elected() {
            self.say_alive();
        }
    }

    /// Says that this tab leads.
    pub(crate) fn say_alive(&mut self) {
        let election = self.sync.election.unwrap_or_default();
        self.outputs.push_back(Output::Announce(Announcement::Alive { tab: self.tab, election }));
    }

    /// When a follower asks again.
    pub(crate) fn next_ping(&self) -> Option<Duration> {
        if self.sync.is_leader { None } else { self.sync.watch.next_at }
    }

    /// Asks whether the leader is there, or takes its place.
    pub(crate) fn watch_leader(&mut self, now: Now) {
        // Whoever leads compacts as well, also what is not synced; a lock that is kept for ever costs only space then.
        let may_lead = self.config.sync.is_some() || self.sync.election.is_some();
        if !self.is_open || self.sync.is_leader || !may_lead {
            self.sync.watch = Watch::default();
            return;
        }
        let watch = &mut self.sync.watch;
        if watch.next_at.is_some_and(|at| now.monotonic < at) {
            return;
        }
        let is_first = watch.next_at.replace(now.monotonic + PING_INTERVAL).is_none();
        match self.sync.election {
            None if is_first => {}
            Some(_) if is_first => {
                self.stand(now);
                self.ping();
            }
            _ if watch.unanswered < MOST_UNANSWERED || has(Defect::LeaderUnwatched) => {
                watch.unanswered += 1;
                self.ping();
            }
            None => {
                watch.unanswered = 0;
                self.outputs.push_back(Output::Steal);
            }
            Some(last) => {
                self.sync.election = Some(last + 1);
                self.handle_leader(true);
            }
        }
    }

    /// Leads in a moment, unless a leader is heard of before.
    fn stand(&mut self, now: Now) {
        let wait = STAND_FOR + Duration::from_millis(self.random.up_to(STAND_SPREAD_MS));
        self.sync.watch = Watch { unanswered: MOST_UNANSWERED, next_at: Some(now.monotonic + wait) };
    }

    fn ping(&mut self) {
        let is_visible = self.realtime.is_visible;
        self.outputs.push_back(Output::Announce(Announcement::Ping { is_visible }));
    }

    fn is_elected(&self) -> bool {
        self.sync.election.is_some() && self.sync.is_leader
    }
}
