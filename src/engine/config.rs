//! What an engine is started with.

use std::time::Duration;

use objectql_sync_protocol::{ObjectDefinition, ObjectName, SyncConfig};

use super::compact::CompactAfter;
use super::row::{Subscription, TabId};
use crate::error::Error;

/// How often to pull when nothing else makes the client do so.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Some 15 ms in a browser.
const AT_ONCE: usize = 1 << 15;

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The objects. There are few: they are looked up by going through them.
    pub(super) objects: Vec<ObjectDefinition>,
    /// Which versions of their definitions these are, where it is not the first.
    pub versions: Vec<(ObjectName, u32)>,
    /// How to sync; none for a local database.
    pub sync: Option<SyncSettings>,
    /// When the log is compacted.
    pub compact_after: CompactAfter,
    /// Whether everything is read into memory before the database is open, instead of when it is needed.
    pub is_eager: bool,
    /// How many records queries take over, look at or build an index of at once: more in portions, between which others run.
    pub at_once: usize,
    /// Whether the store outlives the page.
    pub is_durable: bool,
    /// As whom this page asked for something before the engine was there: it waits for the outcomes.
    pub asker: Option<TabId>,
}

/// How to sync, as far as it is the same for all objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncSettings {
    /// Whether to sync without being asked.
    pub is_automatic: bool,
    /// How often to pull when nothing else makes the client do so; none: never.
    pub poll_interval: Option<Duration>,
    /// Whether to be told of changes over a socket; without effect where nothing is synced without being asked.
    pub is_realtime: bool,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self { is_automatic: true, poll_interval: Some(DEFAULT_POLL_INTERVAL), is_realtime: false }
    }
}

impl Config {
    /// Takes the definitions.
    ///
    /// # Errors
    /// `INVALID_DEFINITION` for one that is not valid, `INVALID_OPTIONS` where two have the same name.
    pub fn new(definitions: Vec<ObjectDefinition>, sync: Option<SyncSettings>) -> Result<Self, Error> {
        let mut objects: Vec<ObjectDefinition> = Vec::new();
        for definition in definitions {
            definition.check()?;
            if objects.iter().any(|other| other.name == definition.name) {
                return Err(Error::InvalidOptions(format!(
                    "the object {} is defined twice",
                    definition.name
                )));
            }
            objects.push(definition);
        }
        let (versions, compact_after) = (Vec::new(), CompactAfter::default());
        Ok(Self {
            objects,
            versions,
            sync,
            compact_after,
            is_eager: false,
            at_once: AT_ONCE,
            is_durable: true,
            asker: None,
        })
    }

    /// The definition of an object.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`
    pub fn object(&self, name: &str) -> Result<&ObjectDefinition, Error> {
        self.find(name).ok_or_else(|| Error::UnknownObject(name.to_owned()))
    }

    fn find(&self, name: &str) -> Option<&ObjectDefinition> {
        self.objects.iter().find(|definition| definition.name.as_str() == name)
    }

    /// The objects of which the server's changes are taken.
    pub(crate) fn pulled_objects(&self) -> impl Iterator<Item = ObjectName> {
        self.objects
            .iter()
            .filter(|definition| definition.sync.pulls())
            .map(|definition| definition.name.clone())
    }

    /// The objects that take part in sync.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        let enabled = self.objects.iter().filter(|definition| definition.sync.enabled);
        let subscription = |definition: &ObjectDefinition| Subscription {
            object: definition.name.clone(),
            direction: definition.sync.direction,
        };
        enabled.map(subscription).collect()
    }

    pub(crate) fn sync_of(&self, object: &ObjectName) -> Option<&SyncConfig> {
        self.find(object.as_str()).map(|definition| &definition.sync)
    }

    /// Whether local mutations of the object go to the server.
    pub(crate) fn pushes(&self, object: &ObjectName) -> bool {
        self.sync_of(object).is_some_and(SyncConfig::pushes)
    }

    /// Whether the server's changes of the object are taken. Those of an object that is not defined are: the app may have
    /// dropped it only for now.
    pub(crate) fn pulls(&self, object: &ObjectName) -> bool {
        self.sync_of(object).is_none_or(SyncConfig::pulls)
    }
}
