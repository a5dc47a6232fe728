//! The engine's end of the log: what waits to be appended, what is being appended, how far the tail was read.
//!
//! One append at a time. Whatever arrives while it is under way goes into the next row together (group commit). An append
//! carries the key it expects; where another tab was first, the tail is read and folded, and the jobs are decided anew.

mod read;

use std::collections::VecDeque;

use super::absent::Need;
use super::command::{Command, Reply};
use super::early::decide_asked;
use super::fold::{Folded, fold};
use super::health::Health;
use super::heard::{Heard, HeardRow, MOST_SENT_ALONG};
use super::load::Loading;
use super::migrate::Migration;
use super::row::{Event, Row, TabId};
use super::seal::FormatError;
use super::staged::Staged;
use super::sync::Asker;
use super::sync::job::{Decision, SyncJob};
use super::sync::progress::SyncReport;
use super::{Announcement, Engine, ErrorReport, Notice, Now, Output, RequestId};
use crate::error::Error;
use objectql_sync_protocol::ProtocolError;
use objectql_sync_protocol::defect::{Defect, has};

/// A row takes no more jobs once its data have so many bytes.
pub(crate) const ROW_BYTES_WANTED: usize = 8 << 20;
/// The most bytes of data of one command; with the 8 MiB at which a row takes no more, it fits in one row.
pub const MAX_COMMAND_BYTES: usize = 16 << 20;
/// How often a failing read or an unknown commit is tried again before those who wait are told.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// Something that wants to be in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Job {
    /// Makes the database if there is none; where it was open before, nobody asks.
    Open { request: Option<RequestId> },
    /// A write of the app.
    Write { request: RequestId, command: Command },
    /// What became of a portion of a migration.
    Migrate { request: RequestId, migration: Migration },
    /// A step of the sync.
    Sync(SyncJob),
    /// A `sync()`: wants nothing but its place behind the writes before it.
    Ask(Asker),
    /// What cannot be read is written down.
    Mend,
    /// What pages asked for that had no engine is decided.
    Asked,
    /// The answer to a `sync()` that another tab carried out: wants nothing but its place behind the tail.
    Answer { request: RequestId, result: Result<SyncReport, Error> },
}

impl Job {
    /// Whether it may be decided in a row of writes: what rests on what is folded, only before anything else.
    fn fits_behind(&self, is_first: bool) -> bool {
        match self {
            Self::Sync(_) | Self::Mend | Self::Migrate { .. } => false,
            Self::Write { command: Command::Transaction { .. } | Command::Undo | Command::Redo, .. } => {
                is_first
            }
            _ => true,
        }
    }
}

/// The engine's end of the log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The key of the last row that is folded.
    pub(crate) folded: u64,
    /// The number of the root that the state began with, or of a later one; 0 where there was none. None while the state has
    /// not begun, or has to begin anew.
    pub(crate) root: Option<u64>,
    /// The root under which something was missing: where there is no later one, it is missing for good.
    gap_under: Option<u64>,
    /// The last row of a gap that was met, to look at the root; and up to which row what is missing is missing for good: what is missing
    /// behind that, another tab may have compacted since.
    gap_through: u64,
    sure_through: u64,
    /// The segments that were not there under the root `gap_under`.
    pub(crate) missing: Vec<u64>,
    /// The last row for which that was done, as long as the root is of an earlier one: what is lost is said there, and such a root knows
    /// nothing of it.
    pub(crate) reread_for: u64,
    /// Whether all is to be read again when nothing is under way.
    wants_reread: bool,
    phase: Phase,
    queue: VecDeque<Job>,
    /// An append of which it is not known whether it was made: the tail will tell.
    pub(super) unsure: Option<Unsure>,
    /// The key that the append before that one would have got, where it was another than the expected one.
    given_before: u64,
    /// Whether somebody says that there are rows to read.
    is_tail_wanted: bool,
    heard: Heard,
    attempts: u32,
    next_number: u64,
    /// Whether the database is to be made before anything is written, and nobody waits for it.
    must_open: bool,
    pub(crate) health: Health,
}

