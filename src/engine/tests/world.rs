//! A small world: a few clients with a tab or two each, one server, and everything that goes wrong between them. First whatever
//! happens must be safe; then the faults stop, and all must agree.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::early::asked;
use super::*;
use crate::engine::{Received, RetryAfter};

/// The hot records all clients fight over.
const HOT: usize = 5;

struct Random(Xoshiro256PlusPlus);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u32()).unwrap() % end
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A simple honest server: versions are global positions, mutation ids are remembered, `story` is last-write-wins by record, a
/// concurrent change of a `task` is a conflict.
#[derive(Default)]
struct Server {
    records: BTreeMap<(String, String), Record>,
    /// The changes; their place, counted from 1, is their version.
    changes: Vec<Value>,
    /// How many changes are forgotten.
    pruned: usize,
    verdicts: BTreeMap<String, Value>,
    /// The last new sequence of each client's record.
    sequences: BTreeMap<(String, String, String), u64>,
    page: usize,
    /// How many mutations it takes in one request, without saying so.
    takes: usize,
}

#[derive(Debug, Default, Clone)]
struct Record {
    data: Option<serde_json::Map<String, Value>>,
    /// Version, author and time of every write.
    writes: Vec<(u64, String, String)>,
}

impl Record {
    fn version(&self) -> u64 {
        self.writes.last().map_or(0, |write| write.0)
    }
}

impl Server {
    fn answer(&mut self, body: &[u8]) -> Answer {
        let request: Value = serde_json::from_slice(body).unwrap();
        let Some(place) = self.read_checkpoint(&request["lastCheckpoint"]) else { return status(410) };
        let mutations = request["mutations"].as_array().unwrap();
        if mutations.len() > self.takes {
            return status(413);
        }
        let results: Vec<Value> = mutations.iter().map(|mutation| self.judge_once(mutation)).collect();
        let (changes, checkpoint, has_more) = self.changes_after(place);
        let body = json!({
            "results": results, "serverChanges": changes, "checkpoint": checkpoint, "hasMore": has_more,
        });
        ok(body.to_string().into_bytes())
    }

    fn read_checkpoint(&self, checkpoint: &Value) -> Option<Place> {
        let Some(text) = checkpoint.as_str() else {
            return Some(Place { snapshot_after: Some(String::new()), position: self.changes.len() });
        };
        let (position, key) = text.split_once('|').unwrap();
        let position: usize = position.parse().unwrap();
        let snapshot_after = (key != "-").then(|| key.to_owned());
        (position >= self.pruned).then_some(Place { snapshot_after, position })
    }

    fn changes_after(&self, place: Place) -> (Vec<Value>, String, bool) {
        let Place { snapshot_after, position } = place;
        if let Some(after) = snapshot_after {
            let live: Vec<_> = self
                .records
                .iter()
                .filter(|(_, record)| record.data.is_some())
                .map(|(key, record)| (format!("{} {}", key.0, key.1), key, record))
                .filter(|(text, ..)| *text > after)
                .take(self.page)
                .collect();
            let changes = live.iter().map(|(_, key, record)| {
                server_change(
                    "create",
                    &key.0,
                    &key.1,
                    record.data.clone().map(Value::Object),
                    record.version(),
                )
            });
            let last = if live.len() < self.page { "-".to_owned() } else { live.last().unwrap().0.clone() };
            return (changes.collect(), format!("{position}|{last}"), true);
        }
        let end = self.changes.len().min(position + self.page);
        (self.changes[position..end].to_vec(), format!("{end}|-"), end < self.changes.len())
    }

    fn judge_once(&mut self, mutation: &Value) -> Value {
        let id = mutation["id"].as_str().unwrap();
        if let Some(verdict) = self.verdicts.get(id) {
            return verdict.clone();
        }
        let text = |name: &str| mutation[name].as_str().unwrap().to_owned();
        let of_record = (text("clientId"), text("objectName"), mutation["recordId"].to_string());
        let sequence = mutation["sequence"].as_u64().unwrap();
        let last = self.sequences.insert(of_record, sequence);
        assert!(last < Some(sequence), "the mutations of a record come in order: {last:?}, {sequence}");
        let verdict = self.judge(mutation);
        self.verdicts.insert(id.to_owned(), verdict.clone());
        verdict
    }

