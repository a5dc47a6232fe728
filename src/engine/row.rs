//! One row of the log and its bytes: sealed, the body in postcard's encoding.
//!
//! A row is what one IndexedDB transaction appends: it is there as a whole or not at all.

use objectql_sync_protocol::{
    Checkpoint, ClientId, Direction, Fields, Mutation, MutationId, ObjectName, Operation, RecordId,
    RecordKey, Sequence, ServerVersion, Timestamp, merge::Rule,
};
use serde::{Deserialize, Serialize};

use super::seal::{self, FormatError};

const MAGIC: [u8; 2] = *b"OQ";
/// The newest version. 1: without `Reverted`. 2: without `Mended`. 3: without `Migrated`. 4: without `Asked` and `Answered`.
const VERSION: u8 = 5;

/// About how many bytes a mutation has beside its data.
const RECORDED_BYTES: usize = 128;

/// The most bytes one row may have: 32 MiB. Chromium refuses IndexedDB values of about 128 MiB.
pub const MAX_ROW_BYTES: usize = 32 << 20;

/// Who appended a row, as drawn at random by each engine when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TabId(pub u64);

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which engine appended it.
    pub tab: TabId,
    /// The how-manieth append of that engine: after a commit whose outcome is unknown, this tells whether it was made.
    pub number: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One thing that happened. The state is the fold of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The database was made. The first event of every log, and only there.
    Opened {
        /// Under which id this database writes.
        client_id: ClientId,
    },
    /// The app changed records.
    Recorded(Vec<Recorded>),
    /// A batch is about to be sent: until an answer to it is received, only exactly this batch may be sent.
    Frozen {
        /// The members.
        batch: Vec<Sequence>,
    },
    /// The frozen batch was refused as a whole, and nothing of it applied: any batch may be frozen again.
    Thawed,
    /// The server answered.
    Received(Box<Received>),
    /// The server does not know our checkpoint any more: a snapshot is collected beside the data.
    ResetBegan {
        /// The objects whose records the snapshot will replace.
        objects: Vec<ObjectName>,
    },
    /// A mutation that waited in conflicts() or rejected() was decided: it is dropped, and `instead` recorded.
    Decided {
        /// The mutation that waited.
        sequence: Sequence,
        /// What the decision wants from the server.
        instead: Option<Recorded>,
    },
    /// These objects take part in sync from here on.
    Subscribed(Vec<Subscription>),
    /// The database writes under another id: somebody else writes under the one it had.
    Renamed {
        /// The new one.
        client_id: ClientId,
    },
    /// The app took back what it did last, or made it again.
    Reverted {
        /// Whether it was made again.
        is_redo: bool,
        /// What that takes; nothing where all of it was changed since.
        mutations: Vec<Recorded>,
    },
    /// Some of what is stored cannot be read: all go on without it.
    Mended {
        /// The database writes under another id, where sequences of this one may have been lost.
        client_id: Option<ClientId>,
        /// The objects whose records are collected anew.
        objects: Vec<ObjectName>,
        /// The segments that are lost.
        segments: Vec<u64>,
        /// What cannot be read, for people.
        details: Vec<String>,
    },
    /// The data of an object, or some of them, have the shape of a later version of it.
    Migrated(Box<Migrated>),
    /// A page writes that has no engine yet: what it wants is to be decided. Alone in its row, which the page makes itself
    /// (`pkg/src/row-bytes.ts`); by its tab and number it is known. It may come before `Opened`.
    Asked(Asked),
    /// That was decided. What it led to comes before this, in the same row.
    Answered {
        /// Who asked.
        tab: TabId,
        /// The number of the row.
        number: u64,
        /// What the page is told, see [`Reply::to_early_text`](super::Reply::to_early_text).
        reply: String,
    },
}

impl Event {
    /// What was recorded with it.
    #[must_use]
    pub fn recorded(&self) -> &[Recorded] {
        match self {
            Self::Recorded(recorded) | Self::Reverted { mutations: recorded, .. } => recorded,
            Self::Decided { instead: Some(recorded), .. } => std::slice::from_ref(recorded),
            _ => &[],
        }
    }
}

/// A write as a page gives it to its driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What kind of write.
    pub kind: String,
    /// The object's name.
    pub object: String,
    /// The version of the object's definition that the page has.
    pub version: u32,
    /// Its first argument.
    pub first: String,
    /// Its second one.
    pub second: String,
}

/// An object that takes part in sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The object.
    pub object: ObjectName,
    /// Which way.
    pub direction: Direction,
}

/// Data of an object in the shape of a later version; only what is otherwise than it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migrated {
    /// The object.
    pub object: ObjectName,
    /// The later version.
    pub version: u32,
    /// What belongs to mutations, pending or rejected.
    pub mutations: Vec<(Sequence, Part, Fields)>,
    /// What the server last said of records.
    pub records: Vec<(RecordId, Fields)>,
    /// Where the next portion begins.
    pub next: Place,
    /// Whether there is none: then the object has the version.
    pub is_last: bool,
}

