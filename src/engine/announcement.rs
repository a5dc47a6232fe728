//! What tabs tell each other.

use objectql_sync_protocol::{Json, normalise, quoted};

use super::row::TabId;
use super::sync::progress::SyncReport;
use crate::error::Error;

/// What a tab tells the others. A hint only: losing one costs time, never data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// There is a new row in the log, and it is durable.
    Rows {
        /// Its key.
        key: u64,
        /// Who appended the row before it, and the how-manieth of theirs that was: it follows that one, in the same database.
        after: Option<(TabId, u64)>,
        /// Its bytes, so that nobody has to read it: reads would hold up the next write. None where there are many.
        bytes: Vec<u8>,
    },
    /// The rows up to this one are in segments.
    Compacted {
        /// The key of the row.
        through: u64,
    },
    /// A tab that does not lead asks whether the leader is there.
    Ping {
        /// Whether somebody may be looking at the asker's page.
        is_visible: bool,
    },
    /// It is.
    Alive {
        /// The leader.
        tab: TabId,
        /// The number of its election, where there are no Web Locks; else 0.
        election: u64,
    },
    /// The leader goes, and nothing keeps its place for it.
    Gone,
    /// `sync()` was called in a tab that does not lead.
    SyncWanted {
        /// That tab.
        tab: TabId,
        /// The number of its call.
        ask: u64,
    },
    /// The answer to that.
    Synced {
        /// The tab that asked.
        tab: TabId,
        /// The number of its call.
        ask: u64,
        /// What came of it.
        result: Result<SyncReport, Error>,
    },
}

impl Announcement {
    /// There may be rows: whoever hears it looks.
    #[must_use]
    pub const fn look() -> Self {
        Self::Rows { key: u64::MAX, after: None, bytes: Vec::new() }
    }

    /// What goes beside the text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if let Self::Rows { bytes, .. } = self { bytes } else { &[] }
    }

    /// The announcement as JSON, for a channel between tabs, but for [`bytes`](Self::bytes).
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Rows { key, after: None, .. } => format!(r#"{{"kind":"rows","key":{key}}}"#),
            Self::Rows { key, after: Some((tab, ask)), .. } => {
                format!(r#"{{"kind":"rows","key":{key},"tab":"{}","ask":{ask}}}"#, tab.0)
            }
            Self::Compacted { through } => format!(r#"{{"kind":"compacted","through":{through}}}"#),
            Self::Ping { is_visible } => format!(r#"{{"kind":"ping","visible":{is_visible}}}"#),
            Self::Alive { tab, election } => said_by("alive", *tab, *election),
            Self::Gone => r#"{"kind":"gone"}"#.to_owned(),
            Self::SyncWanted { tab, ask } => said_by("sync", *tab, *ask),
            Self::Synced { tab, ask, result } => {
                let result = match result {
                    Ok(report) => format!(r#""report":{}"#, report.to_json()),
                    Err(error) => {
                        format!(r#""code":"{}","message":{}"#, error.code(), quoted(&error.to_string()))
                    }
                };
                format!(r#"{{"kind":"synced","tab":"{}","ask":{ask},{result}}}"#, tab.0)
            }
        }
    }

    /// Reads an announcement; none for one of another version of the driver, which may say things this one does not know.
    #[must_use]
    pub fn parse(text: &str, bytes: Vec<u8>) -> Option<Self> {
        let text = normalise(text, 4).ok()?;
        let json = Json::from_normalised(&text);
        let kind = json.member("\"kind\"")?;
        match kind.as_str() {
            "\"rows\"" => {
                let key = json.member("\"key\"")?.as_safe_integer()?;
                let after = caller(json);
                return Some(Self::Rows { key, after, bytes });
            }
            "\"compacted\"" => {
                let through = json.member("\"through\"")?.as_safe_integer()?;
                return Some(Self::Compacted { through });
            }
            "\"ping\"" => {
                let is_visible = json.member("\"visible\"").is_some_and(|visible| visible.as_str() == "true");
                return Some(Self::Ping { is_visible });
            }
            "\"gone\"" => return Some(Self::Gone),
            _ => {}
        }
        let (tab, ask) = caller(json)?;
        match kind.as_str() {
            "\"alive\"" => Some(Self::Alive { tab, election: ask }),
            "\"sync\"" => Some(Self::SyncWanted { tab, ask }),
            "\"synced\"" => {
                let result = match json.member("\"report\"") {
                    Some(report) => Ok(SyncReport::from_json(report)?),
                    None => {
                        let code = json.member("\"code\"")?.as_text()?;
                        Err(Error::in_leader(&code, json.member("\"message\"")?.as_text()?.into_owned()))
                    }
                };
                Some(Self::Synced { tab, ask, result })
            }
            _ => None,
        }
    }
}

/// What a tab says, with a number.
fn said_by(kind: &str, tab: TabId, number: u64) -> String {
    // A tab's number has more digits than a JSON number keeps.
    format!(r#"{{"kind":"{kind}","tab":"{}","ask":{number}}}"#, tab.0)
}

/// A tab, and the number of its call, row or election.
fn caller(json: Json<'_>) -> Option<(TabId, u64)> {
    let tab = TabId(json.member("\"tab\"")?.as_text()?.parse().ok()?);
    Some((tab, json.member("\"ask\"")?.as_safe_integer()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        let tab = TabId(u64::MAX);
        let report = SyncReport {
            pushed: 1,
            pulled: 2,
            applied: 3,
            superseded: 4,
            conflicts: 5,
            rejected: 6,
            requests: 7,
            bytes: 8,
            duration_ms: 9,
        };
        for announcement in [
            Announcement::Rows { key: 3, after: Some((tab, 2)), bytes: vec![1, 2] },
            Announcement::Rows { key: 3, after: None, bytes: Vec::new() },
            Announcement::Compacted { through: 12 },
            Announcement::Ping { is_visible: true },
            Announcement::Ping { is_visible: false },
            Announcement::Alive { tab, election: 2 },
            Announcement::Gone,
            Announcement::SyncWanted { tab, ask: 7 },
            Announcement::Synced { tab, ask: 8, result: Ok(report) },
            Announcement::Synced {
                tab,
                ask: 9,
                result: Err(Error::in_leader("TIMEOUT", "say \"no\"".to_owned())),
            },
        ] {
            let bytes = announcement.bytes().to_vec();
            assert_eq!(Announcement::parse(&announcement.to_json(), bytes), Some(announcement));
        }
    }

    #[test]
    fn what_another_version_says_is_passed_over() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"kind":"new"}"#,
            r#"{"kind":"rows"}"#,
            r#"{"kind":"compacted"}"#,
            r#"{"kind":"alive"}"#,
            r#"{"kind":"sync","tab":1,"ask":1}"#,
            r#"{"kind":"synced","tab":"1","ask":1}"#,
        ] {
            assert_eq!(Announcement::parse(text, Vec::new()), None, "{text}");
        }
    }
}
