//! When a request leaves.

use super::*;
use crate::engine::SyncState;

fn story(id: &str) -> Command {
    create("story", json!({ "id": id }))
}

/// A leading tab that has been idle for a while.
fn idle() -> World {
    let mut world = World::leading(automatic());
    world.advance(Duration::from_secs(5));
    assert!(!world.is_sending(0));
    world
}

#[test]
fn a_write_waits_for_a_pause() {
    let mut world = idle();
    world.write(0, story("a")).unwrap();
    assert_eq!(world.tabs[0].engine.status().state, SyncState::Waiting);
    for n in 0..3 {
        world.advance(Duration::from_millis(900));
        assert!(!world.is_sending(0));
        world.write(0, update("story", "a", json!({ "n": n }))).unwrap();
    }
    world.advance(Duration::from_millis(999));
    assert!(!world.is_sending(0));
    world.advance(Duration::from_millis(1));
    assert_eq!(world.sent(0).sequences(), [1, 2, 3, 4]);
}

#[test]
fn steady_typing_is_sent_in_time() {
    let mut world = idle();
    let begin = world.now;
    world.write(0, story("a")).unwrap();
    for n in 0.. {
        world.advance(Duration::from_millis(200));
        if world.is_sending(0) {
            break;
        }
        assert!(n < 1000, "typed for ever");
        world.write(0, update("story", "a", json!({ "n": n }))).unwrap();
    }
    assert!(world.now - begin <= Duration::from_millis(10_200));
    assert!(world.now - begin >= Duration::from_secs(9));
}

/// SEM-27: the parent's object waits longer than the child's.
#[test]
fn a_child_does_not_overtake_its_parent() {
    let mut world = idle();
    world.write(0, create("task", json!({ "id": "parent" }))).unwrap();
    world.write(0, story("child")).unwrap();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.sent(0).sequences(), [1, 2]);
    world.apply_all(0, 1, json!([]), "c1");
    world.advance(Duration::from_secs(30));
    assert!(!world.is_sending(0), "nothing is left that waits");
}

#[test]
fn each_object_has_its_own_debounce() {
    let mut world = idle();
    world.write(0, create("task", json!({}))).unwrap();
    world.advance(Duration::from_millis(4999));
    assert!(!world.is_sending(0));
    world.advance(Duration::from_millis(1));
    assert!(world.is_sending(0));
}

/// NET-15: an edit at any moment of a push goes out without a further edit.
#[test]
fn an_edit_during_a_push_goes_out_by_itself() {
    for moment in 0..4 {
        let mut world = idle();
        world.write(0, story("a")).unwrap();
        world.now += Duration::from_secs(1);
        let edit = |world: &mut World, now| {
            if moment == now {
                world.start_write(0, update("story", "a", json!({ "title": "late" })));
            }
        };
        world.give(0, Input::Wake);
        edit(&mut world, 0);
        world.settle();
        edit(&mut world, 1);
        world.settle();
        let sent = world.tabs[0].sends.remove(0);
        let count = sent.mutations().len();
        let results: Vec<_> = (1..).take(count).map(applied).collect();
        let body = json!({ "results": results, "serverChanges": [], "checkpoint": "c1" });
        world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
        edit(&mut world, 2);
        world.settle();
        edit(&mut world, 3);
        world.settle();
        for _ in 0..3 {
            world.advance(Duration::from_secs(2));
            if world.is_sending(0) {
                world.apply_all(0, 10, json!([]), "c2");
            }
        }
        assert_eq!(world.pending(0).len(), 0, "moment {moment}");
        assert_eq!(world.tabs[0].engine.status().state, SyncState::Idle);
    }
}

/// Goal: a write that went along with a batch does not make a request of its own later.
#[test]
fn what_has_gone_along_does_not_wait_any_more() {
    let mut world = idle();
    world.write(0, story("a")).unwrap();
    world.now += Duration::from_secs(1);
    world.start_write(0, story("b"));
    world.give(0, Input::Wake);
    world.settle();
    assert_eq!(world.sent(0).sequences(), [1, 2]);
    world.apply_all(0, 1, json!([]), "c1");
    world.advance(Duration::from_secs(30));
    assert!(!world.is_sending(0));
}

