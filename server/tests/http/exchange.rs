//! Mutations in, verdicts and changes out.

use serde_json::{Value, json};

use crate::harness::{Changed, Client, DAY_MS, Options, Replica, Server};

fn statuses(verdicts: &[Value]) -> Vec<&str> {
    verdicts.iter().map(|verdict| verdict["status"].as_str().unwrap()).collect()
}

fn title(text: &str) -> Value {
    json!({ "title": text })
}

#[tokio::test]
async fn a_write_comes_back_to_all_its_author_included() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let mutations = [a.create("story", "s", title("one")), a.update("story", "s", 0, title("two"))];
    let answer = server.exchange("a", &mutations, None).await.answer(2);
    assert_eq!(statuses(answer["results"].as_array().unwrap()), ["applied"; 2]);
    let change = &answer["serverChanges"][0];
    assert_eq!(
        (&change["operation"], &change["data"]["title"]),
        (&json!("create"), &json!("two")),
        "a snapshot"
    );

    let log =
        server.exchange("a", &[a.create("story", "t", title("three"))], answer["checkpoint"].as_str()).await;
    let change = &log.answer(1)["serverChanges"][0];
    assert_eq!(change["operation"], "create");
    assert_eq!(change["data"], json!({ "id": "t", "title": "three" }));
    assert_eq!(change["serverVersion"], log.json()["results"][0]["serverVersion"]);
}

#[tokio::test]
async fn an_update_travels_as_what_it_changes() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let version = server.apply(a.create("story", "s", json!({ "title": "one", "n": 1 }))).await;
    let checkpoint =
        server.exchange("b", &[], None).await.answer(0)["checkpoint"].as_str().unwrap().to_owned();
    server.apply(b.update("story", "s", version, json!({ "id": "s", "n": 2 }))).await;
    let answer = server.exchange("a", &[], Some(&checkpoint)).await.answer(0);
    assert_eq!(answer["serverChanges"][0]["data"], json!({ "n": 2 }));
    assert!(answer.get("hasMore").is_none());
}

