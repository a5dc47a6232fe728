//! Objects that join, leave, or turn round between two openings.

use super::*;

fn with_story(sync: Value) -> Config {
    let definition = serde_json::from_value(json!({ "name": "story", "sync": sync })).unwrap();
    Config::new(
        vec![definition],
        Some(SyncSettings { is_automatic: false, poll_interval: None, is_realtime: false }),
    )
    .unwrap()
}

/// Opens the database of a world anew, with other definitions, and lets it lead.
fn reopen(world: &mut World, config: Config) -> usize {
    let last = world.tabs.len() - 1;
    world.crash(last);
    world.config = config;
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    tab
}

fn pull(world: &mut World, tab: usize, changes: Value, checkpoint: &str) {
    world.start_sync(tab);
    world.answer(tab, json!({ "results": [], "serverChanges": changes, "checkpoint": checkpoint }));
}

#[test]
fn an_object_that_joins_brings_its_records_and_gets_the_servers() {
    let mut world = World::leading(with_story(json!({ "enabled": false })));
    world.write(0, create("story", json!({ "id": "local", "title": "t" }))).unwrap();
    world.write(0, update("story", "local", json!({ "title": "u" }))).unwrap();
    pull(&mut world, 0, json!([]), "c1");
    let tab = reopen(&mut world, with_story(json!({ "enabled": true })));
    assert_eq!(world.pending(tab).len(), 1, "as one create");
    assert_eq!(world.get(tab, "story", "local").unwrap()["title"], "u");

    world.start_sync(tab);
    assert_eq!(world.sent(tab).checkpoint(), None, "what came before is behind the checkpoint");
    let theirs = json!([change("create", "theirs", json!({ "id": "theirs" }), 1)]);
    world.answer(tab, json!({ "results": [], "serverChanges": theirs, "checkpoint": "c2" }));
    assert_eq!(world.find(tab, "story").len(), 2);
    let sent = world.sent(tab).mutations();
    assert_eq!(
        (sent.len(), &sent[0]["operation"], &sent[0]["baseVersion"]),
        (1, &json!("create"), &Value::Null)
    );
    assert_eq!(sent[0]["data"]["title"], "u");
    world.apply_all(tab, 2, json!([]), "c3");
    assert_eq!(world.pending(tab).len(), 0);
    world.check(tab);
    let again = reopen(&mut world, with_story(json!({ "enabled": true })));
    assert_eq!(world.pending(again).len(), 0, "once");
}

#[test]
fn an_object_that_turns_to_pulling_gets_what_it_missed() {
    let mut world = World::leading(with_story(json!({ "enabled": true, "direction": "push-only" })));
    world.write(0, create("story", json!({ "id": "mine" }))).unwrap();
    world.start_sync(0);
    world.apply_all(0, 1, json!([change("create", "theirs", json!({ "id": "theirs" }), 2)]), "c2");
    assert_eq!(world.find(0, "story").len(), 1);
    let tab = reopen(&mut world, with_story(json!({ "enabled": true })));
    let all = json!([
        change("create", "mine", json!({ "id": "mine" }), 1),
        change("create", "theirs", json!({ "id": "theirs" }), 2),
    ]);
    pull(&mut world, tab, all, "c2");
    assert_eq!(world.find(tab, "story").len(), 2);
}

/// Goal: what is not to be pushed any more is not, and is neither lost.
#[test]
fn an_object_that_leaves_keeps_its_mutations_here() {
    for left in [json!({ "enabled": false }), json!({ "enabled": true, "direction": "pull-only" })] {
        for is_frozen in [false, true] {
            let mut world = World::leading(with_story(json!({ "enabled": true })));
            world.write(0, create("story", json!({ "id": "a" }))).unwrap();
            if is_frozen {
                world.start_sync(0);
            }
            let tab = reopen(&mut world, with_story(left.clone()));
            let call = world.start_sync(tab);
            while world.is_sending(tab) {
                assert_eq!(world.sent(tab).mutations().len(), 0, "{left} {is_frozen}");
                world.answer_probe(tab);
            }
            assert!(world.is_answered(tab, call));
            assert_eq!((world.pending(tab).len(), world.find(tab, "story").len()), (1, 1));
            let back = reopen(&mut world, with_story(json!({ "enabled": true })));
            world.start_sync(back);
            while world.sent(back).mutations().is_empty() {
                world.answer(back, json!({ "results": [], "serverChanges": [], "checkpoint": "c8" }));
            }
            world.apply_all(back, 1, json!([]), "c9");
            assert_eq!(world.pending(back).len(), 0);
        }
    }
}

#[test]
fn a_dropped_object_may_come_back() {
    let mut world = World::leading(with_story(json!({ "enabled": true })));
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let sync = SyncSettings { is_automatic: false, poll_interval: None, is_realtime: false };
    let tab = reopen(&mut world, Config::new(Vec::new(), Some(sync)).unwrap());
    pull(&mut world, tab, json!([]), "c1");
    assert_eq!(
        world.tabs[tab].engine.get("story", RecordId::string("a").unwrap()).unwrap_err().code(),
        "UNKNOWN_OBJECT"
    );
    let back = reopen(&mut world, with_story(json!({ "enabled": true })));
    assert_eq!((world.pending(back).len(), world.find(back, "story").len()), (1, 1));
}

/// Goal: a reset takes away what the server does not have any more, and nothing that never was the server's.
#[test]
fn a_reset_leaves_local_records_alone() {
    let config = || {
        let objects = json!([
            { "name": "story", "sync": { "enabled": true } },
            { "name": "draft", "sync": { "enabled": false } },
        ]);
        Config::new(serde_json::from_value(objects).unwrap(), Some(SyncSettings::default())).unwrap()
    };
    let mut world = World::leading(config());
    world.write(0, create("draft", json!({ "id": "d" }))).unwrap();
    world.start_sync(0);
    world.answer_with(0, status(410));
    world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "s" }));
    assert_eq!(world.find(0, "draft").len(), 1);
}

