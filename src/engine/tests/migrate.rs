//! Data of earlier versions of their objects, in portions, with crashes, other tabs and whatever waits for the server.

use super::*;
use crate::engine::log::MAX_COMMAND_BYTES;
use crate::engine::random::Random;
use crate::engine::{Migrated, Migration, Portion};

/// The usual objects, stories in that version.
fn version(version: u32, config: Config) -> Config {
    Config { versions: vec![(object_name("story"), version)], ..config }
}

/// What an app's functions make of a portion: the title becomes a name, in a mutation as in a record, and each value knows how often it
/// was changed.
fn renamed(portion: &Value) -> Vec<Fields> {
    let rename = |value: &Value| {
        let is_mutation = value[0].as_bool().unwrap();
        let mut data = if is_mutation { value[1]["data"].clone() } else { value[1].clone() };
        let map = data.as_object_mut().unwrap();
        if let Some(title) = map.remove("title") {
            map.insert("name".to_owned(), title);
        }
        map.insert("times".to_owned(), json!(map.get("times").and_then(Value::as_u64).unwrap_or(0) + 1));
        map.insert("id".to_owned(), json!("another"));
        map.insert("updated_at".to_owned(), json!("never"));
        fields(&data)
    };
    portion[2].as_array().unwrap().iter().map(rename).collect()
}

/// What an app makes of a portion.
fn migrate(portion: &Value, values: Vec<Fields>) -> Migration {
    let portion = Portion::parse(portion[0].as_str().unwrap()).unwrap();
    Migration { object: object_name("story"), portion, values }
}

impl World {
    /// The objects to migrate, with the versions that they have and get.
    fn lagging(&self, tab: usize) -> Value {
        serde_json::from_str(&self.tabs[tab].engine.objects_to_migrate()).unwrap()
    }

    fn portion(&self, tab: usize, at: &str) -> Value {
        serde_json::from_str(&self.tabs[tab].engine.portion_to_migrate("story", at).unwrap()).unwrap()
    }

    /// Hands a portion back, without waiting for what comes of it.
    fn start_to_hand_back(&mut self, tab: usize, migration: Migration) -> u64 {
        let request = self.request();
        self.tabs[tab].waiting.insert(request);
        self.give(tab, Input::Migrate { request: RequestId(request), migration });
        request
    }

    fn hand_back(&mut self, tab: usize, migration: Migration) -> Result<Reply, Error> {
        let call = self.start_to_hand_back(tab, migration);
        self.settle();
        self.reply(tab, call)
    }

    /// Writes what becomes of the next portion, without waiting for it.
    fn start_portion(&mut self, tab: usize) -> u64 {
        let portion = self.portion(tab, "");
        self.start_to_hand_back(tab, migrate(&portion, renamed(&portion)))
    }

    /// Whether it was taken.
    fn write_portion(&mut self, tab: usize) -> Result<Reply, Error> {
        let call = self.start_portion(tab);
        self.settle();
        self.reply(tab, call)
    }

    /// Migrates all there is; in how many rows.
    fn migrate(&mut self, tab: usize) -> usize {
        let rows = self.disk.len();
        while self.lagging(tab) != json!([]) {
            assert_eq!(self.write_portion(tab), Ok(Reply::Existed(true)));
        }
        self.check(tab);
        self.disk.len() - rows
    }

    /// The next release of the app, in a new tab.
    fn open_version(&mut self, to: u32) -> usize {
        self.config = version(to, self.config.clone());
        self.open_tab()
    }

    fn shown(&self, tab: usize, id: &str) -> Value {
        self.get(tab, "story", id).unwrap()
    }
}

/// Stories that are too large for one portion, as the server has them.
fn large_stories(count: usize) -> World {
    let mut world = World::leading(by_hand());
    world.start_sync(0);
    let text = "x".repeat(100_000);
    let story = |n: usize| {
        let data = json!({ "id": format!("s{n}"), "title": format!("Story {n}"), "text": text });
        change("create", &format!("s{n}"), data, n as u64 + 1)
    };
    let changes: Vec<_> = (0..count).map(story).collect();
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c1" }));
    world
}

fn assert_migrated_once(world: &World, tab: usize, count: usize) {
    let stories = world.find(tab, "story");
    assert_eq!(stories.len(), count);
    for (n, story) in stories.iter().enumerate() {
        let seen = [&story["id"], &story["name"], &story["times"], &story["title"]];
        let expected = [json!(format!("s{n}")), json!(format!("Story {n}")), json!(1), Value::Null];
        assert_eq!(seen, expected.each_ref());
    }
}

#[test]
fn records_get_the_shape_of_the_version_and_keep_what_the_driver_sets() {
    let mut world = World::new(local());
    let record = world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    let Reply::Made(made) = record else { panic!("a record") };
    let before = &made[0];
    let tab = world.open_version(2);
    assert_eq!(world.lagging(tab), json!([["story", 1, 2]]));
    assert_eq!(world.migrate(tab), 1, "one row");
    assert_eq!(world.shown(tab, "a"), json!({ "id": "a", "name": "T", "times": 1 }));
    let after = &world.find(tab, "story")[0];
    for name in ["created_at", "updated_at"] {
        assert_eq!(Some(after[name].to_string()), before.get(name).map(|value| value.as_str().to_owned()));
    }
    assert_eq!(world.lagging(tab), json!([]));
    let again = world.open_tab();
    assert_eq!(world.lagging(again), json!([]));
    assert_eq!(world.find(again, "story"), world.find(tab, "story"));
}

