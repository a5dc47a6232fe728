//! What the log says, to be read by tests and tools from outside.

use objectql_sync_protocol::{Checkpoint, ClientId, Fields, RecordKey, Sequence, ServerVersion};

use super::Engine;
use super::record::Record;
use super::row::Recorded;
use super::state::State;

impl State {
    /// Under which id this database writes.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// Where the knowledge of the server ends.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Whether a snapshot is being collected beside the data.
    #[must_use]
    pub fn is_collecting(&self) -> bool {
        self.snapshot.is_some()
    }

    /// What the server last said of a record: the version, the fields, and whether only some of them are known.
    #[must_use]
    pub fn base(&self, key: &RecordKey) -> Option<(ServerVersion, &Fields, bool)> {
        self.record(key)?.base().map(|base| (base.version, &base.fields, base.is_partial))
    }

    /// The keys of all records, those that nobody sees included.
    pub fn keys(&self) -> impl Iterator<Item = RecordKey> {
        self.tables.iter().flat_map(|(object, table)| {
            table.records().map(|record| RecordKey { object: object.clone(), id: record.id.clone() })
        })
    }

    /// The mutations that are not settled, in order, and whether each waits for a decision.
    pub fn unsettled(&self) -> impl Iterator<Item = (Sequence, &Recorded, bool)> {
        self.pending.iter().map(|pending| (pending.sequence, &pending.recorded, pending.is_parked()))
    }

    /// Those of one record.
    pub fn unsettled_of(&self, key: &RecordKey) -> impl Iterator<Item = &Recorded> {
        let sequences = self.record(key).map(|record| record.pending()).unwrap_or_default();
        sequences.iter().filter_map(|sequence| self.pending.get(sequence)).map(|pending| &pending.recorded)
    }

    /// Whether nothing is left of what was on its way: no batch, no verdict that waits for its page, no record that is none.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let is_on_its_way = !self.frozen.is_empty() || !self.applied.is_empty() || self.is_behind;
        let is_nothing_left = |record: &Record| !record.is_gone();
        !is_on_its_way && self.tables.iter().flat_map(|(_, table)| table.records()).all(is_nothing_left)
    }

    /// The mutations the server will never take, until the app decides.
    pub fn refused(&self) -> impl Iterator<Item = (Sequence, &Recorded)> {
        self.rejected.iter().map(|rejected| (rejected.sequence, &rejected.recorded))
    }
}

impl Engine {
    /// The key of the last row that is folded.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.log.folded
    }

    /// How many answers came too late to be used.
    #[must_use]
    pub fn stale_answers(&self) -> u32 {
        self.sync.stale_answers
    }
}
