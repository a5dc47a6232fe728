//! The records of one object, by id and in the order in which they came.

use objectql_sync_protocol::{ObjectName, RecordId};

use super::marks::Marks;
use super::places::Places;
use super::record::Record;
use super::sort::{sort, sorted};

/// The records of all objects. There are few objects: a table is found by going through them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    list: Vec<(ObjectName, Table)>,
    /// The key of the row that is being folded.
    row: u64,
}

impl PartialEq for Tables {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Tables {
    pub(crate) fn get(&self, object: &ObjectName) -> Option<&Table> {
        self.list.iter().find(|(name, _)| name == object).map(|(_, table)| table)
    }

    /// The table of an object, made if need be.
    pub(crate) fn entry(&mut self, object: &ObjectName) -> &mut Table {
        let place = self.list.iter().position(|(name, _)| name == object).unwrap_or_else(|| {
            self.list.push((object.clone(), Table::default()));
            self.list.len() - 1
        });
        let table = &mut self.list.get_mut(place).expect("the place was found or just made").1;
        table.marks.begin(self.row);
        table
    }

    /// All tables, in the order in which their first records came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Table)> {
        self.list.iter().map(|(name, table)| (name, table))
    }

    /// Lets go of so many records, which are not asked for any more; whether there are more.
    pub(crate) fn drop_next(&mut self, mut count: usize) -> bool {
        while let Some((_, Table { slots, .. })) = self.list.last_mut() {
            let kept = slots.len().saturating_sub(count);
            count -= slots.len() - kept;
            slots.truncate(kept);
            if kept > 0 {
                return true;
            }
            self.list.pop();
        }
        false
    }

    /// The table of an object, if there is one, to be put in order: nothing of it changes by that.
    pub(crate) fn find(&mut self, object: &ObjectName) -> Option<&mut Table> {
        self.list.iter_mut().find(|(name, _)| name == object).map(|(_, table)| table)
    }

    /// Adds a table of records that are stored.
    pub(crate) fn add(&mut self, object: &ObjectName, table: Table) {
        self.list.push((object.clone(), table));
    }

    /// Puts the stored records of all tables into their order.
    pub(crate) fn order(&mut self) {
        for (_, table) in &mut self.list {
            table.order();
        }
    }

    /// What changes from here on is changed by this row.
    pub(crate) const fn begin(&mut self, row: u64) {
        self.row = row;
    }

    /// Removes the records of which nothing is left because what was pending of them is lost.
    pub(crate) fn drop_lost(&mut self) {
        for (_, table) in &mut self.list {
            table.marks.begin(self.row);
            table.drop_lost();
        }
    }

    /// What rows up to this one changed is in segments.
    pub(crate) fn forget_marks(&mut self, through: u64) {
        for (_, table) in &mut self.list {
            table.marks.forget(through);
        }
    }
}

/// The records of one object.
///
/// Records sit in slots in the order in which they came; a hash table finds the slot of an id. A removed record leaves an empty slot,
/// and the table closes up when most slots are empty. Each record has a number for as long as it is there, which rises with the
/// slots and is never used again: by it a segment knows it. Stored records have slots before they are taken in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    slots: Vec<Option<Record>>,
    /// The numbers of the slots.
    numbers: Vec<u64>,
    next: u64,
    by_id: Places,
    /// How many slots are empty because their records were not taken in yet, at most; the last ones need not be there.
    expected: usize,
    /// How many of the slots are in order, where one was taken in that was not expected, and has a smaller number than one before it.
    ordered: Option<usize>,
    /// The slot of the record that was taken in last.
    last_taken: usize,
    /// By number.
    pub(crate) marks: Marks,
}

/// Below so many slots it is not worth closing up.
const FEW_SLOTS: usize = 64;

impl Table {
    fn slot_of(&self, id: &RecordId) -> Option<usize> {
        self.slot_by(self.by_id.hash(id), id)
    }

    fn slot_by(&self, hash: u32, id: &RecordId) -> Option<usize> {
        self.by_id.find(hash, &|slot| self.holds(slot as usize, id)).map(|slot| slot as usize)
    }

