//! The mutations that are not settled, in the order of their sequences.

use std::collections::VecDeque;

use objectql_sync_protocol::Sequence;

use super::state::Pending;

/// The mutations that are not settled, in the order of their sequences.
///
/// They come at the end and go near the front, in about the order in which they came: a sorted double-ended queue does that
/// in constant time, and finds one by bisection.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Queue(VecDeque<Pending>);

impl Queue {
    fn place(&self, sequence: Sequence) -> Result<usize, usize> {
        self.0.binary_search_by_key(&sequence, |pending| pending.sequence)
    }

    pub(crate) fn get(&self, sequence: &Sequence) -> Option<&Pending> {
        self.0.get(self.place(*sequence).ok()?)
    }

    pub(crate) fn get_mut(&mut self, sequence: &Sequence) -> Option<&mut Pending> {
        let place = self.place(*sequence).ok()?;
        self.0.get_mut(place)
    }

    /// Takes in a mutation; one with the same sequence gives way.
    pub(crate) fn insert(&mut self, pending: Pending) {
        match self.place(pending.sequence) {
            Ok(place) => {
                if let Some(old) = self.0.get_mut(place) {
                    *old = pending;
                }
            }
            Err(place) => self.0.insert(place, pending),
        }
    }

    pub(crate) fn remove(&mut self, sequence: &Sequence) -> Option<Pending> {
        self.0.remove(self.place(*sequence).ok()?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
