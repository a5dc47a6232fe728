//! The doorbell: when there is a socket, and that every ring leads to a pull.

use proptest::prelude::*;

use super::*;

const BEAT: &str = r#"{"type":"beat"}"#;
const POKE: &str = r#"{"type":"poke"}"#;
const READY: &str = r#"{"type":"ready"}"#;

fn config() -> Config {
    let settings = SyncSettings { is_automatic: true, poll_interval: None, is_realtime: true };
    Config::new(objects(), Some(settings)).unwrap()
}

/// A leading tab whose socket is ready, and whose first pulls are answered.
fn ready() -> World {
    let mut world = World::leading(config());
    let socket = socket(&world);
    world.give(0, Input::SocketOpened { socket });
    world.say(READY);
    world.answer_nothing();
    assert!(!world.is_sending(0));
    world
}

/// The socket that the first tab wants, which must be there.
fn socket(world: &World) -> u64 {
    world.tabs[0].socket.expect("no socket is wanted")
}

impl World {
    fn say(&mut self, text: &str) {
        let socket = socket(self);
        self.give(0, Input::SocketSaid { socket, text: text.to_owned() });
        self.settle();
    }

    /// Answers the pull under way: there is no news.
    fn answer_nothing(&mut self) {
        assert_eq!(self.sent(0).mutations().len(), 0);
        self.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c1" }));
    }

    fn is_realtime(&self) -> bool {
        self.tabs[0].engine.status().realtime
    }

    /// Lets time pass in which the server beats.
    fn advance_beating(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.advance(Duration::from_secs(1));
            if self.tabs[0].socket.is_some() {
                self.say(BEAT);
            }
        }
    }
}

#[test]
fn the_tab_that_syncs_has_a_socket_and_no_other() {
    let mut world = World::new(config());
    let other = world.open_tab();
    assert_eq!(world.tabs[0].socket, None);
    world.give(0, Input::Leader(true));
    world.settle();
    assert!(world.tabs[0].socket.is_some());
    world.advance(Duration::from_secs(300));
    assert_eq!(world.tabs[other].socket, None);
    world.give(0, Input::Leader(false));
    assert_eq!(world.tabs[0].socket, None);
}

#[test]
fn there_is_no_socket_where_it_was_not_asked_for() {
    let by_hand = SyncSettings { is_automatic: false, poll_interval: None, is_realtime: true };
    for config in [automatic(), local(), Config::new(objects(), Some(by_hand)).unwrap()] {
        let mut world = World::leading(config);
        world.give(0, Input::Visible(true));
        world.advance(Duration::from_secs(1));
        assert_eq!(world.tabs[0].last_socket, 0);
    }
}

#[test]
fn a_socket_waits_until_the_log_is_read() {
    let mut world = World::empty(config());
    world.start_tab();
    world.give(0, Input::Leader(true));
    assert_eq!(world.tabs[0].socket, None);
    world.settle();
    assert!(world.tabs[0].socket.is_some());
}

#[test]
fn every_connection_begins_with_a_pull() {
    let mut world = World::leading(config());
    world.advance(Duration::from_secs(10));
    assert!(!world.is_sending(0) && !world.is_realtime());
    let first = socket(&world);
    world.give(0, Input::SocketOpened { socket: first });
    assert!(!world.is_sending(0) && !world.is_realtime());
    world.say(READY);
    assert!(world.is_sending(0) && world.is_realtime());
    world.answer_nothing();
    world.give(0, Input::SocketClosed { socket: first });
    assert!(!world.is_realtime());
    world.advance(Duration::from_secs(1));
    world.say(READY);
    assert!(world.is_sending(0) && world.is_realtime());
}

