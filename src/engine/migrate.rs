//! Data of the app in the shape of a later version of their object's definition.
//!
//! Which version the data of an object have is in the log. Where an app is opened with a higher one, it is handed what there is of the
//! object in portions: the mutations that are not settled with all that belongs to them, then the records. What it makes of a
//! portion is one row, with the place where the next one begins; the last row raises the version. So a crash in between
//! costs a portion at most, and nothing goes through the app's functions twice. What is handed back is taken only if all is as it was when
//! the portion was handed out: tabs of the release before write on until they meet the first row. As long as it is not done no tab
//! that lists the object syncs: nothing of the old shape leaves, nothing comes in between. Who was opened with a lower version than there is stops.

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    Fields, MAX_FIELDS_BYTES, ObjectDefinition, ObjectName, Operation, ProtocolError, Sequence, quoted,
};
use serde::{Deserialize, Serialize};

use super::log::ROW_BYTES_WANTED;
use super::row::{Event, Migrated, Part, Place, Recorded, Row};
use super::sort::sorted;
use super::staged::is_set_by_driver;
use super::state::{Pending, Progress};
use super::{Config, Engine};
use crate::error::Error;

/// A portion has about so many bytes of JSON, and at most so many mutations and records: an app's functions go through it in some ten
/// milliseconds.
const PORTION_BYTES: usize = 256 << 10;
const MOST_THINGS: usize = 4096;
/// The version of an object without migrations.
const FIRST: u32 = 1;
/// What may belong to a mutation, in the order in which it goes to the app and comes back.
const PARTS: [Part; 4] = [Part::Data, Part::Base, Part::ServerRecord, Part::Suggestion];

/// Which version the data of each object have. One that is not named has the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Versions(Vec<ObjectVersion>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ObjectVersion {
    object: ObjectName,
    /// The one that all data have.
    version: u32,
    /// The one that the data before this place have: the same one, or a migration to it is under way.
    newest: u32,
    next: Place,
}

impl Versions {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, object: &ObjectName) -> Option<&ObjectVersion> {
        self.0.iter().find(|entry| entry.object == *object)
    }

    /// The version that all data of an object have; none while a migration of it is under way.
    pub(crate) fn of(&self, object: &str) -> Option<u32> {
        match self.0.iter().find(|entry| entry.object.as_str() == object) {
            Some(entry) => (entry.version == entry.newest).then_some(entry.version),
            None => Some(FIRST),
        }
    }

    /// The data of an object before a place have that version, or all of them.
    pub(crate) fn note(&mut self, object: &ObjectName, newest: u32, next: Place, is_last: bool) {
        let version = self.find(object).map_or(FIRST, |entry| entry.version);
        self.0.retain(|entry| entry.object != *object);
        let (version, next) = if is_last { (newest, Place::default()) } else { (version, next) };
        self.0.push(ObjectVersion { object: object.clone(), version, newest, next });
    }
}

impl Config {
    /// Why the data cannot be used: they have a later version than this app knows.
    fn check_version(&self, object: &ObjectName, version: u32) -> Result<(), Error> {
        let known = self.versions.iter().find(|(name, _)| name == object).map_or(FIRST, |(_, known)| *known);
        let is_outdated =
            version > known && self.object(object.as_str()).is_ok() && !has(Defect::OutdatedGoesOn);
        if is_outdated { Err(Error::DefinitionOutdated(object.to_string())) } else { Ok(()) }
    }

    /// Likewise, for all that is stored.
    pub(crate) fn check_versions(&self, versions: &Versions) -> Result<(), Error> {
        versions.0.iter().try_for_each(|entry| self.check_version(&entry.object, entry.newest))
    }

    /// Likewise, for a row.
    pub(crate) fn check_row(&self, row: &Row) -> Result<(), Error> {
        for event in &row.events {
            if let Event::Migrated(migrated) = event {
                self.check_version(&migrated.object, migrated.version)?;
            }
        }
        Ok(())
    }