#[test]
fn a_new_database_has_the_latest_versions() {
    let mut world = World::new(version(7, local()));
    assert_eq!(world.lagging(0), json!([]));
    world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    let tab = world.open_tab();
    assert_eq!(world.lagging(tab), json!([]));
    assert_eq!(world.shown(tab, "a"), json!({ "id": "a", "title": "T" }));
}

/// Goal: whatever state a mutation is in, it gets the new shape with all that belongs to it, and stays in that state.
#[test]
fn mutations_in_every_state_get_the_new_shape() {
    let mut world = World::leading(by_hand());
    world.start_sync(0);
    let stories =
        ["queued", "parked", "gone"].map(|id| change("create", id, json!({ "id": id, "title": "t0" }), 1));
    world.answer(0, json!({ "results": [], "serverChanges": stories, "checkpoint": "c1" }));
    world.write(0, update("story", "parked", json!({ "title": "mine" }))).unwrap();
    world.write(0, create("story", json!({ "id": "refused", "title": "r" }))).unwrap();
    world.start_sync(0);
    let theirs = json!({ "id": "parked", "title": "theirs" });
    let mut parked = conflict(&world.sent(0).mutations()[0], theirs, Some(2));
    parked["conflict"]["suggestedResolution"] = json!({ "id": "parked", "title": "both" });
    let results = json!([parked, rejected("no")]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c2" }));
    world.write(0, update("story", "queued", json!({ "title": "later" }))).unwrap();
    world.write(0, delete("story", "gone")).unwrap();
    world.write(0, create("story", json!({ "id": "made", "title": "m" }))).unwrap();
    let before = world.pending(0);
    world.crash(0);

    let tab = world.open_version(2);
    world.migrate(tab);
    let after = world.pending(tab);
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        let expected = |name: &str| if name == "data" { Value::Null } else { before[name].clone() };
        for name in ["id", "sequence", "state", "operation", "baseVersion", "timestamp"] {
            assert_eq!(after[name], expected(name), "{name}");
        }
        let (old, new) = (&before["data"], &after["data"]);
        assert_eq!(
            [&new["name"], &new["updated_at"], &new["id"]],
            [&old["title"], &old["updated_at"], &old["id"]]
        );
        assert_eq!(new.get("title"), None);
    }
    let parked = &world.conflicts(tab)[0];
    assert_eq!(parked["conflictingFields"], json!(["name"]));
    assert_eq!(parked["baseRecord"], json!({ "id": "parked", "name": "t0", "times": 1 }));
    assert_eq!(parked["serverRecord"], json!({ "id": "parked", "name": "theirs", "times": 1 }));
    assert_eq!(parked["suggestedResolution"], json!({ "id": "parked", "name": "both", "times": 1 }));
    let refused = &world.rejected(tab)[0];
    assert_eq!(refused["mutation"]["data"]["name"], "r");
    assert_eq!(world.shown(tab, "queued"), json!({ "id": "queued", "name": "later", "times": 1 }));
    assert_eq!(world.shown(tab, "made"), json!({ "id": "made", "name": "m", "times": 1 }));
    assert_eq!(world.get(tab, "story", "gone"), None);
    // A decision of before goes on in the new shape.
    world.write(tab, Command::Retry { mutation: mutation_id(refused), patch: None }).unwrap();
    assert_eq!(world.shown(tab, "refused"), json!({ "id": "refused", "name": "r", "times": 1 }));
    assert_eq!(world.pending(tab).last().unwrap()["data"].get("title"), None);
}

/// Goal: what may have been sent is sent again as the same mutations, in the new shape; and nothing before that.
#[test]
fn a_frozen_batch_keeps_its_members_and_nothing_leaves_before_the_end() {
    let mut world = World::leading(automatic());
    world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    world.advance(Duration::from_secs(2));
    let sent = world.sent(0);
    assert_eq!(sent.sequences(), [1]);
    world.crash(0);
    let tab = world.open_version(2);
    world.give(tab, Input::Leader(true));
    let call = world.start_sync(tab);
    world.advance(Duration::from_secs(100));
    assert!(!world.is_sending(tab), "the old shape does not leave");
    world.migrate(tab);
    world.answer_probe(tab);
    assert_eq!(world.sent(tab).ids(), sent.ids());
    assert_eq!(world.sent(tab).mutations()[0]["data"]["name"], "T");
    assert_eq!(world.sent(tab).mutations()[0]["data"].get("title"), None);
    world.apply_all(tab, 1, json!([]), "c1");
    assert_eq!(world.report(tab, call).applied, 1);
    assert_eq!(world.pending(tab).len(), 0);
    assert_eq!(world.shown(tab, "a"), json!({ "id": "a", "name": "T", "times": 1 }));
}

