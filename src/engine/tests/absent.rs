//! What is not in memory: read when somebody needs it, and only that.

use super::*;
use crate::engine::stored::Root;
use objectql_sync_protocol::RecordKey;

/// A database with so many records of two objects, all in segments, and a tab that has just opened it and leads.
pub(super) fn reopened(config: Config, count: usize) -> (World, usize) {
    let config = Config { compact_after: CompactAfter { rows: 3, bytes: 1 << 30 }, ..config };
    let mut world = World::leading(config);
    for object in ["draft", "story"] {
        let all = (0..count).map(|n| {
            fields(
                &json!({ "id": format!("{:08x}", n * 7_919 % 100_003), "value": n, "text": "x".repeat(400) }),
            )
        });
        for part in all.collect::<Vec<_>>().chunks(5000) {
            world.write(0, Command::Create { object: object_name(object), records: part.to_vec() }).unwrap();
        }
    }
    world.write(0, create("task", json!({ "id": "t" }))).unwrap();
    world.start_sync(0);
    while world.is_sending(0) {
        let first = 100 + u64::try_from(world.tabs[0].requests).unwrap() * 100;
        world.apply_all(0, first, json!([]), &format!("c{first}"));
    }
    world.advance(Duration::from_secs(20));
    assert!(world.pending(0).is_empty());
    world.crash(0);
    world.config.is_eager = false;
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    (world, tab)
}

pub(super) fn key(object: &str, n: usize) -> RecordKey {
    let id = RecordId::string(format!("{:08x}", n * 7_919 % 100_003)).unwrap();
    RecordKey { object: object_name(object), id }
}

pub(super) fn id(n: usize) -> String {
    format!("{:08x}", n * 7_919 % 100_003)
}

fn is_whole(world: &World, tab: usize, object: &str) -> bool {
    world.tabs[tab].engine.is_whole(object).unwrap()
}

/// Serves the store, and counts the segments that are read for it.
fn count_reads(world: &mut World, tab: usize) -> usize {
    let mut count = 0;
    for _ in 0..1000 {
        if let Some(StoreCall::ReadSegments { segments, .. }) = world.tabs[tab].reading.front() {
            count += segments.len();
        }
        if world.tabs[tab].reading.is_empty() && world.tabs[tab].store.is_none() {
            return count;
        }
        world.serve_store(tab);
    }
    panic!("no end");
}

fn names(world: &World, of: &str) -> usize {
    let root = Root::decode(world.stored.root.as_ref().unwrap()).unwrap();
    let sections = root.body.sections.iter();
    let of_object =
        |kind: &crate::engine::stored::Kind| *kind == crate::engine::stored::Kind::Records(object_name(of));
    sections.filter(|section| of_object(&section.kind)).map(|section| section.blocks.len()).sum()
}

#[test]
fn opening_reads_no_records_and_the_first_get_one_block_however_ids_are_spread() {
    let (mut world, tab) = reopened(by_hand(), 20_000);
    assert!(names(&world, "draft") > 30, "{}", names(&world, "draft"));
    assert!(!is_whole(&world, tab, "draft") && !is_whole(&world, tab, "story"));
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Record(key("draft", 12_345)) });
    let Some(StoreCall::ReadSegments { segments, .. }) = world.tabs[tab].reading.front() else {
        panic!("no read")
    };
    assert!((1..=3).contains(&segments.len()), "{} segments are read for one record", segments.len());
    world.serve_store(tab);
    assert_eq!(world.reply(tab, request), Ok(Reply::Done));
    assert_eq!(world.get(tab, "draft", &id(12_345)).unwrap()["value"], 12_345);
    // Whoever asks for one will ask for others: they come behind it, and of no other object.
    assert!(!is_whole(&world, tab, "draft"));
    count_reads(&mut world, tab);
    assert!(is_whole(&world, tab, "draft") && !is_whole(&world, tab, "story"));
    assert_eq!(world.find(tab, "draft").len(), 20_000);
    assert_eq!(world.find(tab, "draft")[7]["id"], id(7), "in the order in which they came");
    // One that is nowhere.
    let nowhere = RecordKey { object: object_name("story"), id: RecordId::string("zzz").unwrap() };
    assert_eq!(world.load(tab, Need::Record(nowhere)), Ok(Reply::Done));
}