#[derive(Debug, Default)]
enum Phase {
    /// The tail is to be read before anything else.
    #[default]
    Unread,
    Reading {
        read: u64,
    },
    /// Rows are being folded, the next one first; it waits for what it changes to be in memory.
    Folding {
        rows: VecDeque<(u64, Vec<u8>)>,
        is_last: bool,
    },
    /// A stored state is being read.
    Loading {
        read: u64,
        loading: Box<Loading>,
    },
    Idle,
    Appending(Append),
}

#[derive(Debug)]
pub(super) struct Append {
    pub(super) row: Row,
    /// How large it is.
    bytes: usize,
    /// What other tabs get, if it is small.
    copy: Vec<u8>,
    jobs: Vec<Job>,
    /// Refusals wait for the row too: they may rest on what it writes.
    replies: Vec<(RequestId, Result<Reply, Error>)>,
    /// Refusals that nobody waits for.
    untold: Vec<ErrorReport>,
}

impl Append {
    /// One that is not encoded yet.
    fn of(row: Row, jobs: Vec<Job>, replies: Vec<(RequestId, Result<Reply, Error>)>) -> Self {
        Self { row, bytes: 0, copy: Vec::new(), jobs, replies, untold: Vec::new() }
    }

    /// Takes out those who wait for the database to be opened, and what they were to be told.
    fn take_openings(&mut self) -> Vec<RequestId> {
        let opening = |job: &mut Job| if let Job::Open { request } = job { request.take() } else { None };
        let requests: Vec<RequestId> = self.jobs.iter_mut().filter_map(opening).collect();
        self.replies.retain(|(request, _)| !requests.contains(request));
        requests
    }
}

#[derive(Debug)]
pub(super) struct Unsure {
    pub(super) append: Append,
    why: Unmade,
}

/// Why a row may not be in the log.
#[derive(Debug)]
pub(crate) enum Unmade {
    /// Nobody knows whether it is.
    Unknown(Error),
    /// It is not: the store would have given it this key.
    Behind(u64),
}

impl Unmade {
    const fn error(&self) -> Option<&Error> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::Behind(_) => None,
        }
    }
}

impl Log {
    pub(crate) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// Before all that waits.
    pub(crate) fn push_first(&mut self, job: Job) {
        self.queue.push_front(job);
    }

    pub(crate) fn want_tail(&mut self) {
        self.is_tail_wanted = true;
    }

    /// Another tab has appended a row.
    pub(crate) fn hear(&mut self, row: HeardRow) {
        self.is_tail_wanted |= self.heard.hear(row);
    }

    /// The next rows, the one before which that tab appended, as far as they were heard and need not be read.
    fn take_heard(&mut self, last: Option<(TabId, u64)>) -> VecDeque<(u64, Vec<u8>)> {
        if self.is_tail_wanted || self.health.error.is_some() {
            self.is_tail_wanted |= self.heard.clear();
            return VecDeque::new();
        }
        let (rows, has_others) = self.heard.take(self.folded, last);
        self.is_tail_wanted |= has_others;
        rows
    }

    /// All of it is read again, when nothing is under way.
    pub(crate) fn begin_over(&mut self) {
        self.wants_reread = self.is_busy();
        if self.wants_reread {
            return;
        }
        self.folded = 0;
        self.root = None;
        (self.gap_under, self.gap_through, self.sure_through) = (None, 0, 0);
        self.missing.clear();
        self.phase = Phase::Unread;
    }

    /// All up to this row is in the root that is there.
    pub(crate) const fn note_root_through(&mut self, row: u64) {
        if row >= self.reread_for {
            self.reread_for = 0;
        }
    }

    /// Whether the last row is one for which nothing was read again yet; it counts as one from here on.
    pub(crate) fn is_first_time(&mut self) -> bool {
        let is_first = self.folded > self.reread_for;
        self.reread_for = self.reread_for.max(self.folded);
        is_first
    }

