//! What a seed decides before anything happens: how many there are of what, and which faults this world knows. Most worlds have
//! only some of the faults (swarm testing): one that is always there hides what another would find.

use std::time::Duration;

use objectql_offline::engine::{CompactAfter, Config, SyncSettings};
use objectql_sync_protocol::{ObjectDefinition, ObjectName, SyncConfig};
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

/// How many releases of its definitions an app has.
const EDITIONS: u64 = 4;
/// How many releases have later versions of its objects than the first one.
pub(crate) const RELEASES: usize = 3;
const DEBOUNCES_MS: [u64; 5] = [0, 50, 300, 1000, 5000];
const BATCH_SIZES: [usize; 5] = [1, 2, 3, 7, 50];

/// How one release of an app defines the objects.
#[derive(Debug, Clone)]
pub(crate) struct Edition(Vec<ObjectDefinition>);

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
    pub(crate) store_closed: usize,
    pub(crate) deploy: usize,
    pub(crate) damage: usize,
    pub(crate) clear: usize,
    pub(crate) put_back: usize,
    pub(crate) release: usize,
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
            faults: Faults::draw(random).with_later(seed),
            writing: random.pick(&[30, 80, 150, 300]),
            debounce_ms: std::array::from_fn(|_| random.pick(&DEBOUNCES_MS)),
            batch_size: std::array::from_fn(|_| random.pick(&BATCH_SIZES)),
        }
    }

    /// A world without faults, over the store in memory.
    pub(crate) fn calm(seed: u64, clients: usize, variation: &Variation) -> Self {
        let Variation { page, max_mutations, is_realtime, poll_interval, debounce_ms, batch_size, .. } =
            *variation;
        Self {
            server: ServerKind::Memory,
            clients,
            max_tabs: 4,
            page,
            max_mutations,
            proxy_takes: usize::MAX,
            is_automatic: true,
            is_realtime,
            poll_interval,
            faults: Faults::default(),
            debounce_ms,
            batch_size,
            ..Self::new(seed)
        }
    }

    /// How many mutations at least go in one request, if there are so many.
    pub(crate) fn smallest_batch(&self) -> usize {
        self.batch_size.into_iter().min().unwrap_or(1).min(self.max_mutations)
    }

    /// The same world over another server.
    #[must_use]
    pub fn over(self, server: ServerKind) -> Self {
        Self { server, ..self }
    }

    /// The definitions that clients and server share.
    pub(crate) fn definitions(&self) -> Vec<ObjectDefinition> {
        self.define(sync_of_all())
    }

    /// The same for somebody on the server, who may write everything.
    pub(crate) fn server_definitions(&self) -> Vec<ObjectDefinition> {
        let mut sync = sync_of_all();
        sync[PRICE] = json!({});
        self.define(sync)
    }

    fn define(&self, sync: [Value; 7]) -> Vec<ObjectDefinition> {
        let numbers = |place| (self.debounce_ms[place], self.batch_size[place]);
        let define = |(place, sync)| definition(place, sync, numbers(place));
        sync.into_iter().enumerate().map(define).collect()
    }

    /// What an app defines, release by release; the first is what the server goes by. Nothing is ever sent that the server
    /// would refuse for its definition alone: it would wait for a release that takes it back.
    pub(crate) fn editions(&self) -> Vec<Edition> {
        let first = Edition(self.definitions());
        std::iter::once(first).chain((1..EDITIONS).map(|number| self.later_edition(number))).collect()
    }

    fn later_edition(&self, number: u64) -> Edition {
        let random = &mut Random::new(self.seed ^ (number << 32));
        let all = sync_of_all();
        let mut definitions = Vec::new();
        for (place, own) in all.iter().enumerate() {
            let mut sync =
                if place <= CASE && random.chance(300) { all[random.below(4)].clone() } else { own.clone() };
            let direction = match place {
                STORY..=CASE => random.pick(&["", "", "push-only", "pull-only", "off", "gone"]),
                AUDIT => random.pick(&["", "off", "gone"]),
                _ => random.pick(&["", "gone"]),
            };
            let members = sync.as_object_mut().expect("an object");
            match direction {
                "gone" => continue,
                "off" => drop(members.insert("enabled".to_owned(), Value::Bool(false))),
                "" => {}
                direction => drop(members.insert("direction".to_owned(), json!(direction))),
            }
            let numbers = (random.pick(&DEBOUNCES_MS), random.pick(&BATCH_SIZES));
            definitions.push(definition(place, sync, numbers));
        }
        Edition(definitions)
    }

    /// What an engine is started with.
    pub(crate) fn config(&self, edition: &Edition, release: usize) -> Config {
        let settings = SyncSettings {
            is_automatic: self.is_automatic,
            poll_interval: Some(self.poll_interval),
            is_realtime: self.is_realtime,
        };
        let mut config = Config::new(edition.0.clone(), Some(settings)).expect("valid definitions");
        config.versions = self.versions(release);
        config.versions.retain(|(object, _)| edition.defines(object.as_str()));
        config.compact_after = self.compact_after();
        config.is_eager = Random::new(self.seed ^ 0xea6e).chance(250);
        if Random::new(self.seed ^ 0xa70c).chance(500) {
            config.at_once = 2;
        }
        config
    }

    /// Which versions the objects have in a release, where it is not the first one.
    pub(crate) fn versions(&self, release: usize) -> Vec<(ObjectName, u32)> {
        let of = |object: &str, place: u64| {
            let is_raised =
                |number: &u64| Random::new(self.seed ^ (number << 40) ^ (place << 50)).chance(500);
            let raised = (1..=release as u64).filter(is_raised).count();
            let name = ObjectName::new(object).expect("a valid name");
            (name, 1 + u32::try_from(raised).unwrap_or_default())
        };
        let versions = OBJECTS.iter().zip(1..).map(|(object, place)| of(object, place));
        versions.filter(|(_, version)| *version > 1).collect()
    }

    /// Some compact all the time, some never. Drawn apart, so that the worlds of older scripts stay what they were.
    fn compact_after(&self) -> CompactAfter {
        let rows = Random::new(self.seed ^ 0xc0de).pick(&[2, 4, 10, 40, 1_000_000]);
        CompactAfter { rows, bytes: 1 << 20 }
    }

    /// Whether a request may arrive after its sender has given it up. A server that cannot tell a repeat would apply it again,
    /// and no client can keep it from that.
    pub(crate) fn has_late_requests(&self) -> bool {
        self.server != ServerKind::Plain
    }
}

