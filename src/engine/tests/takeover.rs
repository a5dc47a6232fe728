//! A leader that does not answer any more.

use super::*;

fn two_tabs() -> World {
    let mut world = World::leading(automatic());
    world.open_tab();
    world
}

#[test]
fn a_leader_that_answers_is_left_alone() {
    let mut world = two_tabs();
    for _ in 0..20 {
        world.advance(Duration::from_secs(10));
        if world.is_sending(0) {
            world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c0" }));
        }
    }
    assert_eq!(world.tabs[1].steals, 0);
}

/// Goal: a frozen leader is replaced within 30 seconds; what it has in hand when it wakes is worth nothing.
#[test]
fn a_frozen_leader_is_replaced_and_fenced() {
    let mut world = two_tabs();
    world.write(0, create("story", json!({ "id": "a", "title": "t" }))).unwrap();
    world.start_sync(0);
    let old = world.sent(0);
    // It is frozen: it hears and does nothing.
    let mut frozen = std::mem::replace(&mut world.tabs[0].is_alive, false);
    world.advance(Duration::from_secs(30));
    assert_eq!(world.tabs[1].steals, 1, "within 30 seconds, and once");
    world.give(1, Input::Leader(true));
    world.settle();
    world.answer_probe(1);
    assert_eq!(world.sent(1).ids(), old.ids());
    world.apply_all(1, 1, json!([]), "c1");
    assert_eq!(world.pending(1).len(), 0);
    let rows = world.disk.len();

    std::mem::swap(&mut world.tabs[0].is_alive, &mut frozen);
    let stale = json!({ "results": [rejected("stale")], "serverChanges": [], "checkpoint": "old" });
    world.answer(0, stale);
    world.give(0, Input::Leader(false));
    world.settle();
    assert_eq!(world.rejected(0).len(), 0);
    assert_eq!(world.disk.len(), rows);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}

/// Goal: a tab that was frozen itself does not rob the leader for its own silence.
#[test]
fn a_follower_that_was_frozen_asks_first() {
    let mut world = two_tabs();
    world.advance(Duration::from_secs(9));
    // Only the follower sleeps: nothing reaches it for an hour.
    world.now += Duration::from_secs(3600);
    world.give(1, Input::Wake);
    world.settle();
    world.give(1, Input::Wake);
    world.settle();
    assert_eq!(world.tabs[1].steals, 0);
}

/// Goal: a tab without the key by which all is sealed by now can sync nothing, and does not keep the lock from those who have it.
#[test]
fn a_leader_without_the_key_is_replaced() {
    let mut world = two_tabs();
    world.advance(Duration::from_secs(9));
    let rows = Announcement::look();
    world.give(0, Input::Announced(rows));
    while let Some(StoreCall::Read { read, .. }) = world.tabs[0].store.take() {
        world.give(0, Input::ReadFailed { read, error: Error::WrongKey });
    }
    assert_eq!(world.tabs[0].engine.status().error.map(|error| error.code), Some("WRONG_KEY"));
    world.advance(Duration::from_secs(30));
    assert_eq!(world.tabs[1].steals, 1);
}