#[test]
fn an_edit_during_a_failure_goes_out_by_itself() {
    let mut world = idle();
    world.write(0, story("a")).unwrap();
    world.advance(Duration::from_secs(1));
    world.lose_request(0);
    world.write(0, story("b")).unwrap();
    world.advance(Duration::from_secs(61));
    world.apply_all(0, 1, json!([]), "c1");
    if !world.is_sending(0) {
        world.advance(Duration::from_secs(2));
    }
    assert_eq!(world.sent(0).sequences(), [2]);
}

#[test]
fn what_an_earlier_session_left_goes_without_a_new_write() {
    for is_leader_first in [false, true] {
        for is_frozen in [false, true] {
            let mut world = World::leading(automatic());
            for n in 0..70 {
                world.start_write(0, story(&format!("s{n}")));
            }
            world.settle();
            if is_frozen {
                world.start_sync(0);
            }
            world.crash(0);
            let (tab, _) = world.start_tab();
            if is_leader_first {
                world.give(tab, Input::Leader(true));
            }
            world.settle();
            if !is_leader_first {
                world.give(tab, Input::Leader(true));
                world.settle();
            }
            if is_frozen {
                world.answer_probe(tab);
            }
            assert_eq!(world.sent(tab).sequences().len(), 50);
            world.apply_all(tab, 1, json!([]), "c1");
            assert_eq!(
                world.sent(tab).sequences().len(),
                20,
                "leader first {is_leader_first}, frozen {is_frozen}"
            );
            world.apply_all(tab, 51, json!([]), "c2");
            assert_eq!(world.pending(tab).len(), 0);
        }
    }
}

#[test]
fn a_follower_that_becomes_the_leader_goes_on() {
    let mut world = idle();
    let tab = world.open_tab();
    world.write(tab, story("a")).unwrap();
    world.crash(0);
    world.advance(Duration::from_secs(1));
    world.give(tab, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(tab).sequences(), [1]);
}

#[test]
fn a_followers_write_is_pushed_by_the_leader() {
    let mut world = idle();
    let tab = world.open_tab();
    world.write(tab, story("a")).unwrap();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.sent(0).sequences(), [1]);
    assert!(!world.is_sending(tab));
    world.apply_all(0, 1, json!([]), "c1");
    assert_eq!(world.pending(tab).len(), 0);
}

#[test]
fn a_followers_write_nobody_announced_is_pushed_with_the_next_poll() {
    let mut world = idle();
    let tab = world.open_tab();
    world.start_write(tab, story("a"));
    while world.tabs[tab].store.is_some() {
        world.serve_store(tab);
    }
    world.tabs[0].inbox.clear();
    for _ in 0..70 {
        world.advance(Duration::from_secs(1));
        if world.is_sending(0) {
            let version = 10 + world.disk.len() as u64;
            world.apply_all(0, version, json!([]), &format!("c{version}"));
        }
    }
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.pending(tab).len(), 0);
}

#[test]
fn a_sync_is_answered_when_all_written_before_it_is_there() {
    let mut world = World::leading(by_hand());
    world.write(0, story("a")).unwrap();
    let first = world.start_sync(0);
    world.write(0, story("b")).unwrap();
    let second = world.start_sync(0);
    world.write(0, story("c")).unwrap();
    world.apply_all(0, 1, json!([]), "c1");
    assert!(!world.is_answered(0, second));
    assert_eq!(world.sent(0).sequences(), [2, 3]);
    world.apply_all(0, 2, json!([]), "c2");
    assert_eq!(world.report(0, first).applied, 3);
    assert_eq!(world.report(0, second).applied, 3);
    assert!(!world.is_sending(0));
}

