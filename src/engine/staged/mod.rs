//! What the row under construction does: commands decided one after the other, each on top of those before it.

mod revert;
mod settle;
mod write;

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{
    ClientId, Fields, MAX_FIELDS_BYTES, ObjectDefinition, ObjectName, Operation, ProtocolError, RecordId,
    RecordKey, Sequence, Timestamp,
};

use super::clock::Clock;
use super::command::{Command, Reply};
use super::config::Config;
use super::log::{MAX_COMMAND_BYTES, ROW_BYTES_WANTED};
use super::places::Texts;
use super::query::{Collections, Query};
use super::random::Random;
use super::record::apply;
use super::row::{Event, Recorded};
use super::state::State;
use super::views::{Before, Views};
use crate::error::Error;

/// What the row under construction does to the state, before it is folded: later commands of the row see the earlier.
pub(crate) struct Staged<'a> {
    state: &'a State,
    config: &'a Config,
    collections: &'a Collections,
    random: &'a mut Random,
    now: Timestamp,
    clock: Clock,
    last_sequence: Sequence,
    /// The text of a record while it is put together.
    text: String,
    pub(crate) views: Views,
    pub(crate) taken: Taken,
    decided: Vec<Sequence>,
    /// How the records looked that the command under decision changed, to be taken back where it fails.
    journal: Vec<(RecordKey, Before)>,
    /// Whether the command under decision has recorded something: all of one command is one event.
    has_recorded: bool,
    /// How many bytes there were before it.
    bytes_before: usize,
    /// The events so far.
    pub(crate) events: Vec<Event>,
    /// About how many bytes the events have.
    pub(crate) bytes: usize,
}

/// Which records took values that only one may have. They may have lost them since, or not have come to be.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    values: Texts,
    by: Vec<Vec<RecordId>>,
}

