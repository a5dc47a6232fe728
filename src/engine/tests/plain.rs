//! Servers that do no more than the wire format says: they do not know a repeat, only compare versions, and refuse as they like.

use super::*;

/// A leading tab that has pulled nothing from a plain server yet.
fn leading(objects: Value) -> World {
    let definitions = serde_json::from_value(objects).unwrap();
    let sync = SyncSettings { is_automatic: false, poll_interval: None, is_realtime: false };
    let mut world = World::new(Config::new(definitions, Some(sync)).unwrap());
    world.give(0, Input::Leader(true));
    world.settle();
    world
}

fn story_with(sync: Value) -> Value {
    let mut settings = json!({ "enabled": true });
    settings.as_object_mut().unwrap().extend(sync.as_object().unwrap().clone());
    let text = json!({ "type": "text" });
    json!([{ "name": "story", "fields": { "title": text, "body": text }, "sync": settings }])
}

fn answer_plainly(world: &mut World, results: Value, changes: Value, checkpoint: &str) {
    let body = json!({ "results": results, "serverChanges": changes, "checkpoint": checkpoint });
    world.answer_with(0, plain(body.to_string().into_bytes()));
}

/// The change that a plain server logs for a mutation.
fn echo(mutation: &Value, version: u64) -> Value {
    let mut change = mutation.clone();
    change["serverVersion"] = json!(version);
    change
}

fn superseded(world: &World) -> Vec<Value> {
    let notices = world.tabs[0].notices.iter();
    notices
        .filter_map(|notice| match notice {
            Notice::Superseded(json) => Some(serde_json::from_str(json).unwrap()),
            _ => None,
        })
        .collect()
}

/// A story that both sides know at version 1, and an edit of it here at 00:00:01.
fn with_edit(sync: Value, patch: Value) -> World {
    let mut world = leading(story_with(sync));
    world.write(0, create("story", json!({ "id": "a", "title": "t", "body": "b" }))).unwrap();
    world.start_sync(0);
    let mutation = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([applied(1)]), json!([echo(&mutation, 1)]), "1");
    world.write(0, update("story", "a", patch)).unwrap();
    world.start_sync(0);
    world
}

/// Their record, last changed so many seconds after the epoch.
fn theirs(title: &str, second: u8) -> Value {
    json!({ "id": "a", "title": title, "body": "b", "updated_at": format!("2026-01-01T00:00:{second:02}.000Z") })
}

fn conflict_with_theirs(world: &mut World, title: &str, second: u8) {
    let mine = world.sent(0).mutations().remove(0);
    let patch = json!({ "title": title, "updated_at": theirs(title, second)["updated_at"] });
    let changes = json!([change("update", "a", patch, 2)]);
    let results = json!([conflict(&mine, theirs(title, second), None)]);
    answer_plainly(world, results, changes, "2");
}

/// Goal: after a lost answer the same is not sent again blindly: what the server did shows in its changes, and only the rest
/// follows.
#[test]
fn a_lost_answer_is_looked_for_in_the_changes() {
    let mut world = leading(story_with(json!({})));
    for id in ["a", "b", "c"] {
        world.write(0, create("story", json!({ "id": id, "title": "t" }))).unwrap();
    }
    world.start_sync(0);
    let sent = world.sent(0);
    world.lose_request(0);
    world.start_sync(0);
    assert_eq!(world.sent(0).mutations().len(), 0, "a pull first");
    let echoes: Vec<_> = sent.mutations()[..2].iter().map(|mutation| echo(mutation, 1)).collect();
    answer_plainly(&mut world, json!([]), json!(echoes), "2");
    assert_eq!(world.sent(0).ids(), sent.ids()[2..], "only what was not applied");
    answer_plainly(&mut world, json!([applied(1)]), json!([echo(&sent.mutations()[2], 1)]), "3");
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.find(0, "story").len(), 3);
    world.check(0);
}

/// Goal: the same values by somebody else, at another time, are not taken for ours.
#[test]
fn somebody_elses_equal_write_is_not_recognised_as_ours() {
    let mut world = with_edit(json!({}), json!({ "title": "same" }));
    world.lose_request(0);
    world.start_sync(0);
    let patch = json!({ "title": "same", "updated_at": "2026-01-01T00:00:09.000Z" });
    answer_plainly(&mut world, json!([]), json!([change("update", "a", patch, 2)]), "2");
    assert_eq!(world.sent(0).mutations().len(), 1, "sent again");
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 1);
}

