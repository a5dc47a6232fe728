//! What goes into a request, and that the same goes again until there is an answer.

use super::*;

fn write_all(world: &mut World, commands: Vec<Command>) {
    for command in commands {
        world.write(0, command).unwrap();
    }
}

fn story(id: &str) -> Command {
    create("story", json!({ "id": id, "title": "x" }))
}

fn task(id: &str) -> Command {
    create("task", json!({ "id": id, "story": "a" }))
}

/// Answers requests until none follows; gives back the sequences of each.
fn drain(world: &mut World) -> Vec<Vec<u64>> {
    let mut batches = Vec::new();
    let mut version = 100;
    while world.is_sending(0) {
        let sequences = world.sent(0).sequences();
        version += 100;
        batches.push(sequences);
        assert!(batches.len() < 100, "sent for ever");
        world.apply_all(0, version, json!([]), &format!("c{version}"));
    }
    batches
}

#[test]
fn mutations_go_in_the_order_of_the_client_across_objects() {
    let mut world = World::leading(by_hand());
    write_all(
        &mut world,
        vec![story("a"), task("t"), update("story", "a", json!({ "title": "y" })), task("u")],
    );
    let call = world.start_sync(0);
    let sent = world.sent(0);
    assert_eq!(sent.sequences(), [1, 2, 3, 4]);
    let body = sent.json();
    let client = world.tabs[0].engine.status().client_id.unwrap();
    assert_eq!(body["clientId"], json!(client));
    let first = &body["mutations"][0];
    assert_eq!(first["objectName"], "story");
    assert_eq!(first["recordId"], "a");
    assert_eq!(first["operation"], "create");
    assert_eq!(first["data"]["id"], "a");
    assert_eq!(first["clientId"], json!(client));
    assert_eq!(first["baseVersion"], Value::Null);
    let patch = body["mutations"][2]["data"].as_object().unwrap();
    assert_eq!(patch.keys().collect::<Vec<_>>(), ["title", "updated_at"], "only what changed");
    world.apply_all(0, 1, json!([]), "c4");
    let report = world.report(0, call);
    let bytes = report.bytes;
    assert!(bytes > body.to_string().len() as u64);
    assert_eq!(report, SyncReport { pushed: 4, applied: 4, requests: 1, bytes, ..SyncReport::default() });
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn an_objects_batch_size_ends_the_batch() {
    let mut world = World::leading(by_hand());
    let ids: Vec<String> = (0..7).map(|n| format!("t{n}")).collect();
    write_all(&mut world, ids.iter().map(|id| task(id)).collect());
    write_all(&mut world, vec![story("a")]);
    let call = world.start_sync(0);
    assert_eq!(drain(&mut world), [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8]]);
    assert_eq!(world.report(0, call).requests, 3);
}

#[test]
fn the_endpoints_maximum_ends_the_batch() {
    let mut world = World::leading(by_hand());
    write_all(&mut world, (0..9).map(|n| story(&format!("s{n}"))).collect());
    world.start_sync(0);
    let results: Vec<_> = (1..10).map(applied).collect();
    let body = json!({ "results": results, "serverChanges": [], "checkpoint": "c1" });
    let answer = Answer { max_mutations: Some(2), ..ok(body.to_string().into_bytes()) };
    world.answer_with(0, answer);
    write_all(&mut world, (10..15).map(|n| story(&format!("s{n}"))).collect());
    world.start_sync(0);
    assert_eq!(drain(&mut world), [vec![10, 11], vec![12, 13], vec![14]]);
}

#[test]
fn a_request_is_bounded_in_bytes() {
    let mut world = World::leading(by_hand());
    let text = "x".repeat(400_000);
    write_all(
        &mut world,
        (0..5).map(|n| create("story", json!({ "id": format!("s{n}"), "t": text }))).collect(),
    );
    write_all(
        &mut world,
        vec![create("story", json!({ "id": "big", "t": "x".repeat(1_048_300) })), story("z")],
    );
    world.start_sync(0);
    assert_eq!(drain(&mut world), [vec![1, 2], vec![3, 4], vec![5], vec![6], vec![7]]);
}

