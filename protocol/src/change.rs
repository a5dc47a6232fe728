//! One change that the server tells its clients: `SyncServerChange` on the wire.

use serde::Serialize;

use crate::{
    Fields, Json, ObjectName, Operation, ProtocolError, RecordId, ServerVersion, Timestamp, message,
};

/// One change of a record on the server (`SyncServerChange`). Changes of a record are applied in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerChange {
    /// The object of the record.
    pub object_name: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// What happened to it.
    pub operation: Operation,
    /// All fields for a create, the changed ones for an update, absent for a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Fields>,
    /// The version of the record after the change.
    pub server_version: ServerVersion,
    /// When it happened, by the server.
    pub timestamp: Timestamp,
}

impl ServerChange {
    /// Takes a change out of a message.
    ///
    /// # Errors
    /// What is wrong with the first part that is.
    pub(crate) fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        let required = |key| json.required(key);
        let change = Self {
            object_name: required("\"objectName\"")?.object_name("objectName")?,
            record_id: required("\"recordId\"")?.record_id()?,
            operation: required("\"operation\"")?.operation()?,
            data: message::fields(json.member("\"data\""))?,
            server_version: required("\"serverVersion\"")?.integer("serverVersion", ServerVersion::new)?,
            timestamp: required("\"timestamp\"")?.timestamp("timestamp")?,
        };
        change.check()?;
        Ok(change)
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// `INVALID_MESSAGE`
    pub fn check(&self) -> Result<(), ProtocolError> {
        let wrong = |text: &str| Err(ProtocolError::InvalidMessage(text.to_owned()));
        match &self.data {
            None if self.operation != Operation::Delete => wrong("a server change without data"),
            Some(data) if data.get("id").is_some_and(|id| id.as_str() != self.record_id.to_json()) => {
                wrong("a server change whose data has another id")
            }
            _ => Ok(()),
        }
    }
}
