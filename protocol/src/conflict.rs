//! A mutation that the server did not apply because somebody has to decide: `SyncConflict` on the wire.

use serde::Serialize;

use crate::{Fields, Json, Mutation, ObjectName, ProtocolError, RecordId, ServerVersion, message};

/// What the server says about a mutation that meets a concurrent change (`SyncConflict`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The object of the record.
    pub object_name: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// The mutation as the server got it.
    pub client_mutation: Mutation,
    /// The record as the server holds it; null when it was deleted.
    pub server_record: Option<Fields>,
    /// The fields on which the two differ.
    pub conflicting_fields: Vec<String>,
    /// What the server would do, where it has an idea: the merged record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested_resolution: Option<Fields>,
    /// The version of `server_record` (an extension; a plain server leaves it out).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<ServerVersion>,
}

impl Conflict {
    /// Takes a conflict out of a message.
    ///
    /// # Errors
    /// What is wrong with the first part that is.
    pub(crate) fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        let required = |key| json.required(key);
        let names = required("\"conflictingFields\"")?.array("conflictingFields")?;
        Ok(Self {
            object_name: required("\"objectName\"")?.object_name("objectName")?,
            record_id: required("\"recordId\"")?.record_id()?,
            client_mutation: Mutation::from_json(required("\"clientMutation\"")?)?,
            server_record: message::fields(json.member("\"serverRecord\""))?,
            conflicting_fields: names
                .map(|name| name.text("conflictingFields").map(std::borrow::Cow::into_owned))
                .collect::<Result<_, _>>()?,
            suggested_resolution: message::fields(json.member("\"suggestedResolution\""))?,
            server_version: json
                .member("\"serverVersion\"")
                .map(|version| version.integer("serverVersion", ServerVersion::new))
                .transpose()?,
        })
    }
}
