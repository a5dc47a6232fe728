//! What an app asks to be written, and what it gets back. What is recorded for it is decided in [`staged`](super::staged).

use objectql_sync_protocol::{
    Fields, Json, MAX_DEPTH, MutationId, ObjectName, ProtocolError, RecordId, normalise,
};

use super::fold::Outcome;
use super::log::MAX_COMMAND_BYTES;
use super::query::{Filter, Query};
use super::report::ErrorReport;
use super::sync::progress::SyncReport;
use super::transaction::Read;
use crate::error::Error;

/// How long a time is, with its quotes.
const TIME_BYTES: usize = 26;

/// One write of an app. Each is recorded as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Makes records, all or none; replies with them. An id that is not given is made.
    Create {
        /// The object's name.
        object: ObjectName,
        /// The fields of each record.
        records: Vec<Fields>,
    },
    /// Changes fields of records, of each its own, all or none; replies with them.
    BulkUpdate {
        /// The object's name.
        object: ObjectName,
        /// Which records, and the fields to change of each.
        updates: Vec<(RecordId, Fields)>,
    },
    /// Removes records, all or none; replies how many there were.
    BulkDelete {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        ids: Vec<RecordId>,
    },
    /// Changes the same fields of the records that a query finds, all or none; replies how many.
    UpdateMany {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        query: Query,
        /// The fields to change.
        patch: Fields,
    },
    /// Removes the records that a query finds, all or none; replies how many.
    DeleteMany {
        /// The object's name.
        object: ObjectName,
        /// Which records.
        query: Query,
    },
    /// Does all of these or none, if what was read for them is as it was.
    Transaction {
        /// What was read.
        reads: Vec<Read>,
        /// What to write, in order.
        commands: Vec<Self>,
    },
    /// Takes back the last write that was not taken back, as far as nobody changed it since; replies whether there was one.
    Undo,
    /// Makes again what was last taken back, likewise.
    Redo,
    /// Changes fields of a record; replies with the record.
    Update {
        /// The object's name.
        object: ObjectName,
        /// Which record.
        id: RecordId,
        /// The fields to change.
        patch: Fields,
    },
    /// Makes records as they are given, their times included, and changes those that are there to what is given; replies how many
    /// are others now.
    Import {
        /// The object's name.
        object: ObjectName,
        /// The fields of each record, with its id.
        records: Vec<Fields>,
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

impl Command {
    /// The command for a kind of write to records of an object; `first` and `second` are JSON text.
    ///
    /// # Errors
    /// For what no record, id or filter may be.
    pub fn parse(kind: &str, object: ObjectName, first: &str, second: &str) -> Result<Self, Error> {
        Ok(match kind {
            "create" => Self::Create { object, records: read_list(first, 1, Fields::from_json)? },
            "update" => {
                Self::Update { object, id: RecordId::parse_json(first)?, patch: Fields::parse(second)? }
            }
            // An array of `[id, patch]`.
            "bulkUpdate" => {
                let updates = read_list(first, 2, |update| {
                    let mut parts = update.elements();
                    let mut part = || parts.next().unwrap_or(Json::from_normalised("null"));
                    Ok((RecordId::parse_json(part().as_str())?, Fields::from_json(part())?))
                })?;
                Self::BulkUpdate { object, updates }
            }
            "updateMany" => {
                let query = Filter::parse(first)?.into();
                Self::UpdateMany { object, query, patch: Fields::parse(second)? }
            }
            // A line of a file: `{ object, records }`.
            "import" => {
                let line = normalise(first, MAX_DEPTH + 2)?;
                let records = Json::from_normalised(&line).member("\"records\"");
                let records = records.into_iter().flat_map(Json::elements).map(Fields::from_json);
                Self::Import { object, records: records.collect::<Result<_, _>>()? }
            }
            "upsert" => Self::Upsert { object, record: Fields::parse(first)? },
            "delete" => Self::Delete { object, id: RecordId::parse_json(first)? },
            "bulkDelete" => {
                let ids = read_list(first, 0, |id| RecordId::parse_json(id.as_str()))?;
                Self::BulkDelete { object, ids }
            }
            "deleteMany" => Self::DeleteMany { object, query: Filter::parse(first)?.into() },
            _ => return Err(Error::Internal(format!("there is no write {kind}"))),
        })
    }

    /// Creates that are made or refused each by itself.
    ///
    /// # Errors
    /// For what is no list of records.
    pub fn parse_creates(object: &ObjectName, records: &str) -> Result<Vec<Self>, Error> {
        // One that is too large is refused where it is made: the others are none the worse for it.
        let records = read_list(records, 1, |record| Fields::from_normalised(record.as_str()))?;
        let create = |record| Self::Create { object: object.clone(), records: vec![record] };
        Ok(records.into_iter().map(create).collect())
    }
}

/// Reads the elements of an array that holds records so many levels down.
///
/// # Errors
/// `VALUE_TOO_LARGE`, and for what is no such array.
pub fn read_list<T>(
    text: &str,
    levels: usize,
    read: impl FnMut(Json<'_>) -> Result<T, ProtocolError>,
) -> Result<Vec<T>, Error> {
    if text.len() > MAX_COMMAND_BYTES {
        return Err(Error::CallTooLarge("a call may have 16 MiB: split it"));
    }
    let text = normalise(text, MAX_DEPTH + levels)?;
    if !text.starts_with('[') {
        return Err(ProtocolError::InvalidValue("an array is wanted".to_owned()).into());
    }
    Ok(Json::from_normalised(&text).elements().map(read).collect::<Result<_, _>>()?)
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
    /// The records as they now are.
    Records(Vec<Fields>),
    /// The records that were made.
    Made(Vec<Fields>),
    /// Whether there was something to delete, to undo, to redo or to migrate.
    Existed(bool),
    /// How many records were changed or deleted.
    Count(usize),
    /// What a `sync()` did.
    Synced(SyncReport),
    /// What became of a mutation.
    Settled(Outcome),
    /// What became of a write that a page made before its engine was there, see [`Reply::to_early_text`].
    Early(String),
    /// Done.
    Done,
}

impl Reply {
    /// Records, or what else a write replies with, as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Record(record) => record.as_str().to_owned(),
            Self::Made(records) => made_by_time(&mut std::iter::once(Ok(records.as_slice()))),
            Self::Records(records) => {
                let bytes = records.iter().map(|record| record.as_str().len() + 1).sum::<usize>();
                let mut text = String::with_capacity(bytes + 2);
                for record in records {
                    text.push(if text.is_empty() { '[' } else { ',' });
                    text.push_str(record.as_str());
                }
                text.push_str(if text.is_empty() { "[]" } else { "]" });
                text
            }
            Self::Existed(existed) => if *existed { "true" } else { "false" }.to_owned(),
            Self::Count(count) => count.to_string(),
            Self::Early(text) => text.clone(),
            Self::Synced(_) | Self::Settled(_) | Self::Done => "null".to_owned(),
        }
    }

    /// What a page is told of a write that it made before its engine was there: the JSON of the reply after `=`, or of the error
    /// after `!`.
    #[must_use]
    pub fn to_early_text(result: &Result<Self, Error>) -> String {
        match result {
            Ok(reply) => "=".to_owned() + &reply.to_json(),
            Err(error) => "!".to_owned() + &ErrorReport::from(error).to_json(),
        }
    }
}

