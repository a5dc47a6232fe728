//! The state: what one gets by folding the rows of the log in order.

use hashbrown::{HashMap, HashSet};
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    Checkpoint, ClientId, Direction, Fields, MutationId, ObjectName, RecordId, RecordKey, Sequence,
    ServerVersion,
};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::early::Early;
use super::history::History;
use super::migrate::Versions;
use super::queue::Queue;
use super::record::Record;
use super::row::{Change, Recorded, Subscription, TabId};
use super::stored::{Rest, SnapshotRest};
use super::table::Tables;

/// Everything the log says. Equal logs give equal states, in every tab and after every restart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The key of the last row that was folded.
    pub(crate) row: u64,
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
    /// How many snapshots were begun so far.
    pub(crate) snapshots: u64,
    /// Which tab wrote the last sync row, and how often that changed: an answer to a request that was sent under another
    /// generation is stale.
    pub(crate) leader: Option<TabId>,
    pub(crate) generation: u64,
    /// The last append of each tab of late, the latest first: it tells what became of one whose outcome is unknown.
    pub(crate) writers: Vec<(TabId, u64)>,
    /// Which version of its definition each object's data have.
    pub(crate) versions: Versions,
    /// What pages without an engine asked for and nobody has decided, in order.
    pub(crate) asked: Vec<Early>,
}

/// Of so many tabs the last append is remembered.
const MOST_WRITERS: usize = 64;

/// A mutation that is not settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) server_record: Option<Fields>,
    pub(crate) server_version: Option<ServerVersion>,
    pub(crate) fields: Vec<String>,
    pub(crate) suggestion: Option<Fields>,
}

/// A mutation the server will never take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The how-manieth of this database.
    pub(crate) number: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) objects: Vec<ObjectName>,
    pub(crate) tables: Tables,
}

impl State {
    /// A row is about to be folded.
    pub(crate) fn begin(&mut self, row: u64, writer: (TabId, u64)) {
        self.row = row;
        self.tables.begin(row);
        self.pending.marks.begin(row);
        self.history.marks.begin(row);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.tables.begin(row);
        }
        self.writers.retain(|(tab, _)| *tab != writer.0);
        self.writers.truncate(MOST_WRITERS - 1);
        self.writers.insert(0, writer);
    }

    /// Whether a row is in it.
    pub(crate) const fn has_begun(&self) -> bool {
        self.row > 0
    }

    /// Begins to collect the server's records anew.
    pub(crate) fn begin_snapshot(&mut self, objects: Vec<ObjectName>) {
        self.snapshots += 1;
        let mut snapshot = Snapshot { number: self.snapshots, objects, ..Snapshot::default() };
        snapshot.tables.begin(self.row);
        self.snapshot = Some(snapshot);
    }

    /// A row cannot be read.
    pub(crate) fn pass_over(&mut self, row: u64) {
        self.row = row;
    }

    /// Goes on without what is lost: new sequences are another client's where it is not known which were used, and the server's
    /// records are collected anew.
    pub(crate) fn mend(&mut self, client_id: Option<ClientId>, objects: &[ObjectName]) {
        if client_id.is_some() {
            self.client_id = client_id;
        }
        self.forget_lost_pending();
        let mut objects = objects.to_vec();
        // The release that found it may not have all that others keep up to date.
        for Subscription { object, direction } in self.subscriptions.iter().flatten() {
            if *direction != Direction::PushOnly && !objects.contains(object) {
                objects.push(object.clone());
            }
        }
        if !objects.is_empty() && !has(Defect::DamageNotPulled) {
            self.begin_snapshot(objects);
        }
    }

    /// What is said of pending mutations that are not there is not said any more.
    fn forget_lost_pending(&mut self) {
        let Self { pending, frozen, applied, parked, .. } = self;
        for list in [frozen, applied, parked] {
            list.retain(|sequence| pending.get(sequence).is_some());
        }
    }

    /// What rows up to this one changed is in segments.
    pub(crate) fn forget_marks(&mut self, through: u64) {
        self.tables.forget_marks(through);
        self.pending.marks.forget(through);
        self.history.marks.forget(through);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.tables.forget_marks(through);
        }
    }

    /// What of it is small.
    pub(crate) fn rest(&self) -> Rest {
        let [undo, redo] = self.history.outline();
        let seen_versions = self.seen_versions.iter().map(|(key, version)| (key.clone(), *version));
        Rest {
            client_id: self.client_id.clone(),
            clock: self.clock,
            last_sequence: self.last_sequence,
            applied: self.applied.clone(),
            parked: self.parked.clone(),
            rejected: self.rejected.clone(),
            undo,
            redo,
            frozen: self.frozen.clone(),
            subscriptions: self.subscriptions.clone(),
            seen_versions: seen_versions.collect(),
            checkpoint: self.checkpoint.clone(),
            is_behind: self.is_behind,
            snapshots: self.snapshots,
            snapshot: self.snapshot.as_ref().map(|snapshot| SnapshotRest {
                number: snapshot.number,
                checkpoint: snapshot.checkpoint.clone(),
                objects: snapshot.objects.clone(),
            }),
            leader: self.leader,
            generation: self.generation,
            writers: if has(Defect::WritersForgotten) { Vec::new() } else { self.writers.clone() },
            versions: self.versions.clone(),
            asked: self.asked.iter().map(Early::encode).collect(),
        }
    }

    /// The state as it was stored after this row. What is pending goes on top of its records here.
    pub(crate) fn restored(row: u64, rest: Rest, parts: Parts) -> Self {
        let Parts { tables, collected, pending, next_unit } = parts;
        let mut state = Self {
            row,
            client_id: rest.client_id,
            clock: rest.clock,
            last_sequence: rest.last_sequence,
            tables,
            pending: Queue::default(),
            applied: rest.applied,
            parked: rest.parked,
            rejected: rest.rejected,
            history: History::restored([&rest.undo, &rest.redo], next_unit),
            frozen: rest.frozen,
            subscriptions: rest.subscriptions,
            seen_versions: rest.seen_versions.into_iter().collect(),
            checkpoint: rest.checkpoint,
            is_behind: rest.is_behind,
            snapshots: rest.snapshots,
            snapshot: rest.snapshot.map(|snapshot| Snapshot {
                number: snapshot.number,
                checkpoint: snapshot.checkpoint,
                objects: snapshot.objects,
                tables: collected,
            }),
            leader: rest.leader,
            generation: rest.generation,
            writers: rest.writers,
            versions: rest.versions,
            asked: rest.asked.iter().filter_map(|bytes| Early::decode(bytes)).collect(),
        };
        let mut keys = HashSet::new();
        for pending in pending {
            let key = pending.recorded.key();
            state.tables.entry(&key.object).entry(&key.id).put_back(pending.sequence);
            state.pending.insert(pending);
            keys.insert(key);
        }
        for key in keys {
            state.replay(&key.object, &key.id);
        }
        state.forget_lost_pending();
        state.forget_marks(row);
        state.tables.begin(row);
        state.tables.drop_lost();
        state
    }

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

    pub(crate) fn rejected_at(&self, sequence: Sequence) -> Option<&Rejected> {
        self.rejected.iter().find(|rejected| rejected.sequence == sequence)
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

/// What of a stored state is in segments.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) tables: Tables,
    /// The tables of the snapshot.
    pub(crate) collected: Tables,
    pub(crate) pending: Vec<Pending>,
    pub(crate) next_unit: u64,
}

impl Pending {
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.progress, Progress::Queued { .. })
    }

    pub(crate) fn is_parked(&self) -> bool {
        matches!(self.progress, Progress::Parked(_))
    }
}
