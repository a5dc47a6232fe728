//! A transaction of the server's that is watched, and that fails where it is told to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use objectql_sync_protocol::{ClientId, Mutation, MutationId, RecordKey, Sequence, ServerVersion, Timestamp};
use objectql_sync_server::record::Record;
use objectql_sync_server::store::{
    LogState, NewChange, Page, PageLimit, Settled, StoreError, Transaction, View,
};
use serde_json::value::RawValue;

use crate::server::history::{Draft, Given, Written};

/// A transaction, its watcher, and the fuse that blows at its n-th call.
pub(crate) struct Witness<'a> {
    inner: &'a mut dyn Transaction,
    fuse: Fuse,
    mutations: &'a [Mutation],
    /// The change that was appended for the mutation at work, and whether its record was put.
    appended: Vec<(RecordKey, Written, bool)>,
    draft: RefCell<Draft>,
}

/// Counts calls, and fails one of them.
#[derive(Debug, Default)]
pub(crate) struct Fuse(Cell<Option<usize>>);

impl Fuse {
    /// Fails the n-th call; 0: none.
    pub(crate) fn new(at: usize) -> Self {
        Self(Cell::new((at > 0).then_some(at)))
    }

    fn burn(&self) -> Result<(), StoreError> {
        let left = self.0.get().map(|left| left.saturating_sub(1));
        self.0.set(left);
        match left {
            Some(0) => Err(StoreError::Unavailable("the disk is away".into())),
            _ => Ok(()),
        }
    }
}

impl<'a> Witness<'a> {
    pub(crate) fn new(inner: &'a mut dyn Transaction, fuse: usize, mutations: &'a [Mutation]) -> Self {
        Self {
            inner,
            fuse: Fuse::new(fuse),
            mutations,
            appended: Vec::new(),
            draft: RefCell::new(Draft::default()),
        }
    }

    /// What was done, if all of it is to be committed. A change without its record, or without its verdict, is none.
    pub(crate) fn finish(self) -> Result<Draft, String> {
        match self.appended.first() {
            None => Ok(self.draft.into_inner()),
            Some((key, written, _)) => {
                Err(format!("S16: the change {} of {key:?} has no verdict", written.position))
            }
        }
    }

    fn author(&self, id: MutationId) -> Option<&'a Mutation> {
        self.mutations.iter().find(|mutation| mutation.id == id)
    }
}

impl View for Witness<'_> {
    fn state(&self) -> Result<LogState, StoreError> {
        self.fuse.burn()?;
        self.inner.state()
    }

    fn changes_after(&self, after: u64, limit: PageLimit) -> Result<Page, StoreError> {
        self.fuse.burn()?;
        self.inner.changes_after(after, limit)
    }

    fn records_after(&self, after: u64, since: u64, limit: PageLimit) -> Result<Page, StoreError> {
        self.fuse.burn()?;
        self.inner.records_after(after, since, limit)
    }
}

impl Transaction for Witness<'_> {
    fn verdict(&self, mutation: MutationId) -> Result<Option<Box<RawValue>>, StoreError> {
        self.fuse.burn()?;
        self.inner.verdict(mutation)
    }

    fn is_sequence_taken(&self, client: &ClientId, sequence: Sequence) -> Result<bool, StoreError> {
        self.fuse.burn()?;
        self.inner.is_sequence_taken(client, sequence)
    }

    fn record(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.fuse.burn()?;
        self.inner.record(key)
    }

    fn append(&mut self, change: &NewChange<'_>) -> Result<ServerVersion, StoreError> {
        self.fuse.burn()?;
        let version = self.inner.append(change)?;
        let written = Written {
            position: version.get(),
            client: ClientId::new("nobody").expect("a valid id"),
            timestamp: Timestamp::default(),
            operation: change.operation,
            data: change.data.cloned(),
            after: None,
        };
        self.appended.push((change.key.clone(), written, false));
        Ok(version)
    }

    fn put(&mut self, key: &RecordKey, record: &Record) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.inner.put(key, record)?;
        if let Some((appended, written, is_put)) = self.appended.last_mut()
            && appended == key
            && written.position == record.version().get()
        {
            *is_put = true;
            written.after = record.data().cloned();
            written.client = record.last().stamp.client_id.clone();
        }
        Ok(())
    }

    fn remember(&mut self, settled: &Settled<'_>) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.inner.remember(settled)?;
        let Some(mutation) = self.author(settled.mutation) else { return Ok(()) };
        let appended = std::mem::take(&mut self.appended);
        let given = Given {
            text: Rc::from(settled.verdict.get()),
            is_applied: settled.verdict.get().contains(r#""status":"applied""#),
            changes: appended.len(),
        };
        let mut draft = self.draft.borrow_mut();
        for (key, mut written, is_put) in appended {
            written.timestamp = mutation.timestamp.min(settled.now);
            if !is_put {
                return Err(StoreError::Broken("S16: a change without its record".into()));
            }
            draft.changes.push((key, written));
        }
        draft.settled.push((mutation.clone(), given));
        Ok(())
    }
}
