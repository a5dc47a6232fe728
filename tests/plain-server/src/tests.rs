use serde_json::json;

use super::*;

/// 2026-01-02T03:04:05.678Z
const NOW: u64 = 1_767_323_045_678;

/// A request of mutations of stories: operation, id, data, base version.
fn send(
    server: &mut PlainServer,
    checkpoint: Option<&str>,
    mutations: &[(&str, Value, Value, Option<u64>)],
) -> Value {
    let entry = |(at, (operation, id, data, base)): (usize, &(&str, Value, Value, Option<u64>))| {
        let mut entry = json!({
            "id": format!("01890000-0000-7000-8000-{at:012}"), "objectName": "story", "recordId": id, "operation": operation,
            "timestamp": "2026-01-01T00:00:00.000Z", "clientId": "c", "sequence": at + 1, "baseVersion": base,
        });
        if !data.is_null() {
            entry["data"] = data.clone();
        }
        entry
    };
    let mutations: Vec<Value> = mutations.iter().enumerate().map(entry).collect();
    let body = json!({ "clientId": "c", "mutations": mutations, "lastCheckpoint": checkpoint });
    let answer = server.handle(NOW, &body.to_string());
    assert_eq!((answer.status, answer.headers), (200, vec![("content-type", "application/json")]));
    serde_json::from_str(&answer.body).unwrap()
}

/// The results of a request alone.
fn verdicts(server: &mut PlainServer, mutations: &[(&str, Value, Value, Option<u64>)]) -> Value {
    send(server, None, mutations)["results"].take()
}

/// A server with the story "a" at version 1.
fn with_story() -> PlainServer {
    let mut server = PlainServer::new(100);
    let made = verdicts(&mut server, &[("create", json!("a"), json!({ "id": "a", "title": "A" }), None)]);
    assert_eq!(made, json!([{ "status": "applied", "serverVersion": 1 }]));
    server
}

#[test]
fn versions_of_a_record_count_from_one() {
    let mut server = with_story();
    for version in 1..4 {
        let verdict = verdicts(&mut server, &[("update", json!("a"), json!({ "points": 1 }), Some(version))]);
        assert_eq!(verdict, json!([{ "status": "applied", "serverVersion": version + 1 }]));
    }
}

#[test]
fn a_second_create_conflicts_with_what_is_there() {
    let mut server = with_story();
    let again = ("create", json!("a"), json!({ "id": "a", "title": "A" }), None);
    let verdict = verdicts(&mut server, std::slice::from_ref(&again));
    assert_eq!(verdict[0]["status"], "conflict");
    assert_eq!(verdict[0]["conflict"]["serverRecord"], json!({ "id": "a", "title": "A" }));
    assert_eq!(verdict[0]["conflict"]["conflictingFields"], json!([]), "a repeat of the very same one too");
}

#[test]
fn a_repeated_update_conflicts_with_itself() {
    let mut server = with_story();
    let update = [("update", json!("a"), json!({ "points": 1 }), Some(1))];
    assert_eq!(verdicts(&mut server, &update)[0]["status"], "applied");
    assert_eq!(verdicts(&mut server, &update)[0]["status"], "conflict");
}

#[test]
fn mutations_of_a_record_in_one_request_conflict_with_each_other() {
    let mut server = with_story();
    let verdict = verdicts(
        &mut server,
        &[
            ("update", json!("a"), json!({ "points": 1 }), Some(1)),
            ("update", json!("a"), json!({ "title": "B" }), Some(1)),
            ("create", json!("b"), json!({ "id": "b" }), None),
            ("update", json!("b"), json!({ "points": 1 }), None),
        ],
    );
    let statuses: Vec<&Value> = verdict.as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["applied", "conflict", "applied", "conflict"]);
    assert_eq!(verdict[1]["conflict"]["serverRecord"], json!({ "id": "a", "title": "A", "points": 1 }));
}

#[test]
fn a_conflict_has_what_the_wire_format_asks_for_and_no_more() {
    let mut server = with_story();
    let verdict = verdicts(&mut server, &[("update", json!("a"), json!({ "title": "B" }), None)]);
    let conflict = &verdict[0]["conflict"];
    let names: Vec<&String> = conflict.as_object().unwrap().keys().collect();
    assert_eq!(names, ["clientMutation", "conflictingFields", "objectName", "recordId", "serverRecord"]);
    assert_eq!(
        conflict["clientMutation"],
        json!({
            "id": "01890000-0000-7000-8000-000000000000", "objectName": "story", "recordId": "a", "operation": "update",
            "data": { "title": "B" }, "timestamp": "2026-01-01T00:00:00.000Z", "clientId": "c", "sequence": 1, "baseVersion": null,
        })
    );
}

#[test]
fn fields_conflict_as_javascript_compares() {
    let mut server = PlainServer::new(100);
    let data =
        json!({ "id": "a", "same": "x", "number": 1.0, "null": null, "list": [1], "object": {}, "other": 1 });
    verdicts(&mut server, &[("create", json!("a"), data, None)]);
    let mine = json!({ "same": "x", "number": 1, "null": null, "list": [1], "object": {}, "other": "1", "absent": null });
    let verdict = verdicts(&mut server, &[("update", json!("a"), mine, None)]);
    assert_eq!(verdict[0]["conflict"]["conflictingFields"], json!(["absent", "list", "object", "other"]));
}

