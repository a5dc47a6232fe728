//! What an app is told: status, notices, and the lists of mutations that wait, in the shapes of the TypeScript types.

use hashbrown::HashSet;
use objectql_sync_protocol::{
    Fields, MutationId, ObjectName, ObjectText, RecordId, Sequence, Timestamp, array_text, quoted,
};

use super::Engine;
use super::fold::{Folded, Outcome, Superseded};
use super::row::Recorded;
use super::state::{Pending, Progress, Rejected};
use super::sync::Phase;
use super::sync::progress::SyncProgress;
use crate::error::Error;

/// What the database is doing (`Status`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub state: SyncState,
    /// Mutations not settled.
    pub pending: usize,
    /// When the oldest of them was recorded.
    pub pending_since: Option<Timestamp>,
    /// Those of them that wait for a decision.
    pub conflicts: usize,
    /// Mutations the server will never take.
    pub rejected: usize,
    /// Writes that can be taken back.
    pub undoable: usize,
    /// Writes that were taken back and can be made again.
    pub redoable: usize,
    /// Whether this tab is the one that syncs.
    pub leader: bool,
    /// Whether the server tells this tab of changes at once.
    pub realtime: bool,
    /// Whether what is written outlives the page.
    pub durable: bool,
    /// Under which id this database writes.
    pub client_id: Option<String>,
    /// When the last sync of this tab ended well.
    pub last_synced_at: Option<Timestamp>,
    /// When the next attempt follows a failure.
    pub retry_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<ErrorReport>,
}

/// The state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState {
    /// No `sync` option.
    Local,
    /// Nothing to do.
    Idle,
    /// The debounce runs.
    Waiting,
    /// A request is under way.
    Syncing,
    /// After a failure.
    Retrying,
    /// The credentials were refused.
    Unauthorized,
    /// IndexedDB does not take writes.
    StorageFailed,
}

/// An error as an app sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport {
    /// The stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

/// Something an app is told without having asked.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// The status changed.
    Status(Status),
    /// Records changed.
    Change(ChangeReport),
    /// Syncing or storing failed in a way it did not fail before; the status says what follows.
    Error(ErrorReport),
    /// A mutation waits for a decision.
    Conflict(String),
    /// A mutation was rejected.
    Rejected(String),
    /// A mutation's values lost.
    Superseded(String),
    /// A sync has come so far.
    Progress(SyncProgress),
    /// Something stored is lost (`DataLoss`).
    DataLost(String),
}

/// Which records changed (`ChangeEvent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeReport {
    /// By object.
    pub changes: Vec<ChangedRecords>,
    /// From where.
    pub origin: Origin,
}

/// The records of one object that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRecords {
    /// The object.
    pub object_name: ObjectName,
    /// The records; one may come more than once.
    pub record_ids: Vec<RecordId>,
}

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This tab wrote.
    Local,
    /// Another tab wrote.
    Tab,
    /// The server.
    Server,
}

impl SyncState {
    /// The word an app sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Syncing => "syncing",
            Self::Retrying => "retrying",
            Self::Unauthorized => "unauthorized",
            Self::StorageFailed => "storage-failed",
        }
    }
}

impl Status {
    /// The status as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let time = |time: Option<Timestamp>| time.map(|time| quoted(&time.to_string()));
        ObjectText::default()
            .text("state", self.state.as_str())
            .plain("pending", Some(self.pending))
            .plain("pendingSince", time(self.pending_since))
            .plain("conflicts", Some(self.conflicts))
            .plain("rejected", Some(self.rejected))
            .plain("undoable", Some(self.undoable))
            .plain("redoable", Some(self.redoable))
            .plain("leader", Some(self.leader))
            .plain("realtime", Some(self.realtime))
            .plain("durable", Some(self.durable))
            .plain("clientId", self.client_id.as_deref().map(quoted))
            .plain("lastSyncedAt", time(self.last_synced_at))
            .plain("retryAt", time(self.retry_at))
            .plain("error", self.error.as_ref().map(ErrorReport::to_json))
            .finish()
    }
}

impl ErrorReport {
    /// The error as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        ObjectText::default().text("code", self.code).text("message", &self.message).finish()
    }
}

