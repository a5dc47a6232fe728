//! The store is gone, fails for a while, or does not answer.

use super::absent::reopened;
use super::*;

fn story(id: &str) -> Command {
    create("story", json!({ "id": id }))
}

fn ids(world: &World, tab: usize, object: &str) -> Vec<String> {
    world.find(tab, object).iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn losses(world: &World, tab: usize) -> Vec<Value> {
    let losses = world.tabs[tab].notices.iter().filter_map(|notice| match notice {
        Notice::DataLost(json) => Some(serde_json::from_str(json).unwrap()),
        _ => None,
    });
    losses.collect()
}

/// Nothing is left of the database, and the store says so to this tab.
fn clear(world: &mut World, tab: usize) {
    world.disk.clear();
    (world.removed, world.stored) = (0, SegmentsInMemory::default());
    match world.tabs[tab].store.take() {
        Some(StoreCall::Append { append, .. }) => {
            world.give(tab, Input::AppendFailed { append, error: Error::Cleared });
        }
        Some(StoreCall::Read { read, .. } | StoreCall::Begin { read, .. }) => {
            world.give(tab, Input::ReadFailed { read, error: Error::Cleared });
        }
        other => panic!("nothing was asked for: {other:?}"),
    }
}

/// A leading tab with the synced story `there`, and `mine`, which is pending.
fn synced() -> World {
    let mut world = World::leading(automatic());
    world.start_sync(0);
    let there = change("create", "there", json!({ "n": 0 }), 1);
    world.answer(0, json!({ "results": [], "serverChanges": [there], "checkpoint": "c1" }));
    world.write(0, story("mine")).unwrap();
    world
}

#[test]
fn a_new_database_takes_the_place_of_one_that_is_gone() {
    let mut world = synced();
    let live = world.tabs[0].engine.watch_query("story", Query::parse("{}").unwrap()).unwrap();
    world.tabs[0].engine.live_changes(Some(live), false);
    let before = world.tabs[0].engine.status().client_id;
    let call = world.start_write(0, story("late"));
    clear(&mut world, 0);
    assert_eq!(world.reply(0, call).unwrap_err().code(), "DATABASE_LOST");
    let Some(StoreCall::Begin { may_create: true, .. }) = world.tabs[0].store else {
        panic!("not begun anew")
    };
    world.settle();
    assert_eq!(ids(&world, 0, "story"), [] as [&str; 0]);
    let changes = world.tabs[0].engine.live_changes(Some(live), false);
    assert_eq!(changes.iter().map(|(change, _)| change.removed).sum::<usize>(), 2);
    let losses = losses(&world, 0);
    assert_eq!((losses.len(), &losses[0]["reason"]), (1, &json!("cleared")));
    assert_eq!(losses[0]["mutations"].as_array().unwrap().len(), 1);
    assert_eq!(losses[0]["mutations"][0]["recordId"], "mine");
    let status = world.tabs[0].engine.status();
    assert!(status.client_id.is_some() && status.client_id != before, "{status:?}");
    assert_eq!((status.error, status.pending), (None, 0));

    let told = world.tabs[0].notices.iter().filter_map(|notice| match notice {
        Notice::Status(status) => Some(status.client_id.is_some()),
        _ => None,
    });
    assert!(told.into_iter().all(|is_some| is_some), "an app never sees none");

    // It syncs from the beginning, by itself.
    assert_eq!(world.sent(0).checkpoint(), None);
    let there = change("create", "there", json!({ "n": 0 }), 1);
    world.answer(0, json!({ "results": [], "serverChanges": [there], "checkpoint": "c1" }));
    assert_eq!(ids(&world, 0, "story"), ["there"]);
    world.write(0, story("again")).unwrap();
    assert_eq!(world.pending(0)[0]["sequence"], 1);
    world.check(0);
    let later = world.open_tab();
    assert_eq!(world.tabs[later].engine.state(), world.tabs[0].engine.state());
}

#[test]
fn a_rejected_mutation_is_named_when_the_data_are_cleared() {
    let mut world = synced();
    world.start_sync(0);
    world.answer(0, json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c2" }));
    world.start_write(0, story("late"));
    clear(&mut world, 0);
    let losses = losses(&world, 0);
    assert_eq!(losses[0]["mutations"][0]["recordId"], "mine");
    assert_eq!(losses[0]["mutations"][0]["state"], "rejected");
}

/// Goal: whoever waits is answered, whatever was under way.
#[test]
fn what_was_to_be_found_again_is_named_when_the_data_are_cleared_meanwhile() {
    let mut world = synced();
    world.tabs[0].engine.begin_over();
    world.give(0, Input::Nudge);
    let Some(StoreCall::Begin { read, .. }) = world.tabs[0].store.take() else { panic!("not begun anew") };
    let first = world.rows_after(0)[..1].to_vec();
    world.give(0, Input::Begun { read, root: None, rows: first, is_last: false });
    clear(&mut world, 0);
    world.settle();
    assert_eq!(losses(&world, 0)[0]["mutations"][0]["recordId"], "mine");
}

/// Goal: a tab that reads everything again takes no other database for the one that it has read, also where it begins twice because a segment is
/// missing.
#[test]
fn what_is_read_again_is_of_the_same_database() {
    let (mut world, tab) = reopened(automatic(), 300);
    world.load_all(tab);
    world.tabs[tab].engine.begin_over();
    world.give(tab, Input::Nudge);
    for _ in 0..2 {
        assert!(matches!(world.tabs[tab].store, Some(StoreCall::Begin { may_create: false, .. })));
        world.serve_store(tab);
        let Some(StoreCall::ReadSegments { read, segments }) = world.tabs[tab].reading.pop_front() else {
            panic!("no segments are read")
        };
        world.give(tab, Input::Segments { read, segments: vec![None; segments.len()] });
    }
}

#[test]
fn all_that_waits_when_the_database_is_gone_is_answered() {
    let mut world = synced();
    let mutation = mutation_id(&world.pending(0)[0]);
    let watch = world.request();
    world.tabs[0].waiting.insert(watch);
    world.give(0, Input::Watch { request: RequestId(watch), mutation });
    let transaction = world.tabs[0].engine.begin();
    let calls = [world.start_write(0, story("a")), world.start_write(0, story("b"))];
    let sync = world.request();
    world.tabs[0].waiting.insert(sync);
    world.give(0, Input::Sync { request: RequestId(sync) });
    clear(&mut world, 0);
    world.settle();
    for call in calls.into_iter().chain([watch, sync]) {
        assert_eq!(world.reply(0, call).unwrap_err().code(), "DATABASE_LOST");
    }
    assert!(world.tabs[0].engine.take_transaction(transaction).is_err());
    assert!(world.tabs[0].waiting.is_empty());
}

/// Goal: an answer of the server to what the lost database asked changes nothing in the new one.
#[test]
fn an_answer_to_the_lost_database_is_not_for_the_new_one() {
    let mut world = synced();
    world.advance(Duration::from_secs(2));
    let old = world.sent(0);
    assert_eq!(old.mutations().len(), 1);
    world.start_write(0, story("late"));
    clear(&mut world, 0);
    world.tabs[0].sends.clear();
    world.settle();
    let body = json!({ "results": [applied(7)], "serverChanges": [], "checkpoint": "c7" }).to_string();
    world.give(0, Input::Answered { send: old.send, answer: ok(body.into_bytes()) });
    world.settle();
    assert_eq!(world.sent(0).checkpoint(), None);
    assert_eq!(ids(&world, 0, "story"), [] as [&str; 0]);
    world.check(0);
}

#[test]
fn a_new_database_that_cannot_be_made_yet_is_made_before_the_next_write() {
    let mut world = synced();
    let call = world.start_write(0, story("late"));
    clear(&mut world, 0);
    world.reply(0, call).unwrap_err();
    world.serve_store(0);
    world.fail_append(0, Error::QuotaExceeded);
    assert!(world.tabs[0].store.is_none(), "it is not asked in a circle");
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "QUOTA_EXCEEDED");
    world.write(0, story("next")).unwrap();
    assert_eq!(ids(&world, 0, "story"), ["next"]);
    let first = Row::decode(&world.disk[0]).unwrap();
    assert!(matches!(first.events[0], Event::Opened { .. }), "{first:?}");
}

#[test]
fn a_store_that_failed_is_tried_again_by_itself_ever_more_rarely() {
    let mut world = World::leading(by_hand());
    world.give(0, Input::Nudge);
    for _ in 0..3 {
        world.fail_read(0);
    }
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert!(world.tabs[0].store.is_none());
        assert_eq!(world.tabs[0].engine.status().state.as_str(), "storage-failed");
        let at = world.tabs[0].wake_at.expect("it is tried again");
        waits.push((at - world.now).as_secs());
        world.now = at;
        world.give(0, Input::Wake);
        for _ in 0..3 {
            world.fail_read(0);
        }
    }
    assert!(waits.is_sorted() && waits[0] < 10 && waits[8] == 60, "{waits:?}");
    world.advance(Duration::from_secs(61));
    assert_eq!(world.tabs[0].engine.status().error, None);
    assert_eq!(world.tabs[0].wake_at, None);
}

