//! What the server should have decided, worked out the slow way from everything that was ever written to a record: no stored
//! stamps, no versions by field, only the list of writes (S12, S13, S14).

use objectql_sync_protocol::merge::{Stamp, differing_fields, is_system_field};
use objectql_sync_protocol::{Fields, Mutation, Operation, RecordKey, Strategy, SyncConfig, Timestamp};
use objectql_sync_server::Rules;

use crate::coverage::{Coverage, Sight};
use crate::server::history::{Draft, Given, History, Written};

/// Checks every decision of a transaction.
pub(crate) fn check(
    history: &History,
    draft: &Draft,
    rules: &Rules,
    now: Timestamp,
    coverage: &mut Coverage,
) -> Result<(), String> {
    let mut changes = draft.changes.iter();
    // What earlier mutations of the same transaction wrote counts like what was there before.
    let mut fresh: Vec<&(RecordKey, Written)> = Vec::new();
    for (mutation, given) in &draft.settled {
        let key = mutation.key();
        let known = history.writes.get(&key).map(Vec::as_slice).unwrap_or_default();
        let new = fresh.iter().filter(|(other, _)| *other == key).map(|(_, written)| written);
        let writes: Vec<&Written> = known.iter().chain(new).collect();
        let change = if given.changes > 0 { changes.next() } else { None };
        if history.verdicts.contains_key(&mutation.id) {
            coverage.saw(Sight::Rejudged);
        }
        if let Some(object) = rules.objects.get(mutation.object_name.as_str()) {
            let pruned_through = history.pruned_through;
            let case = Case { mutation, sync: &object.sync, writes: &writes, now, pruned_through };
            let outcome = Outcome::new(given, change.map(|(_, written)| written));
            case.check(&outcome, coverage).map_err(|problem| {
                format!(
                    "{problem}: {} on {} writes, {:?}",
                    mutation.to_json(),
                    writes.len(),
                    writes.last().map(|it| it.after.as_ref())
                )
            })?;
        }
        fresh.extend(change);
    }
    Ok(())
}

/// What the server did about a mutation.
enum Outcome<'a> {
    Written(&'a Written),
    Settled,
    Conflict,
    /// Refused by the rules of strategies.
    Gone,
    /// Refused before it came to that.
    Refused,
}

impl<'a> Outcome<'a> {
    fn new(given: &Given, change: Option<&'a Written>) -> Self {
        let text = &given.text;
        match change {
            Some(written) => Self::Written(written),
            None if given.is_applied => Self::Settled,
            None if text.contains(r#""status":"conflict""#) => Self::Conflict,
            None if text.contains("RECORD_NOT_FOUND") || text.contains("RECORD_DELETED") => Self::Gone,
            None => Self::Refused,
        }
    }
}

struct Case<'a> {
    mutation: &'a Mutation,
    sync: &'a SyncConfig,
    writes: &'a [&'a Written],
    now: Timestamp,
    pruned_through: u64,
}