#[tokio::test]
async fn a_chain_of_mutations_needs_no_answer_in_between() {
    for object in ["story", "price", "note", "contract"] {
        let server = Server::new();
        let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
        let base = server.apply(a.create(object, 1, json!({ "title": "0", "n": 0 }))).await;
        let chain: Vec<_> = (1..10).map(|n| a.update(object, 1, base, json!({ "n": n }))).collect();
        assert_eq!(statuses(&server.push(&chain).await), ["applied"; 9], "{object}");

        // Somebody else's write in the middle is news to the rest of the chain.
        let seen = server.apply(b.update(object, 1, base + 9, json!({ "n": -1 })).at(server.now() - 1)).await;
        let rest = a.update(object, 1, base, json!({ "n": 99 }));
        let verdict = &server.push(&[rest]).await[0];
        let expected = if matches!(object, "price" | "contract") { "conflict" } else { "applied" };
        assert_eq!(verdict["status"], expected, "{object}");
        if expected == "conflict" {
            assert_eq!(verdict["conflict"]["serverVersion"], seen);
        }
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_verdict_back_byte_for_byte() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let base = server.apply(b.create("contract", 1, json!({ "title": "0", "n": 0 }))).await;
    server.apply(b.update("contract", 1, base, json!({ "n": 1 }))).await;
    let mutations = [
        a.create("story", "s", title("one")),
        a.update("contract", 1, base, json!({ "n": 2.50, "x": { "b": 1, "a": 1e3 } })),
        a.update("story", "missing", 1, title("x")),
        json!({ "id": "018f4e6e-7c00-7000-8000-000000000000", "objectName": 5 }),
    ];
    let results = |text: &str| {
        let end = text.find(",\"serverChanges\"").unwrap();
        text[..end].to_owned()
    };
    let first = server.exchange("a", &mutations, None).await;
    assert_eq!(
        statuses(first.answer(4)["results"].as_array().unwrap()),
        ["applied", "conflict", "rejected", "rejected"]
    );
    let version = first.json()["results"][0]["serverVersion"].as_u64().unwrap();
    server.apply(b.update("story", "s", version, title("later"))).await;
    server.apply(b.update("contract", 1, base + 1, json!({ "n": 7 }))).await;
    for again in [&server, &server.reopened(Options::default())] {
        let repeat = again.exchange("a", &mutations, None).await;
        assert_eq!(results(&repeat.text), results(&first.text));
    }
    let twice = [mutations[0].clone(), mutations[0].clone()];
    let verdicts = server.push(&twice).await;
    assert_eq!(verdicts[0], verdicts[1]);
    assert_eq!(verdicts[0], first.json()["results"][0]);
}

#[tokio::test]
async fn one_bad_mutation_does_not_sink_the_others() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let bad = |name: &str, value: &str| {
        let mut text = a.create("story", "bad", json!({ "title": "T", "x": "HERE" })).to_string();
        match name {
            "x" => text = text.replace("\"HERE\"", value),
            _ => {
                let mut mutation: Value = serde_json::from_str(&text).unwrap();
                mutation[name] = json!("HERE");
                text = mutation.to_string().replacen(
                    &format!("\"{name}\":\"HERE\""),
                    &format!("\"{name}\":{value}"),
                    1,
                );
            }
        }
        text
    };
    let cases = [
        bad("x", r#""\u0000""#),
        bad("x", r#""\ud800""#),
        bad("x", "1e999"),
        bad("x", &deep(32)),
        bad("x", &deep(127)),
        bad("x", &deep(100_000)),
        bad("x", r#"{"a":1,"a":2}"#),
        bad("x", &format!("\"{}\"", "x".repeat(1 << 20))),
        bad("id", "\"no-uuid\""),
        bad("id", "null"),
        bad("objectName", r#""story\u0000""#),
        bad("objectName", "\"'; DROP TABLE records; --\""),
        bad("objectName", "\"story\\\" --\""),
        bad("objectName", &format!("\"{}\"", "a".repeat(10_000))),
        bad("objectName", "\"sqlite_master\""),
        bad("objectName", "\"__proto__\""),
        bad("recordId", "\"\""),
        bad("recordId", r#""a\u0000b""#),
        bad("recordId", "1.5"),
        bad("recordId", "9007199254740993"),
        bad("recordId", "null"),
        bad("recordId", &format!("\"{}\"", "a".repeat(257))),
        bad("operation", "\"drop\""),
        bad("operation", "\"delete\""),
        bad("timestamp", "\"yesterday\""),
        bad("timestamp", "5"),
        bad("clientId", "\"b\""),
        bad("sequence", "-1"),
        bad("sequence", "9007199254740992"),
        bad("baseVersion", "-1"),
        bad("data", "null"),
        bad("data", "[]"),
        bad("data", r#"{"title":"T","id":"other"}"#),
        "null".to_owned(),
        "5".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        deep(100_000),
    ];
    for (number, bad) in cases.iter().enumerate() {
        let good = |n: usize| a.create("story", format!("{number}-{n}"), title("good")).to_string();
        let mut mutations: Vec<_> = (0..6).map(good).collect();
        mutations.insert(3, bad.clone());
        let body =
            format!(r#"{{"clientId":"a","mutations":[{}],"lastCheckpoint":null}}"#, mutations.join(","));
        let answer = server.post(body).await.answer(7);
        let verdicts = answer["results"].as_array().unwrap();
        let shown = bad.get(..200).unwrap_or(bad);
        assert_eq!(verdicts[3]["status"], "rejected", "{shown}");
        assert_eq!(statuses(verdicts).iter().filter(|status| **status == "applied").count(), 6, "{shown}");
    }
}

#[tokio::test]
async fn fifty_mutations_with_one_bad_among_them() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let mut mutations: Vec<_> = (0..50).map(|n| a.create("story", n, title("T"))).collect();
    mutations[17]["data"] = json!({ "title": null });
    let verdicts = server.push(&mutations).await;
    for (n, verdict) in verdicts.iter().enumerate() {
        assert_eq!(verdict["status"] == "rejected", n == 17, "{verdict}");
    }
    let mut replica = Replica::default();
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 49);
}

#[tokio::test]
async fn a_rejection_begins_with_its_code_and_names_what_is_wrong() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let old = server.now() - 31 * DAY_MS;
    server.advance(-31 * DAY_MS);
    let forgotten = a.create("story", "old", title("T")).at(old);
    server.advance(31 * DAY_MS);
    for (mutation, expected) in [
        (forgotten, "MUTATION_TOO_OLD: "),
        (a.create("nothing", 1, title("T")), "UNKNOWN_OBJECT: there is no object \"nothing\""),
        (a.create("draft", 1, title("T")), "SYNC_DISABLED: "),
        (a.create("catalog", 1, title("T")), "PULL_ONLY: "),
        (a.create("story", 1, json!({})), "INVALID_FIELD: the field \"title\" is required"),
        (
            a.create("story", 1, json!({ "title": "T", "status": "lost" })),
            "INVALID_FIELD: the field \"status\"",
        ),
        (a.update("story", 1, 0, title("T")), "RECORD_NOT_FOUND: "),
        (json!({ "id": 5 }), "INVALID_MUTATION: "),
    ] {
        let answer = server.exchange("a", &[mutation], None).await.answer(1);
        let verdict = &answer["results"][0];
        assert_eq!(verdict["status"], "rejected");
        assert!(verdict["reason"].as_str().unwrap().starts_with(expected), "{verdict}");
    }
}

#[tokio::test]
async fn two_clients_under_last_write_wins() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let base = server.apply(a.create("story", 1, json!({ "title": "0", "n": 0 }))).await;
    server.advance(100);
    let now = server.now();
    let theirs = server.apply(b.update("story", 1, base, title("b")).at(now - 50)).await;
    let superseded =
        server.apply(a.update("story", 1, base, json!({ "title": "a", "n": 9 })).at(now - 60)).await;
    assert_eq!(superseded, theirs, "the present version, for nothing was written");
    let mut replica = Replica::default();
    replica.pull(&server).await;
    let key = ("story".to_owned(), "1".to_owned());
    assert_eq!(replica.records[&key], json!({ "id": 1, "title": "b", "n": 0 }));
    let won = server.apply(a.update("story", 1, base, json!({ "title": "a", "n": 9 })).at(now - 40)).await;
    assert!(won > theirs);
    replica.pull(&server).await;
    assert_eq!(replica.records[&key], json!({ "id": 1, "title": "a", "n": 9 }));
}

#[tokio::test]
async fn two_clients_under_crdt() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let base = server.apply(a.create("note", 1, json!({ "title": "0", "n": 0 }))).await;
    server.advance(100);
    let now = server.now();
    server.apply(b.update("note", 1, base, title("b")).at(now - 50)).await;
    let mut replica = Replica::default();
    replica.pull(&server).await;
    server.apply(a.update("note", 1, base, json!({ "title": "a", "n": 9 })).at(now - 60)).await;
    replica.pull(&server).await;
    assert_eq!(
        replica.records[&("note".to_owned(), "1".to_owned())],
        json!({ "id": 1, "title": "b", "n": 9 })
    );
}

#[tokio::test]
async fn two_clients_under_manual() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let base = server.apply(a.create("contract", 1, json!({ "title": "0", "n": 0 }))).await;
    let theirs = server.apply(b.update("contract", 1, base, title("b"))).await;
    let mine = a.update("contract", 1, base, json!({ "title": "a", "n": 9 }));
    let verdict = server.push(std::slice::from_ref(&mine)).await.remove(0);
    let mut sent = mine;
    sent["data"] = json!({ "title": "a", "n": 9 });
    assert_eq!(
        verdict,
        json!({ "status": "conflict", "conflict": {
            "objectName": "contract", "recordId": 1, "clientMutation": sent,
            "serverRecord": { "id": 1, "title": "b", "n": 0 }, "conflictingFields": ["title"],
            "suggestedResolution": { "id": 1, "title": "b", "n": 9 }, "serverVersion": theirs,
        } })
    );
    let resolved = server.apply(a.update("contract", 1, theirs, json!({ "title": "both", "n": 9 }))).await;
    // An update against a delete shows that the record is gone, and of which version that is.
    let gone = server.apply(b.delete("contract", 1, resolved)).await;
    let verdict = server.push(&[a.update("contract", 1, resolved, title("a"))]).await.remove(0);
    assert_eq!(verdict["conflict"]["serverRecord"], Value::Null);
    assert_eq!(verdict["conflict"]["serverVersion"], gone);
    // Keeping mine makes it anew.
    server.apply(a.create("contract", 1, title("kept")).on(gone)).await;
}

/// Goal: a client that finds no real difference in a conflict goes on with the same mutation on the version it has learnt, and a
/// repeat of either request gets its own verdict back.
#[tokio::test]
async fn a_conflict_is_final_only_for_the_base_it_was_judged_with() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let base = server.apply(a.create("contract", 1, title("0"))).await;
    let there = server.apply(b.update("contract", 1, base, title("b"))).await;
    let back = server.apply(b.update("contract", 1, there, title("0"))).await;
    let mine = a.update("contract", 1, base, title("a"));
    let verdict = server.push(std::slice::from_ref(&mine)).await.remove(0);
    assert_eq!(verdict["status"], "conflict");
    assert_eq!(server.push(std::slice::from_ref(&mine)).await, [verdict], "a repeat");

    let rebased = mine.clone().on(back);
    let version = server.apply(rebased.clone()).await;
    assert_eq!(server.apply(rebased).await, version, "a repeat");
    assert_eq!(server.apply(mine).await, version, "a late duplicate of the first request");
}

