//! Transactions of the app: what it wrote in one so far and what it read, until it is committed as one command.

use objectql_sync_protocol::{Fields, ObjectName, RecordId};

use super::command::{Command, Reply};
use super::query::Query;
use super::staged::{Staged, Taken};
use super::views::Views;
use super::{Engine, Now};
use crate::error::Error;

/// A transaction that is open.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// How the records look that it changed.
    pub(crate) views: Views,
    taken: Taken,
    commands: Vec<Command>,
    reads: Vec<Read>,
    /// How many records were read.
    read: usize,
}

/// The most records that a transaction may have read, each as often as it was: a bound for what it keeps of them.
const MAX_READ: usize = 1 << 20;

/// What a transaction read: it is committed only if the same would be read then.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    pub(crate) object: ObjectName,
    pub(crate) what: What,
    /// The last change of any record before it.
    pub(crate) at: u32,
}

/// Records by their states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// The one with that id, or none.
    One(RecordId, Option<u32>),
    /// Those that a query finds.
    Found(Box<Query>, Vec<u32>),
}

impl Read {
    fn count(&self) -> usize {
        match &self.what {
            What::One(..) => 1,
            What::Found(_, seen) => seen.len() + 1,
        }
    }
}

impl Engine {
    /// Begins a transaction; gives its number. It holds nobody up, and is over with [`take_transaction`](Self::take_transaction).
    pub fn begin(&mut self) -> u32 {
        self.last_transaction += 1;
        self.transactions.push((self.last_transaction, Transaction::default()));
        self.last_transaction
    }

    fn transaction(&mut self, number: u32) -> Result<&mut Transaction, Error> {
        let mut open = self.transactions.iter_mut();
        open.find(|(other, _)| *other == number).map(|(_, it)| it).ok_or(Error::TransactionEnded)
    }

    /// Writes in a transaction: what it replies is how things are if the transaction is committed now, but for the times.
    ///
    /// # Errors
    /// `TRANSACTION_ENDED`, and those of the write; it may go on after them.
    pub fn stage(&mut self, now: Now, transaction: u32, mut command: Command) -> Result<Reply, Error> {
        let (object, ids) = looked_at(&command)?;
        self.readable(object.as_str())?;
        for id in ids {
            self.note_read(transaction, &object, What::One(id, None))?;
        }
        if let Command::UpdateMany { query, .. } | Command::DeleteMany { query, .. } = &command {
            self.note_read(transaction, &object, What::Found(Box::new(query.clone()), Vec::new()))?;
        }
        self.give_ids(now, &mut command);
        self.collections.prepare_unique();
        let Transaction { views, taken, .. } = self.transaction(transaction)?;
        let (views, taken) = (std::mem::take(views), std::mem::take(taken));
        let Self { state, config, collections, random, .. } = self;
        let mut staged = Staged::new(state, config, collections, random, now.wall);
        (staged.views, staged.taken) = (views, taken);
        let result = staged.decide(&command);
        let Staged { views, taken, .. } = staged;
        let open = self.transaction(transaction)?;
        (open.views, open.taken) = (views, taken);
        match &result {
            Ok(_) => open.commands.push(command),
            // Who has the value was looked at, too.
            Err(Error::UniqueViolation { id, .. }) => {
                if let Ok(id) = RecordId::parse_json(id) {
                    self.note_read(transaction, &object, What::One(id, None))?;
                }
            }
            Err(_) => {}
        }
        result
    }

    /// Ends a transaction; gives the command that commits it.
    ///
    /// # Errors
    /// `TRANSACTION_ENDED`
    pub fn take_transaction(&mut self, number: u32) -> Result<Command, Error> {
        let place = self.transactions.iter().position(|(other, _)| *other == number);
        let (_, Transaction { commands, reads, .. }) =
            self.transactions.remove(place.ok_or(Error::TransactionEnded)?);
        Ok(Command::Transaction { reads, commands })
    }

    /// The records a query finds in a transaction: with what it wrote.
    ///
    /// # Errors
    /// `TRANSACTION_ENDED`, `UNKNOWN_OBJECT`
    pub fn find_in(
        &mut self,
        transaction: u32,
        object: &str,
        mut query: Query,
    ) -> Result<Vec<Fields>, Error> {
        let definition = self.readable(object)?;
        query.search_in(definition);
        let object = definition.name.clone();
        let views = self.borrow_views(transaction, &object, &query)?;
        let found = self.collections.over(&object, &query, &views);
        let found = found.into_iter().map(|(_, fields)| fields.clone()).collect();
        self.give_back(transaction, views);
        Ok(found)
    }

    /// Takes what a transaction wrote, for a query over it; it has to be given back.
    pub(super) fn borrow_views(
        &mut self,
        transaction: u32,
        object: &ObjectName,
        query: &Query,
    ) -> Result<Views, Error> {
        // Where it changed records itself, others move up from behind the limit: as many are looked at.
        let changed = self.transaction(transaction)?.views.of(object).count();
        let looked = Box::new(query.with_more(changed));
        self.note_read(transaction, object, What::Found(looked, Vec::new()))?;
        self.transaction(transaction).map(|transaction| std::mem::take(&mut transaction.views))
    }

    pub(super) fn give_back(&mut self, transaction: u32, views: Views) {
        if let Ok(transaction) = self.transaction(transaction) {
            transaction.views = views;
        }
    }

    fn note_read(&mut self, transaction: u32, object: &ObjectName, what: What) -> Result<(), Error> {
        let read = self.collections.read(object, what);
        let open = self.transaction(transaction)?;
        open.read += read.count();
        if open.read > MAX_READ {
            return Err(Error::CallTooLarge("a transaction may read 1,048,576 records: let it read less"));
        }
        open.reads.push(read);
        Ok(())
    }

    /// Names the records that are to be made, so that what is told of them holds.
    fn give_ids(&mut self, now: Now, command: &mut Command) {
        let Command::Create { records, .. } = command else { return };
        for record in records.iter_mut().filter(|record| record.get("id").is_none()) {
            let id = self.random.uuid(now.wall).to_string();
            *record = record.framed(&[("id", &objectql_sync_protocol::quoted(&id))], &[]);
        }
    }
}

/// The records that a write depends on, beside its own values: those that it changes, and of those that it makes the ones with an
/// id of the app's. What is no write of records cannot be part of a transaction.
fn looked_at(command: &Command) -> Result<(ObjectName, Vec<RecordId>), Error> {
    let id_of = |record: &Fields| RecordId::parse_json(record.get("id")?.as_str()).ok();
    let (object, ids) = match command {
        Command::Update { object, id, .. } | Command::Delete { object, id } => (object, vec![id.clone()]),
        Command::BulkUpdate { object, updates } => {
            (object, updates.iter().map(|(id, _)| id.clone()).collect())
        }
        Command::BulkDelete { object, ids } => (object, ids.clone()),
        Command::Upsert { object, record } => (object, id_of(record).into_iter().collect()),
        Command::Create { object, records } | Command::Import { object, records } => {
            (object, records.iter().filter_map(id_of).collect())
        }
        Command::UpdateMany { object, .. } | Command::DeleteMany { object, .. } => (object, Vec::new()),
        Command::Transaction { .. }
        | Command::Undo
        | Command::Redo
        | Command::Resolve { .. }
        | Command::Retry { .. }
        | Command::Discard { .. } => {
            return Err(Error::Internal("that cannot be part of a transaction".to_owned()));
        }
    };
    Ok((object.clone(), ids))
}