/// Goal: mutations without data count too: a delete still has its names and numbers.
#[test]
fn a_request_of_deletes_is_bounded_in_bytes() {
    let sync = json!({ "enabled": true, "batch_size": 10000 });
    let definition = serde_json::from_value(json!({ "name": "story", "sync": sync })).unwrap();
    let settings = SyncSettings { is_automatic: false, poll_interval: None, is_realtime: false };
    let mut world = World::leading(Config::new(vec![definition], Some(settings)).unwrap());
    let ids: Vec<String> = (0..5000).map(|n| format!("s{n:0>200}")).collect();
    let changes: Vec<_> = ids.iter().map(|id| change("create", id, json!({}), 1)).collect();
    world.start_sync(0);
    let body = json!({ "results": [], "serverChanges": changes, "checkpoint": "c1" });
    world.answer_with(0, Answer { max_mutations: Some(10_000), ..ok(body.to_string().into_bytes()) });
    for id in &ids {
        world.start_write(0, delete("story", id));
    }
    world.settle();
    world.start_sync(0);
    let sent = world.sent(0);
    assert!(sent.body.len() <= 1_500_000, "{} bytes", sent.body.len());
    assert!(sent.sequences().len() > 1000);
}

#[test]
fn objects_that_do_not_take_part_stay_here() {
    let mut world = World::leading(by_hand());
    write_all(
        &mut world,
        vec![
            create("draft", json!({ "id": "d", "n": 1 })),
            update("draft", "d", json!({ "n": 2 })),
            create("note", json!({ "id": "n", "n": 1 })),
        ],
    );
    assert_eq!(world.pending(0).len(), 1);
    world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [1]);
    let of = |object: &str, id: &str, version: u64| {
        let mut change = change("create", id, json!({ "from": "server" }), version);
        change["objectName"] = json!(object);
        change
    };
    let changes = json!([of("draft", "d", 1), of("note", "n", 2), of("note", "m", 3), of("price", "p", 4)]);
    world.answer(0, json!({ "results": [applied(2)], "serverChanges": changes, "checkpoint": "c4" }));
    assert_eq!(world.get(0, "draft", "d"), Some(json!({ "id": "d", "n": 2 })));
    assert_eq!(
        world.get(0, "note", "n"),
        Some(json!({ "id": "n", "n": 1 })),
        "push-only: pulls change nothing"
    );
    assert_eq!(world.get(0, "note", "m"), None);
    assert_eq!(world.get(0, "price", "p"), Some(json!({ "id": "p", "from": "server" })));
    assert_eq!(world.pending(0).len(), 0);
    world.check(0);
}

#[test]
fn the_batch_is_in_the_log_before_it_leaves() {
    let mut world = World::leading(by_hand());
    write_all(&mut world, vec![story("a")]);
    let request = world.request();
    world.tabs[0].waiting.insert(request);
    world.give(0, Input::Sync { request: RequestId(request) });
    assert!(!world.is_sending(0));
    world.serve_store(0);
    assert!(world.is_sending(0));
    let row = Row::decode(world.disk.last().unwrap()).unwrap();
    assert!(matches!(&row.events[..], [Event::Frozen { batch }] if batch.len() == 1));
    assert_eq!(world.pending(0)[0]["state"], "sent");
}

