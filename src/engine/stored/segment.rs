//! One segment and its bytes: sealed, the body its kind in postcard's encoding, then the entries in the order of their numbers.
//!
//! ```text
//! entry   number less the one before it   LEB128
//!         length of the rest              LEB128
//!         a record:  flags, version (LEB128), id, fields
//!         or else:   a pending mutation or a write to be taken back, in postcard's encoding
//! ```
//!
//! Records are split and not parsed: their fields are text that was checked when it was written.

use objectql_sync_protocol::{Fields, RecordId, ServerVersion};

use super::{Block, Kind, Runs, filter};
use crate::engine::history::Unit;
use crate::engine::record::{Base, Record};
use crate::engine::seal::{self, FormatError};
use crate::engine::state::Pending;

const MAGIC: [u8; 2] = *b"OS";
const VERSION: u8 = 1;

/// A segment takes no more entries once it has so many bytes. As large as that, because a large row costs less to read than
/// many; no larger, because it is what is read for one record, and rewritten for some.
const ENOUGH_BYTES: usize = 256 << 10;
/// An entry of so many bytes has a segment of its own, so that what is dead is told well enough by counting entries.
const LARGE_ENTRY: usize = 32 << 10;

const HAS_BASE: u8 = 1;
const IS_PARTIAL: u8 = 2;
const IS_NUMBER: u8 = 4;

/// One thing to be written.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Record(RecordId, Option<Base>),
    Pending(Box<Pending>),
    Unit(Unit),
}

impl Item {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Self::Record(id, base) => {
                encode_record(id, base.as_ref(), out);
                Ok(())
            }
            Self::Pending(pending) => seal::append(&**pending, out),
            Self::Unit(unit) => seal::append(unit, out),
        }
    }
}