#[test]
fn a_ring_leads_to_a_pull_and_nothing_else_does() {
    let mut world = ready();
    for text in [BEAT, "", "{", "[]", r#"{"type":"news"}"#, r#"{"type":"hello","clientId":"a"}"#] {
        world.say(text);
        assert!(!world.is_sending(0), "{text}");
    }
    let checkpoint = world.tabs[0].engine.state().checkpoint.clone();
    world.say(r#"{"type":"poke","checkpoint":"c9","serverChanges":[]}"#);
    assert_eq!(world.tabs[0].engine.state().checkpoint, checkpoint);
    world.answer_nothing();
    assert!(!world.is_sending(0));
}

/// NET-15, NET-19: at whatever moment of a sync the server rings, a request leaves after it.
#[test]
fn a_ring_during_a_sync_leads_to_one_more_pull() {
    for moment in 0..5 {
        let mut world = ready();
        world.write(0, create("story", json!({ "id": "a" }))).unwrap();
        world.now += Duration::from_secs(1);
        let mut rung_at = 0;
        let mut ring = |world: &mut World, now| {
            if moment == now {
                let socket = socket(world);
                rung_at = world.tabs[0].requests;
                world.give(0, Input::SocketSaid { socket, text: POKE.to_owned() });
            }
        };
        world.give(0, Input::Wake);
        // The row that freezes the batch is being written.
        ring(&mut world, 0);
        world.settle();
        ring(&mut world, 1);
        let sent = world.tabs[0].sends.remove(0);
        assert_eq!(sent.sequences(), [1]);
        let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c2" });
        world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
        // The row of the answer is being written.
        ring(&mut world, 2);
        world.serve_store(0);
        ring(&mut world, 3);
        world.settle();
        ring(&mut world, 4);
        while world.is_sending(0) {
            world.answer_nothing();
        }
        assert!(world.tabs[0].requests > rung_at, "moment {moment}");
        assert!(world.tabs[0].requests <= rung_at + 1, "moment {moment}");
    }
}

#[test]
fn rings_that_come_together_are_one_pull() {
    let mut world = ready();
    let before = world.tabs[0].requests;
    for _ in 0..100 {
        world.say(POKE);
    }
    world.answer_nothing();
    assert!(world.is_sending(0), "the last rings came after the request had left");
    world.answer_nothing();
    assert!(!world.is_sending(0));
    assert_eq!(world.tabs[0].requests, before + 2);
}

/// NET-19: the ring came, the pull it led to was lost.
#[test]
fn a_ring_outlives_a_lost_request() {
    let mut world = ready();
    world.say(POKE);
    world.lose_request(0);
    assert!(!world.is_sending(0));
    world.advance(Duration::from_secs(2));
    assert!(world.is_sending(0));
}

#[test]
fn a_ring_does_not_shorten_the_wait_after_a_failure_but_a_new_connection_does() {
    let mut world = ready();
    world.say(POKE);
    world.answer_with(0, status(500));
    world.say(POKE);
    assert!(!world.is_sending(0), "a server that fails and rings would be asked without a pause");
    let socket = socket(&world);
    world.give(0, Input::SocketClosed { socket });
    world.advance(Duration::from_secs(1));
    while world.is_sending(0) {
        world.answer_with(0, status(500));
    }
    world.say(READY);
    assert!(world.is_sending(0));
}

/// NET-12: the other end is gone, and nobody says so.
#[test]
fn a_silent_socket_is_given_up() {
    for is_ready in [false, true] {
        let mut world = if is_ready { ready() } else { World::leading(config()) };
        let first = socket(&world);
        world.advance(Duration::from_secs(44));
        assert_eq!(socket(&world), first);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.tabs[0].socket, None);
        assert!(!world.is_realtime());
        world.advance(Duration::from_secs(1));
        assert_ne!(socket(&world), first);
        // What comes from the old one is nobody's.
        for input in [
            Input::SocketOpened { socket: first },
            Input::SocketSaid { socket: first, text: READY.to_owned() },
            Input::SocketClosed { socket: first },
        ] {
            world.give(0, input);
        }
        assert!(!world.is_sending(0) && !world.is_realtime() && world.tabs[0].socket.is_some());
    }
}

#[test]
fn whatever_is_heard_keeps_a_socket() {
    for text in [BEAT, POKE, "?", r#"{"type":"news"}"#] {
        let mut world = ready();
        let first = socket(&world);
        for _ in 0..10 {
            world.advance(Duration::from_secs(44));
            world.say(text);
        }
        assert_eq!(socket(&world), first, "{text}");
    }
}