/// Goal: an answer that is on its way to a tab which does not list the object, while another one migrates it, changes nothing; that tab
/// asks again, and sends nothing of the object.
#[test]
fn a_tab_that_does_not_list_the_object_syncs_while_it_is_migrated() {
    let mut world = large_stories(8);
    world.write(0, update("story", "s0", json!({ "more": 1 }))).unwrap();
    world.crash(0);
    world.config = eager(Config::new(vec![objects().remove(1)], world.config.sync).unwrap());
    let other = world.open_tab();
    world.give(other, Input::Leader(true));
    world.settle();
    let call = world.start_sync(other);
    world.config = by_hand();
    let tab = world.open_version(2);
    assert_eq!(world.write_portion(tab), Ok(Reply::Existed(true)));
    let late = json!([change("update", "s0", json!({ "title": "late" }), 99)]);
    world.answer(other, json!({ "results": [], "serverChanges": late, "checkpoint": "c2" }));
    world.advance(Duration::from_secs(10));
    world.answer(other, json!({ "results": [], "serverChanges": [], "checkpoint": "c2" }));
    assert_eq!(world.report(other, call).pushed, 0, "the story stays");
    world.migrate(tab);
    assert_migrated_once(&world, tab, 8);
    assert_eq!(world.pending(tab).len(), 1);
}

#[test]
fn a_migration_that_is_cut_goes_on_where_it_was() {
    let mut world = large_stories(10);
    world.write(0, update("story", "s9", json!({ "more": 1 }))).unwrap();
    // Of a delete of what the server does not have there is nothing to migrate.
    for n in 0..3 {
        world.write(0, create("story", json!({ "id": format!("brief{n}"), "title": "B" }))).unwrap();
        world.write(0, delete("story", &format!("brief{n}"))).unwrap();
    }
    world.crash(0);
    let mut rows = 0;
    let last = loop {
        let tab = world.open_version(2);
        if world.lagging(tab) == json!([]) {
            break tab;
        }
        world.write_portion(tab).unwrap();
        rows += 1;
        // The next one does not come to its end.
        if world.lagging(tab) != json!([]) {
            world.start_portion(tab);
            world.lose_append(tab, false);
        }
        world.crash(tab);
    };
    assert!(rows >= 3, "{rows} rows");
    assert_migrated_once(&world, last, 10);
    assert_eq!(world.pending(last)[0]["data"]["times"], 1);
    assert_eq!(world.find(last, "story")[9]["more"], 1);
}

#[test]
fn a_portion_whose_commit_is_unknown_is_not_done_twice() {
    for is_made in [true, false] {
        let mut world = large_stories(6);
        world.crash(0);
        let tab = world.open_version(2);
        let call = world.start_portion(tab);
        world.lose_append(tab, is_made);
        world.settle();
        assert_eq!(world.reply(tab, call), Ok(Reply::Existed(true)));
        world.migrate(tab);
        assert_migrated_once(&world, tab, 6);
    }
}

#[test]
fn two_tabs_that_migrate_at_once_do_it_once() {
    let mut world = large_stories(10);
    world.crash(0);
    let (a, b) = (world.open_version(2), world.open_version(2));
    let mut taken = Vec::new();
    while world.lagging(a) != json!([]) {
        let calls = [(a, world.start_portion(a)), (b, world.start_portion(b))];
        world.settle();
        taken.extend(calls.map(|(tab, call)| world.reply(tab, call).unwrap()));
    }
    assert_eq!(taken.iter().filter(|reply| **reply == Reply::Existed(true)).count(), taken.len() / 2);
    for tab in [a, b] {
        assert_migrated_once(&world, tab, 10);
        assert_eq!(world.lagging(tab), json!([]));
    }
    assert_eq!(world.tabs[a].engine.state(), world.tabs[b].engine.state());
}

/// Goal: a later release that finds what an earlier one began brings that to its end first.
#[test]
fn versions_are_gone_through_one_migration_after_the_other() {
    let mut world = large_stories(6);
    world.crash(0);
    let tab = world.open_version(2);
    world.write_portion(tab).unwrap();
    world.crash(tab);
    let tab = world.open_version(3);
    assert_eq!(world.lagging(tab), json!([["story", 1, 2]]));
    while world.lagging(tab) == json!([["story", 1, 2]]) {
        world.write_portion(tab).unwrap();
    }
    assert_eq!(world.lagging(tab), json!([["story", 2, 3]]));
    assert_migrated_once(&world, tab, 6);
    world.migrate(tab);
    assert!(world.find(tab, "story").iter().all(|story| story["times"] == 2));
}

/// Goal: tabs of the release before write until they meet the first row: what they wrote after a portion was handed out is not
/// written over.
#[test]
fn what_is_written_while_an_app_is_at_a_portion_is_migrated_too() {
    for is_in_between in [false, true] {
        let mut world = large_stories(6);
        let tab = world.open_version(2);
        let portion = world.portion(tab, "");
        let late = [
            update("story", "s0", json!({ "title": "Late" })),
            create("story", json!({ "id": "new", "title": "New" })),
            delete("story", "s5"),
        ];
        let calls: Vec<_> = late.into_iter().map(|command| world.start_write(0, command)).collect();
        if is_in_between {
            world.settle();
        }
        let call = world.start_to_hand_back(tab, migrate(&portion, renamed(&portion)));
        world.settle();
        assert!(calls.into_iter().all(|call| world.reply(0, call).is_ok()));
        assert_eq!(world.reply(tab, call), Ok(Reply::Existed(false)));
        world.migrate(tab);
        let stories = world.find(tab, "story");
        let names: Vec<_> = stories.iter().map(|story| [&story["name"], &story["times"]]).collect();
        let expected =
            ["Late", "Story 1", "Story 2", "Story 3", "Story 4", "New"].map(|name| [json!(name), json!(1)]);
        assert_eq!(names, expected.each_ref().map(|[name, times]| [name, times]));
        assert_eq!(world.pending(tab).len(), 3);
    }
}

