//! What an HTTP answer means.

use std::borrow::Cow;
use std::time::Duration;

use objectql_sync_protocol::merge::Rule;
use objectql_sync_protocol::{
    Checkpoint, Json, MAX_DEPTH, MutationResult, Operation, PushResponse, Sequence, ServerChange,
    ServerVersion, Timestamp, normalise,
};

use crate::engine::config::Config;
use crate::engine::row::{Change, Received, Recorded, Verdict};
use crate::engine::state::{Pending, State};
use crate::engine::sync::request::Sent;
use crate::error::Error;

/// The most bytes of an answer: its row must stay below the largest row.
pub const MAX_ANSWER_BYTES: usize = 24 << 20;
/// A timestamp that is further in the future than this does not move our clock: 5 minutes.
const BELIEVED_AHEAD_MS: i64 = 300_000;

/// An HTTP answer, as far as the engine looks at it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: String,
    /// Whether the request was redirected, as a captive portal does.
    pub is_redirected: bool,
    /// The `retry-after` header, in its two forms: seconds, or a date as milliseconds since 1970.
    pub retry_after: Option<RetryAfter>,
    /// The header `objectql-sync-features`.
    pub features: Features,
    /// The header `objectql-sync-max-mutations`.
    pub max_mutations: Option<usize>,
    /// The header `objectql-sync-time`.
    pub server_time_ms: Option<i64>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server does beyond the plain wire format, as far as the driver goes another way without. Nothing is assumed that a
/// header did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// A repeated mutation id gets the first verdict back.
    pub is_idempotent: bool,
    /// A client's own writes are known to it: several mutations of a record may go in one request.
    pub has_chains: bool,
    /// Conflicts are settled by the objects' strategies: what comes back as one is for a person.
    pub has_strategies: bool,
    /// All of a client's own mutations are among the changes, by the checkpoint that comes with their verdict.
    pub has_echoes: bool,
}

impl Features {
    /// Reads the header.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let has = |name| header.split(',').any(|feature| feature.trim() == name);
        Self {
            is_idempotent: has("idempotent"),
            has_chains: has("chains"),
            has_strategies: has("strategies"),
            has_echoes: has("echoes"),
        }
    }
}

/// When a server wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    In(Duration),
    /// At that time, by the server's clock.
    At(Timestamp),
}

impl RetryAfter {
    pub(crate) fn wait_from(self, now: Timestamp) -> Duration {
        match self {
            Self::In(wait) => wait,
            Self::At(time) => Duration::from_millis(u64::try_from(time.millis() - now.millis()).unwrap_or(0)),
        }
    }
}

/// What is to be done about an answer.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// Fold it.
    Fold(Box<Received>, Counts),
    /// The server does not know our checkpoint: collect a snapshot.
    Reset,
    /// Fewer mutations at a time. With one only, the server will never take it.
    TooLarge(String),
    /// None of the mutations was looked at: the server takes so many at a time.
    TooMany { takes: usize },
    /// The credentials are refused.
    Unauthorized,
    /// Another database writes under our client id.
    Cloned,
    /// Something in the request may be what the server cannot take.
    Refused {
        error: Error,
        /// Whether the server says that it is the request's fault: the same one again would be refused again.
        is_final: bool,
    },
    /// Anything else that may go away.
    Failed(Error),
}

/// What an answer counts for in the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) pushed: u32,
    pub(crate) pulled: u32,
}

/// Reads an answer. `now` is when it came.
pub(crate) fn read(answer: &Answer, sent: &Sent, state: &State, config: &Config, now: Timestamp) -> Meaning {
    match answer.status {
        200 => read_body(answer, sent, state, config, now).unwrap_or_else(Meaning::Failed),
        401 | 403 => Meaning::Unauthorized,
        410 => Meaning::Reset,
        413 => Meaning::TooLarge(problem(answer)),
        409 if property(answer, "\"code\"").as_deref() == Some("CLIENT_ID_CLONED") => Meaning::Cloned,
        status => {
            let error = Error::HttpStatus { status, detail: problem(answer) };
            match status {
                // These speak of the endpoint, the way to it or the time, and not of what was sent.
                404 | 405 | 407 | 408 | 425 | 429 | 502..=504 => Meaning::Failed(error),
                400..=599 => Meaning::Refused { error, is_final: status < 500 },
                _ => Meaning::Failed(error),
            }
        }
    }
}

