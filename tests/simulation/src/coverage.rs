//! What a set of runs has come across: a simulator that never meets the rare case proves nothing about it.

use std::collections::BTreeMap;

macro_rules! sights {
    ($($variant:ident = $text:literal,)*) => {
        /// Something worth having met.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Sight { $($variant,)* }

        impl Sight {
            const ALL: &[(Self, &str)] = &[$((Self::$variant, $text),)*];
        }
    };
}

sights! {
    GroupCommit = "several calls in one row",
    Transaction = "a transaction was committed",
    TransactionConflict = "a transaction was refused because what it read had changed",
    Undone = "a write was taken back",
    AskedEarly = "what a page without an engine asked for was decided",
    Redone = "a write was made again",
    Behind = "an append lost the race against another tab's",
    QuotaExceeded = "an append failed for want of room",
    AppendFailed = "an append failed",
    UnknownMade = "an unknown commit that was made",
    UnknownNotMade = "an unknown commit that was not made",
    ReadFailed = "a read failed",
    SegmentsRead = "a tab began with segments",
    SegmentGone = "a segment was gone when a tab came to read it",
    Compacted = "rows became segments",
    CompactionFailed = "a step of a compaction failed",
    CompactionUnknown = "a step of a compaction was made and nobody said so",
    CompactionLate = "a compaction met another tab's",
    LeftBehind = "a tab was left behind by a compaction and began anew",
    StoreClosed = "the connections to the store were closed underneath",
    OpenHangs = "an open waited for a store that could not be opened",
    AppendWaited = "an append waited until the store could be opened again",
    ReadWaited = "a read waited until the store could be opened again",
    RowDamaged = "a stored row was damaged",
    SegmentDamaged = "a segment was damaged",
    RootDamaged = "a root was damaged",
    DamagedOpen = "what is stored was damaged while a tab was open",
    Mended = "damage was written down",
    MendedRenamed = "damage was written down that may be of sequences",
    SequenceReused = "a sequence was used again that nobody knew of any more",
    LossTold = "a tab was told of damage",
    LossNamed = "a mutation was named that damage had taken",
    ClearedOpen = "data were cleared while a tab was open",
    ClearedClosed = "data were cleared while no tab was open",
    ClearedMet = "a tab asked for a database that was gone",
    ClearedTold = "a tab was told that its data were cleared",
    ClearedNamed = "a mutation was named that was cleared",
    PutBack = "a profile was put back to an earlier copy",
    Released = "an app got later versions of its objects",
    ReleasedBack = "an earlier release came back",
    Migrated = "a portion was migrated",
    MigratedOn = "a migration went on with another portion",
    MigratedMutation = "a mutation that waits was migrated",
    MigrationEnded = "a migration came to its end",
    CrashMigrating = "a tab crashed while it had something to migrate",
    PortionStale = "a portion came back after something had changed",
    OutdatedOpen = "a tab of an earlier release than the data was refused",
    Outdated = "an open tab learnt that its release is earlier than the data",
    Deployed = "an app got other definitions",
    TwoEditions = "two tabs of a client had different definitions",
    Joined = "objects joined, left or turned round between two openings",
    Adopted = "an object joined with records written while it took no part",
    LeftPending = "an object left with mutations pending",
    ReturnedPending = "an object came back with mutations pending",
    CrashBeforeAppend = "a tab crashed before its append was made",
    CrashAfterAppend = "a tab crashed after its append was made and before it knew",
    CrashWithAnswer = "a tab crashed while its request was under way",
    BrowserCrash = "all tabs of a client crashed at once",
    TabOpened = "a tab was opened beside another",
    TabFrozen = "a tab was frozen",
    LeaderFrozen = "the leading tab was frozen",
    LockStolen = "the lock was stolen",
    ExLeaderThawed = "a tab thawed to learn that it leads no more",
    AnnouncementLost = "an announcement was lost",
    AnnouncementReordered = "announcements came out of order",
    StaleAnswer = "a stale ex-leader's answer was ignored",
    AnswerForNobody = "an answer came that nobody waits for",
    RequestLost = "a request was lost",
    AnswerLost = "an answer was lost",
    Hang = "nobody ever answered",
    LateDuplicate = "a duplicate of a request arrived later",
    BatchResent = "a batch was sent again after a lost answer",
    VerdictRepeated = "a verdict was lost and then repeated",
    Portal = "a captive portal answered",
    Damaged = "an answer was damaged",
    Unauthorized = "the credentials were refused",
    TooLarge = "a batch was refused as too large",
    TooLargeAlone = "a mutation was refused as too large all alone",
    RetryAfter = "the server asked for a pause",
    Partition = "a client was cut off",
    ServerFailedMidway = "the server failed in the middle of a transaction",
    ServerCrashedMidway = "the server crashed in the middle of a transaction",
    ServerCrashedAfter = "the server crashed between the commit and the answer",
    ServerPruned = "the server forgot changes",
    ServerRestored = "the server was put back to a backup",
    RestoredWithPending = "the server was put back while edits were pending",
    Reset = "a checkpoint was refused and a reset began",
    ResetWithPending = "a reset with pending edits",
    SnapshotSwapped = "a snapshot took the place of the data",
    Paged = "changes came in several pages",
    MutationTooOld = "a mutation was refused as too old to tell",
    ClientClockJumped = "the clock of a device jumped",
    ServerClockJumped = "the clock of the server jumped",
    Applied = "a mutation was applied",
    Superseded = "a mutation was applied without effect",
    Conflict = "the server reported a conflict",
    Parked = "a conflict waits for a decision",
    ParkedAcrossReload = "a conflict was decided in a tab opened after it came up",
    ResolvedMine = "a conflict was decided for one's own side",
    ResolvedTheirs = "a conflict was decided for the other side",
    ResolvedRecord = "a conflict was decided by a merged record",
    Rejected = "a mutation was rejected",
    DependantRejected = "a mutation was rejected with the create it depends on",
    Retried = "a rejected mutation was tried again",
    Discarded = "a rejected mutation was discarded",
    Recreated = "a deleted record was made again",
    SameIdTwice = "two clients made the same record",
    DeleteMetUpdate = "an update met a record somebody else had deleted",
    Probed = "a server that cannot tell a repeat was asked for its changes first",
    Renamed = "a client whose profile was copied took another id",
    Cloned = "a profile was copied",
    Robbed = "a tab took the lock from a leader that did not answer",
    Rejudged = "a conflict was judged anew on a newer base",
    Rung = "the server rang for changes",
    PushOnly = "a push-only object was pushed",
    PullOnly = "a pull-only object was pulled",
    NotSynced = "an object that is not synced was written",
    Agreed = "a run ended with all in agreement",
    SameResult = "the same writes led to the same records in another variation",
    InTime = "a write was judged within its time",
    ClosedReplaced = "another tab pushed after the leading one was closed",
    FrozenReplaced = "another tab pushed after the leading one was frozen",
    PoisonPassed = "the others went past a mutation for which whole requests are refused",
    FollowerSync = "sync() of a tab that does not lead was answered",
}

/// How often each sight was met.
#[derive(Debug, Clone, Default)]
pub struct Coverage(BTreeMap<Sight, u64>);

impl Coverage {
    pub(crate) fn saw(&mut self, sight: Sight) {
        *self.0.entry(sight).or_default() += 1;
    }

    pub(crate) fn count(&self, sight: Sight) -> u64 {
        self.0.get(&sight).copied().unwrap_or(0)
    }

    /// Takes in what another run met.
    pub fn add(&mut self, other: &Self) {
        for (sight, count) in &other.0 {
            *self.0.entry(*sight).or_default() += count;
        }
    }

    /// What was never met.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        Sight::ALL.iter().filter(|(sight, _)| self.count(*sight) == 0).map(|(_, text)| *text).collect()
    }

    /// All of it, a line each.
    #[must_use]
    pub fn report(&self) -> String {
        let lines = Sight::ALL.iter().map(|(sight, text)| format!("{:>10}  {text}\n", self.count(*sight)));
        lines.collect()
    }
}
