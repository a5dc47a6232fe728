//! Followers ask the leader now and then whether it is there. A tab that the system has frozen keeps its Web Lock for ever; it
//! does not answer, and is robbed of it. What it had under way when it wakes is stale: another tab has written since.

use std::time::Duration;

use objectql_sync_protocol::defect::{Defect, has};

use crate::engine::{Announcement, Engine, Now, Output};

/// How often a follower asks. A leader that does not answer is replaced after three times this, in 24 seconds.
const PING_INTERVAL: Duration = Duration::from_secs(8);
/// After so many questions without an answer, each with the whole interval to answer in, the leader is gone.
const MOST_UNANSWERED: u32 = 2;

/// What a follower knows of the leader.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Questions without an answer. They count, and not the time: a follower that was frozen itself has to ask first.
    unanswered: u32,
    next_at: Option<Duration>,
}

impl Engine {
    /// The leader is there.
    pub(crate) fn handle_alive(&mut self) {
        self.sync.watch.unanswered = 0;
    }

    /// When a follower asks again.
    pub(crate) fn next_ping(&self) -> Option<Duration> {
        if self.sync.is_leader { None } else { self.sync.watch.next_at }
    }

    /// Asks whether the leader is there, or takes its place.
    pub(crate) fn watch_leader(&mut self, now: Now) {
        let is_follower = self.is_open && !self.sync.is_leader && self.config.sync.is_some();
        let watch = &mut self.sync.watch;
        if !is_follower {
            *watch = Watch::default();
            return;
        }
        if watch.next_at.is_some_and(|at| now.monotonic < at) {
            return;
        }
        let is_first = watch.next_at.replace(now.monotonic + PING_INTERVAL).is_none();
        if is_first {
            return;
        }
        if watch.unanswered >= MOST_UNANSWERED && !has(Defect::LeaderUnwatched) {
            watch.unanswered = 0;
            self.outputs.push_back(Output::Steal);
        } else {
            watch.unanswered += 1;
            let is_visible = self.realtime.is_visible;
            self.outputs.push_back(Output::Announce(Announcement::Ping { is_visible }));
        }
    }
}
