//! Answers that are not what one hopes for: nothing of them is used, nothing is lost, and nobody is asked in a hot loop.

use super::*;
use crate::engine::{RetryAfter, SyncState};

/// A leading tab with two stories to push and the request for them under way.
fn pushing(config: Config) -> World {
    let mut world = World::leading(config);
    world.write(0, create("story", json!({ "id": "a", "title": "x" }))).unwrap();
    world.write(0, create("story", json!({ "id": "b", "title": "y" }))).unwrap();
    world.start_sync(0);
    world
}

fn good_answer() -> Value {
    json!({
        "results": [applied(1), applied(2)],
        "serverChanges": [change("create", "z", json!({ "title": "é\"{}[]" }), 3)],
        "checkpoint": "c3",
        "somethingNew": { "unknown": [1, 2] },
    })
}

/// Checks that the answer changed nothing and that the same request follows.
fn assert_unused(world: &mut World, what: &str, answer: Answer) {
    let rows = world.disk.len();
    let (sent, pending) = (world.sent(0), world.pending(0));
    world.answer_with(0, answer);
    assert_eq!(world.disk.len(), rows, "{what}");
    assert_eq!(world.pending(0), pending, "{what}");
    assert_eq!(world.find(0, "story").len(), 2, "{what}");
    assert!(!world.is_sending(0), "{what}: asked again at once");
    let status = world.tabs[0].engine.status();
    assert_eq!(status.state, SyncState::Retrying, "{what}");
    assert!(status.error.is_some(), "{what}");
    world.advance(Duration::from_secs(61));
    assert_eq!(world.sent(0).body, sent.body, "{what}");
}

#[test]
fn a_good_answer_with_unknown_extras_is_used() {
    let mut world = pushing(by_hand());
    world.answer(0, good_answer());
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.get(0, "story", "z"), Some(json!({ "id": "z", "title": "é\"{}[]" })));
}

