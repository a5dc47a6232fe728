//! What can happen in a world, in words: a run is a list of these, and a list of these can be run again.

use std::fmt;
use std::str::FromStr;

/// Makes an enum whose variants are written as words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)* }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("no {}: {text}", stringify!($name))),
                }
            }
        }
    };
}

/// Makes the enum of actions; each is written as its word and then its numbers and words by name.
macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal { $($field:ident: $type:ty,)* },)*) => {
        /// One thing that happens.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Action {
            $($(#[$doc])* $variant { $($field: $type,)* },)*
        }

        impl fmt::Display for Action {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field,)* } => {
                        out.write_str($word)?;
                        $(write!(out, " {}={}", stringify!($field), $field)?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Action {
            type Err = String;

            fn from_str(line: &str) -> Result<Self, String> {
                let mut parts = line.split_whitespace();
                let word = parts.next().unwrap_or_default();
                let mut next = |name: &str| {
                    let part = parts.next().ok_or_else(|| format!("{line}: {name} is missing"))?;
                    part.strip_prefix(name)
                        .and_then(|rest| rest.strip_prefix('='))
                        .ok_or_else(|| format!("{line}: {name} is missing"))
                };
                match word {
                    $($word => Ok(Self::$variant {
                        $($field: next(stringify!($field))?
                            .parse()
                            .map_err(|error| format!("{line}: {error}"))?,)*
                    }),)*
                    _ => Err(format!("no action: {line}")),
                }
            }
        }
    };
}

words! {
    /// What an app writes.
    WriteKind {
        Create = "create",
        Update = "update",
        Upsert = "upsert",
        Delete = "delete",
        /// Three records at once, all or none.
        Bulk = "bulk",
        /// Reads the record and makes or changes it, and makes one more, all or none.
        Transaction = "transaction",
        /// Changes all records of the object.
        UpdateAll = "update-all",
        /// Deletes the records of the object with an empty text.
        DeleteSome = "delete-some",
        /// Takes back the last write.
        Undo = "undo",
        /// Makes it again.
        Redo = "redo",
        /// A create that the server refuses, because it breaks the definition.
        BadCreate = "bad-create",
        BadUpdate = "bad-update",
        /// An upsert that a page puts into the log by itself, because it has no engine yet; the page may be gone by then.
        Early = "early",
    }
}

words! {
    /// What an app decides about what waits for it.
    Choice {
        Mine = "mine",
        Theirs = "theirs",
        Record = "record",
        Retry = "retry",
        /// The rejected mutation again, with what was wrong with it mended.
        RetryMended = "retry-mended",
        Discard = "discard",
    }
}

words! {
    /// What becomes of a read or an append.
    DiskFate {
        Done = "done",
        /// No room: the append is not made.
        Quota = "quota",
        /// It fails, and is not made.
        Failed = "failed",
        /// Made, and nobody says so.
        UnknownMade = "unknown-made",
        /// Not made, and nobody says so.
        UnknownNotMade = "unknown-not-made",
    }
}

words! {
    /// What of a client's store.
    Stored {
        /// A row that is not in a segment yet.
        Row = "row",
        Segment = "segment",
        Root = "root",
    }
}

words! {
    /// What becomes of a stored value.
    Harm {
        /// One bit is another one.
        Flip = "flip",
        /// The second half is missing.
        Truncated = "truncated",
        Empty = "empty",
        Gone = "gone",
    }
}

words! {
    /// What becomes of a request on its way, and of the server while it works on it.
    CarryFate {
        Arrives = "arrives",
        /// It never gets there; the client is told.
        Lost = "lost",
        /// It gets there, the answer does not come back, and the client is told.
        AnswerLost = "answer-lost",
        /// It gets there, and nobody ever hears of an answer.
        AnswerHangs = "answer-hangs",
        /// It never gets there, and nobody is told.
        Hangs = "hangs",
        /// A proxy keeps a copy that arrives later, as often as it likes.
        Copied = "copied",
        /// A proxy keeps it, and tells the client that it is lost.
        Held = "held",
        Html = "html",
        Redirected = "redirected",
        Status400 = "400",
        Status401 = "401",
        Status403 = "403",
        Status408 = "408",
        Status413 = "413",
        Status429 = "429",
        Status500 = "500",
        Status503 = "503",
        /// The answer is cut in the middle.
        Truncated = "truncated",
        /// A byte of the answer is another one.
        Corrupted = "corrupted",
    }
}

words! {
    /// What a socket for realtime brings: rings come early, late, twice or never.
    SocketWord {
        Opened = "opened",
        Ready = "ready",
        Poke = "poke",
        Beat = "beat",
        /// Something a newer server says.
        Unknown = "unknown",
        Closed = "closed",
    }
}

words! {
    /// Which way a client's packets do not get through.
    Cut {
        Up = "up",
        Down = "down",
        Both = "both",
    }
}

actions! {
    /// An app writes.
    Write = "write" { client: usize, tab: usize, object: usize, record: usize, kind: WriteKind, value: usize, },
    /// An app calls `sync()`.
    Sync = "sync" { client: usize, tab: usize, },
    /// Somebody looks at the page, or the browser says that the network is back.
    Nudge = "nudge" { client: usize, tab: usize, },
    /// An app decides on one of the conflicts, or of the rejected mutations.
    Decide = "decide" { client: usize, tab: usize, place: usize, choice: Choice, },
    Open = "open" { client: usize, },
    /// The tab is closed, or its process dies: to the log and to the lock it is the same.
    Crash = "crash" { client: usize, tab: usize, },
    CrashBrowser = "crash-browser" { client: usize, },
    Freeze = "freeze" { client: usize, tab: usize, },
    Thaw = "thaw" { client: usize, tab: usize, },
    /// A tab takes the lock from whoever has it.
    Steal = "steal" { client: usize, tab: usize, },
    /// The store does what a tab asked it to; the tab does not know yet.
    Disk = "disk" { client: usize, tab: usize, fate: DiskFate, },
    /// The app asks for the records of an object.
    Load = "load" { client: usize, tab: usize, object: usize, },
    /// The store takes the step that a tab's compaction asked for; the tab does not know yet.
    Compact = "compact" { client: usize, tab: usize, fate: DiskFate, },
    /// The store's connections are closed underneath: what is under way ends so, and nothing is answered for a while, an
    /// `open()` neither.
    CloseStore = "close-store" { client: usize, fate: DiskFate, ms: u64, },
    /// The app's next release defines its objects otherwise: tabs opened from now on have it.
    Deploy = "deploy" { client: usize, edition: usize, },
    /// The app's next release has other versions of its objects, or an earlier one comes back: tabs opened from now on have it.
    Release = "release" { client: usize, number: usize, },
    /// A tab's app goes through a portion of what is to be migrated, and hands back so many values of it at most.
    Migrate = "migrate" { client: usize, tab: usize, most: usize, },
    /// Something that is stored cannot be read any more.
    Damage = "damage" { client: usize, what: Stored, place: usize, harm: Harm, bit: usize, },
    /// The site's data are cleared or evicted, whether tabs are open or not.
    Clear = "clear" { client: usize, },
    /// The profile is copied aside.
    Save = "save" { client: usize, },
    /// It is put back as it was then, while the browser is closed.
    PutBack = "put-back" { client: usize, },
    /// The tab hears what came of that.
    Report = "report" { client: usize, tab: usize, },
    /// A tab hears whether it has the lock.
    Lock = "lock" { client: usize, tab: usize, },
    /// A tab hears one of the other tabs' announcements, in any order.
    Hear = "hear" { client: usize, tab: usize, place: usize, },
    /// It never hears that one.
    Miss = "miss" { client: usize, tab: usize, place: usize, },
    /// A tab's socket for realtime opens, says something, or closes.
    Socket = "socket" { client: usize, tab: usize, word: SocketWord, },
    /// A request reaches the server, or something else happens to it. The server fails at its `fuse`th statement (0: never),
    /// and whether it then `crashes` or answers 503.
    Carry = "carry" { packet: usize, fate: CarryFate, fuse: usize, crashes: bool, },
    /// An answer reaches the client.
    Answer = "answer" { packet: usize, },
    /// The clocks go on, and the timers that are due fire.
    Time = "time" { ms: u64, },
    /// The clock of a device jumps.
    ClientClock = "client-clock" { client: usize, ms: i64, },
    /// The clock of the server jumps.
    ServerClock = "server-clock" { ms: i64, },
    Partition = "partition" { client: usize, cut: Cut, ms: u64, },
    /// The whole profile of a client is copied to another device, at this moment.
    Clone = "clone" { client: usize, },
    /// The server forgets what is older.
    Prune = "prune" { age_ms: u64, },
    /// A backup of the server is made.
    Backup = "backup" { number: usize, },
    /// The server is put back to the backup.
    Restore = "restore" { number: usize, },
    /// Somebody changes a pull-only record on the server.
    ServerWrite = "server-write" { record: usize, kind: WriteKind, value: usize, },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_read_as_it_is_written() {
        for action in [
            Action::Write { client: 1, tab: 2, object: 3, record: 4, kind: WriteKind::BadUpdate, value: 5 },
            Action::ClientClock { client: 0, ms: -31_536_000_000 },
            Action::Carry { packet: 9, fate: CarryFate::Status413, fuse: 3, crashes: true },
        ] {
            assert_eq!(action.to_string().parse(), Ok(action));
        }
        assert!("write client=1".parse::<Action>().is_err());
        assert!("dance".parse::<Action>().is_err());
    }
}
