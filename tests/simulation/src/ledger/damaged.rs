//! Rows that are damaged: what they recorded may be lost, and what they said unsaid.

use super::Ledger;
use crate::coverage::{Coverage, Sight};

impl Ledger {
    /// A row is damaged: what it recorded may be lost, and what it said of other mutations may be unsaid.
    pub(crate) fn lose_row(&mut self, row: usize) {
        self.is_damaged = true;
        self.unreadable.insert(row);
        for entry in self.entries.values_mut() {
            entry.may_be_lost |= entry.recorded_at == row;
            entry.may_be_undone |= entry.judged_at.contains(&row);
        }
    }

    /// What the rows up to this one left pending is damaged.
    pub(crate) fn lose_pending_through(&mut self, row: usize) {
        self.is_damaged = true;
        for entry in self.entries.values_mut() {
            entry.may_be_lost |= entry.recorded_at <= row;
        }
    }

    /// All that the rows up to this one led to is damaged.
    pub(crate) fn lose_all_through(&mut self, row: usize) {
        self.lose_pending_through(row);
        for entry in self.entries.values_mut() {
            entry.may_be_undone |= entry.judged_at.iter().any(|at| *at <= row);
        }
    }

    /// What cannot be read is written down.
    pub(super) fn mend(
        &mut self,
        is_renamed: bool,
        details: &[String],
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        if !self.is_damaged || details.is_empty() {
            return Err(format!("D1: damage is written down that nobody did: {details:?}"));
        }
        coverage.saw(Sight::Mended);
        if is_renamed {
            self.renamed_at = self.rows;
            coverage.saw(Sight::MendedRenamed);
        }
        self.mended.push((self.rows, details.to_vec()));
        self.is_collecting = true;
        self.is_frozen_unsure = true;
        // Where nothing is pulled, no snapshot takes the place of one that is lost: the next answer is the first of all.
        self.checkpoint = None;
        Ok(())
    }
}