impl ChangeReport {
    /// The report as JSON, with each record once.
    #[must_use]
    pub fn to_json(&self) -> String {
        let origin = match self.origin {
            Origin::Local => "local",
            Origin::Tab => "tab",
            Origin::Server => "server",
        };
        let changes = self.changes.iter().map(|ChangedRecords { object_name, record_ids }| {
            let mut seen = HashSet::with_capacity(record_ids.len());
            let ids = record_ids.iter().filter(|id| seen.insert(*id));
            let ids = array_text(ids.map(RecordId::to_json));
            ObjectText::default().text("objectName", object_name.as_str()).json("recordIds", &ids).finish()
        });
        ObjectText::default().json("changes", &array_text(changes)).text("origin", origin).finish()
    }
}

impl Engine {
    /// What the database is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let (undoable, redoable) = self.state.history.counts();
        Status {
            state: self.sync_state(),
            pending: self.state.pending.len(),
            pending_since: self.state.pending.iter().next().map(|pending| pending.recorded.timestamp),
            conflicts: self.state.parked.len(),
            rejected: self.state.rejected.len(),
            undoable,
            redoable,
            leader: self.sync.is_leader,
            realtime: self.realtime.is_ready(),
            durable: self.config.is_durable,
            // Where another database is being made, that of the one before: an app never sees none.
            client_id: (self.state.client_id.as_ref().map(ToString::to_string))
                .or_else(|| self.told_status.as_ref()?.client_id.clone()),
            last_synced_at: self.sync.last_done.map(|done| done.wall),
            retry_at: match self.sync.phase {
                Phase::Waiting { until, .. } => until.map(|until| until.wall),
                _ => None,
            },
            error: self.log.health.trouble().or(self.sync.error.as_ref()).map(ErrorReport::from),
        }
    }

    fn sync_state(&self) -> SyncState {
        if self.log.health.trouble().is_some() {
            return SyncState::StorageFailed;
        }
        match self.sync.phase {
            _ if self.config.sync.is_none() => SyncState::Local,
            Phase::Waiting { is_unauthorized: true, .. } => SyncState::Unauthorized,
            Phase::Waiting { .. } => SyncState::Retrying,
            Phase::CatchingUp | Phase::Freezing | Phase::Sending(_) | Phase::Receiving => SyncState::Syncing,
            Phase::Idle if self.state.pending.len() > self.state.parked.len() => SyncState::Waiting,
            Phase::Idle => SyncState::Idle,
        }
    }

    /// The mutations that are not settled, as a JSON array in sequence order.
    #[must_use]
    pub fn pending_mutations(&self) -> String {
        array_text(self.state.pending.iter().map(|pending| self.pending_report(pending)))
    }

    /// What the server has not taken, pending or rejected, as JSON: if it is lost, the app is told.
    pub(crate) fn untaken(&self) -> Vec<(Sequence, MutationId, String)> {
        let pending = self.state.pending.iter().map(|it| (it.recorded.id, it.sequence));
        let rejected = self.state.rejected.iter().map(|it| (it.recorded.id, it.sequence));
        let all = pending.chain(rejected);
        all.map(|(id, sequence)| (sequence, id, self.report_of(sequence))).collect()
    }

    /// The mutations that wait for a decision, as a JSON array.
    #[must_use]
    pub fn conflicts(&self) -> String {
        let parked = self.state.parked.iter().filter_map(|sequence| self.state.pending.get(sequence));
        array_text(parked.filter_map(|pending| self.conflict_report(pending)))
    }

    /// The mutations that the server will never take, as a JSON array.
    #[must_use]
    pub fn rejected(&self) -> String {
        array_text(self.state.rejected.iter().map(|rejected| self.rejected_report(rejected)))
    }

    /// A mutation as an app sees it (`PendingMutation`): as it goes over the wire, and how far it has come.
    fn mutation_report(&self, recorded: &Recorded, sequence: Sequence, state: &str) -> String {
        let Some(client_id) = &self.state.client_id else { return "null".to_owned() };
        let mut text = recorded.to_wire(sequence, client_id).to_json();
        // The wire's object, and one property more.
        text.pop();
        text.push_str(",\"state\":");
        text.push_str(&quoted(state));
        text.push('}');
        text
    }

    pub(crate) fn pending_report(&self, pending: &Pending) -> String {
        let state = match pending.progress {
            Progress::Queued { .. } if self.state.frozen.contains(&pending.sequence) => "sent",
            Progress::Queued { .. } => "queued",
            Progress::Applied { .. } => "applied",
            Progress::Parked(_) => "conflict",
        };
        self.mutation_report(&pending.recorded, pending.sequence, state)
    }

    /// The mutation with that sequence, pending or rejected.
    pub(crate) fn report_of(&self, sequence: Sequence) -> String {
        if let Some(pending) = self.state.pending.get(&sequence) {
            return self.pending_report(pending);
        }
        let rejected = self.state.rejected_at(sequence);
        rejected.map_or_else(String::new, |it| self.mutation_report(&it.recorded, sequence, "rejected"))
    }

    /// What a report on one mutation begins with.
    fn report_head(recorded: &Recorded) -> ObjectText {
        ObjectText::default()
            .text("id", &recorded.id.to_string())
            .text("objectName", recorded.object.as_str())
            .json("recordId", &recorded.record_id.to_json())
    }

    fn conflict_report(&self, pending: &Pending) -> Option<String> {
        let Progress::Parked(parked) = &pending.progress else { return None };
        let mut report = Self::report_head(&pending.recorded)
            .json("conflictingFields", &array_text(parked.fields.iter().map(|name| quoted(name))))
            .json("clientMutation", &self.pending_report(pending))
            .plain("baseRecord", pending.base.as_ref().map(Fields::as_str))
            .plain("serverRecord", parked.server_record.as_ref().map(Fields::as_str));
        if let Some(suggestion) = &parked.suggestion {
            report = report.json("suggestedResolution", suggestion.as_str());
        }
        Some(report.finish())
    }

    fn rejected_report(&self, rejected: &Rejected) -> String {
        let Rejected { sequence, recorded, base, cause, reason } = rejected;
        let of_this = self.state.rejected.iter().filter(|other| other.cause == Some(recorded.id));
        Self::report_head(recorded)
            .text("reason", reason)
            .json("mutation", &self.mutation_report(recorded, *sequence, "rejected"))
            .plain("baseRecord", base.as_ref().map(Fields::as_str))
            .plain("causedBy", cause.map(|cause| quoted(&cause.to_string())))
            .json("dependants", &array_text(of_this.map(|other| quoted(&other.recorded.id.to_string()))))
            .finish()
    }

    fn superseded_report(&self, superseded: &Superseded) -> String {
        let Superseded { recorded, sequence, lost } = superseded;
        let record = self.state.record(&recorded.key()).and_then(|record| record.complete_base());
        Self::report_head(recorded)
            .json("mutation", &self.mutation_report(recorded, *sequence, "superseded"))
            .plain("lost", lost.as_ref().map(Fields::as_str))
            .plain("serverRecord", record.map(Fields::as_str))
            .finish()
    }

    /// What an app is told of a folded row.
    pub(crate) fn notices(&self, folded: &Folded, is_own: bool) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !folded.touched.is_empty() {
            let origin = match (folded.is_from_server, is_own) {
                (true, _) => Origin::Server,
                (false, true) => Origin::Local,
                (false, false) => Origin::Tab,
            };
            let changed = |(object, ids): &(ObjectName, Vec<RecordId>)| ChangedRecords {
                object_name: object.clone(),
                record_ids: ids.clone(),
            };
            let changes = folded.touched.iter().map(changed).collect();
            notices.push(Notice::Change(ChangeReport { changes, origin }));
        }
        let parked =
            folded.of(Outcome::Conflict).filter_map(|id| self.conflict_report(self.state.find_pending(id)?));
        notices.extend(parked.map(Notice::Conflict));
        let rejected = folded.of(Outcome::Rejected).filter_map(|id| self.state.find_rejected(id));
        notices.extend(rejected.map(|rejected| Notice::Rejected(self.rejected_report(rejected))));
        let superseded = folded.superseded.iter().map(|superseded| self.superseded_report(superseded));
        notices.extend(superseded.map(Notice::Superseded));
        notices
    }

    /// Tells the app the status if it changed.
    pub(crate) fn tell_status(&mut self) {
        if !self.is_open && self.told_status.is_none() {
            return;
        }
        let status = self.status();
        if self.told_status.as_ref() != Some(&status) {
            let told = self.told_status.replace(status.clone());
            if let Some(error) =
                status.error.clone().filter(|_| told.and_then(|told| told.error) != status.error)
            {
                self.outputs.push_back(super::Output::Notice(Notice::Error(error)));
            }
            self.outputs.push_back(super::Output::Notice(Notice::Status(status)));
        }
    }
}

/// What is lost and why; the mutations that are, as a JSON array, as far as they are known.
pub(crate) fn data_loss(reason: &str, mutations: &str, details: &[String]) -> Notice {
    let details = array_text(details.iter().map(|detail| quoted(detail)));
    let text = ObjectText::default().text("reason", reason).json("mutations", mutations);
    Notice::DataLost(text.json("details", &details).finish())
}