/// What belongs to a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Its data.
    Data,
    /// The record that it was made on.
    Base,
    /// The record of the server that it is in conflict with.
    ServerRecord,
    /// What the server suggests.
    Suggestion,
}

/// How far a migration has come: first the mutations by their sequences, then the records by their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The first sequence that is left.
    pub sequence: u64,
    /// The first number that is left.
    pub number: u64,
}

/// A mutation as it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The mutation's id.
    pub id: MutationId,
    /// The record it changes.
    pub object: ObjectName,
    /// The record it changes.
    pub record_id: RecordId,
    /// What it does.
    pub operation: Operation,
    /// All fields, the changed fields, or nothing, as the operation wants.
    pub data: Option<Fields>,
    /// When, by the hybrid clock.
    pub timestamp: Timestamp,
    /// Its place in the client's order; none for an object that is not synced, whose mutations settle at once.
    pub sequence: Option<Sequence>,
    /// The version of the record it was made on.
    pub base_version: Option<ServerVersion>,
}

impl Recorded {
    /// The mutation as it goes over the wire.
    pub(crate) fn to_wire(&self, sequence: Sequence, client_id: &ClientId) -> Mutation {
        Mutation {
            id: self.id,
            object_name: self.object.clone(),
            record_id: self.record_id.clone(),
            operation: self.operation,
            data: self.data.clone(),
            timestamp: self.timestamp,
            client_id: client_id.clone(),
            sequence,
            base_version: self.base_version,
        }
    }

    /// The record it changes.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey { object: self.object.clone(), id: self.record_id.clone() }
    }
}

/// An answer of the server, as far as it changes the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// The verdicts on the frozen batch, or on none of it; then those on what falls with its creates.
    pub verdicts: Vec<(Sequence, Verdict)>,
    /// The server's changes, in its order.
    pub changes: Vec<Change>,
    /// Where our knowledge of the server ends after these changes.
    pub checkpoint: Option<Checkpoint>,
    /// Whether these changes were the last there were.
    pub is_complete: bool,
    /// Whether the changes belong to the snapshot that is being collected.
    pub is_snapshot: bool,
    /// Whether the batch may have been sent, and applied, before.
    pub is_repeat: bool,
    /// Whether the frozen batch did not go along, because the server could not tell a repeat: which of it was applied is to be
    /// seen in these changes.
    pub is_probe: bool,
    /// Whether all of our own mutations are among the changes, by the checkpoint that comes with their verdict.
    pub has_echoes: bool,
    /// The latest timestamp among the changes, as far as it can be believed.
    pub newest: Timestamp,
    /// The server's clock less ours, in milliseconds.
    pub clock_offset_ms: i64,
}

/// The server's decision on one mutation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// The record has this version now.
    Applied(ServerVersion),
    /// A concurrent change is in the way.
    Conflict {
        /// The record as the server has it; none when it is deleted there.
        server_record: Option<Fields>,
        /// Its version, where the server says.
        server_version: Option<ServerVersion>,
        /// What the server suggests.
        suggestion: Option<Fields>,
        /// What to go by where the server only detects conflicts; none: it is for a person.
        rule: Option<Box<Rule>>,
    },
    /// Never to be applied.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// A change on the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The record.
    pub object: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// What happened to it.
    pub operation: Operation,
    /// All fields, the changed fields, or nothing: of a delete, and where only the version is of use.
    pub data: Option<Fields>,
    /// The record's version after it.
    pub version: ServerVersion,
}

impl Change {
    /// Of a record whose changes are not taken: only its version is of use.
    pub(crate) fn is_version_only(&self) -> bool {
        self.data.is_none() && self.operation != Operation::Delete
    }
}

impl Row {
    /// Whether the other row is what came of the same append.
    pub(crate) fn is_same_append(&self, other: &Self) -> bool {
        self.tab == other.tab && self.number == other.number
    }

