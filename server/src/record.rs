//! What the server knows of one record: its fields, its version, and who wrote which field when.

use std::collections::BTreeMap;

use objectql_sync_protocol::merge::{Stamp, is_system_field};
use objectql_sync_protocol::{ClientId, Fields, ServerVersion, Timestamp};
use serde::{Deserialize, Serialize};

/// One write to a record: the version it made, when, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(ServerVersion, Timestamp, ClientId)", from = "(ServerVersion, Timestamp, ClientId)")]
pub struct Write {
    /// The version of the record after the write.
    pub version: ServerVersion,
    /// When, by the writer's clock and never later than the server's, and by whom.
    pub stamp: Stamp,
}

impl From<Write> for (ServerVersion, Timestamp, ClientId) {
    fn from(write: Write) -> Self {
        (write.version, write.stamp.timestamp, write.stamp.client_id)
    }
}

impl From<(ServerVersion, Timestamp, ClientId)> for Write {
    fn from((version, timestamp, client_id): (ServerVersion, Timestamp, ClientId)) -> Self {
        Self { version, stamp: Stamp { timestamp, client_id } }
    }
}

/// Who wrote the fields of a record: its creation, and for each field written since, the last write.
///
/// That the *last* write of a field is enough to tell whether somebody else's is new to a client follows from the order:
/// a client's own write came after whatever it was judged against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The write that made the record, or made it anew after it had been deleted.
    pub born: Write,
    /// The last write of each field that was written since.
    pub fields: BTreeMap<String, Write>,
}

impl History {
    /// The last write of a field that the record has.
    #[must_use]
    pub fn last_write(&self, field: &str) -> &Write {
        self.fields.get(field).unwrap_or(&self.born)
    }
}

/// A record that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRecord {
    /// All of its fields, `id` included.
    pub data: Fields,
    /// The last write to it.
    pub last: Write,
    /// Who wrote which field.
    pub history: History,
}

/// What the server holds under a key. Where it holds nothing at all there is no `Record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A record.
    Live(LiveRecord),
    /// A tombstone: the write that deleted the record.
    Deleted(Write),
}

/// What is done to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It is made, with these fields.
    Create(Fields),
    /// These of its fields get new values.
    Update(Fields),
    /// It is deleted.
    Delete,
}

impl Record {
    /// The last write to the record.
    #[must_use]
    pub const fn last(&self) -> &Write {
        match self {
            Self::Live(live) => &live.last,
            Self::Deleted(write) => write,
        }
    }

    /// The version of the record.
    #[must_use]
    pub const fn version(&self) -> ServerVersion {
        self.last().version
    }

    /// The fields; none when the record is deleted.
    #[must_use]
    pub const fn data(&self) -> Option<&Fields> {
        match self {
            Self::Live(live) => Some(&live.data),
            Self::Deleted(_) => None,
        }
    }

    /// The record after a write. Timestamps of a record, and of each of its fields, never go back, so that a write which
    /// knew of an earlier one is later than it, whatever the writer's clock says.
    #[must_use]
    pub fn after(before: Option<&Self>, effect: &Effect, write: Write) -> Self {
        let last = match before {
            Some(record) => not_before(write.clone(), record.last()),
            None => write.clone(),
        };
        match (effect, before) {
            (Effect::Delete, _) => Self::Deleted(last),
            (Effect::Update(patch), Some(Self::Live(live))) => Self::Live(live.updated(patch, &write, last)),
            (Effect::Create(data) | Effect::Update(data), _) => Self::Live(LiveRecord {
                data: data.clone(),
                history: History { born: last.clone(), fields: BTreeMap::new() },
                last,
            }),
        }
    }
}

impl LiveRecord {
    fn updated(&self, patch: &Fields, write: &Write, last: Write) -> Self {
        let mut history = self.history.clone();
        for (key, _) in patch.iter().filter(|(key, _)| !is_system_field(key)) {
            let field = field_name(key);
            let known = self.data.get_quoted(key).map(|_| self.history.last_write(&field));
            let write = known.map_or_else(|| write.clone(), |known| not_before(write.clone(), known));
            history.fields.insert(field, write);
        }
        Self { data: self.data.merged(patch), last, history }
    }
}

fn not_before(mut write: Write, earlier: &Write) -> Write {
    write.stamp.timestamp = write.stamp.timestamp.max(earlier.stamp.timestamp);
    write
}

/// The name of a field from its JSON text.
#[must_use]
pub fn field_name(key: &str) -> String {
    serde_json::from_str(key).unwrap_or_default()
}
