//! Decisions on mutations that wait for one: conflicts and rejected ones.

use objectql_sync_protocol::{Fields, MutationId, Operation, Sequence, quoted};

use super::{Staged, check_size, is_set_by_driver, stamped};
use crate::engine::command::{Reply, Resolution};
use crate::engine::record::apply;
use crate::engine::row::Event;
use crate::engine::state::{Pending, Progress, Rejected};
use crate::error::Error;

impl Staged<'_> {
    pub(super) fn resolve(&mut self, mutation: MutationId, resolution: &Resolution) -> Result<Reply, Error> {
        let unknown = || Error::UnknownMutation(mutation.to_string());
        let pending = self.state.find_pending(mutation).ok_or_else(unknown)?;
        let Progress::Parked(parked) = &pending.progress else { return Err(unknown()) };
        self.claim(mutation, pending.sequence)?;
        let theirs = parked.server_record.as_ref();
        let wanted = match resolution {
            Resolution::Theirs => None,
            Resolution::Mine => self.wanted_of_mine(pending, theirs),
            Resolution::Record(record) => Some((Operation::Update, Some(record.clone()))),
        };
        let instead = wanted.and_then(|(operation, data)| {
            let key = pending.recorded.key();
            let data = data.map(|data| data.filtered(|name, _| !is_set_by_driver(name)));
            let (operation, data) = match (operation, data, theirs) {
                (Operation::Delete, ..) => (Operation::Delete, None),
                (_, Some(data), Some(theirs)) => {
                    (Operation::Update, Some(self.newer_than(pending, &data, theirs)?))
                }
                // Deleted on the server: to keep the record is to make it again.
                (_, data, _) => (Operation::Create, data),
            };
            let stamp = self.clock.issue(self.now);
            let data = match operation {
                Operation::Create => Some(stamped(&mut self.text, &data?, &key.id, stamp, stamp).ok()?),
                Operation::Update => data.map(|data| data.with("updated_at", &quoted(&stamp.to_string()))),
                Operation::Delete => None,
            };
            let mut recorded = self.recorded(key, operation, data);
            recorded.base_version = parked.server_version.or(recorded.base_version);
            Some(recorded)
        });
        self.events.push(Event::Decided { sequence: pending.sequence, instead });
        Ok(Reply::Done)
    }

    /// What the local change wants, as the record it would make where the server has none.
    fn wanted_of_mine(
        &self,
        pending: &Pending,
        theirs: Option<&Fields>,
    ) -> Option<(Operation, Option<Fields>)> {
        let Pending { recorded, base, .. } = pending;
        match (recorded.operation, theirs) {
            (Operation::Delete, None) => None,
            (Operation::Delete, Some(_)) => Some((Operation::Delete, None)),
            (_, Some(_)) => Some((Operation::Update, recorded.data.clone())),
            (_, None) => Some((
                Operation::Create,
                recorded.data.as_ref().map(|data| match base {
                    Some(base) => base.merged(data),
                    None => data.clone(),
                }),
            )),
        }
    }

    /// The fields of `data` that differ from the server's, without those that a later local mutation sets: that one is the
    /// last word on them, and comes before the resolution in the client's order.
    fn newer_than(&self, pending: &Pending, data: &Fields, theirs: &Fields) -> Option<Fields> {
        let later: Vec<&Fields> = self
            .state
            .record(&pending.recorded.key())?
            .pending()
            .iter()
            .filter(|sequence| **sequence > pending.sequence)
            .filter_map(|sequence| self.state.pending.get(sequence)?.recorded.data.as_ref())
            .collect();
        let left = data.filtered(|name, value| {
            theirs.get_quoted(name).is_none_or(|other| !other.deep_equals(value))
                && !later.iter().any(|other| other.get_quoted(name).is_some())
        });
        (!left.is_empty()).then_some(left)
    }

    /// What a rejected create took along is made again with it.
    pub(super) fn retry(&mut self, mutation: MutationId, patch: Option<&Fields>) -> Result<Reply, Error> {
        let rejected =
            self.state.find_rejected(mutation).ok_or_else(|| Error::UnknownMutation(mutation.to_string()))?;
        self.retry_one(rejected, patch)?;
        for dependant in self.state.rejected.iter().filter(|other| other.cause == Some(mutation)) {
            if !self.decided.contains(&dependant.sequence) {
                self.retry_one(dependant, None)?;
            }
        }
        Ok(Reply::Done)
    }

    fn retry_one(&mut self, rejected: &Rejected, patch: Option<&Fields>) -> Result<(), Error> {
        let Rejected { sequence, recorded, .. } = rejected;
        self.writable(&recorded.object)?;
        let key = recorded.key();
        let data = match (&recorded.data, patch) {
            (Some(data), Some(patch)) => {
                Some(data.merged(&patch.filtered(|name, _| !is_set_by_driver(name))))
            }
            (data, _) => data.clone(),
        };
        if let Some(data) = &data {
            check_size(data)?;
        }
        self.claim(recorded.id, *sequence)?;
        let recorded = self.recorded(key.clone(), recorded.operation, data.clone());
        if recorded.sequence.is_none() && recorded.operation == Operation::Update && self.view(&key).is_none()
        {
            // Its object takes no part any more: there is nothing here to change, and no server to ask.
            return Err(Error::NotFound { object: key.object.to_string(), id: key.id.to_json() });
        }
        let view = apply(self.view(&key).cloned(), recorded.operation, data.as_ref());
        self.set_view(&key, view);
        self.events.push(Event::Decided { sequence: *sequence, instead: Some(recorded) });
        Ok(())
    }

    pub(super) fn discard(&mut self, mutation: MutationId) -> Result<Reply, Error> {
        let rejected =
            self.state.find_rejected(mutation).ok_or_else(|| Error::UnknownMutation(mutation.to_string()))?;
        let sequence = rejected.sequence;
        self.claim(mutation, sequence)?;
        self.events.push(Event::Decided { sequence, instead: None });
        Ok(Reply::Done)
    }

    /// Two decisions on one mutation in one row: only the first counts.
    fn claim(&mut self, mutation: MutationId, sequence: Sequence) -> Result<(), Error> {
        if self.decided.contains(&sequence) {
            return Err(Error::UnknownMutation(mutation.to_string()));
        }
        self.decided.push(sequence);
        Ok(())
    }
}
