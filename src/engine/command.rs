//! What an app asks to be written, and the decision what to record for it.

use hashbrown::HashMap;
use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    ClientId, Fields, Json, MAX_FIELDS_BYTES, MutationId, ObjectDefinition, ObjectName, Operation,
    ProtocolError, RecordId, RecordKey, Sequence, Timestamp, quoted,
};

use super::clock::Clock;
use super::config::Config;
use super::fold::Outcome;
use super::log::{MAX_COMMAND_BYTES, ROW_BYTES_WANTED};
use super::query::{Collections, Path};
use super::random::Random;
use super::record::apply;
use super::row::{Event, Recorded};
use super::state::{Pending, Progress, Rejected, State};
use super::sync::progress::SyncReport;
use crate::error::Error;

/// One write of an app. Each is recorded as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Makes a record; replies with it. An id that is not given is made.
    Create {
        /// The object's name.
        object: ObjectName,
        /// The fields.
        record: Fields,
    },
    /// Makes records, all or none; replies with them.
    BulkCreate {
        /// The object's name.
        object: ObjectName,
        /// The fields of each record.
        records: Vec<Fields>,
    },
    /// Changes fields of a record; replies with the record.
    Update {
        /// The object's name.
        object: ObjectName,
        /// Which record.
        id: RecordId,
        /// The fields to change.
        patch: Fields,
    },
    /// Changes the record with that id, or makes it; replies with the record.
    Upsert {
        /// The object's name.
        object: ObjectName,
        /// The fields, with the id.
        record: Fields,
    },
    /// Removes a record; replies whether there was one.
    Delete {
        /// The object's name.
        object: ObjectName,
        /// Which record.
        id: RecordId,
    },
    /// Decides a conflict.
    Resolve {
        /// The mutation that waits.
        mutation: MutationId,
        /// The decision.
        resolution: Resolution,
    },
    /// Records a rejected mutation again, changed or not.
    Retry {
        /// The mutation that was rejected.
        mutation: MutationId,
        /// Fields to put over its data.
        patch: Option<Fields>,
    },
    /// Drops a rejected mutation.
    Discard {
        /// The mutation that was rejected.
        mutation: MutationId,
    },
}

/// How a conflict is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// The local change is made on top of the server's record.
    Mine,
    /// The local change is dropped.
    Theirs,
    /// The record becomes this.
    Record(Fields),
}

/// What an app gets back.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The record as it now is.
    Record(Fields),
    /// The records made.
    Records(Vec<Fields>),
    /// Whether there was a record to delete.
    Deleted(bool),
    /// What a `sync()` did.
    Synced(SyncReport),
    /// What became of a mutation.
    Settled(Outcome),
    /// Done.
    Done,
}

/// What the row under construction does to the state, before it is folded: later commands of the row see the earlier.
pub(crate) struct Staged<'a> {
    state: &'a State,
    config: &'a Config,
    collections: &'a Collections,
    random: &'a mut Random,
    now: Timestamp,
    clock: Clock,
    last_sequence: Sequence,
    views: HashMap<RecordKey, Option<Fields>>,
    /// Which record of the row took values that only one may have; it may have lost them since.
    taken: HashMap<String, RecordId>,
    decided: Vec<Sequence>,
    /// The events so far.
    pub(crate) events: Vec<Event>,
    /// About how many bytes the events have.
    pub(crate) bytes: usize,
}

/// What a mutation costs in a row beside its data and the names of its record: its id, times and numbers.
const RECORDED_BYTES: usize = 64;

