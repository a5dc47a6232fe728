//! What an app is told: status, notices, and the lists of mutations that wait, in the shapes of the TypeScript types.

use hashbrown::HashSet;
use objectql_sync_protocol::{
    Fields, MutationId, ObjectName, Operation, RecordId, Sequence, ServerVersion, Timestamp,
};
use serde::Serialize;

use super::Engine;
use super::fold::Folded;
use super::row::Recorded;
use super::state::{Pending, Progress, Rejected};
use super::sync::Phase;
use crate::error::Error;

/// What the database is doing (`Status`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// In one word.
    pub state: SyncState,
    /// Mutations not settled.
    pub pending: usize,
    /// Those of them that wait for a decision.
    pub conflicts: usize,
    /// Mutations the server will never take.
    pub rejected: usize,
    /// Whether this tab is the one that syncs.
    pub leader: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// A mutation waits for a decision.
    Conflict(String),
    /// A mutation was rejected.
    Rejected(String),
}

/// Which records changed (`ChangeEvent`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeReport {
    /// By object.
    pub changes: Vec<ChangedRecords>,
    /// From where.
    pub origin: Origin,
}

/// The records of one object that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedRecords {
    /// The object.
    pub object_name: ObjectName,
    /// The records, each once.
    pub record_ids: Vec<RecordId>,
}

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This tab wrote.
    Local,
    /// Another tab wrote.
    Tab,
    /// The server.
    Server,
}

/// A mutation that is not settled (`PendingMutation`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingReport<'a> {
    id: MutationId,
    object_name: &'a ObjectName,
    record_id: &'a RecordId,
    operation: Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Fields>,
    timestamp: Timestamp,
    client_id: &'a str,
    sequence: Sequence,
    base_version: Option<ServerVersion>,
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConflictReport<'a> {
    id: MutationId,
    object_name: &'a ObjectName,
    record_id: &'a RecordId,
    conflicting_fields: &'a [String],
    client_mutation: PendingReport<'a>,
    base_record: Option<&'a Fields>,
    server_record: Option<&'a Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested_resolution: Option<&'a Fields>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RejectedReport<'a> {
    id: MutationId,
    object_name: &'a ObjectName,
    record_id: &'a RecordId,
    reason: &'a str,
    mutation: PendingReport<'a>,
}

impl Engine {
    /// What the database is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            state: self.sync_state(),
            pending: self.state.pending.len(),
            conflicts: self.state.parked.len(),
            rejected: self.state.rejected.len(),
            leader: self.sync.is_leader,
            client_id: self.state.client_id.as_ref().map(ToString::to_string),
            last_synced_at: self.sync.last_done.map(|done| done.wall),
            retry_at: match self.sync.phase {
                Phase::Waiting { until, .. } => until.map(|until| until.wall),
                _ => None,
            },
            error: self.log.error.as_ref().or(self.sync.error.as_ref()).map(ErrorReport::from),
        }
    }

    fn sync_state(&self) -> SyncState {
        if self.log.error.is_some() {
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
        to_json(&self.state.pending.values().map(|pending| self.pending_report(pending)).collect::<Vec<_>>())
    }

    /// The mutations that wait for a decision, as a JSON array.
    #[must_use]
    pub fn conflicts(&self) -> String {
        let parked = self.state.parked.iter().filter_map(|sequence| self.state.pending.get(sequence));
        to_json(&parked.filter_map(|pending| self.conflict_report(pending)).collect::<Vec<_>>())
    }

    /// The mutations that the server will never take, as a JSON array.
    #[must_use]
    pub fn rejected(&self) -> String {
        to_json(
            &self.state.rejected.iter().map(|rejected| self.rejected_report(rejected)).collect::<Vec<_>>(),
        )
    }

    fn report<'a>(
        &'a self,
        recorded: &'a Recorded,
        sequence: Sequence,
        state: &'static str,
    ) -> PendingReport<'a> {
        PendingReport {
            id: recorded.id,
            object_name: &recorded.object,
            record_id: &recorded.record_id,
            operation: recorded.operation,
            data: recorded.data.as_ref(),
            timestamp: recorded.timestamp,
            client_id: self.state.client_id.as_ref().map_or("", |client| client.as_str()),
            sequence,
            base_version: recorded.base_version,
            state,
        }
    }

    fn pending_report<'a>(&'a self, pending: &'a Pending) -> PendingReport<'a> {
        let state = match pending.progress {
            Progress::Queued { .. } if self.state.frozen.contains(&pending.sequence) => "sent",
            Progress::Queued { .. } => "queued",
            Progress::Applied { .. } => "applied",
            Progress::Parked(_) => "conflict",
        };
        self.report(&pending.recorded, pending.sequence, state)
    }

    fn conflict_report<'a>(&'a self, pending: &'a Pending) -> Option<ConflictReport<'a>> {
        let Progress::Parked(parked) = &pending.progress else { return None };
        Some(ConflictReport {
            id: pending.recorded.id,
            object_name: &pending.recorded.object,
            record_id: &pending.recorded.record_id,
            conflicting_fields: &parked.fields,
            client_mutation: self.pending_report(pending),
            base_record: pending.base.as_ref(),
            server_record: parked.server_record.as_ref(),
            suggested_resolution: parked.suggestion.as_ref(),
        })
    }

    fn rejected_report<'a>(&'a self, rejected: &'a Rejected) -> RejectedReport<'a> {
        RejectedReport {
            id: rejected.recorded.id,
            object_name: &rejected.recorded.object,
            record_id: &rejected.recorded.record_id,
            reason: &rejected.reason,
            mutation: self.report(&rejected.recorded, rejected.sequence, "rejected"),
        }
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
            let changes = folded.touched.iter().map(|(object, ids)| changed(object, ids)).collect();
            notices.push(Notice::Change(ChangeReport { changes, origin }));
        }
        let parked =
            folded.parked.iter().filter_map(|id| self.conflict_report(self.state.find_pending(*id)?));
        notices.extend(parked.map(|report| Notice::Conflict(to_json(&report))));
        let rejected = folded.rejected.iter().filter_map(|id| self.state.find_rejected(*id));
        notices.extend(rejected.map(|rejected| Notice::Rejected(to_json(&self.rejected_report(rejected)))));
        notices
    }

    /// Tells the app the status if it changed.
    pub(crate) fn tell_status(&mut self) {
        if !self.is_open {
            return;
        }
        let status = self.status();
        if self.told_status.as_ref() != Some(&status) {
            self.told_status = Some(status.clone());
            self.outputs.push_back(super::Output::Notice(Notice::Status(status)));
        }
    }
}

fn changed(object: &ObjectName, ids: &[RecordId]) -> ChangedRecords {
    let mut seen = HashSet::with_capacity(ids.len());
    let record_ids = ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
    ChangedRecords { object_name: object.clone(), record_ids }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
