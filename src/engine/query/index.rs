//! An index: the rows of an object, sorted by the values of some fields.
//!
//! It holds row numbers only and reads the values where they are, so that an index costs four bytes a record. It lies in memory
//! and is built when a query first uses it.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, Json, Scalar};

use super::Path;
use super::order::{Direction, compare_values, kind};
use super::rows::{Row, RowNumber, Rows};
use crate::engine::sort::{sort, sort_by_key};

/// A piece is split when it has so many rows: putting one in moves half of that at the most.
const PIECE: usize = 1024;

/// What two values are compared by first.
type Lead = [u64; 4];

/// The rows of an object in the order of some fields, ascending with nulls last; rows with equal values in the order in which
/// they came.
#[derive(Debug)]
pub(crate) struct Index {
    pub(super) paths: Vec<Path>,
    /// None of them is empty.
    pieces: Vec<Vec<RowNumber>>,
}

/// A place between two rows: that of the row that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    piece: usize,
    offset: usize,
}

impl Index {
    /// Sorts the rows: by the leads of their first values, which most rows differ in or have all of, and rows with the same lead by what
    /// that leaves open. What it takes meanwhile is 60 bytes a record: wasm never gives memory back.
    pub(super) fn build(paths: Vec<Path>, rows: &Rows) -> Self {
        let mut numbers: Vec<RowNumber> = Vec::with_capacity(rows.len());
        let mut leads: Vec<Lead> = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter() {
            numbers.push(number);
            leads.push(paths.first().map_or([0; 4], |path| lead(&path.value(&row.fields))));
        }
        let lead = |place: u32| leads.get(place as usize);
        let mut places: Vec<u32> = (0..).take(numbers.len()).collect();
        for word in (0..4).rev() {
            sort_by_key(&mut places, &|place| {
                lead(place).and_then(|lead| lead.get(word)).copied().unwrap_or_default()
            });
        }
        let number = |place: u32| numbers.get(place as usize).copied();
        let fields = |place: u32| rows.fields(number(place)?);
        let is_less = |a: u32, b: u32| {
            let (Some(a), Some(b)) = (fields(a), fields(b)) else { return false };
            let mut orders =
                paths.iter().map(|path| compare_values(&path.value(a), &path.value(b), Direction::Ascending));
            orders.find(|order| order.is_ne()) == Some(Ordering::Less)
        };
        let is_open = |place: u32| paths.len() > 1 || lead(place).is_some_and(is_full);
        let mut sorted = Vec::with_capacity(places.len());
        for group in places.chunk_by(|a, b| lead(*a) == lead(*b)) {
            if group.len() > 1 && group.iter().any(|place| is_open(*place)) {
                let mut group = group.to_vec();
                sort(&mut group, &is_less);
                sorted.append(&mut group);
            } else {
                sorted.extend_from_slice(group);
            }
        }
        let piece_of = |places: &[u32]| {
            let mut piece = Vec::with_capacity(places.len());
            piece.extend(places.iter().filter_map(|place| number(*place)));
            piece
        };
        let pieces = sorted.chunks(PIECE / 2).map(piece_of).collect();
        Self { paths, pieces }
    }

    /// Puts a row in.
    pub(super) fn insert(&mut self, rows: &Rows, number: RowNumber) {
        let Some(fields) = rows.fields(number) else { return };
        let place = self.place_of(rows, number, fields);
        let Place { mut piece, mut offset } = place;
        if piece == self.pieces.len() {
            // At the very end: there it goes into the last piece.
            let Some(last) = self.pieces.last() else { return self.pieces.push(vec![number]) };
            (piece, offset) = (piece - 1, last.len());
        }
        let Some(rows_of_piece) = self.pieces.get_mut(piece) else { return };
        rows_of_piece.insert(offset, number);
        if rows_of_piece.len() > PIECE {
            let half = rows_of_piece.split_off(PIECE / 2);
            self.pieces.insert(piece + 1, half);
        }
    }

    /// Takes a row out, which must still hold the record that it was put in with.
    pub(super) fn remove(&mut self, rows: &Rows, number: RowNumber) {
        let Some(fields) = rows.fields(number) else { return };
        let Place { piece, offset } = self.place_of(rows, number, fields);
        let Some(rows_of_piece) = self.pieces.get_mut(piece) else { return };
        if rows_of_piece.get(offset) == Some(&number) {
            rows_of_piece.remove(offset);
            if rows_of_piece.is_empty() {
                self.pieces.remove(piece);
            }
        }
    }

    /// Where the row stands, or would.
    fn place_of(&self, rows: &Rows, number: RowNumber, fields: &Fields) -> Place {
        let mine = values(&self.paths, fields);
        self.seek(rows, &|other, theirs| {
            self.compare_to(theirs, &mine).then_with(|| other.cmp(&number)) == Ordering::Less
        })
    }

