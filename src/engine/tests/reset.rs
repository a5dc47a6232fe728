//! The server forgot our checkpoint: a snapshot takes the place of the data.

use super::*;

fn page(checkpoint: &str, changes: Value, has_more: bool) -> Value {
    json!({ "results": [], "serverChanges": changes, "checkpoint": checkpoint, "hasMore": has_more })
}

/// A leading tab with the stories `a`, `b` and `c` in sync at the checkpoint `c3`.
fn in_sync() -> World {
    let mut world = World::leading(automatic());
    world.start_sync(0);
    let story = |id: &str, version| change("create", id, json!({ "title": id }), version);
    world.answer(0, page("c3", json!([story("a", 1), story("b", 2), story("c", 3)]), false));
    world.write(0, create("draft", json!({ "id": "d", "n": 1 }))).unwrap();
    world
}

fn ids(world: &World, tab: usize) -> Vec<String> {
    let mut ids: Vec<_> =
        world.find(tab, "story").iter().map(|story| story["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_snapshot_replaces_the_data_and_keeps_what_is_pending() {
    let mut world = in_sync();
    world.write(0, update("story", "a", json!({ "title": "mine" }))).unwrap();
    world.write(0, create("story", json!({ "id": "new" }))).unwrap();
    let call = world.start_sync(0);
    let first = world.sent(0);
    world.answer_with(0, status(410));
    assert_eq!(world.sent(0).checkpoint(), None);
    assert_eq!(world.sent(0).mutations().len(), 0);
    world.answer(0, page("s1", json!([change("create", "a", json!({ "title": "A", "n": 1 }), 7)]), true));
    assert_eq!(world.sent(0).checkpoint().as_deref(), Some("s1"));
    assert_eq!(ids(&world, 0), ["a", "b", "c", "new"], "the old data stay until the new are whole");
    world.write(0, update("story", "b", json!({ "title": "kept" }))).unwrap();
    let rest = json!([
        change("create", "c", json!({ "title": "C" }), 8),
        change("update", "a", json!({ "n": 2 }), 9),
        change("create", "e", json!({}), 10),
        change("delete", "e", Value::Null, 11),
    ]);
    world.answer(0, page("s2", rest, false));
    assert_eq!(ids(&world, 0), ["a", "c", "new"], "b was deleted there: an update does not revive it");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "n": 2 })));
    assert_eq!(world.get(0, "story", "c"), Some(json!({ "id": "c", "title": "C" })));
    assert_eq!(world.get(0, "draft", "d"), Some(json!({ "id": "d", "n": 1 })), "what is not synced stays");
    world.check(0);
    let again = world.sent(0);
    assert_eq!(again.ids(), first.ids());
    assert_eq!(again.checkpoint().as_deref(), Some("s2"));
    world.apply_all(0, 20, json!([]), "s3");
    world.advance(Duration::from_secs(2));
    world.answer(0, json!({ "results": [rejected("deleted")], "serverChanges": [], "checkpoint": "s4" }));
    assert_eq!(world.rejected(0).len(), 1);
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.report(0, call).applied, 2);
    world.check(0);
}

#[test]
fn a_reset_goes_on_after_a_crash() {
    let mut world = in_sync();
    world.start_sync(0);
    world.answer_with(0, status(410));
    world.answer(0, page("s1", json!([change("create", "x", json!({}), 7)]), true));
    world.crash(0);
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab), ["a", "b", "c"]);
    world.give(tab, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(tab).checkpoint().as_deref(), Some("s1"));
    world.answer(tab, page("s2", json!([change("create", "y", json!({}), 8)]), false));
    assert_eq!(ids(&world, tab), ["x", "y"]);
    world.check(tab);
}

#[test]
fn a_reset_may_be_reset() {
    let mut world = in_sync();
    world.start_sync(0);
    world.answer_with(0, status(410));
    world.answer(0, page("s1", json!([change("create", "x", json!({}), 7)]), true));
    world.answer_with(0, status(410));
    world.advance(Duration::from_secs(61));
    assert_eq!(world.sent(0).checkpoint(), None);
    world.answer(0, page("t1", json!([change("create", "y", json!({}), 8)]), false));
    assert_eq!(ids(&world, 0), ["y"]);
}

#[test]
fn a_refused_beginning_is_a_failure() {
    let mut world = World::new(automatic());
    world.give(0, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(0).checkpoint(), None);
    world.answer_with(0, status(410));
    assert!(!world.is_sending(0));
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "HTTP_STATUS");
}

/// Goal: a server that takes none of its own checkpoints back is not asked in a hot loop, whatever its pages.
#[test]
fn a_server_that_always_forgets_does_not_make_a_storm() {
    for has_more in [false, true] {
        let mut world = in_sync();
        world.write(0, create("story", json!({ "id": "new" }))).unwrap();
        world.start_sync(0);
        let begin = world.now;
        let mut requests = 0;
        for n in 0..100 {
            while !world.is_sending(0) {
                world.advance(Duration::from_secs(1));
            }
            requests += 1;
            match world.sent(0).checkpoint() {
                None => world.answer(0, page(&format!("s{n}"), json!([]), has_more)),
                Some(_) => world.answer_with(0, status(410)),
            }
        }
        let spent = world.now - begin;
        assert!(spent > Duration::from_secs(300), "{requests} requests within {spent:?}");
        assert_eq!(world.pending(0).len(), 1);
    }
}

