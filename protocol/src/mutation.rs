//! One change that a client wants: `MutationLogEntry` on the wire.

use serde::{Deserialize, Serialize, Serializer, ser};
use serde_json::value::RawValue;

use crate::json::normalise;
use crate::{
    ClientId, Fields, Json, MAX_DEPTH, MutationId, ObjectName, ObjectText, ProtocolError, RecordId,
    RecordKey, Sequence, ServerVersion, Timestamp, message,
};

/// What a mutation or a change does to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Makes a record; carries all of its fields.
    Create,
    /// Changes some fields; carries only those.
    Update,
    /// Removes the record; carries nothing.
    Delete,
}

impl Operation {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Serialize for Mutation {
    /// Writes it as [`Mutation::to_json`] does; for messages that contain one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// One change that a client made (`MutationLogEntry`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Identity: a repeat of it has no second effect.
    pub id: MutationId,
    /// The object of the record.
    pub object_name: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// What is done to it.
    pub operation: Operation,
    /// All fields for a create, the changed ones for an update, absent for a delete.
    pub data: Option<Fields>,
    /// When the client recorded it, by its hybrid clock.
    pub timestamp: Timestamp,
    /// Who recorded it.
    pub client_id: ClientId,
    /// Its place in the client's order.
    pub sequence: Sequence,
    /// The version the client saw when it made the change; none when it knew no version of the record.
    pub base_version: Option<ServerVersion>,
}

impl Mutation {
    /// Reads one mutation from JSON.
    ///
    /// # Errors
    /// `INVALID_MUTATION`, with what is wrong.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        normalise(text, MAX_DEPTH + 1)
            .and_then(|text| Self::from_json(Json::from_normalised(&text)))
            .map_err(|error| ProtocolError::InvalidMutation(error.to_string()))
    }

    /// Takes a mutation out of a larger text that is normalised.
    ///
    /// # Errors
    /// What is wrong with the first part that is.
    pub(crate) fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        let required = |key| json.required(key);
        let mutation = Self {
            id: required("\"id\"")?.mutation_id("id")?,
            object_name: required("\"objectName\"")?.object_name("objectName")?,
            record_id: required("\"recordId\"")?.record_id()?,
            operation: required("\"operation\"")?.operation()?,
            data: message::fields(json.member("\"data\""))?,
            timestamp: required("\"timestamp\"")?.timestamp("timestamp")?,
            client_id: required("\"clientId\"")?.client_id("clientId")?,
            sequence: required("\"sequence\"")?.integer("sequence", Sequence::new)?,
            base_version: json
                .member("\"baseVersion\"")
                .map(|version| version.integer("baseVersion", ServerVersion::new))
                .transpose()?,
        };
        mutation.check()?;
        Ok(mutation)
    }

    /// Checks that the parts fit together: data where the operation wants it, and no other id inside it.
    ///
    /// # Errors
    /// `INVALID_MUTATION`
    pub fn check(&self) -> Result<(), ProtocolError> {
        let wrong = |text: &str| Err(ProtocolError::InvalidMutation(text.to_owned()));
        match (self.operation, &self.data) {
            (Operation::Delete, Some(_)) => return wrong("a delete carries no data"),
            (Operation::Create | Operation::Update, None) => return wrong("a create or update needs data"),
            _ => {}
        }
        let inner_id = self.data.as_ref().and_then(|data| data.get("id"));
        if inner_id.is_some_and(|id| id.as_str() != self.record_id.to_json()) {
            return wrong("the id inside data is not the recordId");
        }
        Ok(())
    }

    /// The mutation as it goes over the wire.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = ObjectText::default()
            .text("id", &self.id.to_string())
            .text("objectName", self.object_name.as_str())
            .json("recordId", &self.record_id.to_json())
            .text("operation", self.operation.as_str());
        if let Some(data) = &self.data {
            object = object.json("data", data.as_str());
        }
        object
            .text("timestamp", &self.timestamp.to_string())
            .text("clientId", self.client_id.as_str())
            .plain("sequence", Some(self.sequence))
            .plain("baseVersion", self.base_version)
            .finish()
    }

    /// Which record this is about.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey { object: self.object_name.clone(), id: self.record_id.clone() }
    }
}