    /// What a new database says of its versions: there is nothing to migrate.
    pub(crate) fn first_versions(&self) -> impl Iterator<Item = Event> {
        self.versions
            .iter()
            .map(|(object, version)| Event::Migrated(Box::new(Migrated::of(object, *version))))
    }
}

impl Migrated {
    fn of(object: &ObjectName, version: u32) -> Self {
        let (mutations, records, next) = (Vec::new(), Vec::new(), Place::default());
        Self { object: object.clone(), version, mutations, records, next, is_last: true }
    }
}

/// What an app made of a portion of an object's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    /// The object's name.
    pub object: ObjectName,
    /// Which portion.
    pub portion: Portion,
    /// What became of its values, or of the first of them; of none: other releases are to stop, and nothing else.
    pub values: Vec<Fields>,
}

/// Which portion of an object's data an app was given: what comes back is for that one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Where it begins.
    place: Place,
    /// The version that the data have.
    from: u32,
    /// How often something else had changed by then.
    changes: u64,
}

impl Portion {
    /// The portion by the text that an app was given with it.
    ///
    /// # Errors
    /// `INTERNAL`
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut numbers = text.split(',').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let mut parse = || {
            let place = Place { sequence: next()?, number: next()? };
            Some(Self { place, from: u32::try_from(next()?).ok()?, changes: next()? })
        };
        parse().ok_or_else(|| Error::Internal("there is no such portion of a migration".to_owned()))
    }

    fn to_json(self) -> String {
        let Self { place: Place { sequence, number }, from, changes } = self;
        format!("\"{sequence},{number},{from},{changes}\"")
    }
}

impl Place {
    /// The place behind that thing.
    const fn after(self, thing: Thing) -> Self {
        match thing {
            Thing::Mutation(sequence) => Self { sequence: sequence.get() + 1, ..self },
            Thing::Record(number) => Self { number: number + 1, ..self },
        }
    }
}

/// One thing to be migrated as a whole.
#[derive(Debug, Clone, Copy)]
enum Thing {
    Mutation(Sequence),
    Record(u64),
}

/// The values of one: of a mutation by its parts, of a record what the server last said, in the place of a base.
type Values<'a> = [Option<&'a Fields>; PARTS.len()];

impl Engine {
    /// Whether data of a defined object have an earlier version than they are to have: then this tab does not sync. The data of an object
    /// that this release does not list are not synced here: a migration of it, which may have been cut for good, holds up nothing.
    pub(crate) fn is_migrating(&self) -> bool {
        !self.is_up_to_date && !has(Defect::MigrationSyncs)
    }

    /// Once all data have their versions they stay as they are: where the row that says so is lost later, the next opening sees to it.
    pub(crate) fn note_versions(&mut self) {
        self.is_up_to_date |= self.is_open && self.lagging().next().is_none();
    }

    /// The objects whose data are to be migrated, with the version that they have and the one that they get next.
    fn lagging(&self) -> impl Iterator<Item = (&ObjectName, u32, u32)> {
        self.config.versions.iter().filter_map(|(object, version)| {
            let stored = self.state.versions.find(object);
            let (stored, newest) = stored.map_or((FIRST, FIRST), |entry| (entry.version, entry.newest));
            // What an earlier release of the app began is brought to its end first.
            let next = if newest > stored { newest } else { *version };
            (stored < next).then_some((object, stored, next))
        })
    }

    /// The objects whose data are to be migrated, as JSON: `[name, from, to]` each.
    #[must_use]
    pub fn objects_to_migrate(&self) -> String {
        let mut text = "[".to_owned();
        for (object, from, to) in self.lagging() {
            push(&mut text, &format!("[{},{from},{to}]", quoted(object.as_str())));
        }
        text + "]"
    }

