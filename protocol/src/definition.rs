//! Object definitions read out of normalised JSON text. Serde reads the same from YAML; its readers alone would cost the driver's
//! wasm 18 KB compressed.

use std::borrow::Cow;

use crate::json::unescape;
use crate::{
    Direction, FieldDefinition, IndexDefinition, Json, Named, ObjectDefinition, ObjectName, ProtocolError,
    SelectOption, Strategy, SyncConfig,
};

type Read<T> = Result<T, ProtocolError>;

/// One JSON object of a definition, and where it stands.
#[derive(Clone, Copy)]
struct Part<'a> {
    json: Json<'a>,
    place: &'a str,
}

impl<'a> Part<'a> {
    fn new(json: Json<'a>, place: &'a str) -> Read<Self> {
        let part = Self { json, place };
        if json.as_str().starts_with('{') { Ok(part) } else { Err(part.wrong("must be an object")) }
    }

    fn wrong(self, what: &str) -> ProtocolError {
        ProtocolError::InvalidDefinition(format!("{}: {what}", self.place))
    }

    /// A property that is neither absent nor null.
    fn find(self, key: &str) -> Option<Json<'a>> {
        self.json.member(key).filter(|value| !value.is_null())
    }

    fn read<T>(self, key: &str, kind: &str, read: impl FnOnce(Json<'a>) -> Option<T>) -> Read<Option<T>> {
        self.find(key)
            .map(|value| read(value).ok_or_else(|| self.wrong(&format!("{key} must be {kind}"))))
            .transpose()
    }

    fn text(self, key: &str) -> Read<Option<String>> {
        self.read(key, "a string", |value| value.as_text().map(Cow::into_owned))
    }

    fn required_text(self, key: &str) -> Read<String> {
        self.text(key)?.ok_or_else(|| self.wrong(&format!("{key} is missing")))
    }

    fn flag(self, key: &str) -> Read<bool> {
        let flag = self.read(key, "true or false", |value| value.as_str().parse().ok())?;
        Ok(flag.unwrap_or_default())
    }

    fn number(self, key: &str, default: u32) -> Read<u32> {
        let read = |value: Json<'_>| u32::try_from(value.as_safe_integer()?).ok();
        Ok(self.read(key, "a whole number", read)?.unwrap_or(default))
    }

    fn list<T>(self, key: &str, read: impl Fn(Json<'a>) -> Read<T>) -> Read<Vec<T>> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(list) if list.as_str().starts_with('[') => list.elements().map(read).collect(),
            Some(_) => Err(self.wrong(&format!("{key} must be an array"))),
        }
    }

    fn texts(self, key: &str) -> Read<Vec<String>> {
        let text = |value: Json<'_>| value.as_text().map(Cow::into_owned);
        self.list(key, |value| text(value).ok_or_else(|| self.wrong(&format!("{key} must hold strings"))))
    }

    fn word<T: Copy>(self, key: &str, words: &[(&str, T)]) -> Read<Option<T>> {
        let of = |value: Json<'_>| words.iter().find(|(word, _)| *word == value.as_str()).map(|(_, it)| *it);
        let kinds: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.read(key, &kinds.join(", "), of)
    }

    /// The things of a property by name.
    fn named<T>(self, key: &str, read: impl Fn(Part<'_>) -> Read<T>) -> Read<Named<T>> {
        let Some(json) = self.find(key) else { return Ok(Named::default()) };
        let things = Part::new(json, key)?.json.members().map(|(name, thing)| {
            let name = unescape(name).into_owned();
            let thing = read(Part::new(thing, &format!("{}: {name}", self.place))?)?;
            Ok((name, thing))
        });
        things.collect::<Read<Vec<_>>>().map(Named::from_pairs)
    }
}

impl ObjectDefinition {
    /// Reads a definition. Unknown properties are passed over.
    ///
    /// # Errors
    /// `INVALID_DEFINITION`, `INVALID_NAME`
    pub fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        let name = ObjectName::new(Part::new(json, "an object definition")?.required_text("\"name\"")?)?;
        let part = Part { json, place: name.as_str() };
        let definition = Self {
            label: part.text("\"label\"")?,
            fields: part.named("\"fields\"", FieldDefinition::read)?,
            indexes: part.named("\"indexes\"", |index| {
                Ok(IndexDefinition { fields: index.texts("\"fields\"")?, unique: index.flag("\"unique\"")? })
            })?,
            sync: match part.find("\"sync\"") {
                Some(sync) => SyncConfig::read(Part::new(sync, part.place)?)?,
                None => SyncConfig::default(),
            },
            name: name.clone(),
        };
        Ok(definition)
    }
}

impl FieldDefinition {
    fn read(part: Part<'_>) -> Read<Self> {
        Ok(Self {
            field_type: part.required_text("\"type\"")?,
            label: part.text("\"label\"")?,
            required: part.flag("\"required\"")?,
            unique: part.flag("\"unique\"")?,
            options: part.list("\"options\"", |option| match option.as_text() {
                Some(value) => Ok(SelectOption { value: value.into_owned(), label: None }),
                None => {
                    let option = Part::new(option, part.place)?;
                    Ok(SelectOption {
                        value: option.required_text("\"value\"")?,
                        label: option.text("\"label\"")?,
                    })
                }
            })?,
            reference_to: part.text("\"reference_to\"")?.map(ObjectName::new).transpose()?,
            default_value: part.find("\"defaultValue\"").filter(is_plain).map(|it| it.as_str().to_owned()),
        })
    }
}

/// Whether a default is a value. ObjectQL has others, which it computes itself: expressions, the time, the user.
fn is_plain(value: &Json<'_>) -> bool {
    let dialect = value.member("\"dialect\"").filter(|dialect| !dialect.is_null());
    !matches!(value.as_str(), "\"NOW()\"" | "\"current_user\"") && dialect.is_none()
}

impl SyncConfig {
    fn read(part: Part<'_>) -> Read<Self> {
        let strategies = [
            ("\"last-write-wins\"", Strategy::LastWriteWins),
            ("\"crdt\"", Strategy::Crdt),
            ("\"manual\"", Strategy::Manual),
        ];
        let directions = [
            ("\"bidirectional\"", Direction::Bidirectional),
            ("\"push-only\"", Direction::PushOnly),
            ("\"pull-only\"", Direction::PullOnly),
        ];
        let default = Self::default();
        Ok(Self {
            enabled: part.flag("\"enabled\"")?,
            strategy: part.word("\"strategy\"", &strategies)?.unwrap_or_default(),
            conflict_fields: part.texts("\"conflict_fields\"")?,
            direction: part.word("\"direction\"", &directions)?.unwrap_or_default(),
            debounce_ms: part.number("\"debounce_ms\"", default.debounce_ms)?,
            batch_size: part.number("\"batch_size\"", default.batch_size)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_DEPTH, normalise};

    fn read(text: &str) -> Read<ObjectDefinition> {
        ObjectDefinition::from_json(Json::from_normalised(&normalise(text, MAX_DEPTH).unwrap()))
    }

    #[test]
    fn what_serde_reads_is_read_the_same() {
        for text in [
            r#"{"name":"story"}"#,
            r#"{"name":"story","label":"Story","unknown":[1],"fields":{},"sync":{}}"#,
            r#"{"name":"s","fields":{"a":{"type":"text","required":true,"label":"A"},"é\"":{"type":"number","unique":true}}}"#,
            r#"{"name":"s","fields":{"b":{"type":"select","options":["x",{"value":"y","label":"Y"},{"value":"z"}]}}}"#,
            r#"{"name":"s","fields":{"p":{"type":"lookup","reference_to":"t"}},"indexes":{"i":{"fields":["p"],"unique":true}}}"#,
            r#"{"name":"s","sync":{"enabled":true,"strategy":"crdt","direction":"push-only","debounce_ms":5,"batch_size":7}}"#,
            r#"{"name":"s","sync":{"strategy":"manual","conflict_fields":["a","b"],"direction":"pull-only"}}"#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_default_is_a_value_and_what_objectql_computes_is_none() {
        let default = |json: &str| {
            let text = format!(r#"{{"name":"s","fields":{{"a":{{"type":"json","defaultValue":{json}}}}}}}"#);
            read(&text).unwrap().fields.get("a").unwrap().default_value.clone()
        };
        for value in ["1", "false", "\"open\"", "[]", r#"{"a":[1]}"#, r#"{"dialect":null}"#] {
            assert_eq!(default(value).as_deref(), Some(value));
        }
        for none in ["null", "\"NOW()\"", "\"current_user\"", r#"{"dialect":"cel","source":"today()"}"#] {
            assert_eq!(default(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        for (text, told) in [
            ("[]", "an object definition: must be an object"),
            ("{}", "an object definition: \"name\" is missing"),
            (r#"{"name":1}"#, "an object definition: \"name\" must be a string"),
            (r#"{"name":"s","fields":[]}"#, "\"fields\": must be an object"),
            (r#"{"name":"s","fields":{"a":{}}}"#, "s: a: \"type\" is missing"),
            (
                r#"{"name":"s","fields":{"a":{"type":"text","required":1}}}"#,
                "s: a: \"required\" must be true or false",
            ),
            (r#"{"name":"s","indexes":{"i":{"fields":["a",1]}}}"#, "s: i: \"fields\" must hold strings"),
            (r#"{"name":"s","sync":{"batch_size":-1}}"#, "s: \"batch_size\" must be a whole number"),
            (
                r#"{"name":"s","sync":{"strategy":"crtd"}}"#,
                "s: \"strategy\" must be \"last-write-wins\", \"crdt\", \"manual\"",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code(), "INVALID_DEFINITION", "{text}");
            assert!(error.to_string().contains(told), "{error}");
        }
        assert_eq!(read(r#"{"name":"a b"}"#).unwrap_err().code(), "INVALID_NAME");
    }
}
