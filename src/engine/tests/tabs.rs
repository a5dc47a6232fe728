//! Several tabs on one log.

use super::*;
use crate::engine::{Origin, TabId};

fn two_tabs() -> World {
    let mut world = World::leading(automatic());
    world.open_tab();
    world.settle();
    world
}

fn origins(world: &World, tab: usize) -> Vec<Origin> {
    let notices = world.tabs[tab].notices.iter();
    notices
        .filter_map(|notice| match notice {
            Notice::Change(report) => Some(report.origin),
            _ => None,
        })
        .collect()
}

#[test]
fn every_tab_sees_every_write() {
    let mut world = two_tabs();
    world.write(1, create("story", json!({ "id": "a" }))).unwrap();
    world.write(0, create("story", json!({ "id": "b" }))).unwrap();
    assert_eq!(world.find(0, "story"), world.find(1, "story"));
    assert_eq!(origins(&world, 0), [Origin::Tab, Origin::Local]);
    assert_eq!(origins(&world, 1), [Origin::Local, Origin::Tab]);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}

/// Goal: a write whose commit was unknown is told as ours when the log shows it.
#[test]
fn a_change_of_an_unknown_commit_is_a_local_one() {
    let mut world = two_tabs();
    world.start_write(0, create("story", json!({ "id": "a" })));
    world.lose_append(0, true);
    world.settle();
    assert_eq!(origins(&world, 0), [Origin::Local]);
}

#[test]
fn a_follower_syncs_through_the_leader() {
    let mut world = two_tabs();
    world.start_write(1, create("story", json!({ "id": "a" })));
    let call = world.start_sync(1);
    assert!(!world.is_sending(1));
    assert_eq!(world.sent(0).sequences(), [1], "what the follower wrote before its call goes along");
    assert!(!world.is_answered(1, call));
    world.apply_all(0, 1, json!([]), "c1");
    assert_eq!(world.report(1, call).applied, 1);
    assert_eq!(world.pending(1).len(), 0);
}

#[test]
fn a_follower_hears_of_the_leaders_failure() {
    let mut world = two_tabs();
    let call = world.start_sync(1);
    world.lose_request(0);
    assert_eq!(world.reply(1, call).unwrap_err().code(), "NETWORK");
    // The leader's storage fails: the call does not wait for its timeout.
    world.write(1, create("story", json!({}))).unwrap();
    let request = world.request();
    world.tabs[1].waiting.insert(request);
    world.give(1, Input::Sync { request: RequestId(request) });
    let announcement = world.tabs[0].inbox.pop_back().unwrap();
    world.tabs[0].inbox.clear();
    world.give(0, Input::Announced(announcement));
    for _ in 0..10 {
        if world.tabs[0].store.is_some() {
            world.fail_read(0);
        }
    }
    world.settle();
    assert_eq!(world.reply(1, request).unwrap_err().code(), "STORAGE_FAILED");
}

#[test]
fn a_follower_without_a_leader_gives_up_after_a_while() {
    let mut world = two_tabs();
    world.crash(0);
    let call = world.start_sync(1);
    world.advance(Duration::from_secs(59));
    assert!(!world.is_answered(1, call));
    world.advance(Duration::from_secs(2));
    assert_eq!(world.reply(1, call).unwrap_err().code(), "NETWORK");
    // The answer comes after all.
    let announcement =
        Announcement::Synced { tab: super::super::TabId(0), ask: 1, result: Ok(SyncReport::default()) };
    world.give(1, Input::Announced(announcement));
}

#[test]
fn a_follower_that_wins_the_lock_answers_its_own_calls() {
    let mut world = two_tabs();
    world.crash(0);
    let call = world.start_sync(1);
    world.give(1, Input::Leader(true));
    world.settle();
    world.apply_all(1, 1, json!([]), "c1");
    assert_eq!(world.report(1, call).requests, 1);
}

#[test]
fn losing_the_lock_answers_those_who_wait() {
    let mut world = two_tabs();
    let call = world.start_sync(0);
    let other = world.start_sync(1);
    world.give(0, Input::Leader(false));
    world.settle();
    assert!(world.reply(0, call).is_err());
    assert!(world.reply(1, other).is_err());
    // The request that was under way ends without an effect.
    let rows = world.disk.len();
    world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "x" }));
    assert_eq!(world.disk.len(), rows);
}