impl<'a> Staged<'a> {
    pub(crate) fn new(
        state: &'a State,
        config: &'a Config,
        collections: &'a Collections,
        random: &'a mut Random,
        now: Timestamp,
    ) -> Self {
        Self {
            state,
            config,
            collections,
            random,
            now,
            clock: state.clock,
            last_sequence: state.last_sequence,
            views: HashMap::new(),
            taken: HashMap::new(),
            decided: Vec::new(),
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// Makes the database, if there is none.
    pub(crate) fn open(&mut self) {
        if self.state.client_id.is_none() {
            let id = self.random.uuid(self.now).to_string();
            let client_id = ClientId::new(id).expect("a UUID is a valid client id");
            self.events.push(Event::Opened { client_id });
        }
    }

    /// Decides one command: either all it wants is among the events, or none of it and an error comes back.
    pub(crate) fn decide(&mut self, command: &Command) -> Result<Reply, Error> {
        match command {
            Command::Create { object, record } => self.create_one(object, record),
            Command::BulkCreate { object, records } => self.create(object, records).map(Reply::Records),
            Command::Update { object, id, patch } => self.update(object, id, patch).map(Reply::Record),
            Command::Upsert { object, record } => self.upsert(object, record),
            Command::Delete { object, id } => self.delete(object, id),
            Command::Resolve { mutation, resolution } => self.resolve(*mutation, resolution),
            Command::Retry { mutation, patch } => self.retry(*mutation, patch.as_ref()),
            Command::Discard { mutation } => self.discard(*mutation),
        }
    }

    fn view(&self, key: &RecordKey) -> Option<&Fields> {
        match self.views.get(key) {
            Some(view) => view.as_ref(),
            None => self.state.visible(key),
        }
    }

    fn writable(&self, object: &ObjectName) -> Result<&'a ObjectDefinition, Error> {
        let definition = self.config.object(object.as_str())?;
        if definition.sync.enabled && !definition.sync.pushes() && !has(Defect::PullOnlyWritten) {
            return Err(Error::ReadOnlyObject(object.to_string()));
        }
        Ok(definition)
    }

    fn create_one(&mut self, object: &ObjectName, record: &Fields) -> Result<Reply, Error> {
        let mut made = self.create(object, std::slice::from_ref(record))?;
        made.pop().map(Reply::Record).ok_or_else(|| Error::Internal("a create made no record".to_owned()))
    }

    /// Makes all of them or none.
    fn create(&mut self, object: &ObjectName, records: &[Fields]) -> Result<Vec<Fields>, Error> {
        self.writable(object)?;
        let mut ready = Vec::with_capacity(records.len());
        let mut bytes = 0;
        let stamp = self.clock.issue(self.now);
        for record in records {
            if let Err(error) = self.ready(object, record, stamp, &mut bytes, &mut ready) {
                // Those before it were shown to it, but do not come to be.
                for (key, _) in ready {
                    self.views.insert(key, None);
                }
                return Err(error);
            }
        }
        let fields = ready.iter().map(|(_, fields)| fields.clone()).collect();
        let recorded = ready
            .into_iter()
            .map(|(key, fields)| self.recorded(key, Operation::Create, Some(fields)))
            .collect();
        self.stage(recorded);
        Ok(fields)
    }

    /// Checks a record that is to be made beside those that are ready, and puts it with them.
    fn ready(
        &mut self,
        object: &ObjectName,
        record: &Fields,
        stamp: Timestamp,
        bytes: &mut usize,
        ready: &mut Vec<(RecordKey, Fields)>,
    ) -> Result<(), Error> {
        let id = match record.get("id") {
            Some(id) => RecordId::parse_json(id.as_str())?,
            None => RecordId::string(self.random.uuid(self.now).to_string())?,
        };
        let key = RecordKey { object: object.clone(), id };
        if self.view(&key).is_some() {
            return Err(Error::AlreadyExists { object: object.to_string(), id: key.id.to_json() });
        }
        let fields = stamped(record, &key.id, stamp, stamp)?;
        self.take_unique(&key, &fields)?;
        *bytes += recorded_bytes(&key, Some(&fields));
        if *bytes > MAX_COMMAND_BYTES {
            // Refused alone: a row that is too large would fail with all that share it.
            return Err(ProtocolError::ValueTooLarge.into());
        }
        self.views.insert(key.clone(), Some(fields.clone()));
        ready.push((key, fields));
        Ok(())
    }

    fn update(&mut self, object: &ObjectName, id: &RecordId, patch: &Fields) -> Result<Fields, Error> {
        self.writable(object)?;
        let key = RecordKey { object: object.clone(), id: id.clone() };
        let Some(before) = self.view(&key).cloned() else {
            return Err(Error::NotFound { object: object.to_string(), id: id.to_json() });
        };
        if patch.get("id").is_some_and(|inner| inner.as_str() != id.to_json()) {
            return Err(
                ProtocolError::InvalidId("an update cannot change the id of a record".to_owned()).into()
            );
        }
        let changed = patch.filtered(|name, _| !is_set_by_driver(name));
        if changed.is_empty() {
            return Ok(before);
        }
        let stamp = self.clock.issue(self.now);
        let changed = changed.with("updated_at", &quoted(&stamp.to_string()));
        let after = before.merged(&changed);
        check_size(&after)?;
        self.take_unique(&key, &after)?;
        self.adopt_one(&key);
        let recorded = self.recorded(key, Operation::Update, Some(changed));
        self.stage(vec![recorded]);
        Ok(after)
    }

    fn upsert(&mut self, object: &ObjectName, record: &Fields) -> Result<Reply, Error> {
        let id = match record.get("id") {
            Some(id) => RecordId::parse_json(id.as_str())?,
            None => {
                return Err(
                    ProtocolError::InvalidId("an upsert needs the id of the record".to_owned()).into()
                );
            }
        };
        if self.view(&RecordKey { object: object.clone(), id: id.clone() }).is_some() {
            return self.update(object, &id, record).map(Reply::Record);
        }
        self.create_one(object, record)
    }

    /// Checks that nobody else has the values that only one record may have, and takes them.
    fn take_unique(&mut self, key: &RecordKey, fields: &Fields) -> Result<(), Error> {
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
            let has_same = |id: &RecordId| {
                let other = RecordKey { object: key.object.clone(), id: id.clone() };
                let is_same = |(path, value): (&Path, &&str)| {
                    self.view(&other)
                        .and_then(|other| path.find(other))
                        .is_some_and(|it| it.as_str() == *value)
                };
                paths.iter().zip(&values).all(is_same)
            };
            let known = collections.with_same(&key.object, paths, fields).chain(self.taken.get(&taken));
            let other = known.filter(|id| **id != key.id).find(|id| has_same(id));
            if let Some(other) = other {
                let (object, id) = (key.object.to_string(), other.to_json());
                return Err(Error::UniqueViolation { object, fields: names.join(", "), id });
            }
            self.taken.insert(taken, key.id.clone());
        }
        Ok(())
    }