#[test]
fn attempts_come_further_apart_up_to_a_minute() {
    let mut world = World::leading(config());
    let mut longest = Duration::ZERO;
    for attempt in 1..100 {
        let lost = socket(&world);
        let from = world.now;
        world.give(0, Input::SocketClosed { socket: lost });
        assert_eq!(world.tabs[0].socket, None, "at once would be a hot loop");
        while world.tabs[0].socket.is_none() {
            let wake = world.tabs[0].wake_at.expect("nobody would try again");
            world.advance(wake - world.now);
        }
        let wait = world.now - from;
        assert!(wait >= Duration::from_millis(250) && wait <= Duration::from_secs(60), "{attempt}: {wait:?}");
        if attempt < 3 {
            assert!(wait <= Duration::from_secs(2), "{attempt}: {wait:?}");
        }
        longest = longest.max(wait);
        // Greeted and closed again: that is no success.
        world.say(READY);
        world.answer_nothing();
    }
    assert!(longest > Duration::from_secs(30));
    // One that held is.
    world.advance_beating(15);
    let lost = socket(&world);
    world.give(0, Input::SocketClosed { socket: lost });
    world.advance(Duration::from_secs(1));
    assert_ne!(socket(&world), lost);
}

#[test]
fn a_nudge_connects_at_once() {
    for nudge in [|| Input::Nudge, || Input::Visible(true)] {
        let mut world = World::leading(config());
        for _ in 0..20 {
            let socket = socket(&world);
            world.give(0, Input::SocketClosed { socket });
            world.give(0, nudge());
            assert!(world.tabs[0].socket.is_some());
        }
        // One that is there is left alone.
        let before = socket(&world);
        world.give(0, nudge());
        assert_eq!(socket(&world), before);
    }
}

#[test]
fn a_hidden_page_keeps_its_socket_for_a_minute_only() {
    let mut world = ready();
    world.give(0, Input::Visible(false));
    world.advance_beating(59);
    assert!(world.tabs[0].socket.is_some());
    world.advance_beating(1);
    assert_eq!(world.tabs[0].socket, None);
    world.give(0, Input::Nudge);
    world.settle();
    world.answer_nothing();
    world.advance(Duration::from_secs(3600));
    assert_eq!(world.tabs[0].socket, None);
    world.give(0, Input::Visible(true));
    world.settle();
    assert!(world.tabs[0].socket.is_some());
    world.answer_nothing();
    world.say(READY);
    world.answer_nothing();
    world.advance_beating(600);
    assert!(world.is_realtime());
}

#[test]
fn a_short_look_elsewhere_changes_nothing() {
    let mut world = ready();
    let first = socket(&world);
    for _ in 0..10 {
        world.give(0, Input::Visible(false));
        // Told twice, as pages do.
        world.advance_beating(30);
        world.give(0, Input::Visible(false));
        world.advance_beating(20);
        world.give(0, Input::Visible(true));
        world.settle();
        world.answer_nothing();
        assert_eq!(socket(&world), first);
    }
}

#[test]
fn a_socket_that_a_hidden_page_loses_is_not_replaced_for_long() {
    let mut world = ready();
    world.give(0, Input::Visible(false));
    world.advance(Duration::from_secs(3600));
    assert_eq!(world.tabs[0].socket, None);
    assert_eq!(world.tabs[0].wake_at, None);
}