#[test]
fn malformed_answers_change_nothing() {
    let mut world = pushing(automatic());
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut body = good_answer();
        edit(&mut body);
        ok(body.to_string().into_bytes())
    };
    let good = || good_answer().to_string().into_bytes();
    let answers: Vec<(&str, Answer)> = vec![
        ("one result too few", with(&|body| body["results"] = json!([applied(1)]))),
        ("one result too many", with(&|body| body["results"] = json!([applied(1), applied(2), applied(3)]))),
        ("no results", with(&|body| body["results"] = Value::Null)),
        ("a null result", with(&|body| body["results"][0] = Value::Null)),
        ("an unknown status", with(&|body| body["results"][1]["status"] = json!("maybe"))),
        ("a version as text", with(&|body| body["results"][1]["serverVersion"] = json!("7"))),
        ("a negative version", with(&|body| body["results"][1]["serverVersion"] = json!(-7))),
        ("an unsafe version", with(&|body| body["results"][1]["serverVersion"] = json!(1_u64 << 60))),
        ("no version", with(&|body| body["results"][1] = json!({ "status": "applied" }))),
        ("a conflict without a conflict", with(&|body| body["results"][1] = json!({ "status": "conflict" }))),
        ("a rejection without a reason", with(&|body| body["results"][1] = json!({ "status": "rejected" }))),
        ("no checkpoint", with(&|body| body["checkpoint"] = Value::Null)),
        ("an empty checkpoint", with(&|body| body["checkpoint"] = json!(""))),
        ("a number as checkpoint", with(&|body| body["checkpoint"] = json!(7))),
        ("no changes", with(&|body| body["serverChanges"] = Value::Null)),
        ("an unknown operation", with(&|body| body["serverChanges"][0]["operation"] = json!("merge"))),
        ("a create without data", with(&|body| body["serverChanges"][0]["data"] = Value::Null)),
        ("data with another id", with(&|body| body["serverChanges"][0]["data"]["id"] = json!("q"))),
        ("data that are no object", with(&|body| body["serverChanges"][0]["data"] = json!([1]))),
        ("U+0000 in data", with(&|body| body["serverChanges"][0]["data"]["t"] = json!("\u{0}"))),
        ("an empty record id", with(&|body| body["serverChanges"][0]["recordId"] = json!(""))),
        ("a time that is none", with(&|body| body["serverChanges"][0]["timestamp"] = json!("yesterday"))),
        ("null", ok(b"null".to_vec())),
        ("an empty object", ok(b"{}".to_vec())),
        ("an array", ok(b"[]".to_vec())),
        ("nothing", ok(vec![])),
        ("no UTF-8", ok(vec![0xff; 40])),
        ("a deep nest", ok("[".repeat(200_000).into_bytes())),
        ("a deep value", ok(format!("{{\"results\":{}", "{\"a\":".repeat(200_000)).into_bytes())),
        ("two answers", ok([good(), good()].concat())),
        ("HTML", Answer { content_type: "text/html; charset=utf-8".to_owned(), ..ok(good()) }),
        ("HTML that says it is JSON", ok(b"<html>log in</html>".to_vec())),
        ("no content type", Answer { content_type: String::new(), ..ok(good()) }),
        ("a redirect", Answer { is_redirected: true, ..ok(good()) }),
        ("no content", Answer { status: 204, ..ok(good()) }),
        ("an opaque answer", Answer { status: 0, ..ok(good()) }),
        ("too many bytes", ok(vec![b' '; super::super::MAX_ANSWER_BYTES + 1])),
    ];
    for (what, answer) in answers {
        assert_unused(&mut world, what, answer);
    }
    world.answer(0, good_answer());
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn an_answer_cut_anywhere_changes_nothing() {
    let mut world = pushing(automatic());
    let body = good_answer().to_string().into_bytes();
    for end in (0..body.len()).step_by(7) {
        assert_unused(&mut world, &format!("cut at {end}"), ok(body[..end].to_vec()));
    }
    let with_charset = Answer { content_type: "Application/JSON; charset=utf-8".to_owned(), ..ok(body) };
    world.answer_with(0, with_charset);
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn no_status_makes_a_mutation_go_away() {
    let mut world = pushing(automatic());
    for code in [0, 100, 201, 202, 204, 301, 302, 304, 404, 405, 407, 408, 425, 429, 502, 503, 504] {
        assert_unused(&mut world, &code.to_string(), status(code));
    }
    assert_eq!(world.rejected(0).len(), 0);
}

#[test]
fn two_hundred_failures_in_a_row_lose_nothing_and_do_not_storm() {
    let mut world = pushing(automatic());
    let begin = world.now;
    for _ in 0..200 {
        world.answer_with(0, status(500));
        assert!(!world.is_sending(0));
        while !world.is_sending(0) {
            world.advance(Duration::from_secs(1));
        }
    }
    assert_eq!(world.pending(0).len(), 2);
    let spent = world.now - begin;
    assert!(spent > Duration::from_secs(200 * 10), "200 requests within {spent:?}");
    assert!(spent < Duration::from_secs(200 * 61), "the wait has a bound: {spent:?}");
}

#[test]
fn retry_after_is_honoured_in_both_forms() {
    let wall = |world: &World| world.now().wall.millis();
    for code in [429, 503] {
        for form in 0..2 {
            let mut world = pushing(automatic());
            let retry_after = match form {
                0 => RetryAfter::In(Duration::from_secs(30)),
                _ => RetryAfter::At(Timestamp::from_millis(wall(&world) + 30_000)),
            };
            world.answer_with(0, Answer { retry_after: Some(retry_after), ..status(code) });
            world.advance(Duration::from_millis(29_900));
            assert!(!world.is_sending(0), "{code} {form}");
            // An edit does not make it impatient.
            world.write(0, create("story", json!({}))).unwrap();
            assert!(!world.is_sending(0), "{code} {form}");
            world.advance(Duration::from_secs(1));
            assert!(world.is_sending(0), "{code} {form}");
        }
    }
}

#[test]
fn an_absurd_retry_after_is_capped() {
    let mut world = pushing(automatic());
    let retry_after = Some(RetryAfter::In(Duration::MAX));
    world.answer_with(0, Answer { retry_after, ..status(503) });
    world.advance(Duration::from_secs(601));
    assert!(world.is_sending(0));
}

#[test]
fn refused_credentials_are_asked_for_once_more_and_then_everything_waits() {
    for code in [401, 403] {
        let mut world = World::leading(automatic());
        world.write(0, create("story", json!({ "id": "a" }))).unwrap();
        let call = world.start_sync(0);
        let first = world.sent(0);
        world.answer_with(0, status(code));
        let second = world.sent(0);
        assert_eq!(first.body, second.body);
        assert_ne!(first.send, second.send);
        world.answer_with(0, status(code));
        assert!(!world.is_sending(0));
        assert_eq!(world.reply(0, call).unwrap_err().code(), "UNAUTHORIZED");
        assert_eq!(world.tabs[0].engine.status().state, SyncState::Unauthorized);
        world.write(0, create("story", json!({ "id": "b" }))).unwrap();
        world.advance(Duration::from_secs(100_000));
        assert!(!world.is_sending(0), "nothing until somebody asks");
        assert_eq!(world.pending(0).len(), 2);
        let call = world.start_sync(0);
        assert_eq!(world.sent(0).body, first.body);
        world.apply_all(0, 1, json!([]), "c1");
        world.apply_all(0, 2, json!([]), "c2");
        assert_eq!(world.report(0, call).pushed, 2);
        assert_eq!(world.tabs[0].engine.status().state, SyncState::Idle);
        assert_eq!(world.tabs[0].engine.status().error, None);
    }
}

#[test]
fn a_fresh_token_on_the_second_try_is_enough() {
    let mut world = pushing(automatic());
    world.answer_with(0, status(401));
    world.answer(0, good_answer());
    assert_eq!(world.pending(0).len(), 0);
    // Another expiry, later, gets its own second try.
    world.write(0, create("story", json!({}))).unwrap();
    world.start_sync(0);
    world.answer_with(0, status(401));
    assert!(world.is_sending(0));
}

#[test]
fn too_large_halves_the_batch_and_rejects_the_one_that_is_left() {
    let mut world = World::leading(automatic());
    for n in 0..8 {
        world.write(0, create("story", json!({ "id": format!("s{n}"), "n": n }))).unwrap();
    }
    let call = world.start_sync(0);
    let checkpoint = world.sent(0).checkpoint();
    let mut batches = Vec::new();
    let mut version = 0;
    while world.is_sending(0) {
        let sent = world.sent(0);
        batches.push(sent.sequences());
        assert!(batches.len() < 40, "for ever");
        // The fourth is too large for any request, and a request holds five.
        if sent.sequences().contains(&4) || sent.sequences().len() > 5 {
            world.answer_with(0, status(413));
        } else {
            version += 10;
            world.apply_all(0, version, json!([]), "c9");
        }
        if version == 0 && world.is_sending(0) {
            assert_eq!(world.sent(0).checkpoint(), checkpoint, "the checkpoint stays");
        }
    }
    assert_eq!(batches[..3], [vec![1, 2, 3, 4, 5, 6, 7, 8], vec![1, 2, 3, 4], vec![1, 2]]);
    assert!(batches.len() <= 10, "{batches:?}");
    let report = world.report(0, call);
    assert_eq!((report.pushed, report.applied, report.rejected), (8, 7, 1));
    assert_eq!(world.rejected(0)[0]["mutation"]["sequence"], 4);
    assert!(world.rejected(0)[0]["reason"].as_str().unwrap().contains("told so"));
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

/// Goal: one large mutation does not make the requests of a long backlog small for ever.
#[test]
fn batches_grow_again_after_one_that_was_too_large() {
    let mut world = World::leading(automatic());
    for n in 0..400 {
        world.start_write(0, create("story", json!({ "id": format!("s{n}"), "n": n })));
    }
    world.settle();
    world.start_sync(0);
    let mut requests = 0;
    let mut version = 0;
    while world.is_sending(0) {
        requests += 1;
        version += 100;
        if world.sent(0).sequences().contains(&7) {
            world.answer_with(0, status(413));
        } else {
            world.apply_all(0, version, json!([]), "c9");
        }
    }
    assert_eq!(world.pending(0).len(), 0);
    assert!(requests <= 30, "{requests} requests for 400 mutations of which one is too large");
}

#[test]
fn a_pull_that_is_too_large_is_a_failure() {
    let mut world = World::leading(automatic());
    let call = world.start_sync(0);
    world.answer_with(0, status(413));
    assert_eq!(world.reply(0, call).unwrap_err().code(), "HTTP_STATUS");
    assert!(!world.is_sending(0));
}

/// Goal: a server whose pages do not move is not asked in a hot loop.
#[test]
fn more_without_progress_is_a_failure() {
    let mut world = World::leading(automatic());
    world.start_sync(0);
    let page = || json!({ "results": [], "serverChanges": [], "checkpoint": "c0", "hasMore": true });
    for _ in 0..100 {
        if !world.is_sending(0) {
            break;
        }
        world.answer(0, page());
    }
    assert!(!world.is_sending(0));
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "INVALID_ANSWER");
}

#[test]
fn an_answer_to_the_one_that_does_not_lead_any_more_is_ignored() {
    let mut world = pushing(automatic());
    world.open_tab();
    let old = world.tabs[0].sends.remove(0);
    // Tab 1 takes over while tab 0 is frozen, and gets further.
    world.give(1, Input::Leader(true));
    world.settle();
    world.answer_probe(1);
    assert_eq!(world.sent(1).body, old.body);
    world.answer(1, good_answer());
    world.write(1, update("story", "a", json!({ "title": "newer" }))).unwrap();
    let rows = world.disk.len();
    // Tab 0 thaws, with its answer in hand, and learns only then that it lost the lock.
    let stale = json!({ "results": [applied(7), rejected("x")], "serverChanges": [], "checkpoint": "old" });
    world.give(0, Input::Answered { send: old.send, answer: ok(stale.to_string().into_bytes()) });
    world.tabs[0].sends.clear();
    world.give(0, Input::Leader(false));
    world.settle();
    let new_rows: Vec<_> = world.disk.iter().skip(rows).map(|row| Row::decode(row).unwrap()).collect();
    let received = |row: &Row| row.events.iter().any(|event| matches!(event, Event::Received(_)));
    assert!(!new_rows.iter().any(received));
    assert_eq!(world.rejected(0).len(), 0);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "newer" })));
}

