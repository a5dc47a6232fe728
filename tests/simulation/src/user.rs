//! What people do: write, and decide on what waits for them.

use objectql_offline::engine::{
    Asked, Command, Event, Input, Need, Query, RequestId, Resolution, Row, TabId,
};
use objectql_offline::error::Error;
use objectql_sync_protocol::{
    ClientId, Fields, Mutation, MutationId, ObjectName, Operation, RecordId, RecordKey, Sequence,
    ServerVersion,
};

use crate::action::{Choice, WriteKind};
use crate::client::Call;
use crate::coverage::Sight;
use crate::setup::{OBJECTS, PRICE};
use crate::world::World;

/// From here on a tab's number is a page's that has no engine.
const EARLY_PAGES: u64 = 1 << 40;
/// Above this, a record is nobody else's.
const OWN_RECORDS: usize = 1000;

/// The name of a record: hot ones are both numbers and strings, and 1 and "1" are two.
pub(crate) fn record_id(record: usize) -> RecordId {
    let half = record / 2;
    let id = match record {
        OWN_RECORDS.. => RecordId::string(format!("own {record}")),
        _ if record.is_multiple_of(2) => RecordId::number(i64::try_from(half).unwrap_or(0)),
        _ => RecordId::string(half.to_string()),
    };
    id.expect("a valid id")
}

fn object_name(object: usize) -> ObjectName {
    ObjectName::new(OBJECTS[object % OBJECTS.len()]).expect("a valid name")
}

