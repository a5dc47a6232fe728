//! A hash table of places in a list: one for most of what is looked up, because each of another type is some kilobytes of code again.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Where things stand in a list. What stands there is the list's affair.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    table: HashTable<Entry>,
    hasher: DefaultHashBuilder,
}

/// The hash of a thing, as far as it is kept, and its place.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    place: u32,
}

impl Entry {
    /// The table takes both ends of a hash.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Places {
    /// The hash of a thing, for the other methods.
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is one, too")]
    pub(crate) fn hash(&self, thing: &impl Hash) -> u32 {
        self.hasher.hash_one(thing) as u32
    }

    /// The place of a thing with that hash that is the right one.
    pub(crate) fn find(&self, hash: u32, is_it: &dyn Fn(u32) -> bool) -> Option<u32> {
        let is_it = |entry: &Entry| entry.hash == hash && is_it(entry.place);
        self.table.find(Entry::spread(hash), is_it).map(|entry| entry.place)
    }

    /// Adds a place; the thing must not be there.
    pub(crate) fn insert(&mut self, hash: u32, place: usize) {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let entry = Entry { hash, place };
        self.table.insert_unique(Entry::spread(hash), entry, |entry| Entry::spread(entry.hash));
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.table.reserve(count, |entry| Entry::spread(entry.hash));
    }

    /// Takes a place out.
    pub(crate) fn remove(&mut self, hash: u32, place: u32) {
        if let Ok(entry) = self.table.find_entry(Entry::spread(hash), |entry| entry.place == place) {
            entry.remove();
        }
    }

    /// The things stand at other places now: at each, where its number says.
    pub(crate) fn move_to(&mut self, places: &[u32]) {
        for entry in self.table.iter_mut() {
            if let Some(place) = places.get(entry.place as usize) {
                entry.place = *place;
            }
        }
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Texts, each once, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    list: Vec<String>,
    places: Places,
}

impl Texts {
    /// The place of a text, and whether it is new.
    pub(crate) fn place(&mut self, text: &str) -> (usize, bool) {
        let hash = self.places.hash(&text);
        let is_it = |place: u32| self.list.get(place as usize).is_some_and(|other| other == text);
        if let Some(place) = self.places.find(hash, &is_it) {
            return (place as usize, false);
        }
        self.places.insert(hash, self.list.len());
        self.list.push(text.to_owned());
        (self.list.len() - 1, true)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        self.list.iter()
    }
}
