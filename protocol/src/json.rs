//! JSON text in the one form that both ends store and compare.
//!
//! *Normalised* means: no white space, strings escaped the way `serde_json` does it, and numbers as doubles (what a
//! browser makes of them) with integral ones up to 2^53 written without a fraction. Two scalars are then equal exactly
//! when their texts are, and a field is found by walking the text without parsing it.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{MAX_DEPTH, MAX_FIELDS_BYTES, ProtocolError};

/// The largest integer up to which every integer is a double: 2^53.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// From this many keys on, duplicates are looked for in a set rather than by comparing each with each.
const KEYS_COMPARED_ONE_BY_ONE: usize = 24;

/// Copies a JSON value into `out` in normalised form, refusing what is outside the value domain.
pub(crate) struct Normalise<'a> {
    pub(crate) out: &'a mut String,
    pub(crate) depth: usize,
    pub(crate) refused: &'a mut Option<ProtocolError>,
}

impl Normalise<'_> {
    fn refuse<E: de::Error>(&mut self, error: ProtocolError) -> E {
        let message = error.to_string();
        *self.refused = Some(error);
        E::custom(message)
    }

    fn check_size<E: de::Error>(&mut self) -> Result<(), E> {
        if self.out.len() > MAX_FIELDS_BYTES {
            Err(self.refuse(ProtocolError::ValueTooLarge))
        } else {
            Ok(())
        }
    }

    fn deeper<E: de::Error>(&mut self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            Err(self.refuse(ProtocolError::ValueTooDeep))
        } else {
            Ok(self.depth + 1)
        }
    }

    fn string<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) {
            return Err(self.refuse(ProtocolError::InvalidValue("a string contains U+0000".to_owned())));
        }
        push_string(self.out, text);
        self.check_size()
    }

    fn number<E: de::Error>(&mut self, number: f64) -> Result<(), E> {
        if !number.is_finite() {
            return Err(self.refuse(ProtocolError::InvalidJson("number out of range".to_owned())));
        }
        push_number(self.out, number);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Normalise<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Normalise<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.out.push_str("null");
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "the value domain is doubles, as in a browser")]
    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        self.number(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "the value domain is doubles, as in a browser")]
    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<(), E> {
        self.string(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.out.push('[');
        let start = self.out.len();
        loop {
            let before = self.out.len();
            if before != start {
                self.out.push(',');
            }
            let item = Normalise { out: self.out, depth, refused: self.refused };
            if seq.next_element_seed(item)?.is_none() {
                self.out.truncate(before);
                break;
            }
            self.check_size()?;
        }
        self.out.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.out.push('{');
        let mut keys = Keys::default();
        loop {
            let before = self.out.len();
            if !keys.is_empty() {
                self.out.push(',');
            }
            let start = self.out.len();
            let key = Normalise { out: self.out, depth, refused: self.refused };
            if map.next_key_seed(Key(key))?.is_none() {
                self.out.truncate(before);
                break;
            }
            if !keys.insert(self.out, start) {
                let name = self.out.get(start..).unwrap_or_default().to_owned();
                return Err(self.refuse(ProtocolError::InvalidValue(format!(
                    "the field {name} is given more than once"
                ))));
            }
            self.out.push(':');
            map.next_value_seed(Normalise { out: self.out, depth, refused: self.refused })?;
            self.check_size()?;
        }
        self.out.push('}');
        Ok(())
    }
}

/// A key of an object: a string, whatever else the deserializer could make of it.
struct Key<'a>(Normalise<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self.0)
    }
}

/// The keys of one object so far, as places in the output.
#[derive(Default)]
struct Keys {
    places: Vec<(usize, usize)>,
    set: std::collections::HashSet<String>,
}

