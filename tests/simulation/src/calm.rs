//! Worlds without faults, where what is to happen is known exactly (`Q5`, `L4`, `L5` and `L6` of the failure catalogue).
//!
//! | checked | how |
//! | --- | --- |
//! | Q5 metamorphic | the same writes lead to the same records, whatever the batch sizes, debounces, pages, tabs, delays and sockets. Each record is one client's, so that no strategy's outcome depends on who is faster |
//! | L4 poison | a mutation that makes the server refuse whole requests costs the others a bounded number of requests |
//! | L5 takeover | a tab that leads and is closed or frozen is replaced within a bounded time |
//! | L6 in time | where the network is quick, each write is judged within ten times its object's debounce |

use std::collections::BTreeMap;
use std::time::Duration;

use objectql_sync_protocol::{Fields, MutationId, RecordKey, merge};

use crate::action::{Action, Cut, SocketWord, WriteKind};
use crate::coverage::{Coverage, Sight};
use crate::heal::MANY_STEPS;
use crate::network::Poison;
use crate::random::Random;
use crate::setup::{CASE, OBJECTS, Setup, Variation};
use crate::world::World;

const CLIENTS: usize = 3;
const WRITES: usize = 40;
/// How many writes a person makes who does not stop typing.
const TYPED: usize = 25;
/// A follower finds a frozen leader after three questions, one each 8 s; and what rounding costs.
const TAKEOVER: Duration = Duration::from_millis(24_100);
/// How many pushes a poisoned mutation costs at most, for any size of a batch.
const POISON_PUSHES: usize = 20;
/// How long it may take until it is shown as rejected.
const POISON_SHOWN: Duration = Duration::from_secs(1800);
/// A push waits so many debounces at most, whoever goes on writing.
const MAX_WAIT_DEBOUNCES: u32 = 10;
/// What timers are late by, because time goes on in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// What came of the calm worlds of a seed.
#[derive(Debug, Default)]
pub struct Calm {
    /// What must not have happened, if it did.
    pub violation: Option<String>,
    /// What was met on the way.
    pub coverage: Coverage,
    /// Inputs, requests and deeds, of all worlds together.
    pub steps: u64,
}

/// Plays the calm worlds of a seed.
#[must_use]
pub fn calm(seed: u64) -> Calm {
    let mut calm = Calm::default();
    calm.compare(seed);
    calm.play(seed, 3, Scene::lose_leader);
    calm.play(seed, 4, Scene::poison_one);
    calm
}

/// The records without the times that the driver sets.
type Written = BTreeMap<RecordKey, BTreeMap<String, String>>;

impl Calm {
    /// The same writes in several variations.
    fn compare(&mut self, seed: u64) {
        let mut first: Option<Written> = None;
        for number in 0..3 {
            let Some(records) = self.play(seed, number, Scene::write_all) else { return };
            let Some(expected) = &first else {
                first = Some(records);
                continue;
            };
            if *expected != records {
                let differs = |key: &&RecordKey| expected.get(*key) != records.get(*key);
                let key = expected.keys().chain(records.keys()).find(differs);
                let (mine, other) = (key.map(|key| records.get(key)), key.map(|key| expected.get(key)));
                self.violation =
                    Some(format!("Q5: {key:?} is {mine:?} in variation {number}, {other:?} before"));
                return;
            }
            self.coverage.saw(Sight::SameResult);
        }
    }

    /// Plays one world to its healed end; nothing if something was violated, here or before.
    fn play<T>(
        &mut self,
        seed: u64,
        number: u64,
        play: impl FnOnce(&mut Scene) -> Result<T, String>,
    ) -> Option<T> {
        if self.violation.is_some() {
            return None;
        }
        let mut scene = Scene::new(seed, number);
        let result = play(&mut scene);
        self.coverage.add(&scene.world.coverage);
        self.steps += scene.world.steps;
        let violation = scene.world.violation.take();
        match result {
            Ok(result) if violation.is_none() => Some(result),
            Ok(_) => {
                self.violation = violation;
                None
            }
            Err(problem) => {
                self.violation = violation.or(Some(problem));
                None
            }
        }
    }
}