/// Goal: what was applied before the reset, with its page of changes still to come, settles with the snapshot.
#[test]
fn what_waits_for_its_page_settles_with_the_snapshot() {
    let mut world = in_sync();
    world.write(0, create("story", json!({ "id": "new" }))).unwrap();
    world.write(0, update("story", "a", json!({ "title": "mine" }))).unwrap();
    let call = world.start_sync(0);
    let results = json!([applied(4), applied(5)]);
    let first = json!({ "results": results, "serverChanges": [], "checkpoint": "c4", "hasMore": true });
    world.answer(0, first);
    assert_eq!(world.pending(0).len(), 2);
    world.answer_with(0, status(410));
    // Somebody deleted the new one and edited `a` since.
    world.answer(0, page("s1", json!([change("create", "a", json!({ "title": "theirs" }), 7)]), false));
    assert_eq!(world.pending(0).len(), 0, "nothing is left to wait for");
    assert_eq!(ids(&world, 0), ["a"]);
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "theirs" })));
    assert!(world.report(0, call).applied == 2);
    world.check(0);
}

/// Goal: a create whose answer was lost and that somebody deleted before the snapshot does not come back.
#[test]
fn a_create_of_unknown_outcome_that_is_not_in_the_snapshot_is_not_revived() {
    let mut world = in_sync();
    world.write(0, create("story", json!({ "id": "new" }))).unwrap();
    world.start_sync(0);
    world.lose_request(0);
    world.advance(Duration::from_secs(61));
    world.answer_with(0, status(410));
    world.answer(0, page("s1", json!([change("create", "a", json!({ "title": "A" }), 9)]), false));
    // The server applied it as version 4 the first time; version 5 was somebody's delete.
    world.apply_all(0, 4, json!([]), "s2");
    assert_eq!(ids(&world, 0), ["a"]);
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

/// Goal: the same where the first answer of all is a snapshot.
#[test]
fn a_create_that_was_undone_before_the_first_answer_is_not_revived() {
    let mut world = World::new(automatic());
    for id in ["gone", "there"] {
        world.write(0, create("story", json!({ "id": id }))).unwrap();
    }
    world.give(0, Input::Leader(true));
    world.settle();
    assert_eq!(world.sent(0).sequences(), [1, 2], "the first request of all carries what there is");
    world.lose_request(0);
    world.advance(Duration::from_secs(61));
    assert_eq!(world.sent(0).checkpoint(), None);
    let snapshot = json!([change("create", "there", json!({ "title": "x" }), 3)]);
    world.answer(0, json!({ "results": [], "serverChanges": snapshot, "checkpoint": "s3" }));
    assert_eq!(world.sent(0).sequences(), [1, 2]);
    world.apply_all(0, 1, json!([]), "s3");
    assert_eq!(ids(&world, 0), ["there"]);
    assert_eq!(world.pending(0).len(), 0);
}

/// Goal: a server that keeps our own changes to itself is understood too.
#[test]
fn a_first_create_without_an_echo_is_kept() {
    let mut world = World::new(automatic());
    world.write(0, create("story", json!({ "id": "new" }))).unwrap();
    world.give(0, Input::Leader(true));
    world.settle();
    world.apply_all(0, 1, json!([]), "c1");
    assert_eq!(ids(&world, 0), ["new"]);
}

/// Goal: the same where the pages brought the create and its delete before the verdict came.
#[test]
fn a_create_whose_delete_came_before_its_verdict_is_not_revived() {
    let mut world = in_sync();
    for id in ["new", "newer"] {
        world.write(0, create("story", json!({ "id": id }))).unwrap();
    }
    world.start_sync(0);
    world.lose_request(0);
    world.advance(Duration::from_secs(61));
    world.answer_with(0, status(413));
    assert_eq!(world.sent(0).sequences(), [1]);
    let changes = json!([
        change("create", "new", json!({}), 4),
        change("create", "newer", json!({}), 5),
        change("delete", "newer", Value::Null, 6),
    ]);
    world.apply_all(0, 4, changes, "c6");
    assert_eq!(world.sent(0).sequences(), [2]);
    world.apply_all(0, 5, json!([]), "c6");
    assert_eq!(ids(&world, 0), ["a", "b", "c", "new"]);
    world.check(0);
}

/// Goal: a verdict that comes again for a mutation whose record was deleted since, in an answer that has neither the create
/// nor the delete, revives nothing: a server that echoes would have said so.
#[test]
fn a_repeated_verdict_without_an_echo_revives_nothing() {
    let echoing = |body: Value| {
        let features = Features { has_echoes: true, ..ALL };
        Answer { features, ..ok(body.to_string().into_bytes()) }
    };
    let mut world = World::new(automatic());
    world.write(0, create("story", json!({ "id": "gone" }))).unwrap();
    world.write(0, create("note", json!({ "id": "mine" }))).unwrap();
    world.give(0, Input::Leader(true));
    world.settle();
    // A clone of this profile has pushed the same, and somebody deleted the story.
    world.answer_with(0, status(413));
    for version in [3, 4] {
        let body = json!({ "results": [applied(version)], "serverChanges": [], "checkpoint": "c5" });
        world.answer_with(0, echoing(body));
    }
    assert_eq!((world.pending(0).len(), world.find(0, "story").len()), (0, 0));
    assert_eq!(
        world.find(0, "note").len(),
        1,
        "of an object whose changes are not taken, there are no echoes"
    );
    world.check(0);
}
