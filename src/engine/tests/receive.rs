//! What an answer does: changes, verdicts, conflicts, decisions.

use super::*;

/// A leading tab with the story `a` = `{ title: "t0", body: "b0" }` at version 3 in sync.
fn with_story(config: Config) -> World {
    let mut world = World::leading(config);
    let call = world.start_sync(0);
    let changes = json!([change("create", "a", json!({ "title": "t0", "body": "b0" }), 3)]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c3" }));
    world.report(0, call);
    world
}

fn title(world: &World) -> Option<String> {
    world.get(0, "story", "a").map(|story| story["title"].as_str().unwrap().to_owned())
}

fn edit(world: &mut World, patch: Value) {
    world.write(0, update("story", "a", patch)).unwrap();
}

fn codes_of_rejected(world: &World) -> Vec<String> {
    world.rejected(0).iter().map(|rejected| rejected["mutation"]["sequence"].to_string()).collect()
}

#[test]
fn an_echo_does_not_revert_a_later_edit() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    world.start_sync(0);
    edit(&mut world, json!({ "title": "t2" }));
    world.start_sync(0);
    world.apply_all(0, 4, json!([change("update", "a", json!({ "title": "t1" }), 4)]), "c4");
    assert_eq!(title(&world).as_deref(), Some("t2"));
    assert_eq!(world.pending(0).len(), 1, "the later edit is not settled by the earlier one's verdict");
    world.check(0);
    assert_eq!(world.sent(0).mutations()[0]["data"]["title"], "t2");
    // What the server made of it counts.
    world.apply_all(0, 5, json!([change("update", "a", json!({ "title": "T2" }), 5)]), "c5");
    assert_eq!(title(&world).as_deref(), Some("T2"));
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn another_clients_version_below_ours_in_the_same_answer_counts() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    let changes = json!([
        change("update", "a", json!({ "body": "theirs" }), 4),
        change("update", "a", json!({ "title": "mine" }), 5),
    ]);
    world.apply_all(0, 5, changes, "c5");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "body": "theirs" })));
}

#[test]
fn without_an_echo_our_values_are_folded_on_top_of_theirs() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    world.apply_all(0, 5, json!([change("update", "a", json!({ "body": "theirs", "title": "x" }), 4)]), "c5");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "body": "theirs" })));
}

#[test]
fn a_superseded_mutation_is_not_folded_over_what_won() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    world.apply_all(0, 4, json!([change("update", "a", json!({ "title": "theirs" }), 4)]), "c4");
    assert_eq!(title(&world).as_deref(), Some("theirs"));
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn an_applied_mutation_stays_visible_until_the_last_page() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    let call = world.start_sync(0);
    let page = |checkpoint: &str, changes: Value, has_more: bool, results: Value| json!({ "results": results, "serverChanges": changes, "checkpoint": checkpoint, "hasMore": has_more });
    let other = json!([change("update", "a", json!({ "title": "other" }), 4)]);
    world.answer(0, page("c4", other, true, json!([applied(6)])));
    assert_eq!(title(&world).as_deref(), Some("t1"));
    assert_eq!(world.pending(0)[0]["state"], "applied");
    world.check(0);
    world.answer(0, page("c5", json!([change("create", "b", json!({}), 5)]), true, json!([])));
    assert_eq!(title(&world).as_deref(), Some("t1"));
    assert!(!world.is_answered(0, call));
    let echo = json!([change("update", "a", json!({ "title": "t1" }), 6)]);
    world.answer(0, page("c6", echo, false, json!([])));
    assert_eq!(title(&world).as_deref(), Some("t1"));
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.report(0, call).requests, 3);
}

#[test]
fn delete_and_recreate_in_one_page_are_taken_in_order() {
    let mut world = with_story(by_hand());
    world.start_sync(0);
    let changes = json!([
        change("delete", "a", Value::Null, 4),
        change("create", "a", json!({ "title": "new" }), 1),
        change("create", "b", json!({ "title": "b" }), 5),
        change("delete", "b", Value::Null, 6),
        change("create", "b", json!({ "title": "b2" }), 7),
        change("delete", "b", Value::Null, 8),
    ]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c8" }));
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "new" })));
    assert_eq!(world.get(0, "story", "b"), None);
    world.check(0);
}

