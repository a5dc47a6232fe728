//! JSON text in the one form that both ends store and compare.
//!
//! *Normalised* means: no white space, strings escaped only where they must be, and numbers as doubles (what a browser makes of
//! them) with integral ones up to 2^53 written without a fraction. Two scalars are then equal exactly when their texts are, and
//! a field is found by walking the text without parsing it.
//!
//! Reading JSON into that form is the hottest path there is, on both ends and at the boundary of the wasm, and what it refuses
//! is a rule of the protocol. So it is one pass of our own, tested against `serde_json`, rather than a tree of another crate's
//! that is built to be walked once.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::ProtocolError;
use crate::number::parse_number;
use crate::scan::{plain_end, text_end};

/// The largest integer up to which every integer is a double: 2^53.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// A number of so many digits is told from all others of so many by its double (C's `DBL_DIG`), and stays as it is written.
const DIGITS_ALWAYS_EXACT: usize = 15;

/// From this many keys on, duplicates are looked for in a set rather than by comparing each with each.
const KEYS_COMPARED_ONE_BY_ONE: usize = 24;

/// Reads JSON into normalised form; nothing may follow the value but white space. What is in that form already is given back.
///
/// # Errors
/// `INVALID_JSON` (also for a lone surrogate and a number outside the range of a double), `INVALID_VALUE` (U+0000, a field given
/// twice), `VALUE_TOO_DEEP` beyond `max_depth` levels of arrays and objects.
pub fn normalise(text: &str, max_depth: usize) -> Result<Cow<'_, str>, ProtocolError> {
    let mut reader = Reader::new(text);
    reader.value(max_depth)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.unexpected());
    }
    if reader.kept == 0 {
        return Ok(Cow::Borrowed(text));
    }
    reader.keep(text.len());
    Ok(Cow::Owned(reader.out))
}

/// A place in the text that is read. Most of what is read is in normalised form: it is copied run by run, where something else
/// comes between.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Up to here the text is in `out`.
    kept: usize,
    out: String,
    /// The keys of the objects around the place, one object after the other.
    keys: Vec<Key>,
}