    fn judge(&mut self, mutation: &Value) -> Value {
        let (object, id) = (mutation["objectName"].as_str().unwrap(), mutation["recordId"].as_str().unwrap());
        let (client, time) =
            (mutation["clientId"].as_str().unwrap(), mutation["timestamp"].as_str().unwrap());
        let base = mutation["baseVersion"].as_u64().unwrap_or(0);
        let record = self.records.entry((object.to_owned(), id.to_owned())).or_default().clone();
        if mutation["data"]["bad"] == true {
            return rejected("it is bad");
        }
        let foreign = record.writes.iter().filter(|(version, author, _)| *version > base && author != client);
        let latest = foreign.map(|(_, author, time)| (time.as_str(), author.as_str())).max();
        let operation = mutation["operation"].as_str().unwrap();
        let Some(old) = &record.data else {
            return match operation {
                "create" => self.write(mutation, "create", mutation["data"].as_object().cloned()),
                "delete" => applied(record.version()),
                _ => rejected("it was deleted"),
            };
        };
        if object == "task" && latest.is_some() {
            return conflict(mutation, Value::Object(old.clone()), Some(record.version()));
        }
        if operation == "delete" {
            return self.write(mutation, "delete", None);
        }
        if latest > Some((time, client)) {
            return applied(record.version());
        }
        let mut data = old.clone();
        data.extend(mutation["data"].as_object().unwrap().clone());
        self.write(mutation, "update", Some(data))
    }

    fn write(
        &mut self,
        mutation: &Value,
        operation: &str,
        data: Option<serde_json::Map<String, Value>>,
    ) -> Value {
        let (object, id) = (mutation["objectName"].as_str().unwrap(), mutation["recordId"].as_str().unwrap());
        let version = u64::try_from(self.changes.len()).unwrap() + 1;
        let patch = (operation != "delete").then(|| mutation["data"].clone());
        self.changes.push(server_change(operation, object, id, patch, version));
        let record = self.records.entry((object.to_owned(), id.to_owned())).or_default();
        record.data = data;
        let text = |name: &str| mutation[name].as_str().unwrap().to_owned();
        record.writes.push((version, text("clientId"), text("timestamp")));
        applied(version)
    }

    fn live(&self, object: &str) -> BTreeMap<String, Value> {
        let of_object = self.records.iter().filter(|(key, _)| key.0 == object);
        of_object
            .filter_map(|(key, record)| Some((key.1.clone(), Value::Object(record.data.clone()?))))
            .collect()
    }
}

/// What a checkpoint means: the changes up to a position, and how far the snapshot taken there has come.
struct Place {
    snapshot_after: Option<String>,
    position: usize,
}

fn server_change(operation: &str, object: &str, id: &str, data: Option<Value>, version: u64) -> Value {
    let mut change = change(operation, id, data.unwrap_or_default(), version);
    change["objectName"] = json!(object);
    change
}

/// One client: a log, its tabs, and what its app was told.
struct Client {
    world: World,
    /// Who holds the lock, and whether every tab knows.
    leader: Option<usize>,
    dethroned: Vec<usize>,
    /// The writes under way, by call: which token they carry.
    calls: BTreeMap<u64, (usize, u64)>,
    promised: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// What pages asked for that had no engine.
    asked: BTreeSet<u64>,
    /// The mutations that came up in `rejected()`.
    surfaced: BTreeSet<MutationId>,
}

struct Net {
    random: Random,
    server: Server,
    clients: Vec<Client>,
    /// Requests that a proxy held back: they come late, and nobody waits for an answer.
    late: Vec<Vec<u8>>,
    next_token: u64,
    requests: usize,
}

