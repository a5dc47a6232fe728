//! The fields of a record, as one piece of normalised JSON text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::json::{Json, find_member, members, normalise, quoted, unescape};
use crate::{MAX_DEPTH, MAX_FIELDS_BYTES, ProtocolError};

/// The fields of a record, or of a change to one: a JSON object, checked and in normalised form.
///
/// Cheap to clone. Whatever holds a `Fields` need not validate again: depth, size, strings and numbers are inside
/// the value domain both ends share. Fields keep the order in which they were given.
///
/// ```
/// use objectql_sync_protocol::Fields;
/// let story = Fields::parse(r#"{ "title": "Ship it", "points": 3.0 }"#)?;
/// assert_eq!(story.as_str(), r#"{"title":"Ship it","points":3}"#);
/// let patch = Fields::parse(r#"{"points":5}"#)?;
/// assert_eq!(story.merged(&patch).as_str(), r#"{"title":"Ship it","points":5}"#);
/// # Ok::<(), objectql_sync_protocol::ProtocolError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Fields(Arc<str>);

impl Fields {
    /// No fields: `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from("{}"))
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    /// `INVALID_JSON`, `INVALID_VALUE` (not an object, U+0000, a field given twice), `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        if text.len() > MAX_FIELDS_BYTES * 2 {
            return Err(ProtocolError::ValueTooLarge);
        }
        Self::from_normalised(normalise(text, MAX_DEPTH)?).and_then(Self::within_size)
    }

    /// Takes an object out of a larger text that is normalised.
    ///
    /// # Errors
    /// `INVALID_VALUE` when it is no object, `VALUE_TOO_LARGE`. The depth is that text's affair.
    pub fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        Self::from_normalised(json.as_str()).and_then(Self::within_size)
    }

    fn within_size(self) -> Result<Self, ProtocolError> {
        if self.0.len() > MAX_FIELDS_BYTES { Err(ProtocolError::ValueTooLarge) } else { Ok(self) }
    }

    /// Takes text that [`as_str`](Self::as_str) once gave, such as what a database kept of it.
    ///
    /// # Errors
    /// `INVALID_VALUE` when it is no object. The inside is not checked again.
    pub fn from_normalised(text: impl Into<Arc<str>>) -> Result<Self, ProtocolError> {
        let text = text.into();
        if text.starts_with('{') && text.ends_with('}') {
            Ok(Self(text))
        } else {
            Err(ProtocolError::InvalidValue("a record must be a JSON object".to_owned()))
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 2
    }

    /// The value of the field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Json<'_>> {
        find_member(&self.0, &quoted(name))
    }

    /// The value of the field whose name has the JSON text `key` (see [`quoted`]): saves quoting it for every record.
    #[must_use]
    pub fn get_quoted(&self, key: &str) -> Option<Json<'_>> {
        find_member(&self.0, key)
    }

    /// The fields in order: each name as its JSON text, each value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Json<'_>)> {
        members(&self.0)
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.iter().map(|(key, _)| unescape(key).into_owned())
    }

    /// These fields with those of `patch` over them; fields that are new come last.
    #[must_use]
    pub fn merged(&self, patch: &Self) -> Self {
        if self.is_empty() {
            return patch.clone();
        }
        let mut out = Builder::with_capacity(self.0.len() + patch.0.len());
        for (key, value) in self.iter() {
            out.push(key, find_member(&patch.0, key).unwrap_or(value));
        }
        for (key, value) in patch.iter() {
            if find_member(&self.0, key).is_none() {
                out.push(key, value);
            }
        }
        out.finish()
    }

    /// The fields for which `keep` holds; it is given the name's JSON text and the value.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&str, Json<'_>) -> bool) -> Self {
        let mut out = Builder::with_capacity(self.0.len());
        for (key, value) in self.iter() {
            if keep(key, value) {
                out.push(key, value);
            }
        }
        out.finish()
    }

    /// These fields with others, given as name and JSON text, before and after them. The names must be new ones.
    #[must_use]
    pub fn framed(&self, before: &[(&str, &str)], after: &[(&str, &str)]) -> Self {
        let mut out = Builder::with_capacity(self.0.len() + 64 * (before.len() + after.len()));
        for (name, value) in before {
            out.push(&quoted(name), Json(value));
        }
        for (key, value) in self.iter() {
            out.push(key, value);
        }
        for (name, value) in after {
            out.push(&quoted(name), Json(value));
        }
        out.finish()
    }

    /// These fields and one more, given as name and JSON text. The name must be a new one.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.framed(&[], &[(name, value)])
    }

    /// Whether both hold the same fields with deeply equal values, in whatever order.
    #[must_use]
    pub fn deep_equals(&self, other: &Self) -> bool {
        Json(&self.0).deep_equals(Json(&other.0))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Builds [`Fields`] member by member from parts that are normalised already.
struct Builder(String);

impl Builder {
    fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self(out)
    }

    fn push(&mut self, key: &str, value: Json<'_>) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(key);
        self.0.push(':');
        self.0.push_str(value.as_str());
    }

    fn finish(mut self) -> Fields {
        self.0.push('}');
        Fields(self.0.into())
    }
}

