//! The things that must not be mixed up: ids, names, versions, positions.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::json::normalise;
use crate::{Json, MAX_CHECKPOINT_BYTES, MAX_ID_BYTES, MAX_NAME_BYTES, MAX_SAFE_INTEGER, ProtocolError};

/// A string type that is checked when it is made, also from JSON.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// The code that goes with the kind of name or id.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, ProtocolError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text.as_ref()).map_err(de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_string! {
    /// The name of an object (a table, elsewhere): a letter or `_`, then letters, digits and `_`, 128 bytes at most.
    ObjectName, check_name
}
checked_string! {
    /// Who writes: one per local database, made by the client, 1 to 256 bytes.
    ClientId, check_id
}
checked_string! {
    /// A place in the server's order of changes. Only its server can read it; 1 to 4,096 bytes.
    Checkpoint, check_checkpoint
}

fn check_name(text: &str) -> Result<(), ProtocolError> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if starts_well && goes_on_well && text.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let shown: String = text.chars().take(40).collect();
    Err(ProtocolError::InvalidName(format!(
        "the object name {shown:?} must be a letter or _ followed by letters, digits or _, {MAX_NAME_BYTES} bytes at most"
    )))
}

fn check_id(text: &str) -> Result<(), ProtocolError> {
    if !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.as_bytes().contains(&0) {
        return Ok(());
    }
    Err(ProtocolError::InvalidId(format!("an id must have 1 to {MAX_ID_BYTES} bytes and no U+0000")))
}

fn check_checkpoint(text: &str) -> Result<(), ProtocolError> {
    if !text.is_empty() && text.len() <= MAX_CHECKPOINT_BYTES {
        return Ok(());
    }
    Err(ProtocolError::InvalidMessage(format!("a checkpoint must have 1 to {MAX_CHECKPOINT_BYTES} bytes")))
}

fn no_id(text: &str) -> ProtocolError {
    ProtocolError::InvalidId(format!(
        "a record id must be a string of 1 to {MAX_ID_BYTES} bytes or a safe integer, not {}",
        text.chars().take(40).collect::<String>()
    ))
}

/// The id of a record: a non-empty string of at most 256 bytes, or a safe integer. `1` and `"1"` are two records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// A number id; within ±(2^53 - 1).
    Number(i64),
    /// A string id.
    String(Arc<str>),
}

impl RecordId {
    /// Checks and takes a string id.
    ///
    /// # Errors
    /// `INVALID_ID`
    pub fn string(text: impl Into<Arc<str>>) -> Result<Self, ProtocolError> {
        let text = text.into();
        check_id(&text)?;
        Ok(Self::String(text))
    }

    /// Checks and takes a number id.
    ///
    /// # Errors
    /// `INVALID_ID` outside the safe integers.
    pub fn number(number: i64) -> Result<Self, ProtocolError> {
        if number.unsigned_abs() <= MAX_SAFE_INTEGER {
            return Ok(Self::Number(number));
        }
        Err(ProtocolError::InvalidId(format!("the record id {number} is not a safe integer")))
    }

    /// Reads an id from JSON text.
    ///
    /// # Errors
    /// `INVALID_ID`
    pub fn parse_json(text: &str) -> Result<Self, ProtocolError> {
        let id = normalise(text, 0).ok().and_then(|text| Self::from_json(Json::from_normalised(&text)));
        id.ok_or_else(|| no_id(text))
    }

    /// The id that a value of a normalised text must be.
    ///
    /// # Errors
    /// `INVALID_ID`
    pub fn from_value(json: Json<'_>) -> Result<Self, ProtocolError> {
        Self::from_json(json).ok_or_else(|| no_id(json.as_str()))
    }

    /// The id that a value of a normalised text is, if it is one.
    #[must_use]
    pub fn from_json(json: Json<'_>) -> Option<Self> {
        match json.as_text() {
            Some(text) => Self::string(text.as_ref()).ok(),
            None => Self::number(json.as_str().parse().ok()?).ok(),
        }
    }

    /// The id as JSON text, in the normalised form of [`Fields`](crate::Fields).
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::String(text) => crate::quoted(text),
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_json())
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return match self {
                Self::Number(number) => serializer.serialize_i64(*number),
                Self::String(text) => serializer.serialize_str(text),
            };
        }
        match self {
            Self::Number(number) => (Some(*number), "").serialize(serializer),
            Self::String(text) => (None::<i64>, &**text).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(RecordIdVisitor);
        }
        match <(Option<i64>, &str)>::deserialize(deserializer)? {
            (Some(number), _) => Self::number(number),
            (None, text) => Self::string(text),
        }
        .map_err(de::Error::custom)
    }
}