/// Goal: a report counts the cycle it answers, not one that was given up before.
#[test]
fn a_report_does_not_count_an_earlier_term() {
    let mut world = two_tabs();
    world.start_sync(0);
    let page = json!({ "results": [], "serverChanges": [change("create", "a", json!({}), 1)], "checkpoint": "c1", "hasMore": true });
    world.answer(0, page);
    world.give(0, Input::Leader(false));
    world.settle();
    world.tabs[0].sends.clear();
    world.give(0, Input::Leader(true));
    let call = world.start_sync(0);
    while world.is_sending(0) {
        world.apply_all(0, 1, json!([]), "c2");
    }
    let report = world.report(0, call);
    assert_eq!(report.pulled, 0);
}

/// Goal: an answer is used only if nobody else synced since the request was sent.
#[test]
fn an_answer_from_before_another_leaders_freeze_is_ignored() {
    let mut world = two_tabs();
    world.start_sync(0);
    let old = world.tabs[0].sends.remove(0);
    assert_eq!(old.mutations().len(), 0);
    world.write(1, create("story", json!({ "id": "a" }))).unwrap();
    world.give(1, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(1).sequences(), [1]);
    let changes = json!([change("create", "z", json!({}), 1)]);
    let body = json!({ "results": [], "serverChanges": changes, "checkpoint": "old" });
    world.give(0, Input::Answered { send: old.send, answer: ok(body.to_string().into_bytes()) });
    world.settle();
    assert_eq!(world.get(0, "story", "z"), None);
    world.apply_all(1, 1, json!([]), "c1");
    assert_eq!(world.pending(1).len(), 0, "the answer of the one that leads counts");
}

/// Goal: one request at a time, though the lock is lost and won while an answer is being written.
#[test]
fn a_lock_won_back_does_not_send_twice() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    world.start_sync(0);
    let sent = world.tabs[0].sends.remove(0);
    let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c1" });
    world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
    world.give(0, Input::Leader(false));
    world.give(0, Input::Leader(true));
    world.serve_store(0);
    let call = world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), Vec::<u64>::new(), "what was answered is not sent again");
    world.apply_all(0, 1, json!([]), "c2");
    assert_eq!(world.report(0, call).requests, 1);
}