    fn delete(&mut self, object: &ObjectName, id: &RecordId) -> Result<Reply, Error> {
        self.writable(object)?;
        let key = RecordKey { object: object.clone(), id: id.clone() };
        if self.view(&key).is_none() {
            return Ok(Reply::Deleted(false));
        }
        self.adopt_one(&key);
        let recorded = self.recorded(key, Operation::Delete, None);
        self.stage(vec![recorded]);
        Ok(Reply::Deleted(true))
    }

    fn resolve(&mut self, mutation: MutationId, resolution: &Resolution) -> Result<Reply, Error> {
        let unknown = || Error::UnknownMutation(mutation.to_string());
        let pending = self.state.find_pending(mutation).ok_or_else(unknown)?;
        let Progress::Parked(parked) = &pending.progress else { return Err(unknown()) };
        self.claim(mutation, pending.sequence)?;
        let theirs = parked.server_record.as_ref();
        let wanted = match resolution {
            Resolution::Theirs => None,
            Resolution::Mine => self.wanted_of_mine(pending, theirs),
            Resolution::Record(record) => Some((Operation::Update, Some(record.clone()))),
        };
        let instead = wanted.and_then(|(operation, data)| {
            let key = pending.recorded.key();
            let data = data.map(|data| data.filtered(|name, _| !is_set_by_driver(name)));
            let (operation, data) = match (operation, data, theirs) {
                (Operation::Delete, ..) => (Operation::Delete, None),
                (_, Some(data), Some(theirs)) => {
                    (Operation::Update, Some(self.newer_than(pending, &data, theirs)?))
                }
                // Deleted on the server: to keep the record is to make it again.
                (_, data, _) => (Operation::Create, data),
            };
            let stamp = self.clock.issue(self.now);
            let data = match operation {
                Operation::Create => Some(stamped(&data?, &key.id, stamp, stamp).ok()?),
                Operation::Update => data.map(|data| data.with("updated_at", &quoted(&stamp.to_string()))),
                Operation::Delete => None,
            };
            let mut recorded = self.recorded(key, operation, data);
            recorded.base_version = parked.server_version.or(recorded.base_version);
            Some(recorded)
        });
        self.events.push(Event::Decided { sequence: pending.sequence, instead });
        Ok(Reply::Done)
    }

    /// What the local change wants, as the record it would make where the server has none.
    fn wanted_of_mine(
        &self,
        pending: &Pending,
        theirs: Option<&Fields>,
    ) -> Option<(Operation, Option<Fields>)> {
        let Pending { recorded, base, .. } = pending;
        match (recorded.operation, theirs) {
            (Operation::Delete, None) => None,
            (Operation::Delete, Some(_)) => Some((Operation::Delete, None)),
            (_, Some(_)) => Some((Operation::Update, recorded.data.clone())),
            (_, None) => Some((
                Operation::Create,
                recorded.data.as_ref().map(|data| match base {
                    Some(base) => base.merged(data),
                    None => data.clone(),
                }),
            )),
        }
    }