fn definitions() -> Vec<ObjectDefinition> {
    let definition =
        |name: &str, sync: Value| serde_json::from_value(json!({ "name": name, "sync": sync })).unwrap();
    vec![
        definition("story", json!({ "enabled": true, "debounce_ms": 300, "batch_size": 7 })),
        definition("task", json!({ "enabled": true, "debounce_ms": 700, "batch_size": 3 })),
    ]
}

impl Net {
    fn new(seed: u64, is_lockless: bool) -> Self {
        let mut random = Random(Xoshiro256PlusPlus::seed_from_u64(seed));
        let (page, takes) = (1 + random.below(12), 2 + random.below(12));
        let server = Server { page, takes, ..Server::default() };
        let clients = (0..2 + random.below(2))
            .map(|client| {
                let settings = SyncSettings {
                    is_automatic: true,
                    poll_interval: Some(Duration::from_secs(20)),
                    is_realtime: false,
                };
                let mut world = World::empty(Config::new(definitions(), Some(settings)).unwrap());
                world.salt = u8::try_from(100 + client).unwrap();
                // Some never compact within the test, some all the time.
                let rows = [3, 8, 30, 100_000][random.below(4)];
                world.config.compact_after = CompactAfter { rows, bytes: 1 << 20 };
                world.config.is_eager = random.chance(30);
                // Clocks are never right: seconds, or a year.
                world.skew_ms = [0, 3000, -20_000, 31_536_000_000][random.below(4)];
                world.is_lockless = is_lockless;
                world.open_tab();
                Client {
                    world,
                    leader: None,
                    dethroned: Vec::new(),
                    calls: BTreeMap::new(),
                    promised: BTreeSet::new(),
                    refused: BTreeSet::new(),
                    asked: BTreeSet::new(),
                    surfaced: BTreeSet::new(),
                }
            })
            .collect();
        Self { random, server, clients, late: Vec::new(), next_token: 0, requests: 0 }
    }