    /// What there is has to be looked at anew: the root that is known is not the one in the store any more.
    pub(crate) fn begin_anew(&mut self) {
        self.gap_under = self.root.take().or(self.gap_under);
        self.is_tail_wanted = true;
        if let Phase::Folding { .. } = self.phase {
            // What its rows change cannot be read.
            self.phase = Phase::Unread;
        }
    }

    /// Whether the root that is known is still there is to be looked at.
    pub(crate) fn look_at_root(&mut self) {
        if let Phase::Idle = self.phase {
            self.gap_under = self.root.take();
            self.phase = Phase::Unread;
        }
    }

    /// Whether the store is asked for something.
    pub(crate) fn is_busy(&self) -> bool {
        self.asks().is_some()
    }

    /// What the store is asked for.
    fn asks(&self) -> Option<u64> {
        match &self.phase {
            Phase::Reading { read } | Phase::Loading { read, .. } => Some(*read),
            Phase::Appending(append) => Some(append.row.number),
            Phase::Unread | Phase::Idle | Phase::Folding { .. } => None,
        }
    }

    /// All of it anew, for another database.
    pub(crate) fn start_over(&mut self) {
        *self = Self { next_number: self.next_number, must_open: true, ..Self::default() };
    }

    /// Those who wait for the database to be opened.
    pub(crate) fn take_openings(&mut self) -> VecDeque<Job> {
        let is_opening = |job: &Job| matches!(job, Job::Open { request: Some(_) });
        let (openings, others) = std::mem::take(&mut self.queue).into_iter().partition(is_opening);
        self.queue = others;
        openings
    }

    /// Whether what pages asked for waits to be decided, and whether an app's write is next.
    pub(crate) fn is_deciding_asked(&self) -> (bool, bool) {
        let is_asked = self.queue.iter().any(|job| matches!(job, Job::Asked));
        (is_asked, matches!(self.queue.front(), Some(Job::Write { .. })))
    }

    /// What is being appended.
    pub(crate) fn take_jobs_under_way(&mut self) -> Vec<Job> {
        match std::mem::take(&mut self.phase) {
            Phase::Appending(append) => append.jobs,
            _ => Vec::new(),
        }
    }

    /// Whether that read is awaited.
    fn is_reading(&self, wanted: u64) -> bool {
        matches!(&self.phase, Phase::Reading { read } | Phase::Loading { read, .. } if *read == wanted)
    }

    /// Whether the log is folded to its end, as far as this tab knows.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Appending(_))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Engine {
    /// Takes note of how long the store takes to answer. Who opens the database need not wait for ever.
    pub(crate) fn watch_store(&mut self, now: Now) {
        let asks = self.log.asks().or(self.loader.asks());
        if self.log.health.watch(now, asks) && !self.is_open {
            self.fail_all(now, &Error::StorageStalled);
            let openings = match &mut self.log.phase {
                Phase::Appending(append) => append.take_openings(),
                _ => Vec::new(),
            };
            for request in openings {
                self.reply(request, Err(Error::StorageStalled));
            }
        }
    }

    /// Reads or appends, if one of them is to be done and nothing is under way.
    pub(crate) fn advance_log(&mut self, now: Now) {
        self.log.is_tail_wanted |= self.log.health.takes_retry(now);
        self.note_retry(now);
        if let (Phase::Idle | Phase::Unread, None, Some(error)) =
            (&self.log.phase, &self.log.unsure, self.log.health.rests(now).cloned())
        {
            return self.fail_all(now, &error);
        }
        if let Phase::Folding { .. } = self.log.phase {
            self.go_on_folding(now);
        }
        while let Phase::Idle = self.log.phase {
            if self.log.wants_reread {
                self.begin_over();
                break;
            }
            self.advance_asked(now);
            self.advance_mending();
            let rows = self.log.take_heard(self.state.writers.first().copied());
            if !rows.is_empty() {
                self.log.phase = Phase::Folding { rows, is_last: true };
                self.go_on_folding(now);
            } else if self.log.is_tail_wanted {
                self.log.phase = Phase::Unread;
            } else if self.log.queue.is_empty() || !self.is_next_in_memory() || !self.append(now) {
                break;
            }
        }
        if let Phase::Unread = self.log.phase {
            // After a failure the tail is read again only for somebody.
            let is_wanted = self.log.is_tail_wanted
                || !self.log.queue.is_empty()
                || self.log.unsure.is_some()
                || (self.log.root.is_none() && self.loader.is_wanted());
            if self.log.health.error.is_none() || is_wanted {
                self.read();
            }
        }
    }

