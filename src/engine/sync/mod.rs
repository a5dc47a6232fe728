//! The sync state machine of the tab that leads: plan, freeze, send, receive, again until drained.

pub(crate) mod answer;
pub(crate) mod job;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod realtime;
pub(crate) mod request;
pub(crate) mod schedule;
pub(crate) mod takeover;
pub(crate) mod trial;

use std::time::Duration;

use objectql_sync_protocol::Sequence;
use objectql_sync_protocol::defect::{Defect, has};

use self::answer::Features;
use self::job::SyncJob;
use self::progress::SyncReport;
use self::request::{Attempt, Sent};
use self::schedule::Debounce;
use self::takeover::Watch;
use self::trial::{Step, Trial};
use super::log::Job;
use super::row::TabId;
use super::{Announcement, Engine, Now, Output, Reply, RequestId};
use crate::error::Error;

/// The most mutations of a request as long as the server did not say otherwise.
const DEFAULT_MAX_MUTATIONS: usize = 100;
/// How long a tab waits for the leader to answer its `sync()`, before it gives up.
const LEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// A tab that becomes visible pulls if the last sync is longer ago than this.
const FRESH: Duration = Duration::from_secs(2);

/// The state of syncing in this tab.
#[derive(Debug)]
pub(crate) struct Sync {
    /// Whether this tab is the one that syncs: it holds the lock, or was elected.
    pub(crate) is_leader: bool,
    /// How often the lead was won or lost: what was begun in another term decides nothing in this one.
    term: u64,
    pub(crate) phase: Phase,
    /// Whether a cycle is under way: it goes on until it is drained or fails.
    is_cycling: bool,
    /// The cycle is drained when nothing up to here can be sent.
    target: Sequence,
    waiters: Vec<Waiter>,
    /// The `sync()` calls of this tab that the leader in another tab was asked for.
    asked: Vec<Asked>,
    failures: u32,
    /// How often the server forgot our checkpoint since it last took one.
    resets: u32,
    /// How often the client id turned out to be somebody else's since the server last took one.
    renames: u32,
    /// What the server does; none until it said so, or said nothing.
    features: Option<Features>,
    /// Whether the server took one of our own mutations for somebody else's.
    is_one_per_record: bool,
    trial: Trial,
    pub(crate) watch: Watch,
    /// The number of the last election that was heard of, which is that of the leader; none where a Web Lock decides.
    pub(crate) election: Option<u64>,
    pub(crate) error: Option<Error>,
    pub(crate) last_done: Option<Now>,
    /// How many mutations the server said it takes in one request.
    server_takes: usize,
    /// How many it turned out to take, after one that was too large.
    shrunk_to: usize,
    pub(crate) debounce: Debounce,
    report: SyncReport,
    /// When the cycle began.
    began: Duration,
    next_send: u64,
    next_ask: u64,
    /// How many answers came too late to be used.
    pub(crate) stale_answers: u32,
}

/// What the sync is doing.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nothing; the next step is decided by `advance_sync`.
    Idle,
    /// The lock was won, and the log is read to its end: what an earlier leader settled must not be sent again.
    CatchingUp,
    /// The row that freezes the batch is being written.
    Freezing,
    /// A request is under way.
    Sending(Sent),
    /// The row of an answer, or of the start of a reset, is being written.
    Receiving,
    /// After a failure; none: until somebody asks.
    Waiting { until: Option<Now>, is_unauthorized: bool },
}

/// Who called `sync()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// This tab.
    Here(RequestId),
    /// Another tab.
    Tab { tab: TabId, ask: u64 },
}

#[derive(Debug)]
struct Waiter {
    asker: Asker,
    /// The call is answered by a cycle whose last request is this one or a later one.
    from_send: u64,
}