    fn step(&mut self) {
        let at = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..18 => self.write(at),
            18..20 => self.ask(at),
            20..48 => self.serve_store(at),
            48..55 => self.serve_step(at),
            55..65 => self.announce(at),
            65..80 => self.serve_request(at),
            80..90 => self.pass_time(),
            90..92 => self.change_leader(at),
            92..93 => self.crash(at),
            93..94 => self.open(at),
            94..96 => self.decide(at),
            96..97 => self.call_sync(at),
            97..98 => self.deliver_late(),
            98..99 => self.prune(),
            _ => self.nudge(at),
        }
        self.collect(at);
        self.check(at);
    }

    fn any_tab(&mut self, at: usize) -> Option<usize> {
        let tabs = &self.clients[at].world.tabs;
        let live: Vec<usize> = (0..tabs.len()).filter(|tab| tabs[*tab].is_alive).collect();
        if live.is_empty() { None } else { Some(live[self.random.below(live.len())]) }
    }

    fn write(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        self.next_token += 1;
        let token = self.next_token;
        let object = ["story", "story", "task"][self.random.below(3)];
        let id = match self.random.below(10) {
            0 => format!("own{token}"),
            _ => format!("r{}", self.random.below(HOT)),
        };
        let field = format!("f{}", self.random.below(3));
        let command = match self.random.below(10) {
            0..3 => create(object, json!({ "id": id, "token": token, field: token })),
            3 => create(object, json!({ "id": id, "token": token, "bad": true })),
            4 => delete(object, &id),
            5 => update(object, &id, json!({ "token": token, "bad": true })),
            _ => update(object, &id, json!({ "token": token, field: token })),
        };
        let is_delete = matches!(command, Command::Delete { .. });
        let client = &mut self.clients[at];
        let call = client.world.start_write(tab, command);
        if !is_delete {
            client.calls.insert(call, (tab, token));
        }
    }

    /// A page without an engine makes a record and changes it; it may get an engine, or be gone by then.
    fn ask(&mut self, at: usize) {
        let (first, second) = (self.next_token + 1, self.next_token + 2);
        self.next_token = second;
        let id = format!("early{first}");
        let record = json!([{ "id": id, "token": first }]);
        let client = &mut self.clients[at];
        client.asked.extend([first, second]);
        client.world.ask(first, 1, asked("create", "task", record, Value::Null));
        client.world.ask(first, 2, asked("update", "task", json!(id), json!({ "token": second })));
        if let Some(tab) = self.any_tab(at).filter(|_| self.random.chance(60)) {
            let client = &mut self.clients[at];
            for (number, token) in [(1, first), (2, second)] {
                let call = client.world.wait_for_early(tab, first, number);
                client.calls.insert(call, (tab, token));
            }
        }
    }

    fn serve_store(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let fault = self.random.below(100);
        let world = &mut self.clients[at].world;
        if !world.tabs[tab].reading.is_empty() {
            return if fault < 4 { world.fail_read(tab) } else { world.serve_store(tab) };
        }
        match &world.tabs[tab].store {
            None => {}
            Some(StoreCall::Append { .. }) => match fault {
                0..3 => world.lose_append(tab, true),
                3..5 => world.lose_append(tab, false),
                5 => world.fail_append(tab, Error::QuotaExceeded),
                _ => world.serve_store(tab),
            },
            Some(_) if fault < 4 => world.fail_read(tab),
            Some(_) => world.serve_store(tab),
        }
    }

    fn serve_step(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let fault = self.random.below(100);
        let world = &mut self.clients[at].world;
        match (&world.tabs[tab].compaction, fault) {
            (None, _) => {}
            (_, 0..5) => world.fail_step(tab, true),
            (_, 5..10) => world.fail_step(tab, false),
            _ => world.serve_step(tab),
        }
    }

    fn announce(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let inbox = &mut self.clients[at].world.tabs[tab].inbox;
        if inbox.is_empty() {
            return;
        }
        let place = self.random.below(inbox.len());
        let announcement = inbox.remove(place).unwrap();
        if !self.random.chance(30) {
            self.clients[at].world.give(tab, Input::Announced(announcement));
        }
    }

    fn serve_request(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        if !self.clients[at].world.is_sending(tab) {
            return;
        }
        self.requests += 1;
        let fault = self.random.below(100);
        let world = &mut self.clients[at].world;
        let sent = world.tabs[tab].sends.remove(0);
        let failed = || Error::Network("lost".to_owned());
        match fault {
            0..8 => {
                self.late.push(sent.body);
                world.give(tab, Input::SendFailed { send: sent.send, error: failed() });
            }
            8..16 => {
                self.server.answer(&sent.body);
                world.give(tab, Input::SendFailed { send: sent.send, error: failed() });
            }
            16..26 => {
                let code = [401, 403, 429, 500, 503][fault % 5];
                let retry_after = fault.is_multiple_of(2).then_some(RetryAfter::In(Duration::from_secs(1)));
                world.give(
                    tab,
                    Input::Answered { send: sent.send, answer: Answer { retry_after, ..status(code) } },
                );
            }
            26..29 => {
                let mut answer = self.server.answer(&sent.body);
                answer.body.truncate(answer.body.len() / 2);
                world.give(tab, Input::Answered { send: sent.send, answer });
            }
            _ => {
                let answer = Answer { server_time_ms: Some(EPOCH_MS), ..self.server.answer(&sent.body) };
                world.give(tab, Input::Answered { send: sent.send, answer: answer.clone() });
                if fault < 40 {
                    world.give(tab, Input::Answered { send: sent.send, answer });
                }
            }
        }
    }

    fn pass_time(&mut self) {
        let by = Duration::from_millis([10, 200, 1000, 5000][self.random.below(4)]);
        for client in &mut self.clients {
            client.world.now += by;
            for tab in 0..client.world.tabs.len() {
                let is_due = client.world.tabs[tab].wake_at.is_some_and(|time| time <= client.world.now);
                if client.world.tabs[tab].is_alive && is_due {
                    client.world.give(tab, Input::Wake);
                }
            }
        }
    }

    fn change_leader(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let client = &mut self.clients[at];
        if client.world.is_lockless {
            // A page that is left, and stays for all that.
            return client.world.give(tab, Input::Leaving);
        }
        if let Some(old) = client.dethroned.pop() {
            // It learns late that the lock was stolen.
            if client.world.tabs[old].is_alive && client.leader != Some(old) {
                client.world.tabs[old].sends.clear();
                client.world.give(old, Input::Leader(false));
            }
        } else if client.leader != Some(tab) {
            client.dethroned.extend(client.leader);
            client.leader = Some(tab);
            client.world.give(tab, Input::Leader(true));
        }
    }

    fn crash(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let client = &mut self.clients[at];
        if let Some(StoreCall::Append { .. }) = client.world.tabs[tab].store
            && self.random.chance(50)
        {
            client.world.lose_append(tab, true);
        }
        self.collect(at);
        let client = &mut self.clients[at];
        client.world.crash(tab);
        client.calls.retain(|_, (writer, _)| *writer != tab);
        client.leader = client.leader.filter(|leader| *leader != tab);
    }

    fn open(&mut self, at: usize) {
        let world = &mut self.clients[at].world;
        if world.tabs.iter().filter(|tab| tab.is_alive).count() < 2 {
            world.start_tab();
        }
    }

    fn decide(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let kind = self.random.below(3);
        self.clients[at].decide(tab, kind);
    }

    fn call_sync(&mut self, at: usize) {
        let Some(tab) = self.any_tab(at) else { return };
        let world = &mut self.clients[at].world;
        let request = world.request();
        world.tabs[tab].waiting.insert(request);
        world.give(tab, Input::Sync { request: RequestId(request) });
    }

    fn deliver_late(&mut self) {
        if !self.late.is_empty() {
            let place = self.random.below(self.late.len());
            self.server.answer(&self.late.remove(place));
        }
    }

    fn prune(&mut self) {
        if self.random.chance(20) {
            self.server.pruned = self.server.changes.len().saturating_sub(self.random.below(10));
        }
    }

    fn nudge(&mut self, at: usize) {
        if let Some(tab) = self.any_tab(at) {
            self.clients[at].world.give(tab, Input::Nudge);
        }
    }

    /// Takes what the app was told.
    fn collect(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.drop_failed_tabs();
        for tab in &mut client.world.tabs {
            for (call, result) in std::mem::take(&mut tab.replies) {
                let Some((_, token)) = client.calls.remove(&call) else { continue };
                match result {
                    Ok(Reply::Early(text)) => {
                        assert!(text.starts_with('='), "{text}");
                        client.promised.insert(token)
                    }
                    Ok(_) => client.promised.insert(token),
                    Err(Error::StorageUnknown(_) | Error::AnswerGone) => true,
                    Err(_) => client.refused.insert(token),
                };
            }
        }
    }

    fn check(&self, at: usize) {
        let world = &self.clients[at].world;
        for (place, tab) in world.tabs.iter().enumerate() {
            if tab.is_alive {
                world.check(place);
            }
        }
    }

    /// No more faults, nobody writes: a bounded number of requests later, all is said and done.
    fn heal(&mut self) {
        self.late.clear();
        for client in &mut self.clients {
            client.heal();
        }
        let before = self.requests;
        for round in 0.. {
            assert!(round < 200, "no end in sight");
            let is_quiet =
                (0..self.clients.len()).map(|at| self.serve_all(at)).filter(|quiet| !quiet).count() == 0;
            if is_quiet && round > 30 {
                break;
            }
        }
        let waiting: usize = self.clients.iter().map(|client| client.world.recorded.len()).sum();
        let bound = 3 * waiting + 3 * self.server.changes.len() + 40 * self.clients.len() * 10;
        assert!(self.requests - before < bound, "{} requests", self.requests - before);
        for at in 0..self.clients.len() {
            // What a tab finds that opens now is what the others have.
            let world = &mut self.clients[at].world;
            world.open_tab();
            for tab in 0..world.tabs.len() {
                if world.tabs[tab].is_alive {
                    world.load_all(tab);
                }
            }
            self.collect(at);
            self.check(at);
        }
    }

    /// Answers all requests of a client and decides what waits; then a few seconds pass. Whether nothing was to be done.
    fn serve_all(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let leader = client.leading();
        client.decide(leader, 2);
        client.world.settle();
        let mut is_quiet = true;
        for _ in 0..500 {
            if !client.world.is_sending(leader) {
                break;
            }
            self.requests += 1;
            is_quiet &= client.world.sent(leader).mutations().is_empty();
            let answer = self.server.answer(&client.world.sent(leader).body);
            client.world.answer_with(leader, answer);
        }
        assert!(!client.world.is_sending(leader), "requests without end");
        client.world.advance(Duration::from_secs(7));
        is_quiet && client.world.conflicts(leader).is_empty()
    }

    /// Prints what the log of a client and the server say of one record.
    fn tell_story(&self, client: &Client, object: &str, id: &str) {
        let is_it = |name: &ObjectName, record: &RecordId| name.as_str() == object && record.to_json() == id;
        let record = self.records_of(object, id);
        eprintln!("{object} {id}: {record:?}");
        for (place, bytes) in client.world.disk.iter().enumerate() {
            let row = Row::decode(bytes).unwrap();
            for recorded in recorded_in(&row).filter(|it| is_it(&it.object, &it.record_id)) {
                eprintln!("{place} {recorded:?}");
            }
            for event in &row.events {
                match event {
                    Event::Recorded(_) | Event::Reverted { .. } => {}
                    Event::Received(received) => {
                        let Received { verdicts, changes, checkpoint, is_complete, is_snapshot, .. } =
                            &**received;
                        let changes: Vec<_> = changes
                            .iter()
                            .filter(|change| is_it(&change.object, &change.record_id))
                            .collect();
                        eprintln!(
                            "{place} received {verdicts:?} {changes:?} {checkpoint:?} {is_complete} {is_snapshot}"
                        );
                    }
                    other => eprintln!("{place} {other:?}"),
                }
            }
        }
    }

    fn records_of(&self, object: &str, id: &str) -> Option<&Record> {
        self.server.records.get(&(object.to_owned(), serde_json::from_str(id).unwrap()))
    }

    fn assert_agreement(&self) {
        let mut effects = BTreeMap::new();
        for client in &self.clients {
            let world = &client.world;
            let sequences: Vec<u64> =
                world.recorded.iter().map(|recorded| recorded.sequence.unwrap().get()).collect();
            let expected: Vec<u64> = (1..=u64::try_from(sequences.len()).unwrap()).collect();
            assert_eq!(sequences, expected, "sequences are gapless");
            let mut tokens: BTreeMap<u64, usize> = BTreeMap::new();
            for recorded in &world.recorded {
                let token = recorded.data.as_ref().and_then(|data| data.get("token"));
                if let Some(token) = token {
                    *tokens.entry(token.as_str().parse().unwrap()).or_default() += 1;
                }
                let verdict = self.server.verdicts.get(&recorded.id.to_string());
                let verdict = verdict.map(|verdict| verdict["status"].as_str().unwrap());
                let is_surfaced = client.surfaced.contains(&recorded.id);
                let is_right = match verdict {
                    Some("applied") => !is_surfaced,
                    Some("conflict") => true,
                    _ => is_surfaced,
                };
                if !is_right {
                    self.tell_story(client, recorded.object.as_str(), &recorded.record_id.to_json());
                    panic!("{} is {verdict:?}; in rejected(): {is_surfaced}", recorded.id);
                }
                assert_eq!(effects.insert(recorded.id, 1), None, "an id is used once");
            }
            for token in &client.promised {
                assert!(tokens.contains_key(token), "the promised write {token} is lost");
            }
            for token in &client.asked {
                assert_eq!(tokens.get(token), Some(&1), "what was asked early, {token}, is done once");
            }
            for token in &client.refused {
                assert!(!tokens.contains_key(token), "the refused write {token} was made");
            }
            for (tab, state) in world.tabs.iter().enumerate().filter(|(_, tab)| tab.is_alive) {
                assert_eq!(world.pending(tab), Vec::<Value>::new());
                assert_eq!(state.engine.state(), world.tabs[client.leading()].engine.state());
                for object in ["story", "task"] {
                    let seen: BTreeMap<String, Value> = world
                        .find(tab, object)
                        .into_iter()
                        .map(|record| (record["id"].as_str().unwrap().to_owned(), record))
                        .collect();
                    let live = self.server.live(object);
                    for id in seen.keys().chain(live.keys()) {
                        if seen.get(id) != live.get(id) {
                            self.tell_story(client, object, &format!("{id:?}"));
                        }
                        assert_eq!(
                            seen.get(id),
                            live.get(id),
                            "{object} {id} of {}: here, there",
                            world.salt
                        );
                    }
                }
            }
        }
    }
}

