//! A server without a socket, clients that number their mutations, and a replica that is stricter than a real one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Router, http};
use http_body_util::BodyExt;
use objectql_sync_protocol::{MutationId, ObjectDefinition, PushResponse, Timestamp};
use objectql_sync_server::routes::Http;
use objectql_sync_server::store::PageLimit;
use objectql_sync_server::store::sqlite::SqliteStore;
use objectql_sync_server::{App, Objects, Rules, app};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// 2026-11-22T00:00:00Z, in milliseconds.
pub(crate) const START: i64 = 1_795_305_600_000;
pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) struct Options {
    pub(crate) objects: Vec<ObjectDefinition>,
    pub(crate) page: PageLimit,
    pub(crate) max_mutations: usize,
    pub(crate) max_body_bytes: usize,
    pub(crate) allow_origin: Vec<http::HeaderValue>,
    pub(crate) static_dir: Option<PathBuf>,
    pub(crate) max_sockets: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            objects: objects(),
            page: PageLimit { changes: 1000, bytes: 1 << 20 },
            max_mutations: 100,
            max_body_bytes: 8 << 20,
            allow_origin: Vec::new(),
            static_dir: None,
            max_sockets: None,
        }
    }
}

/// One object for each way of syncing.
fn objects() -> Vec<ObjectDefinition> {
    let fields = json!({ "title": { "type": "text", "required": true }, "status": { "type": "select", "options": ["open", "done"] },
                         "n": { "type": "number" } });
    let object = |name: &str, sync: Value| {
        serde_json::from_value(json!({ "name": name, "fields": fields, "sync": sync })).unwrap()
    };
    vec![
        object("story", json!({ "enabled": true })),
        object("price", json!({ "enabled": true, "conflict_fields": ["n"] })),
        object("note", json!({ "enabled": true, "strategy": "crdt" })),
        object("contract", json!({ "enabled": true, "strategy": "manual" })),
        object("reading", json!({ "enabled": true, "direction": "push-only" })),
        object("catalog", json!({ "enabled": true, "direction": "pull-only" })),
        object("draft", json!({})),
    ]
}

pub(crate) struct Server {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) app: App,
    pub(crate) router: Router,
    clock: Arc<AtomicI64>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        Self::open(Arc::new(TempDir::new().unwrap()), Arc::new(AtomicI64::new(START)), options)
    }

    /// Another server on the same database, as after a restart.
    pub(crate) fn reopened(&self, options: Options) -> Self {
        Self::open(Arc::clone(&self.folder), Arc::clone(&self.clock), options)
    }

    fn open(folder: Arc<TempDir>, clock: Arc<AtomicI64>, options: Options) -> Self {
        let store = Arc::new(SqliteStore::open(folder.path().join("sync.db")).unwrap());
        let rules = Rules {
            objects: options.objects.into_iter().collect::<Objects>(),
            max_mutations: options.max_mutations,
            retention_days: 30,
            page: options.page,
        };
        let http = Http {
            path: "/api/sync".to_owned(),
            max_body_bytes: options.max_body_bytes,
            allow_origin: options.allow_origin,
            static_dir: options.static_dir,
            max_sockets: options.max_sockets,
        };
        let time = Arc::clone(&clock);
        let now = move || Timestamp::from_millis(time.load(Ordering::SeqCst));
        let endpoint = App::with_clock(rules, http, store, now).unwrap();
        Self { folder, router: app(endpoint.clone()), app: endpoint, clock }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    /// A connection to the database beside the server's.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("sync.db")).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, body: impl Into<Body>) -> Reply {
        let request = Request::post("/api/sync").header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn exchange(
        &self,
        client: &str,
        mutations: &[Value],
        checkpoint: Option<&str>,
    ) -> Reply {
        let request = json!({ "clientId": client, "mutations": mutations, "lastCheckpoint": checkpoint });
        self.post(request.to_string()).await
    }

    /// Pushes without looking at the changes: the verdicts.
    pub(crate) async fn push(&self, mutations: &[Value]) -> Vec<Value> {
        let client = mutations[0]["clientId"].as_str().unwrap();
        let answer = self.exchange(client, mutations, None).await.answer(mutations.len());
        answer["results"].as_array().unwrap().clone()
    }

    /// Pushes one mutation, which must be applied: the version.
    pub(crate) async fn apply(&self, mutation: Value) -> u64 {
        let verdict = self.push(&[mutation]).await.remove(0);
        assert_eq!(verdict["status"], "applied", "{verdict}");
        verdict["serverVersion"].as_u64().unwrap()
    }
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// An answer to so many mutations, as a client would read it.
    pub(crate) fn answer(&self, mutations: usize) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        PushResponse::parse(self.text.as_bytes(), mutations).unwrap();
        self.json()
    }

    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.json()["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.json()["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        for member in ["type", "title", "detail"] {
            assert!(self.json()[member].is_string(), "{member}");
        }
    }
}