fn read_body(
    answer: &Answer,
    sent: &Sent,
    state: &State,
    config: &Config,
    now: Timestamp,
) -> Result<Meaning, Error> {
    if answer.is_redirected {
        return Err(Error::InvalidAnswer("the request was redirected: a login page?".to_owned()));
    }
    let media_type = answer.content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Error::InvalidAnswer(format!(
            "the content type is {media_type:?}, not application/json"
        )));
    }
    if answer.body.len() > MAX_ANSWER_BYTES {
        return Err(Error::InvalidAnswer(format!("more than {MAX_ANSWER_BYTES} bytes")));
    }
    let response = PushResponse::parse(&answer.body, sent.batch.len())
        .map_err(|error| Error::InvalidAnswer(error.to_string()))?;
    if response.has_more && sent.batch.is_empty() && sent.checkpoint.as_ref() == Some(&response.checkpoint) {
        return Err(Error::InvalidAnswer("more changes are promised at the same checkpoint".to_owned()));
    }
    if sent.checkpoint.as_ref().is_some_and(|before| is_behind(&response.checkpoint, before)) {
        return Ok(Meaning::Reset);
    }
    Ok(to_meaning(response, answer, sent, state, config, now))
}

/// Whether a checkpoint is smaller than the one that was sent: the server was restarted without its log, or restored. Only those
/// that are numbers can be compared.
fn is_behind(checkpoint: &Checkpoint, before: &Checkpoint) -> bool {
    let number = |checkpoint: &Checkpoint| checkpoint.as_str().parse::<u64>().ok();
    matches!((number(checkpoint), number(before)), (Some(now), Some(before)) if now < before)
}

fn to_meaning(
    response: PushResponse,
    answer: &Answer,
    sent: &Sent,
    state: &State,
    config: &Config,
    now: Timestamp,
) -> Meaning {
    let (results, server_changes) = (response.results, response.server_changes);
    let limit = results.iter().find_map(|result| match result {
        MutationResult::Rejected { reason } => first_number(reason),
        _ => None,
    });
    let verdicts: Vec<(Sequence, Verdict)> = sent
        .batch
        .iter()
        .zip(results)
        .filter_map(|(sequence, result)| {
            let pending = state.pending.get(sequence)?;
            let rule = || {
                (!answer.features.has_strategies)
                    .then(|| rule_for(pending, config, &server_changes))
                    .flatten()
                    .map(Box::new)
            };
            Some((*sequence, to_verdict(result, pending, sent.batch.len() == 1, rule)?))
        })
        .collect();
    if verdicts.is_empty() && sent.batch.len() > 1 {
        let count = sent.batch.len();
        return Meaning::TooMany {
            takes: limit.filter(|limit| (1..count).contains(limit)).unwrap_or(count / 2),
        };
    }
    // The server stamped its answer at about half of the round trip.
    let halfway = i64::midpoint(sent.at.millis(), now.millis());
    let clock_offset_ms = answer.server_time_ms.map_or(0, |server| server.saturating_sub(halfway));
    let horizon = now.millis().saturating_add(clock_offset_ms).saturating_add(BELIEVED_AHEAD_MS);
    let newest = server_changes.iter().map(|change| change.timestamp.millis()).max().unwrap_or(i64::MIN);
    let counts = Counts {
        pushed: u32::try_from(verdicts.len()).unwrap_or(u32::MAX),
        pulled: u32::try_from(server_changes.len()).unwrap_or(u32::MAX),
    };
    let changes =
        server_changes.into_iter().filter_map(|change| to_change(change, config, answer.features)).collect();
    let received = Received {
        verdicts,
        changes,
        checkpoint: Some(response.checkpoint),
        is_complete: !response.has_more,
        is_snapshot: sent.is_snapshot,
        is_repeat: sent.attempt.is_repeat,
        is_probe: sent.attempt.is_probe && !answer.features.is_idempotent,
        has_echoes: answer.features.has_echoes,
        newest: Timestamp::from_millis(newest.min(horizon)),
        clock_offset_ms,
    };
    Meaning::Fold(Box::new(received), counts)
}

