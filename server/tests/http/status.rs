//! What is wrong with a request as a whole is a status with a code, and applies nothing.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};
use serde_json::json;

use crate::harness::{Client, Options, Server};

#[tokio::test]
async fn an_answer_says_what_the_server_does() {
    let server = Server::with(Options { max_mutations: 7, ..Options::default() });
    for reply in [server.exchange("a", &[], None).await, server.post("{").await] {
        assert_eq!(
            reply.header("objectql-sync-features"),
            "idempotent,chains,echoes,paged,snapshot,strategies"
        );
        assert_eq!(reply.header("objectql-sync-max-mutations"), "7");
        assert_eq!(reply.header("objectql-sync-time"), server.now().to_string());
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn what_is_no_message_is_400() {
    let server = Server::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "\"text\"",
        r#"{"clientId":"","mutations":[]}"#,
        r#"{"clientId":"a\u0000","mutations":[]}"#,
        r#"{"clientId":"a","mutations":{}}"#,
        r#"{"clientId":"a","mutations":[]"#,
        r#"{"clientId":"a","mutations":[],"lastCheckpoint":5}"#,
        r#"{"clientId":"a","mutations":[{]}"#,
        &deep,
    ] {
        server.post(body.to_owned()).await.assert_problem(400, "INVALID_MESSAGE");
    }
    server.post(vec![0xff, 0xfe]).await.assert_problem(400, "INVALID_MESSAGE");
}

#[tokio::test]
async fn only_plain_json_is_taken() {
    let server = Server::new();
    let body = r#"{"clientId":"a","mutations":[],"lastCheckpoint":null}"#;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/jsonx"),
        ("content-encoding", "gzip"),
        ("accept", "application/json"),
    ] {
        let mut request = Request::post("/api/sync").header(name, value);
        if name == "content-encoding" {
            request = request.header("content-type", "application/json");
        }
        let reply = server.send(request.body(Body::from(body)).unwrap()).await;
        reply.assert_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let request = Request::post("/api/sync").header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(server.send(request.body(Body::from(body)).unwrap()).await.status, 200);
}

#[tokio::test]
async fn too_many_bytes_are_refused_before_they_are_read() {
    let server = Server::with(Options { max_body_bytes: 2000, ..Options::default() });
    server.post("x".repeat(2001)).await.assert_problem(413, "BODY_TOO_LARGE");
    server.post("x".repeat(2000)).await.assert_problem(400, "INVALID_MESSAGE");
    // A length that is only claimed, and one that is not told: the limit holds for both.
    let claimed = Request::post("/api/sync")
        .header("content-type", "application/json")
        .header("content-length", "99999");
    server.send(claimed.body(Body::empty()).unwrap()).await.assert_problem(413, "BODY_TOO_LARGE");
    let endless = Body::new(http_body_util::Full::<axum::body::Bytes>::from(vec![b' '; 3000]));
    server.post(endless).await.assert_problem(413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn too_many_mutations_are_refused_as_a_whole() {
    let server = Server::with(Options { max_mutations: 2, ..Options::default() });
    let a = Client::new(&server, "a");
    let mutations: Vec<_> = (0..3).map(|id| a.create("story", id, json!({ "title": "T" }))).collect();
    let reply = server.exchange("a", &mutations, None).await;
    reply.assert_problem(413, "TOO_MANY_MUTATIONS");
    assert!(reply.json()["detail"].as_str().unwrap().contains("exceed the maximum of 2"), "{}", reply.text);
    assert_eq!(server.push(&mutations[..2]).await.len(), 2);
}

#[tokio::test]
async fn verdicts_that_no_client_would_hold_are_refused_as_a_whole() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let half = "x".repeat(1 << 19);
    let version = server.apply(a.create("contract", 1, json!({ "title": "T", "x": half }))).await;
    server.apply(a.update("contract", 1, version, json!({ "title": "U" }))).await;
    let conflicts: Vec<_> =
        (0..20).map(|n| b.update("contract", 1, version, json!({ "title": n }))).collect();
    let reply = server.exchange("b", &conflicts, None).await;
    reply.assert_problem(413, "ANSWER_TOO_LARGE");
    assert_eq!(server.push(&conflicts[..10]).await.len(), 10);
}

#[tokio::test]
async fn a_checkpoint_that_is_not_ours_is_410_and_nothing_is_applied() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let create = a.create("story", 1, json!({ "title": "T" }));
    let ours = server.exchange("a", &[], None).await.answer(0)["checkpoint"].as_str().unwrap().to_owned();
    let other =
        Server::new().exchange("a", &[], None).await.answer(0)["checkpoint"].as_str().unwrap().to_owned();
    let future = ours.replace(".0", ".1");
    let long = "x".repeat(100_000);
    for checkpoint in ["", "x", "0", "v1..0", "'; DROP TABLE changes; --", "\u{0}", &long, &other, &future] {
        let reply = server.exchange("a", std::slice::from_ref(&create), Some(checkpoint)).await;
        reply.assert_problem(410, "CHECKPOINT_UNKNOWN");
    }
    let answer = server.exchange("a", &[], Some(&ours)).await.answer(0);
    assert_eq!(answer["serverChanges"], json!([]));
}

#[tokio::test]
async fn a_cloned_client_is_409_and_nothing_is_applied() {
    let server = Server::new();
    let (original, clone) = (Client::new(&server, "a"), Client::new(&server, "a"));
    server.apply(original.create("story", 1, json!({ "title": "original" }))).await;
    server.advance(1);
    let mutations = [
        clone.create("story", 2, json!({ "title": "clone" })),
        clone.create("story", 3, json!({ "title": "clone" })),
    ];
    server.exchange("a", &mutations, None).await.assert_problem(409, "CLIENT_ID_CLONED");
    // Also when what is fine comes first.
    let mixed = [mutations[1].clone(), mutations[0].clone()];
    server.exchange("a", &mixed, None).await.assert_problem(409, "CLIENT_ID_CLONED");
    let answer = server.exchange("a", &[], None).await.answer(0);
    assert_eq!(answer["serverChanges"].as_array().unwrap().len(), 1);
    // With a clientId of its own it goes on; what was settled before it was cloned is not applied again.
    let fresh = mutations.map(|mut mutation| {
        mutation["clientId"] = json!("b");
        mutation
    });
    assert!(server.push(&fresh).await.iter().all(|verdict| verdict["status"] == "applied"));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Server::new();
    let reply = server.get("/api/sync").await;
    reply.assert_problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(reply.header("allow"), "POST");
    for path in ["/", "/api/sync/", "/api/sync/x", "/../etc/passwd"] {
        server.get(path).await.assert_problem(404, "NOT_FOUND");
    }
    let delete = Request::delete("/health").body(Body::empty()).unwrap();
    server.send(delete).await.assert_problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn health_is_the_databases() {
    let server = Server::new();
    let reply = server.get("/health").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, r#"{"status":"ok"}"#));
    server.database().execute_batch("DROP TABLE store").unwrap();
    server.get("/health").await.assert_problem(500, "STORE_FAILED");
}

#[tokio::test]
async fn a_database_that_somebody_holds_is_503_and_later_works() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let create = a.create("story", 1, json!({ "title": "T" }));
    let other = server.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let reply = server.exchange("a", std::slice::from_ref(&create), None).await;
    reply.assert_problem(503, "STORE_UNAVAILABLE");
    assert_eq!(reply.header("retry-after"), "2");
    assert_eq!(server.exchange("a", &[], None).await.status, 200, "a pull does not wait for writers");
    other.execute_batch("ROLLBACK").unwrap();
    server.apply(create).await;
}

#[tokio::test]
async fn a_write_that_fails_leaves_no_trace() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    server.apply(a.create("story", 1, json!({ "title": "T" }))).await;
    server
        .database()
        .execute_batch("CREATE TRIGGER fails BEFORE INSERT ON verdicts BEGIN SELECT raise(ABORT, 'x'); END")
        .unwrap();
    let create = a.create("story", 2, json!({ "title": "T" }));
    server.exchange("a", std::slice::from_ref(&create), None).await.assert_problem(500, "STORE_FAILED");
    let answer = server.exchange("a", &[], None).await.answer(0);
    assert_eq!(
        answer["serverChanges"].as_array().unwrap().len(),
        1,
        "the record is not there without its verdict"
    );
    server.database().execute_batch("DROP TRIGGER fails").unwrap();
    server.apply(create).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_is_applied_as_a_whole_or_not_at_all() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    for round in 0..40_i64 {
        let mutations: Vec<_> =
            (0..5).map(|n| a.create("story", round * 10 + n, json!({ "title": "T" }))).collect();
        let request = server.exchange("a", &mutations, None);
        let _ = tokio::time::timeout(
            std::time::Duration::from_micros(u64::try_from(round).unwrap() * 100),
            request,
        )
        .await;
    }
    // The writer's turn comes after those that were still at work.
    assert_eq!(server.get("/health").await.status, 200);
    let (records, changes, verdicts): (i64, i64, i64) = server
        .database()
        .query_row(
            "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM changes), (SELECT count(*) FROM verdicts)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!((records % 5, changes, verdicts), (0, records, records));
}

#[tokio::test]
async fn only_allowed_origins_may_call() {
    let origin = "https://app.example.com";
    let server =
        Server::with(Options { allow_origin: vec![HeaderValue::from_static(origin)], ..Options::default() });
    for (from, expected) in [(origin, origin), ("https://evil.example.com", "")] {
        let preflight = Request::builder()
            .method(Method::OPTIONS)
            .uri("/api/sync")
            .header("origin", from)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization");
        let reply = server.send(preflight.body(Body::empty()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, expected));
        let post =
            Request::post("/api/sync").header("origin", from).header("content-type", "application/json");
        let body = r#"{"clientId":"a","mutations":[],"lastCheckpoint":null}"#;
        let reply = server.send(post.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.header("access-control-allow-origin"), expected);
        assert!(reply.header("access-control-expose-headers").contains("objectql-sync-features"));
    }
}