/// Goal: a tab of the release before that writes without a pause can be stopped before anything is migrated.
#[test]
fn a_migration_can_begin_with_nothing() {
    let mut world = large_stories(6);
    let tab = world.open_version(2);
    let portion = world.portion(tab, "");
    world.write(0, update("story", "s0", json!({ "title": "Late" }))).unwrap();
    assert_eq!(world.hand_back(tab, migrate(&portion, renamed(&portion))), Ok(Reply::Existed(false)));
    assert_eq!(world.hand_back(tab, migrate(&portion, vec![])), Ok(Reply::Existed(true)));
    let refused = world.write(0, update("story", "s0", json!({ "title": "Too late" }))).unwrap_err();
    assert_eq!(refused.code(), "STORAGE_OUTDATED");
    world.crash(tab);
    let tab = world.open_version(2);
    world.migrate(tab);
    assert_eq!(
        [&world.shown(tab, "s0")["name"], &world.shown(tab, "s0")["times"]],
        [&json!("Late"), &json!(1)]
    );
    assert!(world.find(tab, "story").iter().all(|story| story["times"] == 1));
}

/// Goal: what one release began and another tab brought to its end is not taken for a portion of the next migration.
#[test]
fn a_portion_of_an_earlier_migration_is_none_of_the_next() {
    let mut world = World::new(local());
    world.write(0, create("story", json!({ "id": "s0", "title": "Story 0" }))).unwrap();
    for n in 1..6 {
        world.write(0, create("story", json!({ "id": format!("s{n}"), "title": format!("Story {n}"), "text": "x".repeat(100_000) }))).unwrap();
    }
    world.crash(0);
    let first = world.open_version(2);
    let portion = world.portion(first, "");
    world.write_portion(first).unwrap();
    let second = world.open_version(3);
    assert_eq!(world.lagging(second), json!([["story", 1, 2]]));
    while world.lagging(second) != json!([["story", 2, 3]]) {
        world.write_portion(second).unwrap();
    }
    let parts: Vec<&str> = portion[0].as_str().unwrap().split(',').collect();
    let current = world.portion(second, "");
    let changes = current[0].as_str().unwrap().rsplit(',').next().unwrap();
    // As if nothing else had happened: the same place, and the version that the data had.
    let stale = json!([format!("{},{},{},{changes}", parts[0], parts[1], parts[2])]);
    assert_eq!(world.hand_back(second, migrate(&stale, renamed(&portion))), Ok(Reply::Existed(false)));
    assert_migrated_once(&world, second, 6);
}

#[test]
fn a_tab_of_an_older_release_stops_with_the_first_row_and_says_why() {
    let mut world = large_stories(6);
    let tab = world.open_version(2);
    // It has not heard of it when it writes.
    let call = world.start_write(0, create("story", json!({ "id": "late", "title": "Late" })));
    world.start_portion(tab);
    world.serve_store(tab);
    world.settle();
    let refused = world.reply(0, call).unwrap_err();
    assert_eq!(refused.code(), "STORAGE_OUTDATED", "it is known that this was not written");
    assert!(refused.to_string().contains("story") && refused.to_string().contains("reload"), "{refused}");
    let again = world.write(0, create("task", json!({ "id": "t" }))).unwrap_err();
    assert_eq!(again.code(), "STORAGE_OUTDATED");
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "STORAGE_OUTDATED");
    world.migrate(tab);
    assert_migrated_once(&world, tab, 6);
    assert_eq!(world.find(0, "story").len(), 6, "what it has it shows still");
}

/// Goal: a tab that cannot sync any more sends nothing, not even what it has sent before, and does not keep the lock from the others.
#[test]
fn an_outdated_leader_sends_nothing_and_its_lock_is_taken() {
    let mut world = World::leading(automatic());
    world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    world.advance(Duration::from_secs(2));
    let sent = world.sent(0);
    world.lose_request(0);
    let tab = world.open_version(2);
    world.migrate(tab);
    let call = world.start_sync(tab);
    world.advance(Duration::from_secs(30));
    assert!(!world.is_sending(0));
    assert_eq!(world.tabs[tab].steals, 1);
    world.give(0, Input::Leader(false));
    world.give(tab, Input::Leader(true));
    world.settle();
    world.answer_probe(tab);
    assert_eq!(
        (world.sent(tab).ids(), &world.sent(tab).mutations()[0]["data"]["name"]),
        (sent.ids(), &json!("T"))
    );
    world.apply_all(tab, 1, json!([]), "c1");
    assert_eq!(world.report(tab, call).applied, 1);
}

