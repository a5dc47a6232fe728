//! What queries look at: the visible records of one object, in the order in which they came.
//!
//! It is derived from the state, record by record as they change, and never looks back at it. A row keeps its number for as
//! long as its record is there, so that an index or a live query can hold on to four bytes; also while nobody sees the record, so
//! that it comes back to its place, as it has in the state.

use objectql_sync_protocol::{Fields, RecordId};

use crate::engine::places::Places;

/// The number of a row: rows are numbered in the order in which their records came.
pub(crate) type RowNumber = u32;

/// One state of one record, for as long as a page lives: no two states have the same stamp.
pub(crate) type Stamp = u32;

/// A visible record.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: RecordId,
    pub(crate) fields: Fields,
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
}

/// What is at a number.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Empty,
    /// A record that nobody sees at the moment.
    Hidden(RecordId),
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
            Self::Hidden(id) => Some(id),
            Self::Here(row) => Some(&row.id),
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

    fn place_of(&self, id: &RecordId) -> Option<RowNumber> {
        let holds = |number: RowNumber| self.rows.get(number as usize).and_then(Place::id) == Some(id);
        self.by_id.find(self.by_id.hash(id), &holds)
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
        let number = self.next_number();
        self.by_id.insert(self.by_id.hash(&row.id), self.rows.len());
        self.rows.push(Place::Here(row));
        number
    }

    /// Keeps a place for a record that is there and not to be seen.
    pub(crate) fn hide(&mut self, id: &RecordId) {
        let number = self.place_of(id).unwrap_or_else(|| {
            let number = self.next_number();
            self.by_id.insert(self.by_id.hash(id), self.rows.len());
            self.rows.push(Place::Empty);
            number
        });
        if let Some(place) =
            self.rows.get_mut(number as usize).filter(|place| !matches!(place, Place::Hidden(_)))
        {
            *place = Place::Hidden(id.clone());
            self.hidden += 1;
        }
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
        self.hidden -= usize::from(matches!(gone, Some(Place::Hidden(_))));
        self.by_id.remove(self.by_id.hash(id), number);
    }

    /// Numbers the rows anew, in the same order, when most are empty. Whether it did: all numbers from before are void.
    pub(crate) fn close_up(&mut self) -> bool {
        if self.rows.len() <= FEW || self.by_id.len() * 2 >= self.rows.len() {
            return false;
        }
        self.by_id.clear();
        self.rows.retain(|place| !matches!(place, Place::Empty));
        for (number, id) in self.rows.iter().filter_map(Place::id).enumerate() {
            self.by_id.insert(self.by_id.hash(id), number);
        }
        true
    }
}

/// Many rows that are put in, in order, where there is none.
pub(crate) struct Filling<'a> {
    rows: &'a mut Rows,
    /// Whether somebody has the same records at the same places: then no id need be hashed again.
    is_placed: bool,
}

impl<'a> Filling<'a> {
    pub(crate) fn of(rows: &'a mut Rows, count: usize, places: Option<&Places>) -> Self {
        rows.rows.reserve(count);
        match places {
            Some(places) => rows.by_id = places.clone(),
            None => rows.by_id.reserve(count),
        }
        Self { rows, is_placed: places.is_some() }
    }

    pub(crate) fn push(&mut self, row: Row) {
        if self.is_placed {
            self.rows.rows.push(Place::Here(row));
        } else {
            self.rows.push(row);
        }
    }

    pub(crate) fn hide(&mut self, id: &RecordId) {
        if self.is_placed {
            self.rows.rows.push(Place::Hidden(id.clone()));
            self.rows.hidden += 1;
        } else {
            self.rows.hide(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
                        rows.hide(&id);
                        match place {
                            Some(place) => model[place].1 = None,
                            None => model.push((id, None)),
                        }
                    }
                    (_, Some(place)) => {
                        match rows.find(&id) {
                            Some(row) => rows.change(row, fields.clone(), stamp),
                            None => {
                                rows.add(Row { id: id.clone(), fields: fields.clone(), stamp, known_in: 0 });
                            }
                        }
                        model[place].1 = Some(fields);
                    }
                    (_, None) => {
                        rows.add(Row { id: id.clone(), fields: fields.clone(), stamp, known_in: 0 });
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