    /// The row's bytes.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`]
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        // Older releases read what they know.
        let since = |event: &Event| match event {
            Event::Asked(_) | Event::Answered { .. } => VERSION,
            Event::Migrated(_) => 4,
            Event::Mended { .. } => 3,
            Event::Reverted { .. } => 2,
            _ => 1,
        };
        let version = self.events.iter().map(since).max().unwrap_or(1);
        let recorded = self.events.iter().flat_map(Event::recorded);
        let about = recorded
            .map(|recorded| RECORDED_BYTES + recorded.data.as_ref().map_or(0, |data| data.as_str().len()));
        // Growing in steps, it would be copied over and over, and leave its memory to nobody.
        let mut bytes = seal::begin(MAGIC, version);
        bytes.reserve(about.sum());
        seal::append(self, &mut bytes)?;
        if bytes.len() > MAX_ROW_BYTES {
            return Err(FormatError::TooLarge);
        }
        Ok(seal::finish(bytes))
    }

    /// Reads a row from its bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_ROW_BYTES {
            return Err(FormatError::TooLarge);
        }
        let body = seal::open(bytes, MAGIC, VERSION)?;
        match postcard::take_from_bytes(body) {
            Ok((row, [])) => Ok(row),
            _ => Err(FormatError::BadBody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Row {
        let object = ObjectName::new("story").unwrap();
        let record_id = RecordId::number(7).unwrap();
        let data = Some(Fields::parse(r#"{"title":"Ship it","é":[1,null]}"#).unwrap());
        let sequence = Sequence::new(1).unwrap();
        Row {
            tab: TabId(u64::MAX),
            number: 3,
            events: vec![
                Event::Opened { client_id: ClientId::new("c").unwrap() },
                Event::Recorded(vec![Recorded {
                    id: MutationId::new(1, [7; 10]),
                    object: object.clone(),
                    record_id: record_id.clone(),
                    operation: Operation::Create,
                    data: data.clone(),
                    timestamp: Timestamp::from_millis(-1),
                    sequence: Some(sequence),
                    base_version: None,
                }]),
                Event::Frozen { batch: vec![sequence] },
                Event::Received(Box::new(Received {
                    verdicts: vec![(sequence, Verdict::Rejected { reason: "no".to_owned() })],
                    changes: vec![Change {
                        object,
                        record_id: RecordId::string("x").unwrap(),
                        operation: Operation::Delete,
                        data: None,
                        version: ServerVersion::new(9).unwrap(),
                    }],
                    checkpoint: Some(Checkpoint::new("v1").unwrap()),
                    is_complete: true,
                    is_snapshot: false,
                    is_repeat: true,
                    is_probe: false,
                    has_echoes: true,
                    newest: Timestamp::from_millis(5),
                    clock_offset_ms: -5,
                })),
            ],
        }
    }

    #[test]
    fn bytes_survive() {
        assert_eq!(Row::decode(&sample().encode().unwrap()), Ok(sample()));
    }

    /// Goal: what older releases do not know makes the row one of a later version, and nothing else does.
    #[test]
    fn a_row_has_the_version_of_its_newest_event() {
        let version_with = |event: Option<Event>| {
            let mut row = sample();
            row.events.extend(event);
            let bytes = row.encode().unwrap();
            assert_eq!(Row::decode(&bytes), Ok(row));
            bytes[2]
        };
        let object = ObjectName::new("story").unwrap();
        let migrated = Migrated {
            object,
            version: 2,
            mutations: vec![(Sequence::new(1).unwrap(), Part::Suggestion, Fields::empty())],
            records: vec![(RecordId::number(7).unwrap(), Fields::empty())],
            next: Place { sequence: 2, number: 8 },
            is_last: false,
        };
        let mended =
            Event::Mended { client_id: None, objects: Vec::new(), segments: Vec::new(), details: Vec::new() };
        assert_eq!(version_with(None), 1);
        assert_eq!(version_with(Some(Event::Reverted { is_redo: false, mutations: Vec::new() })), 2);
        assert_eq!(version_with(Some(mended)), 3);
        assert_eq!(version_with(Some(Event::Migrated(Box::new(migrated)))), 4);
        let [kind, object, first, second] = ["update", "story", "7", "{}"].map(str::to_owned);
        assert_eq!(version_with(Some(Event::Asked(Asked { kind, object, version: 1, first, second }))), 5);
        let answered = Event::Answered { tab: TabId(9), number: 2, reply: "=true".to_owned() };
        assert_eq!(version_with(Some(answered)), 5);
    }

    /// Goal: what a page writes without an engine (`pkg/src/row-bytes.ts`, whose test has the same bytes) is a row.
    #[test]
    fn a_row_of_a_page_has_these_bytes() {
        let [kind, object, first, second] = ["update", "story", "\"é\"", "{\"points\":3}"].map(str::to_owned);
        let asked = Asked { kind, object, version: 200, first, second };
        let row = Row { tab: TabId(1 << 52), number: 300, events: vec![Event::Asked(asked)] };
        let text =
            |row: Row| -> String { row.encode().unwrap().iter().map(|byte| format!("{byte:02x}")).collect() };
        let expected = "4f510564fe92728080808080808008ac02010c067570646174650573746f72\
                        79c8010422c3a9220c7b22706f696e7473223a337d";
        assert_eq!(text(row), expected);
        assert_eq!(text(Row { tab: TabId(0), number: 0, events: Vec::new() }), "4f5101bc9089fe000000");
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut newer = sample().encode().unwrap();
        seal::make_newer(&mut newer);
        assert_eq!(Row::decode(&newer), Err(FormatError::Newer(99)));
        for version in VERSION + 1..=u8::MAX {
            let mut damaged = sample().encode().unwrap();
            damaged[2] = version;
            assert_eq!(Row::decode(&damaged), Err(FormatError::BadChecksum), "{version}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = sample().encode().unwrap();
        for place in 0..bytes.len() {
            assert!(Row::decode(&bytes[..place]).is_err(), "cut at {place}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                // The version number is outside the checksum; each of them is read the same way.
                if place != 2 {
                    assert!(Row::decode(&damaged).is_err(), "bit {bit} of byte {place}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_with_a_right_checksum_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = seal::begin(MAGIC, VERSION);
            bytes.extend(body);
            let _ = Row::decode(&seal::finish(bytes));
        }
    }
}
