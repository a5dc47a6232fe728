//! The records of one object, by id and in the order in which they came.

use objectql_sync_protocol::{ObjectName, RecordId};

use super::places::Places;
use super::record::Record;

/// The records of all objects. There are few objects: a table is found by going through them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tables(Vec<(ObjectName, Table)>);

impl Tables {
    pub(crate) fn get(&self, object: &ObjectName) -> Option<&Table> {
        self.0.iter().find(|(name, _)| name == object).map(|(_, table)| table)
    }

    /// The table of an object, made if need be.
    pub(crate) fn entry(&mut self, object: &ObjectName) -> &mut Table {
        let place = self.0.iter().position(|(name, _)| name == object).unwrap_or_else(|| {
            self.0.push((object.clone(), Table::default()));
            self.0.len() - 1
        });
        &mut self.0.get_mut(place).expect("the place was found or just made").1
    }

    /// All tables, in the order in which their first records came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Table)> {
        self.0.iter().map(|(name, table)| (name, table))
    }
}

/// The records of one object.
///
/// Records sit in slots in the order in which they came; a hash table finds the slot of an id. A removed record leaves an empty slot, and the table closes up when most slots are empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    slots: Vec<Option<Record>>,
    by_id: Places,
}

/// Below so many slots it is not worth closing up.
const FEW_SLOTS: usize = 64;

impl Table {
    fn slot_of(&self, id: &RecordId) -> Option<usize> {
        let slot = self.by_id.find(self.by_id.hash(id), &|slot| self.holds(slot as usize, id));
        slot.map(|slot| slot as usize)
    }

    fn holds(&self, slot: usize, id: &RecordId) -> bool {
        matches!(self.slots.get(slot), Some(Some(record)) if record.id == *id)
    }

    pub(crate) fn get(&self, id: &RecordId) -> Option<&Record> {
        self.slots.get(self.slot_of(id)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: &RecordId) -> Option<&mut Record> {
        let slot = self.slot_of(id)?;
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The record with that id, made if need be.
    pub(crate) fn entry(&mut self, id: &RecordId) -> &mut Record {
        let slot = self.slot_of(id).unwrap_or_else(|| {
            let slot = self.slots.len();
            self.slots.push(Some(Record::new(id.clone())));
            self.by_id.insert(self.by_id.hash(id), slot);
            slot
        });
        let place = self.slots.get_mut(slot).expect("the slot was found or just made");
        place.get_or_insert_with(|| Record::new(id.clone()))
    }

    /// Removes the record if nothing is left of it.
    pub(crate) fn drop_if_gone(&mut self, id: &RecordId) {
        let Some(slot) = self.slot_of(id) else { return };
        let Some(place) = self.slots.get_mut(slot) else { return };
        if !place.as_ref().is_some_and(Record::is_gone) {
            return;
        }
        *place = None;
        self.by_id.remove(self.by_id.hash(id), u32::try_from(slot).unwrap_or(u32::MAX));
        if self.slots.len() > FEW_SLOTS && self.by_id.len() * 2 < self.slots.len() {
            self.close_up();
        }
    }

    fn close_up(&mut self) {
        self.slots.retain(Option::is_some);
        self.by_id.clear();
        for (slot, record) in self.slots.iter().flatten().enumerate() {
            self.by_id.insert(self.by_id.hash(&record.id), slot);
        }
    }

    /// All records, in the order in which they came.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().flatten()
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
    }
}
