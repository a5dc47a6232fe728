//! A database of a client: the log, what is stored beside it, and the account of both. Where the store is cleared or put back to an
//! earlier copy, another one takes its place; tabs that were open go on with the old one until they notice.

use std::collections::BTreeSet;

use objectql_offline::engine::{Input, Output, Row, SegmentsInMemory};

use crate::action::{Harm, Stored};
use crate::ledger::Ledger;

/// One row as it lies on the disk.
#[derive(Debug, Clone)]
pub(crate) struct DiskRow {
    /// None: it is missing.
    pub(crate) bytes: Option<Vec<u8>>,
    /// What was appended, whatever became of the bytes.
    pub(crate) row: Row,
}

/// One database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    /// All rows that ever were.
    pub(crate) disk: Vec<DiskRow>,
    /// How many of them became segments. Of the last one the key is left.
    pub(crate) through: usize,
    pub(crate) stored: SegmentsInMemory,
    pub(crate) ledger: Ledger,
    /// The tokens of writes that were promised to be durable, and of those that were refused.
    pub(crate) promised: BTreeSet<usize>,
    pub(crate) refused: BTreeSet<usize>,
}

impl Life {
    pub(crate) fn rows_after(&self, after: u64) -> Vec<(u64, Vec<u8>)> {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX).max(self.through.saturating_sub(1));
        let first = u64::try_from(skipped).unwrap_or(u64::MAX) + 1;
        let rows = (first..).zip(self.disk.iter().skip(skipped));
        let is_key_only = |key: u64| usize::try_from(key) == Ok(self.through);
        let rows = rows.filter_map(|(key, row)| {
            Some((key, if is_key_only(key) { Vec::new() } else { row.bytes.clone()? }))
        });
        rows.collect()
    }

    /// Does what a step of a compaction says.
    pub(crate) fn take_step(&mut self, step: Output) -> Input {
        match step {
            Output::WriteSegments { compaction, keep, segments } => match self.stored.write(keep, segments) {
                Some(keys) => Input::SegmentsWritten { compaction, keys },
                None => Input::CompactionFailed { compaction },
            },
            Output::Compact { compaction, replaces, root, segments, through } => {
                if !self.stored.replace_root(replaces, root, &segments) {
                    return Input::CompactionFailed { compaction };
                }
                self.through = usize::try_from(through).unwrap_or(usize::MAX);
                Input::Compacted { compaction }
            }
            Output::ReadRoot { compaction } => Input::Root { compaction, root: self.stored.root.clone() },
            _ => Input::Wake,
        }
    }

    /// Something that is stored is not what it was. Whether there was any such thing.
    pub(crate) fn damage(&mut self, what: Stored, place: usize, harm: Harm, bit: usize) -> bool {
        match what {
            Stored::Row => {
                let count = self.disk.len().saturating_sub(self.through);
                if count == 0 {
                    return false;
                }
                let place = self.through + place % count;
                let row = &mut self.disk[place];
                harm.strike(&mut row.bytes, bit);
                self.ledger.lose_row(place + 1);
                true
            }
            Stored::Segment if self.stored.segments.is_empty() => false,
            Stored::Segment => {
                let place = place % self.stored.segments.len();
                let (key, bytes) = self.stored.segments.swap_remove(place);
                if self.stored.holds_pending(&bytes) {
                    // It may be of a root that is not there yet.
                    self.ledger.lose_pending_through(self.disk.len());
                }
                let mut bytes = Some(bytes);
                harm.strike(&mut bytes, bit);
                if let Some(bytes) = bytes {
                    self.stored.segments.push((key, bytes));
                    self.stored.segments.sort_unstable_by_key(|(key, _)| *key);
                }
                self.ledger.is_damaged = true;
                true
            }
            Stored::Root if self.stored.root.is_none() => false,
            Stored::Root => {
                harm.strike(&mut self.stored.root, bit);
                self.ledger.lose_all_through(self.through);
                true
            }
        }
    }
}

impl Harm {
    fn strike(self, stored: &mut Option<Vec<u8>>, bit: usize) {
        let Some(bytes) = stored else { return };
        match self {
            Self::Flip => {
                let bits = bytes.len() * 8;
                if bits > 0 {
                    let bit = bit % bits;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            Self::Truncated => bytes.truncate(bytes.len() / 2),
            Self::Empty => bytes.clear(),
            Self::Gone => *stored = None,
        }
    }
}