#[tokio::test]
async fn the_number_one_and_the_text_one_are_two_records() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let ids = [
        json!(1),
        json!("1"),
        json!("é"),
        json!("e\u{301}"),
        json!("A"),
        json!("a"),
        json!("a:b"),
        json!("\"1\""),
        json!("__proto__"),
        json!(-1),
        json!("-1"),
        json!(9_007_199_254_740_991_i64),
        json!("'; DROP TABLE records; --"),
        json!(" "),
        json!("%"),
    ];
    let mutations: Vec<_> =
        ids.iter().map(|id| a.create("story", id.clone(), title(&id.to_string()))).collect();
    assert_eq!(statuses(&server.push(&mutations).await), vec!["applied"; ids.len()]);
    let mut replica = Replica::default();
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), ids.len());
    for id in &ids {
        assert_eq!(
            replica.records[&("story".to_owned(), id.to_string())],
            json!({ "id": id, "title": id.to_string() })
        );
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let data = r#"{"z":[1,[],{},null,-0.5,0.1],"id":"s","title":"😀 é \" \\ \n \u0001","__proto__":{"isAdmin":true},"#.to_owned()
        + r#""a":{"constructor":1,"":2},"n":9007199254740992}"#;
    let mutation = a.create("story", "s", json!("HERE")).to_string().replace("\"HERE\"", &data);
    let body = format!(r#"{{"clientId":"a","mutations":[{mutation}],"lastCheckpoint":null}}"#);
    let reply = server.post(body).await;
    reply.answer(1);
    assert!(reply.text.contains(&format!("\"data\":{data}")), "{}", reply.text);
}

#[tokio::test]
async fn versions_never_come_back_through_delete_and_create() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let mut last = 0;
    let mut replica = Replica::default();
    for _ in 0..100 {
        let version = server.apply(a.create("story", 1, title("again"))).await;
        replica.pull(&server).await;
        let stale = server.push(&[b.update("story", 1, last, title("stale"))]).await;
        assert!(last == 0 || stale[0]["status"] == "rejected", "{stale:?}");
        let deleted = server.apply(a.delete("story", 1, version)).await;
        assert!(last < version && version < deleted);
        last = deleted;
    }
    replica.pull(&server).await;
    assert!(replica.records.is_empty());
}

