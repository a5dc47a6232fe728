//! The root and its bytes: sealed, the body its number in eight bytes, then the rest in postcard's encoding, then the versions of
//! objects where some were migrated, then what pages asked for where that is not decided.

use objectql_sync_protocol::{Checkpoint, ClientId, ObjectName, RecordKey, Sequence, ServerVersion};
use serde::{Deserialize, Serialize};

use super::Section;
use crate::engine::clock::Clock;
use crate::engine::migrate::Versions;
use crate::engine::row::{Subscription, TabId};
use crate::engine::seal::{self, FormatError};
use crate::engine::state::Rejected;

const MAGIC: [u8; 2] = *b"OR";
/// The newest version. 1: without versions of objects. 2: without what is asked.
const VERSION: u8 = 3;
/// Where the number is.
const NUMBER_AT: usize = 7;

/// Where everything is that rows up to `folded` led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Root {
    /// Rises by one with each compaction: who writes a root says which one it replaces.
    pub(crate) number: u64,
    pub(crate) body: Body,
}

/// All of a root but its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// The key of the last row that is folded into it.
    pub(crate) folded: u64,
    pub(crate) sections: Vec<Section>,
    pub(crate) rest: Rest,
}

/// What of the state is small. See `State` for what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rest {
    pub(crate) client_id: Option<ClientId>,
    pub(crate) clock: Clock,
    pub(crate) last_sequence: Sequence,
    pub(crate) applied: Vec<Sequence>,
    pub(crate) parked: Vec<Sequence>,
    pub(crate) rejected: Vec<Rejected>,
    /// The numbers and sizes of the writes that can be taken back, and of those that can be made again.
    pub(crate) undo: Vec<(u64, usize)>,
    pub(crate) redo: Vec<(u64, usize)>,
    pub(crate) frozen: Vec<Sequence>,
    pub(crate) subscriptions: Option<Vec<Subscription>>,
    pub(crate) seen_versions: Vec<(RecordKey, ServerVersion)>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) is_behind: bool,
    pub(crate) snapshots: u64,
    pub(crate) snapshot: Option<SnapshotRest>,
    pub(crate) leader: Option<TabId>,
    pub(crate) generation: u64,
    pub(crate) writers: Vec<(TabId, u64)>,
    /// Comes after all else: a root of an earlier release ends before it.
    #[serde(skip)]
    pub(crate) versions: Versions,
    /// Likewise; the bytes of their rows.
    #[serde(skip)]
    pub(crate) asked: Vec<Vec<u8>>,
}

/// What of a snapshot is small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotRest {
    pub(crate) number: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) objects: Vec<ObjectName>,
}

impl Root {
    /// The root's bytes.
    ///
    /// # Errors
    /// `BadBody` for what cannot be encoded.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let Rest { versions, asked, .. } = &self.body.rest;
        // Older releases read what they know.
        let version = match (versions.is_empty(), asked.is_empty()) {
            (true, true) => 1,
            (false, true) => 2,
            (_, false) => VERSION,
        };
        let mut bytes = seal::begin(MAGIC, version);
        bytes.extend(self.number.to_le_bytes());
        seal::append(&self.body, &mut bytes)?;
        if version > 1 {
            seal::append(versions, &mut bytes)?;
        }
        if version > 2 {
            seal::append(asked, &mut bytes)?;
        }
        Ok(seal::finish(bytes))
    }

    /// Reads a root from its bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let body = seal::open(bytes, MAGIC, VERSION)?;
        let (number, body) = body.split_first_chunk().ok_or(FormatError::BadBody)?;
        let (mut body, mut rest): (Body, _) =
            postcard::take_from_bytes(body).map_err(|_| FormatError::BadBody)?;
        if !rest.is_empty() {
            (body.rest.versions, rest) = postcard::take_from_bytes(rest).map_err(|_| FormatError::BadBody)?;
        }
        if !rest.is_empty() {
            (body.rest.asked, rest) = postcard::take_from_bytes(rest).map_err(|_| FormatError::BadBody)?;
        }
        let mut blocks = body.sections.iter().flat_map(|section| &section.blocks);
        if !rest.is_empty() || !blocks.all(|block| block.live.is_sound(u64::from(block.count))) {
            return Err(FormatError::BadBody);
        }
        Ok(Self { number: u64::from_le_bytes(*number), body })
    }

    /// The keys of its segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = u64> {
        self.body.sections.iter().flat_map(|section| &section.blocks).map(|block| block.segment)
    }
}

/// The number of a root by its bytes, damaged or not; 0 where there is none.
#[must_use]
pub fn root_number(bytes: Option<&[u8]>) -> u64 {
    let number = bytes.and_then(|bytes| bytes.get(NUMBER_AT..)?.first_chunk());
    number.map_or(0, |number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::early::Early;
    use crate::engine::row::Place;
    use crate::engine::state::State;
    use crate::engine::stored::{Block, Kind, Runs};

    fn sample() -> Root {
        let live = Runs::of([1, 2].into_iter());
        let block = Block { segment: 7, bytes: 1000, count: 3, live, ids: None, filter: Vec::new() };
        let section = Section { kind: Kind::Pending, next: 9, checked: 0, blocks: vec![block] };
        Root {
            number: 300,
            body: Body { folded: 12, sections: vec![section], rest: State::default().rest() },
        }
    }

    #[test]
    fn bytes_survive() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Root::decode(&bytes), Ok(sample()));
        assert_eq!(root_number(Some(&bytes)), 300);
        assert_eq!(root_number(Some(&bytes[..10])), 0);
        assert_eq!(root_number(None), 0);
    }

    /// Goal: a root is for older releases as long as nothing in it is unknown to them.
    #[test]
    fn only_versions_of_objects_and_what_is_asked_make_a_later_root() {
        let mut root = sample();
        assert_eq!(root.encode().unwrap()[2], 1);
        let story = ObjectName::new("story").unwrap();
        root.body.rest.versions.note(&story, 2, Place { sequence: 3, number: 4 }, false);
        let bytes = root.encode().unwrap();
        assert_eq!(bytes[2], 2);
        assert_eq!(Root::decode(&bytes), Ok(root.clone()));
        for versions in [root.body.rest.versions.clone(), Versions::default()] {
            root.body.rest.versions = versions;
            root.body.rest.asked = vec![Early::of_update().encode()];
            let bytes = root.encode().unwrap();
            assert_eq!(bytes[2], 3);
            assert_eq!(Root::decode(&bytes), Ok(root.clone()));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = sample().encode().unwrap();
        for place in 0..bytes.len() {
            assert!(Root::decode(&bytes[..place]).is_err(), "cut at {place}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert!(place == 2 || Root::decode(&damaged).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn more_live_entries_than_there_are_make_no_sense() {
        let mut root = sample();
        root.body.sections[0].blocks[0].count = 1;
        assert_eq!(Root::decode(&root.encode().unwrap()), Err(FormatError::BadBody));
    }
}