/// Goal: two edits of a record in one request, of which the server takes the first for somebody else's: no conflict, and from
/// then on they go one by one.
#[test]
fn a_server_that_conflicts_with_itself_gets_one_mutation_of_a_record_at_a_time() {
    let mut world = with_edit(json!({ "strategy": "manual" }), json!({ "title": "1" }));
    world.lose_request(0);
    world.write(0, update("story", "a", json!({ "title": "2" }))).unwrap();
    world.start_sync(0);
    answer_plainly(&mut world, json!([]), json!([]), "1");
    let sent = world.sent(0).mutations();
    assert_eq!(sent.len(), 2);
    let first = json!({ "id": "a", "title": "1", "body": "b" });
    let results = json!([applied(2), conflict(&sent[1], first, None)]);
    answer_plainly(&mut world, results, json!([echo(&sent[0], 2)]), "2");
    assert_eq!(world.conflicts(0).len(), 0);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 2);
    for (n, id) in [(3, "x"), (4, "y")] {
        world.write(0, update("story", "a", json!({ "title": n }))).unwrap();
        world.write(0, create("story", json!({ "id": id }))).unwrap();
    }
    let second = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([applied(3)]), json!([echo(&second, 3)]), "3");
    world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [4, 5, 7], "of the record only the first");
}

/// Goal: a value that is changed and changed back in one request stays as it was written last, though the server, which took neither,
/// holds it already.
#[test]
fn an_edit_that_goes_back_to_what_the_server_has_follows_the_edit_before_it() {
    let mut world = leading(story_with(json!({})));
    for command in [
        create("story", json!({ "id": "a", "title": "t" })),
        update("story", "a", json!({ "title": "x" })),
        update("story", "a", json!({ "title": "t" })),
    ] {
        world.write(0, command).unwrap();
    }
    world.start_sync(0);
    let sent = world.sent(0).mutations();
    let first = sent[0]["data"].clone();
    let results =
        json!([applied(1), conflict(&sent[1], first.clone(), None), conflict(&sent[2], first, None)]);
    answer_plainly(&mut world, results, json!([echo(&sent[0], 1)]), "1");
    for (title, version) in [("x", 2), ("t", 3)] {
        let sent = world.sent(0).mutations();
        assert_eq!(sent.iter().map(|it| &it["data"]["title"]).collect::<Vec<_>>(), [title]);
        answer_plainly(
            &mut world,
            json!([applied(version)]),
            json!([echo(&sent[0], version)]),
            &version.to_string(),
        );
    }
    assert_eq!(world.find(0, "story")[0]["title"], "t");
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

#[test]
fn refusals_for_their_number_are_no_verdicts() {
    let mut world = leading(story_with(json!({})));
    for n in 0..6 {
        world.write(0, create("story", json!({ "id": format!("s{n}") }))).unwrap();
    }
    let call = world.start_sync(0);
    let refusal = || rejected("batch exceeds maximum of 2 mutations");
    answer_plainly(&mut world, json!(vec![refusal(); 6]), json!([]), "9");
    assert_eq!(world.sent(0).sequences(), [1, 2], "what it says it takes");
    assert_eq!(world.sent(0).checkpoint(), None, "nothing of such an answer is used");
    for n in 1..=3_u32 {
        let results: Vec<_> = world.sent(0).sequences().iter().map(|_| applied(1)).collect();
        answer_plainly(&mut world, json!(results), json!([]), &n.to_string());
    }
    assert_eq!((world.pending(0).len(), world.rejected(0).len()), (0, 0));
    assert_eq!(world.report(0, call).applied, 6);
}

#[test]
fn a_delete_of_what_is_not_found_is_done() {
    let mut world = with_edit(json!({}), json!({ "title": "x" }));
    let mine = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([applied(2)]), json!([echo(&mine, 2)]), "2");
    world.write(0, delete("story", "a")).unwrap();
    world.start_sync(0);
    answer_plainly(&mut world, json!([rejected("Record not found")]), json!([]), "2");
    assert_eq!((world.pending(0).len(), world.rejected(0).len()), (0, 0));
    assert_eq!(world.get(0, "story", "a"), None);
}