#[tokio::test]
async fn what_is_push_only_or_not_enabled_is_not_told() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let checkpoint =
        server.exchange("a", &[], None).await.answer(0)["checkpoint"].as_str().unwrap().to_owned();
    let mutations = [
        a.create("reading", 1, title("T")),
        a.create("story", 1, title("T")),
        a.create("reading", 2, title("T")),
    ];
    let answer = server.exchange("a", &mutations, Some(&checkpoint)).await.answer(3);
    assert_eq!(statuses(answer["results"].as_array().unwrap()), ["applied"; 3]);
    assert_eq!(answer["serverChanges"].as_array().unwrap().len(), 1);
    let after = server.exchange("a", &[], answer["checkpoint"].as_str()).await.answer(0);
    assert_eq!(after["serverChanges"], json!([]));
    assert_eq!(after["checkpoint"], answer["checkpoint"]);
    let snapshot = server.exchange("a", &[], None).await.answer(0);
    assert_eq!(snapshot["serverChanges"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let version = server.apply(a.create("story", 1, title("T"))).await;
    let mut replica = Replica::default();
    replica.pull(&server).await;
    let restarted = server.reopened(Options::default());
    restarted.apply(a.update("story", 1, version, title("U"))).await;
    replica.pull(&restarted).await;
    assert_eq!(replica.records.values().next().unwrap()["title"], "U");
}

#[tokio::test]
async fn an_object_published_later_sends_clients_to_a_fresh_snapshot() {
    let options = |direction: &str| {
        let object = json!({ "name": "reading", "sync": { "enabled": true, "direction": direction } });
        Options { objects: vec![serde_json::from_value(object).unwrap()], ..Options::default() }
    };
    let server = Server::with(options("push-only"));
    let a = Client::new(&server, "a");
    server.apply(a.create("reading", 1, title("T"))).await;
    let mut replica = Replica::default();
    replica.pull(&server).await;
    replica.pull(&server.reopened(options("push-only"))).await;
    let published = server.reopened(options("bidirectional"));
    let reply = published.exchange("a", &[], replica.checkpoint.as_deref()).await;
    reply.assert_problem(410, "CHECKPOINT_UNKNOWN");
    let mut fresh = Replica::default();
    fresh.pull(&published).await;
    assert_eq!(fresh.records.len(), 1);
}

#[tokio::test]
async fn many_pushers_at_once_lose_nothing() {
    let server = Server::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let clients: Vec<_> = names.iter().map(|name| Client::new(&server, name)).collect();
    let mut pushes = Vec::new();
    for round in 0..5 {
        for client in &clients {
            let mutations: Vec<_> = (0..10)
                .map(|n| client.create("story", format!("{}-{round}-{n}", client.name), title("T")))
                .collect();
            pushes.push((client.name, mutations));
        }
    }
    let replies = pushes.iter().map(|(name, mutations)| server.exchange(name, mutations, None));
    let mut tasks = Vec::new();
    for reply in replies {
        tasks.push(reply);
    }
    for reply in join_all(tasks).await {
        assert_eq!(statuses(reply.answer(10)["results"].as_array().unwrap()), ["applied"; 10]);
    }
    let mut replica = Replica::default();
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 400);
}

/// Polls all futures until each is ready.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