impl Keys {
    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes in the key that stands at the end of `out`; false when it is there already.
    fn insert(&mut self, out: &str, start: usize) -> bool {
        let key = out.get(start..).unwrap_or_default();
        let is_new = if self.places.len() < KEYS_COMPARED_ONE_BY_ONE {
            self.places.iter().all(|&(from, to)| out.get(from..to) != Some(key))
        } else {
            if self.set.is_empty() {
                self.set = self
                    .places
                    .iter()
                    .filter_map(|&(from, to)| out.get(from..to))
                    .map(str::to_owned)
                    .collect();
            }
            self.set.insert(key.to_owned())
        };
        self.places.push((start, out.len()));
        is_new
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(control) => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn push_number(out: &mut String, number: f64) {
    let text = if number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53: exact")]
        let integer = number as i64;
        serde_json::to_string(&integer)
    } else {
        serde_json::to_string(&number)
    };
    out.push_str(&text.expect("a finite number can be written"));
}

/// A value as normalised JSON text, borrowed from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub(crate) &'a str);

/// What a JSON value is, as far as comparing and ordering need to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number
    Number(f64),
    /// A string, unescaped
    String(std::borrow::Cow<'a, str>),
    /// An array or an object
    Nested(Json<'a>),
}

impl<'a> Json<'a> {
    /// Takes text that is in normalised form already, such as a part of [`Fields`](crate::Fields).
    #[must_use]
    pub const fn from_normalised(text: &'a str) -> Self {
        Self(text)
    }

    /// The members of an object: each name as its JSON text, each value; nothing for any other value.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        members(if self.0.starts_with('{') { self.0 } else { "{}" })
    }

    /// The JSON text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the value is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether two values are equal by deep comparison; the order of an object's fields does not matter.
    #[must_use]
    pub fn deep_equals(self, other: Json<'_>) -> bool {
        if self.0 == other.0 {
            return true;
        }
        // Normalised scalars that are equal have equal texts: only objects can be equal and look different.
        if !(self.0.contains('{') && other.0.contains('{')) {
            return false;
        }
        let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
        match (parse(self.0), parse(other.0)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }

    /// The value as a scalar, or [`Scalar::Nested`].
    #[must_use]
    pub fn scalar(self) -> Scalar<'a> {
        match self.0.as_bytes().first() {
            Some(b'"') => Scalar::String(unescape(self.0)),
            Some(b't') => Scalar::Bool(true),
            Some(b'f') => Scalar::Bool(false),
            Some(b'{' | b'[') => Scalar::Nested(self),
            Some(b'-' | b'0'..=b'9') => serde_json::from_str(self.0).map_or(Scalar::Null, Scalar::Number),
            _ => Scalar::Null,
        }
    }

    /// The value of the field `name` if this is an object, or of the element at that index if it is an array.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Self> {
        match self.0.as_bytes().first() {
            Some(b'{') => find_member(self.0, &quoted(name)),
            Some(b'[') => {
                let index: usize = name.parse().ok()?;
                self.elements().nth(index)
            }
            _ => None,
        }
    }

    /// The elements of an array; nothing for any other value.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let text = self.0;
        let mut at = if text.starts_with('[') { 1 } else { text.len() };
        std::iter::from_fn(move || {
            if text.as_bytes().get(at)? == &b']' {
                return None;
            }
            let end = skip_value(text.as_bytes(), at)?;
            let item = text.get(at..end)?;
            at = if text.as_bytes().get(end) == Some(&b',') { end + 1 } else { end };
            Some(Json(item))
        })
    }
}

/// The normalised JSON text of a string: what a key looks like inside a record.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if inner.contains('\\') {
        std::borrow::Cow::Owned(serde_json::from_str(text).unwrap_or_default())
    } else {
        std::borrow::Cow::Borrowed(inner)
    }
}

/// The members of a normalised object: each key as its JSON string, each value as text.
pub(crate) fn members(text: &str) -> impl Iterator<Item = (&str, Json<'_>)> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        if bytes.get(at)? != &b'"' {
            return None;
        }
        let key_end = skip_string(bytes, at)?;
        let value_end = skip_value(bytes, key_end + 1)?;
        let member = (text.get(at..key_end)?, Json(text.get(key_end + 1..value_end)?));
        at = value_end + 1;
        Some(member)
    })
}

/// The value of the member whose key has the JSON text `key`.
pub(crate) fn find_member<'a>(text: &'a str, key: &str) -> Option<Json<'a>> {
    members(text).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The place just after the string that starts at `at`.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match bytes.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// The place just after the value that starts at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut i = at;
            loop {
                match bytes.get(i)? {
                    b'"' => {
                        i = skip_string(bytes, i)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                i += 1;
            }
        }
        _ => {
            let mut i = at;
            while !matches!(bytes.get(i), None | Some(b',' | b'}' | b']')) {
                i += 1;
            }
            Some(i)
        }
    }
}
