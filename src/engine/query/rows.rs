//! What queries look at: the visible records of one object, in the order in which they came.
//!
//! It is derived from the state, record by record as they change, and never looks back at it. A row keeps its number for as
//! long as its record is there, so that an index or a live query can hold on to four bytes; also while nobody sees the record, so
//! that it comes back to its place, as it has in the state.

use objectql_sync_protocol::{Fields, RecordId};

use crate::engine::places::Places;
use crate::engine::sort::sort;

/// The number of a row: rows are numbered in the order in which their records came.
pub(crate) type RowNumber = u32;

/// One state of one record, for as long as a page lives: no two states have the same stamp.
pub(crate) type Stamp = u32;

/// A visible record.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: RecordId,
    pub(crate) fields: Fields,
    /// The number of the record, see [`Table`](crate::engine::table::Table).
    pub(crate) number: u64,
    pub(crate) stamp: Stamp,
    /// In which of the page's memories this state is; 0: in none.
    pub(crate) known_in: u32,
}

/// The visible records of one object.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Place>,
    /// Of the rows that are not empty.
    by_id: Places,
    hidden: usize,
    /// The largest number of a record that was added.
    last: u64,
    /// Whether a row was added whose record has a smaller one: where what was stored got lost, numbers begin anew.
    is_disordered: bool,
}

/// What is at a number.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Empty,
    /// A record that nobody sees at the moment, and its number.
    Hidden(RecordId, u64),
    Here(Row),
}

impl Place {
    fn row(&self) -> Option<&Row> {
        if let Self::Here(row) = self { Some(row) } else { None }
    }

    fn row_mut(&mut self) -> Option<&mut Row> {
        if let Self::Here(row) = self { Some(row) } else { None }
    }

    fn id(&self) -> Option<&RecordId> {
        match self {
            Self::Empty => None,
            Self::Hidden(id, _) => Some(id),
            Self::Here(row) => Some(&row.id),
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Hidden(_, number) => Some(*number),
            Self::Here(row) => Some(row.number),
        }
    }
}

/// Below so many rows it is not worth closing up.
const FEW: usize = 64;