/// A key, as JSON text: where it is in the text, or in `out` if it was written otherwise there.
#[derive(Clone, Copy)]
struct Key {
    is_rewritten: bool,
    from: usize,
    to: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, kept: 0, out: String::new(), keys: Vec::new() }
    }

    /// Copies what stands before a place and is not copied yet.
    fn keep(&mut self, end: usize) {
        if self.out.is_empty() {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(self.text.get(self.kept..end).unwrap_or_default());
        self.kept = end;
    }

    /// Puts something in the place of what was just read, unless it is the same.
    fn replace(&mut self, start: usize, normalised: &str) {
        if self.text.get(start..self.at) != Some(normalised) {
            self.keep(start);
            self.out.push_str(normalised);
            self.kept = self.at;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        if !matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            return;
        }
        self.keep(self.at);
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
        self.kept = self.at;
    }

    fn unexpected(&self) -> ProtocolError {
        ProtocolError::InvalidJson(match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("unexpected {found:?} at byte {}", self.at),
            None => "the text ends in the middle".to_owned(),
        })
    }

    /// Goes past a byte that must be there.
    fn expect(&mut self, byte: u8) -> Result<(), ProtocolError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn value(&mut self, levels_left: usize) -> Result<(), ProtocolError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(levels_left),
            Some(b'[') => self.array(levels_left),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), ProtocolError> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    fn array(&mut self, levels_left: usize) -> Result<(), ProtocolError> {
        let levels_left = levels_left.checked_sub(1).ok_or(ProtocolError::ValueTooDeep)?;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value(levels_left)?;
                if self.is_end(b']')? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn object(&mut self, levels_left: usize) -> Result<(), ProtocolError> {
        let levels_left = levels_left.checked_sub(1).ok_or(ProtocolError::ValueTooDeep)?;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let first = self.keys.len();
        let mut many = HashSet::new();
        loop {
            self.skip_space();
            self.key(first, &mut many)?;
            self.skip_space();
            self.expect(b':')?;
            self.value(levels_left)?;
            if self.is_end(b'}')? {
                break;
            }
        }
        self.keys.truncate(first);
        Ok(())
    }

    /// Reads a key that is none of those since the first of its object.
    fn key(&mut self, first: usize, many: &mut HashSet<String>) -> Result<(), ProtocolError> {
        let start = self.at;
        let start_in_out = self.out.len() + (start - self.kept);
        self.string()?;
        let mut key = Key { is_rewritten: false, from: start, to: self.at };
        if self.kept > start {
            self.keep(self.at);
            key = Key { is_rewritten: true, from: start_in_out, to: self.out.len() };
        }
        let (all, text) = (self.keys.get(first..).unwrap_or_default(), self.key_text(key));
        let is_new = if all.len() < KEYS_COMPARED_ONE_BY_ONE {
            all.iter().all(|&other| self.key_text(other) != text)
        } else {
            let owned = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
            if many.is_empty() {
                many.extend(all.iter().map(|&other| owned(self.key_text(other))));
            }
            many.insert(owned(text))
        };
        if !is_new {
            let key = String::from_utf8_lossy(text);
            return Err(ProtocolError::InvalidValue(format!("the field {key} is given more than once")));
        }
        self.keys.push(key);
        Ok(())
    }

    fn key_text(&self, key: Key) -> &[u8] {
        let text = if key.is_rewritten { self.out.as_bytes() } else { self.text.as_bytes() };
        text.get(key.from..key.to).unwrap_or_default()
    }

    /// Goes past a comma, or past the end of the array or object.
    fn is_end(&mut self, end: u8) -> Result<bool, ProtocolError> {
        self.skip_space();
        if self.peek() == Some(b',') {
            self.at += 1;
            return Ok(false);
        }
        self.expect(end).map(|()| true)
    }

    fn string(&mut self) -> Result<(), ProtocolError> {
        self.expect(b'"')?;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ProtocolError> {
        let start = self.at;
        self.at += 1;
        let char = self.escaped()?;
        if char == '\0' {
            return Err(ProtocolError::InvalidValue("a string contains U+0000".to_owned()));
        }
        let mut normalised = String::new();
        push_char(&mut normalised, char);
        self.replace(start, &normalised);
        Ok(())
    }

    /// The character that an escape stands for; the place is after the backslash.
    fn escaped(&mut self) -> Result<char, ProtocolError> {
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(char)
    }

    /// The character of four hexadecimal digits, or of a pair of surrogates.
    fn unicode(&mut self) -> Result<char, ProtocolError> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.text.get(self.at..self.at + 2) == Some("\\u")
        {
            self.at += 2;
            let second = self.hex()?.wrapping_sub(0xdc00);
            if second < 0x400 { 0x10000 + ((first - 0xd800) << 10) + second } else { first }
        } else {
            first
        };
        char::from_u32(code)
            .ok_or_else(|| ProtocolError::InvalidJson("a string has a lone surrogate".to_owned()))
    }

    fn hex(&mut self) -> Result<u32, ProtocolError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.unexpected())?;
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<(), ProtocolError> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let leads_with_zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if leads_with_zero && digits > 1 {
            self.at = start;
            return Err(self.unexpected());
        }
        let mut is_plain = !(is_negative && leads_with_zero) && digits <= DIGITS_ALWAYS_EXACT;
        if self.peek() == Some(b'.') {
            self.at += 1;
            let fraction = self.at;
            let digits = digits + self.digits()?;
            let fraction = self.text.as_bytes().get(fraction..self.at).unwrap_or_default();
            // Then there is no shorter way to write this double, and none that is preferred to it.
            is_plain = digits <= DIGITS_ALWAYS_EXACT
                && fraction.last() != Some(&b'0')
                && !(leads_with_zero && fraction.starts_with(b"000"));
        }
        if let Some(b'e' | b'E') = self.peek() {
            is_plain = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if is_plain {
            return Ok(());
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let number = parse_number(text);
        if !number.is_finite() {
            let start = text.get(..40).unwrap_or(text);
            return Err(ProtocolError::InvalidJson(format!("the number {start} is out of range")));
        }
        self.replace(start, &number_text(number));
        Ok(())
    }

    /// Goes past digits, of which there must be one at least.
    fn digits(&mut self) -> Result<usize, ProtocolError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected()) } else { Ok(self.at - start) }
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
        if let Some(char) = chars.next() {
            push_char(out, char);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends a character as it stands in a JSON string.
fn push_char(out: &mut String, char: char) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        control if control < ' ' => {
            let code = control as usize;
            out.push_str("\\u00");
            out.push(HEX.get(code >> 4).copied().unwrap_or('0'));
            out.push(HEX.get(code & 15).copied().unwrap_or('0'));
        }
        plain => out.push(plain),
    }
}