/// In what a calm world differs from another one with the same writes.
#[derive(Debug)]
pub(crate) struct Variation {
    pub(crate) tabs: usize,
    /// How likely a packet is not to arrive at the moment in which it is sent, in a thousand.
    pub(crate) delayed: usize,
    page: usize,
    max_mutations: usize,
    is_realtime: bool,
    poll_interval: Duration,
    debounce_ms: [u64; 7],
    batch_size: [usize; 7],
}

impl Variation {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            tabs: random.within(1, 3),
            delayed: random.pick(&[0, 0, 300, 700]),
            page: random.pick(&[1, 2, 7, 1000]),
            max_mutations: random.pick(&[1, 5, 100]),
            is_realtime: random.chance(500),
            poll_interval: Duration::from_secs(random.pick(&[5, 20, 60])),
            debounce_ms: std::array::from_fn(|_| random.pick(&DEBOUNCES_MS)),
            batch_size: std::array::from_fn(|_| random.pick(&BATCH_SIZES)),
        }
    }
}

impl Edition {
    fn sync_of(&self, object: &str) -> Option<&SyncConfig> {
        self.0.iter().find(|definition| definition.name.as_str() == object).map(|definition| &definition.sync)
    }

    pub(crate) fn defines(&self, object: &str) -> bool {
        self.sync_of(object).is_some()
    }

    pub(crate) fn pushes(&self, object: &str) -> bool {
        self.sync_of(object).is_some_and(SyncConfig::pushes)
    }

    /// Whether the server's changes are taken: those of an object that is not defined are, for it may come back.
    pub(crate) fn pulls(&self, object: &str) -> bool {
        self.sync_of(object).is_none_or(SyncConfig::pulls)
    }

    pub(crate) fn debounce_ms(&self, object: &str) -> u64 {
        self.sync_of(object).map_or(0, |sync| sync.debounce_ms.into())
    }

    pub(crate) fn batch_size(&self, object: &str) -> usize {
        self.sync_of(object).map_or(0, |sync| usize::try_from(sync.batch_size).unwrap_or(usize::MAX))
    }
}

/// How each object takes part in sync, as the server has it.
fn sync_of_all() -> [Value; 7] {
    [
        json!({}),
        json!({ "conflict_fields": ["a"] }),
        json!({ "strategy": "crdt" }),
        json!({ "strategy": "manual" }),
        json!({ "direction": "push-only" }),
        json!({ "direction": "pull-only" }),
        json!({ "enabled": false }),
    ]
}

fn definition(place: usize, mut sync: Value, (debounce_ms, batch_size): (u64, usize)) -> ObjectDefinition {
    let members = sync.as_object_mut().expect("an object");
    members.entry("enabled").or_insert(Value::Bool(true));
    members.insert("debounce_ms".to_owned(), json!(debounce_ms));
    members.insert("batch_size".to_owned(), json!(batch_size));
    let fields =
        json!({ "a": { "type": "json" }, "status": { "type": "select", "options": ["open", "done"] } });
    let definition = json!({ "name": OBJECTS[place], "fields": fields, "sync": sync });
    serde_json::from_value(definition).expect("a valid definition")
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
            ..Self::default()
        }
    }

    /// Those that came later: drawn apart, so that the worlds of older scripts stay what they were.
    fn with_later(self, seed: u64) -> Self {
        let random = &mut Random::new(seed ^ 0x1a7e);
        let mut draw = |rates: [usize; 3]| {
            if random.chance(700) { 0 } else { random.pick(&rates) }
        };
        let later = Self { store_closed: draw([2, 4, 10]), deploy: draw([3, 6, 12]), ..self };
        // The next ones as well, so that seeds which once failed keep their worlds.
        let random = &mut Random::new(seed ^ 0xdb9c);
        let mut draw = |rates: [usize; 3]| {
            if random.chance(800) { 0 } else { random.pick(&rates) }
        };
        Self {
            damage: draw([1, 3, 8]),
            clear: draw([1, 2, 4]),
            put_back: draw([1, 2, 4]),
            release: draw([2, 4, 8]),
            ..later
        }
    }
}