#[test]
fn an_update_of_an_unknown_record_shows_no_phantom() {
    let mut world = with_story(by_hand());
    world.start_sync(0);
    let changes = json!([change("update", "ghost", json!({ "title": "x" }), 4)]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.get(0, "story", "ghost"), None);
    assert_eq!(world.find(0, "story").len(), 1);
    assert_eq!(world.write(0, update("story", "ghost", json!({ "x": 1 }))).unwrap_err().code(), "NOT_FOUND");
}

#[test]
fn a_rejected_create_takes_what_depends_on_it() {
    let mut world = World::leading(by_hand());
    for command in [
        create("story", json!({ "id": "a", "title": "bad" })),
        update("story", "a", json!({ "title": "worse" })),
        create("story", json!({ "id": "b", "title": "good" })),
    ] {
        world.write(0, command).unwrap();
    }
    world.start_sync(0);
    // Recorded while the request is under way.
    edit(&mut world, json!({ "title": "worst" }));
    world.tabs[0].notices.clear();
    let results = json!([rejected("no such title"), rejected("no record"), applied(1)]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c1" }));
    assert_eq!(world.get(0, "story", "a"), None);
    assert!(world.get(0, "story", "b").is_some());
    assert_eq!(codes_of_rejected(&world), ["1", "2", "4"]);
    assert_eq!(world.rejected(0)[0]["reason"], "no such title");
    assert!(world.rejected(0)[2]["reason"].as_str().unwrap().contains("no such title"));
    let rejected = world.rejected(0);
    assert_eq!(rejected[1]["reason"], "no record", "a verdict of its own");
    assert_eq!(rejected[0]["dependants"], json!([rejected[1]["id"], rejected[2]["id"]]));
    assert_eq!(world.pending(0).len(), 0);
    assert!(!world.is_sending(0));
    let notices = &world.tabs[0].notices;
    assert_eq!(notices.iter().filter(|notice| matches!(notice, Notice::Rejected(_))).count(), 3);
    assert!(notices.iter().any(|notice| matches!(notice, Notice::Change(_))));
    world.check(0);
}

/// Goal: rows that earlier releases wrote do not name what falls with a create, and lead to the same.
#[test]
fn what_falls_with_a_create_need_not_be_named() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a", "title": "bad" }))).unwrap();
    world.start_sync(0);
    edit(&mut world, json!({ "title": "worse" }));
    let answer = json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c1" });
    world.answer(0, answer);
    let mut row = Row::decode(world.disk.last().unwrap()).unwrap();
    let Some(Event::Received(received)) = row.events.first_mut() else { panic!("no answer") };
    assert_eq!(received.verdicts.len(), 2);
    received.verdicts.truncate(1);
    *world.disk.last_mut().unwrap() = row.encode().unwrap();
    let later = world.open_tab();
    assert_eq!(world.tabs[later].engine.state(), world.tabs[0].engine.state());
    assert_eq!(codes_of_rejected(&world), ["1", "2"]);
}

