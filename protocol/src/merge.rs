//! The merge rules that both ends share: which fields differ, and who is later.

use std::cmp::Ordering;

use crate::json::unescape;
use crate::{ClientId, Fields, Json, Timestamp};

/// The fields the driver itself sets. Two concurrent updates always differ in `updated_at`, so that these never make
/// an overlap or a conflict.
pub const SYSTEM_FIELDS: [&str; 3] = ["id", "created_at", "updated_at"];

/// Whether the field whose name has this JSON text is one of the driver's own.
#[must_use]
pub fn is_system_field(key: &str) -> bool {
    SYSTEM_FIELDS.iter().any(|name| key.get(1..key.len() - 1) == Some(name))
}

fn same(a: Option<Json<'_>>, b: Option<Json<'_>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.deep_equals(b),
        (None, None) => true,
        // A field that is not there and one that is null mean the same to an app.
        (Some(value), None) | (None, Some(value)) => value.is_null(),
    }
}

/// The names of the fields in `mine` that really conflict with `theirs`: both sides moved away from `base`, to
/// different values. No base means that nothing was known of the record.
#[must_use]
pub fn conflicting_fields(base: Option<&Fields>, mine: &Fields, theirs: &Fields) -> Vec<String> {
    mine.iter()
        .filter(|(key, value)| {
            let before = base.and_then(|base| base.get_quoted(key));
            let theirs = theirs.get_quoted(key);
            !is_system_field(key) && !same(Some(*value), theirs) && (base.is_none() || !same(before, theirs))
        })
        .map(|(key, _)| unescape(key).into_owned())
        .collect()
}

/// Whether every field of `mine` has the same value in `theirs`, system fields aside.
#[must_use]
pub fn already_holds(theirs: &Fields, mine: &Fields) -> bool {
    mine.iter().all(|(key, value)| is_system_field(key) || same(Some(value), theirs.get_quoted(key)))
}

/// The fields in `patch` that are not the driver's own and differ from `current`.
pub fn differing_fields<'a>(patch: &'a Fields, current: &'a Fields) -> impl Iterator<Item = &'a str> {
    patch
        .iter()
        .filter(|(key, value)| !is_system_field(key) && !same(Some(*value), current.get_quoted(key)))
        .map(|(key, _)| key)
}

/// Who made a write and when: what last-write-wins compares. Ties go by client id, so that every replica picks the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// When, by the writer's clock, never later than the server's.
    pub timestamp: Timestamp,
    /// Who.
    pub client_id: ClientId,
}

impl Stamp {
    /// Whether a write with this stamp wins over one with `other`. A client's later write wins over its own earlier one of
    /// the same millisecond.
    #[must_use]
    pub fn wins_over(&self, other: &Self) -> bool {
        self.cmp(other) != Ordering::Less
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text).unwrap()
    }

    #[test]
    fn a_conflict_needs_two_different_moves() {
        let base = fields(r#"{"a":1,"b":2,"n":{"x":1,"y":2}}"#);
        for (mine, theirs, expected) in [
            (r#"{"a":5}"#, r#"{"a":1,"b":9}"#, vec![]),
            (r#"{"a":5}"#, r#"{"a":5}"#, vec![]),
            (r#"{"a":5}"#, r#"{"a":6}"#, vec!["a"]),
            (r#"{"a":null}"#, r#"{"b":2}"#, vec![]),
            (r#"{"n":{"y":3,"x":1}}"#, r#"{"n":{"x":1,"y":3}}"#, vec![]),
            (r#"{"updated_at":"x"}"#, r#"{"updated_at":"y"}"#, vec![]),
        ] {
            assert_eq!(
                conflicting_fields(Some(&base), &fields(mine), &fields(theirs)),
                expected,
                "{mine} {theirs}"
            );
        }
        assert_eq!(conflicting_fields(None, &fields(r#"{"a":1}"#), &fields(r#"{"a":2}"#)), vec!["a"]);
    }

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0_i64..4, "[ab]{1,2}").prop_map(|(millis, client)| Stamp {
            timestamp: Timestamp::from_millis(millis),
            client_id: ClientId::new(client).unwrap(),
        })
    }

    proptest! {
        #[test]
        fn winning_is_total_and_transitive(a in any_stamp(), b in any_stamp(), c in any_stamp()) {
            prop_assert!(a.wins_over(&b) || b.wins_over(&a));
            prop_assert!(!(a.wins_over(&b) && b.wins_over(&a)) || a == b);
            prop_assert!(!(a.wins_over(&b) && b.wins_over(&c)) || a.wins_over(&c));
        }
    }
}