impl Taken {
    /// Those that took these values.
    fn by(&mut self, values: &str) -> Option<&mut Vec<RecordId>> {
        let (place, is_new) = self.values.place(values);
        if is_new {
            self.by.push(Vec::new());
        }
        self.by.get_mut(place)
    }
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
            text: String::new(),
            views: Views::default(),
            taken: Taken::default(),
            decided: Vec::new(),
            journal: Vec::new(),
            has_recorded: false,
            bytes_before: 0,
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
            self.events.extend(self.config.first_versions());
        }
    }

    /// Decides one command: either all it wants is among the events, or none of it and an error comes back.
    pub(crate) fn decide(&mut self, command: &Command) -> Result<Reply, Error> {
        let Self { clock, last_sequence, bytes, .. } = *self;
        let (events, decided) = (self.events.len(), self.decided.len());
        (self.has_recorded, self.bytes_before) = (false, bytes);
        self.journal.clear();
        self.views.begin();
        let result = self.decide_one(command);
        if result.is_err() {
            (self.clock, self.last_sequence, self.bytes) = (clock, last_sequence, bytes);
            self.events.truncate(events);
            self.decided.truncate(decided);
            while let Some(undone) = self.journal.pop() {
                let (key, before) = undone;
                self.views.restore(&key, before);
            }
        }
        result
    }

    fn decide_one(&mut self, command: &Command) -> Result<Reply, Error> {
        match command {
            Command::Create { object, records } => {
                let made = records.iter().map(|record| self.create(object, record));
                made.collect::<Result<_, _>>().map(Reply::Made)
            }
            Command::Update { object, id, patch } => self.update(object, id, patch).map(Reply::Record),
            Command::BulkUpdate { object, updates } => {
                let changed = updates.iter().map(|(id, patch)| self.update(object, id, patch));
                changed.collect::<Result<_, _>>().map(Reply::Records)
            }
            Command::UpdateMany { object, query, patch } => {
                let ids = self.matching(object, query);
                ids.iter().try_for_each(|id| self.update(object, id, patch).map(drop))?;
                Ok(Reply::Count(ids.len()))
            }
            Command::Import { object, records } => {
                let mut count = 0;
                for record in records {
                    count += usize::from(self.import(object, record)?);
                }
                Ok(Reply::Count(count))
            }
            Command::Upsert { object, record } => self.upsert(object, record).map(Reply::Record),
            Command::Delete { object, id } => self.delete(object, id).map(Reply::Existed),
            Command::BulkDelete { object, ids } => self.delete_all(object, ids),
            Command::DeleteMany { object, query } => {
                let ids = self.matching(object, query);
                self.delete_all(object, &ids)
            }
            Command::Transaction { reads, commands } => {
                if !reads.iter().all(|read| self.collections.is_as_read(read)) {
                    return Err(Error::TransactionConflict);
                }
                commands.iter().try_for_each(|command| self.decide_one(command).map(drop))?;
                Ok(Reply::Done)
            }
            Command::Undo => self.revert(false).map(Reply::Existed),
            Command::Redo => self.revert(true).map(Reply::Existed),
            Command::Resolve { mutation, resolution } => self.resolve(*mutation, resolution),
            Command::Retry { mutation, patch } => self.retry(*mutation, patch.as_ref()),
            Command::Discard { mutation } => self.discard(*mutation),
        }
    }

    fn view(&self, key: &RecordKey) -> Option<&Fields> {
        self.views.get(key).unwrap_or_else(|| self.state.visible(key))
    }

    fn set_view(&mut self, key: &RecordKey, view: Option<Fields>) {
        if let Some(before) = self.views.set(key, view) {
            self.journal.push((key.clone(), before));
        }
    }

    /// The records that a query finds, with what this row did to them.
    fn matching(&self, object: &ObjectName, query: &Query) -> Vec<RecordId> {
        let found = self.collections.over(object, query, &self.views);
        found.into_iter().map(|(id, _)| id.clone()).collect()
    }

    fn writable(&self, object: &ObjectName) -> Result<&'a ObjectDefinition, Error> {
        let definition = self.config.object(object.as_str())?;
        if definition.sync.enabled && !definition.sync.pushes() && !has(Defect::PullOnlyWritten) {
            return Err(Error::ReadOnlyObject(object.to_string()));
        }
        Ok(definition)
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
                let key = RecordKey { object: object.clone(), id: record.id.clone() };
                if self.adopt_one(&key).is_err() {
                    return false;
                }
            }
        }
        true
    }

    /// The create of a record that was written while its object was not synced, if it is now. It comes before anything else that
    /// is done to the record: the server would find nothing to do it to.
    fn adopt_one(&mut self, key: &RecordKey) -> Result<(), Error> {
        let state = self.state;
        let is_new = self.is_pushed(&key.object) && self.views.get(key).is_none();
        if let Some(record) = state.record(key).filter(|record| is_new && record.is_local()) {
            // Of a record that never was made here there may be fields, from an update: that is none to make.
            if let Some(fields) = record.complete_base().cloned() {
                let create = self.recorded(key.clone(), Operation::Create, Some(fields));
                self.stage(create)?;
            }
        }
        Ok(())
    }

    /// Whether what is written to the object is for the server: by the definitions of this tab, or by those last synced under,
    /// which may be a later release's in another tab.
    fn is_pushed(&self, object: &ObjectName) -> bool {
        self.config.pushes(object) || self.state.pushes(object)
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

    /// Records a mutation, and shows it to what is decided next.
    fn stage(&mut self, recorded: Recorded) -> Result<(), Error> {
        let before = self.view(&recorded.key()).cloned();
        let view = apply(before, recorded.operation, recorded.data.as_ref());
        self.stage_as(recorded, view)
    }

    /// Likewise, given how its record will look.
    fn stage_as(&mut self, recorded: Recorded, view: Option<Fields>) -> Result<(), Error> {
        if self.bytes - self.bytes_before > MAX_COMMAND_BYTES {
            // Refused alone: a row that is too large would fail with all that share it.
            return Err(Error::CallTooLarge("a call may write 16 MiB: split it"));
        }
        let key = recorded.key();
        self.set_view(&key, view);
        match self.events.last_mut() {
            Some(Event::Recorded(list)) if self.has_recorded => list.push(recorded),
            _ => self.events.push(Event::Recorded(vec![recorded])),
        }
        self.has_recorded = true;
        Ok(())
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
pub(crate) fn is_set_by_driver(quoted_name: &str) -> bool {
    matches!(quoted_name, "\"id\"" | "\"created_at\"" | "\"updated_at\"")
}

/// Appends the fields of a record that an app can set: `first` and then a comma before each.
fn push_others(text: &mut String, first: char, record: &Fields) {
    let mut separator = first;
    for (name, value) in record.iter().filter(|(name, _)| !is_set_by_driver(name)) {
        text.push(std::mem::replace(&mut separator, ','));
        text.push_str(name);
        text.push(':');
        text.push_str(value.as_str());
    }
}

/// The record with its id first and the driver's times last, written by way of `text`.
fn stamped(
    text: &mut String,
    record: &Fields,
    id: &RecordId,
    created: Timestamp,
    updated: Timestamp,
) -> Result<Fields, Error> {
    text.clear();
    text.push_str("{\"id\":");
    text.push_str(&id.to_json());
    push_others(text, ',', record);
    text.push_str(",\"created_at\":\"");
    let start = text.len();
    created.push_to(text);
    let end = text.len();
    text.push_str("\",\"updated_at\":\"");
    if created == updated {
        text.extend_from_within(start..end);
    } else {
        updated.push_to(text);
    }
    text.push_str("\"}");
    let stamped = Fields::from_normalised(text.as_str())?;
    check_size(&stamped)?;
    Ok(stamped)
}

/// The time in one of the driver's fields.
fn time_of(record: &Fields, name: &str) -> Option<Timestamp> {
    Timestamp::parse(&record.get(name)?.as_text()?).ok()
}

fn check_size(fields: &Fields) -> Result<(), Error> {
    if fields.as_str().len() > MAX_FIELDS_BYTES { Err(ProtocolError::ValueTooLarge.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Row, TabId};
    use objectql_sync_protocol::MutationId;

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