#[test]
fn a_batch_without_an_answer_goes_again_as_it_was() {
    let mut world = World::leading(automatic());
    write_all(&mut world, vec![story("a"), update("story", "a", json!({ "title": "y" }))]);
    world.start_sync(0);
    let first = world.sent(0);
    world.lose_request(0);
    write_all(&mut world, vec![story("b")]);
    world.advance(Duration::from_secs(5));
    let second = world.sent(0);
    assert_eq!(first.body, second.body, "the same mutations under the same ids, and no others");
    assert_ne!(first.send, second.send);
    // The first one's answer comes after all: nobody waits for it.
    let rows = world.disk.len();
    let late = json!({ "results": [applied(7), applied(8)], "serverChanges": [], "checkpoint": "late" });
    world.give(0, Input::Answered { send: first.send, answer: ok(late.to_string().into_bytes()) });
    assert_eq!(world.disk.len(), rows);
    world.apply_all(0, 1, json!([]), "c2");
    assert_eq!(world.sent(0).sequences(), [3]);
    assert_eq!(world.sent(0).checkpoint().as_deref(), Some("c2"));
    // And once more, with an answer that has been used.
    world.give(0, Input::Answered { send: second.send, answer: ok(late.to_string().into_bytes()) });
    world.apply_all(0, 3, json!([]), "c3");
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn a_batch_survives_a_crash() {
    let mut world = World::leading(automatic());
    write_all(&mut world, vec![story("a"), story("b")]);
    world.start_sync(0);
    let first = world.sent(0);
    world.crash(0);
    let tab = world.open_tab();
    world.write(tab, story("c")).unwrap();
    assert!(!world.is_sending(tab));
    world.give(tab, Input::Leader(true));
    world.settle();
    world.answer_probe(tab);
    assert_eq!(world.sent(tab).body, first.body);
    world.apply_all(tab, 1, json!([]), "c2");
    assert_eq!(world.sent(tab).sequences(), [3]);
    assert_ne!(world.sent(tab).ids(), first.ids());
}

#[test]
fn an_unknown_freeze_sends_once() {
    for is_made in [true, false] {
        let mut world = World::leading(by_hand());
        write_all(&mut world, vec![story("a")]);
        let request = world.request();
        world.tabs[0].waiting.insert(request);
        world.give(0, Input::Sync { request: RequestId(request) });
        world.lose_append(0, is_made);
        world.settle();
        assert_eq!(world.sent(0).sequences(), [1], "made: {is_made}");
        world.apply_all(0, 1, json!([]), "c1");
        assert_eq!(world.report(0, request).pushed, 1);
    }
}

#[test]
fn an_unknown_receipt_counts_once() {
    for is_made in [true, false] {
        let mut world = World::leading(by_hand());
        write_all(&mut world, vec![story("a")]);
        let call = world.start_sync(0);
        let sent = world.tabs[0].sends.remove(0);
        let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c1" });
        world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
        world.lose_append(0, is_made);
        world.settle();
        assert!(!world.is_sending(0));
        assert_eq!(world.report(0, call).applied, 1, "made: {is_made}");
        assert_eq!(world.pending(0).len(), 0);
    }
}

#[test]
fn a_receipt_that_cannot_be_written_is_asked_for_again() {
    let mut world = World::leading(automatic());
    write_all(&mut world, vec![story("a")]);
    let call = world.start_sync(0);
    let sent = world.tabs[0].sends.remove(0);
    let body = json!({ "results": [applied(1)], "serverChanges": [], "checkpoint": "c1" });
    world.give(0, Input::Answered { send: sent.send, answer: ok(body.to_string().into_bytes()) });
    world.fail_append(0, Error::QuotaExceeded);
    assert_eq!(world.reply(0, call), Err(Error::QuotaExceeded));
    assert_eq!(world.pending(0).len(), 1);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.sent(0).body, sent.body);
}

#[test]
fn the_version_of_a_settled_mutation_is_the_base_of_the_next() {
    let mut world = World::leading(by_hand());
    write_all(&mut world, vec![story("a")]);
    world.start_sync(0);
    write_all(&mut world, vec![update("story", "a", json!({ "title": "y" }))]);
    write_all(&mut world, vec![update("story", "a", json!({ "title": "z" }))]);
    world.start_sync(0);
    assert_eq!(world.pending(0)[1]["baseVersion"], Value::Null);
    world.apply_all(0, 41, json!([]), "c1");
    let sent = world.sent(0).mutations();
    assert_eq!(sent[0]["baseVersion"], 41);
    assert_eq!(sent[1]["baseVersion"], Value::Null, "no version is ever predicted");
    world.apply_all(0, 42, json!([]), "c2");
    write_all(&mut world, vec![update("story", "a", json!({ "title": "!" }))]);
    assert_eq!(world.pending(0)[0]["baseVersion"], 43);
}

#[test]
fn a_checkpoint_starts_as_none_and_moves_with_its_changes() {
    let mut world = World::new(by_hand());
    world.give(0, Input::Leader(true));
    world.start_sync(0);
    assert_eq!(world.sent(0).checkpoint(), None);
    let changes = json!([change("create", "a", json!({ "title": "x" }), 1)]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c1", "hasMore": true }));
    assert_eq!(world.sent(0).checkpoint().as_deref(), Some("c1"));
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "x" })));
    // A crash between two pages goes on where the last page ended.
    world.crash(0);
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.start_sync(tab);
    assert_eq!(world.sent(tab).checkpoint().as_deref(), Some("c1"));
}
