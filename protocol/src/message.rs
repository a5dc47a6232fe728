//! Reading the wire's objects out of normalised text.

use std::borrow::Cow;
use std::str::FromStr;

use crate::json::{Json, normalise};
use crate::{
    Checkpoint, ClientId, Fields, MAX_DEPTH, MutationId, ObjectName, Operation, ProtocolError, RecordId,
    Timestamp,
};

/// How deep a message may be: a record inside a conflict's mutation inside a result inside the list of results.
const MAX_MESSAGE_DEPTH: usize = MAX_DEPTH + 5;

/// A message as normalised text.
///
/// # Errors
/// As [`normalise`](crate::normalise), and `INVALID_JSON` for bytes that are no UTF-8.
pub(crate) fn read(body: &[u8]) -> Result<Cow<'_, str>, ProtocolError> {
    let text = std::str::from_utf8(body).map_err(|error| ProtocolError::InvalidJson(error.to_string()))?;
    normalise(text, MAX_MESSAGE_DEPTH)
}

/// The values that a message is made of, each told by the name of its property when it is wrong.
impl<'a> Json<'a> {
    pub(crate) fn required(self, key: &str) -> Result<Self, ProtocolError> {
        self.member(key)
            .ok_or_else(|| ProtocolError::InvalidMessage(format!("the property {key} is missing")))
    }

    /// The elements of an array.
    pub(crate) fn array(self, key: &str) -> Result<impl Iterator<Item = Self> + use<'a>, ProtocolError> {
        if self.as_str().starts_with('[') { Ok(self.elements()) } else { Err(wrong(key)) }
    }

    pub(crate) fn text(self, key: &str) -> Result<std::borrow::Cow<'a, str>, ProtocolError> {
        self.as_text().ok_or_else(|| wrong(key))
    }

    /// A whole number with a meaning, such as a version.
    pub(crate) fn integer<T>(
        self,
        key: &str,
        make: fn(u64) -> Result<T, ProtocolError>,
    ) -> Result<T, ProtocolError> {
        make(self.as_safe_integer().ok_or_else(|| wrong(key))?)
    }

    pub(crate) fn boolean(self, key: &str) -> Result<bool, ProtocolError> {
        bool::from_str(self.as_str()).map_err(|_| wrong(key))
    }

    pub(crate) fn object_name(self, key: &str) -> Result<ObjectName, ProtocolError> {
        ObjectName::new(self.text(key)?.as_ref())
    }

    pub(crate) fn client_id(self, key: &str) -> Result<ClientId, ProtocolError> {
        ClientId::new(self.text(key)?.as_ref())
    }

    pub(crate) fn mutation_id(self, key: &str) -> Result<MutationId, ProtocolError> {
        MutationId::parse(&self.text(key)?)
    }

    pub(crate) fn checkpoint(self, key: &str) -> Result<Checkpoint, ProtocolError> {
        Checkpoint::new(self.text(key)?.as_ref())
    }

    pub(crate) fn timestamp(self, key: &str) -> Result<Timestamp, ProtocolError> {
        Timestamp::parse(&self.text(key)?)
    }

    pub(crate) fn record_id(self) -> Result<RecordId, ProtocolError> {
        RecordId::from_json(self).ok_or_else(|| {
            ProtocolError::InvalidId(
                "recordId must be a string of 1 to 256 bytes or a safe integer".to_owned(),
            )
        })
    }

    pub(crate) fn operation(self) -> Result<Operation, ProtocolError> {
        match self.as_str() {
            "\"create\"" => Ok(Operation::Create),
            "\"update\"" => Ok(Operation::Update),
            "\"delete\"" => Ok(Operation::Delete),
            other => Err(ProtocolError::InvalidMessage(format!("there is no operation {other}"))),
        }
    }
}

/// The fields of a property that may be absent or null.
pub(crate) fn fields(json: Option<Json<'_>>) -> Result<Option<Fields>, ProtocolError> {
    json.map(Fields::from_json).transpose()
}

fn wrong(key: &str) -> ProtocolError {
    ProtocolError::InvalidMessage(format!("the property {key} has a wrong type or value"))
}