    /// Whether all is in memory that the next row will be decided on; then queries know it.
    fn is_next_in_memory(&mut self) -> bool {
        if self.absent.is_empty() && !self.collections.is_any_filling() {
            return true;
        }
        if self.is_blocked() {
            return false;
        }
        let is_sync = matches!(self.log.queue.front(), Some(Job::Sync(_)));
        let jobs = self.log.queue.iter().take(if is_sync { 1 } else { usize::MAX });
        let needs: Vec<Need> = jobs.flat_map(|job| self.needs_of_job(job)).collect();
        if !self.has_all(&needs) {
            return false;
        }
        if self.collections.is_any_filling() {
            // Only writes look at what queries know.
            let is_write = |job: &&Job| matches!(job, Job::Write { .. } | Job::Asked);
            let looks_at = self.log.queue.iter().filter(is_write).flat_map(|job| self.needs_of_job(job));
            for need in looks_at.collect::<Vec<_>>() {
                if let Need::Object(object) = &need {
                    self.show_rest(object);
                }
            }
        }
        true
    }

    /// What the next row was to be decided on cannot be read.
    pub(crate) fn fail_blocked(&mut self, now: Now, error: Error) {
        match self.log.phase {
            Phase::Folding { .. } => self.fail_read(now, error),
            Phase::Idle => {
                self.log.health.fail(now, error.clone());
                self.fail_all(now, &error);
            }
            _ => {}
        }
    }

    /// Builds a row of what waits and appends it. False when nothing is left to do.
    fn append(&mut self, now: Now) -> bool {
        self.open_if_lost();
        if let Some(Job::Write { .. } | Job::Migrate { .. } | Job::Sync(_)) = self.log.queue.front() {
            self.mend_first();
        }
        let append = match self.log.queue.front() {
            Some(Job::Sync(_)) => self.decide_next_sync_job(now),
            Some(Job::Mend) => {
                let jobs = self.log.queue.pop_front().into_iter().collect();
                let events = self.decide_mending(now);
                Some(Append::of(self.row(events), jobs, Vec::new()))
            }
            Some(Job::Migrate { .. }) => self.decide_next_migration(),
            _ => Some(self.decide_next_writes(now)),
        };
        let Some(mut append) = append else { return true };
        if has(Defect::PromiseTooEarly) {
            for (request, reply) in std::mem::take(&mut append.replies) {
                self.reply(request, reply);
            }
        }
        if append.row.events.is_empty() {
            self.finish(now, append, &Folded::default());
            return true;
        }
        match append.row.encode() {
            Ok(bytes) => {
                let number = append.row.number;
                append.bytes = bytes.len();
                if bytes.len() <= MOST_SENT_ALONG {
                    append.copy.clone_from(&bytes);
                }
                self.log.phase = Phase::Appending(append);
                self.outputs.push_back(Output::Append { append: number, key: self.log.folded + 1, bytes });
            }
            Err(error) => self.fail_jobs(now, append.jobs, &too_large(error)),
        }
        true
    }

    /// Has the database made first of all, where another one was lost.
    fn open_if_lost(&mut self) {
        if std::mem::take(&mut self.log.must_open) {
            self.log.push_first(Job::Open { request: None });
        }
    }

    /// A step of the sync has a row of its own: it is decided on what is folded, not on what is staged.
    fn decide_next_sync_job(&mut self, now: Now) -> Option<Append> {
        let Some(Job::Sync(job)) = self.log.queue.pop_front() else { return None };
        let events = match self.decide_sync(now, &job) {
            Decision::Events(events) => events,
            Decision::Nothing => {
                self.handle_sync_job_done(now, job, Some(&Folded::default()));
                return None;
            }
            Decision::Late => {
                self.handle_sync_job_done(now, job, None);
                return None;
            }
        };
        Some(Append::of(self.row(events), vec![Job::Sync(job)], Vec::new()))
    }