    /// What of an object is to be migrated next, or from a place on, as JSON: `[at, next, values]`. Each value is a record, or a mutation
    /// of which the data are to be migrated, with a flag before it that says so; `next` is null at the end.
    ///
    /// # Errors
    /// `UNKNOWN_OBJECT`, `NOT_LOADED`
    pub fn portion_to_migrate(&self, object: &str, at: &str) -> Result<String, Error> {
        let object = &self.readable(object)?.name;
        let at = if at.is_empty() { self.next_portion(object) } else { Portion::parse(at)? };
        let (mut next, mut is_last) = (at, true);
        let mut text = "[".to_owned();
        for (nth, thing) in self.things(object, at.place, MOST_THINGS + 1).into_iter().enumerate() {
            if nth == MOST_THINGS || text.len() > PORTION_BYTES {
                is_last = false;
                break;
            }
            for (part, value) in PARTS.into_iter().zip(self.values(object, thing)) {
                match (part, thing, value) {
                    (_, _, None) => {}
                    (Part::Data, Thing::Mutation(sequence), _) => {
                        push(&mut text, &format!("[true,{}]", self.report_of(sequence)));
                    }
                    (_, _, Some(value)) => push(&mut text, &format!("[false,{}]", value.as_str())),
                }
            }
            next.place = next.place.after(thing);
        }
        let next = if is_last { "null".to_owned() } else { next.to_json() };
        Ok(format!("[{},{next},{text}]]", at.to_json()))
    }

    /// The portion that is to be migrated next, with all as it is now.
    fn next_portion(&self, object: &ObjectName) -> Portion {
        let stored = self.state.versions.find(object);
        let (place, from) = stored.map_or((Place::default(), FIRST), |entry| (entry.next, entry.version));
        Portion { place, from, changes: self.changes }
    }

    /// Something changed that is no migration.
    pub(crate) fn note_change(&mut self, row: &Row) {
        let is_other = |event: &Event| !matches!(event, Event::Migrated(_));
        self.changes += u64::from(row.events.iter().any(is_other));
    }

    /// What is left from a place on: the mutations, then the records; as many as that. Each has a value.
    fn things(&self, object: &ObjectName, at: Place, most: usize) -> Vec<Thing> {
        let mut sequences = Vec::new();
        let pending = self.state.pending.iter().map(|it| (&it.recorded, it.sequence));
        let rejected = self.state.rejected.iter().map(|it| (&it.recorded, it.sequence));
        for (recorded, sequence) in pending.chain(rejected) {
            if recorded.object == *object && sequence.get() >= at.sequence {
                sequences.push(sequence.get());
            }
        }
        let mut things = Vec::new();
        for sequence in sorted(sequences) {
            let thing = Sequence::new(sequence).ok().map(Thing::Mutation);
            // A delete may have nothing.
            things.extend(thing.filter(|thing| self.values(object, *thing) != [None; PARTS.len()]));
        }
        if let Some(table) = self.state.tables.get(object) {
            for (number, record) in table.numbered_from(at.number) {
                if things.len() >= most {
                    break;
                }
                // Of what never was created here only some fields are known, which nobody sees.
                if record.complete_base().is_some() {
                    things.push(Thing::Record(number));
                }
            }
        }
        things.truncate(most);
        things
    }