#[test]
fn opening_with_a_lower_version_is_refused_and_changes_nothing() {
    for is_compacted in [false, true] {
        for is_done in [false, true] {
            let mut world = large_stories(6);
            world.crash(0);
            if is_compacted {
                world.config.compact_after = CompactAfter { rows: 1, bytes: 1 << 30 };
            }
            let tab = world.open_version(2);
            world.give(tab, Input::Leader(true));
            world.settle();
            world.write_portion(tab).unwrap();
            if is_done {
                world.migrate(tab);
            }
            if is_compacted {
                world.advance(Duration::from_secs(20));
                assert!(world.removed > 0);
            }
            let before = (world.disk.clone(), world.stored.root.clone());
            world.config.versions.clear();
            let (old, open) = world.start_tab();
            world.settle();
            let refused = world.reply(old, open).unwrap_err();
            assert_eq!(refused.code(), "STORAGE_OUTDATED");
            assert_eq!((world.disk.clone(), world.stored.root.clone()), before);
            world.crash(old);
            let tab = world.open_version(2);
            world.migrate(tab);
            assert_migrated_once(&world, tab, 6);
        }
    }
}

/// Goal: the place in a migration outlives the rows that say so.
#[test]
fn a_migration_goes_on_after_a_compaction_in_its_midst() {
    let mut world = large_stories(10);
    world.config.compact_after = CompactAfter { rows: 1, bytes: 1 << 30 };
    world.crash(0);
    let tab = world.open_version(2);
    world.give(tab, Input::Leader(true));
    world.write_portion(tab).unwrap();
    world.advance(Duration::from_secs(20));
    assert_eq!(world.removed, world.disk.len() - 1);
    world.crash(tab);
    // One that loads what it needs when it needs it.
    world.config.is_eager = false;
    let lazy = world.open_version(2);
    let missing = world.tabs[lazy].engine.portion_to_migrate("story", "").unwrap_err();
    assert_eq!(missing.code(), "NOT_LOADED");
    world.load(lazy, Need::Object(object_name("story"))).unwrap();
    // One that has read nothing folds what the other one writes.
    let follower = world.open_version(2);
    world.migrate(lazy);
    world.load_all(follower);
    for tab in [lazy, follower] {
        assert_migrated_once(&world, tab, 10);
    }
}

/// Goal: what is left when the root is lost goes through no function again, and the tab that is open goes on syncing.
#[test]
fn versions_that_are_lost_with_the_root_are_the_latest() {
    for is_open in [false, true] {
        let mut world = World::leading(by_hand());
        world.config.compact_after = CompactAfter { rows: 1, bytes: 1 << 30 };
        world.crash(0);
        let tab = world.open_version(2);
        world.migrate(tab);
        world.give(tab, Input::Leader(true));
        world.settle();
        world.advance(Duration::from_secs(20));
        assert!(world.stored.root.is_some());
        world.write(tab, create("story", json!({ "id": "a", "name": "N" }))).unwrap();
        if let Some(byte) = world.stored.root.as_mut().unwrap().last_mut() {
            *byte ^= 1;
        }
        if !is_open {
            world.crash(tab);
        }
        let opened = world.open_tab();
        assert_eq!(world.lagging(opened), json!([]));
        assert_eq!(world.shown(opened, "a"), json!({ "id": "a", "name": "N" }));
        let leader = if is_open { tab } else { opened };
        world.give(leader, Input::Leader(true));
        world.settle();
        world.start_sync(leader);
        assert!(world.is_sending(leader));
    }
}

#[test]
fn what_was_done_before_a_migration_cannot_be_taken_back() {
    let mut world = World::new(local());
    world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    world.write(0, update("story", "a", json!({ "title": "U" }))).unwrap();
    world.write(0, Command::Undo).unwrap();
    let tab = world.open_version(2);
    world.migrate(tab);
    let status = world.tabs[tab].engine.status();
    assert_eq!((status.undoable, status.redoable), (0, 0));
    assert_eq!(world.write(tab, Command::Undo), Ok(Reply::Existed(false)));
    world.write(tab, update("story", "a", json!({ "name": "V" }))).unwrap();
    assert_eq!(world.write(tab, Command::Undo), Ok(Reply::Existed(true)));
    assert_eq!(world.shown(tab, "a"), json!({ "id": "a", "name": "T", "times": 1 }));
}

/// Goal: pages of a snapshot that came in the old shape do not take the place of what was migrated.
#[test]
fn a_snapshot_is_collected_anew_after_a_migration() {
    let mut world = large_stories(1);
    let call = world.start_sync(0);
    world.answer_with(0, status(410));
    let story = |title: &str, name: &str| change("create", "s0", json!({ "id": "s0", (name): title }), 1);
    let page = |changes: Value, has_more: bool| json!({ "results": [], "serverChanges": changes, "checkpoint": "p1", "hasMore": has_more });
    world.answer(0, page(json!([story("old", "title")]), true));
    assert!(world.tabs[0].engine.state().is_collecting() && !world.is_answered(0, call));
    world.crash(0);
    let tab = world.open_version(2);
    world.migrate(tab);
    world.give(tab, Input::Leader(true));
    let call = world.start_sync(tab);
    assert_eq!(world.sent(tab).checkpoint(), None, "from the beginning");
    world.answer(tab, page(json!([story("new", "name")]), false));
    world.report(tab, call);
    assert_eq!(world.shown(tab, "s0"), json!({ "id": "s0", "name": "new" }));
}