    /// A row that is to be appended.
    fn row(&mut self, events: Vec<Event>) -> Row {
        Row { tab: self.tab, number: self.log.number(), events }
    }

    /// A portion of a migration has a row of its own, too.
    fn decide_next_migration(&mut self) -> Option<Append> {
        let job = self.log.queue.pop_front()?;
        let Job::Migrate { request, migration } = &job else { return None };
        let decided = self.decide_migration(migration);
        let reply = decided.as_ref().map(|event| Reply::Existed(event.is_some())).map_err(Clone::clone);
        let (request, events) = (*request, decided.ok().flatten().into_iter().collect());
        Some(Append::of(self.row(events), vec![job], vec![(request, reply)]))
    }

    /// All writes that wait go into one row, each decided on top of those before it.
    fn decide_next_writes(&mut self, now: Now) -> Append {
        let mut jobs = Vec::new();
        let (mut replies, mut untold) = (Vec::new(), Vec::new());
        self.collections.prepare_unique();
        let Self { state, config, collections, random, log, .. } = self;
        let mut staged = Staged::new(state, config, collections, random, now.wall);
        while staged.bytes <= ROW_BYTES_WANTED
            && let Some(job) = log.queue.pop_front_if(|job| job.fits_behind(staged.events.is_empty()))
        {
            match &job {
                Job::Write { request, command } => replies.push((*request, staged.decide(command))),
                Job::Open { request } => {
                    staged.open();
                    replies.extend(request.map(|request| (request, Ok(Reply::Done))));
                }
                Job::Asked => decide_asked(state, config, &mut staged, &mut untold),
                Job::Ask(_) | Job::Answer { .. } | Job::Migrate { .. } | Job::Sync(_) | Job::Mend => {}
            }
            jobs.push(job);
        }
        let events = staged.events;
        Append { untold, ..Append::of(self.row(events), jobs, replies) }
    }

    /// The row is durable: it is folded, and those who waited for it are told.
    pub(crate) fn handle_appended(&mut self, now: Now, append: u64) {
        let Some(mut append) = self.take_append(append) else { return };
        let copy = std::mem::take(&mut append.copy);
        self.log.folded += 1;
        self.log.attempts = 0;
        self.log.health.writes();
        self.log.phase = Phase::Idle;
        let key = self.log.folded;
        let after = self.state.writers.first().copied();
        let folded = fold(&mut self.state, key, &append.row);
        self.note_change(&append.row);
        self.note_tail(append.bytes);
        let begins_over = self.follow_mended(now, &folded, true);
        self.show(&folded);
        self.note_writes(now, &append.row, &folded);
        self.tell(&folded, true);
        self.answer_early(&folded);
        self.finish(now, append, &folded);
        if begins_over {
            self.begin_over();
        }
        self.outputs.push_back(Output::Announce(Announcement::Rows { key, after, bytes: copy }));
    }

    /// Another tab was first, or nobody knows: the tail will tell.
    pub(crate) fn handle_append_unsure(&mut self, now: Now, append: u64, why: Unmade) {
        let Some(append) = self.take_append(append) else { return };
        if let (true, Some(error)) = (has(Defect::UnknownTakenAsFailed), why.error()) {
            let failed = Error::StorageFailed(error.to_string());
            self.log.want_tail();
            self.log.phase = Phase::Idle;
            return self.fail_jobs(now, append.jobs, &failed);
        }
        self.log.attempts += 1;
        self.log.health.error = why.error().cloned();
        self.log.unsure = Some(Unsure { append, why });
        self.log.phase = Phase::Unread;
    }

