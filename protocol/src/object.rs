//! Object definitions: what a `*.object.yml` file holds, for both ends.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Fields, ObjectName, ProtocolError, SyncConfig};

/// An object: its name, its fields, its indexes and how it is synced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectDefinition {
    /// The name; a file's name gives it where the file does not.
    pub name: ObjectName,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The fields by name. `id`, `created_at` and `updated_at` are there without being listed.
    #[serde(default)]
    pub fields: Named<FieldDefinition>,
    /// The indexes by name.
    #[serde(default)]
    pub indexes: Named<IndexDefinition>,
    /// How the object is synced. Default: not at all.
    #[serde(default)]
    pub sync: SyncConfig,
}

/// Things by name, in the order in which they were written. There are few: they are looked up by going through them.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(Vec<(String, T)>);

impl<T> Named<T> {
    pub(crate) fn from_pairs(pairs: Vec<(String, T)>) -> Self {
        Self(pairs)
    }

    /// The thing with that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, thing)| thing)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().map(|(name, thing)| (name, thing))
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of things by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
        let mut named = Named::default();
        while let Some((name, thing)) = map.next_entry::<String, T>()? {
            if named.get(&name).is_some() {
                return Err(de::Error::custom(format!("{name} is there twice")));
            }
            named.0.push((name, thing));
        }
        Ok(named)
    }
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldDefinition {
    /// The ObjectQL field type: `text`, `number`, `select`, `lookup`, ...
    #[serde(rename = "type")]
    pub field_type: String,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether a create without it is rejected. Default: false.
    #[serde(default)]
    pub required: bool,
    /// Whether two records may not share a value. Default: false.
    #[serde(default)]
    pub unique: bool,
    /// For `select`: the values it may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<SelectOption>,
    /// For `lookup`: the object it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_to: Option<ObjectName>,
    /// What a new record has where it is made without the field, as normalised JSON text. The driver's affair: the server takes
    /// what it is given.
    #[serde(skip)]
    pub default_value: Option<String>,
}

/// One value of a `select` field: written as a string, or as an object with a value and a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelectOption {
    /// What is stored.
    pub value: String,
    /// What a person reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl<'de> Deserialize<'de> for SelectOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectOptionVisitor)
    }
}

struct SelectOptionVisitor;

impl<'de> Visitor<'de> for SelectOptionVisitor {
    type Value = SelectOption;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a select option: a string, or an object with value and label")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<SelectOption, E> {
        Ok(SelectOption { value: value.to_owned(), label: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SelectOption, A::Error> {
        #[derive(Deserialize)]
        struct Full {
            value: String,
            #[serde(default)]
            label: Option<String>,
        }
        let Full { value, label } = Full::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(SelectOption { value, label })
    }
}

/// An index over one or more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// The fields, in order.
    pub fields: Vec<String>,
    /// Whether two records may not share the values. Default: false.
    #[serde(default)]
    pub unique: bool,
}

/// The field types of ObjectQL.
pub const FIELD_TYPES: &[&str] = &[
    "text",
    "textarea",
    "markdown",
    "html",
    "code",
    "number",
    "integer",
    "currency",
    "percent",
    "boolean",
    "date",
    "datetime",
    "time",
    "select",
    "lookup",
    "master_detail",
    "email",
    "phone",
    "url",
    "password",
    "object",
    "json",
    "array",
    "location",
    "formula",
    "summary",
    "auto_number",
    "image",
    "file",
    "avatar",
    "color",
    "rating",
    "vector",
    "grid",
    "tags",
];

impl ObjectDefinition {
    /// Checks what the types alone do not say.
    ///
    /// # Errors
    /// `INVALID_DEFINITION`: an unknown field type, a select without options, a lookup without target, an index over a
    /// field that is not there, a sync setting out of range.
    pub fn check(&self) -> Result<(), ProtocolError> {
        let wrong =
            |text: String| Err(ProtocolError::InvalidDefinition(format!("object {}: {text}", self.name)));
        for (name, field) in self.fields.iter() {
            if name.is_empty() || name.len() > crate::MAX_NAME_BYTES {
                return wrong(format!(
                    "the field name {name:?} must have 1 to {} bytes",
                    crate::MAX_NAME_BYTES
                ));
            }
            if !FIELD_TYPES.contains(&field.field_type.as_str()) {
                return wrong(format!("field {name}: unknown type {:?}", field.field_type));
            }
            if field.field_type == "select" && field.options.is_empty() {
                return wrong(format!("field {name}: a select needs options"));
            }
            if matches!(field.field_type.as_str(), "lookup" | "master_detail") && field.reference_to.is_none()
            {
                return wrong(format!("field {name}: a {} needs reference_to", field.field_type));
            }
        }
        for (name, index) in self.indexes.iter() {
            if index.fields.is_empty() {
                return wrong(format!("index {name}: needs fields"));
            }
            if let Some(missing) = index.fields.iter().find(|field| !self.has_field(field)) {
                return wrong(format!("index {name}: there is no field {missing:?}"));
            }
        }
        if let Some(missing) = self.sync.conflict_fields.iter().find(|field| !self.has_field(field)) {
            return wrong(format!("sync.conflict_fields: there is no field {missing:?}"));
        }
        self.sync.check()
    }

    /// The defaults of the fields that have one: name and JSON text.
    pub fn defaults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().filter_map(|(name, field)| {
            // Those are the driver's.
            let is_field = !matches!(name.as_str(), "id" | "created_at" | "updated_at");
            is_field.then_some((name.as_str(), field.default_value.as_deref()?))
        })
    }

    /// A record with the defaults of the fields that it does not have. Null is a value.
    #[must_use]
    pub fn with_defaults(&self, record: Fields) -> Fields {
        self.defaults().fold(record, |record, (name, value)| {
            if record.get(name).is_some() { record } else { record.with(name, value) }
        })
    }

    fn has_field(&self, name: &str) -> bool {
        matches!(name, "id" | "created_at" | "updated_at") || self.fields.get(name).is_some()
    }
}
