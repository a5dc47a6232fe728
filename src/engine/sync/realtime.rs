//! The doorbell, as the tab that syncs has it: when there is to be a socket, and what follows from what is heard on it.
//!
//! A ring leads to a pull, and to nothing else: no frame carries data or moves the checkpoint, so that a frame that is lost,
//! doubled or forged costs a request at most. Every connection begins with a pull, because nobody rang in between.

use std::time::Duration;

use objectql_sync_protocol::realtime::{BEAT_INTERVAL, SILENCE, ServerFrame};

use super::schedule;
use crate::engine::{Announcement, Engine, Now, Output};

/// A page at which nobody has looked for so long has no socket: there may be many such pages.
const HIDDEN_GRACE: Duration = Duration::from_secs(60);

/// What this tab knows of the doorbell.
#[derive(Debug)]
pub(crate) struct Realtime {
    link: Link,
    next_socket: u64,
    /// How many sockets in a row were lost soon.
    failures: u32,
    /// Whether somebody may be looking at this page.
    pub(crate) is_visible: bool,
    /// When somebody was last known to look at this page, as long as nobody does, or at another tab's.
    seen: Duration,
    /// The server rang, and no request has left since.
    pub(crate) is_rung: bool,
}

#[derive(Debug)]
enum Link {
    /// There is none.
    Down,
    /// The last one was lost.
    Waiting { until: Duration },
    /// There is one, or about to be.
    Up(Socket),
}

#[derive(Debug)]
struct Socket {
    number: u64,
    /// When there was last a sign of life.
    heard: Duration,
    /// Since when the server rings.
    ready: Option<Duration>,
}

impl Default for Realtime {
    fn default() -> Self {
        Self {
            link: Link::Down,
            next_socket: 1,
            failures: 0,
            is_visible: true,
            seen: Duration::ZERO,
            is_rung: false,
        }
    }
}

impl Realtime {
    /// Whether the server rings for this tab.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.link, Link::Up(Socket { ready: Some(_), .. }))
    }

    /// The socket of that number; none for one that was let go of.
    fn socket(&mut self, number: u64) -> Option<&mut Socket> {
        match &mut self.link {
            Link::Up(socket) if socket.number == number => Some(socket),
            _ => None,
        }
    }

    /// Another try need not wait.
    pub(crate) fn hurry(&mut self) {
        if let Link::Waiting { .. } = self.link {
            self.link = Link::Down;
        }
    }
}

impl Engine {
    pub(crate) fn handle_socket_opened(&mut self, now: Now, number: u64) {
        if let Some(socket) = self.realtime.socket(number) {
            socket.heard = now.monotonic;
        }
    }

    pub(crate) fn handle_socket_said(&mut self, now: Now, number: u64, text: &str) {
        let Some(socket) = self.realtime.socket(number) else { return };
        socket.heard = now.monotonic;
        match ServerFrame::parse(text) {
            Some(ServerFrame::Ready) => {
                socket.ready.get_or_insert(now.monotonic);
                self.realtime.is_rung = true;
                // The server is there again: what waited to be tried again need not wait.
                self.stop_waiting();
            }
            Some(ServerFrame::Poke) => self.realtime.is_rung = true,
            Some(ServerFrame::Beat) | None => {}
        }
    }

    pub(crate) fn handle_socket_closed(&mut self, now: Now, number: u64) {
        if self.realtime.socket(number).is_some() {
            self.lose_socket(now);
        }
    }

    /// Somebody looks at the page, or nobody does any more.
    pub(crate) fn handle_visible(&mut self, now: Now, is_visible: bool) {
        if self.realtime.is_visible && !is_visible {
            self.realtime.seen = now.monotonic;
        }
        self.realtime.is_visible = is_visible;
        if is_visible && !self.sync.is_leader && self.has_realtime() {
            // The tab that syncs may be hidden, and without a socket.
            self.outputs.push_back(Output::Announce(Announcement::Ping { is_visible }));
        }
    }

    /// Somebody looks at another tab's page, as its pings say.
    pub(crate) fn handle_other_visible(&mut self, now: Now) {
        self.realtime.seen = now.monotonic;
    }

    /// Has a socket where there should be one, and none where not.
    pub(crate) fn advance_realtime(&mut self, now: Now) {
        if !self.has_realtime() {
            return;
        }
        let is_wanted = self.wants_socket(now.monotonic);
        match &self.realtime.link {
            Link::Up(socket) if is_wanted && now.monotonic < socket.heard + SILENCE => {}
            // Half open: nobody may be at the other end, and the browser would not notice for a long time.
            Link::Up(_) if is_wanted => self.lose_socket(now),
            Link::Up(_) => self.drop_socket(Link::Down),
            _ if !is_wanted => self.realtime.link = Link::Down,
            Link::Waiting { until } if now.monotonic < *until => {}
            Link::Waiting { .. } | Link::Down => self.connect(now),
        }
    }

    fn has_realtime(&self) -> bool {
        self.is_open && self.config.sync.is_some_and(|sync| sync.is_realtime && sync.is_automatic)
    }

    fn wants_socket(&self, now: Duration) -> bool {
        let Realtime { is_visible, seen, .. } = self.realtime;
        self.sync.is_leader && (is_visible || now < seen + HIDDEN_GRACE)
    }

    fn connect(&mut self, now: Now) {
        let Some(client_id) = self.state.client_id.clone() else { return };
        let number = self.realtime.next_socket;
        self.realtime.next_socket += 1;
        self.realtime.link = Link::Up(Socket { number, heard: now.monotonic, ready: None });
        self.outputs.push_back(Output::Connect { socket: number, client_id });
    }

    fn lose_socket(&mut self, now: Now) {
        // One that the server greets and then closes is no success, or both would go round without a pause.
        let has_held = |ready: Duration| now.monotonic >= ready + BEAT_INTERVAL;
        if let Link::Up(Socket { ready: Some(ready), .. }) = self.realtime.link
            && has_held(ready)
        {
            self.realtime.failures = 0;
        }
        self.realtime.failures = self.realtime.failures.saturating_add(1);
        let wait = schedule::backoff(self.realtime.failures, None, &mut self.random);
        self.drop_socket(Link::Waiting { until: now.monotonic + wait });
    }

    fn drop_socket(&mut self, next: Link) {
        if let Link::Up(Socket { number, .. }) = std::mem::replace(&mut self.realtime.link, next) {
            self.outputs.push_back(Output::Disconnect { socket: number });
        }
    }

    /// When something is to be done without a further input.
    pub(crate) fn next_realtime_wake(&self) -> Option<Duration> {
        if !self.has_realtime() {
            return None;
        }
        let Realtime { link, is_visible, seen, .. } = &self.realtime;
        match link {
            Link::Down => None,
            Link::Waiting { until } => Some(*until),
            Link::Up(socket) if *is_visible => Some(socket.heard + SILENCE),
            Link::Up(socket) => Some((socket.heard + SILENCE).min(*seen + HIDDEN_GRACE)),
        }
    }
}