/// Goal: what is on the server when `sync()` is called is here when it is answered: a request under way may have been answered
/// before.
#[test]
fn a_sync_during_a_request_waits_for_the_next() {
    let mut world = World::leading(by_hand());
    let first = world.start_sync(0);
    let second = world.start_sync(0);
    world.apply_all(0, 1, json!([]), "c1");
    assert!(world.is_answered(0, first));
    assert!(!world.is_answered(0, second));
    assert!(world.is_sending(0));
    world.apply_all(0, 1, json!([]), "c2");
    assert_eq!(world.report(0, second).requests, 1);
    assert!(!world.is_sending(0));
}

#[test]
fn a_sync_in_the_same_turn_as_a_write_includes_it() {
    let mut world = World::leading(by_hand());
    world.start_write(0, story("a"));
    world.start_write(0, story("b"));
    let call = world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [1, 2]);
    world.apply_all(0, 1, json!([]), "c1");
    assert_eq!(world.report(0, call).applied, 2);
}

#[test]
fn a_sync_without_sync_is_refused() {
    let mut world = World::new(local());
    let call = world.start_sync(0);
    assert_eq!(world.reply(0, call).unwrap_err().code(), "SYNC_OFF");
    world.give(0, Input::Leader(true));
    world.write(0, story("a")).unwrap();
    world.advance(Duration::from_secs(1000));
    assert!(!world.is_sending(0));
    assert_eq!(world.tabs[0].engine.status().state, SyncState::Local);
}

#[test]
fn by_hand_nothing_goes_unasked() {
    let mut world = World::leading(by_hand());
    world.write(0, story("a")).unwrap();
    world.give(0, Input::Nudge);
    world.advance(Duration::from_secs(10_000));
    assert!(!world.is_sending(0));
    let call = world.start_sync(0);
    world.lose_request(0);
    assert_eq!(world.reply(0, call).unwrap_err().code(), "NETWORK");
    world.advance(Duration::from_secs(10_000));
    assert!(!world.is_sending(0));
    world.start_sync(0);
    assert!(world.is_sending(0));
}

#[test]
fn it_pulls_now_and_then() {
    let mut world = idle();
    world.advance(Duration::from_secs(54));
    assert!(!world.is_sending(0));
    world.advance(Duration::from_secs(2));
    assert!(world.is_sending(0));
}

#[test]
fn the_longest_poll_interval_does_no_harm() {
    let settings =
        SyncSettings { is_automatic: true, poll_interval: Some(Duration::MAX), is_realtime: false };
    let mut world = World::leading(Config::new(objects(), Some(settings)).unwrap());
    world.advance(Duration::from_secs(1_000_000));
    assert!(!world.is_sending(0));
}

#[test]
fn a_nudge_tries_at_once_but_not_again_and_again() {
    let mut world = idle();
    world.give(0, Input::Nudge);
    world.settle();
    world.lose_request(0);
    world.give(0, Input::Nudge);
    world.settle();
    assert!(world.is_sending(0), "the network is back");
    world.apply_all(0, 1, json!([]), "c1");
    for _ in 0..20 {
        world.give(0, Input::Nudge);
        world.settle();
        assert!(!world.is_sending(0));
    }
}

/// Goal: an edit that waits behind a conflict does not make one pull follow the other.
#[test]
fn an_edit_that_cannot_go_makes_no_storm() {
    let mut world = World::leading(automatic());
    world.write(0, create("story", json!({ "id": "a", "title": "mine" }))).unwrap();
    world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "theirs" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(4))]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c4" }));
    world.write(0, update("story", "a", json!({ "title": "more" }))).unwrap();
    let before = world.tabs[0].requests;
    for _ in 0..100 {
        world.advance(Duration::from_millis(300));
        while world.is_sending(0) {
            assert!(world.tabs[0].requests - before < 5, "a storm");
            world.apply_all(0, 5, json!([]), "c5");
        }
    }
}