#[derive(Debug)]
struct Asked {
    request: RequestId,
    ask: u64,
    until: Duration,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            is_leader: false,
            term: 0,
            phase: Phase::Idle,
            is_cycling: false,
            target: Sequence::default(),
            waiters: Vec::new(),
            asked: Vec::new(),
            failures: 0,
            resets: 0,
            renames: 0,
            features: None,
            is_one_per_record: false,
            trial: Trial::default(),
            watch: Watch::default(),
            election: None,
            error: None,
            last_done: None,
            server_takes: DEFAULT_MAX_MUTATIONS,
            shrunk_to: usize::MAX,
            debounce: Debounce::default(),
            report: SyncReport::default(),
            began: Duration::ZERO,
            next_send: 1,
            next_ask: 1,
            stale_answers: 0,
        }
    }
}

impl Engine {
    /// A `sync()` of this tab, once everything written before it is in the log.
    pub(crate) fn ask_sync(&mut self, now: Now, asker: Asker) {
        if self.config.sync.is_none() {
            if let Asker::Here(request) = asker {
                self.reply(request, Err(Error::SyncOff));
            }
            return;
        }
        match asker {
            _ if self.sync.is_leader => self.wait_for_cycle(now, asker),
            Asker::Here(request) => {
                let ask = self.sync.next_ask;
                self.sync.next_ask += 1;
                self.sync.asked.push(Asked { request, ask, until: now.monotonic + LEADER_TIMEOUT });
                self.outputs.push_back(Output::Announce(Announcement::SyncWanted { tab: self.tab, ask }));
            }
            // The leader hears it too.
            Asker::Tab { .. } => {}
        }
    }

    fn wait_for_cycle(&mut self, now: Now, asker: Asker) {
        // A request that has left may have been answered before the last write: only the next one will do.
        self.sync.waiters.push(Waiter { asker, from_send: self.sync.next_send });
        self.begin_cycle(now);
        self.stop_waiting();
    }

    /// The leader in another tab answered a `sync()` of this one. The call is answered when this tab has read what that sync did:
    /// the announcement may be faster than the rows.
    pub(crate) fn handle_synced(&mut self, ask: u64, result: Result<SyncReport, Error>) {
        self.sync.watch.unanswered = 0;
        if let Some(place) = self.sync.asked.iter().position(|asked| asked.ask == ask) {
            let asked = self.sync.asked.remove(place);
            self.log.want_tail();
            self.log.push(Job::Answer { request: asked.request, result });
        }
    }

    /// The lead was won or lost.
    pub(crate) fn handle_leader(&mut self, is_leader: bool) {
        if self.sync.is_leader == is_leader {
            return;
        }
        self.sync.is_leader = is_leader;
        self.sync.term += 1;
        self.sync.trial = Trial::default();
        if is_leader {
            // Other followers may be about to rob the lock, too.
            self.say_alive();
            self.sync.phase = Phase::CatchingUp;
            // What is read for the first time is as new, and whoever opens the database waits for it.
            if self.is_open {
                self.log.want_tail();
            }
            self.log.push(Job::Sync(SyncJob::Lead { term: self.sync.term }));
        } else {
            self.sync.phase = Phase::Idle;
            let error = Error::Network("another tab took over syncing: call sync() again".to_owned());
            self.end_cycle(&Err(error), u64::MAX);
        }
    }

    /// Another database takes the place of the one that was synced.
    pub(crate) fn start_syncing_over(&mut self) {
        let is_leader = std::mem::replace(&mut self.sync.is_leader, false);
        self.end_cycle(&Err(Error::Cleared), u64::MAX);
        self.sync.phase = Phase::Idle;
        self.sync.last_done = None;
        self.handle_leader(is_leader);
    }

    fn lead(&mut self, now: Now) {
        for asked in std::mem::take(&mut self.sync.asked) {
            self.wait_for_cycle(now, Asker::Here(asked.request));
        }
        // What an earlier leader left half done, and what was written in an earlier session, does not wait.
        if self.is_automatic() {
            self.begin_cycle(now);
        }
    }

    /// Something happened after which it is worth trying at once: the network came back, the page is looked at again.
    pub(crate) fn nudge_sync(&mut self, now: Now) {
        let is_fresh =
            self.sync.last_done.is_some_and(|done| now.monotonic.saturating_sub(done.monotonic) < FRESH);
        // After a failure it always is.
        let is_waiting = matches!(self.sync.phase, Phase::Waiting { .. });
        if self.is_automatic() && (is_waiting || !is_fresh) {
            self.begin_cycle(now);
            self.stop_waiting();
        }
    }