/// Goal: whether there is room, only a write can tell: reading does not make the status good.
#[test]
fn a_full_store_stays_full_until_a_write_goes_through() {
    let mut world = World::leading(by_hand());
    world.start_write(0, story("a"));
    world.fail_append(0, Error::QuotaExceeded);
    assert_eq!(world.tabs[0].wake_at, None);
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "QUOTA_EXCEEDED");
    world.write(0, story("b")).unwrap();
    assert_eq!(world.tabs[0].engine.status().error, None);
}

#[test]
fn a_store_that_does_not_answer_is_told_about_and_the_write_is_kept_when_it_does() {
    let mut world = World::leading(by_hand());
    let call = world.start_write(0, story("a"));
    let store = world.tabs[0].store.clone();
    for seconds in [0, 19] {
        world.now += Duration::from_secs(seconds);
        world.give(0, Input::Wake);
        assert_eq!(world.tabs[0].engine.status().error, None);
    }
    assert_eq!(world.tabs[0].wake_at, Some(world.now + Duration::from_secs(1)));
    world.now += Duration::from_secs(1);
    world.give(0, Input::Wake);
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "STORAGE_BLOCKED");
    assert!(!world.is_answered(0, call), "nobody knows yet");
    let told = world.tabs[0].notices.iter().filter(|notice| matches!(notice, Notice::Error(_))).count();
    assert_eq!(told, 1);
    assert_eq!(world.tabs[0].store, store, "it is not asked again");
    world.settle();
    assert!(world.reply(0, call).is_ok());
    assert_eq!(world.tabs[0].engine.status().error, None);
}