/// Goal: the answer to [delete, create] was lost, and the repeat of the delete finds nothing: it does not take away the record that
/// the create has made. (Seed 2107 of the simulator.)
#[test]
fn a_delete_that_finds_nothing_leaves_a_later_create_alone() {
    let mut world = with_edit(json!({}), json!({ "title": "x" }));
    let mine = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([applied(2)]), json!([echo(&mine, 2)]), "2");
    world.write(0, delete("story", "a")).unwrap();
    world.write(0, create("story", json!({ "id": "a", "title": "new" }))).unwrap();
    world.start_sync(0);
    let sent = world.sent(0).mutations();
    let changes = json!([change("delete", "a", Value::Null, 2), echo(&sent[1], 1)]);
    answer_plainly(&mut world, json!([rejected("record not found"), applied(1)]), changes, "4");
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "new" })));
}

#[test]
fn the_later_write_wins_where_the_server_only_detects() {
    let mut world = with_edit(json!({}), json!({ "title": "mine", "body": "mine" }));
    conflict_with_theirs(&mut world, "theirs", 0);
    let again = world.sent(0).mutations().remove(0);
    assert_eq!(again["baseVersion"], 2);
    assert_eq!((&again["data"]["title"], &again["data"]["body"]), (&json!("mine"), &json!("mine")));
    assert_eq!(superseded(&world), Vec::<Value>::new());

    let mut world = with_edit(json!({}), json!({ "title": "mine", "body": "mine" }));
    let watched = mutation_id(&world.pending(0)[0]);
    world.next_request += 1;
    let request = world.next_request;
    world.tabs[0].waiting.insert(request);
    world.give(0, Input::Watch { request: RequestId(request), mutation: watched });
    conflict_with_theirs(&mut world, "theirs", 9);
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.get(0, "story", "a").unwrap()["title"], "theirs");
    let lost = superseded(&world).remove(0);
    assert_eq!(lost["lost"], json!({ "title": "mine", "body": "mine" }));
    assert_eq!(lost["serverRecord"]["title"], "theirs");
    assert_eq!(world.reply(0, request), Ok(Reply::Settled(crate::engine::Outcome::Superseded)));
    world.check(0);
}

#[test]
fn fields_are_merged_where_the_server_only_detects() {
    let mut world = with_edit(json!({ "strategy": "crdt" }), json!({ "title": "mine", "body": "mine" }));
    conflict_with_theirs(&mut world, "theirs", 9);
    let again = world.sent(0).mutations().remove(0);
    assert_eq!((&again["data"]["title"], &again["data"]["body"]), (&Value::Null, &json!("mine")));
    assert_eq!(superseded(&world)[0]["lost"], json!({ "title": "mine" }));
    let seen = world.get(0, "story", "a").unwrap();
    assert_eq!((&seen["title"], &seen["body"]), (&json!("theirs"), &json!("mine")));
    answer_plainly(&mut world, json!([applied(3)]), json!([echo(&again, 3)]), "3");
    assert_eq!(world.get(0, "story", "a").unwrap(), seen);
    world.check(0);
}

#[test]
fn a_person_is_asked_where_the_definition_says_so() {
    for sync in [json!({ "strategy": "manual" }), json!({ "conflict_fields": ["title"] })] {
        for second in [0, 9] {
            let mut world = with_edit(sync.clone(), json!({ "title": "mine" }));
            conflict_with_theirs(&mut world, "theirs", second);
            assert_eq!(world.conflicts(0).len(), 1, "{sync} {second}");
        }
    }
}

#[test]
fn a_delete_wins_where_the_server_only_detects() {
    let mut world = with_edit(json!({}), json!({ "title": "mine" }));
    let mine = world.sent(0).mutations().remove(0);
    let gone = change("delete", "a", Value::Null, 2);
    answer_plainly(&mut world, json!([conflict(&mine, Value::Null, None)]), json!([gone]), "2");
    assert_eq!((world.pending(0).len(), superseded(&world).len()), (0, 1));
    assert_eq!(world.get(0, "story", "a"), None);
    world.check(0);
}