    /// The server's records are to be collected anew.
    pub(crate) fn pull_anew(&mut self, now: Now) {
        if self.sync.is_leader && self.is_automatic() {
            self.begin_cycle(now);
            self.stop_waiting();
        }
    }

    /// Whether this tab is the one that syncs. One with an older release of the app, or without the key by which all is sealed by now, sends
    /// nothing any more, and lets others take the lock.
    pub(crate) fn leads(&self) -> bool {
        let is_outdated = matches!(
            self.log.health.error,
            Some(Error::StorageOutdated | Error::DefinitionOutdated(_) | Error::WrongKey)
        );
        self.sync.is_leader && !is_outdated
    }

    fn is_automatic(&self) -> bool {
        self.config.sync.is_some_and(|sync| sync.is_automatic)
    }

    fn begin_cycle(&mut self, now: Now) {
        if !std::mem::replace(&mut self.sync.is_cycling, true) {
            self.sync.began = now.monotonic;
        }
        self.sync.target = self.state.last_sequence;
        // What waited goes with this cycle, or cannot go: a due debounce that stays would begin one cycle after the other.
        self.sync.debounce.clear();
    }

    pub(crate) fn stop_waiting(&mut self) {
        if let Phase::Waiting { .. } = self.sync.phase {
            self.sync.phase = Phase::Idle;
        }
    }

    /// When something is to be done without a further input.
    pub(crate) fn next_sync_wake(&self) -> Option<Duration> {
        let asked = self.sync.asked.iter().map(|asked| asked.until).min();
        let own = match self.sync.phase {
            _ if !self.can_sync() => None,
            Phase::Waiting { until, .. } => until.map(|until| until.monotonic),
            Phase::Idle if self.is_automatic() => {
                [self.sync.debounce.due(&self.config), self.poll_due()].into_iter().flatten().min()
            }
            _ => None,
        };
        [asked, own, self.next_ping()].into_iter().flatten().min()
    }

    fn can_sync(&self) -> bool {
        self.config.sync.is_some() && self.leads() && self.is_open && !self.is_migrating()
    }

    fn poll_due(&self) -> Option<Duration> {
        let interval = self.config.sync?.poll_interval?;
        Some(self.sync.last_done?.monotonic.saturating_add(interval))
    }

    /// Takes the next step, if there is one to take.
    pub(crate) fn advance_sync(&mut self, now: Now) {
        self.give_up_asking(now);
        self.watch_leader(now);
        if !self.can_sync() {
            return;
        }
        if let Phase::Waiting { until: Some(until), .. } = self.sync.phase
            && until.monotonic <= now.monotonic
        {
            self.sync.phase = Phase::Idle;
            self.begin_cycle(now);
        }
        // Where all of the log is read again, what is folded is what there was some time ago.
        if !matches!(self.sync.phase, Phase::Idle) || !self.log.is_read() {
            return;
        }
        // What takes part from now on brings its local records along.
        if self.state.subscriptions != Some(self.config.subscriptions()) {
            return self.want(SyncJob::Subscribe { term: self.sync.term });
        }
        let is_due = |time: Option<Duration>| time.is_some_and(|time| time <= now.monotonic);
        if !self.sync.is_cycling
            && self.is_automatic()
            && (is_due(self.sync.debounce.due(&self.config))
                || is_due(self.poll_due())
                || self.realtime.is_rung)
        {
            self.begin_cycle(now);
        }
        if self.sync.is_cycling {
            self.take_step(now);
        }
    }

