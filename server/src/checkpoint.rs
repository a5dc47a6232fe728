//! What a checkpoint says. Clients keep it as text and never look inside.
//!
//! `v1.<epoch>.<position>` stands in the change log; `v1.<epoch>.<version>.<since>` stands inside a snapshot.

use objectql_sync_protocol::Checkpoint;
use objectql_sync_protocol::defect::{Defect, has};

use crate::store::LogState;

/// A place in the server's order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the change log, after the change at this position.
    Log {
        /// The position of the last change that the client has.
        after: u64,
    },
    /// Inside a snapshot.
    ///
    /// A snapshot goes through the records in the order of their versions, so that a record that changes meanwhile moves to
    /// where the snapshot has not been yet and is met there in its new state. What was deleted since the snapshot began is
    /// met as a tombstone. At its end nothing is missing and nothing has to be told again, and the log goes on from there.
    Snapshot {
        /// The version of the last record that the client has.
        after: u64,
        /// The position of the last change when the snapshot began: deletes before it are none of the client's business.
        since: u64,
    },
}

impl Place {
    /// Where a client without a checkpoint begins.
    #[must_use]
    pub const fn beginning(state: &LogState) -> Self {
        Self::Snapshot { after: 0, since: state.last_position }
    }

    /// Reads a checkpoint, and whether the changes after it are still all there.
    #[must_use]
    pub fn parse(text: &str, state: &LogState) -> Option<Self> {
        let mut parts = text.strip_prefix("v1.")?.split('.');
        let is_ours = parts.next()? == state.epoch || has(Defect::EpochUnnoticed);
        let (first, second) = (number(parts.next()?)?, parts.next().map(number));
        let place = match second {
            None => Self::Log { after: first },
            Some(since) => Self::Snapshot { after: first, since: since? },
        };
        let from = match place {
            Self::Log { after } => after,
            Self::Snapshot { since, .. } => since,
        };
        let furthest = first.max(from);
        let is_whole = parts.next().is_none() && is_ours;
        let is_there = from >= state.pruned_through || has(Defect::PruneUnnoticed);
        (is_whole && is_there && furthest <= state.last_position).then_some(place)
    }

    /// The checkpoint for this place.
    #[must_use]
    pub fn checkpoint(self, state: &LogState) -> Checkpoint {
        let epoch = &state.epoch;
        let text = match self {
            Self::Log { after } => format!("v1.{epoch}.{after}"),
            Self::Snapshot { after, since } => format!("v1.{epoch}.{after}.{since}"),
        };
        Checkpoint::new(text).expect("an epoch and two numbers are shorter than a checkpoint may be")
    }
}

/// A number in its one usual form, so that a place has one checkpoint and no other text is one.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use objectql_sync_protocol::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn state() -> LogState {
        LogState {
            epoch: "e".to_owned(),
            last_position: 20,
            pruned_through: 10,
            forgotten_through: Timestamp::default(),
        }
    }

    #[test]
    fn places_survive() {
        for place in
            [Place::Log { after: 10 }, Place::Log { after: 20 }, Place::Snapshot { after: 3, since: 15 }]
        {
            assert_eq!(Place::parse(place.checkpoint(&state()).as_str(), &state()), Some(place));
        }
    }

    #[test]
    fn what_cannot_be_continued_is_no_place() {
        for text in [
            "",
            "x",
            "v1",
            "v1.e",
            "v1.e.",
            "v1.e.x",
            "v2.e.12",
            "v1.f.12",
            "v1.e.-1",
            "v1.e.+12",
            "v1.e.012",
            "v1.e.1e1",
            "v1.e.9",
            "v1.e.21",
            "v1.e.99999999999999999999",
            "v1.e.12.",
            "v1.e.3.9",
            "v1.e.21.15",
            "v1.e.3.21",
            "v1.e.3.15.1",
            " v1.e.12",
        ] {
            assert_eq!(Place::parse(text, &state()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "(v1\\.e\\.)?[0-9.\\PC]{0,40}") {
            let _ = Place::parse(&text, &state());
        }
    }
}
