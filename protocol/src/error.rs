//! What can be wrong with a value, a name or a message, each with a stable code.

use thiserror::Error;

/// A value, name or message that the protocol refuses.
///
/// The `Display` text is for people and says what to do; [`code`](Self::code) is for programs and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The text is not JSON, or holds a lone surrogate or a number outside the range of a double.
    #[error("not valid JSON: {0}")]
    InvalidJson(String),
    /// A value outside the domain of records, such as a string with U+0000 or a field given twice.
    #[error("{0}")]
    InvalidValue(String),
    /// A value is nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("a value is nested deeper than {} levels", crate::MAX_DEPTH)]
    ValueTooDeep,
    /// A record's JSON text is longer than [`MAX_FIELDS_BYTES`](crate::MAX_FIELDS_BYTES).
    #[error("a record's JSON text is longer than {} bytes", crate::MAX_FIELDS_BYTES)]
    ValueTooLarge,
    /// A record id is not a non-empty string of at most 256 bytes, nor a safe integer.
    #[error("{0}")]
    InvalidId(String),
    /// An object or field name does not follow the rules for names.
    #[error("{0}")]
    InvalidName(String),
    /// A mutation's parts do not fit together.
    #[error("{0}")]
    InvalidMutation(String),
    /// A request or an answer as a whole does not have the shape of the wire format.
    #[error("{0}")]
    InvalidMessage(String),
    /// An object definition or a sync configuration is not valid.
    #[error("{0}")]
    InvalidDefinition(String),
}

impl ProtocolError {
    /// The stable code of this error, as programs on both ends see it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) => "INVALID_JSON",
            Self::InvalidValue(_) => "INVALID_VALUE",
            Self::ValueTooDeep => "VALUE_TOO_DEEP",
            Self::ValueTooLarge => "VALUE_TOO_LARGE",
            Self::InvalidId(_) => "INVALID_ID",
            Self::InvalidName(_) => "INVALID_NAME",
            Self::InvalidMutation(_) => "INVALID_MUTATION",
            Self::InvalidMessage(_) => "INVALID_MESSAGE",
            Self::InvalidDefinition(_) => "INVALID_DEFINITION",
        }
    }
}