/// Goal: only what comes after a rejected create depends on it, and a verdict of its own counts more.
#[test]
fn a_rejected_create_leaves_the_earlier_life_of_the_record_alone() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    for command in [
        delete("story", "a"),
        create("story", json!({ "id": "a", "title": "again" })),
        delete("story", "a"),
        create("story", json!({ "id": "a", "title": "third" })),
    ] {
        world.write(0, command).unwrap();
    }
    world.start_sync(0);
    let results = json!([applied(4), applied(5), rejected("no"), applied(5), applied(6)]);
    let changes = json!([
        change("update", "a", json!({ "title": "t1" }), 4),
        change("delete", "a", Value::Null, 5),
        change("create", "a", json!({ "title": "third" }), 6),
    ]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c6" }));
    assert_eq!(codes_of_rejected(&world), ["3"]);
    assert_eq!(title(&world).as_deref(), Some("third"));
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

/// Goal: what is recorded after a create that is rejected goes with it only up to the next create.
#[test]
fn a_rejected_create_leaves_the_later_life_of_the_record_alone() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a", "title": "bad" }))).unwrap();
    world.start_sync(0);
    world.write(0, delete("story", "a")).unwrap();
    world.write(0, create("story", json!({ "id": "a", "title": "good" }))).unwrap();
    edit(&mut world, json!({ "title": "better" }));
    world.start_sync(0);
    world.answer(0, json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c1" }));
    assert_eq!(codes_of_rejected(&world), ["1", "2"]);
    assert_eq!(world.sent(0).sequences(), [3, 4]);
    assert_eq!(title(&world).as_deref(), Some("better"));
    world.check(0);
}

/// Goal: what came before a create does not depend on it, though it has to be sent again.
#[test]
fn a_rejected_create_leaves_an_earlier_rebased_edit_alone() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    world.write(0, delete("story", "a")).unwrap();
    world.write(0, create("story", json!({ "id": "a", "title": "again" }))).unwrap();
    world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "t0", "body": "theirs" });
    let sent = world.sent(0).mutations();
    let results = json!([conflict(&sent[0], theirs, Some(4)), applied(5), rejected("no")]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c5" }));
    assert_eq!(codes_of_rejected(&world), ["3"]);
    assert_eq!(world.sent(0).sequences(), [1]);
}

/// Goal: the order of the changes stands, whatever their versions: concurrent requests can log v5 before v4.
#[test]
fn the_order_of_the_changes_counts_and_not_their_versions() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    let changes = json!([
        change("update", "a", json!({ "title": "mine" }), 5),
        change("update", "a", json!({ "title": "theirs" }), 4),
    ]);
    world.apply_all(0, 5, changes, "c5");
    assert_eq!(title(&world).as_deref(), Some("theirs"));
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn a_rejected_update_falls_back_to_the_base() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "bad" }));
    edit(&mut world, json!({ "body": "good" }));
    let call = world.start_sync(0);
    world.tabs[0].notices.clear();
    let results = json!([rejected("no"), applied(4)]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c4" }));
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "t0", "body": "good" })));
    let report = world.report(0, call);
    assert_eq!((report.pushed, report.applied, report.rejected), (2, 1, 1));
    assert!(world.tabs[0].notices.iter().any(|notice| matches!(notice, Notice::Change(_))));
}

#[test]
fn a_rejected_mutation_can_be_retried_or_discarded() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "bad" }));
    edit(&mut world, json!({ "title": "worse" }));
    world.start_sync(0);
    let results = json!([rejected("no"), rejected("no")]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c4" }));
    let ids: Vec<_> = world.rejected(0).iter().map(mutation_id).collect();
    let retry =
        Command::Retry { mutation: ids[0], patch: Some(fields(&json!({ "title": "better", "id": "z" }))) };
    world.write(0, retry.clone()).unwrap();
    world.write(0, Command::Discard { mutation: ids[1] }).unwrap();
    assert_eq!(world.rejected(0).len(), 0);
    assert_eq!(title(&world).as_deref(), Some("better"));
    assert_eq!(world.write(0, retry).unwrap_err().code(), "UNKNOWN_MUTATION");
    let again = Command::Discard { mutation: ids[1] };
    assert_eq!(world.write(0, again).unwrap_err().code(), "UNKNOWN_MUTATION");
    world.start_sync(0);
    let sent = world.sent(0);
    assert_eq!(sent.sequences(), [3], "a retry is a new mutation");
    assert_eq!(sent.mutations()[0]["data"]["title"], "better");
    assert!(sent.mutations()[0]["data"].get("id").is_none());
    assert_ne!(sent.ids()[0], ids[0].to_string());
    world.check(0);
}