#[test]
fn a_poll_that_brings_nothing_writes_nothing() {
    let mut world = World::leading(by_hand());
    pull(&mut world, 0, json!([]), "c1");
    let rows = world.disk.len();
    for _ in 0..10 {
        pull(&mut world, 0, json!([]), "c1");
    }
    assert_eq!(world.disk.len(), rows);
    pull(&mut world, 0, json!([]), "c2");
    assert_eq!(world.disk.len(), rows + 1);
}

/// Goal: what is written to a record of the server while its object takes no part is kept for the server, as the change, the
/// delete or the new record that it is.
#[test]
fn what_is_written_while_an_object_is_away_goes_when_it_comes_back() {
    let (here, away) =
        (|| with_story(json!({ "enabled": true })), || with_story(json!({ "enabled": false })));
    let mut world = World::leading(here());
    for id in ["changed", "deleted", "pending"] {
        world.write(0, create("story", json!({ "id": id, "title": "0" }))).unwrap();
    }
    world.start_sync(0);
    world.apply_all(0, 1, json!([]), "c3");
    world.write(0, update("story", "pending", json!({ "title": "1" }))).unwrap();
    let tab = reopen(&mut world, away());
    world.write(tab, update("story", "changed", json!({ "title": "2" }))).unwrap();
    world.write(tab, delete("story", "deleted")).unwrap();
    world.write(tab, update("story", "pending", json!({ "title": "3" }))).unwrap();
    world.write(tab, create("story", json!({ "id": "new" }))).unwrap();
    let call = world.start_sync(tab);
    while world.is_sending(tab) {
        assert_eq!(world.sent(tab).mutations().len(), 0);
        world.answer_probe(tab);
    }
    world.report(tab, call);

    let back = reopen(&mut world, here());
    world.start_sync(back);
    let theirs: Vec<_> = (1..)
        .zip(["changed", "deleted", "pending"])
        .map(|(version, id)| change("create", id, json!({ "id": id, "title": "0" }), version))
        .collect();
    world.answer(back, json!({ "results": [], "serverChanges": theirs, "checkpoint": "c3" }));
    let sent = world.sent(back).mutations();
    let seen: Vec<_> =
        sent.iter().map(|it| (it["recordId"].as_str().unwrap(), it["operation"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("pending", "update"),
            ("changed", "update"),
            ("deleted", "delete"),
            ("pending", "update"),
            ("new", "create")
        ]
    );
    world.apply_all(back, 4, json!([]), "c8");
    assert_eq!(world.pending(back).len(), 0);
    assert_eq!(world.get(back, "story", "pending").unwrap()["title"], "3");
    assert_eq!(world.get(back, "story", "changed").unwrap()["title"], "2");
    assert_eq!(world.get(back, "story", "deleted"), None);
    world.check(back);
}

/// Goal: during an update of the app a tab of the older release, to which the object is a local one, writes what the server gets all
/// the same. (Seed 15 of the simulator.)
#[test]
fn a_tab_of_an_older_release_writes_for_the_server_too() {
    let mut world = World::leading(with_story(json!({ "enabled": true })));
    world.start_sync(0);
    world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c1" }));
    world.config = with_story(json!({ "enabled": false }));
    let older = world.open_tab();
    world.write(older, create("story", json!({ "id": "a", "title": "t" }))).unwrap();
    assert_eq!(world.pending(older).len(), 1);
    world.settle();
    world.start_sync(0);
    let sent = world.sent(0).mutations();
    assert_eq!(
        (sent.len(), &sent[0]["operation"], &sent[0]["data"]["title"]),
        (1, &json!("create"), &json!("t"))
    );
}

/// Goal: what was written locally and is refused when its object joins is shown as that, and is no record any more. (Seed 178 of the
/// simulator.)
#[test]
fn a_local_record_that_the_server_refuses_leaves_nothing_behind() {
    let mut world = World::leading(with_story(json!({ "enabled": false })));
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let tab = reopen(&mut world, with_story(json!({ "enabled": true })));
    world.start_sync(tab);
    world.answer(tab, json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c1" }));
    assert_eq!((world.pending(tab).len(), world.rejected(tab).len()), (0, 1));
    assert_eq!(world.get(tab, "story", "a"), None);
    world.check(tab);
}

/// Goal: a local record that is changed when its object is defined as synced, and no tab has synced it yet, is made on the server
/// first.
#[test]
fn a_local_record_is_made_before_it_is_changed() {
    let mut world = World::leading(with_story(json!({ "enabled": false })));
    for id in ["changed", "deleted"] {
        world.write(0, create("story", json!({ "id": id, "title": "t" }))).unwrap();
    }
    world.crash(0);
    world.config = with_story(json!({ "enabled": true }));
    let tab = world.open_tab();
    world.write(tab, update("story", "changed", json!({ "title": "u" }))).unwrap();
    world.write(tab, delete("story", "deleted")).unwrap();
    world.give(tab, Input::Leader(true));
    world.settle();
    world.start_sync(tab);
    let sent = world.sent(tab).mutations();
    let seen: Vec<_> =
        sent.iter().map(|it| (it["recordId"].as_str().unwrap(), it["operation"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [("changed", "create"), ("changed", "update"), ("deleted", "create"), ("deleted", "delete")]
    );
    assert_eq!(world.get(tab, "story", "changed").unwrap()["title"], "u");
    assert_eq!(world.get(tab, "story", "deleted"), None);
    world.check(tab);
}