fn encode_record(id: &RecordId, base: Option<&Base>, out: &mut Vec<u8>) {
    let mut flags = 0;
    if let Some(base) = base {
        flags |= HAS_BASE;
        flags |= if base.is_partial { IS_PARTIAL } else { 0 };
    }
    if let RecordId::Number(_) = id {
        flags |= IS_NUMBER;
    }
    out.push(flags);
    put_number(out, base.map_or(0, |base| base.version.get()));
    match id {
        // Zigzag: small numbers are short, whatever their sign.
        RecordId::Number(number) => put_number(out, (number << 1 ^ number >> 63).cast_unsigned()),
        RecordId::String(text) => {
            put_number(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }
    if let Some(base) = base {
        out.extend_from_slice(base.fields.as_str().as_bytes());
    }
}

/// Reads a record back.
pub(crate) fn decode_record(mut bytes: &[u8]) -> Result<Record, FormatError> {
    let bad = FormatError::BadBody;
    let (flags, rest) = bytes.split_first().ok_or(bad)?;
    bytes = rest;
    let version = take_number(&mut bytes).and_then(|version| ServerVersion::new(version).ok()).ok_or(bad)?;
    let number = take_number(&mut bytes).ok_or(bad)?;
    let id = if flags & IS_NUMBER == 0 {
        let length = usize::try_from(number).map_err(|_| bad)?;
        let (id, rest) = bytes.split_at_checked(length).ok_or(bad)?;
        bytes = rest;
        RecordId::string(std::str::from_utf8(id).map_err(|_| bad)?)
    } else {
        RecordId::number((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    };
    let base = if flags & HAS_BASE == 0 {
        None
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_| bad)?;
        let fields = Fields::from_normalised(text).map_err(|_| bad)?;
        Some(Base { version, fields, is_partial: flags & IS_PARTIAL != 0 })
    };
    Ok(Record::stored(id.map_err(|_| bad)?, base))
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    numbers: Vec<u64>,
    /// Of its records.
    ids: Vec<RecordId>,
}

/// A segment that is written.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) bytes: Vec<u8>,
    /// What is to be known of it; the key is not yet.
    pub(crate) block: Block,
}

impl Segment {
    pub(crate) fn new(kind: &Kind) -> Self {
        let mut bytes = seal::begin(MAGIC, VERSION);
        // A name, and perhaps a number: nothing of it can fail.
        let _ = seal::append(kind, &mut bytes);
        Self { bytes, numbers: Vec::new(), ids: Vec::new() }
    }

    /// Adds an entry; numbers rise. False, and nothing is added, where a segment of its own is due for it.
    ///
    /// # Errors
    /// `BadBody` for what cannot be encoded.
    pub(crate) fn push(
        &mut self,
        number: u64,
        item: &Item,
        entry: &mut Vec<u8>,
    ) -> Result<bool, FormatError> {
        entry.clear();
        item.encode(entry)?;
        if !self.numbers.is_empty() && (entry.len() >= LARGE_ENTRY || self.is_full()) {
            return Ok(false);
        }
        let next = self.numbers.last().map_or(0, |last| last + 1);
        put_number(&mut self.bytes, number - next);
        put_number(&mut self.bytes, entry.len() as u64);
        self.bytes.extend_from_slice(entry);
        self.numbers.push(number);
        if let Item::Record(id, _) = item {
            self.ids.push(id.clone());
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= ENOUGH_BYTES || (self.numbers.len() == 1 && self.bytes.len() >= LARGE_ENTRY)
    }

    /// Its bytes, and what is to be known of it.
    pub(crate) fn finish(self) -> Finished {
        let bytes = seal::finish(self.bytes);
        let first = self.ids.iter().min().cloned();
        // Ids that rise with time are next to each other: the first and the last tell enough.
        let filter = if self.ids.is_sorted() { Vec::new() } else { filter::of(&self.ids) };
        let block = Block {
            segment: 0,
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            count: u32::try_from(self.numbers.len()).unwrap_or(u32::MAX),
            live: Runs::of(self.numbers.into_iter()),
            ids: first.zip(self.ids.into_iter().max()),
            filter,
        };
        Finished { bytes, block }
    }
}

/// The entries of a segment.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    next: u64,
}

impl<'a> Entries<'a> {
    /// The kind of a segment, and its entries.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<(Kind, Self), FormatError> {
        let body = seal::open(bytes, MAGIC, VERSION)?;
        let (kind, rest) = postcard::take_from_bytes(body).map_err(|_| FormatError::BadBody)?;
        Ok((kind, Self { rest, next: 0 }))
    }

    /// The next entry: its number and its bytes.
    ///
    /// # Errors
    /// `BadBody`
    pub(crate) fn take(&mut self) -> Result<Option<(u64, &'a [u8])>, FormatError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.try_take().map(Some).ok_or(FormatError::BadBody)
    }

    fn try_take(&mut self) -> Option<(u64, &'a [u8])> {
        let number = self.next.checked_add(take_number(&mut self.rest)?)?;
        let length = usize::try_from(take_number(&mut self.rest)?).ok()?;
        let (entry, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.next = number.checked_add(1)?;
        Some((number, entry))
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use objectql_sync_protocol::ObjectName;
    use proptest::prelude::*;

    fn kind() -> Kind {
        Kind::Records(ObjectName::new("story").unwrap())
    }

    fn any_item() -> impl Strategy<Value = Item> {
        let id = prop_oneof![
            "[a-zé\u{1f600}]{1,12}".prop_map(|text| RecordId::string(text).unwrap()),
            (-(1_i64 << 53) + 1..1 << 53).prop_map(|number| RecordId::number(number).unwrap()),
        ];
        let base = prop::option::of((0_u64..1 << 53, "[a-zé\"\\\\]{0,80}", any::<bool>()));
        (id, base).prop_map(|(id, base)| {
            let base = base.map(|(version, text, is_partial)| Base {
                version: ServerVersion::new(version).unwrap(),
                fields: Fields::parse(&serde_json::json!({ "text": text }).to_string()).unwrap(),
                is_partial,
            });
            Item::Record(id, base)
        })
    }

    fn written(items: &[(u64, Item)]) -> Finished {
        let mut segment = Segment::new(&kind());
        for (number, item) in items {
            assert!(segment.push(*number, item, &mut Vec::new()).unwrap());
        }
        segment.finish()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Record)>, FormatError> {
        let (found, mut entries) = Entries::of(bytes)?;
        assert_eq!(found, kind());
        let mut records = Vec::new();
        while let Some((number, entry)) = entries.take()? {
            records.push((number, decode_record(entry)?));
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn records_come_back(items in prop::collection::btree_map(0_u64..1 << 40, any_item(), 1..40)) {
            let items: Vec<_> = items.into_iter().collect();
            let Finished { bytes, block } = written(&items);
            prop_assert_eq!(block.count as usize, items.len());
            prop_assert!(block.live.iter().eq(items.iter().map(|(number, _)| *number)));
            for (_, item) in &items {
                let Item::Record(id, _) = item else { panic!("{item:?}") };
                prop_assert!(block.may_hold(id, filter::hash(id)));
            }
            let expected: Vec<_> = items
                .into_iter()
                .map(|(number, item)| match item {
                    Item::Record(id, base) => (number, Record::stored(id, base)),
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert_eq!(read(&bytes).unwrap(), expected);
        }

        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut segment = Segment::new(&kind());
            segment.bytes.extend(body);
            let _ = read(&segment.finish().bytes);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let base = Base {
            version: ServerVersion::new(300).unwrap(),
            fields: Fields::parse(r#"{"title":"Ship it"}"#).unwrap(),
            is_partial: false,
        };
        let item = Item::Record(RecordId::number(-1).unwrap(), Some(base));
        let Finished { bytes, .. } = written(&[(5, item)]);
        assert_eq!(read(&bytes).unwrap().len(), 1);
        for place in 0..bytes.len() {
            assert!(Entries::of(&bytes[..place]).is_err(), "cut at {place}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                // The version is outside the checksum; 0 is read as 1 is.
                assert!(place == 2 || Entries::of(&damaged).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn a_large_entry_is_alone() {
        let record = |size: usize| {
            let fields = Fields::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(size))).unwrap();
            let base = Base { version: ServerVersion::new(1).unwrap(), fields, is_partial: false };
            Item::Record(RecordId::number(1).unwrap(), Some(base))
        };
        let mut entry = Vec::new();
        let mut segment = Segment::new(&kind());
        assert!(segment.push(0, &record(10), &mut entry).unwrap());
        assert!(!segment.push(1, &record(LARGE_ENTRY), &mut entry).unwrap());
        let mut segment = Segment::new(&kind());
        assert!(segment.push(1, &record(LARGE_ENTRY), &mut entry).unwrap());
        assert!(!segment.push(2, &record(10), &mut entry).unwrap());
        let mut segment = Segment::new(&kind());
        let fitting =
            (0..).take_while(|number| segment.push(*number, &record(1000), &mut entry).unwrap()).count();
        assert!((256..262).contains(&fitting), "{fitting}");
    }
}
