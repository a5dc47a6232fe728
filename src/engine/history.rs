//! What can be taken back: the app's last writes, in every tab of the database, in the order of the log.
//!
//! It is part of the state, so that it outlives a reload: the fold sees how a record looked before each mutation and after it.

use std::collections::VecDeque;

use objectql_sync_protocol::{Fields, RecordKey};

/// The most writes that can be taken back.
const MAX_UNITS: usize = 100;
/// The most bytes of records that are kept for it: 8 MiB of JSON text.
const MAX_BYTES: usize = 8 << 20;

/// The writes that can be taken back, and those that can be made again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    undo: VecDeque<Unit>,
    redo: VecDeque<Unit>,
}

/// One write of the app: a call, or a transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    /// One for each record, in the order in which they were first changed.
    pub(crate) steps: Vec<Step>,
    /// How many bytes of records they hold; counted when the write is put with the others.
    bytes: usize,
}

impl Unit {
    pub(crate) const fn of(steps: Vec<Step>) -> Self {
        Self { steps, bytes: 0 }
    }
}

/// What a write did to one record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) key: RecordKey,
    pub(crate) before: Option<Fields>,
    pub(crate) after: Option<Fields>,
}

impl History {
    /// The write to take back next, or to make again.
    pub(crate) fn last(&self, is_redo: bool) -> Option<&Unit> {
        if is_redo { self.redo.back() } else { self.undo.back() }
    }

    /// How many writes can be taken back, and how many made again.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }

    /// The app wrote: what was taken back is over.
    pub(crate) fn wrote(&mut self, unit: Unit) {
        if !unit.steps.is_empty() {
            self.redo.clear();
            push(&mut self.undo, unit);
        }
    }

    /// The last write was taken back, or made again, by this.
    pub(crate) fn reverted(&mut self, is_redo: bool, unit: Unit) {
        let (from, to) =
            if is_redo { (&mut self.redo, &mut self.undo) } else { (&mut self.undo, &mut self.redo) };
        from.pop_back();
        if !unit.steps.is_empty() {
            push(to, unit);
        }
    }
}

/// Adds a write; the oldest go where there are too many or they are too large.
fn push(units: &mut VecDeque<Unit>, mut unit: Unit) {
    let texts = unit.steps.iter().flat_map(|step| [&step.before, &step.after]).flatten();
    unit.bytes = texts.fold(0, |sum: usize, fields| sum.saturating_add(fields.as_str().len()));
    units.push_back(unit);
    let mut bytes = 0_usize;
    let mut is_kept = |unit: &&Unit| {
        bytes = bytes.saturating_add(unit.bytes);
        bytes <= MAX_BYTES
    };
    let kept = units.iter().rev().take(MAX_UNITS).take_while(&mut is_kept).count();
    units.drain(..units.len() - kept);
}