/// Goal: the same with the freeze being written.
#[test]
fn a_lock_won_back_during_a_freeze_sends_once() {
    let mut world = World::leading(automatic());
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    world.now += Duration::from_secs(1);
    world.give(0, Input::Wake);
    assert!(world.tabs[0].store.is_some());
    world.give(0, Input::Leader(false));
    world.give(0, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(0).sequences(), [1]);
    world.apply_all(0, 1, json!([]), "c1");
    assert!(!world.is_sending(0));
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn two_leaders_do_no_harm() {
    let mut world = two_tabs();
    world.write(1, create("story", json!({ "id": "a" }))).unwrap();
    world.give(1, Input::Leader(true));
    world.settle();
    world.advance(Duration::from_secs(2));
    let mut version = 0;
    let mut verdicts = BTreeMap::new();
    for round in 0..20 {
        for tab in [round % 2, 1 - round % 2] {
            if world.is_sending(tab) {
                let ids = world.sent(tab).ids();
                let results: Vec<_> = ids
                    .iter()
                    .map(|id| {
                        applied(*verdicts.entry(id.clone()).or_insert_with(|| {
                            version += 1;
                            version
                        }))
                    })
                    .collect();
                let checkpoint = format!("c{version}");
                let body = json!({ "results": results, "serverChanges": [], "checkpoint": checkpoint });
                world.answer(tab, body);
            }
        }
    }
    assert_eq!(version, 1, "one mutation, one effect");
    for tab in 0..2 {
        assert_eq!(world.pending(tab).len(), 0);
        assert!(!world.is_sending(tab));
        world.check(tab);
    }
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}

#[test]
fn a_new_leader_with_an_old_view_does_not_send_what_is_settled() {
    let mut world = two_tabs();
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    world.start_sync(0);
    // Tab 1 knows of the frozen batch, and not of its verdict.
    let sent = world.tabs[0].sends.remove(0);
    let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c1" });
    world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
    world.serve_store(0);
    world.tabs[1].inbox.clear();
    world.crash(0);
    world.give(1, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(1).sequences(), Vec::<u64>::new());
    assert_eq!(world.sent(1).checkpoint().as_deref(), Some("c1"));
}

/// The announcements that wait for a tab, taken out.
fn announced(world: &mut World, tab: usize) -> Vec<Announcement> {
    std::mem::take(&mut world.tabs[tab].inbox).into()
}

/// Goal: a tab that is told of a row reads nothing, which would hold up the next write of the other one.
#[test]
fn what_another_tab_appended_is_folded_without_reading_it() {
    let mut world = two_tabs();
    for n in 0..5 {
        world.start_write(0, create("story", json!({ "id": format!("s{n}") })));
        world.serve_store(0);
        for announcement in announced(&mut world, 1) {
            world.give(1, Input::Announced(announcement));
            assert_eq!(world.tabs[1].store, None);
        }
    }
    assert_eq!(world.find(1, "story").len(), 5);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
    // A row that is large is read.
    let text = "x".repeat(70_000);
    world.start_write(0, create("story", json!({ "id": "large", "text": text })));
    world.serve_store(0);
    for announcement in announced(&mut world, 1) {
        world.give(1, Input::Announced(announcement));
    }
    assert!(matches!(world.tabs[1].store, Some(StoreCall::Read { .. })));
    world.settle();
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}

/// Goal: whatever becomes of what tabs tell each other, the store is the truth.
#[test]
fn rows_that_are_heard_late_twice_in_another_order_or_damaged_change_nothing_wrong() {
    let mut world = two_tabs();
    for n in 0..6 {
        world.start_write(0, create("story", json!({ "id": format!("s{n}") })));
        world.serve_store(0);
    }
    let mut all = announced(&mut world, 1);
    assert_eq!(all.len(), 6);
    all.reverse();
    all.push(all[2].clone());
    let Announcement::Rows { bytes, .. } = &mut all[3] else { panic!("{all:?}") };
    *bytes.last_mut().unwrap() ^= 1;
    // The first is lost.
    for announcement in all.into_iter().take(5) {
        world.give(1, Input::Announced(announcement));
    }
    world.settle();
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
    assert!(world.tabs[1].notices.iter().all(|notice| !matches!(notice, Notice::DataLost(_))));
    // Rows that do not exist: they are not the next ones, and the store has no such.
    world.give(1, Input::Announced(Announcement::Rows { key: 999, after: None, bytes: vec![1] }));
    world.settle();
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
    assert!(world.write(1, create("story", json!({ "id": "last" }))).is_ok());
    assert_eq!(world.find(0, "story").len(), 7);
}

/// Goal: a tab that was behind, and heard of the row since, decides on it.
#[test]
fn a_row_that_is_heard_while_one_is_appended_is_folded_first() {
    let mut world = two_tabs();
    let call = world.start_write(1, create("story", json!({ "id": "a", "from": 1 })));
    world.write(0, create("story", json!({ "id": "a", "from": 0 }))).unwrap();
    world.settle();
    assert_eq!(world.reply(1, call).unwrap_err().code(), "ALREADY_EXISTS");
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}

/// Goal: a row of another database that has taken the place of this one, under the next key, is not taken for the continuation.
#[test]
fn a_row_that_does_not_follow_the_last_one_is_not_folded() {
    let mut world = two_tabs();
    world.start_write(0, create("story", json!({ "id": "a" })));
    world.serve_store(0);
    for announcement in announced(&mut world, 1) {
        let Announcement::Rows { key, bytes, .. } = announcement else { continue };
        let after = Some((TabId(7), 7));
        world.give(1, Input::Announced(Announcement::Rows { key, after, bytes }));
    }
    assert!(matches!(world.tabs[1].store, Some(StoreCall::Read { .. })), "the store is asked");
    assert_eq!(world.find(1, "story"), [] as [Value; 0]);
    world.settle();
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
}