impl Rows {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() - self.hidden
    }

    /// The number that the next row gets.
    pub(crate) fn next_number(&self) -> RowNumber {
        RowNumber::try_from(self.rows.len()).unwrap_or(RowNumber::MAX)
    }

    /// The row of a record.
    pub(crate) fn find(&self, id: &RecordId) -> Option<RowNumber> {
        self.place_of(id).filter(|number| self.get(*number).is_some())
    }

    /// The row of a record, or the place that is kept for it.
    pub(crate) fn place_of(&self, id: &RecordId) -> Option<RowNumber> {
        let holds = |number: RowNumber| self.rows.get(number as usize).and_then(Place::id) == Some(id);
        self.by_id.find(self.by_id.hash(id), &holds)
    }

    /// The number of the record that a row is of, or kept for.
    pub(crate) fn held_at(&self, number: RowNumber) -> Option<u64> {
        self.rows.get(number as usize)?.number()
    }

    /// The row with that number, as long as its record is there.
    pub(crate) fn get(&self, number: RowNumber) -> Option<&Row> {
        self.rows.get(number as usize)?.row()
    }

    /// The record in the row with that number.
    pub(crate) fn fields(&self, number: RowNumber) -> Option<&Fields> {
        self.get(number).map(|row| &row.fields)
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowNumber, &Row)> {
        (0..).zip(&self.rows).filter_map(|(number, row)| Some((number, row.row()?)))
    }

    /// Whether there is no row, not even an empty one.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lets go of the last rows, at most so many, when nobody looks at any of them any more; gives how many those were.
    pub(crate) fn drop_last(&mut self, count: usize) -> usize {
        let before = self.rows.len();
        self.rows.truncate(before.saturating_sub(count));
        before - self.rows.len()
    }

    /// Makes room for so many records more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.rows.reserve(count);
        self.by_id.reserve(count);
    }

    /// Adds a record that is not to be seen: in its place where it was hidden, else at the end.
    pub(crate) fn add(&mut self, row: Row) -> RowNumber {
        if let Some(number) = self.place_of(&row.id)
            && let Some(place) = self.rows.get_mut(number as usize)
        {
            *place = Place::Here(row);
            self.hidden -= 1;
            return number;
        }
        self.push(row)
    }

    /// Adds a record of which nothing is here, not even a place.
    pub(crate) fn push(&mut self, row: Row) -> RowNumber {
        let hash = self.by_id.hash(&row.id);
        self.push_place(hash, Place::Here(row))
    }

    fn push_place(&mut self, hash: u32, place: Place) -> RowNumber {
        let number = self.next_number();
        let held = place.number().unwrap_or_default();
        self.is_disordered |= held < self.last;
        self.last = self.last.max(held);
        self.by_id.insert(hash, self.rows.len());
        self.rows.push(place);
        number
    }

    /// Keeps a place for a record that is there and not to be seen.
    pub(crate) fn hide(&mut self, id: &RecordId, of: u64) {
        let hidden = Place::Hidden(id.clone(), of);
        let before = match self.place_of(id) {
            Some(number) => self.rows.get_mut(number as usize).map(|place| std::mem::replace(place, hidden)),
            None => {
                self.push_place(self.by_id.hash(id), hidden);
                None
            }
        };
        self.hidden += usize::from(!matches!(before, Some(Place::Hidden(..))));
    }

    /// Changes the record of a row.
    pub(crate) fn change(&mut self, number: RowNumber, fields: Fields, stamp: Stamp) {
        if let Some(row) = self.rows.get_mut(number as usize).and_then(Place::row_mut) {
            row.fields = fields;
            row.stamp = stamp;
            row.known_in = 0;
        }
    }

    /// Takes note that the page knows a row, in that memory of its. Whether it did not before.
    pub(crate) fn note_known(&mut self, number: RowNumber, memory: u32) -> bool {
        let row = self.rows.get_mut(number as usize).and_then(Place::row_mut);
        row.is_some_and(|row| std::mem::replace(&mut row.known_in, memory) != memory)
    }

    /// Takes a record out, seen or hidden.
    pub(crate) fn remove(&mut self, id: &RecordId) {
        let Some(number) = self.place_of(id) else { return };
        let gone = self.rows.get_mut(number as usize).map(std::mem::take);
        self.hidden -= usize::from(matches!(gone, Some(Place::Hidden(..))));
        self.by_id.remove(self.by_id.hash(id), number);
    }

    /// Numbers the rows anew, in the order of their records, when most are empty or that is not their order. Whether it did: all numbers
    /// from before are void.
    pub(crate) fn close_up(&mut self) -> bool {
        let is_empty = self.rows.len() > FEW && self.by_id.len() * 2 < self.rows.len();
        if !is_empty && !self.is_disordered {
            return false;
        }
        self.by_id.clear();
        self.rows.retain(|place| !matches!(place, Place::Empty));
        if std::mem::take(&mut self.is_disordered) {
            let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
            sort(&mut order, &|a, b| self.held_at(a) < self.held_at(b));
            let take = |number: u32| self.rows.get_mut(number as usize).map(std::mem::take);
            self.rows = order.into_iter().filter_map(take).collect();
            self.last = self.rows.last().and_then(Place::number).unwrap_or_default();
        }
        for (number, id) in self.rows.iter().filter_map(Place::id).enumerate() {
            self.by_id.insert(self.by_id.hash(id), number);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_in_the_order_of_their_records_also_where_these_are_numbered_anew() {
        let mut rows = Rows::default();
        let row = |number| {
            let (id, fields) = (RecordId::number(number).unwrap(), Fields::empty());
            Row { id, fields, number: number.unsigned_abs(), stamp: 1, known_in: 0 }
        };
        for number in [2, 5, 9] {
            rows.push(row(number));
        }
        assert!(!rows.close_up());
        rows.remove(&RecordId::number(9).unwrap());
        rows.push(row(7));
        rows.hide(&RecordId::number(3).unwrap(), 3);
        rows.push(row(4));
        assert!(rows.close_up() && !rows.close_up());
        let numbers: Vec<_> = rows.iter().map(|(place, row)| (place, row.number)).collect();
        assert_eq!(numbers, [(0, 2), (2, 4), (3, 5), (4, 7)]);
        assert_eq!(rows.find(&RecordId::number(4).unwrap()), Some(2));
    }

    proptest! {
        /// Goal: rows, hash table and closing up agree with a plain list under any mix of writes and removals.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((0..5, 0_i64..150), 0..600)) {
            let mut rows = Rows::default();
            let mut model: Vec<(RecordId, Option<Fields>)> = Vec::new();
            for (stamp, (step, number)) in (0..).zip(steps) {
                let id = RecordId::number(number).unwrap();
                let fields = Fields::parse(&format!("{{\"v\":{stamp}}}")).unwrap();
                let place = model.iter().position(|(other, _)| *other == id);
                match (step, place) {
                    (0..2, _) => {
                        rows.remove(&id);
                        place.map(|place| model.remove(place));
                    }
                    (2, _) => {
                        rows.hide(&id, 0);
                        match place {
                            Some(place) => model[place].1 = None,
                            None => model.push((id, None)),
                        }
                    }
                    (_, Some(place)) => {
                        match rows.find(&id) {
                            Some(row) => rows.change(row, fields.clone(), stamp),
                            None => {
                                rows.add(Row { id: id.clone(), fields: fields.clone(), number: 0, stamp, known_in: 0 });
                            }
                        }
                        model[place].1 = Some(fields);
                    }
                    (_, None) => {
                        rows.add(Row { id: id.clone(), fields: fields.clone(), number: 0, stamp, known_in: 0 });
                        model.push((id, Some(fields)));
                    }
                }
                rows.close_up();
            }
            let hidden: Vec<_> = model.extract_if(.., |(_, fields)| fields.is_none()).collect();
            prop_assert!(hidden.iter().all(|(id, _)| rows.find(id).is_none()));
            let model: Vec<_> = model.into_iter().map(|(id, fields)| (id, fields.unwrap())).collect();
            prop_assert_eq!(rows.len(), model.len());
            let all: Vec<_> = rows.iter().map(|(_, row)| (row.id.clone(), row.fields.clone())).collect();
            prop_assert_eq!(&all, &model);
            for (id, fields) in &model {
                let found = rows.find(id).and_then(|row| rows.fields(row));
                prop_assert_eq!(found, Some(fields));
            }
        }
    }
}
