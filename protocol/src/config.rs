//! How an object is synced (`sync` of `*.object.yml`) and how an endpoint is set up.

use serde::{Deserialize, Serialize};

use crate::ProtocolError;

/// What happens when two clients changed the same record without knowing of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// The later timestamp wins, per mutation.
    #[default]
    #[serde(rename = "last-write-wins")]
    LastWriteWins,
    /// Merged field by field; the later timestamp wins per field.
    #[serde(rename = "crdt")]
    Crdt,
    /// The app decides.
    #[serde(rename = "manual")]
    Manual,
}

/// Which way an object's mutations and changes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Bidirectional,
    /// Local mutations go to the server; the server's changes are not applied.
    PushOnly,
    /// The server's changes are applied; local mutations are refused.
    PullOnly,
}

/// How one object is synced (`SyncConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncConfig {
    /// Whether the object takes part in sync at all. Default: false.
    pub enabled: bool,
    /// What happens on concurrent changes. Default: `last-write-wins`.
    pub strategy: Strategy,
    /// Under `last-write-wins`: fields on which concurrent changes are a conflict. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflict_fields: Vec<String>,
    /// Which way. Default: `bidirectional`.
    pub direction: Direction,
    /// How long after a write the push waits for more, in milliseconds. Default: 1,000; at most 3,600,000.
    pub debounce_ms: u32,
    /// The most mutations of the object in one request. Default: 50; from 1 to 10,000.
    pub batch_size: u32,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            strategy: Strategy::default(),
            conflict_fields: Vec::new(),
            direction: Direction::default(),
            debounce_ms: 1000,
            batch_size: 50,
        }
    }
}

impl SyncConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// `INVALID_DEFINITION`
    pub fn check(&self) -> Result<(), ProtocolError> {
        if !(1..=10_000).contains(&self.batch_size) {
            return Err(ProtocolError::InvalidDefinition(
                "sync.batch_size must be from 1 to 10000".to_owned(),
            ));
        }
        if self.debounce_ms > 3_600_000 {
            return Err(ProtocolError::InvalidDefinition(
                "sync.debounce_ms must be at most 3600000".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether local mutations go to the server.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.enabled && self.direction != Direction::PullOnly
    }

    /// Whether the server's changes are applied.
    #[must_use]
    pub fn pulls(&self) -> bool {
        self.enabled && self.direction != Direction::PushOnly
    }
}

/// How an endpoint is set up (`SyncEndpointConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointConfig {
    /// Whether the endpoint answers at all. Default: false.
    pub enabled: bool,
    /// Where. Default: `/api/sync`.
    pub path: String,
    /// The most mutations in one request. Default: 100.
    pub max_mutations_per_request: u32,
    /// How long changes are kept, in days. Default: 30.
    pub change_log_retention_days: u32,
    /// Whether clients are told of changes over a WebSocket. Default: false.
    pub realtime: bool,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            path: "/api/sync".to_owned(),
            max_mutations_per_request: 100,
            change_log_retention_days: 30,
            realtime: false,
        }
    }
}
