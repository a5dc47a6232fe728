//! What changed since the last compaction.

use super::sort::sorted;

/// The numbers of the things that changed, with the row that changed each. Notes for the next compaction, and no part of what the
/// log says: a state that was read from segments has fewer of them than one that folded all rows. So any two are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// The key of the row that is being folded.
    row: u64,
    list: Vec<(u64, u64)>,
}

impl Marks {
    /// What changes from here on is changed by this row.
    pub(crate) const fn begin(&mut self, row: u64) {
        self.row = row;
    }

    /// The thing with that number changes, or goes.
    pub(crate) fn mark(&mut self, number: u64) {
        let mark = (self.row, number);
        if self.list.last() != Some(&mark) {
            self.list.push(mark);
        }
    }

    /// The thing with that number is lost, whichever row did that: with the next compaction it goes.
    pub(crate) fn mark_lost(&mut self, number: u64) {
        self.list.push((self.row + 1, number));
    }

    /// Forgets what rows up to this one changed: it is in segments.
    pub(crate) fn forget(&mut self, through: u64) {
        self.list.retain(|(row, _)| *row > through);
        if self.list.is_empty() {
            // What a large import marked need not stay in memory.
            self.list = Vec::new();
        }
    }

    /// The numbers in order, each once.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        sorted(self.list.iter().map(|(_, number)| *number).collect())
    }
}

impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_segments_is_forgotten() {
        let mut marks = Marks::default();
        for (row, number) in [(3, 7), (3, 7), (3, 2), (4, 7), (5, 1)] {
            marks.begin(row);
            marks.mark(number);
        }
        assert_eq!(marks.numbers(), [1, 2, 7]);
        marks.forget(3);
        assert_eq!(marks.numbers(), [1, 7]);
        marks.forget(4);
        assert_eq!(marks.numbers(), [1]);
        marks.forget(5);
        assert_eq!(marks.numbers(), [] as [u64; 0]);
    }
}