    /// The order of a record's first values against these.
    pub(super) fn compare_to(&self, record: &Fields, values: &[Scalar<'_>]) -> Ordering {
        let pairs = self.paths.iter().zip(values);
        let mut orders =
            pairs.map(|(path, value)| compare_values(&path.value(record), value, Direction::Ascending));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The first place whose row is not before it; the rows that are before it must come first.
    pub(super) fn seek(&self, rows: &Rows, is_before: &dyn Fn(RowNumber, &Fields) -> bool) -> Place {
        let is_before =
            |number: &RowNumber| rows.fields(*number).is_some_and(|fields| is_before(*number, fields));
        // The last piece that begins with a row before the place is the one that it is in.
        let pieces = self.pieces.partition_point(|piece| piece.first().is_some_and(is_before));
        let Some(piece) = pieces.checked_sub(1) else { return Place { piece: 0, offset: 0 } };
        let rows_of_piece = self.pieces.get(piece).map_or(&[][..], Vec::as_slice);
        let offset = rows_of_piece.partition_point(is_before);
        if offset == rows_of_piece.len() {
            Place { piece: piece + 1, offset: 0 }
        } else {
            Place { piece, offset }
        }
    }

    /// The rows that have the same values as a record.
    pub(super) fn with_same<'a>(
        &'a self,
        rows: &'a Rows,
        record: &Fields,
    ) -> impl Iterator<Item = &'a Row> + use<'a> {
        let wanted = values(&self.paths, record);
        let from = self.seek(rows, &|_, other| self.compare_to(other, &wanted).is_lt());
        let to = self.seek(rows, &|_, other| self.compare_to(other, &wanted).is_le());
        self.between(from, to).filter_map(|number| rows.get(number))
    }

    /// From its first place to its last.
    pub(super) fn all(&self) -> (Place, Place) {
        (Place { piece: 0, offset: 0 }, Place { piece: self.pieces.len(), offset: 0 })
    }

    /// How many rows stand between two places.
    pub(super) fn count(&self, from: Place, to: Place) -> usize {
        let before =
            |place: Place| self.pieces.iter().take(place.piece).map(Vec::len).sum::<usize>() + place.offset;
        before(to).saturating_sub(before(from))
    }

    /// The rows between two places.
    pub(super) fn between(&self, from: Place, to: Place) -> impl DoubleEndedIterator<Item = RowNumber> {
        let count = self.pieces.len();
        let range = from.piece..count.min(to.piece + 1);
        range.flat_map(move |piece| {
            let rows = self.pieces.get(piece).map_or(&[][..], Vec::as_slice);
            let start = if piece == from.piece { from.offset } else { 0 };
            let end = if piece == to.piece { to.offset } else { rows.len() };
            rows.get(start..end).unwrap_or_default().iter().copied()
        })
    }
}

/// The values of the paths in a record; an absent one is null.
fn values<'a>(paths: &[Path], record: &'a Fields) -> Vec<Scalar<'a>> {
    paths.iter().map(|path| path.value(record)).collect()
}

/// The kind of a value and the first 31 bytes of it, so that values are in order where their leads are. As long as that, because
/// times as text, which many an index is on, begin alike.
fn lead(value: &Scalar<'_>) -> Lead {
    // No text has U+0000 in it: the shorter one comes first.
    let mut bytes = [0; 32];
    let mut put = |from: &[u8]| {
        let count = from.len().min(31);
        if let (Some(place), Some(start)) = (bytes.get_mut(1..=count), from.get(..count)) {
            place.copy_from_slice(start);
        }
    };
    match value {
        Scalar::Null => {}
        Scalar::Bool(value) => put(&[u8::from(*value)]),
        Scalar::Number(number) => {
            // The bits of doubles are in order but for the sign: those of negative ones run the other way.
            let bits = number.to_bits();
            let ordered = if number.is_sign_negative() { !bits } else { bits | 1 << 63 };
            put(&ordered.to_be_bytes());
        }
        Scalar::String(text) => put(text.as_bytes()),
        Scalar::Nested(json) => put(json.as_str().as_bytes()),
    }
    bytes[0] = kind(value);
    let mut lead = [0; 4];
    for (place, part) in lead.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *place = u64::from_be_bytes(*part);
    }
    lead
}

/// Whether there may be more of a value than its lead has.
fn is_full(lead: &Lead) -> bool {
    lead.last().is_some_and(|word| word.to_be_bytes().last() != Some(&0))
}

impl Path {
    /// The value in a record; null when it is absent.
    pub(super) fn value<'a>(&self, record: &'a Fields) -> Scalar<'a> {
        self.find(record).map_or(Scalar::Null, Json::scalar)
    }
}
