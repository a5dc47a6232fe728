//! What an HTTP answer means.

use std::borrow::Cow;
use std::time::Duration;

use objectql_sync_protocol::{Json, MAX_DEPTH, MutationResult, PushResponse, Timestamp, normalise};

use crate::engine::config::Config;
use crate::engine::row::{Change, Received, Verdict};
use crate::engine::sync::Sent;
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
    /// The header `objectql-sync-max-mutations`.
    pub max_mutations: Option<usize>,
    /// The header `objectql-sync-time`.
    pub server_time_ms: Option<i64>,
    /// The body.
    pub body: Vec<u8>,
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
    /// The credentials are refused.
    Unauthorized,
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
pub(crate) fn read(answer: &Answer, sent: &Sent, config: &Config, now: Timestamp) -> Meaning {
    match answer.status {
        200 => read_body(answer, sent, config, now)
            .map_or_else(Meaning::Failed, |(received, counts)| Meaning::Fold(Box::new(received), counts)),
        401 | 403 => Meaning::Unauthorized,
        410 => Meaning::Reset,
        413 => Meaning::TooLarge(problem(answer)),
        409 if property(answer, "\"code\"").as_deref() == Some("CLIENT_ID_CLONED") => {
            Meaning::Failed(Error::ClientIdCloned)
        }
        status => Meaning::Failed(Error::HttpStatus { status, detail: problem(answer) }),
    }
}

fn read_body(
    answer: &Answer,
    sent: &Sent,
    config: &Config,
    now: Timestamp,
) -> Result<(Received, Counts), Error> {
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
    Ok(to_received(response, answer.server_time_ms, sent, config, now))
}

fn to_received(
    response: PushResponse,
    server_time_ms: Option<i64>,
    sent: &Sent,
    config: &Config,
    now: Timestamp,
) -> (Received, Counts) {
    // The server stamped its answer at about half of the round trip.
    let halfway = i64::midpoint(sent.at.millis(), now.millis());
    let clock_offset_ms = server_time_ms.map_or(0, |server| server.saturating_sub(halfway));
    let horizon = now.millis().saturating_add(clock_offset_ms).saturating_add(BELIEVED_AHEAD_MS);
    let newest =
        response.server_changes.iter().map(|change| change.timestamp.millis()).max().unwrap_or(i64::MIN);
    let counts = Counts {
        pushed: u32::try_from(response.results.len()).unwrap_or(u32::MAX),
        pulled: u32::try_from(response.server_changes.len()).unwrap_or(u32::MAX),
    };
    let changes = response
        .server_changes
        .into_iter()
        .filter(|change| config.pulls(&change.object_name))
        .map(|change| Change {
            data: change.data.map(|data| match data.get("id") {
                Some(_) => data,
                None if change.operation == objectql_sync_protocol::Operation::Create => {
                    data.framed(&[("id", &change.record_id.to_json())], &[])
                }
                None => data,
            }),
            object: change.object_name,
            record_id: change.record_id,
            operation: change.operation,
            version: change.server_version,
        })
        .collect();
    let verdicts = sent.batch.iter().copied().zip(response.results.into_iter().map(to_verdict)).collect();
    let received = Received {
        verdicts,
        changes,
        checkpoint: Some(response.checkpoint),
        is_complete: !response.has_more,
        is_snapshot: sent.is_snapshot,
        is_repeat: sent.attempt.is_repeat,
        newest: Timestamp::from_millis(newest.min(horizon)),
        clock_offset_ms,
    };
    (received, counts)
}

fn to_verdict(result: MutationResult) -> Verdict {
    match result {
        MutationResult::Applied { server_version } => Verdict::Applied(server_version),
        MutationResult::Conflict { conflict } => Verdict::Conflict {
            server_record: conflict.server_record,
            server_version: conflict.server_version,
            suggestion: conflict.suggested_resolution,
        },
        MutationResult::Rejected { reason } => Verdict::Rejected { reason },
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