    /// The next request of a cycle, or what has to be in the log before it.
    fn take_step(&mut self, now: Now) {
        if self.state.snapshot.is_some() {
            return self.send(now, Vec::new(), Attempt::FIRST);
        }
        let frozen = self.state.frozen.clone();
        if frozen.is_empty() {
            if plan::next(&self.state, &self.config, self.sync.trial.aside()).is_some() {
                self.sync.phase = Phase::Freezing;
                self.log.push(Job::Sync(SyncJob::Freeze { term: self.sync.term }));
            } else {
                self.send(now, Vec::new(), Attempt::FIRST);
            }
            return;
        }
        let step = self.sync.trial.step(&frozen);
        if step == Step::Halve {
            self.sync.trial.halve();
            self.sync.shrunk_to = (frozen.len() / 2).max(1);
        }
        let may_go = |sequence: &Sequence| {
            self.state.pending.get(sequence).is_none_or(|it| self.config.pushes(&it.recorded.object))
        };
        match step {
            // A server that may not know a repeat could apply it twice. What it did shows in its changes.
            _ if !self.is_idempotent() => self.send(now, Vec::new(), Attempt::PROBE),
            // An object among them takes no part any more.
            Step::Again if !frozen.iter().all(may_go) => self.thaw(frozen),
            Step::Again if has(Defect::FreezeSkipped) => {
                let sendable = plan::plan(&self.state, &self.config, self.limits());
                self.send(now, sendable, Attempt::AGAIN);
            }
            Step::Again => self.send(now, frozen, Attempt::AGAIN),
            Step::Halve => self.thaw(frozen),
            Step::Pull => self.send(now, Vec::new(), Attempt::FIRST),
        }
    }

    fn give_up_asking(&mut self, now: Now) {
        let (late, waiting) =
            std::mem::take(&mut self.sync.asked).into_iter().partition(|asked| asked.until <= now.monotonic);
        self.sync.asked = waiting;
        for asked in late {
            self.reply(asked.request, Err(Error::Network("the tab that syncs does not answer".to_owned())));
        }
    }

    /// The attempt failed; nothing is lost, and another one follows by itself.
    pub(crate) fn fail_sync(&mut self, now: Now, error: Error, retry_after: Option<Duration>) {
        self.sync.failures = self.sync.failures.saturating_add(1);
        self.sync.error = Some(error.clone());
        let wait = schedule::backoff(self.sync.failures, retry_after, &mut self.random);
        let until = (self.is_automatic() && !has(Defect::RetryForgotten)).then(|| now.after(wait));
        self.sync.phase = Phase::Waiting { until, is_unauthorized: false };
        self.end_cycle(&Err(error), u64::MAX);
    }

    fn end_cycle(&mut self, result: &Result<SyncReport, Error>, last_send: u64) {
        self.sync.is_cycling = false;
        self.answer_waiters(result, last_send);
        self.sync.report = SyncReport::default();
    }

    fn answer_waiters(&mut self, result: &Result<SyncReport, Error>, last_send: u64) {
        let (done, waiting) = std::mem::take(&mut self.sync.waiters)
            .into_iter()
            .partition(|waiter| waiter.from_send <= last_send);
        self.sync.waiters = waiting;
        for waiter in done {
            if has(Defect::SyncUnanswered) {
                continue;
            }
            match waiter.asker {
                Asker::Here(request) => self.reply(request, result.clone().map(Reply::Synced)),
                Asker::Tab { tab, ask } => {
                    let result = result.clone();
                    self.outputs.push_back(Output::Announce(Announcement::Synced { tab, ask, result }));
                }
            }
        }
    }

    fn finish_if_drained(&mut self, now: Now, last_send: u64) {
        let next = plan::next(&self.state, &self.config, self.sync.trial.aside());
        let has_more = self.state.is_behind
            || self.state.snapshot.is_some()
            || !self.state.frozen.is_empty()
            || next.is_some_and(|sequence| sequence <= self.sync.target);
        if has_more {
            return;
        }
        self.sync.last_done = Some(now);
        let duration = now.monotonic.saturating_sub(self.sync.began).as_millis();
        self.sync.report.duration_ms = u64::try_from(duration).unwrap_or(u64::MAX);
        self.end_cycle(&Ok(self.sync.report), last_send);
        self.sync.is_cycling = !self.sync.waiters.is_empty();
    }
}
