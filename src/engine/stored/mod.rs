//! What the store holds beside the log: the state up to some row, in segments.
//!
//! A *segment* is one value of the store: many entries, each with a number. A *section* is what of one kind there is (the
//! records of an object, the pending mutations, ...), as a list of *blocks*: which segment, and which of its entries are still
//! live. The *root* lists the sections, and holds what is small. Whoever has the root and the rows after it has everything.
//!
//! An entry is never changed: what changes gets an entry in a new segment, and is live there only. So a compaction writes what
//! changed since the last one, and rewrites a segment only when a third of it is dead, or when small ones are worth joining
//! (the log-structured file system of Rosenblum and Ousterhout, 1992, with its cleaner).

mod filter;
mod memory;
mod root;
mod runs;
mod segment;

use objectql_sync_protocol::{ObjectName, RecordId};
use serde::{Deserialize, Serialize};

use self::filter::IdHash;
pub(crate) use self::filter::hash as hash_id;
pub use self::memory::SegmentsInMemory;
pub use self::root::root_number;
pub(crate) use self::root::{Body, Rest, Root, SnapshotRest};
pub(crate) use self::runs::Runs;
pub(crate) use self::segment::{Entries, Finished, Item, Segment, decode_record};

/// What a section is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The records of an object; the numbers are those of the table.
    Records(ObjectName),
    /// The records of an object in the snapshot with that number.
    Collected(u64, ObjectName),
    /// The pending mutations; the numbers are their sequences.
    Pending,
    /// What can be taken back or made again.
    Undo,
}

/// All of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// The number that the next thing of the kind gets.
    pub(crate) next: u64,
    /// How many bytes the blocks had when the dead ones among them were last counted exactly.
    pub(crate) checked: u64,
    pub(crate) blocks: Vec<Block>,
}

/// A segment, and what of it is live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// The segment's key in the store.
    pub(crate) segment: u64,
    /// Its size.
    pub(crate) bytes: u32,
    /// How many entries it has.
    pub(crate) count: u32,
    /// The numbers of the live ones.
    pub(crate) live: Runs,
    /// The first and the last id of its records.
    pub(crate) ids: Option<(RecordId, RecordId)>,
    /// Which ids may be in it; empty where the first and the last say enough.
    pub(crate) filter: Vec<u8>,
}

impl Block {
    /// Whether a record with that id, which has that hash, may be in it.
    pub(crate) fn may_hold(&self, id: &RecordId, hash: IdHash) -> bool {
        let is_between = self.ids.as_ref().is_none_or(|(first, last)| first <= id && id <= last);
        is_between && (self.filter.is_empty() || filter::has(&self.filter, hash))
    }

    /// About how many of its bytes are live.
    pub(crate) fn live_bytes(&self) -> u64 {
        u64::from(self.bytes) * self.live.len() / u64::from(self.count.max(1))
    }
}
