//! An index: the rows of an object, sorted by the values of some fields.
//!
//! It holds row numbers only and reads the values where they are, so that an index costs four bytes a record. It lies in memory
//! and is built when a query first uses it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io::Write;
use std::iter::Peekable;
use std::vec::IntoIter;

use objectql_sync_protocol::{Fields, Json, Scalar};

use super::Path;
use super::order::{Direction, compare_values, kind};
use super::rows::{Row, RowNumber, Rows};
use crate::engine::sort::{sort, sort_by_key};

/// A piece is split when it has so many rows: putting one in moves half of that at the most.
const PIECE: usize = 1024;
/// So many rows are put in order, or merged, at a time: some milliseconds where all their values are long and begin alike. Tests have
/// runs to merge all the same.
const RUN: usize = if cfg!(test) { 8 } else { 1 << 13 };

/// What the values of two rows are compared by first, see [`lead`].
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

/// An index on its way: so many rows at a time are put in order, and then these runs together. What it takes meanwhile is some 50 bytes a
/// record: wasm never gives memory back.
#[derive(Debug)]
pub(super) struct Building {
    paths: Vec<Path>,
    numbers: Vec<RowNumber>,
    /// Of the first so many rows.
    leads: Vec<Lead>,
    /// Places among the numbers, in order each.
    runs: VecDeque<Vec<u32>>,
    /// Two that are being made one.
    merging: Option<Merging>,
    /// Of the first rows, when all are in order.
    pieces: Vec<Vec<RowNumber>>,
}

/// What is left of two runs, and what went from them into one.
#[derive(Debug)]
struct Merging {
    first: Peekable<IntoIter<u32>>,
    second: Peekable<IntoIter<u32>>,
    merged: Vec<u32>,
}

impl Building {
    /// Of rows that stay as they are until it is done.
    pub(super) fn new(paths: Vec<Path>, rows: &Rows) -> Self {
        let mut numbers: Vec<RowNumber> = Vec::with_capacity(rows.len());
        numbers.extend(rows.iter().map(|(number, _)| number));
        let leads = Vec::with_capacity(numbers.len());
        Self { paths, numbers, leads, runs: VecDeque::new(), merging: None, pieces: Vec::new() }
    }

    /// Does a part of the work, of some milliseconds at the most; gives the index when all is done.
    pub(super) fn step(&mut self, rows: &Rows) -> Option<Index> {
        if self.leads.len() < self.numbers.len() {
            let run = self.sort_next(rows);
            self.runs.push_back(run);
        } else if let Some(mut merging) = self.merging.take() {
            if self.merge_next(rows, &mut merging) {
                self.merging = Some(merging);
            } else {
                self.runs.push_back(merging.merged);
            }
        } else if self.runs.len() > 1 {
            let mut next = || self.runs.pop_front().unwrap_or_default();
            let (first, second) = (next(), next());
            let merged = Vec::with_capacity(first.len() + second.len());
            let (first, second) = (first.into_iter().peekable(), second.into_iter().peekable());
            self.merging = Some(Merging { first, second, merged });
        } else {
            return self.finish_next();
        }
        None
    }

    /// Makes pieces of the next rows, all of which are in order; gives the index when all are in pieces.
    fn finish_next(&mut self) -> Option<Index> {
        let sorted = self.runs.front().map_or(&[][..], Vec::as_slice);
        let done = self.pieces.len() * (PIECE / 2);
        let next = sorted.get(done..).unwrap_or_default().chunks(PIECE / 2).take(RUN.div_ceil(PIECE / 2));
        let pieces: Vec<Vec<RowNumber>> = next
            .map(|places| {
                let mut piece = Vec::with_capacity(places.len());
                piece.extend(places.iter().filter_map(|place| self.number(*place)));
                piece
            })
            .collect();
        self.pieces.extend(pieces);
        let is_done = self.pieces.len() * (PIECE / 2) >= sorted.len();
        is_done.then(|| Index {
            paths: std::mem::take(&mut self.paths),
            pieces: std::mem::take(&mut self.pieces),
        })
    }

    /// Sorts the next rows: by the leads of their values, which most rows differ in or have all of, and rows with the same lead by what
    /// that leaves open.
    fn sort_next(&mut self, rows: &Rows) -> Vec<u32> {
        let from = u32::try_from(self.leads.len()).unwrap_or(u32::MAX);
        let count = RUN.min(self.numbers.len() - self.leads.len());
        let mut places: Vec<u32> = (from..).take(count).collect();
        for place in &places {
            let fields = self.number(*place).and_then(|number| rows.fields(number));
            self.leads.push(fields.map_or([0; 4], |fields| lead(&self.paths, fields)));
        }
        for word in (0..4).rev() {
            sort_by_key(&mut places, &|place| {
                self.lead(place).and_then(|lead| lead.get(word)).copied().unwrap_or_default()
            });
        }
        let mut sorted = Vec::with_capacity(places.len());
        for group in places.chunk_by(|a, b| self.lead(*a) == self.lead(*b)) {
            if group.len() > 1 && group.iter().any(|place| self.is_open(*place)) {
                let mut group = group.to_vec();
                sort(&mut group, &|a, b| self.compare(rows, a, b).is_lt());
                sorted.append(&mut group);
            } else {
                sorted.extend_from_slice(group);
            }
        }
        sorted
    }

