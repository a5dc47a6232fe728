//! The merge rules that both ends share: which fields differ, and who is later.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::json::{Scalar, unescape};
use crate::{ClientId, Fields, Json, Timestamp, config};

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
/// different values. No base means that nothing was known of the record: what `theirs` does not have was written by nobody.
#[must_use]
pub fn conflicting_fields(base: Option<&Fields>, mine: &Fields, theirs: &Fields) -> Vec<String> {
    mine.iter()
        .filter(|(key, value)| {
            let before = base.and_then(|base| base.get_quoted(key));
            let theirs = theirs.get_quoted(key);
            !is_system_field(key) && !same(Some(*value), theirs) && !same(before, theirs)
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

/// The fields of `mine` that `current` does not hold, with the values they were to have. Nothing left of the record: all of them.
#[must_use]
pub fn lost_fields(mine: &Fields, current: Option<&Fields>) -> Fields {
    mine.filtered(|key, value| {
        !is_system_field(key) && current.is_none_or(|current| !same(Some(value), current.get_quoted(key)))
    })
}

/// When a record was last changed, as far as it says so itself.
#[must_use]
pub fn changed_at(record: &Fields) -> Option<Timestamp> {
    match record.get("updated_at")?.scalar() {
        Scalar::String(text) => Timestamp::parse(&text).ok(),
        _ => None,
    }
}

/// What a client does about a real conflict that its server detected and left to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Somebody has to decide.
    Ask,
    /// The mutation is made again on top of the server's record, with these fields (none: a delete).
    Again(Option<Fields>),
    /// The server's values stay.
    Lost,
}

/// What a conflict is settled by that the server only detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The object's strategy.
    pub strategy: config::Strategy,
    /// Under `last-write-wins`: the fields that are for a person.
    pub conflict_fields: Vec<String>,
    /// When the record was last changed on the server, as far as the answer tells.
    pub their_time: Option<Timestamp>,
}

/// Applies an object's strategy to a conflict over `fields`, for servers that only detect them. The record's last change is
/// taken for the last change of each of its fields: such a server says no more. Where not even that is known, the server's
/// values stay.
///
/// A delete wins over an update, whichever came first.
#[must_use]
pub fn settle(
    rule: &Rule,
    mine: Option<&Fields>,
    at: Timestamp,
    theirs: Option<&Fields>,
    fields: &[String],
) -> Settlement {
    let is_asked = |name: &String| rule.conflict_fields.contains(name);
    if rule.strategy == config::Strategy::Manual
        || (rule.strategy == config::Strategy::LastWriteWins && fields.iter().any(is_asked))
    {
        return Settlement::Ask;
    }
    let (mine, theirs) = match (mine, theirs) {
        (None, _) => return Settlement::Again(None),
        (Some(_), None) => return Settlement::Lost,
        (Some(mine), Some(theirs)) => (mine, theirs),
    };
    if changed_at(theirs).or(rule.their_time).is_some_and(|theirs| at > theirs) {
        return Settlement::Again(Some(mine.clone()));
    }
    if rule.strategy == config::Strategy::LastWriteWins {
        return Settlement::Lost;
    }
    let rest = mine.filtered(|key, _| !fields.iter().any(|name| *name == unescape(key)));
    if rest.iter().all(|(key, _)| is_system_field(key)) {
        Settlement::Lost
    } else {
        Settlement::Again(Some(rest))
    }
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
        assert_eq!(conflicting_fields(None, &fields(r#"{"a":1,"b":1}"#), &fields(r#"{"a":2}"#)), vec!["a"]);
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
    const STRATEGIES: [config::Strategy; 3] =
        [config::Strategy::LastWriteWins, config::Strategy::Crdt, config::Strategy::Manual];

    fn rule(strategy: config::Strategy, conflict_fields: &[&str]) -> Rule {
        let conflict_fields = conflict_fields.iter().map(|name| (*name).to_owned()).collect();
        Rule { strategy, conflict_fields, their_time: None }
    }

    #[test]
    fn a_detected_conflict_is_settled_by_the_strategy() {
        let at = Timestamp::from_millis;
        let mine = fields(r#"{"a":1,"b":2}"#);
        let theirs = fields(r#"{"a":9,"b":0,"updated_at":"1970-01-01T00:00:00.005Z"}"#);
        let overlap = ["a".to_owned()];
        let settle = |rule: &Rule, millis| settle(rule, Some(&mine), at(millis), Some(&theirs), &overlap);
        let [last_write_wins, crdt, manual] = STRATEGIES.map(|strategy| rule(strategy, &[]));
        let again = |text| Settlement::Again(Some(fields(text)));
        assert_eq!(settle(&last_write_wins, 6), again(r#"{"a":1,"b":2}"#));
        assert_eq!(settle(&last_write_wins, 5), Settlement::Lost, "what is there stays in a tie");
        assert_eq!(settle(&rule(last_write_wins.strategy, &["a"]), 6), Settlement::Ask);
        assert_eq!(settle(&rule(last_write_wins.strategy, &["b"]), 6), again(r#"{"a":1,"b":2}"#));
        assert_eq!(settle(&crdt, 6), again(r#"{"a":1,"b":2}"#));
        assert_eq!(settle(&crdt, 4), again(r#"{"b":2}"#));
        assert_eq!(settle(&manual, 6), Settlement::Ask);
    }

    #[test]
    fn a_delete_wins_over_an_update_in_either_order() {
        let record = fields(r#"{"a":1}"#);
        let at = Timestamp::from_millis(0);
        for strategy in [config::Strategy::LastWriteWins, config::Strategy::Crdt] {
            let rule = rule(strategy, &[]);
            assert_eq!(settle(&rule, None, at, Some(&record), &[]), Settlement::Again(None));
            assert_eq!(settle(&rule, Some(&record), at, None, &[]), Settlement::Lost);
        }
    }

    fn any_patch() -> impl Strategy<Value = Fields> {
        prop::collection::btree_map("[abc]", 1_u8..5, 1..4).prop_map(|map| {
            let text: Vec<_> = map.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            fields(&format!("{{{}}}", text.join(",")))
        })
    }

    /// What a server that only detects holds in the end, when `first` is there and the author of `second` meets it.
    fn meet(first: (&Fields, i64), second: (&Fields, i64)) -> Fields {
        let base = fields(r#"{"a":0,"b":0,"c":0}"#);
        let time = |millis| quoted_time(millis);
        let there = base.merged(first.0).with("updated_at", &time(first.1));
        let overlap = conflicting_fields(Some(&base), second.0, &there);
        let again = if overlap.is_empty() {
            Settlement::Again(Some(second.0.clone()))
        } else {
            let at = Timestamp::from_millis(second.1);
            settle(&rule(config::Strategy::Crdt, &[]), Some(second.0), at, Some(&there), &overlap)
        };
        let merged = match again {
            Settlement::Again(Some(patch)) => there.merged(&patch),
            _ => there,
        };
        merged.filtered(|key, _| !is_system_field(key))
    }

    fn quoted_time(millis: i64) -> String {
        crate::quoted(&Timestamp::from_millis(millis).to_string())
    }

    proptest! {
        /// Goal: under crdt it does not matter which of two concurrent updates reached the server first.
        #[test]
        fn merging_field_by_field_commutes(a in any_patch(), b in any_patch(), times in (0_i64..9, 0_i64..9)) {
            prop_assume!(times.0 != times.1);
            let (a, b) = ((&a, times.0), (&b, times.1));
            prop_assert!(meet(a, b).deep_equals(&meet(b, a)));
        }

        /// Goal: what is lost is what the record does not hold, and losing it again changes nothing.
        #[test]
        fn what_is_lost_is_what_is_not_held(mine in any_patch(), theirs in any_patch()) {
            let lost = lost_fields(&mine, Some(&theirs));
            prop_assert_eq!(lost.is_empty(), already_holds(&theirs, &mine));
            prop_assert_eq!(lost_fields(&lost, Some(&theirs)), lost.clone());
            prop_assert!(lost_fields(&mine, Some(&theirs.merged(&mine))).is_empty());
            prop_assert!(lost_fields(&mine, None).deep_equals(&mine));
        }
    }
}
