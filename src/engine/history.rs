//! What can be taken back: the app's last writes, in every tab of the database, in the order of the log.
//!
//! It is part of the state, so that it outlives a reload: the fold sees how a record looked before each mutation and after it.

use std::collections::VecDeque;

use objectql_sync_protocol::{Fields, RecordKey};
use serde::{Deserialize, Serialize};

use super::marks::Marks;

/// The most writes that can be taken back.
const MAX_UNITS: usize = 100;
/// The most bytes of records that are kept for it: 8 MiB of JSON text.
const MAX_BYTES: usize = 8 << 20;

/// The writes that can be taken back, and those that can be made again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    undo: VecDeque<Unit>,
    redo: VecDeque<Unit>,
    /// The number that the next write gets.
    next: u64,
    /// By number.
    pub(crate) marks: Marks,
}

/// One write of the app: a call, or a transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Given when the write is put with the others.
    pub(crate) number: u64,
    /// One for each record, in the order in which they were first changed; none while they are in a segment that nobody needed yet,
    /// and where they are lost. Such a write stays among the others: another tab may have its steps in memory, and the log says
    /// nothing of it until somebody comes to take it back.
    pub(crate) steps: Vec<Step>,
    /// How many bytes of records they hold; counted when the write is put with the others.
    bytes: usize,
}

/// One whose steps are in a segment is equal to what it stands for.
impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        let is_outline = self.steps.is_empty() || other.steps.is_empty();
        self.number == other.number && self.bytes == other.bytes && (is_outline || self.steps == other.steps)
    }
}

impl Unit {
    pub(crate) const fn of(steps: Vec<Step>) -> Self {
        Self { number: 0, steps, bytes: 0 }
    }

    /// About how many bytes it has in a segment.
    pub(crate) const fn stored_bytes(&self) -> usize {
        self.bytes + 64 * self.steps.len()
    }
}

/// What a write did to one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) key: RecordKey,
    pub(crate) before: Option<Fields>,
    pub(crate) after: Option<Fields>,
}

impl History {
    /// The write to take back next, or to make again; and how many after it cannot be, because their steps are lost.
    pub(crate) fn last(&self, is_redo: bool) -> (usize, Option<&Unit>) {
        let units = if is_redo { &self.redo } else { &self.undo };
        let lost = units.iter().rev().take_while(|unit| unit.steps.is_empty()).count();
        (lost, units.iter().rev().nth(lost))
    }

    /// How many writes can be taken back, and how many made again.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }

    /// The app wrote: what was taken back is over.
    pub(crate) fn wrote(&mut self, unit: Unit) {
        if !unit.steps.is_empty() {
            for unit in self.redo.drain(..) {
                self.marks.mark(unit.number);
            }
            self.push(false, unit);
        }
    }

    /// The last write was taken back, or made again, by this.
    pub(crate) fn reverted(&mut self, is_redo: bool, unit: Unit) {
        let from = if is_redo { &mut self.redo } else { &mut self.undo };
        if let Some(gone) = from.pop_back() {
            self.marks.mark(gone.number);
        }
        if !unit.steps.is_empty() {
            self.push(!is_redo, unit);
        }
    }

    /// Adds a write; the oldest go where there are too many or they are too large.
    fn push(&mut self, is_redo: bool, mut unit: Unit) {
        let units = if is_redo { &mut self.redo } else { &mut self.undo };
        let texts = unit.steps.iter().flat_map(|step| [&step.before, &step.after]).flatten();
        unit.bytes = texts.fold(0, |sum: usize, fields| sum.saturating_add(fields.as_str().len()));
        unit.number = self.next;
        self.next += 1;
        self.marks.mark(unit.number);
        units.push_back(unit);
        let mut bytes = 0_usize;
        let mut is_kept = |unit: &&Unit| {
            bytes = bytes.saturating_add(unit.bytes);
            bytes <= MAX_BYTES
        };
        let kept = units.iter().rev().take(MAX_UNITS).take_while(&mut is_kept).count();
        for gone in units.drain(..units.len() - kept) {
            self.marks.mark(gone.number);
        }
    }

    /// The number that the next write gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// All writes in it, in the order of their numbers or not.
    pub(crate) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.undo.iter().chain(&self.redo)
    }

    /// The numbers and sizes of the writes that can be taken back, and of those that can be made again.
    pub(crate) fn outline(&self) -> [Vec<(u64, usize)>; 2] {
        [&self.undo, &self.redo].map(|units| units.iter().map(|unit| (unit.number, unit.bytes)).collect())
    }

    /// What was outlined; the steps are to be [filled in](Self::fill) when somebody needs them.
    pub(crate) fn restored(outline: [&[(u64, usize)]; 2], next: u64) -> Self {
        let [undo, redo] = outline.map(|units| {
            let unit =
                |(number, bytes): &(u64, usize)| Unit { number: *number, steps: Vec::new(), bytes: *bytes };
            units.iter().map(unit).collect()
        });
        Self { undo, redo, next, marks: Marks::default() }
    }

    /// Nothing can be taken back any more.
    pub(crate) fn forget_all(&mut self) {
        for unit in self.undo.drain(..).chain(self.redo.drain(..)) {
            self.marks.mark(unit.number);
        }
    }

    /// Fills steps in that come from a segment.
    pub(crate) fn fill(&mut self, stored: Vec<Unit>) {
        for unit in stored {
            let mut all = self.undo.iter_mut().chain(&mut self.redo);
            if let Some(place) = all.find(|place| place.number == unit.number) {
                *place = unit;
            }
        }
    }
}