    /// The row is not in the log, and will not be.
    pub(crate) fn handle_append_failed(&mut self, now: Now, append: u64, error: Error) {
        let Some(append) = self.take_append(append) else { return };
        self.log.phase = Phase::Idle;
        self.log.health.fail_append(now, error.clone());
        if append.jobs.iter().any(|job| matches!(job, Job::Mend)) {
            // Nothing is written before what is lost is; opening needs no row.
            let queue = std::mem::take(&mut self.log.queue);
            let (opening, others): (Vec<Job>, Vec<Job>) =
                queue.into_iter().partition(|job| matches!(job, Job::Open { .. }));
            self.log.queue = opening.into();
            self.fail_jobs(now, others, &error);
            self.fail_early(&error);
        }
        self.fail_jobs(now, append.jobs, &error);
        if self.log.must_open {
            // Nothing can be written before it.
            self.fail_all(now, &error);
        }
        if let Error::Cleared = error {
            self.start_over(now);
        }
    }

    fn take_append(&mut self, number: u64) -> Option<Append> {
        match std::mem::take(&mut self.log.phase) {
            Phase::Appending(append) if append.row.number == number => Some(append),
            other => {
                self.log.phase = other;
                None
            }
        }
    }

    /// Puts the jobs of an append that was not made back in front, to be decided on what the tail brought.
    fn requeue(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.log.queue.push_front(job);
        }
    }

    /// Everybody who waits for the log is told that it fails.
    pub(crate) fn fail_all(&mut self, now: Now, error: &Error) {
        if let Some(Unsure { append, why }) = self.log.unsure.take() {
            let told = match why {
                Unmade::Unknown(_) => Error::StorageUnknown(error.to_string()),
                Unmade::Behind(_) => error.clone(),
            };
            self.fail_jobs(now, append.jobs, &told);
        }
        let waiting = std::mem::take(&mut self.log.queue).into();
        self.fail_jobs(now, waiting, error);
        self.fail_early(error);
        self.fail_wants(error);
    }

    pub(crate) fn fail_jobs(&mut self, now: Now, jobs: Vec<Job>, error: &Error) {
        for job in jobs {
            match job {
                Job::Open { request: Some(request) }
                | Job::Write { request, .. }
                | Job::Migrate { request, .. }
                | Job::Ask(Asker::Here(request))
                | Job::Answer { request, .. } => self.reply(request, Err(error.clone())),
                Job::Ask(Asker::Tab { tab, ask }) => {
                    let result = Err(error.clone());
                    self.outputs.push_back(Output::Announce(Announcement::Synced { tab, ask, result }));
                }
                Job::Sync(job) => self.handle_sync_job_failed(now, &job, error.clone()),
                Job::Mend => self.mend_again(),
                Job::Asked => self.fail_early(error),
                Job::Open { request: None } => self.log.must_open = true,
            }
        }
    }

    /// Answers those whose jobs are in a folded row.
    pub(super) fn finish(&mut self, now: Now, append: Append, folded: &Folded) {
        for (request, reply) in append.replies {
            self.reply(request, reply);
        }
        for report in append.untold {
            self.outputs.push_back(Output::Notice(Notice::Error(report)));
        }
        for job in append.jobs {
            match job {
                Job::Sync(job) => self.handle_sync_job_done(now, job, Some(folded)),
                Job::Ask(asker) => self.ask_sync(now, asker),
                Job::Answer { request, result } => self.reply(request, result.map(Reply::Synced)),
                Job::Open { .. } => self.is_open = true,
                Job::Mend => self.mend_again(),
                Job::Write { .. } | Job::Migrate { .. } | Job::Asked => {}
            }
        }
    }

    /// Starts the debounce of the objects that were written to. A decision counts even where it records nothing: what waited
    /// behind it may go now.
    fn note_writes(&mut self, now: Now, row: &Row, folded: &Folded) {
        let is_write = |event: &Event| matches!(event, Event::Decided { .. }) || !event.recorded().is_empty();
        if row.events.iter().any(is_write) {
            for (object, _) in folded.touched.iter().filter(|(object, _)| self.config.pushes(object)) {
                self.sync.debounce.wrote(object, now.monotonic);
            }
        }
    }
}

fn too_large(error: FormatError) -> Error {
    match error {
        FormatError::TooLarge => ProtocolError::ValueTooLarge.into(),
        other => Error::Internal(other.to_string()),
    }
}