#[test]
fn what_a_record_cannot_be_is_refused_and_nothing_is_written() {
    let mut world = World::new(local());
    world.write(0, create("story", json!({ "id": "a", "title": "T" }))).unwrap();
    let tab = world.open_version(2);
    let rows = world.disk.len();
    let large = Fields::from_normalised(format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20))).unwrap();
    let portion = world.portion(tab, "");
    assert_eq!(world.hand_back(tab, migrate(&portion, vec![large])).unwrap_err().code(), "VALUE_TOO_LARGE");
    let elsewhere = json!(["9,0,1,0"]);
    assert_eq!(world.hand_back(tab, migrate(&elsewhere, renamed(&portion))), Ok(Reply::Existed(false)));
    assert!(["", "1", "1,2,3", "1,2,3,x", "1,2,-3,4"].iter().all(|text| Portion::parse(text).is_err()));
    assert_eq!(world.disk.len(), rows);
    assert_eq!(world.lagging(tab), json!([["story", 1, 2]]));
}

/// Goal: a portion that grows beyond a row is taken as far as it fits.
#[test]
fn a_portion_that_grows_is_written_in_several_rows() {
    let mut world = World::new(local());
    for n in 0..30 {
        world
            .write(0, create("story", json!({ "id": format!("s{n}"), "title": format!("Story {n}") })))
            .unwrap();
    }
    let tab = world.open_version(2);
    let text = json!("x".repeat(900_000)).to_string();
    let mut rows = 0;
    while world.lagging(tab) != json!([]) {
        let portion = world.portion(tab, "");
        let values = renamed(&portion).into_iter().map(|value| value.with("text", &text));
        world.hand_back(tab, migrate(&portion, values.collect())).unwrap();
        assert!(world.disk.last().unwrap().len() < MAX_COMMAND_BYTES);
        rows += 1;
    }
    assert!(rows > 2, "{rows} rows");
    assert_migrated_once(&world, tab, 30);
}

fn with_default() -> Config {
    let story = json!({
        "name": "story",
        "fields": {
            "title": { "type": "text" },
            "status": { "type": "text", "defaultValue": "open" },
            "tags": { "type": "tags", "defaultValue": ["new", 1.0] },
        },
        "sync": { "enabled": true },
    });
    let text = story.to_string();
    let text = objectql_sync_protocol::normalise(&text, 32).unwrap();
    let story = ObjectDefinition::from_json(objectql_sync_protocol::Json::from_normalised(&text)).unwrap();
    eager(Config::new(vec![story], by_hand().sync).unwrap())
}

#[test]
fn a_new_record_gets_the_defaults_of_fields_that_are_absent() {
    let mut world = World::new(with_default());
    let object = object_name("story");
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let records =
        vec![fields(&json!({ "id": "b", "status": "done" })), fields(&json!({ "id": "c", "status": null }))];
    world.write(0, Command::Create { object: object.clone(), records }).unwrap();
    let upsert = |record: Value| Command::Upsert { object: object.clone(), record: fields(&record) };
    world.write(0, upsert(json!({ "id": "d", "tags": [] }))).unwrap();
    world.write(0, upsert(json!({ "id": "b", "title": "B" }))).unwrap();
    world.write(0, update("story", "c", json!({ "title": "C" }))).unwrap();
    assert_eq!(world.shown(0, "a"), json!({ "id": "a", "status": "open", "tags": ["new", 1] }));
    assert_eq!(world.shown(0, "b"), json!({ "id": "b", "status": "done", "tags": ["new", 1], "title": "B" }));
    assert_eq!(world.shown(0, "c"), json!({ "id": "c", "status": null, "tags": ["new", 1], "title": "C" }));
    assert_eq!(world.shown(0, "d"), json!({ "id": "d", "status": "open", "tags": [] }));
    assert_eq!(world.pending(0)[0]["data"]["status"], "open", "the server gets it, too");
    assert_eq!(world.pending(0)[4]["data"].get("status"), None);
}

#[test]
fn a_later_version_gives_records_and_pending_creates_the_defaults() {
    let mut world = large_stories(1);
    world.write(0, create("story", json!({ "id": "made", "title": "M" }))).unwrap();
    world.write(0, update("story", "s0", json!({ "title": "U" }))).unwrap();
    world.crash(0);
    // With the same version nothing is touched.
    world.config = with_default();
    let tab = world.open_tab();
    assert_eq!(world.shown(tab, "made").get("status"), None);
    world.crash(tab);
    let tab = world.open_version(2);
    world.migrate(tab);
    for id in ["made", "s0"] {
        assert_eq!(
            [&world.shown(tab, id)["status"], &world.shown(tab, id)["tags"]],
            [&json!("open"), &json!(["new", 1])]
        );
    }
    let pending = world.pending(tab);
    assert_eq!(
        [&pending[0]["data"]["status"], &pending[1]["data"]["status"]],
        [&json!("open"), &Value::Null]
    );
}