/// The tab that syncs may be hidden while the person looks at another.
#[test]
fn a_tab_that_is_looked_at_keeps_the_socket_of_a_hidden_one() {
    let mut world = ready();
    let other = world.open_tab();
    world.give(0, Input::Visible(false));
    for _ in 0..20 {
        world.advance_beating(30);
        assert!(world.tabs[0].socket.is_some());
    }
    world.give(other, Input::Visible(false));
    world.advance_beating(61);
    assert_eq!(world.tabs[0].socket, None);
    world.give(other, Input::Visible(true));
    world.settle();
    assert!(world.tabs[0].socket.is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Opened,
    Said(&'static str),
    Closed,
    Old,
    Pass(u64),
    Nudge,
    Visible(bool),
    Leader(bool),
    Store,
    Answer,
    Lose,
    Fail,
    Write,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Opened),
        5 => prop_oneof![Just(POKE), Just(READY), Just(BEAT), Just("?")].prop_map(Step::Said),
        2 => Just(Step::Closed),
        1 => Just(Step::Old),
        3 => prop_oneof![0..2000_u64, 0..70_000_u64].prop_map(Step::Pass),
        1 => Just(Step::Nudge),
        1 => any::<bool>().prop_map(Step::Visible),
        1 => any::<bool>().prop_map(Step::Leader),
        8 => Just(Step::Store),
        4 => Just(Step::Answer),
        1 => Just(Step::Lose),
        1 => Just(Step::Fail),
        2 => Just(Step::Write),
    ];
    prop::collection::vec(step, 0..80)
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Opened => {
                if let Some(socket) = self.tabs[0].socket {
                    self.give(0, Input::SocketOpened { socket });
                }
            }
            Step::Said(text) => {
                if let Some(socket) = self.tabs[0].socket {
                    self.give(0, Input::SocketSaid { socket, text: (*text).to_owned() });
                }
            }
            Step::Closed => {
                if let Some(socket) = self.tabs[0].socket {
                    self.give(0, Input::SocketClosed { socket });
                    assert_ne!(self.tabs[0].socket, Some(socket));
                }
            }
            Step::Old => {
                let socket = self.tabs[0].last_socket.saturating_sub(1);
                self.give(0, Input::SocketClosed { socket });
                self.give(0, Input::SocketSaid { socket, text: READY.to_owned() });
            }
            Step::Pass(millis) => {
                self.now += Duration::from_millis(*millis);
                self.give(0, Input::Wake);
            }
            Step::Nudge => self.give(0, Input::Nudge),
            Step::Visible(is_visible) => self.give(0, Input::Visible(*is_visible)),
            Step::Leader(is_leader) => {
                if !is_leader {
                    self.tabs[0].sends.clear();
                }
                self.give(0, Input::Leader(*is_leader));
            }
            Step::Store => {
                if self.tabs[0].store.is_some() {
                    self.serve_store(0);
                }
            }
            Step::Answer => {
                if self.is_sending(0) {
                    let sent = self.tabs[0].sends.remove(0);
                    let results: Vec<_> = (1..).take(sent.mutations().len()).map(applied).collect();
                    let body = json!({ "results": results, "serverChanges": [], "checkpoint": "c1" });
                    let answer = ok(body.to_string().into_bytes());
                    self.give(0, Input::Answered { send: sent.send, answer });
                }
            }
            Step::Lose => {
                if self.is_sending(0) {
                    let sent = self.tabs[0].sends.remove(0);
                    let error = Error::Network("the connection broke".to_owned());
                    self.give(0, Input::SendFailed { send: sent.send, error });
                }
            }
            Step::Fail => {
                if self.is_sending(0) {
                    let sent = self.tabs[0].sends.remove(0);
                    self.give(0, Input::Answered { send: sent.send, answer: status(500) });
                }
            }
            Step::Write => drop(self.start_write(0, create("story", json!({})))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Goal: a ring is never lost, and nothing goes round in a circle. At each step the double of the browser checks that there
    /// is one socket at most. Then the faults stop, and a request must have left after the last ring.
    #[test]
    fn whatever_happens_a_ring_leads_to_a_pull(steps in steps()) {
        let mut world = World::leading(config());
        let mut rung_at = None;
        for step in &steps {
            let rings = matches!(step, Step::Said(POKE | READY)) && world.tabs[0].socket.is_some();
            let before = world.tabs[0].requests;
            world.step(step);
            if rings {
                // One that left in this very step left after the ring.
                rung_at = Some(before);
            }
            prop_assert!(!world.is_realtime() || world.tabs[0].socket.is_some());
        }
        world.step(&Step::Leader(true));
        world.settle();
        for _ in 0..100 {
            world.step(&Step::Answer);
            world.settle();
            world.advance(Duration::from_millis(1000));
        }
        prop_assert!(rung_at.is_none_or(|rung_at| world.tabs[0].requests > rung_at));
        prop_assert!(world.pending(0).is_empty());
        world.step(&Step::Visible(true));
        world.settle();
        prop_assert!(world.tabs[0].socket.is_some());
        world.say(READY);
        prop_assert!(world.is_realtime());
    }
}
