//! A record: what the server last said of it, and what is pending on top.

use objectql_sync_protocol::{Fields, Operation, RecordId, Sequence, ServerVersion};

/// A record as this client knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: RecordId,
    base: Option<Base>,
    /// The pending mutations of the record, in sequence order.
    pending: Vec<Sequence>,
    /// `base` with `pending` replayed over it. Kept only while something is pending: without, the base is what is seen.
    view: Option<Fields>,
}

/// The last state of a record that came from the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Base {
    pub(crate) version: ServerVersion,
    pub(crate) fields: Fields,
    /// Whether only some fields are known: an update came for a record that never was created here. Nobody sees it.
    pub(crate) is_partial: bool,
}

impl Record {
    pub(crate) fn new(id: RecordId) -> Self {
        Self::stored(id, None)
    }

    /// A record as a segment has it: without what is pending.
    pub(crate) const fn stored(id: RecordId, base: Option<Base>) -> Self {
        Self { id, base, pending: Vec::new(), view: None }
    }

    /// The fields an app sees; none while the record does not exist for it.
    pub(crate) fn visible(&self) -> Option<&Fields> {
        if self.pending.is_empty() { self.complete_base() } else { self.view.as_ref() }
    }

    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// The fields of the base, if they are all known.
    pub(crate) fn complete_base(&self) -> Option<&Fields> {
        self.base.as_ref().filter(|base| !base.is_partial).map(|base| &base.fields)
    }

    /// Whether the record never was the server's: it was written while its object was not synced.
    pub(crate) fn is_local(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.version == ServerVersion::default())
    }

    pub(crate) fn pending(&self) -> &[Sequence] {
        &self.pending
    }

    /// Whether nothing is left of the record.
    pub(crate) fn is_gone(&self) -> bool {
        self.base.is_none() && self.pending.is_empty()
    }

    /// Puts a new mutation on top.
    pub(crate) fn push(&mut self, sequence: Sequence, operation: Operation, data: Option<&Fields>) {
        let before = self.visible().cloned();
        self.pending.push(sequence);
        self.view = apply(before, operation, data);
    }

    /// Puts a mutation on top, as it was before; [`replay`](Self::replay) must follow.
    pub(crate) fn put_back(&mut self, sequence: Sequence) {
        if let Err(place) = self.pending.binary_search(&sequence) {
            self.pending.insert(place, sequence);
        }
    }

    /// Takes a mutation out; [`replay`](Self::replay) must follow.
    pub(crate) fn remove(&mut self, sequence: Sequence) {
        if let Ok(place) = self.pending.binary_search(&sequence) {
            self.pending.remove(place);
        }
    }

    /// Changes the base as a change of the server says; [`replay`](Self::replay) must follow.
    pub(crate) fn rebase(&mut self, operation: Operation, data: Option<&Fields>, version: ServerVersion) {
        self.base = match (operation, data, self.base.take()) {
            (Operation::Create, Some(data), _) => {
                Some(Base { version, fields: data.clone(), is_partial: false })
            }
            (Operation::Update, Some(data), Some(base)) => {
                Some(Base { version, fields: base.fields.merged(data), is_partial: base.is_partial })
            }
            (Operation::Update, Some(data), None) => {
                Some(Base { version, fields: data.clone(), is_partial: true })
            }
            (Operation::Delete, ..) => None,
            (_, None, base) => base,
        };
    }

    /// Sets the base as a snapshot has it.
    pub(crate) fn set_base(&mut self, base: Option<Base>) {
        self.base = base;
    }

    /// Gives the base other fields, of the same version.
    pub(crate) fn reshape(&mut self, fields: &Fields) {
        if let Some(base) = &mut self.base {
            base.fields = fields.clone();
        }
    }

    /// Computes what is seen from the base and the pending mutations, given in order.
    pub(crate) fn replay<'a>(&mut self, mutations: impl Iterator<Item = (Operation, Option<&'a Fields>)>) {
        self.view = if self.pending.is_empty() {
            None
        } else {
            mutations
                .fold(self.complete_base().cloned(), |view, (operation, data)| apply(view, operation, data))
        };
    }
}

/// What a mutation makes of a record.
pub(crate) fn apply(before: Option<Fields>, operation: Operation, data: Option<&Fields>) -> Option<Fields> {
    match (operation, data) {
        (Operation::Create, Some(data)) => Some(data.clone()),
        // An update of a record that another client deleted changes nothing: the delete wins.
        (Operation::Update, Some(data)) => before.map(|fields| fields.merged(data)),
        (Operation::Delete, _) => None,
        (_, None) => before,
    }
}