    fn holds(&self, slot: usize, id: &RecordId) -> bool {
        matches!(self.slots.get(slot), Some(Some(record)) if record.id == *id)
    }

    pub(crate) fn get(&self, id: &RecordId) -> Option<&Record> {
        self.slots.get(self.slot_of(id)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: &RecordId) -> Option<&mut Record> {
        let slot = self.slot_of(id)?;
        self.mark(slot);
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The record with that id, made if need be.
    pub(crate) fn entry(&mut self, id: &RecordId) -> &mut Record {
        let hash = self.by_id.hash(id);
        let slot = self.slot_by(hash, id).unwrap_or_else(|| {
            self.fill_up();
            let slot = self.slots.len();
            self.slots.push(Some(Record::new(id.clone())));
            self.numbers.push(self.next);
            self.next += 1;
            self.by_id.insert(hash, slot);
            slot
        });
        self.mark(slot);
        let place = self.slots.get_mut(slot).expect("the slot was found or just made");
        place.get_or_insert_with(|| Record::new(id.clone()))
    }

    /// Whoever gets hold of a record may change it.
    fn mark(&mut self, slot: usize) {
        if let Some(number) = self.numbers.get(slot) {
            self.marks.mark(*number);
        }
    }

    /// The number of a record.
    pub(crate) fn number_of(&self, id: &RecordId) -> Option<u64> {
        self.find(id).map(|(number, _)| number)
    }

    /// A record and its number.
    pub(crate) fn find(&self, id: &RecordId) -> Option<(u64, &Record)> {
        let slot = self.slot_of(id)?;
        self.numbers.get(slot).copied().zip(self.slots.get(slot)?.as_ref())
    }

    /// The record with that number.
    pub(crate) fn numbered(&self, number: u64) -> Option<&Record> {
        self.slots.get(self.numbers.binary_search(&number).ok()?)?.as_ref()
    }

    /// The records from that number on, in order, each with its number.
    pub(crate) fn numbered_from(&self, number: u64) -> impl Iterator<Item = (u64, &Record)> {
        let first = self.numbers.partition_point(|other| *other < number);
        let both = self.numbers.iter().zip(&self.slots).skip(first);
        both.filter_map(|(number, slot)| Some((*number, slot.as_ref()?)))
    }

    /// The number that the next record gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// The numbers of all records, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.numbers.iter().zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(number, _)| *number)
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// A table of records that are stored, and not in it yet.
    pub(crate) fn for_stored(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Whether there are slots for stored records that were not taken in yet.
    pub(crate) const fn is_expecting(&self) -> bool {
        self.expected > 0
    }

    /// Makes slots for stored records that are about to be taken in, with these numbers, which rise: so they are in order, whichever come
    /// first.
    pub(crate) fn expect(&mut self, numbers: &[u64]) {
        let old = std::mem::take(&mut self.numbers);
        let mut rest = numbers;
        self.numbers.reserve_exact(old.len() + numbers.len());
        for number in sorted(old.clone()) {
            let (before, after) = rest.split_at(rest.partition_point(|other| *other < number));
            self.numbers.extend_from_slice(before);
            self.numbers.push(number);
            rest = after.strip_prefix(&[number]).unwrap_or(after);
        }
        self.numbers.extend_from_slice(rest);
        let mut slots = Vec::with_capacity(self.numbers.len());
        let mut moved = Vec::with_capacity(old.len());
        for (number, slot) in old.into_iter().zip(std::mem::take(&mut self.slots)) {
            let to = self.numbers.binary_search(&number).unwrap_or_default();
            put(&mut slots, to, slot);
            moved.push(u32::try_from(to).unwrap_or(u32::MAX));
        }
        self.by_id.move_to(&moved);
        self.by_id.reserve(numbers.len());
        self.slots = slots;
        self.ordered = None;
        self.expected = numbers.len();
    }

    /// Takes in a record that is stored: into its slot, or behind the others until they are [put in order](Self::order).
    pub(crate) fn push_stored(&mut self, number: u64, record: Record) {
        let hash = self.by_id.hash(&record.id);
        // Most follow each other.
        let next = self.last_taken + 1;
        let ordered = self.numbers.get(..self.ordered.unwrap_or(self.numbers.len())).unwrap_or_default();
        let slot = if ordered.get(next) == Some(&number) { Ok(next) } else { ordered.binary_search(&number) };
        let slot = slot.unwrap_or_else(|_| {
            if self.ordered.is_none() && self.numbers.last() > Some(&number) {
                self.ordered = Some(self.numbers.len());
            }
            self.numbers.push(number);
            self.numbers.len() - 1
        });
        put(&mut self.slots, slot, Some(record));
        self.expected = self.expected.saturating_sub(1);
        self.by_id.insert(hash, slot);
        self.last_taken = slot;
    }

    /// Those slots are there that are not used yet.
    fn fill_up(&mut self) {
        self.slots.resize_with(self.numbers.len(), || None);
    }

    /// All stored records were taken in: puts those into their order that were not expected.
    pub(crate) fn order(&mut self) {
        self.expected = 0;
        self.fill_up();
        if self.ordered.take().is_some() {
            let mut places: Vec<u32> = (0..).take(self.numbers.len()).collect();
            sort(&mut places, &|a, b| self.numbers.get(a as usize) < self.numbers.get(b as usize));
            let numbers = places.iter().filter_map(|place| self.numbers.get(*place as usize).copied());
            self.numbers = numbers.collect();
            self.slots = places
                .iter()
                .map(|place| self.slots.get_mut(*place as usize).and_then(Option::take))
                .collect();
            let mut moved = vec![0; places.len()];
            for (to, from) in (0..).zip(places) {
                if let Some(place) = moved.get_mut(from as usize) {
                    *place = to;
                }
            }
            self.by_id.move_to(&moved);
        }
    }

    /// Removes the record if nothing is left of it.
    pub(crate) fn drop_if_gone(&mut self, id: &RecordId) {
        let Some(slot) = self.slot_of(id) else { return };
        let Some(place) = self.slots.get_mut(slot) else { return };
        if !place.as_ref().is_some_and(Record::is_gone) {
            return;
        }
        *place = None;
        self.mark(slot);
        self.by_id.remove(self.by_id.hash(id), u32::try_from(slot).unwrap_or(u32::MAX));
        if self.slots.len() > FEW_SLOTS && (self.by_id.len() + self.expected) * 2 < self.slots.len() {
            self.close_up();
        }
    }

    /// Removes the records of which nothing is left because what was pending of them is lost.
    pub(crate) fn drop_lost(&mut self) {
        let gone: Vec<RecordId> =
            self.records().filter(|record| record.is_gone()).map(|record| record.id.clone()).collect();
        for id in gone {
            let number = self.number_of(&id);
            self.drop_if_gone(&id);
            number.into_iter().for_each(|number| self.marks.mark_lost(number));
        }
    }

    fn close_up(&mut self) {
        self.numbers = self.numbers().collect();
        self.ordered = self.ordered.map(|_| 0);
        self.slots.retain(Option::is_some);
        self.index();
    }

    /// Builds the hash table anew.
    fn index(&mut self) {
        self.by_id.clear();
        self.by_id.reserve(self.slots.len());
        for (slot, record) in self.slots.iter().enumerate() {
            if let Some(record) = record {
                self.by_id.insert(self.by_id.hash(&record.id), slot);
            }
        }
    }

    /// All records, in the order in which they came.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().flatten()
    }
}

/// Puts a record into a slot, which is made if need be.
fn put(slots: &mut Vec<Option<Record>>, slot: usize, record: Option<Record>) {
    if slot >= slots.len() {
        slots.resize_with(slot + 1, || None);
    }
    if let Some(place) = slots.get_mut(slot) {
        *place = record;
    }
}

/// Two tables are equal when they show the same records in the same order, wherever the empty slots are.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.records().eq(other.records())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use objectql_sync_protocol::{Fields, Operation, ServerVersion};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn id(number: i64) -> RecordId {
        RecordId::number(number).unwrap()
    }