    /// The fields of `data` that differ from the server's, without those that a later local mutation sets: that one is the
    /// last word on them, and comes before the resolution in the client's order.
    fn newer_than(&self, pending: &Pending, data: &Fields, theirs: &Fields) -> Option<Fields> {
        let later: Vec<&Fields> = self
            .state
            .record(&pending.recorded.key())?
            .pending()
            .iter()
            .filter(|sequence| **sequence > pending.sequence)
            .filter_map(|sequence| self.state.pending.get(sequence)?.recorded.data.as_ref())
            .collect();
        let left = data.filtered(|name, value| {
            theirs.get_quoted(name).is_none_or(|other| !other.deep_equals(value))
                && !later.iter().any(|other| other.get_quoted(name).is_some())
        });
        (!left.is_empty()).then_some(left)
    }

    /// What a rejected create took along is made again with it.
    fn retry(&mut self, mutation: MutationId, patch: Option<&Fields>) -> Result<Reply, Error> {
        let rejected =
            self.state.find_rejected(mutation).ok_or_else(|| Error::UnknownMutation(mutation.to_string()))?;
        self.retry_one(rejected, patch)?;
        for dependant in self.state.rejected.iter().filter(|other| other.cause == Some(mutation)) {
            if !self.decided.contains(&dependant.sequence) {
                self.retry_one(dependant, None)?;
            }
        }
        Ok(Reply::Done)
    }

    fn retry_one(&mut self, rejected: &Rejected, patch: Option<&Fields>) -> Result<(), Error> {
        let Rejected { sequence, recorded, .. } = rejected;
        self.writable(&recorded.object)?;
        let key = recorded.key();
        let data = match (&recorded.data, patch) {
            (Some(data), Some(patch)) => {
                Some(data.merged(&patch.filtered(|name, _| !is_set_by_driver(name))))
            }
            (data, _) => data.clone(),
        };
        if let Some(data) = &data {
            check_size(data)?;
        }
        self.claim(recorded.id, *sequence)?;
        let recorded = self.recorded(key.clone(), recorded.operation, data.clone());
        let view = apply(self.view(&key).cloned(), recorded.operation, data.as_ref());
        self.views.insert(key, view);
        self.events.push(Event::Decided { sequence: *sequence, instead: Some(recorded) });
        Ok(())
    }

    fn discard(&mut self, mutation: MutationId) -> Result<Reply, Error> {
        let rejected =
            self.state.find_rejected(mutation).ok_or_else(|| Error::UnknownMutation(mutation.to_string()))?;
        let sequence = rejected.sequence;
        self.claim(mutation, sequence)?;
        self.events.push(Event::Decided { sequence, instead: None });
        Ok(Reply::Done)
    }

    /// Records creates for what was written while its object was not synced, and is now. Whether all of it is in: as much as one
    /// row takes at a time.
    pub(crate) fn adopt(&mut self) -> bool {
        let state = self.state;
        for (object, table) in state.tables.iter().filter(|(object, _)| self.config.pushes(object)) {
            for record in table.records().filter(|record| record.is_local()) {
                if self.bytes > ROW_BYTES_WANTED {
                    return false;
                }
                self.adopt_one(&RecordKey { object: object.clone(), id: record.id.clone() });
            }
        }
        true
    }

    /// The create of a record that was written while its object was not synced, if it is now. It comes before anything else that
    /// is done to the record: the server would find nothing to do it to.
    fn adopt_one(&mut self, key: &RecordKey) {
        let state = self.state;
        let is_new = self.is_pushed(&key.object) && !self.views.contains_key(key);
        if let Some(record) = state.record(key).filter(|record| is_new && record.is_local()) {
            let create = self.recorded(key.clone(), Operation::Create, record.complete_base().cloned());
            self.stage(vec![create]);
        }
    }

    /// Whether what is written to the object is for the server: by the definitions of this tab, or by those last synced under,
    /// which may be a later release's in another tab.
    fn is_pushed(&self, object: &ObjectName) -> bool {
        self.config.pushes(object) || self.state.pushes(object)
    }