struct RecordIdVisitor;

impl Visitor<'_> for RecordIdVisitor {
    type Value = RecordId;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record id: a non-empty string or a safe integer")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RecordId, E> {
        RecordId::string(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<RecordId, E> {
        RecordId::number(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<RecordId, E> {
        i64::try_from(number)
            .map_err(|_| E::custom("a record id must be a safe integer"))
            .and_then(|number| self.visit_i64(number))
    }

    #[expect(clippy::cast_possible_truncation, reason = "integral and in range: exact")]
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<RecordId, E> {
        // A browser may write 1e3 for 1000, and other servers 1.0 for 1.
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0 {
            return self.visit_i64(number as i64);
        }
        Err(E::custom("a record id must be a safe integer"))
    }
}

/// Which record: the object and the id in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The object the record belongs to.
    pub object: ObjectName,
    /// The record's id within the object.
    pub id: RecordId,
}

/// The id of a mutation: a UUID of version 7, made when the mutation is recorded and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MutationId(Uuid);

impl MutationId {
    /// Makes an id from a time (milliseconds since 1970) and ten random bytes.
    #[must_use]
    pub fn new(millis: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// `INVALID_ID` when it is no UUID of version 7 in its usual form with hyphens.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 && uuid.get_version_num() == 7 => Ok(Self(uuid)),
            _ => Err(ProtocolError::InvalidId("a mutation id must be a UUID of version 7".to_owned())),
        }
    }

    /// The 16 bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The time in the id, in milliseconds since 1970.
    #[must_use]
    pub fn millis(&self) -> u64 {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().skip(2).zip(self.0.as_bytes()) {
            *to = *from;
        }
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for MutationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl Serialize for MutationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MutationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            return Self::parse(&text).map_err(de::Error::custom);
        }
        Uuid::deserialize(deserializer).map(Self)
    }
}

/// An integer from 0 to 2^53 - 1 with a meaning.
macro_rules! safe_integer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The largest: nothing comes after it.
            pub const MAX: Self = Self(MAX_SAFE_INTEGER);

            /// Checks and takes a number.
            ///
            /// # Errors
            /// `INVALID_VALUE` above 2^53 - 1.
            pub fn new(number: u64) -> Result<Self, ProtocolError> {
                if number <= MAX_SAFE_INTEGER {
                    return Ok(Self(number));
                }
                Err(ProtocolError::InvalidValue(format!("{number} is above the largest safe integer")))
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

safe_integer! {
    /// The place of a mutation in its client's order: 1 for the first, never used twice.
    Sequence
}
safe_integer! {
    /// The version a server gave to a record's state. Higher is later for one record of one server.
    ServerVersion
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_the_text_one_are_two_records() {
        let number = RecordId::parse_json("1").unwrap();
        assert_eq!(number, RecordId::parse_json("1.0").unwrap());
        assert_ne!(number, RecordId::parse_json("\"1\"").unwrap());
        assert_eq!(number.to_json(), "1");
    }

    #[test]
    fn ids_outside_the_rules_are_refused() {
        let long = format!("\"{}\"", "x".repeat(257));
        for text in [
            "\"\"",
            "null",
            "true",
            "1.5",
            "9007199254740992",
            "-1e300",
            "[]",
            "{}",
            r#""a\u0000""#,
            r#""\ud800""#,
            &long,
        ] {
            assert_eq!(RecordId::parse_json(text).unwrap_err().code(), "INVALID_ID", "{text}");
        }
        for text in ["018f4e6e-7c00-4000-8000-000000000000", "018f4e6e7c0070008000000000000000", "", "x"] {
            assert_eq!(MutationId::parse(text).unwrap_err().code(), "INVALID_ID", "{text}");
        }
        for text in ["", "1a", "a-b", "a b", "ä", "a;--", &"a".repeat(129)] {
            assert_eq!(ObjectName::new(text).unwrap_err().code(), "INVALID_NAME", "{text}");
        }
        assert!(ObjectName::new("__proto__").is_ok());
    }

    #[test]
    fn a_mutation_id_keeps_its_time() {
        let id = MutationId::new(1_764_000_000_123, [0xff; 10]);
        assert_eq!(id.millis(), 1_764_000_000_123);
        assert_eq!(MutationId::parse(&id.to_string()).unwrap(), id);
    }
}