/// A calm world, and what goes on in it.
struct Scene {
    world: World,
    variation: Variation,
    /// How the deeds are drawn: the same in all variations.
    deeds: Random,
    /// How everything else is drawn.
    random: Random,
    /// The sockets on which the server has said hello.
    greeted: Vec<(usize, usize, u64)>,
    /// The position at which it last rang.
    rung_at: u64,
    /// Until when each mutation is to be judged.
    deadlines: BTreeMap<MutationId, Duration>,
}

impl Scene {
    fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed ^ (number << 40) ^ 0xca1);
        let variation = Variation::draw(&mut random);
        let mut world = World::new(Setup::calm(seed, CLIENTS, &variation));
        for client in &mut world.clients {
            // Whoever comes from the wrong year is refused until it has learnt the time.
            client.skew_ms = 0;
        }
        let deeds = Random::new(seed ^ 0xdeed);
        let (greeted, deadlines) = (Vec::new(), BTreeMap::new());
        let mut scene = Self { world, variation, deeds, random, greeted, rung_at: 0, deadlines };
        for client in 0..CLIENTS {
            for _ in 0..scene.variation.tabs {
                scene.world.apply(&Action::Open { client });
                scene.go_on();
            }
        }
        scene
    }

    /// The same writes in any variation, each in the log before the next: what the server has of them in the end.
    fn write_all(&mut self) -> Result<Written, String> {
        let (typist, gap) = (self.deeds.below(CLIENTS), self.deeds.pick(&[30, 200, 700]));
        for _ in 0..TYPED {
            self.write(typist, 0, 0, WriteKind::Upsert);
            self.pass(Duration::from_millis(gap))?;
        }
        for _ in 0..WRITES {
            let client = self.deeds.below(CLIENTS);
            let (object, place) = (self.deeds.below(CASE + 1), self.deeds.below(4));
            let kind = self.deeds.pick(&[
                WriteKind::Create,
                WriteKind::Update,
                WriteKind::Update,
                WriteKind::Upsert,
                WriteKind::Delete,
                WriteKind::Bulk,
            ]);
            self.write(client, object, place, kind);
            let wait = self.deeds.pick(&[0, 1, 20, 40, 200, 900, 6000]);
            self.pass(Duration::from_millis(wait))?;
        }
        self.pass(Duration::from_secs(60))?;
        self.world.heal();
        let records = self.world.server.records().into_iter();
        let own = |fields: Fields| {
            let own = fields.iter().filter(|(name, _)| !merge::is_system_field(name));
            own.map(|(name, value)| (name.to_owned(), value.as_str().to_owned())).collect()
        };
        Ok(records.map(|(key, fields)| (key, own(fields))).collect())
    }

    /// The tab that leads is closed or frozen while there is something to push: another tab does it.
    fn lose_leader(&mut self) -> Result<(), String> {
        self.variation.delayed = 0;
        let client = 0;
        while self.world.clients[client].alive().count() < 2 {
            self.world.apply(&Action::Open { client });
            self.go_on();
        }
        let wait = self.deeds.below(20_000);
        self.pass(Duration::from_millis(wait as u64))?;
        let leader = self.world.clients[client].lock.ok_or("L5: nobody leads")?;
        let follower = self.world.clients[client].alive().find(|tab| *tab != leader).ok_or("no other tab")?;
        let write = Action::Write {
            client,
            tab: follower,
            object: self.deeds.below(CASE + 1),
            record: client,
            kind: WriteKind::Create,
            value: 0,
        };
        self.world.apply(&write);
        // Then its request is under way, its row is half written, or nothing has happened yet.
        for _ in 0..self.deeds.below(30) {
            self.world.step();
        }
        let is_frozen = self.deeds.chance(600);
        let lost_at = self.world.now;
        self.world.apply(&match is_frozen {
            true => Action::Freeze { client, tab: leader },
            false => Action::Crash { client, tab: leader },
        });
        self.go_on();
        let takeover = if is_frozen { TAKEOVER } else { Duration::ZERO };
        let bound = lost_at + takeover + self.longest_wait(&write) + ROUNDING;
        while !self.is_judged(client) {
            if self.world.now > bound {
                let waited = self.world.now - lost_at;
                return Err(format!("L5: {waited:?} after the leader was lost, frozen: {is_frozen}"));
            }
            self.step_in_time(Duration::from_secs(1));
        }
        self.world.coverage.saw(if is_frozen { Sight::FrozenReplaced } else { Sight::ClosedReplaced });
        self.world.heal();
        Ok(())
    }

    /// Of many writes one makes the server refuse whole requests: the others go through soon, and it is shown as rejected.
    fn poison_one(&mut self) -> Result<(), String> {
        self.variation.delayed = 0;
        let client = 0;
        let count = self.deeds.within(2, 60);
        let tab = self.world.clients[client].lock.ok_or("L5: nobody leads")?;
        // Offline, so that all of it goes at once.
        self.world.apply(&Action::Partition { client, cut: Cut::Both, ms: 2000 });
        for place in 0..count {
            let (object, value) = (self.deeds.below(CASE + 1), self.deeds.below(56));
            let record = client + CLIENTS * place;
            self.world.apply(&Action::Write { client, tab, object, record, kind: WriteKind::Create, value });
        }
        self.go_on();
        let written = self.world.clients[client].life().ledger.entries.values();
        let written: Vec<MutationId> = written.map(|entry| entry.recorded.id).collect();
        let mutation = written[self.deeds.below(written.len())];
        let status = self.deeds.pick(&[400, 422, 500]);
        self.world.network.poison = Some(Poison { mutation, status, pushes: 0 });
        let bound = count.div_ceil(self.world.setup.smallest_batch().min(count)) + POISON_PUSHES;
        let until = self.world.now + POISON_SHOWN;
        loop {
            let has_verdict = |id: &&MutationId| {
                self.world.server.history().is_some_and(|history| history.verdicts.contains_key(*id))
            };
            let rest = count - written.iter().filter(has_verdict).count() - 1;
            let leader = self.world.clients[client].lock.unwrap_or(tab);
            let state = self.world.clients[client].tabs[leader].engine.state();
            let is_shown = state.refused().any(|(_, recorded)| recorded.id == mutation);
            if rest == 0 && is_shown {
                break;
            }
            let pushes = self.world.network.poison.as_ref().map_or(0, |poison| poison.pushes);
            if pushes > bound || self.world.now > until {
                return Err(format!(
                    "L4: after {pushes} pushes {rest} of {count} wait for one with status {status}, shown: {is_shown}"
                ));
            }
            self.step_in_time(Duration::from_secs(10));
        }
        self.world.network.poison = None;
        self.world.coverage.saw(Sight::PoisonPassed);
        self.world.heal();
        Ok(())
    }

    /// A write to one of the client's own records, from any of its tabs.
    fn write(&mut self, client: usize, object: usize, place: usize, kind: WriteKind) {
        let tabs: Vec<usize> = self.world.clients[client].alive().collect();
        let tab = self.random.pick(&tabs);
        let record = client + CLIENTS * place;
        let before = self.world.clients[client].life().ledger.entries.len();
        let write = Action::Write { client, tab, object, record, kind, value: self.deeds.below(56) };
        self.world.apply(&write);
        let written_at = self.world.now;
        self.go_on();
        if self.variation.delayed == 0 {
            let until = written_at + self.longest_wait(&write) + ROUNDING;
            let new = self.world.clients[client].life().ledger.entries.values().skip(before);
            self.deadlines.extend(new.map(|entry| (entry.recorded.id, until)));
        }
    }

    fn longest_wait(&self, write: &Action) -> Duration {
        let Action::Write { object, .. } = write else { return Duration::ZERO };
        Duration::from_millis(self.world.editions[0].debounce_ms(OBJECTS[*object])) * MAX_WAIT_DEBOUNCES
    }

    /// Whether the server has judged all that the client wrote.
    fn is_judged(&self, client: usize) -> bool {
        let Some(history) = self.world.server.history() else { return false };
        let client = &self.world.clients[client];
        let is_read =
            client.alive().all(|tab| client.tabs[tab].calls.is_empty() || client.tabs[tab].is_frozen);
        is_read
            && client
                .life()
                .ledger
                .entries
                .values()
                .all(|entry| history.verdicts.contains_key(&entry.recorded.id))
    }

    /// Time passes, and all happens that is due in it.
    fn pass(&mut self, by: Duration) -> Result<(), String> {
        let end = self.world.now + by;
        self.check_deadlines()?;
        while self.world.now < end && self.world.violation.is_none() {
            self.step_in_time(end - self.world.now);
            self.check_deadlines()?;
        }
        Ok(())
    }

    /// To the next timer, or so far.
    fn step_in_time(&mut self, at_most: Duration) {
        let tabs = self.world.clients.iter().flat_map(|client| &client.tabs);
        let next = tabs.filter(|tab| tab.is_alive && !tab.is_frozen).filter_map(|tab| tab.wake_at).min();
        let wait = next.map_or(at_most, |next| next.saturating_sub(self.world.now).min(at_most));
        let ms = u64::try_from(wait.as_millis()).unwrap_or(1).max(1);
        self.world.apply(&Action::Time { ms });
        self.go_on();
    }

    fn check_deadlines(&mut self) -> Result<(), String> {
        let Some(history) = self.world.server.history() else { return Ok(()) };
        let before = self.deadlines.len();
        self.deadlines.retain(|id, _| !history.verdicts.contains_key(id));
        if self.deadlines.len() < before {
            self.world.coverage.saw(Sight::InTime);
        }
        match self.deadlines.iter().find(|(_, until)| **until < self.world.now) {
            Some((id, until)) => Err(format!("L6: {id} was to be judged until {until:?}")),
            None => Ok(()),
        }
    }

    /// Everything that is to be done at this moment; what is on its way may take longer.
    fn go_on(&mut self) {
        for _ in 0..MANY_STEPS {
            if self.world.violation.is_some() {
                return;
            }
            if self.world.step_tabs() || self.ring() {
                continue;
            }
            if self.random.chance(self.variation.delayed) || !self.world.step_network() {
                return;
            }
        }
        self.world.violate("L3: something runs in a circle".to_owned());
    }

    /// The server's part of realtime; whether there was anything to say.
    fn ring(&mut self) -> bool {
        let position = self.world.server.history().map_or(0, |history| history.last_position);
        let sockets: Vec<(usize, usize, u64)> = self
            .world
            .clients
            .iter()
            .enumerate()
            .flat_map(|(at, client)| {
                client.tabs.iter().enumerate().filter_map(move |(tab, it)| Some((at, tab, it.socket?)))
            })
            .collect();
        let new: Vec<_> = sockets.iter().filter(|socket| !self.greeted.contains(socket)).copied().collect();
        for (client, tab, _) in &new {
            for word in [SocketWord::Opened, SocketWord::Ready] {
                self.world.apply(&Action::Socket { client: *client, tab: *tab, word });
            }
        }
        let has_news = std::mem::replace(&mut self.rung_at, position) < position;
        if has_news {
            for (client, tab, _) in &sockets {
                self.world.apply(&Action::Socket { client: *client, tab: *tab, word: SocketWord::Poke });
            }
        }
        let has_spoken = !new.is_empty() || (has_news && !sockets.is_empty());
        self.greeted = sockets;
        has_spoken
    }
}
