//! A mutation that the server did not apply because somebody has to decide: `SyncConflict` on the wire.

use serde::{Deserialize, Serialize};

use crate::{Fields, Mutation, ObjectName, RecordId, ServerVersion};

/// What the server says about a mutation that meets a concurrent change (`SyncConflict`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The object of the record.
    pub object_name: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// The mutation as the server got it.
    pub client_mutation: Mutation,
    /// The record as the server holds it; null when it was deleted.
    #[serde(default)]
    pub server_record: Option<Fields>,
    /// The fields on which the two differ.
    pub conflicting_fields: Vec<String>,
    /// What the server would do, where it has an idea: the merged record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_resolution: Option<Fields>,
    /// The version of `server_record` (an extension; a plain server leaves it out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<ServerVersion>,
}