#[test]
fn two_decisions_on_one_mutation_count_once() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "bad" }));
    world.start_sync(0);
    world.answer(0, json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c4" }));
    world.open_tab();
    let mutation = mutation_id(&world.rejected(0)[0]);
    // A commit under way, so that the two of this tab share a row.
    world.start_write(0, create("draft", json!({})));
    let calls = [
        (0, world.start_write(0, Command::Retry { mutation, patch: None })),
        (0, world.start_write(0, Command::Discard { mutation })),
        (1, world.start_write(1, Command::Retry { mutation, patch: None })),
    ];
    world.settle();
    let oks = calls.into_iter().filter(|(tab, call)| world.reply(*tab, *call).is_ok()).count();
    assert_eq!(oks, 1);
    assert_eq!(world.rejected(0).len(), 0);
    assert!(world.pending(0).len() <= 1);
}

#[test]
fn a_conflict_without_a_difference_is_rebased() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    let call = world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "t0", "body": "theirs" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(4))]);
    let changes = json!([change("update", "a", json!({ "body": "theirs" }), 4)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.conflicts(0).len(), 0);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 4);
    assert_eq!(world.sent(0).sequences(), [1]);
    world.apply_all(0, 5, json!([change("update", "a", json!({ "title": "t1" }), 5)]), "c5");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "t1", "body": "theirs" })));
    assert_eq!(world.report(0, call).requests, 2);
}

/// SEM-15: a server that gives no version in its conflicts is understood through its changes.
#[test]
fn a_rebase_takes_the_version_from_the_changes_where_the_conflict_has_none() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "t0", "body": "theirs" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, None)]);
    let changes = json!([change("update", "a", json!({ "body": "theirs" }), 9)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 9);
}

#[test]
fn a_conflict_over_values_the_server_holds_is_done() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "same" }));
    let call = world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "same", "body": "b0" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(4))]);
    let changes = json!([change("update", "a", json!({ "title": "same" }), 4)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.report(0, call).applied, 1);
    assert_eq!((world.pending(0).len(), world.conflicts(0).len()), (0, 0));
    assert_eq!(title(&world).as_deref(), Some("same"));
}

#[test]
fn a_delete_of_what_is_deleted_is_done() {
    let mut world = with_story(by_hand());
    world.write(0, delete("story", "a")).unwrap();
    world.start_sync(0);
    let results = json!([conflict(&world.sent(0).mutations()[0], Value::Null, None)]);
    let changes = json!([change("delete", "a", Value::Null, 4)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!((world.pending(0).len(), world.conflicts(0).len()), (0, 0));
    assert_eq!(title(&world), None);
}

/// A plain server compares versions only, and reports the second of two edits in one request as a conflict with the first.
#[test]
fn a_conflict_with_an_earlier_edit_of_the_same_batch_is_none() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    edit(&mut world, json!({ "title": "t2" }));
    edit(&mut world, json!({ "title": "t3" }));
    world.start_sync(0);
    for (version, own) in [(4, "t1"), (5, "t2"), (6, "t3")] {
        let sent = world.sent(0).mutations();
        assert_eq!(sent[0]["data"]["title"], own);
        let theirs = json!({ "id": "a", "title": own, "body": "b0" });
        let mut results = vec![applied(version)];
        results.extend(sent[1..].iter().map(|mutation| conflict(mutation, theirs.clone(), None)));
        let changes = json!([change("update", "a", json!({ "title": own }), version)]);
        let checkpoint = format!("c{version}");
        world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": checkpoint }));
        assert_eq!(world.conflicts(0).len(), 0, "after {own}");
    }
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(title(&world).as_deref(), Some("t3"));
}

/// Goal: the version that a settled mutation hands on comes with the record of that version: a change by somebody else that came
/// in the same answer is not taken for known.
#[test]
fn a_foreign_change_right_after_ours_still_conflicts_with_the_next() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    world.start_sync(0);
    edit(&mut world, json!({ "title": "t2" }));
    world.start_sync(0);
    let changes = json!([
        change("update", "a", json!({ "title": "t1" }), 4),
        change("update", "a", json!({ "title": "theirs" }), 5),
    ]);
    world.apply_all(0, 4, changes, "c5");
    assert_eq!(
        world.sent(0).mutations()[0]["baseVersion"],
        3,
        "with 5 the server would take theirs for known"
    );
    let theirs = json!({ "id": "a", "title": "theirs", "body": "b0" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(5))]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c6" }));
    assert_eq!(world.conflicts(0).len(), 1, "t2 was written without knowing of theirs");
    assert_eq!(world.conflicts(0)[0]["conflictingFields"], json!(["title"]));
}