#[test]
fn a_write_reads_what_it_changes_and_a_new_record_nothing() {
    let (mut world, tab) = reopened(by_hand(), 5_000);
    let call = world.start_write(tab, create("draft", json!({ "title": "new" })));
    assert_eq!(count_reads(&mut world, tab), 0, "an id that was never there needs no look");
    assert!(world.reply(tab, call).is_ok());
    let call = world.start_write(tab, update("draft", &id(77), json!({ "value": -1 })));
    assert!((1..=2).contains(&count_reads(&mut world, tab)));
    let Ok(Reply::Record(record)) = world.reply(tab, call) else { panic!("no record") };
    assert_eq!(record.get("value").unwrap().as_str(), "-1");
    assert_eq!(record.get("text").unwrap().as_str().len(), 402, "the other fields are there");
    assert_eq!(
        world.write(tab, update("draft", "nowhere", json!({ "value": 1 }))).unwrap_err().code(),
        "NOT_FOUND"
    );
    let taken = create("draft", json!({ "id": id(78) }));
    assert_eq!(world.write(tab, taken).unwrap_err().code(), "ALREADY_EXISTS");
    assert_eq!(world.write(tab, delete("draft", &id(79))), Ok(Reply::Existed(true)));
    assert!(!is_whole(&world, tab, "draft"));
    world.load_all(tab);
    assert_eq!(world.find(tab, "draft").len(), 5_000);
    assert_eq!(world.find(tab, "draft").last().unwrap()["title"], "new");
}

#[test]
fn rows_and_answers_that_change_records_wait_for_them() {
    let (mut world, tab) = reopened(by_hand(), 2_000);
    // Another tab opens, writes, and is heard of.
    let other = world.open_tab();
    world.write(other, update("draft", &id(5), json!({ "value": -5 }))).unwrap();
    assert_eq!(world.get(tab, "draft", &id(5)).unwrap()["value"], -5);
    assert!(!is_whole(&world, tab, "draft"));
    // The server changes one record and deletes another.
    world.start_sync(tab);
    let changes = json!([
        change("update", &id(9), json!({ "value": -9 }), 9_000_001),
        change("delete", &id(10), Value::Null, 9_000_002),
    ]);
    world.answer(tab, json!({ "results": [], "serverChanges": changes, "checkpoint": "c9000002" }));
    for tab in [tab, other] {
        assert_eq!(world.get(tab, "story", &id(9)).unwrap()["text"].as_str().unwrap().len(), 400);
        world.load_all(tab);
        assert_eq!(world.find(tab, "story").len(), 1_999);
        world.check(tab);
    }
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[other].engine.state());
}

#[test]
fn what_queries_look_at_is_waited_for() {
    let (mut world, tab) = reopened(by_hand(), 2_000);
    let query = Query::parse(r#"{"where":{"value":{"$lt":10}}}"#).unwrap();
    let command =
        Command::UpdateMany { object: object_name("draft"), query, patch: fields(&json!({ "few": true })) };
    assert_eq!(world.write(tab, command), Ok(Reply::Count(10)));
    assert!(is_whole(&world, tab, "draft"));
    world.write(tab, Command::Undo).unwrap();
    assert!(world.get(tab, "draft", &id(3)).unwrap()["few"].is_null());
    // What was written in an earlier session is taken back from its segment.
    let other = world.open_tab();
    world.crash(tab);
    let before = world.tabs[other].engine.status().undoable;
    assert!(before > 2);
    assert_eq!(world.write(other, Command::Undo), Ok(Reply::Existed(true)));
    world.load_all(other);
    assert_eq!(world.find(other, "task"), Vec::<Value>::new(), "the create of the task is taken back");
}

#[test]
fn a_compaction_leaves_what_is_not_in_memory_where_it_is() {
    let (mut world, tab) = reopened(by_hand(), 5_000);
    let before: Vec<u64> = world.stored.segments.iter().map(|(key, _)| *key).collect();
    // As many as make it worth writing the root anew.
    for n in 0..90 {
        world.write(tab, update("draft", &id(n % 8 * 600), json!({ "value": -1 }))).unwrap();
    }
    let root = Root::decode(world.stored.root.as_ref().unwrap()).unwrap().number;
    world.advance(Duration::from_secs(40));
    assert!(Root::decode(world.stored.root.as_ref().unwrap()).unwrap().number > root);
    let kept = world.stored.get(&before).iter().flatten().count();
    assert!(kept * 10 > before.len() * 7, "{kept} of {}", before.len());
    let opened = world.open_tab();
    for tab in [tab, opened] {
        world.load_all(tab);
        assert_eq!(world.find(tab, "draft").len(), 5_000);
        assert_eq!(world.get(tab, "draft", &id(600)).unwrap()["value"], -1);
    }
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[opened].engine.state());
}