    proptest! {
        /// Goal: the slots, the hash table and closing up agree with a plain map under any mix of writes and removals.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0_i64..150), 0..600)) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (version, (is_delete, number)) in steps.into_iter().enumerate() {
                let data = Fields::parse(&format!("{{\"v\":{version}}}")).unwrap();
                let operation = if is_delete { Operation::Delete } else { Operation::Create };
                table.entry(&id(number)).rebase(operation, Some(&data), ServerVersion::default());
                table.drop_if_gone(&id(number));
                if is_delete { model.remove(&number); } else { model.insert(number, data); }
                prop_assert_eq!(table.get(&id(number)).and_then(Record::visible), model.get(&number));
            }
            prop_assert_eq!(table.records().filter_map(Record::visible).count(), model.len());
            for (number, data) in &model {
                prop_assert_eq!(table.get(&id(*number)).and_then(Record::visible), Some(data));
            }
        }

        /// Goal: stored records stand in the order of their numbers, whichever come before slots are made for them and in which order,
        /// whatever is made and removed meanwhile, and where some are lost or were not expected.
        #[test]
        fn stored_records_stand_in_order(
            fates in prop::collection::vec(0..6, 0..90),
            order in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<bool>(), 200_i64..230), 0..200),
        ) {
            let record = |number: usize| {
                let mut record = Record::new(id(number as i64));
                let data = Fields::parse(&format!("{{\"v\":{number}}}")).unwrap();
                record.rebase(Operation::Create, Some(&data), ServerVersion::default());
                record
            };
            let of = |fate: i32| (0..).zip(&fates).filter(move |(_, other)| **other == fate).map(|(number, _)| number);
            let mut table = Table::for_stored(fates.len() as u64);
            // Early, expected, expected and lost, not expected.
            let (early, lost, unexpected) = (of(0), of(1), of(2));
            let expected: Vec<usize> = (3..6).flat_map(of).collect();
            for number in early.collect::<Vec<_>>().into_iter().rev() {
                table.push_stored(number as u64, record(number));
            }
            let awaited = expected.iter().copied().chain(lost).map(|number| number as u64);
            table.expect(&crate::engine::sort::sorted(awaited.collect()));
            let mut rest: Vec<usize> = unexpected.chain(expected).collect();
            let middle = if rest.is_empty() { 0 } else { order.index(rest.len()) };
            rest.rotate_left(middle);
            let mut made = Vec::new();
            let (first, second) = rest.split_at(rest.len() / 2);
            let (before, after) = changes.split_at(changes.len() / 2);
            for (stored, changes) in [(first, before), (second, after)] {
                for (is_made, number) in changes {
                    made.retain(|other| other != number);
                    // What is not to be found is not made only to be removed.
                    if table.get(&id(*number)).is_some() {
                        table.entry(&id(*number)).rebase(Operation::Delete, None, ServerVersion::default());
                        table.drop_if_gone(&id(*number));
                    }
                    if *is_made {
                        let data = Some(Fields::empty());
                        table.entry(&id(*number)).rebase(Operation::Create, data.as_ref(), ServerVersion::default());
                        made.push(*number);
                    }
                }
                for number in stored {
                    table.push_stored(*number as u64, record(*number));
                }
            }
            table.order();
            let stored = (0..).zip(&fates).filter(|(_, fate)| **fate != 1).map(|(number, _)| number);
            let all: Vec<RecordId> = stored.chain(made).map(id).collect();
            prop_assert_eq!(table.records().map(|record| record.id.clone()).collect::<Vec<_>>(), all.clone());
            prop_assert!(table.numbered_from(0).is_sorted_by_key(|(number, _)| number));
            for id in &all {
                let number = table.number_of(id).unwrap();
                prop_assert_eq!(table.numbered(number).map(|record| &record.id), Some(id));
            }
            prop_assert_eq!(table.count(), all.len());
        }
    }
}
