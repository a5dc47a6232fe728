//! How records look once what is not folded yet is done: in the order in which they were first changed.

use objectql_sync_protocol::{Fields, ObjectName, RecordId, RecordKey};

use super::places::Places;

/// Records as they will be; none for one that will not be.
#[derive(Debug, Default)]
pub(crate) struct Views {
    list: Vec<Entry>,
    places: Places,
    /// The number of the command under decision.
    turn: u32,
}

#[derive(Debug)]
struct Entry {
    key: RecordKey,
    view: Option<Fields>,
    /// In which turn it was changed last.
    turn: u32,
}

/// How a record looked before: none where it was not among the views.
pub(crate) type Before = Option<Option<Fields>>;

impl Views {
    fn place(&self, hash: u32, key: &RecordKey) -> Option<usize> {
        let is_it = |place: u32| self.list.get(place as usize).is_some_and(|entry| entry.key == *key);
        self.places.find(hash, &is_it).map(|place| place as usize)
    }

    /// How a record will look; none where it is not among them.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Option<&Fields>> {
        self.get_pair(key).map(|(_, view)| view)
    }

    /// Likewise, with its id.
    pub(crate) fn get_pair(&self, key: &RecordKey) -> Option<(&RecordId, Option<&Fields>)> {
        let place = self.place(self.places.hash(key), key)?;
        self.list.get(place).map(|entry| (&entry.key.id, entry.view.as_ref()))
    }

    /// Begins a turn.
    pub(crate) fn begin(&mut self) {
        self.turn += 1;
    }

    /// Changes how a record will look; gives how it looked before the turn, the first time in it.
    pub(crate) fn set(&mut self, key: &RecordKey, view: Option<Fields>) -> Option<Before> {
        let (turn, hash) = (self.turn, self.places.hash(key));
        if let Some(entry) = self.place(hash, key).and_then(|place| self.list.get_mut(place)) {
            let is_first = std::mem::replace(&mut entry.turn, turn) != turn;
            let old = std::mem::replace(&mut entry.view, view);
            return is_first.then_some(Some(old));
        }
        self.places.insert(hash, self.list.len());
        self.list.push(Entry { key: key.clone(), view, turn });
        Some(None)
    }

    /// Takes back what a turn did to a record, given what the first [`set`](Self::set) gave; the last record comes first.
    pub(crate) fn restore(&mut self, key: &RecordKey, before: Before) {
        match before {
            Some(view) => drop(self.set(key, view)),
            None => {
                // What was new is at the end.
                self.list.pop();
                let place = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
                self.places.remove(self.places.hash(key), place);
            }
        }
    }

    /// The records of one object.
    pub(crate) fn of<'a>(
        &'a self,
        object: &'a ObjectName,
    ) -> impl Iterator<Item = (&'a RecordId, Option<&'a Fields>)> {
        let of_object = self.list.iter().filter(move |entry| entry.key.object == *object);
        of_object.map(|entry| (&entry.key.id, entry.view.as_ref()))
    }
}