#[test]
fn opening_does_not_wait_for_ever() {
    let mut world = World::empty(by_hand());
    let (tab, open) = world.start_tab();
    world.now += Duration::from_secs(20);
    world.give(tab, Input::Wake);
    assert_eq!(world.reply(tab, open).unwrap_err().code(), "STORAGE_BLOCKED");
}

#[test]
fn a_store_that_fails_while_the_database_begins_anew_is_tried_again() {
    let mut world = World::leading(automatic());
    world.start_write(0, story("1"));
    world.disk.clear();
    let Some(StoreCall::Append { append, .. }) = world.tabs[0].store.take() else { panic!() };
    world.give(0, Input::AppendFailed { append, error: Error::Cleared });
    // As a shell does it: a timer for each `WakeAt`, and none else.
    for round in 0..40 {
        while world.tabs[0].store.is_some() {
            world.fail_read(0);
        }
        let Some(at) = world.tabs[0].wake_at.take() else {
            panic!(
                "round {round}: nothing is going to happen: {:?}, next {:?}, now {:?}",
                world.tabs[0].store,
                world.tabs[0].engine.next_wake(),
                world.now
            );
        };
        world.now = world.now.max(at);
        world.give(0, Input::Wake);
    }
}

#[test]
fn opening_a_new_database_does_not_wait_for_ever() {
    let mut world = World::empty(by_hand());
    let (tab, open) = world.start_tab();
    world.serve_store(tab);
    assert!(matches!(world.tabs[tab].store, Some(StoreCall::Append { .. })));
    world.now += Duration::from_secs(20);
    world.give(tab, Input::Wake);
    assert_eq!(world.reply(tab, open).unwrap_err().code(), "STORAGE_BLOCKED");
}

#[test]
fn the_app_is_told_that_the_new_database_cannot_be_made() {
    let mut world = World::leading(automatic());
    world.start_write(0, story("1"));
    world.disk.clear();
    let Some(StoreCall::Append { append, .. }) = world.tabs[0].store.take() else { panic!() };
    world.tabs[0].notices.clear();
    world.give(0, Input::AppendFailed { append, error: Error::Cleared });
    world.serve_store(0);
    world.fail_append(0, Error::QuotaExceeded);
    assert!(world.tabs[0].notices.iter().any(|notice| matches!(notice, Notice::Error(_))));
}