impl Client {
    /// A tab whose `open` failed is no database: its shell lets go of the engine and of the lock.
    fn drop_failed_tabs(&mut self) {
        for tab in 0..self.world.tabs.len() {
            let Tab { open, replies, is_alive, .. } = &self.world.tabs[tab];
            if *is_alive && replies.get(open).is_some_and(Result::is_err) {
                self.world.crash(tab);
                self.calls.retain(|_, (writer, _)| *writer != tab);
                self.leader = self.leader.filter(|leader| *leader != tab);
            }
        }
    }

    /// The one that syncs, once all have heard of it.
    fn leading(&self) -> usize {
        if self.world.is_lockless { self.world.leader() } else { self.leader.unwrap() }
    }

    fn decide(&mut self, tab: usize, kind: usize) {
        let (conflicts, rejected) = (self.world.conflicts(tab), self.world.rejected(tab));
        for waiting in &conflicts {
            let resolution = if kind == 0 { Resolution::Mine } else { Resolution::Theirs };
            self.world.start_write(tab, resolve(waiting, resolution));
        }
        for waiting in &rejected {
            let mutation = mutation_id(waiting);
            self.surfaced.insert(mutation);
            let command = match kind {
                1 => Command::Retry { mutation, patch: None },
                _ => Command::Discard { mutation },
            };
            self.world.start_write(tab, command);
        }
    }

