//! What a seed decides before anything happens: how many there are of what, and which faults this world knows. Most worlds have
//! only some of the faults (swarm testing): one that is always there hides what another would find.

use std::time::Duration;

use objectql_offline::engine::{Config, SyncSettings};
use objectql_sync_protocol::ObjectDefinition;
use serde_json::{Value, json};

use crate::random::Random;

/// 2026-01-01, where virtual time begins.
pub(crate) const EPOCH_MS: i64 = 1_767_225_600_000;
/// The objects with records that all clients write.
pub(crate) const STORY: usize = 0;
pub(crate) const TASK: usize = 1;
pub(crate) const NOTE: usize = 2;
pub(crate) const CASE: usize = 3;
/// Push-only, pull-only, not synced.
pub(crate) const AUDIT: usize = 4;
pub(crate) const PRICE: usize = 5;
pub(crate) const DRAFT: usize = 6;
/// The objects by their place.
pub(crate) const OBJECTS: [&str; 7] = ["story", "task", "note", "case", "audit", "price", "draft"];

/// Which server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The production decisions over a store in memory.
    Memory,
    /// The production decisions over the production store.
    Sqlite,
    /// A server written from the wire format alone.
    Plain,
}

/// How likely each fault is at each opportunity, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) crash: usize,
    pub(crate) crash_browser: usize,
    pub(crate) freeze: usize,
    pub(crate) steal: usize,
    pub(crate) quota: usize,
    pub(crate) disk_failed: usize,
    pub(crate) unknown: usize,
    pub(crate) announcement_lost: usize,
    pub(crate) request_lost: usize,
    pub(crate) answer_lost: usize,
    pub(crate) hang: usize,
    pub(crate) copied: usize,
    pub(crate) status: usize,
    pub(crate) portal: usize,
    pub(crate) damaged: usize,
    pub(crate) partition: usize,
    pub(crate) server_failed: usize,
    pub(crate) client_clock: usize,
    pub(crate) server_clock: usize,
    pub(crate) prune: usize,
    pub(crate) restore: usize,
    pub(crate) clone: usize,
}

/// A world before anything happened.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What everything follows from.
    pub seed: u64,
    /// Which server answers.
    pub server: ServerKind,
    pub(crate) clients: usize,
    pub(crate) max_tabs: usize,
    pub(crate) hot_records: usize,
    /// The objects that are written in this world.
    pub(crate) objects: Vec<usize>,
    pub(crate) page: usize,
    pub(crate) max_mutations: usize,
    /// How many mutations a proxy lets through, without the server knowing.
    pub(crate) proxy_takes: usize,
    pub(crate) is_automatic: bool,
    pub(crate) is_realtime: bool,
    pub(crate) poll_interval: Duration,
    pub(crate) faults: Faults,
    /// How often users write, in a thousand.
    pub(crate) writing: usize,
    debounce_ms: [u64; 7],
    batch_size: [usize; 7],
}