/// Goal: definitions change without a migration, as they always could: what is stored stays, and queries go by the new ones.
#[test]
fn other_definitions_without_migrations_lose_nothing() {
    let mut world = World::leading(by_hand());
    for n in 0..400 {
        world.write(0, create("story", json!({ "id": format!("s{n}"), "n": n, "kind": n % 2 }))).unwrap();
    }
    world.write(0, create("task", json!({ "id": "t", "title": "T" }))).unwrap();
    let pending = world.pending(0);
    world.crash(0);
    // Tasks are not listed, stories have an index, a field of another type and one more, and a value that only one may have.
    let story = json!([{
        "name": "story",
        "fields": { "n": { "type": "text", "unique": true }, "kind": { "type": "number" }, "extra": { "type": "text" } },
        "indexes": { "kind": { "fields": ["kind"] } },
        "sync": { "enabled": true },
    }]);
    let config = Config::new(serde_json::from_value(story).unwrap(), world.config.sync).unwrap();
    let old = std::mem::replace(&mut world.config, eager(config));
    let tab = world.open_tab();
    assert_eq!(world.pending(tab), pending);
    let query = Query::parse(r#"{"where":{"kind":1}}"#).unwrap();
    let found: Vec<Value> =
        serde_json::from_str(&world.tabs[tab].engine.find("story", &query).unwrap()).unwrap();
    assert_eq!(found.len(), 200);
    let explained = world.tabs[tab].engine.explain("story", query).unwrap();
    assert!(explained.contains("\"index\""), "{explained}");
    assert_eq!(world.write(tab, create("story", json!({ "n": 7 }))).unwrap_err().code(), "UNIQUE_VIOLATION");
    assert_eq!(world.write(tab, create("task", json!({}))).unwrap_err().code(), "UNKNOWN_OBJECT");
    // What is known goes to the server, what is not waits, and goes when its object comes back.
    world.give(tab, Input::Leader(true));
    let call = world.start_sync(tab);
    let mut version = 1;
    while !world.is_answered(tab, call) {
        let count = world.sent(tab).mutations().len() as u64;
        world.apply_all(tab, version, json!([]), &format!("c{version}"));
        version += count;
    }
    world.report(tab, call);
    assert_eq!(world.pending(tab), [pending.last().unwrap().clone()]);
    world.crash(tab);
    world.config = old;
    let tab = world.open_tab();
    assert_eq!(world.pending(tab), [pending.last().unwrap().clone()]);
    assert_eq!(world.get(tab, "task", "t"), Some(json!({ "id": "t", "title": "T" })));
}

/// Goal: an object that this release does not list is another release's affair, whatever version its data have.
#[test]
fn the_version_of_an_object_that_is_not_listed_stops_nobody() {
    let mut world = World::new(version(2, local()));
    world.write(0, create("story", json!({ "id": "a", "name": "N" }))).unwrap();
    let task = objects().into_iter().filter(|definition| definition.name.as_str() == "task").collect();
    world.config = eager(Config::new(task, None).unwrap());
    let tab = world.open_tab();
    world.write(tab, create("task", json!({ "id": "t" }))).unwrap();
    world.config = version(2, local());
    let tab = world.open_tab();
    assert_eq!(world.shown(tab, "a"), json!({ "id": "a", "name": "N" }));
}

/// Goal: a migration that was cut, of an object which the next release does not list any more, has nobody who ends it.
#[test]
fn a_migration_that_nobody_ends_does_not_hold_up_other_objects() {
    let mut world = large_stories(8);
    world.crash(0);
    let tab = world.open_version(2);
    assert_eq!(world.write_portion(tab), Ok(Reply::Existed(true)));
    assert_ne!(world.lagging(tab), json!([]));
    world.crash(tab);
    world.config = eager(Config::new(vec![objects().remove(1)], world.config.sync).unwrap());
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    world.write(tab, create("task", json!({ "id": "t" }))).unwrap();
    let call = world.start_sync(tab);
    world.apply_all(tab, 1, json!([]), "c2");
    assert_eq!(world.report(tab, call).applied, 1);
}

#[test]
fn a_migration_keeps_times_that_have_a_default() {
    let mut world = World::new(local());
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let story = json!({
        "name": "story",
        "fields": {
            "id": { "type": "text", "defaultValue": "one" },
            "created_at": { "type": "datetime", "defaultValue": "soon" },
        },
        "sync": { "enabled": true },
    });
    let text = story.to_string();
    let text = objectql_sync_protocol::normalise(&text, 32).unwrap();
    let story = ObjectDefinition::from_json(objectql_sync_protocol::Json::from_normalised(&text)).unwrap();
    world.config = eager(Config::new(vec![story], world.config.sync).unwrap());
    let tab = world.open_version(2);
    world.migrate(tab);
    let id = RecordId::string("a").unwrap();
    let record = world.tabs[tab].engine.get("story", id).unwrap().unwrap();
    assert_eq!(record.names().collect::<Vec<_>>(), ["id", "times", "created_at", "updated_at"]);
}

/// Goal: the row of another tab is folded as one's own: whatever is read of it later, one state comes of it.
#[test]
fn a_row_of_a_migration_is_the_same_in_every_tab_and_after_a_replay() {
    let mut world = World::leading(by_hand());
    for n in 0..5 {
        world
            .write(0, create("story", json!({ "id": format!("s{n}"), "title": format!("Story {n}") })))
            .unwrap();
    }
    world.crash(0);
    let (tab, other) = (world.open_version(2), world.open_version(2));
    world.migrate(tab);
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[other].engine.state());
    assert_eq!(world.find(tab, "story"), world.find(other, "story"));
    let opened = world.open_tab();
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[opened].engine.state());
    let rows = world.disk.iter().map(|bytes| Row::decode(bytes).unwrap());
    let migrated = rows.flat_map(|row| row.events).filter_map(|event| match event {
        Event::Migrated(migrated) => Some(*migrated),
        _ => None,
    });
    let migrated: Vec<Migrated> = migrated.collect();
    assert_eq!(migrated.len(), 1);
    assert_eq!((migrated[0].mutations.len(), migrated[0].records.len()), (5, 0));
}