impl Case<'_> {
    fn check(&self, outcome: &Outcome<'_>, coverage: &mut Coverage) -> Result<(), String> {
        if let Outcome::Refused = outcome {
            return Ok(());
        }
        let live = self.writes.last().and_then(|last| last.after.as_ref());
        match (live, self.mutation.operation, &self.mutation.data) {
            (None, operation, _) => self.check_gone(operation, outcome, coverage),
            (Some(live), Operation::Delete, _) => self.check_delete(live, outcome),
            (Some(live), _, Some(data)) => self.check_merge(live, data, outcome, coverage),
            (Some(_), _, None) => Err("a create or update without data was not refused".to_owned()),
        }
    }

    fn check_gone(
        &self,
        operation: Operation,
        outcome: &Outcome<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let asks = self.is_manual() && self.writes.last().is_some_and(|last| self.is_new(last));
        match (operation, outcome) {
            (Operation::Create, Outcome::Written(_)) => {
                if !self.writes.is_empty() {
                    coverage.saw(Sight::Recreated);
                }
                Ok(())
            }
            (Operation::Delete, Outcome::Settled) => Ok(()),
            (Operation::Update, Outcome::Conflict) if asks => Ok(()),
            // Of a tombstone that is forgotten the server cannot know that it was new to somebody.
            (Operation::Update, Outcome::Gone) if !asks || self.is_forgotten() => {
                if self.writes.last().is_some_and(|last| self.is_new(last)) {
                    coverage.saw(Sight::DeleteMetUpdate);
                }
                Ok(())
            }
            _ => Err("S14: a wrong decision on a record that is not there".to_owned()),
        }
    }

    fn check_delete(&self, live: &Fields, outcome: &Outcome<'_>) -> Result<(), String> {
        let fields = live.iter().map(|(key, _)| key).filter(|key| !is_system_field(key));
        let is_changed = fields.into_iter().any(|key| self.last_new(live, key).is_some());
        match outcome {
            Outcome::Conflict if self.is_manual() && is_changed => Ok(()),
            Outcome::Written(_) if self.is_manual() && !is_changed => Ok(()),
            Outcome::Written(written) if !self.is_manual() && !self.saw_only_an_earlier_life() => {
                if written.after.is_none() { Ok(()) } else { Err("S14: a delete left a record".to_owned()) }
            }
            Outcome::Settled if !self.is_manual() && self.is_older_than_life() => Ok(()),
            _ => Err("S14: a wrong decision on a delete".to_owned()),
        }
    }

    fn check_merge(
        &self,
        live: &Fields,
        data: &Fields,
        outcome: &Outcome<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let is_update = self.mutation.operation == Operation::Update;
        if is_update && !self.is_manual() && self.saw_only_an_earlier_life() {
            return match outcome {
                Outcome::Gone => Ok(()),
                _ => Err("S14: an update reached a life its author has not seen".to_owned()),
            };
        }
        if is_update && !self.is_manual() && matches!(outcome, Outcome::Gone) && self.is_older_than_life() {
            // Its author has written in this life, but others have overwritten that: no stored stamp tells of it.
            return Ok(());
        }
        if !is_update && self.writes.last().is_some_and(|last| self.is_new(last)) {
            coverage.saw(Sight::SameIdTwice);
        }
        let overlap: Vec<&str> =
            differing_fields(data, live).filter(|key| self.last_new(live, key).is_some()).collect();
        let asks = |key: &&str| self.sync.conflict_fields.iter().any(|name| format!("\"{name}\"") == **key);
        let is_asked = match self.sync.strategy {
            Strategy::Manual => !overlap.is_empty(),
            Strategy::LastWriteWins => overlap.iter().any(asks),
            Strategy::Crdt => false,
        };
        match outcome {
            Outcome::Conflict if is_asked => Ok(()),
            _ if is_asked => Err("S12: a value was overwritten without asking".to_owned()),
            Outcome::Conflict => Err("S12: a conflict over nothing".to_owned()),
            Outcome::Gone | Outcome::Refused => Err("S14: refused although it is there".to_owned()),
            Outcome::Written(written) => self.check_written(live, data, &overlap, written),
            Outcome::Settled => {
                if !overlap.is_empty() {
                    coverage.saw(Sight::Superseded);
                }
                self.check_settled(live, data, &overlap)
            }
        }
    }

    /// Every field has the value of the write that wins it.
    fn check_written(
        &self,
        live: &Fields,
        data: &Fields,
        overlap: &[&str],
        written: &Written,
    ) -> Result<(), String> {
        let Some(after) = &written.after else { return Err("S14: an update deleted a record".to_owned()) };
        let is_one = self.sync.strategy != Strategy::Crdt;
        for (key, mine) in data.iter().filter(|(key, _)| !is_system_field(key)) {
            let Some(wins) = self.wins(live, key) else { continue };
            let loses = overlap.contains(&key) && !wins;
            if loses && is_one {
                return Err(format!("S12: {key} was overwritten by an earlier write"));
            }
            let expected = if loses { live.get_quoted(key) } else { Some(mine) };
            let is_right = match (after.get_quoted(key), expected) {
                (Some(value), Some(expected)) => value.deep_equals(expected),
                (None, None) => true,
                (value, expected) => value.or(expected).is_some_and(|value| value.is_null()),
            };
            if !is_right {
                return Err(format!("S13: {key} is not what it has to be in {after:?}"));
            }
        }
        let is_kept = |(key, value): (&str, objectql_sync_protocol::Json<'_>)| {
            is_system_field(key)
                || data.get_quoted(key).is_some()
                || after.get_quoted(key).is_some_and(|after| after.deep_equals(value))
        };
        if live.iter().all(is_kept) { Ok(()) } else { Err(format!("S13: a field got lost in {after:?}")) }
    }

    fn check_settled(&self, live: &Fields, data: &Fields, overlap: &[&str]) -> Result<(), String> {
        let is_nothing_new = differing_fields(data, live).all(is_system_field);
        let loses = |key: &&str| self.wins(live, key) != Some(true);
        let is_right = match self.sync.strategy {
            // As a whole: one field that loses is enough.
            Strategy::LastWriteWins => overlap.iter().any(loses),
            Strategy::Crdt => {
                differing_fields(data, live).filter(|key| !is_system_field(key)).all(|key| loses(&key))
            }
            Strategy::Manual => false,
        };
        if is_nothing_new || is_right { Ok(()) } else { Err("S12: a write that wins was dropped".to_owned()) }
    }

    fn is_forgotten(&self) -> bool {
        self.writes.last().is_some_and(|last| last.position <= self.pruned_through)
    }

    fn is_manual(&self) -> bool {
        self.sync.strategy == Strategy::Manual
    }

    fn stamp(&self) -> Stamp {
        Stamp { timestamp: self.mutation.timestamp.min(self.now), client_id: self.mutation.client_id.clone() }
    }

    /// The version the author had seen; one that this line of time never had says nothing.
    fn base(&self) -> u64 {
        let base = self.mutation.base_version.map_or(0, |base| base.get());
        let last = self.writes.last().map_or(0, |last| last.position);
        if base <= last { base } else { 0 }
    }

    fn is_new(&self, written: &Written) -> bool {
        written.client != self.mutation.client_id && written.position > self.base()
    }

    fn lives(&self) -> usize {
        self.writes.iter().filter(|written| written.operation == Operation::Create).count()
    }

    /// The writes since the record was last made.
    fn life(&self) -> &[&Written] {
        let born = self.writes.iter().rposition(|written| written.operation == Operation::Create);
        &self.writes[born.unwrap_or(0)..]
    }

    fn writes_of<'k>(&'k self, key: &'k str) -> impl DoubleEndedIterator<Item = &'k Written> {
        let has = move |written: &&&Written| {
            written.data.as_ref().is_some_and(|data| data.get_quoted(key).is_some())
        };
        self.life().iter().filter(has).copied()
    }

    /// The last write of a field, if it is somebody else's and new to the author.
    fn last_new<'k>(&'k self, live: &Fields, key: &'k str) -> Option<&'k Written> {
        live.get_quoted(key)?;
        self.writes_of(key).next_back().filter(|written| self.is_new(written))
    }

    /// Whether the mutation's value of a field wins; none where that depends on whether the tombstone of an earlier life was
    /// still there to hand its time on.
    fn wins(&self, live: &Fields, key: &str) -> Option<bool> {
        let Some(last) = self.last_new(live, key) else { return Some(true) };
        let wins_over = |timestamp: Option<Timestamp>| {
            let timestamp = timestamp.unwrap_or(last.timestamp);
            self.stamp().wins_over(&Stamp { timestamp, client_id: last.client.clone() })
        };
        // A write that knew of an earlier one is later than it, whatever the writer's clock says.
        let in_life = wins_over(self.writes_of(key).map(|written| written.timestamp).max());
        let ever = wins_over(self.writes.iter().map(|written| written.timestamp).max());
        (in_life == ever || self.lives() == 1).then_some(in_life)
    }

    fn saw_only_an_earlier_life(&self) -> bool {
        let is_own = |written: &&Written| written.client == self.mutation.client_id;
        self.is_older_than_life() && !self.life().iter().any(is_own)
    }

    fn is_older_than_life(&self) -> bool {
        let Some(born) = self.life().first() else { return false };
        let base = self.mutation.base_version.is_some().then(|| self.base()).filter(|base| *base > 0);
        base.is_some_and(|base| base < born.position)
    }
}