#[test]
fn conflicts_that_are_none_end_after_a_bounded_number_of_rounds() {
    let mut world = with_story(automatic());
    edit(&mut world, json!({ "title": "t1" }));
    world.start_sync(0);
    let mut rounds = 0;
    while world.is_sending(0) {
        rounds += 1;
        assert!(rounds < 20, "for ever");
        let theirs = json!({ "id": "a", "title": "t0", "body": "b0" });
        let results: Vec<_> =
            world.sent(0).mutations().iter().map(|it| conflict(it, theirs.clone(), None)).collect();
        world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c3" }));
    }
    assert!((3..=10).contains(&rounds), "{rounds} rounds");
    assert_eq!(world.conflicts(0).len(), 1);
    assert_eq!(title(&world).as_deref(), Some("t1"), "what waits is still seen");
}

/// A world in which the edit of the title to `mine` waits for a decision, the server having `theirs` at version 4.
fn with_conflict(config: Config) -> World {
    let mut world = with_story(config);
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "theirs", "body": "b0" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(4))]);
    let changes = json!([change("update", "a", json!({ "title": "theirs" }), 4)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.conflicts(0).len(), 1);
    world
}

#[test]
fn a_real_conflict_waits_and_all_other_records_go_on() {
    let mut world = with_conflict(by_hand());
    assert!(world.tabs[0].notices.iter().any(|notice| matches!(notice, Notice::Conflict(_))));
    let waiting = world.conflicts(0)[0].clone();
    assert_eq!(waiting["conflictingFields"], json!(["title"]));
    assert_eq!(waiting["baseRecord"]["title"], "t0");
    assert_eq!(waiting["serverRecord"]["title"], "theirs");
    assert_eq!(waiting["clientMutation"]["data"]["title"], "mine");
    edit(&mut world, json!({ "body": "later" }));
    world.write(0, create("story", json!({ "id": "b" }))).unwrap();
    let call = world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [3], "later edits of the record wait");
    world.apply_all(0, 5, json!([]), "c5");
    assert_eq!(world.report(0, call).applied, 1);
    assert!(!world.is_sending(0));
    assert_eq!(world.pending(0).len(), 2);
    // It survives a restart.
    let tab = world.open_tab();
    assert_eq!(world.conflicts(tab)[0], waiting);
}

#[test]
fn mine_is_made_anew_on_top_of_theirs() {
    let mut world = with_conflict(by_hand());
    edit(&mut world, json!({ "body": "later" }));
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Mine)).unwrap();
    assert_eq!(world.conflicts(0).len(), 0);
    assert_eq!(world.write(0, resolve(&waiting, Resolution::Mine)).unwrap_err().code(), "UNKNOWN_MUTATION");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "body": "later" })));
    world.start_sync(0);
    let sent = world.sent(0).mutations();
    assert_eq!(world.sent(0).sequences(), [2, 3]);
    assert_eq!(sent[1]["baseVersion"], 4);
    assert_eq!(sent[1]["data"]["title"], "mine");
    assert_eq!(sent[1]["operation"], "update");
    world.apply_all(0, 5, json!([]), "c6");
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "body": "later" })));
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

/// Goal: the version of a conflict counts, though no change told of it.
#[test]
fn a_resolution_is_made_on_the_version_of_the_conflict() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    let theirs = json!({ "id": "a", "title": "theirs", "body": "b0" });
    let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(9))]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c4" }));
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Mine)).unwrap();
    world.start_sync(0);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 9);
}

