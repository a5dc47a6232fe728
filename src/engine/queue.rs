//! The mutations that are not settled, in the order of their sequences.

use std::collections::VecDeque;

use objectql_sync_protocol::Sequence;

use super::marks::Marks;
use super::state::Pending;

/// The mutations that are not settled, in the order of their sequences.
///
/// They come at the end and go near the front, in about the order in which they came: a sorted double-ended queue does that
/// in constant time, and finds one by bisection.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Queue {
    list: VecDeque<Pending>,
    /// By sequence.
    pub(crate) marks: Marks,
}

impl Queue {
    fn place(&self, sequence: Sequence) -> Result<usize, usize> {
        self.list.binary_search_by_key(&sequence, |pending| pending.sequence)
    }

    pub(crate) fn get(&self, sequence: &Sequence) -> Option<&Pending> {
        self.list.get(self.place(*sequence).ok()?)
    }

    pub(crate) fn get_mut(&mut self, sequence: &Sequence) -> Option<&mut Pending> {
        let place = self.place(*sequence).ok()?;
        self.marks.mark(sequence.get());
        self.list.get_mut(place)
    }

    /// Takes in a mutation; one with the same sequence gives way.
    pub(crate) fn insert(&mut self, pending: Pending) {
        self.marks.mark(pending.sequence.get());
        match self.place(pending.sequence) {
            Ok(place) => {
                if let Some(old) = self.list.get_mut(place) {
                    *old = pending;
                }
            }
            Err(place) => self.list.insert(place, pending),
        }
    }

    pub(crate) fn remove(&mut self, sequence: &Sequence) -> Option<Pending> {
        let place = self.place(*sequence).ok()?;
        self.marks.mark(sequence.get());
        self.list.remove(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}
