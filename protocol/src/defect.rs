//! Deliberate defects, one at a time, to prove that the simulator would find them. Compiled out but for the feature `defects`, which
//! nothing that is shipped turns on.

/// Makes the enum and the list of all.
macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that is wrong on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Defect { $($(#[$doc])* $name,)* }

        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

defects! {
    /// The server judges a repeated mutation again.
    DedupeOff,
    /// The server does not remember verdicts.
    VerdictForgotten,
    /// The server goes on from a checkpoint whose changes it has forgotten.
    PruneUnnoticed,
    /// The server takes a checkpoint of another epoch for its own.
    EpochUnnoticed,
    /// The server names the end of the log although there are more pages.
    PageSkipped,
    /// Under last-write-wins the earlier write wins, too.
    TimeIgnored,
    /// Conflict fields are overwritten like any other.
    ConflictFieldsIgnored,
    /// Manual objects are merged like any other.
    ManualMerged,
    /// A clock that runs ahead wins on the server.
    FutureBelieved,
    /// A delete of a record is carried out never.
    DeleteIgnored,
    /// An update brings a deleted record back.
    DeletedRevived,
    /// Under crdt a mutation wins or loses as a whole.
    FieldsMergedAsOne,
    /// A refused mutation is written all the same.
    RefusedWritten,
    /// The driver folds an answer of another generation.
    StaleAnswerTaken,
    /// The driver sends a batch that is not the frozen one.
    FreezeSkipped,
    /// The checkpoint moves and the last change is not applied.
    CheckpointBeforeData,
    /// An acknowledgement raises the base past the server's changes.
    AckRaisesBase,
    /// A rejected mutation is dropped without a word.
    RejectedDropped,
    /// Two mutations of one row get the same sequence.
    SequenceStuck,
    /// A commit of unknown outcome is taken for one that was not made.
    UnknownTakenAsFailed,
    /// A snapshot does not remove what the server does not have any more.
    SnapshotKeepsGone,
    /// Pull-only objects can be written.
    PullOnlyWritten,
    /// Nobody answers `sync()`.
    SyncUnanswered,
    /// After a failure nothing tries again.
    RetryForgotten,
    /// The batch size is ignored.
    BatchSizeIgnored,
    /// The app is answered before the row is durable.
    PromiseTooEarly,
    /// What the app sees is not computed anew after the base changed.
    ViewStale,
    /// A tab of an older release keeps to itself what it writes to an object that takes part already.
    OlderReleaseUnheard,
    /// A frozen tab that leads is never replaced.
    LeaderUnwatched,
    /// A mutation that is refused alone is sent again for ever.
    PoisonHeld,
    /// A push waits as long as somebody writes.
    MaxWaitForgotten,
    /// Settled mutations are remembered as applied for ever.
    AppliedKept,
    /// What changes while a compaction is under way is taken for compacted.
    MarksForgotten,
    /// Rows are folded whether the records that they change are in memory or not.
    AbsentUnwaited,
    /// A root says nothing of the last appends of tabs.
    WritersForgotten,
    /// What cannot be read is passed over, and not written down.
    DamageUnsaid,
    /// After damage the database goes on under its client id.
    DamageKeepsId,
    /// After damage the server's records are not collected anew.
    DamageNotPulled,
    /// The app is not told of damage.
    LossUntold,
    /// Rows before a missing one are folded again when it is looked for.
    RowsFoldedTwice,
    /// The app is not told that its data were cleared.
    ClearedUntold,
    /// A portion of a migration is taken whatever changed since it was handed out.
    PortionTakenLate,
    /// A tab syncs while its data are migrated.
    MigrationSyncs,
    /// A tab of an earlier release goes on after its data were migrated.
    OutdatedGoesOn,
}

#[cfg(feature = "defects")]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Chooses the defect of this thread.
#[cfg(feature = "defects")]
pub fn choose(defect: Option<Defect>) {
    CHOSEN.set(defect);
}

/// Whether the code is to be wrong in that way.
#[cfg(feature = "defects")]
#[must_use]
pub fn has(defect: Defect) -> bool {
    CHOSEN.get() == Some(defect)
}

/// Whether the code is to be wrong in that way: never.
#[cfg(not(feature = "defects"))]
#[must_use]
#[inline(always)]
pub const fn has(_: Defect) -> bool {
    false
}