impl Serialize for Fields {
    /// Writes the object in a text format, and its JSON text in a binary one (the log's rows).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw: &serde_json::value::RawValue =
                serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
            raw.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let text = <&str>::deserialize(deserializer)?;
            return Self::from_normalised(text).map_err(de::Error::custom);
        }
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text).unwrap()
    }

    fn code(text: &str) -> &'static str {
        Fields::parse(text).unwrap_err().code()
    }

    #[test]
    fn refuses_what_is_outside_the_value_domain() {
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        for (text, expected) in [
            ("", "INVALID_JSON"),
            ("{", "INVALID_JSON"),
            ("{}x", "INVALID_JSON"),
            ("[]", "INVALID_VALUE"),
            ("null", "INVALID_VALUE"),
            ("\"text\"", "INVALID_VALUE"),
            (r#"{"a":"\u0000"}"#, "INVALID_VALUE"),
            (r#"{"\u0000":1}"#, "INVALID_VALUE"),
            (r#"{"a":1,"a":2}"#, "INVALID_VALUE"),
            (r#"{"n":{"a":1,"\u0061":2}}"#, "INVALID_VALUE"),
            (r#"{"a":"\ud800"}"#, "INVALID_JSON"),
            (r#"{"a":"\udc00x"}"#, "INVALID_JSON"),
            (r#"{"a":1e999}"#, "INVALID_JSON"),
            (deep(32).as_str(), "VALUE_TOO_DEEP"),
            (deep(100_000).as_str(), "VALUE_TOO_DEEP"),
            (format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_FIELDS_BYTES)).as_str(), "VALUE_TOO_LARGE"),
        ] {
            assert_eq!(code(text), expected, "{}", text.get(..60).unwrap_or(text));
        }
        assert!(Fields::parse(&deep(31)).is_ok());
    }

    #[test]
    fn normalises_numbers_to_what_a_browser_holds() {
        for (given, expected) in [
            ("1.0", "1"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1"),
            ("123456789012345678901", "1.2345678901234568e+20"),
            ("5e-324", "5e-324"),
        ] {
            assert_eq!(fields(&format!("{{\"a\":{given}}}")).as_str(), format!("{{\"a\":{expected}}}"));
        }
    }

    #[test]
    fn finds_fields_past_every_kind_of_value() {
        let record = fields(
            r#"{"s":"a\"},b","n":{"x":[1,{"y":"]"}]},"e":{},"l":[],"__proto__":1,"é\n":true,"last":null}"#,
        );
        assert_eq!(record.get("last").unwrap().as_str(), "null");
        assert_eq!(record.get("__proto__").unwrap().as_str(), "1");
        assert_eq!(record.get("é\n").unwrap().as_str(), "true");
        assert!(record.get("x").is_none());
        let nested = record.get("n").unwrap().child("x").unwrap().child("1").unwrap().child("y").unwrap();
        assert_eq!(nested.scalar(), Scalar::String("]".into()));
        assert_eq!(record.names().last().as_deref(), Some("last"));
    }

    #[test]
    fn finds_a_duplicate_among_many_fields() {
        let mut text = (0..200).map(|n| format!("\"f{n}\":{n}")).collect::<Vec<_>>();
        assert!(Fields::parse(&format!("{{{}}}", text.join(","))).is_ok());
        text.push("\"f7\":0".to_owned());
        assert_eq!(code(&format!("{{{}}}", text.join(","))), "INVALID_VALUE");
    }

    use crate::json::Scalar;

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-1000_i64..1000).prop_map(Into::into),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Into::into),
            "[^\u{0}]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                any_object(inner).prop_map(serde_json::Value::Object),
            ]
        })
    }

    fn any_object<S: Strategy<Value = serde_json::Value>>(
        value: S,
    ) -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
        prop::collection::btree_map("[^\u{0}]{0,4}", value, 0..6).prop_map(|map| map.into_iter().collect())
    }

    /// Equality of values as a browser sees them: numbers as doubles.
    fn as_browser(value: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Number(n) => {
                let n = n.as_f64().unwrap();
                (if n == 0.0 { 0.0 } else { n }).into()
            }
            serde_json::Value::Array(items) => items.iter().map(as_browser).collect(),
            serde_json::Value::Object(map) => {
                map.iter().map(|(k, v)| (k.clone(), as_browser(v))).collect::<serde_json::Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn text_survives_and_is_stable(object in any_object(any_json())) {
            let given = serde_json::Value::Object(object);
            let once = fields(&given.to_string());
            let back: serde_json::Value = serde_json::from_str(once.as_str()).unwrap();
            prop_assert_eq!(as_browser(&back), as_browser(&given));
            prop_assert_eq!(fields(once.as_str()), once.clone());
            for (name, value) in given.as_object().unwrap() {
                let found: serde_json::Value = serde_json::from_str(once.get(name).unwrap().as_str()).unwrap();
                prop_assert_eq!(as_browser(&found), as_browser(value));
            }
        }

        /// Goal: there is one normalised form, however a text is written; what is in it is given back as it is, not copied. Each
        /// character may be escaped in the text, also one that cannot be written otherwise.
        #[test]
        fn has_one_form(object in any_object(any_json()), escapes in prop::collection::vec(any::<bool>(), 1..9)) {
            let given = serde_json::Value::Object(object);
            let plain = normalise(&given.to_string(), MAX_DEPTH).unwrap().into_owned();
            prop_assert!(matches!(normalise(&plain, MAX_DEPTH), Ok(std::borrow::Cow::Borrowed(_))), "{}", plain);
            let spaced = serde_json::to_string_pretty(&given).unwrap();
            prop_assert_eq!(&normalise(&spaced, MAX_DEPTH).unwrap(), &plain);
            let (mut escaped, mut is_text, mut is_escape) = (String::new(), false, false);
            for (place, char) in plain.chars().enumerate() {
                let is_end = char == '"' && !is_escape;
                // No digit of an escape that is there.
                if is_text && !is_escape && char >= 'g' && escapes[place % escapes.len()] {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        escaped.push_str(&format!("\\u{unit:04X}"));
                    }
                } else {
                    escaped.push(char);
                }
                is_text ^= is_end;
                is_escape = char == '\\' && !is_escape;
            }
            prop_assert_eq!(&normalise(&escaped, MAX_DEPTH).unwrap(), &plain);
        }

        /// Goal: a number that is left as it is written is in the one form of its double.
        #[test]
        fn numbers_have_one_form(number in "-?(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?([eE][+-]?[0-9]{1,2})?") {
            prop_assert_eq!(normalise(&number, 0).unwrap(), crate::number_text(number.parse().unwrap()));
        }

        /// Goal: our reader takes exactly what serde_json takes, and reads the same values out of it. Valid text is damaged by
        /// putting in, taking out and changing a few characters of JSON's alphabet.
        #[test]
        fn reads_what_serde_json_reads(
            object in any_object(any_json()),
            edits in prop::collection::vec((0.0..1.0_f64, 0..3_u8, prop::sample::select(r#"{}[]",:\/unbrtfals0123456789+-.eEdD89é "#.chars().collect::<Vec<_>>())), 0..6),
        ) {
            let mut text: Vec<char> = serde_json::Value::Object(object).to_string().chars().collect();
            for (place, kind, char) in edits {
                let at = ((text.len() as f64) * place) as usize;
                match kind {
                    0 => text.insert(at, char),
                    1 if at < text.len() => { text.remove(at); }
                    _ => if let Some(old) = text.get_mut(at) { *old = char },
                }
            }
            let text: String = text.into_iter().collect();
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match (normalise(&text, MAX_DEPTH), theirs) {
                (Ok(ours), Ok(theirs)) => {
                    let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
                    prop_assert_eq!(as_browser(&ours), as_browser(&theirs));
                }
                (Err(ProtocolError::InvalidJson(why)), Ok(_)) => prop_assert!(false, "{text}: {why}"),
                (Ok(ours), Err(why)) => prop_assert!(false, "{text}: {why}: {ours}"),
                (Err(_), _) => {}
            }
        }

        #[test]
        fn deep_equality_is_that_of_values(a in any_object(any_json()), b in any_object(any_json())) {
            let (a, b) = (serde_json::Value::Object(a), serde_json::Value::Object(b));
            let (one, other) = (fields(&a.to_string()), fields(&b.to_string()));
            prop_assert_eq!(one.deep_equals(&other), as_browser(&a) == as_browser(&b));
            prop_assert!(one.deep_equals(&one.clone()));
        }

        #[test]
        fn merging_equals_merging_maps(a in any_object(any_json()), b in any_object(any_json())) {
            let merged = fields(&serde_json::Value::Object(a.clone()).to_string())
                .merged(&fields(&serde_json::Value::Object(b.clone()).to_string()));
            let mut expected = a;
            expected.extend(b);
            let back: serde_json::Value = serde_json::from_str(merged.as_str()).unwrap();
            prop_assert_eq!(as_browser(&back), as_browser(&expected.into()));
        }

        #[test]
        fn walking_any_text_ends(text in "\\PC{0,64}") {
            if let Ok(odd) = Fields::from_normalised(format!("{{{text}}}")) {
                prop_assert!(odd.iter().count() <= text.len());
                let _ = odd.get("a");
            }
        }
    }
}