/// Goal: blocks that another tab rewrote before this one read them are found in their new place.
#[test]
fn a_block_that_is_gone_makes_the_tab_look_again() {
    let (mut world, tab) = reopened(by_hand(), 3_000);
    world.tabs[tab].is_alive = false;
    world.config.is_eager = true;
    let other = world.open_tab();
    world.give(other, Input::Leader(true));
    world.settle();
    let all = Query::parse("{}").unwrap();
    let command =
        Command::UpdateMany { object: object_name("draft"), query: all, patch: fields(&json!({ "all": 1 })) };
    world.write(other, command).unwrap();
    for n in 0..90 {
        world.write(other, update("draft", &id(n), json!({ "value": n }))).unwrap();
    }
    world.advance(Duration::from_secs(40));
    world.tabs[tab].is_alive = true;
    world.tabs[tab].inbox.clear();
    assert_eq!(world.load(tab, Need::Object(object_name("draft"))), Ok(Reply::Done));
    assert_eq!(world.find(tab, "draft"), world.find(other, "draft"));
    assert!(world.find(tab, "draft").iter().all(|record| record["all"] == 1));
    world.check(tab);
}

#[test]
fn what_cannot_be_read_is_told_and_can_be_asked_for_again() {
    let (mut world, tab) = reopened(by_hand(), 1_000);
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name("draft")) });
    for _ in 0..3 {
        assert!(!world.is_answered(tab, request), "it is tried again");
        world.fail_read(tab);
    }
    assert_eq!(world.reply(tab, request).unwrap_err().code(), "STORAGE_FAILED");
    let call = world.start_write(tab, update("draft", &id(5), json!({ "value": 1 })));
    while !world.is_answered(tab, call) {
        world.fail_read(tab);
    }
    assert_eq!(world.reply(tab, call).unwrap_err().code(), "STORAGE_FAILED");
    world.load_all(tab);
    assert!(world.write(tab, update("draft", &id(5), json!({ "value": 1 }))).is_ok());
}

#[test]
fn a_live_query_of_an_object_that_was_empty_goes_on_in_a_tab_that_was_left_behind() {
    let mut world = World::leading(Config {
        compact_after: CompactAfter { rows: 10, bytes: 1 << 30 },
        is_eager: false,
        ..local()
    });
    let slow = world.open_tab();
    let live = world.tabs[slow].engine.watch_query("draft", Query::parse("{}").unwrap()).unwrap();
    world.tabs[slow].is_alive = false;
    for n in 0..12 {
        world.write(0, create("draft", json!({ "id": format!("d{n}") }))).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.removed > 5);
    world.tabs[slow].is_alive = true;
    world.tabs[slow].inbox.clear();
    world.give(slow, Input::Nudge);
    world.settle();
    world.tabs[slow].engine.live_changes(Some(live), false);
    assert_eq!(world.find(slow, "draft").len(), 12);
    assert!(world.tabs[slow].notices.iter().any(|notice| matches!(notice, Notice::Change(_))));
    world.write(0, create("draft", json!({ "id": "later" }))).unwrap();
    assert_eq!(world.find(slow, "draft").len(), 13);
}

/// Goal: whoever waits for records is answered, also when nobody knows any more where they are.
#[test]
fn loads_are_answered_when_the_root_cannot_be_read_any_more() {
    let (mut world, tab) = reopened(by_hand(), 3_000);
    // All segments go, and a newer release has written the root.
    world.stored.segments.clear();
    let root = world.stored.root.as_mut().unwrap();
    root[7] += 1;
    make_newer(root);
    let load = world.load(tab, Need::Object(object_name("draft")));
    assert_eq!(load.unwrap_err().code(), "STORAGE_OUTDATED");
    let again = world.load(tab, Need::Object(object_name("draft")));
    assert_eq!(again.unwrap_err().code(), "STORAGE_OUTDATED");
}

/// Goal: a read of the log that fails is not taken for one of segments.
#[test]
fn reads_of_the_log_and_of_segments_are_told_apart() {
    let (mut world, tab) = reopened(by_hand(), 6_000);
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name("draft")) });
    for _ in 0..12 {
        world.give(tab, Input::Nudge);
        while let Some(StoreCall::Read { read, .. }) = world.tabs[tab].store.take() {
            let error = Error::StorageFailed("the disk is away".to_owned());
            world.give(tab, Input::ReadFailed { read, error });
        }
        if !world.tabs[tab].reading.is_empty() {
            world.serve_store(tab);
        }
    }
    world.settle();
    assert_eq!(world.reply(tab, request), Ok(Reply::Done));
    // A log that failed so often is left alone for a while.
    world.now += Duration::from_secs(11);
    assert!(world.write(tab, create("draft", json!({ "title": "x" }))).is_ok());
}

