//! The state: what one gets by folding the rows of the log in order.

use hashbrown::HashMap;
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    Checkpoint, ClientId, Direction, Fields, MutationId, ObjectName, RecordId, RecordKey, Sequence,
    ServerVersion,
};

use super::clock::Clock;
use super::history::History;
use super::queue::Queue;
use super::record::Record;
use super::row::{Change, Recorded, Subscription, TabId};
use super::table::Tables;

/// Everything the log says. Equal logs give equal states, in every tab and after every restart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(crate) client_id: Option<ClientId>,
    pub(crate) clock: Clock,
    /// The highest sequence used so far.
    pub(crate) last_sequence: Sequence,
    pub(crate) tables: Tables,
    /// The mutations that are not settled.
    pub(crate) pending: Queue,
    /// The pending mutations that are applied and whose page of changes has not come.
    pub(crate) applied: Vec<Sequence>,
    /// The pending mutations that wait for a decision, in the order in which they came to.
    pub(crate) parked: Vec<Sequence>,
    /// The mutations the server will never take, until the app decides.
    pub(crate) rejected: Vec<Rejected>,
    /// What the app can take back.
    pub(crate) history: History,
    /// The batch that may have been sent. While it is not empty, only exactly it may be sent.
    pub(crate) frozen: Vec<Sequence>,
    /// The objects that took part in sync when that was last looked at.
    pub(crate) subscriptions: Option<Vec<Subscription>>,
    /// The versions of records whose changes are not taken, where the server's conflicts do not name them.
    pub(crate) seen_versions: HashMap<RecordKey, ServerVersion>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Whether the server had more changes than came with the last answer.
    pub(crate) is_behind: bool,
    /// The snapshot that is being collected beside the data, if the server forgot our checkpoint.
    pub(crate) snapshot: Option<Snapshot>,
    /// Which tab wrote the last sync row, and how often that changed: an answer to a request that was sent under another
    /// generation is stale.
    pub(crate) leader: Option<TabId>,
    pub(crate) generation: u64,
}

/// A mutation that is not settled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pending {
    pub(crate) recorded: Recorded,
    pub(crate) sequence: Sequence,
    /// The record's base when the mutation was made: what a conflict is judged against.
    pub(crate) base: Option<Fields>,
    /// Up to which version it is over with the record: a delete with that version came since. What the mutation did up to there
    /// is undone, though its verdict comes later, as after a lost answer.
    pub(crate) gone_at: Option<ServerVersion>,
    /// Whether somebody else changed the record since the mutation was made.
    pub(crate) is_overtaken: bool,
    pub(crate) progress: Progress,
}

/// How far a pending mutation has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// Not sent since it was recorded, or since it was last rebased `rounds` times.
    Queued {
        /// How often a conflict turned out to be none, or was rebased.
        rounds: u8,
    },
    /// Applied with this version; the page with its echo has not come yet.
    Applied {
        version: ServerVersion,
        /// Whether the echo, or a later change of the record, has come.
        is_echoed: bool,
        /// Whether the record of that version holds other values.
        is_superseded: bool,
    },
    /// Somebody has to decide.
    Parked(Box<Parked>),
}

/// The other side of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parked {
    pub(crate) server_record: Option<Fields>,
    pub(crate) server_version: Option<ServerVersion>,
    pub(crate) fields: Vec<String>,
    pub(crate) suggestion: Option<Fields>,
}

/// A mutation the server will never take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejected {
    pub(crate) sequence: Sequence,
    pub(crate) recorded: Recorded,
    /// The record's base when the mutation was made.
    pub(crate) base: Option<Fields>,
    /// The rejected create that took this one along.
    pub(crate) cause: Option<MutationId>,
    pub(crate) reason: String,
}

/// The records of the server, collected anew.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) objects: Vec<ObjectName>,
    pub(crate) tables: Tables,
}

impl State {
    pub(crate) fn record(&self, key: &RecordKey) -> Option<&Record> {
        self.tables.get(&key.object)?.get(&key.id)
    }

    pub(crate) fn visible(&self, key: &RecordKey) -> Option<&Fields> {
        self.record(key)?.visible()
    }

    /// Whether the server's changes of the object are taken.
    #[must_use]
    pub fn pulls(&self, object: &ObjectName) -> bool {
        let of_object = |subscription: &&Subscription| subscription.object == *object;
        let subscription = self.subscriptions.iter().flatten().find(of_object);
        subscription.is_some_and(|subscription| subscription.direction != Direction::PushOnly)
    }

    /// Whether local mutations of the object go to the server.
    pub(crate) fn pushes(&self, object: &ObjectName) -> bool {
        let of_object = |subscription: &&Subscription| subscription.object == *object;
        let subscription = self.subscriptions.iter().flatten().find(of_object);
        !has(Defect::OlderReleaseUnheard)
            && subscription.is_some_and(|subscription| subscription.direction != Direction::PullOnly)
    }

    /// Takes note of the version that a change is only about, if it is one of these.
    pub(crate) fn notes_version(&mut self, change: &Change) -> bool {
        let is_one = change.is_version_only();
        if is_one {
            let key = RecordKey { object: change.object.clone(), id: change.record_id.clone() };
            self.seen_versions.insert(key, change.version);
        }
        is_one
    }

    /// The checkpoint a request has to carry.
    pub(crate) fn request_checkpoint(&self) -> Option<&Checkpoint> {
        match &self.snapshot {
            Some(snapshot) => snapshot.checkpoint.as_ref(),
            None => self.checkpoint.as_ref(),
        }
    }

    pub(crate) fn find_pending(&self, id: MutationId) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.recorded.id == id)
    }

    pub(crate) fn find_rejected(&self, id: MutationId) -> Option<&Rejected> {
        self.rejected.iter().find(|rejected| rejected.recorded.id == id)
    }

    /// Computes what is seen of a record, after its base or its pending mutations changed.
    pub(crate) fn replay(&mut self, object: &ObjectName, id: &RecordId) {
        let table = self.tables.entry(object);
        if let Some(record) = table.get_mut(id) {
            let sequences = record.pending().to_vec();
            let pending = &self.pending;
            record.replay(
                sequences
                    .iter()
                    .filter_map(|sequence| pending.get(sequence))
                    .map(|pending| (pending.recorded.operation, pending.recorded.data.as_ref())),
            );
        }
        table.drop_if_gone(id);
    }
}

impl Pending {
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.progress, Progress::Queued { .. })
    }

    pub(crate) fn is_parked(&self) -> bool {
        matches!(self.progress, Progress::Parked(_))
    }
}