#[test]
fn the_version_goes_with_a_delete_and_a_new_life_begins_at_one() {
    let mut server = with_story();
    verdicts(&mut server, &[("update", json!("a"), json!({ "points": 1 }), Some(1))]);
    let again = verdicts(
        &mut server,
        &[
            ("delete", json!("a"), Value::Null, Some(2)),
            ("create", json!("a"), json!({ "id": "a", "title": "New" }), None),
        ],
    );
    assert_eq!(
        again,
        json!([{ "status": "applied", "serverVersion": 3 }, { "status": "applied", "serverVersion": 1 }])
    );
    let records: Vec<_> = server.records().collect();
    let (object, id, fields) = records[0];
    assert_eq!((object, id, &fields["title"], records.len()), ("story", "\"a\"", &json!("New"), 1));
    assert!(!fields.contains_key("points"));
}

#[test]
fn a_delete_with_another_base_version_conflicts() {
    let mut server = with_story();
    let verdict = verdicts(&mut server, &[("delete", json!("a"), Value::Null, Some(7))]);
    assert_eq!(verdict[0]["status"], "conflict");
    assert_eq!(verdict[0]["conflict"]["conflictingFields"], json!([]));
}

#[test]
fn updates_and_deletes_of_what_is_not_there_are_rejected() {
    let mut server = PlainServer::new(100);
    let verdict = verdicts(
        &mut server,
        &[
            ("update", json!("a"), json!({ "points": 1 }), Some(1)),
            ("delete", json!("a"), Value::Null, Some(1)),
        ],
    );
    let rejected = json!({ "status": "rejected", "reason": "record not found" });
    assert_eq!(verdict, json!([rejected, rejected]));
}

#[test]
fn a_request_of_too_many_is_refused_row_by_row_and_hides_the_changes() {
    let mut server = with_story();
    server.max_mutations = 2;
    let create = |id: &str| ("create", json!(id), json!({ "id": id }), None);
    let answer = send(&mut server, None, &[create("x"), create("y"), create("z")]);
    let rejected = json!({ "status": "rejected", "reason": "batch exceeds maximum of 2 mutations" });
    assert_eq!(
        answer,
        json!({ "results": [rejected, rejected, rejected], "serverChanges": [], "checkpoint": "1" })
    );
    assert_eq!(server.records().count(), 1);
    let fits = verdicts(&mut server, &[create("x"), create("y")]);
    assert_eq!((&fits[0]["status"], &fits[1]["status"]), (&json!("applied"), &json!("applied")));
}

#[test]
fn everything_after_the_checkpoint_is_echoed_as_it_was_received() {
    let mut server = with_story();
    let update = ("update", json!("a"), json!({ "points": 1.5 }), Some(1));
    let answer = send(&mut server, Some("1"), &[update, ("delete", json!("a"), Value::Null, Some(2))]);
    let change = json!({ "objectName": "story", "recordId": "a", "timestamp": "2026-01-02T03:04:05.678Z" });
    let with = |rest: Value| {
        let mut change = change.clone();
        change.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        change
    };
    assert_eq!(
        answer["serverChanges"],
        json!([
            with(json!({ "operation": "update", "data": { "points": 1.5 }, "serverVersion": 2 })),
            with(json!({ "operation": "delete", "serverVersion": 3 })),
        ])
    );
    assert_eq!(answer["checkpoint"], "3");
    assert_eq!(answer.as_object().unwrap().len(), 3, "no hasMore");
}

#[test]
fn no_checkpoint_gets_the_log_from_its_beginning() {
    let mut server = with_story();
    verdicts(&mut server, &[("delete", json!("a"), Value::Null, Some(1))]);
    let answer = send(&mut server, None, &[]);
    let operations: Vec<&Value> =
        answer["serverChanges"].as_array().unwrap().iter().map(|one| &one["operation"]).collect();
    assert_eq!(operations, ["create", "delete"]);
    assert_eq!(answer["checkpoint"], "2");
}

#[test]
fn a_checkpoint_from_beyond_the_end_gets_nothing_and_a_smaller_one() {
    let answer = send(&mut with_story(), Some("7"), &[]);
    assert_eq!(answer, json!({ "results": [], "serverChanges": [], "checkpoint": "1" }));
}

#[test]
fn one_and_its_text_are_two_records() {
    let mut server = PlainServer::new(100);
    verdicts(
        &mut server,
        &[("create", json!(1), json!({ "id": 1 }), None), ("create", json!("1"), json!({ "id": "1" }), None)],
    );
    assert_eq!(server.records().count(), 2);
}

#[test]
fn after_a_restart_a_record_takes_the_next_write_whatever_its_base() {
    let mut server = with_story();
    server.forget_versions();
    let update = |base| ("update", json!("a"), json!({ "points": 1 }), Some(base));
    assert_eq!(verdicts(&mut server, &[update(9)]), json!([{ "status": "applied", "serverVersion": 1 }]));
    assert_eq!(verdicts(&mut server, &[update(9)])[0]["status"], "conflict");
}

#[test]
fn what_is_no_request_is_answered_with_400_in_plain_text() {
    let mutation = |rest: &str| {
        format!(r#"{{"clientId":"c","lastCheckpoint":null,"mutations":[{{"objectName":"story",{rest}}}]}}"#)
    };
    let cases = [
        String::new(),
        "[]".to_owned(),
        r#"{"clientId":"c"}"#.to_owned(),
        r#"{"clientId":"c","mutations":[],"lastCheckpoint":"x"}"#.to_owned(),
        mutation(r#""recordId":"a","operation":"merge","data":{}"#),
        mutation(r#""recordId":"a","operation":"create""#),
    ];
    for body in cases {
        let mut server = PlainServer::new(100);
        let answer = server.handle(NOW, &body);
        assert_eq!((answer.status, answer.headers), (400, vec![("content-type", "text/plain")]), "{body}");
        assert_eq!(server.log.len(), 0);
    }
}