    fn heal(&mut self) {
        self.world.skew_ms = 0;
        if !self.world.tabs.iter().any(|tab| tab.is_alive) {
            self.world.start_tab();
        }
        self.world.settle();
        for tab in std::mem::take(&mut self.dethroned) {
            if self.world.tabs[tab].is_alive && self.leader != Some(tab) {
                self.world.tabs[tab].sends.clear();
                self.world.give(tab, Input::Leader(false));
            }
        }
        if self.world.is_lockless {
            self.world.advance(Duration::from_secs(25));
        } else if self.leader.is_none() {
            let tab = self.world.tabs.iter().position(|tab| tab.is_alive).unwrap();
            self.leader = Some(tab);
            self.world.give(tab, Input::Leader(true));
        }
        for tab in 0..self.world.tabs.len() {
            if self.world.tabs[tab].is_alive {
                self.world.give(tab, Input::Nudge);
            }
        }
        self.world.settle();
        let leader = self.leading();
        self.world.start_sync(leader);
    }
}

fn run(seed: u64, steps: usize, is_lockless: bool) {
    let mut net = Net::new(seed, is_lockless);
    for _ in 0..steps {
        net.step();
    }
    net.heal();
    net.assert_agreement();
}

fn run_all(is_lockless: bool) {
    let (from, count) = match std::env::var("ENGINE_WORLD_SEED") {
        Ok(seed) => (seed.parse().unwrap(), 1),
        Err(_) => (0, std::env::var("ENGINE_WORLD_COUNT").map_or(12, |count| count.parse().unwrap())),
    };
    for seed in from..from + count {
        let outcome = std::panic::catch_unwind(|| run(seed, 600, is_lockless));
        assert!(outcome.is_ok(), "seed {seed}: run with ENGINE_WORLD_SEED={seed}");
    }
}

#[test]
fn whatever_happens_is_safe_and_heals() {
    run_all(false);
}

#[test]
fn without_locks_it_is_safe_and_heals_as_well() {
    run_all(true);
}