/// Stories in whatever state a first release may leave them: the server's, changed, refused, in conflict, made, removed.
fn random_stories(random: &mut Random) -> World {
    let mut world = large_stories(6);
    let text = "y".repeat(60_000);
    for n in 0..random.up_to(12) {
        let id = format!("s{}", random.up_to(9));
        let command = match random.up_to(4) {
            0 => delete("story", &id),
            1 | 2 => update("story", &id, json!({ "title": format!("Edit {n}") })),
            _ => create("story", json!({ "id": id, "title": format!("Made {n}"), "text": text })),
        };
        let _ = world.write(0, command);
        if random.up_to(3) == 0 {
            let call = world.start_sync(0);
            let mutations = if world.is_sending(0) { world.sent(0).mutations() } else { Vec::new() };
            if mutations.is_empty() || random.up_to(4) == 0 {
                // It stays under way.
                continue;
            }
            let result = |mutation: &Value| match random.up_to(3) {
                0 => rejected("no"),
                1 => {
                    let theirs = json!({ "id": mutation["recordId"], "title": "theirs", "text": "z" });
                    conflict(mutation, theirs, Some(200 + n))
                }
                _ => applied(100 + n),
            };
            let results: Vec<_> = mutations.iter().map(result).collect();
            let checkpoint = format!("r{n}");
            world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": checkpoint }));
            let _ = world.is_answered(0, call);
        }
    }
    world
}

/// All values that a value of one of those reports has, with titles or names.
fn shapes(reports: &[Value]) -> Vec<&Value> {
    let parts = |report: &Value| {
        [
            "/data",
            "/mutation/data",
            "/baseRecord",
            "/serverRecord",
            "/clientMutation/data",
            "/suggestedResolution",
        ]
        .map(|part| report.pointer(part).is_some_and(Value::is_object).then_some(part))
    };
    let all =
        reports.iter().flat_map(|report| parts(report).into_iter().flatten().map(move |at| (report, at)));
    all.filter_map(|(report, at)| report.pointer(at)).collect()
}

/// Goal: whatever there is, and whatever happens while it is migrated (crashes, commits of which nobody knows, two tabs at once,
/// compactions), each value goes through once, nothing is lost or doubled, and all tabs agree.
#[test]
fn every_value_is_migrated_once_whatever_happens() {
    for seed in 0..60 {
        let mut random = Random::new([seed; 32]);
        let mut world = random_stories(&mut random);
        let kept = |world: &World, tab: usize| {
            let ids = |reports: Vec<Value>| reports.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
            [
                ids(world.find(tab, "story")),
                ids(world.pending(tab)),
                ids(world.conflicts(tab)),
                ids(world.rejected(tab)),
            ]
        };
        let titles = |world: &World, tab: usize, name: &str| -> Vec<Value> {
            world.find(tab, "story").iter().map(|story| story[name].clone()).collect()
        };
        // A tab of the release before goes on writing until it cannot.
        let mut before = (kept(&world, 0), titles(&world, 0, "title"));
        world.config.compact_after = CompactAfter { rows: 1, bytes: 1 << 30 };
        let mut tabs = vec![world.open_version(2), world.open_version(2)];
        world.give(tabs[0], Input::Leader(true));
        world.settle();
        for n in 0..200 {
            let place = random.up_to(1) as usize;
            let tab = tabs[place];
            if world.lagging(tab) == json!([]) {
                break;
            }
            let late = json!({ "title": format!("Late {n}") });
            let call = world.start_write(0, update("story", &format!("s{}", random.up_to(9)), late));
            if random.up_to(2) > 0 {
                world.settle();
            }
            match random.up_to(5) {
                0 => {
                    world.crash(tab);
                    tabs[place] = world.open_version(2);
                    world.give(tabs[place], Input::Leader(true));
                }
                1 => world.advance(Duration::from_secs(20)),
                2 if !world.is_sending(tab) && world.tabs[tab].store.is_none() => {
                    world.start_portion(tab);
                    if let Some(StoreCall::Append { .. }) = world.tabs[tab].store {
                        world.lose_append(tab, random.up_to(1) == 0);
                    }
                }
                _ => {
                    world.start_portion(tabs[0]);
                    world.start_portion(tabs[1]);
                }
            }
            world.settle();
            if world.reply(0, call).is_ok() {
                before = (kept(&world, 0), titles(&world, 0, "title"));
            }
        }
        for tab in tabs {
            // Who wrote the last row may have gone before it said so.
            world.give(tab, Input::Nudge);
            world.settle();
            assert_eq!(world.lagging(tab), json!([]), "seed {seed}");
            world.check(tab);
            assert_eq!((kept(&world, tab), titles(&world, tab, "name")), before, "seed {seed}");
            let (records, reports) = (
                world.find(tab, "story"),
                [world.pending(tab), world.conflicts(tab), world.rejected(tab)].concat(),
            );
            for value in records.iter().chain(shapes(&reports)) {
                let is_once = value["times"] == 1 && value.get("title").is_none();
                assert!(is_once, "seed {seed}: {}", value.to_string().chars().take(200).collect::<String>());
            }
        }
        let opened = world.open_version(2);
        world.load_all(opened);
        assert_eq!(kept(&world, opened), before.0, "seed {seed}");
    }
}