#[test]
fn a_later_edit_of_the_field_is_the_last_word() {
    let mut world = with_conflict(by_hand());
    edit(&mut world, json!({ "title": "latest" }));
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Mine)).unwrap();
    assert_eq!(title(&world).as_deref(), Some("latest"));
    world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [2]);
}

#[test]
fn theirs_drops_mine_and_lets_the_later_edits_go() {
    let mut world = with_conflict(automatic());
    edit(&mut world, json!({ "body": "later" }));
    world.advance(Duration::from_secs(3));
    if world.is_sending(0) {
        world.apply_all(0, 5, json!([]), "c5");
    }
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Theirs)).unwrap();
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "theirs", "body": "later" })));
    // Without any further write.
    world.advance(Duration::from_secs(3));
    assert_eq!(world.sent(0).sequences(), [2]);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 4);
}

#[test]
fn a_record_given_as_the_resolution_is_what_the_record_becomes() {
    let mut world = with_conflict(by_hand());
    let waiting = world.conflicts(0)[0].clone();
    let record = fields(&json!({ "id": "zzz", "title": "both", "body": "b0", "created_at": "no" }));
    world.write(0, resolve(&waiting, Resolution::Record(record))).unwrap();
    world.start_sync(0);
    let sent = world.sent(0).mutations();
    assert_eq!(sent[0]["data"]["title"], "both");
    assert!(sent[0]["data"].get("body").is_none() && sent[0]["data"].get("id").is_none());
    assert!(sent[0]["data"].get("created_at").is_none());
    assert_eq!((&sent[0]["recordId"], &sent[0]["baseVersion"]), (&json!("a"), &json!(4)));
}

#[test]
fn mine_makes_a_record_again_that_was_deleted_there() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "mine" }));
    world.start_sync(0);
    let results = json!([conflict(&world.sent(0).mutations()[0], Value::Null, Some(4))]);
    let changes = json!([change("delete", "a", Value::Null, 4)]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(title(&world), None, "the delete is what is seen until somebody decides");
    let waiting = world.conflicts(0)[0].clone();
    world.write(0, resolve(&waiting, Resolution::Mine)).unwrap();
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "mine", "body": "b0" })));
    world.start_sync(0);
    assert_eq!(world.sent(0).mutations()[0]["operation"], "create");
    world.apply_all(0, 5, json!([]), "c5");
    assert_eq!(title(&world).as_deref(), Some("mine"));
    world.check(0);
}

#[test]
fn a_delete_in_conflict_can_be_kept_or_dropped() {
    for (resolution, seen, sent) in
        [(Resolution::Mine, None, Some("delete")), (Resolution::Theirs, Some("theirs"), None)]
    {
        let mut world = with_story(by_hand());
        world.write(0, delete("story", "a")).unwrap();
        world.start_sync(0);
        let theirs = json!({ "id": "a", "title": "theirs", "body": "b0" });
        let results = json!([conflict(&world.sent(0).mutations()[0], theirs, Some(4))]);
        let changes = json!([change("update", "a", json!({ "title": "theirs" }), 4)]);
        world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
        let waiting = world.conflicts(0)[0].clone();
        world.write(0, resolve(&waiting, resolution)).unwrap();
        assert_eq!(title(&world).as_deref(), seen);
        world.start_sync(0);
        let operation =
            world.sent(0).mutations().first().map(|it| it["operation"].as_str().unwrap().to_owned());
        assert_eq!(operation.as_deref(), sent);
    }
}

