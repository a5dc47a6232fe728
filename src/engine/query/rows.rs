//! What queries look at: the visible records of one object, in the order in which they came.
//!
//! It is derived from the state, record by record as they change, and never looks back at it. A row keeps its number for as
//! long as its record is there, so that an index or a live query can hold on to four bytes.

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
    rows: Vec<Option<Row>>,
    by_id: Places,
}

/// Below so many rows it is not worth closing up.
const FEW: usize = 64;

impl Rows {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number that the next row gets.
    pub(crate) fn next_number(&self) -> RowNumber {
        RowNumber::try_from(self.rows.len()).unwrap_or(RowNumber::MAX)
    }

    /// The row of a record.
    pub(crate) fn find(&self, id: &RecordId) -> Option<RowNumber> {
        let holds = |number: RowNumber| self.get(number).is_some_and(|row| row.id == *id);
        self.by_id.find(self.by_id.hash(id), &holds)
    }

    /// The row with that number, as long as its record is there.
    pub(crate) fn get(&self, number: RowNumber) -> Option<&Row> {
        self.rows.get(number as usize)?.as_ref()
    }

    /// The record in the row with that number.
    pub(crate) fn fields(&self, number: RowNumber) -> Option<&Fields> {
        self.get(number).map(|row| &row.fields)
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowNumber, &Row)> {
        (0..).zip(&self.rows).filter_map(|(number, row)| Some((number, row.as_ref()?)))
    }

    /// Adds a record that is not there, at the end.
    pub(crate) fn add(&mut self, row: Row) -> RowNumber {
        let number = self.next_number();
        self.by_id.insert(self.by_id.hash(&row.id), self.rows.len());
        self.rows.push(Some(row));
        number
    }

    /// Changes the record of a row.
    pub(crate) fn change(&mut self, number: RowNumber, fields: Fields, stamp: Stamp) {
        if let Some(Some(row)) = self.rows.get_mut(number as usize) {
            row.fields = fields;
            row.stamp = stamp;
            row.known_in = 0;
        }
    }

    /// Takes note that the page knows a row, in that memory of its. Whether it did not before.
    pub(crate) fn note_known(&mut self, number: RowNumber, memory: u32) -> bool {
        let row = self.rows.get_mut(number as usize).and_then(Option::as_mut);
        row.is_some_and(|row| std::mem::replace(&mut row.known_in, memory) != memory)
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, number: RowNumber) {
        let Some(row) = self.rows.get_mut(number as usize).and_then(Option::take) else { return };
        self.by_id.remove(self.by_id.hash(&row.id), number);
    }

    /// Numbers the rows anew, in the same order, when most are empty. Whether it did: all numbers from before are void.
    pub(crate) fn close_up(&mut self) -> bool {
        if self.rows.len() <= FEW || self.by_id.len() * 2 >= self.rows.len() {
            return false;
        }
        self.by_id.clear();
        for row in std::mem::take(&mut self.rows).into_iter().flatten() {
            self.add(row);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: rows, hash table and closing up agree with a plain list under any mix of writes and removals.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((any::<bool>(), 0_i64..150), 0..600)) {
            let mut rows = Rows::default();
            let mut model: Vec<(RecordId, Fields)> = Vec::new();
            for (stamp, (is_delete, number)) in (0..).zip(steps) {
                let id = RecordId::number(number).unwrap();
                let fields = Fields::parse(&format!("{{\"v\":{stamp}}}")).unwrap();
                let place = model.iter().position(|(other, _)| *other == id);
                match (rows.find(&id), is_delete) {
                    (Some(row), true) => {
                        rows.remove(row);
                        model.remove(place.unwrap());
                    }
                    (None, true) => prop_assert_eq!(place, None),
                    (Some(row), false) => {
                        rows.change(row, fields.clone(), stamp);
                        model[place.unwrap()].1 = fields;
                    }
                    (None, false) => {
                        rows.add(Row { id: id.clone(), fields: fields.clone(), stamp, known_in: 0 });
                        model.push((id, fields));
                    }
                }
                rows.close_up();
            }
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