/// The fields of a write: one of them holds the token by which the write is found again, the others hold anything.
fn fields(kind: WriteKind, value: usize, token: usize) -> String {
    let mut text = String::new();
    let mask = 1 + value % 7;
    let chosen = ["a", "b", "c"].iter().enumerate().filter(|(place, _)| mask & (1 << place) != 0);
    for (place, (_, name)) in chosen.enumerate() {
        let value = match (place, value / 7 % 8) {
            (0, _) => format!("\"w{token}\""),
            (_, 0) => token.to_string(),
            (_, 1) => "null".to_owned(),
            (_, 2) => "[1,{\"deep\":[true,null]}]".to_owned(),
            (_, 3) => "\"žluťoučký \\\"kůň\\\" \\u0001 😀\"".to_owned(),
            (_, 4) => "1.5e300".to_owned(),
            (_, 5) => "{\"__proto__\":{\"x\":1}}".to_owned(),
            (_, 6) => "\"\"".to_owned(),
            _ => "9007199254740991".to_owned(),
        };
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    match kind {
        WriteKind::BadCreate | WriteKind::BadUpdate => text.push_str(r#","status":"closed""#),
        WriteKind::Create if value.is_multiple_of(3) => text.push_str(r#","status":"open""#),
        _ => {}
    }
    text
}

fn parse(text: &str) -> Fields {
    Fields::parse(text).expect("the fields of a simulated write are valid")
}

fn with_id(id: &RecordId, fields: &str) -> Fields {
    parse(&format!("{{\"id\":{}{fields}}}", id.to_json()))
}

fn without_id(fields: &str) -> Fields {
    parse(&format!("{{{}}}", fields.trim_start_matches(',')))
}

fn empty_text() -> Query {
    Query::parse(r#"{"where":{"b":""}}"#).expect("a valid query")
}

impl World {
    pub(crate) fn load(&mut self, at: usize, tab: usize, object: usize) {
        let is_there = self.is_usable(at, tab);
        let Some(name) = OBJECTS.get(object).filter(|_| is_there) else { return };
        let object = ObjectName::new(*name).expect("a valid name");
        let request = self.clients[at].request();
        let place = &mut self.clients[at].tabs[tab];
        // As whoever waits for an answer does, one portion at a time.
        let _ = place.engine.prepare_next(name);
        place.calls.insert(request, Call::Load);
        self.give(at, tab, Input::Load { request: RequestId(request), need: Need::Object(object) });
        let place = &mut self.clients[at].tabs[tab];
        if let Err(problem) = place.page.follow(&mut place.engine, &self.editions[place.edition]) {
            self.violate(problem);
        }
    }

    pub(crate) fn write(
        &mut self,
        at: usize,
        tab: usize,
        object: usize,
        record: usize,
        kind: WriteKind,
        value: usize,
    ) {
        if !self.is_usable(at, tab) {
            return;
        }
        self.next_token += 1;
        let token = self.next_token;
        let (object, id) = (object_name(object), record_id(record));
        let fields = fields(kind, value, token);
        let command = match kind {
            WriteKind::Create | WriteKind::BadCreate => {
                Command::Create { object, records: vec![with_id(&id, &fields)] }
            }
            WriteKind::Update | WriteKind::BadUpdate => {
                Command::Update { object, id, patch: without_id(&fields) }
            }
            WriteKind::Upsert => Command::Upsert { object, record: with_id(&id, &fields) },
            WriteKind::Delete => Command::Delete { object, id },
            WriteKind::Bulk => {
                let ids = (0..3).map(|more| record_id(OWN_RECORDS + token * 3 + more));
                let records = ids.map(|id| with_id(&id, &fields)).collect();
                Command::Create { object, records }
            }
            WriteKind::Transaction => {
                match self.transact(at, tab, &RecordKey { object, id }, &fields, token) {
                    Ok(command) => command,
                    // What is refused is written by nobody.
                    Err(_) => return,
                }
            }
            WriteKind::UpdateAll => {
                Command::UpdateMany { object, query: Query::default(), patch: without_id(&fields) }
            }
            WriteKind::DeleteSome => Command::DeleteMany { object, query: empty_text() },
            WriteKind::Undo => Command::Undo,
            WriteKind::Redo => Command::Redo,
            WriteKind::Early => return self.ask_early(at, tab, &object, &with_id(&id, &fields)),
        };
        // The others need not write anything.
        let has_token = !matches!(
            kind,
            WriteKind::Delete
                | WriteKind::UpdateAll
                | WriteKind::DeleteSome
                | WriteKind::Undo
                | WriteKind::Redo
        );
        let token = has_token.then_some(token);
        self.call(at, tab, Call::Write { token }, command);
    }

    /// A page without an engine appends what it asks for, behind whatever there is.
    fn ask_early(&mut self, at: usize, tab: usize, object: &ObjectName, record: &Fields) {
        if self.clients[at].is_store_away(self.now) {
            return;
        }
        let first = record.as_str().to_owned();
        let versions = self.setup.versions(self.clients[at].tabs[tab].release);
        let version = versions.iter().find(|(name, _)| name == object).map_or(1, |(_, version)| *version);
        let asked = Asked {
            kind: "upsert".to_owned(),
            object: object.to_string(),
            version,
            first,
            second: String::new(),
        };
        let page = TabId(EARLY_PAGES + self.next_token as u64);
        match (Row { tab: page, number: 1, events: vec![Event::Asked(asked)] }).encode() {
            Ok(bytes) => self.add_row(at, tab, bytes),
            Err(error) => self.violate(format!("a page cannot ask: {error}")),
        }
    }

    /// Reads in a transaction and writes on what was read; gives the command that commits it.
    fn transact(
        &mut self,
        at: usize,
        tab: usize,
        key: &RecordKey,
        fields: &str,
        token: usize,
    ) -> Result<Command, Error> {
        let now = self.now_of(at);
        let engine = &mut self.clients[at].tabs[tab].engine;
        let number = engine.begin();
        let object = key.object.as_str();
        let mut stage = || {
            let found = engine.find_in(number, object, empty_text())?.len();
            let record = with_id(&key.id, fields).with("found", &found.to_string());
            engine.stage(now, number, Command::Upsert { object: key.object.clone(), record })?;
            let more = with_id(&record_id(OWN_RECORDS + token * 3), fields);
            engine.stage(now, number, Command::Create { object: key.object.clone(), records: vec![more] })
        };
        let staged = stage();
        let command = engine.take_transaction(number)?;
        staged.map(|_| command)
    }

    fn call(&mut self, at: usize, tab: usize, call: Call, command: Command) {
        let request = self.clients[at].request();
        self.clients[at].tabs[tab].calls.insert(request, call);
        self.give(at, tab, Input::Write(vec![(RequestId(request), command)]));
    }

    /// Decides on one of the conflicts, or of the rejected mutations.
    pub(crate) fn decide(&mut self, at: usize, tab: usize, place: usize, choice: Choice) {
        if !self.is_usable(at, tab) {
            return;
        }
        let state = self.clients[at].tabs[tab].engine.state();
        let parked: Vec<(Sequence, MutationId)> = state
            .unsettled()
            .filter(|(_, _, is_parked)| *is_parked)
            .map(|(sequence, recorded, _)| (sequence, recorded.id))
            .collect();
        let refused: Vec<MutationId> = state.refused().map(|(_, recorded)| recorded.id).collect();
        let command = match choice {
            Choice::Mine | Choice::Theirs | Choice::Record => {
                let Some((sequence, mutation)) = parked.get(place % parked.len().max(1)).copied() else {
                    return;
                };
                self.note_resolved(at, tab, sequence, choice);
                let resolution = match choice {
                    Choice::Mine => Resolution::Mine,
                    Choice::Theirs => Resolution::Theirs,
                    _ => {
                        self.next_token += 1;
                        Resolution::Record(without_id(&fields(WriteKind::Update, place, self.next_token)))
                    }
                };
                Command::Resolve { mutation, resolution }
            }
            Choice::Retry | Choice::RetryMended | Choice::Discard => {
                let Some(mutation) = refused.get(place % refused.len().max(1)).copied() else { return };
                match choice {
                    Choice::Discard => {
                        self.coverage.saw(Sight::Discarded);
                        Command::Discard { mutation }
                    }
                    _ => {
                        self.coverage.saw(Sight::Retried);
                        let patch = (choice == Choice::RetryMended).then(|| parse(r#"{"status":"done"}"#));
                        Command::Retry { mutation, patch }
                    }
                }
            }
        };
        self.call(at, tab, Call::Decide, command);
    }

    fn note_resolved(&mut self, at: usize, tab: usize, sequence: Sequence, choice: Choice) {
        self.coverage.saw(match choice {
            Choice::Mine => Sight::ResolvedMine,
            Choice::Theirs => Sight::ResolvedTheirs,
            _ => Sight::ResolvedRecord,
        });
        let client = &self.clients[at];
        let entry = client.life_of(tab).ledger.entries.get(&sequence.get());
        let opened_at = client.tabs[tab].opened_at;
        if entry.and_then(|entry| entry.conflict_at).is_some_and(|conflict_at| conflict_at <= opened_at) {
            self.coverage.saw(Sight::ParkedAcrossReload);
        }
    }

    /// Somebody changes a pull-only record on the server, knowing its present state.
    pub(crate) fn write_on_server(&mut self, record: usize, kind: WriteKind, value: usize) {
        self.server_writes += 1;
        let now = self.server_now();
        let key = RecordKey { object: object_name(PRICE), id: record_id(record) };
        let known = self.server.history().and_then(|history| history.writes.get(&key)?.last());
        let is_live = known.is_some_and(|written| written.after.is_some());
        let base_version = known.and_then(|written| ServerVersion::new(written.position).ok());
        let fields = fields(WriteKind::Update, value, 0);
        let (operation, data) = match kind {
            WriteKind::Delete => (Operation::Delete, None),
            _ if is_live => (Operation::Update, Some(without_id(&fields))),
            _ => (Operation::Create, Some(with_id(&key.id, &fields))),
        };
        let random = std::array::from_fn(|place| {
            u8::try_from(self.server_writes >> (8 * place.min(7)) & 0xff).unwrap_or(0)
        });
        let mutation = Mutation {
            id: MutationId::new(u64::try_from(now.millis()).unwrap_or(0), random),
            object_name: key.object,
            record_id: key.id,
            operation,
            data,
            timestamp: now,
            client_id: ClientId::new("somebody on the server").expect("a valid id"),
            sequence: Sequence::new(self.server_writes).expect("a valid sequence"),
            base_version,
        };
        self.server.write_directly(&mutation, now);
    }
}