/// Goal: the same where the one before was settled in an earlier answer, and had handed its version to the rejected one.
#[test]
fn a_version_that_was_handed_to_a_rejected_mutation_goes_on() {
    let mut world = with_story(by_hand());
    for text in ["t1", "bad", "t3"] {
        edit(&mut world, json!({ "title": text }));
    }
    world.start_sync(0);
    // From here on the server takes one mutation at a time.
    let answer = Answer { max_mutations: Some(1), ..status(413) };
    world.answer_with(0, answer);
    world.apply_all(0, 4, json!([]), "c4");
    assert_eq!(world.sent(0).sequences(), [2]);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 4);
    world.answer(0, json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c5" }));
    assert_eq!(world.sent(0).sequences(), [3]);
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 4);
}

#[test]
fn a_version_is_handed_on_past_one_that_is_rejected_later() {
    let mut world = with_story(by_hand());
    for text in ["t1", "bad", "t3"] {
        edit(&mut world, json!({ "title": text }));
    }
    world.start_sync(0);
    // The second meets a conflict that is none, is rebased on version 7, and is rejected in the next round.
    let sent = world.sent(0).mutations();
    let theirs = json!({ "id": "a", "title": "t1", "body": "theirs" });
    let results =
        json!([applied(4), conflict(&sent[1], theirs.clone(), Some(7)), conflict(&sent[2], theirs, Some(7))]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c7" }));
    let results = json!([rejected("no"), applied(8)]);
    assert_eq!(world.sent(0).sequences(), [2, 3]);
    world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c8" }));
    assert_eq!(title(&world).as_deref(), Some("t3"));
    assert_eq!(world.pending(0).len(), 0);
}

/// Goal: a mutation that waited behind a rejected one goes with what the settled ones before it led to.
#[test]
fn a_version_is_handed_on_past_a_rejected_mutation() {
    let mut world = with_story(by_hand());
    edit(&mut world, json!({ "title": "t1" }));
    edit(&mut world, json!({ "title": "bad" }));
    world.start_sync(0);
    edit(&mut world, json!({ "title": "t3" }));
    world.start_sync(0);
    let changes = json!([change("update", "a", json!({ "title": "t1" }), 4)]);
    let results = json!([applied(4), rejected("no")]);
    world.answer(0, json!({ "results": results, "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.sent(0).mutations()[0]["baseVersion"], 4);
}

#[test]
fn the_clock_follows_the_servers() {
    let mut world = World::leading(by_hand());
    world.start_sync(0);
    let hour = 3_600_000;
    let body = json!({ "results": [], "serverChanges": [], "checkpoint": "c1" });
    let server_time_ms = Some(world.now().wall.millis() + hour);
    world.answer_with(0, Answer { server_time_ms, ..ok(body.to_string().into_bytes()) });
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let stamp = world.recorded.last().unwrap().timestamp.millis();
    assert_eq!(stamp, world.now().wall.millis() + hour);
    world.check(0);
}

#[test]
fn a_timestamp_from_the_far_future_does_not_move_the_clock() {
    let mut world = World::leading(by_hand());
    world.start_sync(0);
    let mut change = change("create", "b", json!({}), 9);
    change["timestamp"] = json!("2099-01-01T00:00:00.000Z");
    world.answer(0, json!({ "results": [], "serverChanges": [change], "checkpoint": "c1" }));
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    let ahead = world.recorded.last().unwrap().timestamp.millis() - world.now().wall.millis();
    assert!((0..=300_000).contains(&ahead), "{ahead} ms ahead");
}

#[test]
fn no_server_clock_makes_the_engine_panic() {
    for server in [i64::MIN, i64::MAX, 0, -1] {
        let mut world = World::leading(by_hand());
        world.start_sync(0);
        let body = json!({ "results": [], "serverChanges": [change("create", "b", json!({}), 9)], "checkpoint": "c1" });
        let answer = Answer { server_time_ms: Some(server), ..ok(body.to_string().into_bytes()) };
        world.answer_with(0, answer);
        world.write(0, create("story", json!({ "id": "a" }))).unwrap();
        world.start_sync(0);
        let answer = Answer {
            status: 503,
            retry_after: Some(super::super::RetryAfter::At(Timestamp::from_millis(server))),
            ..Answer::default()
        };
        world.answer_with(0, answer);
    }
}