/// What is used of a change; nothing of an object that takes no part.
fn to_change(change: ServerChange, config: &Config, features: Features) -> Option<Change> {
    let ServerChange { object_name, record_id, operation, data, server_version, .. } = change;
    if config.pulls(&object_name) {
        let data = data.map(|data| match data.get("id") {
            None if operation == Operation::Create => data.framed(&[("id", &record_id.to_json())], &[]),
            _ => data,
        });
        return Some(Change { object: object_name, record_id, operation, data, version: server_version });
    }
    // A server that settles conflicts names the version in those that are left. Of any other, nothing else says what to go on from.
    let is_of_use = config.pushes(&object_name) && !features.has_strategies && operation != Operation::Delete;
    let operation = Operation::Update;
    is_of_use.then_some(Change {
        object: object_name,
        record_id,
        operation,
        data: None,
        version: server_version,
    })
}

fn first_number(text: &str) -> Option<usize> {
    text.split(|char: char| !char.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

/// The last change of the mutation's record among these.
fn last_change<'a>(pending: &Pending, changes: &'a [ServerChange]) -> Option<&'a ServerChange> {
    let Recorded { object, record_id, .. } = &pending.recorded;
    changes.iter().rev().find(|change| change.object_name == *object && change.record_id == *record_id)
}

/// What a conflict over the mutation is settled by, where the server does not do so itself.
fn rule_for(pending: &Pending, config: &Config, changes: &[ServerChange]) -> Option<Rule> {
    let sync = config.sync_of(&pending.recorded.object)?;
    Some(Rule {
        strategy: sync.strategy,
        conflict_fields: sync.conflict_fields.clone(),
        their_time: last_change(pending, changes).map(|change| change.timestamp),
    })
}

/// None where the result is no verdict on the mutation: a plain server may say of each of them that there were too many. Of
/// one that came alone it can only mean that.
fn to_verdict(
    result: MutationResult,
    pending: &Pending,
    is_alone: bool,
    rule: impl FnOnce() -> Option<Box<Rule>>,
) -> Option<Verdict> {
    match result {
        MutationResult::Applied { server_version } => Some(Verdict::Applied(server_version)),
        MutationResult::Conflict { conflict } => Some(Verdict::Conflict {
            server_record: conflict.server_record,
            server_version: conflict.server_version,
            suggestion: conflict.suggested_resolution,
            rule: rule(),
        }),
        MutationResult::Rejected { reason } => {
            let text = reason.to_ascii_lowercase();
            let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
            if !is_alone && says(&["exceeds maximum", "exceeds the maximum", "too many mutations"]) {
                return None;
            }
            let is_delete = pending.recorded.operation == Operation::Delete;
            if is_delete && says(&["not found", "not_found", "does not exist"]) {
                // Done. No version of the record comes after this one.
                return Some(Verdict::Applied(ServerVersion::MAX));
            }
            Some(Verdict::Rejected { reason })
        }
    }
}

/// A property of an error answer that is JSON, as problem details are (RFC 9457).
fn property(answer: &Answer, key: &str) -> Option<String> {
    let text = normalise(std::str::from_utf8(&answer.body).ok()?, MAX_DEPTH).ok()?;
    Json::from_normalised(&text).member(key)?.as_text().map(Cow::into_owned)
}

/// What a person may read of an error answer.
fn problem(answer: &Answer) -> String {
    let text = ["\"detail\"", "\"title\"", "\"code\""].into_iter().find_map(|key| property(answer, key));
    text.unwrap_or_else(|| "no detail".to_owned()).chars().take(300).collect()
}