#[test]
fn a_tab_that_was_left_behind_is_told_of_conflicts_and_rejections() {
    let mut world =
        World::leading(Config { compact_after: CompactAfter { rows: 10, bytes: 1 << 30 }, ..by_hand() });
    for n in 0..2 {
        world.write(0, create("story", json!({ "id": format!("s{n}"), "title": "mine" }))).unwrap();
    }
    let slow = world.open_tab();
    world.tabs[slow].is_alive = false;
    world.start_sync(0);
    let mutations = world.sent(0).mutations();
    let results =
        json!([rejected("no"), conflict(&mutations[1], json!({ "id": "s1", "title": "theirs" }), Some(4))]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c4" }));
    for n in 0..12 {
        world.write(0, create("draft", json!({ "id": format!("d{n}") }))).unwrap();
    }
    world.advance(Duration::from_secs(20));
    world.tabs[slow].is_alive = true;
    world.tabs[slow].inbox.clear();
    world.tabs[slow].notices.clear();
    world.give(slow, Input::Nudge);
    world.settle();
    let is_told = |wanted: fn(&Notice) -> bool| world.tabs[slow].notices.iter().any(wanted);
    assert!(is_told(|notice| matches!(notice, Notice::Rejected(_))));
    assert!(is_told(|notice| matches!(notice, Notice::Conflict(_))));
}

#[test]
fn beginning_anew_while_the_tail_is_read_ends() {
    let (mut world, tab) = reopened(by_hand(), 200);
    let other = world.open_tab();
    world.load_all(other);
    world.give(tab, Input::Leader(false));
    world.give(other, Input::Leader(true));
    world.settle();
    for n in 0..60 {
        world
            .write(other, create("draft", json!({ "id": format!("zz{n}"), "text": "x".repeat(4000) })))
            .unwrap();
    }
    world.settle();
    assert!(!world.tabs[tab].engine.is_whole("draft").unwrap());
    // This one is frozen for a moment.
    world.tabs[tab].is_alive = false;
    let before = world.stored.root.clone();
    world.advance(Duration::from_secs(20));
    assert_ne!(world.stored.root, before);
    world.write(other, update("story", &id(8), json!({ "value": 5 }))).unwrap();
    world.tabs[tab].is_alive = true;
    world.tabs[tab].inbox.clear();
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Nudge);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name("draft")) });
    world.settle();
    world.give(tab, Input::Nudge);
    world.settle();
    world.advance(Duration::from_secs(600));
    assert!(world.write(tab, create("story", json!({ "id": "s1" }))).is_ok());
    assert!(world.is_answered(tab, request));
    assert_eq!(world.find(tab, "draft"), world.find(other, "draft"));
}

#[test]
fn queries_get_to_know_many_records_in_portions_whatever_is_written_meanwhile() {
    let (mut world, tab) = reopened(Config { at_once: 1_600, ..by_hand() }, 2_000);
    let object = object_name("draft");
    assert_eq!(world.load(tab, Need::Object(object.clone())), Ok(Reply::Done));
    let readable = |world: &World| world.tabs[tab].engine.is_readable("draft").unwrap();
    assert!(is_whole(&world, tab, "draft") && !readable(&world));
    let waits = |world: &mut World| {
        let engine = &mut world.tabs[tab].engine;
        engine.find_rows("draft", Query::default(), false).map(drop).unwrap_err().code()
    };
    assert_eq!(waits(&mut world), "NOT_LOADED");
    assert_eq!(world.get(tab, "draft", &id(1_999)).unwrap()["value"], 1_999, "one record waits for nothing");
    let mut portions = 0;
    let more = |world: &mut World| world.tabs[tab].engine.prepare_next("draft").unwrap();
    for (known, unknown) in [(3, 1_900), (150, 1_700), (280, 1_500)] {
        assert!(more(&mut world));
        portions += 1;
        for n in [known, unknown] {
            world.write(tab, update("draft", &id(n), json!({ "value": -1 }))).unwrap();
            world.write(tab, delete("draft", &id(n + 1))).unwrap();
            // It goes and comes: behind the others.
            world.write(tab, delete("draft", &id(n + 2))).unwrap();
            world.write(tab, create("draft", json!({ "id": id(n + 2) }))).unwrap();
        }
        world.write(tab, create("draft", json!({ "id": format!("new {known}") }))).unwrap();
    }
    assert!(!readable(&world));
    while more(&mut world) {
        portions += 1;
    }
    assert_eq!(portions, 20);
    assert!(readable(&world) && world.find(tab, "draft").len() == 2_000 - 6 + 3);
    world.check(tab);
    // A write that has to look at all of them does not wait for anybody.
    let (mut world, tab) = reopened(Config { at_once: 1_600, ..by_hand() }, 2_000);
    let query = Query::parse(r#"{"where":{"value":{"$gte":1000}}}"#).unwrap();
    let patch = fields(&json!({ "value": 0 }));
    assert_eq!(world.write(tab, Command::UpdateMany { object, query, patch }), Ok(Reply::Count(1_000)));
    assert!(world.tabs[tab].engine.is_readable("draft").unwrap());
    world.check(tab);
}