    /// Two decisions on one mutation in one row: only the first counts.
    fn claim(&mut self, mutation: MutationId, sequence: Sequence) -> Result<(), Error> {
        if self.decided.contains(&sequence) {
            return Err(Error::UnknownMutation(mutation.to_string()));
        }
        self.decided.push(sequence);
        Ok(())
    }

    fn recorded(&mut self, key: RecordKey, operation: Operation, data: Option<Fields>) -> Recorded {
        let record = self.state.record(&key);
        // A record that the server has, or is to get, is changed for the server even while its object is not synced: it goes
        // when the object comes back.
        let is_known = record.is_some_and(|record| !record.is_local() && !record.is_gone());
        let is_synced = is_known || self.is_pushed(&key.object);
        let sequence = is_synced.then(|| {
            if !has(Defect::SequenceStuck) || self.last_sequence == self.state.last_sequence {
                self.last_sequence = self.last_sequence.next();
            }
            self.last_sequence
        });
        let base = record.filter(|record| !record.is_local()).and_then(|record| record.base());
        let base_version = base.map(|base| base.version);
        self.bytes += recorded_bytes(&key, data.as_ref());
        let timestamp = self.clock.issue(self.now);
        Recorded {
            // By the corrected clock: a server refuses ids from before what it remembers.
            id: self.random.uuid(timestamp),
            object: key.object,
            record_id: key.id,
            operation,
            data,
            timestamp,
            sequence,
            base_version,
        }
    }

    fn stage(&mut self, recorded: Vec<Recorded>) {
        for mutation in &recorded {
            let key = mutation.key();
            let view = apply(self.view(&key).cloned(), mutation.operation, mutation.data.as_ref());
            self.views.insert(key, view);
        }
        match self.events.last_mut() {
            Some(Event::Recorded(list)) => list.extend(recorded),
            _ => self.events.push(Event::Recorded(recorded)),
        }
    }
}

/// About how many bytes a mutation has in a row.
fn recorded_bytes(key: &RecordKey, data: Option<&Fields>) -> usize {
    let id = match &key.id {
        RecordId::Number(_) => 0,
        RecordId::String(text) => text.len(),
    };
    RECORDED_BYTES + key.object.as_str().len() + id + data.map_or(0, |data| data.as_str().len())
}

/// The fields an app cannot set: the id is the record's name, the times are the driver's.
fn is_set_by_driver(quoted_name: &str) -> bool {
    matches!(quoted_name, "\"id\"" | "\"created_at\"" | "\"updated_at\"")
}

/// The record with its id first and the driver's times last.
fn stamped(record: &Fields, id: &RecordId, created: Timestamp, updated: Timestamp) -> Result<Fields, Error> {
    let rest = record.filtered(|name, _| !is_set_by_driver(name));
    let stamped = rest.framed(
        &[("id", &id.to_json())],
        &[("created_at", &quoted(&created.to_string())), ("updated_at", &quoted(&updated.to_string()))],
    );
    check_size(&stamped)?;
    Ok(stamped)
}

fn check_size(fields: &Fields) -> Result<(), Error> {
    if fields.as_str().len() > MAX_FIELDS_BYTES { Err(ProtocolError::ValueTooLarge.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Row, TabId};

    /// Goal: what is taken for the size of a row is never less than its size, or rows would grow too large unseen.
    #[test]
    fn the_bytes_of_a_row_are_not_underestimated() {
        let key = RecordKey {
            object: ObjectName::new("o".repeat(128)).unwrap(),
            id: RecordId::string("i".repeat(256)).unwrap(),
        };
        for data in [None, Some(Fields::parse(&format!("{{\"a\":\"{}\"}}", "x".repeat(500))).unwrap())] {
            let recorded = Recorded {
                id: MutationId::new(u64::MAX, [255; 10]),
                object: key.object.clone(),
                record_id: key.id.clone(),
                operation: Operation::Update,
                data: data.clone(),
                timestamp: Timestamp::from_millis(i64::MIN),
                sequence: Some(Sequence::new(1 << 52).unwrap()),
                base_version: Some(objectql_sync_protocol::ServerVersion::new(1 << 52).unwrap()),
            };
            let events = vec![Event::Recorded(vec![recorded; 1000])];
            let bytes = Row { tab: TabId(u64::MAX), number: 1, events }.encode().unwrap().len();
            assert!(bytes <= 1000 * recorded_bytes(&key, data.as_ref()), "{bytes}");
        }
    }
}
