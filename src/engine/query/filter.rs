//! Which records a query wants.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, Json, RecordId, Scalar, find_folded};

use super::Path;
use super::order::{OrderBy, compare_values};

/// Which records are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub(super) Condition);

/// A condition on a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// All must hold.
    And(Vec<Self>),
    /// One must hold.
    Or(Vec<Self>),
    /// It must not hold.
    Not(Box<Self>),
    /// A test of one field.
    Field(Path, Test),
    /// The record comes after these values in the order of their keys.
    After(Vec<(OrderBy, Value)>),
}

/// A test of one value; an absent field is null.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// Deeply equal.
    Equal(Value),
    /// Deeply equal to one of them.
    In(Vec<Value>),
    /// Deeply equal to another field of the record.
    EqualField(Path),
    /// Comparable, and so ordered.
    Ordered(Bound, Value),
    /// Comparable to another field of the record, and so ordered.
    OrderedField(Bound, Path),
    /// A string that contains the text, or an array that contains it as an element.
    Contains(String),
    /// A string that contains the text, which is in small letters, whatever the case of its ASCII letters.
    ContainsFolded(String),
    /// A string that starts so.
    StartsWith(String),
    /// A string that ends so.
    EndsWith(String),
    /// Null or absent.
    Null,
    /// Not absent.
    Exists,
}

/// Which way a value must be from a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// `$gt`
    Above,
    /// `$gte`
    AtLeast,
    /// `$lt`
    Below,
    /// `$lte`
    AtMost,
}

impl Bound {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Above => ordering == Ordering::Greater,
            Self::AtLeast => ordering != Ordering::Less,
            Self::Below => ordering == Ordering::Less,
            Self::AtMost => ordering != Ordering::Greater,
        }
    }
}

/// An operand, as normalised JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

impl Value {
    /// Takes normalised JSON text.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn as_json(&self) -> Json<'_> {
        Json::from_normalised(&self.0)
    }

    fn equals(&self, other: Option<Json<'_>>) -> bool {
        match other {
            Some(other) => self.as_json().deep_equals(other),
            None => self.as_json().is_null(),
        }
    }
}

impl Condition {
    /// Whether it holds for the record.
    pub(super) fn matches(&self, record: &Fields) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.matches(record)),
            Self::Or(filters) => filters.iter().any(|filter| filter.matches(record)),
            Self::Not(filter) => !filter.matches(record),
            Self::Field(path, test) => path.any(record, &mut |value| test.holds(value, record)),
            Self::After(values) => {
                let mut orders = values.iter().map(|(key, value)| {
                    compare_values(&key.path.value(record), &value.as_json().scalar(), key.direction)
                });
                orders.find(|order| order.is_ne()) == Some(Ordering::Greater)
            }
        }
    }

    /// The ids, if only records with one of these can match.
    pub(super) fn only_ids(&self) -> Option<Vec<RecordId>> {
        let values = match self {
            Self::Field(path, Test::Equal(value)) if path.is_id() => std::slice::from_ref(value),
            Self::Field(path, Test::In(values)) if path.is_id() => values,
            Self::And(filters) => return filters.iter().find_map(Self::only_ids),
            _ => return None,
        };
        // No record has what is no id.
        Some(values.iter().filter_map(|Value(text)| RecordId::parse_json(text).ok()).collect())
    }
}

impl Test {
    /// How few rows an index would leave of it, in a rough order; none where it would be of no use.
    pub(super) fn selectivity(&self) -> Option<u8> {
        match self {
            Self::Equal(value) if !matches!(value.as_json().scalar(), Scalar::Nested(_)) => Some(0),
            Self::In(_) | Self::StartsWith(_) => Some(1),
            Self::Null => Some(2),
            Self::Ordered(..) => Some(3),
            _ => None,
        }
    }

    fn holds(&self, value: Option<Json<'_>>, record: &Fields) -> bool {
        match self {
            Self::EqualField(path) => match (value, path.find(record)) {
                (Some(value), Some(other)) => value.deep_equals(other),
                (value, other) => value.or(other).is_none_or(Json::is_null),
            },
            Self::OrderedField(bound, path) => value
                .and_then(|value| compare(&value.scalar(), &path.value(record)))
                .is_some_and(|ordering| bound.holds(ordering)),
            Self::Exists => value.is_some(),
            Self::Equal(operand) => operand.equals(value),
            Self::In(operands) => operands.iter().any(|operand| operand.equals(value)),
            Self::Ordered(bound, operand) => value
                .and_then(|value| compare(&value.scalar(), &operand.as_json().scalar()))
                .is_some_and(|ordering| bound.holds(ordering)),
            Self::Contains(text) => value.is_some_and(|value| contains(value, text)),
            Self::ContainsFolded(text) => is_string(value, |string| contains_folded(string, text)),
            Self::StartsWith(text) => is_string(value, |string| string.starts_with(text)),
            Self::EndsWith(text) => is_string(value, |string| string.ends_with(text)),
            Self::Null => value.is_none_or(Json::is_null),
        }
    }
}

fn is_string(value: Option<Json<'_>>, test: impl FnOnce(&str) -> bool) -> bool {
    matches!(value.map(Json::scalar), Some(Scalar::String(string)) if test(&string))
}

fn contains(value: Json<'_>, text: &str) -> bool {
    is_string(Some(value), |string| string.contains(text))
        || value.elements().any(|element| is_string(Some(element), |string| string == text))
}

/// Up to so many bytes a text is looked for letter by letter, whatever the case.
pub(super) const SHORT: usize = 64;

/// Whether a text contains another, which has no ASCII capitals.
fn contains_folded(string: &str, text: &str) -> bool {
    if text.is_ascii() && text.len() <= SHORT {
        return find_folded(string, text, 0).is_some();
    }
    string.to_ascii_lowercase().contains(text)
}

/// The order of two values of one kind; none between kinds.
fn compare(a: &Scalar<'_>, b: &Scalar<'_>) -> Option<Ordering> {
    match (a, b) {
        (Scalar::Number(a), Scalar::Number(b)) => a.partial_cmp(b),
        (Scalar::String(a), Scalar::String(b)) => Some(a.cmp(b)),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
