//! What a store holds beside the log, in memory: of a database that is kept there, and of the disks of tests and the simulator.

use super::{Entries, Kind, root_number};

/// A root and segments, as IndexedDB would hold them.
#[derive(Debug, Clone, Default)]
pub struct SegmentsInMemory {
    /// The root's bytes.
    pub root: Option<Vec<u8>>,
    /// The segments' keys and bytes, in the order of the keys.
    pub segments: Vec<(u64, Vec<u8>)>,
    /// The last key given; none is given twice.
    pub last: u64,
}

impl SegmentsInMemory {
    /// Segments in the order of these keys; none for one that is not there.
    #[must_use]
    pub fn get(&self, keys: &[u64]) -> Vec<Option<Vec<u8>>> {
        let find = |key: &u64| self.segments.iter().find(|(other, _)| other == key);
        keys.iter().map(|key| find(key).map(|(_, bytes)| bytes.clone())).collect()
    }

    /// Whether a segment holds pending mutations: for tests and tools.
    #[must_use]
    pub fn holds_pending(&self, segment: &[u8]) -> bool {
        Entries::of(segment).is_ok_and(|(kind, _)| kind == Kind::Pending)
    }

    /// Puts segments in, and takes all out first but those to be kept; gives their keys. None, and nothing is done, where the root
    /// is not the one with that number.
    pub fn write(&mut self, keep: Option<(u64, Vec<u64>)>, segments: Vec<Vec<u8>>) -> Option<Vec<u64>> {
        if let Some((root, keep)) = keep {
            if root_number(self.root.as_deref()) != root {
                return None;
            }
            self.segments.retain(|(key, _)| keep.contains(key));
        }
        let first = self.last + 1;
        self.last += segments.len() as u64;
        self.segments.extend((first..).zip(segments));
        Some((first..=self.last).collect())
    }

    /// Puts a root in the place of the one with that number, and takes out all segments but its own. False, and nothing is done,
    /// where the root is another one by now, or a segment is missing.
    pub fn replace_root(&mut self, replaces: u64, root: Vec<u8>, segments: &[u64]) -> bool {
        let is_there = |key: &u64| self.segments.iter().any(|(other, _)| other == key);
        let is_possible = root_number(self.root.as_deref()) == replaces && segments.iter().all(is_there);
        if is_possible {
            self.segments.retain(|(key, _)| segments.contains(key));
            self.root = Some(root);
        }
        is_possible
    }
}