/// Goal: a server that lost its log, or was restored, says so by a smaller number: everything is collected anew, and what is
/// pending goes on.
#[test]
fn a_checkpoint_that_goes_back_leads_to_a_snapshot() {
    let mut world = with_edit(json!({}), json!({ "title": "mine" }));
    let mine = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([applied(2)]), json!([echo(&mine, 2)]), "20");
    world.write(0, update("story", "a", json!({ "title": "later" }))).unwrap();
    world.start_sync(0);
    answer_plainly(&mut world, json!([rejected("Record not found")]), json!([]), "3");
    assert_eq!(world.sent(0).checkpoint(), None, "what the answer says of the mutation is not used either");
    answer_plainly(&mut world, json!([]), json!([change("create", "b", json!({ "id": "b" }), 1)]), "3");
    assert_eq!(world.sent(0).mutations().len(), 0, "what became of the batch shows in the changes");
    answer_plainly(&mut world, json!([]), json!([]), "3");
    assert_eq!(world.sent(0).mutations().len(), 1);
    assert_eq!(world.sent(0).checkpoint().as_deref(), Some("3"));
}

/// A record that both sides made: what is sent after the conflict over it, which names no version. Theirs came with the answer.
fn made_by_both(sync: Value, version: u64) -> (World, Value) {
    let mut world = leading(story_with(sync));
    world.write(0, create("story", json!({ "id": "a", "title": "mine" }))).unwrap();
    world.start_sync(0);
    let mine = world.sent(0).mutations().remove(0);
    let changes = json!([change("create", "a", theirs("theirs", 0), version)]);
    answer_plainly(&mut world, json!([conflict(&mine, theirs("theirs", 0), None)]), changes, "1");
    let again = world.sent(0).mutations().remove(0);
    assert_eq!((&again["operation"], &again["baseVersion"]), (&json!("update"), &json!(version)));
    (world, again)
}

/// Goal: what both sides made goes on as a change of the one that is there, and is seen as that at once.
#[test]
fn a_record_that_both_made_is_changed() {
    let (mut world, _) = made_by_both(json!({}), 1);
    let seen = world.get(0, "story", "a").unwrap();
    assert_eq!((&seen["title"], &seen["body"]), (&json!("mine"), &json!("b")));
    let tab = world.open_tab();
    assert_eq!(world.get(tab, "story", "a"), Some(seen), "the same in every tab");
}

/// Goal: of an object whose changes are not taken, a conflict still ends: the version comes from the changes.
#[test]
fn a_push_only_record_that_both_made_is_changed_too() {
    let (mut world, _) = made_by_both(json!({ "direction": "push-only" }), 7);
    assert_eq!(world.get(0, "story", "a").unwrap()["title"], "mine");
    answer_plainly(&mut world, json!([applied(8)]), json!([]), "2");
    assert_eq!(world.get(0, "story", "a").unwrap()["title"], "mine");
    world.check(0);
}

/// Goal: that version may have come long before the conflict, and is all that was kept of the record.
#[test]
fn a_push_only_record_that_was_made_long_before_can_be_decided_over() {
    let mut world = leading(story_with(json!({ "direction": "push-only", "strategy": "manual" })));
    world.start_sync(0);
    answer_plainly(&mut world, json!([]), json!([change("create", "a", theirs("theirs", 0), 7)]), "1");
    assert_eq!(world.get(0, "story", "a"), None, "the record is not taken");
    world.write(0, create("story", json!({ "id": "a", "title": "mine" }))).unwrap();
    world.start_sync(0);
    let mine = world.sent(0).mutations().remove(0);
    answer_plainly(&mut world, json!([conflict(&mine, theirs("theirs", 0), None)]), json!([]), "1");
    world.check(0);
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Mine)).unwrap();
    world.start_sync(0);
    let again = world.sent(0).mutations().remove(0);
    assert_eq!((&again["operation"], &again["baseVersion"]), (&json!("update"), &json!(7)));
    answer_plainly(&mut world, json!([applied(8)]), json!([]), "2");
    assert_eq!(world.get(0, "story", "a").unwrap()["title"], "mine");
    world.check(0);
}
