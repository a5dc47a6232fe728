//! What a `sync()` did, and how far it has come.

use objectql_sync_protocol::Json;
use serde::Serialize;

/// What one `sync()` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncReport {
    /// Mutations that got a verdict.
    pub pushed: u32,
    /// Changes that came, the echoes of the own ones included.
    pub pulled: u32,
    /// Mutations the server applied.
    pub applied: u32,
    /// Mutations whose values lost against others.
    pub superseded: u32,
    /// Mutations that wait for a decision.
    pub conflicts: u32,
    /// Mutations the server will never take.
    pub rejected: u32,
    /// Requests sent.
    pub requests: u32,
    /// Bytes of the bodies sent and received.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// How far a sync has come (`SyncProgress`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncProgress {
    /// What was done since the sync began.
    pub report: SyncReport,
    /// Mutations that are still to be settled.
    pub remaining: usize,
    /// Whether the server has more changes than came so far.
    pub has_more: bool,
}

impl SyncReport {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in self.members() {
            text.push_str(&format!("{}{name}:{value}", if text.len() > 1 { "," } else { "" }));
        }
        text.push('}');
        text
    }

    fn members(&self) -> [(&'static str, u64); 9] {
        [
            ("\"pushed\"", self.pushed.into()),
            ("\"pulled\"", self.pulled.into()),
            ("\"applied\"", self.applied.into()),
            ("\"superseded\"", self.superseded.into()),
            ("\"conflicts\"", self.conflicts.into()),
            ("\"rejected\"", self.rejected.into()),
            ("\"requests\"", self.requests.into()),
            ("\"bytes\"", self.bytes),
            ("\"durationMs\"", self.duration_ms),
        ]
    }

    pub(crate) fn from_json(json: Json<'_>) -> Option<Self> {
        let number = |key| json.member(key)?.as_safe_integer();
        let count = |key| u32::try_from(number(key)?).ok();
        Some(Self {
            pushed: count("\"pushed\"")?,
            pulled: count("\"pulled\"")?,
            applied: count("\"applied\"")?,
            superseded: count("\"superseded\"")?,
            conflicts: count("\"conflicts\"")?,
            rejected: count("\"rejected\"")?,
            requests: count("\"requests\"")?,
            bytes: number("\"bytes\"")?,
            duration_ms: number("\"durationMs\"")?,
        })
    }
}

impl SyncProgress {
    /// The progress as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = self.report.to_json();
        text.pop();
        text.push_str(&format!(",\"remaining\":{},\"hasMore\":{}}}", self.remaining, self.has_more));
        text
    }
}
