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
}

/// What a transaction read: it is committed only if the same would be read then.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    pub(crate) object: ObjectName,
    pub(crate) query: Query,
    /// The states of the records that were found.
    pub(crate) seen: Vec<u32>,
    /// The last change of any record before it.
    pub(crate) at: u32,
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
        self.give_ids(now, &mut command);
        for (object, query) in looked_at(&command) {
            self.note_read(transaction, &object, query)?;
        }
        self.collections.prepare_unique();
        let Transaction { views, taken, .. } = self.transaction(transaction)?;
        let (views, taken) = (std::mem::take(views), std::mem::take(taken));
        let Self { state, config, collections, random, .. } = self;
        let mut staged = Staged::new(state, config, collections, random, now.wall);
        (staged.views, staged.taken) = (views, taken);
        let result = staged.decide(&command);
        let Staged { views, taken, .. } = staged;
        let transaction = self.transaction(transaction)?;
        (transaction.views, transaction.taken) = (views, taken);
        if result.is_ok() {
            transaction.commands.push(command);
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
        let definition = self.config.object(object)?;
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
        self.note_read(transaction, object, query.clone())?;
        self.transaction(transaction).map(|transaction| std::mem::take(&mut transaction.views))
    }

    pub(super) fn give_back(&mut self, transaction: u32, views: Views) {
        if let Ok(transaction) = self.transaction(transaction) {
            transaction.views = views;
        }
    }

    fn note_read(&mut self, transaction: u32, object: &ObjectName, query: Query) -> Result<(), Error> {
        let read = self.collections.read(object, query);
        self.transaction(transaction)?.reads.push(read);
        Ok(())
    }

    /// Names the records that are to be made, so that what is told of them holds.
    fn give_ids(&mut self, now: Now, command: &mut Command) {
        let records = match command {
            Command::Create { record, .. } => std::slice::from_mut(record),
            Command::BulkCreate { records, .. } => records,
            _ => return,
        };
        for record in records.iter_mut().filter(|record| record.get("id").is_none()) {
            let id = self.random.uuid(now.wall).to_string();
            *record = record.framed(&[("id", &objectql_sync_protocol::quoted(&id))], &[]);
        }
    }
}

/// What a write depends on, beside its own values.
fn looked_at(command: &Command) -> Vec<(ObjectName, Query)> {
    let one = |object: &ObjectName, id: &RecordId| (object.clone(), Query::of_id(id));
    match command {
        Command::Update { object, id, .. } | Command::Delete { object, id } => vec![one(object, id)],
        Command::BulkUpdate { object, updates } => updates.iter().map(|(id, _)| one(object, id)).collect(),
        Command::BulkDelete { object, ids } => ids.iter().map(|id| one(object, id)).collect(),
        Command::Upsert { object, record } => {
            let id = record.get("id").and_then(|id| RecordId::parse_json(id.as_str()).ok());
            id.iter().map(|id| one(object, id)).collect()
        }
        Command::UpdateMany { object, query, .. } | Command::DeleteMany { object, query } => {
            vec![(object.clone(), query.clone())]
        }
        _ => Vec::new(),
    }
}