#[test]
fn a_tab_that_does_not_lead_sends_nothing() {
    let mut world = World::new(automatic());
    world.write(0, create("story", json!({}))).unwrap();
    world.give(0, Input::Nudge);
    world.start_sync(0);
    world.advance(Duration::from_secs(1000));
    assert!(!world.is_sending(0));
    // The lock is lost between the freeze and the request.
    world.give(0, Input::Leader(true));
    assert_eq!(world.tabs[0].engine.status().state, SyncState::Syncing);
    world.give(0, Input::Leader(false));
    world.settle();
    assert!(!world.is_sending(0));
    // Won, lost and won again with everything still under way: one request, not two.
    world.give(0, Input::Leader(true));
    world.settle();
    let sent = world.tabs[0].sends.remove(0);
    let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c1" });
    world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
    world.give(0, Input::Leader(false));
    world.give(0, Input::Leader(true));
    world.settle();
    assert_eq!(world.pending(0).len(), 0);
}

/// Goal: a copied profile goes on under an id of its own, with the same mutations; a server that finds that id taken, too, is
/// not asked in a hot loop.
#[test]
fn a_cloned_device_takes_another_client_id() {
    let cloned = || {
        let body = br#"{"code":"CLIENT_ID_CLONED"}"#.to_vec();
        Answer { body, ..status(409) }
    };
    let mut world = pushing(by_hand());
    let before = world.sent(0);
    world.answer_with(0, cloned());
    let after = world.sent(0);
    assert_ne!(after.json()["clientId"], before.json()["clientId"]);
    assert_eq!(after.mutations()[0]["clientId"], after.json()["clientId"]);
    assert_eq!((after.ids(), after.sequences()), (before.ids(), before.sequences()));
    let tab = world.open_tab();
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[0].engine.state(), "after a reload, too");
    world.answer(0, good_answer());
    assert_eq!(world.pending(0).len(), 0);

    let again = world.start_sync(0);
    for _ in 0..2 {
        world.answer_with(0, cloned());
        assert!(world.is_sending(0));
    }
    world.answer_with(0, cloned());
    assert_eq!(world.reply(0, again).unwrap_err().code(), "CLIENT_ID_CLONED");
    assert!(!world.is_sending(0));
}

#[test]
fn a_failure_is_told_once_as_an_error_and_not_again_while_it_lasts() {
    let mut world = pushing(automatic());
    for _ in 0..3 {
        world.lose_request(0);
        world.advance(Duration::from_secs(61));
    }
    let errors =
        world.tabs[0].notices.iter().filter(|notice| matches!(notice, crate::engine::Notice::Error(_)));
    assert_eq!(errors.count(), 1);
    world.answer(0, good_answer());
    assert!(world.tabs[0].engine.status().error.is_none());
}