/// Makes the mutations of one client.
pub(crate) struct Client<'a> {
    pub(crate) name: &'static str,
    server: &'a Server,
    sequence: AtomicU64,
}

impl<'a> Client<'a> {
    pub(crate) fn new(server: &'a Server, name: &'static str) -> Self {
        Self { name, server, sequence: AtomicU64::new(0) }
    }

    pub(crate) fn mutation(
        &self,
        object: &str,
        id: impl Into<Value>,
        operation: &str,
        data: Option<Value>,
    ) -> Value {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(self.name.bytes().chain(sequence.to_be_bytes())) {
            *to = from;
        }
        let now = self.server.now();
        let mut mutation = json!({
            "id": MutationId::new(now.unsigned_abs(), random).to_string(), "objectName": object, "recordId": id.into(),
            "operation": operation, "timestamp": Timestamp::from_millis(now).to_string(), "clientId": self.name,
            "sequence": sequence, "baseVersion": null,
        });
        if let Some(data) = data {
            mutation["data"] = data;
        }
        mutation
    }

    pub(crate) fn create(&self, object: &str, id: impl Into<Value>, data: Value) -> Value {
        self.mutation(object, id, "create", Some(data))
    }

    pub(crate) fn update(&self, object: &str, id: impl Into<Value>, base: u64, data: Value) -> Value {
        self.mutation(object, id, "update", Some(data)).on(base)
    }

    pub(crate) fn delete(&self, object: &str, id: impl Into<Value>, base: u64) -> Value {
        self.mutation(object, id, "delete", None).on(base)
    }
}

pub(crate) trait Changed {
    fn on(self, base: u64) -> Self;
    fn at(self, millis: i64) -> Self;
}

impl Changed for Value {
    /// The mutation with a base version.
    fn on(mut self, base: u64) -> Self {
        self["baseVersion"] = json!(base);
        self
    }

    /// The mutation with another timestamp.
    fn at(mut self, millis: i64) -> Self {
        self["timestamp"] = json!(Timestamp::from_millis(millis).to_string());
        self
    }
}

/// The records of one client that pulls. It panics on a change that a client could not make sense of.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) records: BTreeMap<(String, String), Value>,
    pub(crate) checkpoint: Option<String>,
    versions: BTreeMap<(String, String), u64>,
}

impl Replica {
    /// Takes one page; whether there are more.
    pub(crate) async fn pull_page(&mut self, server: &Server) -> bool {
        let answer = server.exchange("replica", &[], self.checkpoint.as_deref()).await.answer(0);
        self.take(&answer)
    }

    pub(crate) async fn pull(&mut self, server: &Server) {
        while self.pull_page(server).await {}
    }

    pub(crate) fn take(&mut self, answer: &Value) -> bool {
        for change in answer["serverChanges"].as_array().unwrap() {
            let key = (change["objectName"].as_str().unwrap().to_owned(), change["recordId"].to_string());
            let version = change["serverVersion"].as_u64().unwrap();
            let known = self.versions.insert(key.clone(), version);
            assert!(known.is_none_or(|known| known < version), "a version came back: {change}");
            match change["operation"].as_str().unwrap() {
                "create" => drop(self.records.insert(key, change["data"].clone())),
                "delete" => drop(self.records.remove(&key)),
                _ => {
                    let record =
                        self.records.get_mut(&key).expect("an update of a record that the client never got");
                    for (name, value) in change["data"].as_object().unwrap() {
                        record[name] = value.clone();
                    }
                }
            }
        }
        self.checkpoint = answer["checkpoint"].as_str().map(str::to_owned);
        answer["hasMore"].as_bool().unwrap_or(false)
    }
}