/// The normalised JSON text of a number; null for one that JSON cannot hold.
#[must_use]
pub fn number_text(number: f64) -> String {
    let text = if number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53: exact")]
        let integer = number as i64;
        serde_json::to_string(&integer)
    } else {
        serde_json::to_string(&number)
    };
    text.unwrap_or_else(|_| "null".to_owned())
}

/// Writes a JSON object, property by property.
#[derive(Debug)]
pub struct ObjectText(String);

impl Default for ObjectText {
    fn default() -> Self {
        Self(String::from("{"))
    }
}

impl ObjectText {
    /// Adds a property whose value is JSON already.
    #[must_use]
    pub fn json(mut self, name: &str, value: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    /// Adds a property whose value is a string.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.json(name, &quoted(value))
    }

    /// Adds a property whose value is whatever writes itself as JSON: a number, a boolean; null when there is none.
    #[must_use]
    pub fn plain(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.json(name, &value.to_string()),
            None => self.json(name, "null"),
        }
    }

    /// The object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A JSON array of values that are JSON already.
#[must_use]
pub fn array_text(values: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for value in values {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&value);
    }
    out.push(']');
    out
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
    String(Cow<'a, str>),
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
        // Normalised scalars that are equal have equal texts: only what has an object in it can be equal and look different.
        match (self.0.as_bytes().first(), other.0.as_bytes().first()) {
            (Some(b'{'), Some(b'{')) => {
                self.members().count() == other.members().count()
                    && self.members().all(|(key, value)| {
                        find_member(other.0, key).is_some_and(|other| value.deep_equals(other))
                    })
            }
            (Some(b'['), Some(b'[')) => {
                let mut theirs = other.elements();
                self.elements().all(|mine| theirs.next().is_some_and(|theirs| mine.deep_equals(theirs)))
                    && theirs.next().is_none()
            }
            _ => false,
        }
    }

    /// The value of the member whose name has the JSON text `key` (see [`quoted`]); null counts as absent.
    #[must_use]
    pub fn member(self, key: &str) -> Option<Self> {
        self.members().find(|(name, _)| *name == key).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The text of a string.
    #[must_use]
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        match self.scalar() {
            Scalar::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a whole number from 0 to 2^53 - 1.
    #[must_use]
    pub fn as_safe_integer(self) -> Option<u64> {
        self.0.parse().ok().filter(|number| *number <= crate::MAX_SAFE_INTEGER)
    }

    /// The value as a scalar, or [`Scalar::Nested`].
    #[must_use]
    pub fn scalar(self) -> Scalar<'a> {
        match self.0.as_bytes().first() {
            Some(b'"') => Scalar::String(unescape(self.0)),
            Some(b't') => Scalar::Bool(true),
            Some(b'f') => Scalar::Bool(false),
            Some(b'{' | b'[') => Scalar::Nested(self),
            Some(b'-' | b'0'..=b'9') => Scalar::Number(parse_number(self.0)),
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

/// The text of a normalised JSON string.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut reader = Reader::new(inner);
    while let Some(at) = inner.get(reader.at..).and_then(|rest| rest.find('\\')) {
        reader.at += at;
        reader.keep(reader.at);
        reader.at += 1;
        let Ok(char) = reader.escaped() else { break };
        reader.out.push(char);
        reader.kept = reader.at;
    }
    reader.keep(inner.len());
    Cow::Owned(reader.out)
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
    let (bytes, key) = (text.as_bytes(), key.as_bytes());
    let mut at = 1;
    loop {
        if bytes.get(at)? != &b'"' {
            return None;
        }
        let key_end = skip_string(bytes, at)?;
        let value_end = skip_value(bytes, key_end + 1)?;
        if bytes.get(at..key_end)? == key {
            return text.get(key_end + 1..value_end).map(Json);
        }
        at = value_end + 1;
    }
}

/// The place just after the string that starts at `at`.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i = text_end(bytes, i);
        if bytes.get(i)? == &b'"' {
            return Some(i + 1);
        }
        i += 2;
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
