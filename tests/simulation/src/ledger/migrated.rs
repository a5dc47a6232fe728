//! The data of objects in the shapes of their versions: what a migration may do, and who may write.

use objectql_offline::engine::{Migrated, Part, Place};
use objectql_sync_protocol::ObjectName;

use super::{Entry, Ledger, Shape, Writer};
use crate::coverage::{Coverage, Sight};
use crate::migration::is_same;

impl Ledger {
    /// Who was opened with an earlier version than there is writes nothing any more (M2).
    pub(super) fn check_release(&self, writer: &Writer<'_>) -> Result<(), String> {
        let is_late = |(object, shape): &(&ObjectName, &Shape)| {
            shape.newest > writer.version(object) && writer.edition.defines(object.as_str())
        };
        match self.shapes.iter().find(is_late) {
            Some((object, shape)) if !self.is_damaged => {
                Err(format!("M2: a tab writes that knows less of {object} than version {}", shape.newest))
            }
            _ => Ok(()),
        }
    }

    /// A portion of an object's data has the shape of a later version (M1, M4).
    pub(super) fn migrate(
        &mut self,
        migrated: &Migrated,
        is_new_database: bool,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Migrated { object, version, mutations, records, next, is_last } = migrated;
        let shape = self.shapes.entry(object.clone()).or_default();
        if is_new_database {
            *shape = Shape { version: *version, newest: *version, ..Shape::default() };
            return Ok(());
        }
        coverage.saw(Sight::Migrated);
        let is_next = if shape.is_under_way() {
            coverage.saw(Sight::MigratedOn);
            *version == shape.newest
        } else {
            let version = shape.version;
            *shape = Shape { version, newest: migrated.version, began_at: self.rows, ..Shape::default() };
            migrated.version > version
        };
        let place = std::mem::replace(&mut shape.place, *next);
        let is_forward = next.sequence >= place.sequence && next.number >= place.number;
        let within = place.sequence..next.sequence;
        let is_within = mutations.iter().all(|(sequence, ..)| within.contains(&sequence.get()));
        let is_new = records.iter().all(|(id, _)| shape.records.insert(id.clone()));
        if *is_last {
            (shape.version, shape.place) = (*version, Place::default());
            shape.records.clear();
            coverage.saw(Sight::MigrationEnded);
        }
        // After damage the versions may be earlier ones, and functions go through their data again.
        let is_strict = !self.is_damaged;
        if is_strict && !(is_next && is_forward && is_within && is_new) {
            return Err(format!("M1: {object} is migrated to {version} from {place:?} to {next:?}"));
        }
        for (sequence, part, fields) in mutations.iter().filter(|(_, part, _)| *part == Part::Data) {
            let Some(entry) = self.entries.get_mut(&sequence.get()) else {
                return Err(format!(
                    "M4: the {part:?} of {sequence:?} are migrated, which was never recorded"
                ));
            };
            coverage.saw(Sight::MigratedMutation);
            let old = entry.recorded.data.replace(fields.clone());
            // Of one that a rule has settled after a conflict, what is left goes on.
            let is_left = entry.conflict_at.is_some() || is_same(old.as_ref(), Some(fields));
            if is_strict && !is_left {
                return Err(format!("M4: {old:?} of {} became {fields:?}", entry.recorded.id));
            }
            entry.version = *version;
            entry.before.push((self.rows, old));
        }
        Ok(())
    }

    /// Whether the data of a mutation have the version that its object's data have (M5).
    pub(crate) fn is_up_to_date(&self, entry: &Entry) -> bool {
        let version = self.shapes.get(&entry.recorded.object).map_or(1, |shape| shape.version);
        self.is_damaged || entry.recorded.data.is_none() || entry.version >= version
    }
}
