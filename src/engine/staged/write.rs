//! Creates, updates and deletes.

use objectql_sync_protocol::{Fields, Json, ObjectName, Operation, ProtocolError, RecordId, RecordKey};

use super::{Staged, check_size, is_set_by_driver, push_others, stamped, time_of};
use crate::engine::command::Reply;
use crate::engine::query::Path;
use crate::error::Error;

impl Staged<'_> {
    /// Makes a record.
    pub(super) fn create(&mut self, object: &ObjectName, record: &Fields) -> Result<Fields, Error> {
        let record = &self.writable(object)?.with_defaults(record.clone());
        let id = match record.get_quoted("\"id\"") {
            Some(id) => RecordId::from_value(id)?,
            None => RecordId::string(self.random.uuid(self.now).to_string())?,
        };
        let key = RecordKey { object: object.clone(), id };
        if self.view(&key).is_some() {
            return Err(Error::AlreadyExists { object: object.to_string(), id: key.id.to_json() });
        }
        let stamp = self.clock.issue(self.now);
        let fields = stamped(&mut self.text, record, &key.id, stamp, stamp)?;
        self.take_unique(&key, &fields)?;
        let recorded = self.recorded(key, Operation::Create, Some(fields.clone()));
        self.stage_as(recorded, Some(fields.clone()))?;
        Ok(fields)
    }

    /// Changes fields of a record.
    pub(super) fn update(
        &mut self,
        object: &ObjectName,
        id: &RecordId,
        patch: &Fields,
    ) -> Result<Fields, Error> {
        self.writable(object)?;
        let key = RecordKey { object: object.clone(), id: id.clone() };
        let Some(before) = self.view(&key).cloned() else {
            return Err(Error::NotFound { object: object.to_string(), id: id.to_json() });
        };
        if patch.get_quoted("\"id\"").is_some_and(|inner| inner.as_str() != id.to_json()) {
            return Err(
                ProtocolError::InvalidId("an update cannot change the id of a record".to_owned()).into()
            );
        }
        let text = &mut self.text;
        text.clear();
        push_others(text, '{', patch);
        if text.is_empty() {
            return Ok(before);
        }
        text.push_str(",\"updated_at\":\"");
        self.clock.issue(self.now).push_to(text);
        text.push_str("\"}");
        let changed = Fields::from_normalised(text.as_str())?;
        let after = before.merged(&changed);
        check_size(&after)?;
        self.take_unique(&key, &after)?;
        self.adopt_one(&key)?;
        let recorded = self.recorded(key, Operation::Update, Some(changed));
        self.stage_as(recorded, Some(after.clone()))?;
        Ok(after)
    }

    /// Changes the record with that id, or makes it.
    pub(super) fn upsert(&mut self, object: &ObjectName, record: &Fields) -> Result<Fields, Error> {
        let id = match record.get("id") {
            Some(id) => RecordId::from_value(id)?,
            None => {
                return Err(
                    ProtocolError::InvalidId("an upsert needs the id of the record".to_owned()).into()
                );
            }
        };
        if self.view(&RecordKey { object: object.clone(), id: id.clone() }).is_some() {
            return self.update(object, &id, record);
        }
        self.create(object, record)
    }

    /// Makes a record as it is given, with its times, or changes what is different in the one that is there; gives whether anything
    /// is.
    pub(super) fn import(&mut self, object: &ObjectName, record: &Fields) -> Result<bool, Error> {
        let id = record.get("id").unwrap_or(Json::from_normalised("null"));
        let key = RecordKey { object: object.clone(), id: RecordId::from_value(id)? };
        if let Some(now) = self.view(&key).cloned() {
            let is_other = |name: &str, value: Json<'_>| {
                !is_set_by_driver(name) && now.get_quoted(name).is_none_or(|it| !it.deep_equals(value))
            };
            let changed = record.filtered(is_other);
            if changed.is_empty() {
                // Also where the object is the server's: an export may be imported where it comes from.
                return Ok(false);
            }
            return self.update(object, &key.id, &changed).map(|_| true);
        }
        self.writable(object)?;
        let stamp = self.clock.issue(self.now);
        let time = |name: &str| time_of(record, name).unwrap_or(stamp);
        let (created, updated) = (time("created_at"), time("updated_at"));
        let fields = stamped(&mut self.text, record, &key.id, created, updated)?;
        self.take_unique(&key, &fields)?;
        let recorded = self.recorded(key, Operation::Create, Some(fields.clone()));
        self.stage_as(recorded, Some(fields))?;
        Ok(true)
    }

    /// Checks that nobody else has the values that only one record may have, and takes them.
    pub(super) fn take_unique(&mut self, key: &RecordKey, fields: &Fields) -> Result<(), Error> {
        let collections = self.collections;
        for paths in collections.unique(&key.object) {
            let values = || paths.iter().map(|path| path.find(fields).filter(|value| !value.is_null()));
            if values().any(|value| value.is_none()) {
                // Null is no value.
                continue;
            }
            let names: Vec<&str> = paths.iter().map(Path::name).collect();
            let values: Vec<&str> = values().flatten().map(Json::as_str).collect();
            let taken = format!("{}{}:{}", key.object, names.join(","), values.join(","));
            let takers = self.taken.by(&taken).cloned().unwrap_or_default();
            let has_same = |id: &RecordId| {
                let other = RecordKey { object: key.object.clone(), id: id.clone() };
                let is_same = |(path, value): (&Path, &&str)| {
                    self.view(&other)
                        .and_then(|other| path.find(other))
                        .is_some_and(|it| it.as_str() == *value)
                };
                paths.iter().zip(&values).all(is_same)
            };
            let known = collections.with_same(&key.object, paths, fields).chain(&takers);
            let other = known.filter(|id| **id != key.id).find(|id| has_same(id));
            if let Some(other) = other {
                let (object, id) = (key.object.to_string(), other.to_json());
                return Err(Error::UniqueViolation { object, fields: names.join(", "), id });
            }
            if let Some(takers) = self.taken.by(&taken).filter(|takers| !takers.contains(&key.id)) {
                takers.push(key.id.clone());
            }
        }
        Ok(())
    }

    /// Removes a record; gives whether there was one.
    pub(super) fn delete(&mut self, object: &ObjectName, id: &RecordId) -> Result<bool, Error> {
        self.writable(object)?;
        let key = RecordKey { object: object.clone(), id: id.clone() };
        if self.view(&key).is_none() {
            return Ok(false);
        }
        self.adopt_one(&key)?;
        let recorded = self.recorded(key, Operation::Delete, None);
        self.stage_as(recorded, None)?;
        Ok(true)
    }

    /// Removes records; gives how many there were.
    pub(super) fn delete_all(&mut self, object: &ObjectName, ids: &[RecordId]) -> Result<Reply, Error> {
        let mut count = 0;
        for id in ids {
            count += usize::from(self.delete(object, id)?);
        }
        Ok(Reply::Count(count))
    }
}