    fn values(&self, object: &ObjectName, thing: Thing) -> Values<'_> {
        match thing {
            Thing::Record(number) => {
                let record = self.state.tables.get(object).and_then(|table| table.numbered(number));
                [None, record.and_then(|record| record.complete_base()), None, None]
            }
            Thing::Mutation(sequence) => {
                let Some((recorded, base)) = self.find_mutation(sequence) else { return [None; 4] };
                let parked = match self.state.pending.get(&sequence) {
                    Some(Pending { progress: Progress::Parked(parked), .. }) => Some(parked),
                    _ => None,
                };
                let theirs = parked.and_then(|parked| parked.server_record.as_ref());
                let suggestion = parked.and_then(|parked| parked.suggestion.as_ref());
                [recorded.data.as_ref(), base, theirs, suggestion]
            }
        }
    }

    /// A mutation, pending or rejected, and the record that it was made on.
    fn find_mutation(&self, sequence: Sequence) -> Option<(&Recorded, Option<&Fields>)> {
        if let Some(pending) = self.state.pending.get(&sequence) {
            return Some((&pending.recorded, pending.base.as_ref()));
        }
        let rejected = self.state.rejected_at(sequence)?;
        Some((&rejected.recorded, rejected.base.as_ref()))
    }

    /// What of a portion goes into the row: as much as fits. Nothing where another tab was faster, whatever it did: what was made of the
    /// portion may not be made of what there is now.
    pub(crate) fn decide_migration(&self, migration: &Migration) -> Result<Option<Event>, Error> {
        let Migration { object, portion, values: made } = migration;
        let Some((.., version)) = self.lagging().find(|(lagging, ..)| *lagging == object) else {
            return Ok(None);
        };
        let current = self.next_portion(object);
        let at = current.place;
        let things = self.things(object, at, made.len() + 1);
        // With nothing made of what there is the migration only begins: tabs of the release before stop, who may write without a pause.
        let only_begins = made.is_empty() && !things.is_empty();
        if *portion != current && !only_begins && !has(Defect::PortionTakenLate) {
            return Ok(None);
        }
        let definition = self.config.object(object.as_str())?;
        let mut migrated = Migrated { next: at, ..Migrated::of(object, version) };
        let (mut bytes, mut made) = (0, made.as_slice());
        for thing in things {
            let values = self.values(object, thing);
            let parts = made.split_at_checked(values.iter().flatten().count());
            let Some((parts, rest)) = parts.filter(|_| bytes <= ROW_BYTES_WANTED) else {
                migrated.is_last = false;
                break;
            };
            let present = PARTS.into_iter().zip(values).filter_map(|(part, value)| Some((part, value?)));
            for ((part, before), after) in present.zip(parts) {
                let after = self.reshaped(definition, (thing, part), before, after)?;
                if after.deep_equals(before) {
                    continue;
                }
                bytes += after.as_str().len();
                match thing {
                    Thing::Mutation(sequence) => migrated.mutations.push((sequence, part, after)),
                    Thing::Record(number) => {
                        let record = self.state.tables.get(object).and_then(|table| table.numbered(number));
                        migrated.records.extend(record.map(|record| (record.id.clone(), after)));
                    }
                }
            }
            made = rest;
            migrated.next = migrated.next.after(thing);
        }
        if !migrated.is_last && migrated.next == at && !only_begins {
            return Err(Error::Internal("a portion of a migration is empty".to_owned()));
        }
        Ok(Some(Event::Migrated(Box::new(migrated))))
    }

    /// What the app made of a value, with what the driver sets as it was. What is a whole record gets the defaults.
    fn reshaped(
        &self,
        definition: &ObjectDefinition,
        (thing, part): (Thing, Part),
        before: &Fields,
        after: &Fields,
    ) -> Result<Fields, Error> {
        let mut after = after.filtered(|name, _| !is_set_by_driver(name));
        let is_patch = match (thing, part) {
            (Thing::Mutation(sequence), Part::Data) => {
                self.find_mutation(sequence).is_some_and(|(it, _)| it.operation != Operation::Create)
            }
            _ => false,
        };
        if !is_patch {
            after = definition.with_defaults(after);
        }
        for (name, is_first) in [("id", true), ("created_at", false), ("updated_at", false)] {
            if let Some(value) = before.get(name) {
                let kept = [(name, value.as_str())];
                let (first, last): (&[_], &[_]) = if is_first { (&kept, &[]) } else { (&[], &kept) };
                after = after.framed(first, last);
            }
        }
        if after.as_str().len() > MAX_FIELDS_BYTES {
            Err(ProtocolError::ValueTooLarge.into())
        } else {
            Ok(after)
        }
    }
}

/// Adds an element to the text of an array.
fn push(text: &mut String, element: &str) {
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(element);
}
