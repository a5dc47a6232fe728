//! How records look once what is not folded yet is done: in the order in which they were first changed.

use objectql_sync_protocol::{Fields, ObjectName, RecordId, RecordKey};

use super::places::Places;

/// Records as they will be; none for one that will not be.
#[derive(Debug, Default)]
pub(crate) struct Views {
    list: Vec<(RecordKey, Option<Fields>)>,
    places: Places,
}

/// How a record looked before: none where it was not among the views.
pub(crate) type Before = Option<Option<Fields>>;

impl Views {
    fn place(&self, key: &RecordKey) -> Option<usize> {
        let is_it = |place: u32| self.list.get(place as usize).is_some_and(|(other, _)| other == key);
        self.places.find(self.places.hash(key), &is_it).map(|place| place as usize)
    }

    /// How a record will look; none where it is not among them.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Option<&Fields>> {
        self.list.get(self.place(key)?).map(|(_, view)| view.as_ref())
    }

    /// Changes how a record will look.
    pub(crate) fn set(&mut self, key: &RecordKey, view: Option<Fields>) -> Before {
        if let Some((_, old)) = self.place(key).and_then(|place| self.list.get_mut(place)) {
            return Some(std::mem::replace(old, view));
        }
        self.places.insert(self.places.hash(key), self.list.len());
        self.list.push((key.clone(), view));
        None
    }

    /// Takes back the last [`set`](Self::set), given what that one gave.
    pub(crate) fn restore(&mut self, key: &RecordKey, before: Before) {
        match before {
            Some(view) => drop(self.set(key, view)),
            None => {
                // Sets are taken back from the last to the first: what was new is at the end.
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
        let of_object = self.list.iter().filter(move |(key, _)| key.object == *object);
        of_object.map(|(key, view)| (&key.id, view.as_ref()))
    }
}
