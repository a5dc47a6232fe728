//! A sync endpoint as an app's developer writes one from the wire format alone, in an afternoon, for whatever database is
//! there. The driver has to lose nothing and double nothing with it either.
//!
//! It advertises nothing, pages nothing and remembers no ids of mutations. It compares versions and does no more: a base
//! version that is not the record's is a conflict, whoever wrote in between, so that two mutations of a record in one request
//! conflict with each other, and a repeated one with itself. Versions count from 1, are forgotten with their record and when
//! the process ends. Whatever was written is in its log and is echoed to everybody, the writer included; a null checkpoint
//! gets the log from its beginning.
//!
//! It uses nothing of this project's protocol crate: what both ends misread in the same way would show nowhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The fields of a record.
pub type Fields = Map<String, Value>;

/// What the server says to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers: the content type, and nothing about what the server can do.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: String,
}

/// The server: all it knows, in memory. It has no clock; the time comes with each request.
#[derive(Debug, Clone)]
pub struct PlainServer {
    max_mutations: usize,
    records: BTreeMap<Key, Fields>,
    versions: BTreeMap<Key, u64>,
    log: Vec<Change>,
}

/// An object's name and a record's id as JSON text, so that 1 and "1" are two records.
type Key = (String, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(rename = "clientId")]
    _client_id: String,
    #[serde(borrow)]
    mutations: Vec<&'a RawValue>,
    last_checkpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mutation {
    object_name: String,
    record_id: Value,
    operation: Operation,
    /// As it came, for the echo.
    data: Option<Box<RawValue>>,
    /// What it says.
    #[serde(skip)]
    fields: Fields,
    base_version: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Create,
    Update,
    Delete,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    object_name: String,
    record_id: Value,
    operation: Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    server_version: u64,
    timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    results: Vec<Verdict>,
    server_changes: &'a [Change],
    checkpoint: String,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Verdict {
    #[serde(rename_all = "camelCase")]
    Applied {
        server_version: u64,
    },
    Conflict {
        conflict: Conflict,
    },
    Rejected {
        reason: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conflict {
    object_name: String,
    record_id: Value,
    client_mutation: Box<RawValue>,
    server_record: Fields,
    conflicting_fields: Vec<String>,
}

impl PlainServer {
    /// A server that knows nothing yet and takes so many mutations in a request.
    #[must_use]
    pub const fn new(max_mutations: usize) -> Self {
        Self { max_mutations, records: BTreeMap::new(), versions: BTreeMap::new(), log: Vec::new() }
    }

    /// Answers the body of a POST that came at a time, in milliseconds since 1970.
    pub fn handle(&mut self, now_ms: u64, body: &str) -> Answer {
        match self.answer(now_ms, body) {
            Ok(body) => Answer { status: 200, headers: vec![("content-type", "application/json")], body },
            Err(body) => Answer { status: 400, headers: vec![("content-type", "text/plain")], body },
        }
    }

    /// What a restart does to a server that keeps its records and its log in a database, but its versions in memory. A
    /// record whose version nobody knows takes the next write, whatever its base, and is at version 1 then.
    pub fn forget_versions(&mut self) {
        self.versions.clear();
    }

    /// All records: object, id as JSON text, fields.
    pub fn records(&self) -> impl Iterator<Item = (&str, &str, &Fields)> {
        self.records.iter().map(|((object, id), fields)| (object.as_str(), id.as_str(), fields))
    }

    /// How many changes its log has.
    #[must_use]
    pub const fn change_count(&self) -> usize {
        self.log.len()
    }

    fn answer(&mut self, now_ms: u64, body: &str) -> Result<String, String> {
        let request: Request<'_> = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let seen = match &request.last_checkpoint {
            None => 0,
            Some(text) => text.parse().map_err(|_| format!("no checkpoint: {text}"))?,
        };
        let mutations = request
            .mutations
            .iter()
            .map(|raw| read(raw).map(|mutation| (mutation, *raw)))
            .collect::<Result<Vec<_>, _>>()?;
        if mutations.len() > self.max_mutations {
            return self.refuse(mutations.len());
        }
        let results =
            mutations.into_iter().map(|(mutation, raw)| self.push(now_ms, mutation, raw)).collect::<Vec<_>>();
        // A checkpoint from beyond the end gets nothing: the server does not notice that its log was longer once.
        self.respond(results, self.log.get(seen..).unwrap_or_default())
    }

    /// Refuses a request row by row. The changes are left out and the checkpoint is the newest all the same, as where one
    /// writes the early return without thinking of it: who believes that checkpoint never sees those changes.
    fn refuse(&self, count: usize) -> Result<String, String> {
        let reason = format!("batch exceeds maximum of {} mutations", self.max_mutations);
        let results = (0..count).map(|_| Verdict::Rejected { reason: reason.clone() }).collect();
        self.respond(results, &[])
    }

    fn respond(&self, results: Vec<Verdict>, server_changes: &[Change]) -> Result<String, String> {
        let response = Response { results, server_changes, checkpoint: self.log.len().to_string() };
        serde_json::to_string(&response).map_err(|error| error.to_string())
    }

    fn push(&mut self, now_ms: u64, mutation: Mutation, raw: &RawValue) -> Verdict {
        let key = (mutation.object_name.clone(), mutation.record_id.to_string());
        let known = self.records.get(&key);
        match (known, mutation.operation) {
            (Some(record), _)
                if mutation.operation == Operation::Create || self.has_moved(&key, &mutation) =>
            {
                Verdict::Conflict { conflict: conflict(&mutation, raw, record) }
            }
            (None, Operation::Update | Operation::Delete) => {
                Verdict::Rejected { reason: "record not found".to_owned() }
            }
            _ => self.apply(now_ms, key, mutation),
        }
    }

    fn has_moved(&self, key: &Key, mutation: &Mutation) -> bool {
        self.versions.get(key).is_some_and(|&version| mutation.base_version != Some(version))
    }

    fn apply(&mut self, now_ms: u64, key: Key, mutation: Mutation) -> Verdict {
        let server_version = self.versions.get(&key).map_or(1, |version| version + 1);
        let Mutation { object_name, record_id, operation, data, fields, .. } = mutation;
        if operation == Operation::Delete {
            self.records.remove(&key);
            self.versions.remove(&key);
        } else {
            self.records.entry(key.clone()).or_default().extend(fields);
            self.versions.insert(key, server_version);
        }
        let timestamp = iso(now_ms);
        self.log.push(Change { object_name, record_id, operation, data, server_version, timestamp });
        Verdict::Applied { server_version }
    }
}

fn read(raw: &RawValue) -> Result<Mutation, String> {
    let mut mutation: Mutation = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    match (mutation.operation, &mutation.data) {
        (Operation::Delete, _) => {}
        (_, None) => return Err("a create or update has no data".to_owned()),
        (_, Some(data)) => {
            mutation.fields = serde_json::from_str(data.get()).map_err(|error| error.to_string())?;
        }
    }
    Ok(mutation)
}

fn conflict(mutation: &Mutation, raw: &RawValue, record: &Fields) -> Conflict {
    let differs = |(name, value): &(&String, &Value)| !is_identical(value, record.get(*name));
    Conflict {
        object_name: mutation.object_name.clone(),
        record_id: mutation.record_id.clone(),
        client_mutation: raw.to_owned(),
        server_record: record.clone(),
        conflicting_fields: mutation.fields.iter().filter(differs).map(|(name, _)| name.clone()).collect(),
    }
}

/// JavaScript's `===`: an object or a list that was parsed from a message equals no other, and null is not absent.
fn is_identical(one: &Value, other: Option<&Value>) -> bool {
    match (one, other) {
        (Value::Number(one), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (Value::Null | Value::Bool(_) | Value::String(_), Some(other)) => one == other,
        _ => false,
    }
}

/// A time as ISO 8601. Years, months and days by Howard Hinnant's `civil_from_days`.
fn iso(now_ms: u64) -> String {
    let (days, ms) = (now_ms / 86_400_000 + 719_468, now_ms % 86_400_000);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months count from March, so that the day that may be missing is a year's last.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + year_of_era + era * 400;
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests;