#[test]
fn a_new_database_is_not_begun_while_a_row_of_the_old_one_is_appended() {
    let (mut world, tab) = reopened(by_hand(), 300);
    let call = world.start_write(tab, create("draft", json!({ "id": "new1" })));
    assert!(matches!(world.tabs[tab].store, Some(StoreCall::Append { .. })));
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name("story")) });
    let Some(StoreCall::ReadSegments { read, .. }) = world.tabs[tab].reading.pop_front() else { panic!() };
    world.give(tab, Input::ReadFailed { read, error: Error::Cleared });
    assert!(matches!(world.tabs[tab].store, Some(StoreCall::Append { .. })));
    world.tabs[tab].reading.clear();
    clear(&mut world, tab);
    world.settle();
    for call in [call, request] {
        assert_eq!(world.reply(tab, call).unwrap_err().code(), "DATABASE_LOST");
    }
    assert!(world.write(tab, create("draft", json!({ "id": "new2" }))).is_ok());
}

#[test]
fn a_database_that_is_cleared_while_it_is_opened_is_opened_all_the_same() {
    let (mut world, leader) = reopened(by_hand(), 12);
    for n in 0..8 {
        world.write(leader, story(&format!("s{n}"))).unwrap();
    }
    world.advance(Duration::from_secs(20));
    world.crash(leader);
    let (tab, open) = world.start_tab();
    world.serve_store(tab);
    let Some(StoreCall::ReadSegments { read, .. }) = world.tabs[tab].reading.pop_front() else { panic!() };
    world.disk.clear();
    (world.removed, world.stored) = (0, SegmentsInMemory::default());
    world.give(tab, Input::ReadFailed { read, error: Error::Cleared });
    world.settle();
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert!(world.write(tab, story("new")).is_ok());
}

/// Goal: a store that can be read and not written to is tried ever more rarely, though each read goes well.
#[test]
fn appends_that_fail_while_reads_work_are_tried_ever_more_rarely() {
    let mut world = World::leading(by_hand());
    for n in 0..3 {
        world.write(0, story(&n.to_string())).unwrap();
    }
    world.crash(0);
    *world.disk[2].last_mut().unwrap() ^= 1;
    let (tab, _) = world.start_tab();
    let mut at = Vec::new();
    for _ in 0..60 {
        match world.tabs[tab].store {
            Some(StoreCall::Append { .. }) => {
                at.push(world.now.as_secs());
                world.fail_append(tab, Error::StorageFailed("it cannot be written".to_owned()));
            }
            Some(_) => world.serve_store(tab),
            None => {
                let Some(wake) = world.tabs[tab].wake_at.take() else { break };
                world.now = world.now.max(wake);
                world.give(tab, Input::Wake);
            }
        }
    }
    let waits: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() > 6 && waits.last().unwrap() >= &50, "{waits:?}");
}

/// Goal: that there is room again, only a write can tell.
#[test]
fn a_read_does_not_say_that_there_is_room_again() {
    let mut world = World::leading(by_hand());
    world.start_write(0, story("a"));
    world.fail_append(0, Error::QuotaExceeded);
    world.give(0, Input::Nudge);
    world.settle();
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "QUOTA_EXCEEDED");
    world.write(0, story("b")).unwrap();
    assert_eq!(world.tabs[0].engine.status().error, None);
}

/// Goal: what stays broken is not asked for each write of an app that goes on writing, and is asked again soon.
#[test]
fn a_store_that_stays_broken_is_left_alone_for_a_while() {
    let mut world = World::leading(by_hand());
    let mut asked = 0;
    for n in 0..100 {
        let call = world.start_write(0, story(&n.to_string()));
        if world.tabs[0].store.is_some() {
            asked += 1;
            world.fail_append(0, Error::StorageFailed("it is broken".to_owned()));
        }
        assert_eq!(world.reply(0, call).unwrap_err().code(), "STORAGE_FAILED");
    }
    assert_eq!(asked, 6);
    world.now += Duration::from_secs(11);
    world.tabs[0].wake_at = None;
    assert!(world.write(0, story("again")).is_ok());
    assert_eq!(world.tabs[0].engine.status().error, None);
}