    /// Takes the next rows of two runs; whether there are more.
    fn merge_next(&self, rows: &Rows, merging: &mut Merging) -> bool {
        let Merging { first, second, merged } = merging;
        for _ in 0..RUN {
            let takes_first = match (first.peek(), second.peek()) {
                (Some(a), Some(b)) => {
                    let by_lead = self.lead(*a).cmp(&self.lead(*b));
                    let by_value = || {
                        if self.is_open(*a) { self.compare(rows, *a, *b) } else { Ordering::Equal }
                    };
                    by_lead.then_with(by_value).then(a.cmp(b)).is_lt()
                }
                (next, _) => next.is_some(),
            };
            match if takes_first { first.next() } else { second.next() } {
                Some(place) => merged.push(place),
                None => return false,
            }
        }
        true
    }

    fn number(&self, place: u32) -> Option<RowNumber> {
        self.numbers.get(place as usize).copied()
    }

    fn lead(&self, place: u32) -> Option<&Lead> {
        self.leads.get(place as usize)
    }

    /// Whether rows with the same lead may differ.
    fn is_open(&self, place: u32) -> bool {
        self.lead(place).is_some_and(is_cut)
    }

    /// The order of two rows' values.
    fn compare(&self, rows: &Rows, a: u32, b: u32) -> Ordering {
        let fields = |place: u32| rows.fields(self.number(place)?);
        let (Some(a), Some(b)) = (fields(a), fields(b)) else { return Ordering::Equal };
        let mut orders = self
            .paths
            .iter()
            .map(|path| compare_values(&path.value(a), &path.value(b), Direction::Ascending));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl Index {
    /// Builds it at once.
    pub(super) fn build(paths: Vec<Path>, rows: &Rows) -> Self {
        let mut building = Building::new(paths, rows);
        loop {
            if let Some(index) = building.step(rows) {
                return index;
            }
        }
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

/// The first 31 bytes of a record's values, so that records are in order where their leads are, and in a last byte whether there is more.
/// Where a value ends can be told, so that none begins like another one of its kind with a next value after it. As long as that, because
/// times as text, which many an index is on, begin alike.
fn lead(paths: &[Path], record: &Fields) -> Lead {
    let (mut bytes, mut is_cut) = ([0; 32], false);
    let mut rest = bytes.get_mut(..31).unwrap_or_default();
    let mut put = |from: &[u8]| is_cut |= rest.write(from).is_ok_and(|count| count < from.len());
    for (at, path) in (1..).zip(paths) {
        let value = path.value(record);
        put(&[kind(&value)]);
        let text = match &value {
            Scalar::Null => continue,
            Scalar::Bool(value) => {
                put(&[u8::from(*value)]);
                continue;
            }
            Scalar::Number(number) => {
                // The bits of doubles are in order but for the sign: those of negative ones run the other way.
                let bits = number.to_bits();
                let ordered = if number.is_sign_negative() { !bits } else { bits | 1 << 63 };
                put(&ordered.to_be_bytes());
                continue;
            }
            Scalar::String(text) => text.as_bytes(),
            Scalar::Nested(json) => json.as_str().as_bytes(),
        };
        put(text);
        if at < paths.len() {
            // No text has U+0000 in it: the shorter one comes first.
            put(&[0]);
        }
    }
    let [.., last] = &mut bytes;
    *last = u8::from(is_cut);
    let mut lead = [0; 4];
    for (word, part) in lead.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_be_bytes(*part);
    }
    lead
}

/// Whether there is more of the values than their lead has.
fn is_cut(lead: &Lead) -> bool {
    lead.last().is_some_and(|word| word & 1 == 1)
}

impl Path {
    /// The value in a record; null when it is absent.
    pub(super) fn value<'a>(&self, record: &'a Fields) -> Scalar<'a> {
        self.find(record).map_or(Scalar::Null, Json::scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values that begin alike, of all kinds.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            1 => Just("null".to_owned()),
            1 => any::<bool>().prop_map(|value| value.to_string()),
            1 => prop_oneof![-3_i32..3, any::<i32>()].prop_map(|value| value.to_string()),
            1 => (-2.0..2.0).prop_map(|value: f64| format!("{value}")),
            8 => ("[a\u{1}]{0,2}", prop_oneof![0_usize..2, 27_usize..32])
                .prop_map(|(end, count)| format!("\"{}{end}\"", "a".repeat(count))),
            1 => "[ab]{0,2}".prop_map(|text| format!("[\"{text}\"]")),
        ]
    }

    proptest! {
        /// Goal: leads are in the order of the values that they are of, and equal only where the values are or the leads say that they may
        /// not be.
        #[test]
        fn leads_are_in_the_order_of_their_values(values in prop::array::uniform4(value())) {
            let [a, b, c, d] = values.map(|value| value.replace('\u{1}', "\\u0001"));
            let paths = [Path::new("first"), Path::new("second")];
            let [one, other] = [(a, b), (c, d)]
                .map(|(first, second)| Fields::parse(&format!(r#"{{"first":{first},"second":{second}}}"#)).unwrap());
            for paths in [&paths[..1], &paths[..]] {
                let index = Index { paths: paths.to_vec(), pieces: Vec::new() };
                let order = index.compare_to(&one, &super::values(paths, &other));
                let leads = [&one, &other].map(|record| lead(paths, record));
                match leads[0].cmp(&leads[1]) {
                    Ordering::Equal => prop_assert!(order.is_eq() || is_cut(&leads[0])),
                    by_lead => prop_assert_eq!(by_lead, order),
                }
            }
        }
    }
}
