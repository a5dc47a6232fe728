//! Everything the server ever committed, kept beside it: what a client's base must be equal to, and what must never change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use objectql_sync_protocol::{ClientId, Fields, Mutation, MutationId, Operation, RecordKey, Timestamp};

/// One committed change.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) position: u64,
    pub(crate) client: ClientId,
    /// The mutation's time as the server counts it.
    pub(crate) timestamp: Timestamp,
    pub(crate) operation: Operation,
    /// The fields that were written.
    pub(crate) data: Option<Fields>,
    /// The record afterwards.
    pub(crate) after: Option<Fields>,
}

/// A verdict as it was given first.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) text: Rc<str>,
    pub(crate) is_applied: bool,
    /// How many changes the mutation made.
    pub(crate) changes: usize,
}

/// What was committed in one line of time: a backup that is put back begins another.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The changes of each record, in order.
    pub(crate) writes: HashMap<RecordKey, Vec<Written>>,
    pub(crate) verdicts: HashMap<MutationId, Given>,
    /// What was a conflict once, whatever it was judged later: a copy of the profile may hear of it after that.
    pub(crate) conflicts: HashSet<MutationId>,
    /// The last sequence judged of each client's record.
    pub(crate) judged: HashMap<(ClientId, RecordKey), u64>,
    pub(crate) last_position: u64,
    /// The highest position that was named in an answer of this epoch.
    pub(crate) told: u64,
    /// The ids that copies of a profile share: once their verdicts are forgotten, nobody can tell the copies apart.
    pub(crate) shared: BTreeSet<ClientId>,
    /// Up to which position the server may have forgotten changes and tombstones.
    pub(crate) pruned_through: u64,
    /// The lines of time that a restore has ended, by epoch.
    pub(crate) ended: BTreeMap<String, Rc<Self>>,
    pub(crate) epoch: String,
}

/// What one transaction did, until it is committed.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) changes: Vec<(RecordKey, Written)>,
    pub(crate) settled: Vec<(Mutation, Given)>,
}

impl History {
    /// The line of time a checkpoint belongs to.
    pub(crate) fn line(&self, epoch: &str) -> Option<&Self> {
        if self.epoch == epoch { Some(self) } else { self.ended.get(epoch).map(AsRef::as_ref) }
    }

    /// The last change of a record up to a position.
    pub(crate) fn last_write_at(&self, key: &RecordKey, position: u64) -> Option<&Written> {
        let writes = self.writes.get(key)?;
        let end = writes.partition_point(|written| written.position <= position);
        writes.get(end.checked_sub(1)?)
    }

    pub(crate) fn live(&self, key: &RecordKey) -> Option<&Fields> {
        self.writes.get(key)?.last()?.after.as_ref()
    }

    /// The verdict on a mutation in this line of time or an ended one.
    pub(crate) fn verdicts_ever(&self, id: MutationId) -> impl Iterator<Item = &Given> {
        std::iter::once(self)
            .chain(self.ended.values().map(AsRef::as_ref))
            .filter_map(move |line| line.verdicts.get(&id))
    }

    /// Whether a mutation ever was a conflict, in this line of time or an ended one.
    pub(crate) fn was_conflict(&self, id: MutationId) -> bool {
        let mut lines = std::iter::once(self).chain(self.ended.values().map(AsRef::as_ref));
        lines.any(|line| line.conflicts.contains(&id))
    }

    /// Takes in what was committed.
    ///
    /// # Errors
    /// What must not have happened.
    pub(crate) fn commit(&mut self, draft: Draft) -> Result<(), String> {
        for (key, written) in draft.changes {
            let position = written.position;
            if position <= self.last_position || position <= self.told {
                return Err(format!(
                    "S9/S10: a change at position {position} after {} was told and {} given out",
                    self.told, self.last_position
                ));
            }
            self.last_position = position;
            self.writes.entry(key).or_default().push(written);
        }
        for (mutation, given) in draft.settled {
            if given.changes > 1 {
                return Err(format!("S2: the mutation {} made {} changes", mutation.id, given.changes));
            }
            if !given.is_applied && given.changes > 0 {
                return Err(format!("S15: the mutation {} was not applied and made a change", mutation.id));
            }
            let sequence = mutation.sequence.get();
            let last = self.judged.insert((mutation.client_id.clone(), mutation.key()), sequence);
            // One whose verdict was forgotten is refused, whenever it comes again.
            let is_shared = self.shared.contains(&mutation.client_id);
            if last >= Some(sequence) && !is_shared && !self.verdicts.contains_key(&mutation.id) {
                return Err(format!(
                    "S4: {} judges sequence {sequence} of {:?} after {last:?}",
                    mutation.client_id,
                    mutation.key()
                ));
            }
            if let Some(first) = self.verdicts.get(&mutation.id)
                && (first.changes > 0 || first.is_applied)
                && given.is_applied
            {
                return Err(format!("S2: the mutation {} was judged twice", mutation.id));
            }
            // A conflict is judged anew on a newer base; any other verdict stays.
            let first = self.verdicts.entry(mutation.id).or_insert_with(|| given.clone());
            if first.text.contains(r#""status":"conflict""#) {
                self.conflicts.insert(mutation.id);
                *first = given;
            }
        }
        Ok(())
    }
}