impl Setup {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let server = match seed % 16 {
            7 => ServerKind::Sqlite,
            3 | 11 => ServerKind::Plain,
            _ => ServerKind::Memory,
        };
        let mut objects: Vec<usize> = vec![STORY, TASK, NOTE, CASE];
        while objects.len() > 2 && random.chance(400) {
            objects.remove(random.below(objects.len()));
        }
        objects.extend([AUDIT, PRICE, DRAFT].into_iter().filter(|_| random.chance(300)));
        Self {
            seed,
            server,
            clients: random.pick(&[2, 2, 2, 3, 3, 4, 5, 8]),
            max_tabs: random.within(1, 4),
            hot_records: random.pick(&[1, 2, 3, 5, 8, 13, 20]),
            objects,
            page: random.pick(&[1, 2, 3, 7, 20, 1000]),
            max_mutations: random.pick(&[1, 2, 5, 20, 100, 100]),
            proxy_takes: random.pick(&[1, 2, 4, usize::MAX, usize::MAX, usize::MAX]),
            is_automatic: !random.chance(100),
            is_realtime: random.chance(300),
            poll_interval: Duration::from_secs(random.pick(&[5, 20, 60])),
            faults: Faults::draw(random),
            writing: random.pick(&[30, 80, 150, 300]),
            debounce_ms: std::array::from_fn(|_| random.pick(&[0, 50, 300, 1000, 5000])),
            batch_size: std::array::from_fn(|_| random.pick(&[1, 2, 3, 7, 50])),
        }
    }

    /// The same world over another server.
    #[must_use]
    pub fn over(self, server: ServerKind) -> Self {
        Self { server, ..self }
    }

    /// The definitions that clients and server share.
    pub(crate) fn definitions(&self) -> Vec<ObjectDefinition> {
        self.definitions_with(&json!({ "direction": "pull-only" }))
    }

    /// The same for somebody on the server, who may write everything.
    pub(crate) fn server_definitions(&self) -> Vec<ObjectDefinition> {
        self.definitions_with(&json!({}))
    }

    fn definitions_with(&self, price: &Value) -> Vec<ObjectDefinition> {
        let sync: [Value; 7] = [
            json!({}),
            json!({ "conflict_fields": ["a"] }),
            json!({ "strategy": "crdt" }),
            json!({ "strategy": "manual" }),
            json!({ "direction": "push-only" }),
            price.clone(),
            json!({ "enabled": false }),
        ];
        let define = |(place, mut sync): (usize, Value)| {
            let members = sync.as_object_mut().expect("an object");
            members.entry("enabled").or_insert(Value::Bool(true));
            members.insert("debounce_ms".to_owned(), json!(self.debounce_ms[place]));
            members.insert("batch_size".to_owned(), json!(self.batch_size[place]));
            let fields = json!({ "a": { "type": "json" }, "status": { "type": "select", "options": ["open", "done"] } });
            let definition = json!({ "name": OBJECTS[place], "fields": fields, "sync": sync });
            serde_json::from_value(definition).expect("a valid definition")
        };
        sync.into_iter().enumerate().map(define).collect()
    }

    /// What an engine is started with.
    pub(crate) fn config(&self) -> Config {
        let settings = SyncSettings {
            is_automatic: self.is_automatic,
            poll_interval: Some(self.poll_interval),
            is_realtime: self.is_realtime,
        };
        Config::new(self.definitions(), Some(settings)).expect("valid definitions")
    }

    /// Whether a request may arrive after its sender has given it up. A server that cannot tell a repeat would apply it again,
    /// and no client can keep it from that.
    pub(crate) fn has_late_requests(&self) -> bool {
        self.server != ServerKind::Plain
    }

    pub(crate) fn batch_size(&self, object: &str) -> usize {
        let place = OBJECTS.iter().position(|name| *name == object);
        place.map_or(0, |place| self.batch_size[place])
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        let is_calm = random.chance(60);
        let mut draw = |rates: [usize; 3]| {
            if is_calm || random.chance(500) { 0 } else { random.pick(&rates) }
        };
        Self {
            crash: draw([1, 3, 10]),
            crash_browser: draw([1, 2, 4]),
            freeze: draw([1, 4, 12]),
            steal: draw([1, 4, 12]),
            quota: draw([5, 30, 150]),
            disk_failed: draw([5, 30, 150]),
            unknown: draw([5, 30, 200]),
            announcement_lost: draw([30, 200, 1000]),
            request_lost: draw([20, 100, 300]),
            answer_lost: draw([20, 100, 300]),
            hang: draw([5, 20, 60]),
            copied: draw([20, 100, 300]),
            status: draw([20, 100, 300]),
            portal: draw([10, 50, 100]),
            damaged: draw([10, 50, 100]),
            partition: draw([1, 3, 6]),
            server_failed: draw([20, 100, 300]),
            client_clock: draw([1, 3, 6]),
            server_clock: draw([1, 2, 3]),
            prune: draw([1, 2, 4]),
            restore: draw([1, 2, 3]),
            clone: draw([1, 1, 2]),
        }
    }
}