/// The ids of the records that writes made, as JSON: those of one time in an array that begins with it; an error in the place of what
/// was not made. What else is in the records the page knows, and hundreds of bytes of each need not cross back.
#[must_use]
pub fn made_each(results: &mut dyn Iterator<Item = &Result<Reply, Error>>) -> String {
    made_by_time(&mut results.map(|result| match result {
        Ok(Reply::Made(records)) => Ok(records.as_slice()),
        Ok(_) => Ok([].as_slice()),
        Err(error) => Err(error),
    }))
}

fn made_by_time<'a>(results: &mut dyn Iterator<Item = Result<&'a [Fields], &'a Error>>) -> String {
    let (mut text, mut last) = (String::from("[[\"\""), "\"\"");
    for result in results {
        match result {
            Ok(records) => {
                for record in records {
                    let all = record.as_str();
                    // What was made ends with its time.
                    let time =
                        all.get(all.len().saturating_sub(TIME_BYTES + 1)..all.len() - 1).unwrap_or(last);
                    if time != last {
                        text.push_str("],[");
                        text.push_str(time);
                        last = time;
                    }
                    text.push(',');
                    text.push_str(record.get_quoted("\"id\"").map_or("null", |id| id.as_str()));
                }
            }
            Err(error) => {
                text.push(',');
                text.push_str(&ErrorReport::from(error).to_json());
            }
        }
    }
    text.push_str("]]");
    text
}
