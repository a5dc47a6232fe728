//! The sync state machine of the tab that leads: plan, freeze, send, receive, again until drained.

pub(crate) mod answer;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod realtime;
pub(crate) mod schedule;
pub(crate) mod takeover;
pub(crate) mod trial;

use std::time::Duration;

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{Checkpoint, ClientId, PushRequest, Sequence, Timestamp};

use self::answer::{Answer, Counts, Features, Meaning};
use self::plan::Limits;
use self::progress::{SyncProgress, SyncReport};
use self::schedule::Debounce;
use self::takeover::Watch;
use self::trial::{Outcome as TrialOutcome, Step, Trial};
use super::command::Staged;
use super::fold::{Folded, Outcome};
use super::log::Job;
use super::row::{Event, Received, TabId, Verdict};
use super::{Announcement, Engine, Notice, Now, Output, Reply, RequestId};
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
    /// Whether this tab holds the lock.
    pub(crate) is_leader: bool,
    /// How often the lock was won or lost: what was begun in another term decides nothing in this one.
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

/// A request under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) send: u64,
    pub(crate) batch: Vec<Sequence>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) generation: u64,
    pub(crate) is_snapshot: bool,
    pub(crate) at: Timestamp,
    pub(crate) term: u64,
    pub(crate) attempt: Attempt,
}

/// The how-manieth try of a batch a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Whether the batch may have been sent, and applied, before.
    pub(crate) is_repeat: bool,
    /// Whether the frozen batch stays here, because the server may not know a repeat: what it applied shows in its changes.
    pub(crate) is_probe: bool,
    /// Whether the credentials were asked for again after a refusal.
    pub(crate) is_second_try: bool,
}

impl Attempt {
    const FIRST: Self = Self { is_repeat: false, is_probe: false, is_second_try: false };
    const AGAIN: Self = Self { is_repeat: true, ..Self::FIRST };
    const PROBE: Self = Self { is_probe: true, ..Self::FIRST };
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

/// What the sync wants in the log. Decided when the row is made, so that what another tab did meanwhile counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SyncJob {
    /// Wants nothing but its place behind everything that is in the log.
    Lead {
        term: u64,
    },
    Freeze {
        term: u64,
    },
    Receive {
        sent: Sent,
        received: Box<Received>,
        counts: Counts,
    },
    /// Nothing of the frozen batch was applied, or the server knows a repeat: another batch follows.
    Thaw {
        term: u64,
        batch: Vec<Sequence>,
    },
    BeginReset {
        sent: Sent,
    },
    /// Another database writes under our client id.
    Rename {
        sent: Sent,
    },
    /// Other objects take part in sync than when that was last looked at.
    Subscribe {
        term: u64,
    },
}

/// What comes of a sync job when its row is made.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It came too late.
    Late,
    /// It is done; there is nothing to write down.
    Nothing,
    /// It is done when these are in the log.
    Events(Vec<Event>),
}

impl SyncJob {
    fn term(&self) -> u64 {
        match self {
            Self::Lead { term }
            | Self::Freeze { term }
            | Self::Thaw { term, .. }
            | Self::Subscribe { term } => *term,
            Self::Receive { sent, .. } | Self::BeginReset { sent } | Self::Rename { sent } => sent.term,
        }
    }
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
        self.handle_alive();
        if let Some(place) = self.sync.asked.iter().position(|asked| asked.ask == ask) {
            let asked = self.sync.asked.remove(place);
            self.log.want_tail();
            self.log.push(Job::Answer { request: asked.request, result });
        }
    }

    /// The lock was won or lost.
    pub(crate) fn handle_leader(&mut self, is_leader: bool) {
        if self.sync.is_leader == is_leader {
            return;
        }
        self.sync.is_leader = is_leader;
        self.sync.term += 1;
        self.sync.trial = Trial::default();
        if is_leader {
            // Other followers may be about to rob the lock, too.
            self.outputs.push_back(Output::Announce(Announcement::Alive));
            self.sync.phase = Phase::CatchingUp;
            self.log.want_tail();
            self.log.push(Job::Sync(SyncJob::Lead { term: self.sync.term }));
        } else {
            self.sync.phase = Phase::Idle;
            let error = Error::Network("another tab took over syncing: call sync() again".to_owned());
            self.end_cycle(&Err(error), u64::MAX);
        }
    }

    fn lead(&mut self, now: Now) {
        if self.config.sync.is_some() && self.state.subscriptions != Some(self.config.subscriptions()) {
            return self.want(SyncJob::Subscribe { term: self.sync.term });
        }
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
            _ if !self.sync.is_leader || self.config.sync.is_none() => None,
            Phase::Waiting { until, .. } => until.map(|until| until.monotonic),
            Phase::Idle if self.is_automatic() => {
                [self.sync.debounce.due(&self.config), self.poll_due()].into_iter().flatten().min()
            }
            _ => None,
        };
        [asked, own, self.next_ping()].into_iter().flatten().min()
    }

    fn poll_due(&self) -> Option<Duration> {
        let interval = self.config.sync?.poll_interval?;
        Some(self.sync.last_done?.monotonic.saturating_add(interval))
    }

    /// Takes the next step, if there is one to take.
    pub(crate) fn advance_sync(&mut self, now: Now) {
        self.give_up_asking(now);
        self.watch_leader(now);
        if self.config.sync.is_none() || !self.sync.is_leader || !self.is_open {
            return;
        }
        if let Phase::Waiting { until: Some(until), .. } = self.sync.phase
            && until.monotonic <= now.monotonic
        {
            self.sync.phase = Phase::Idle;
            self.begin_cycle(now);
        }
        if !matches!(self.sync.phase, Phase::Idle) {
            return;
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
        if self.state.subscriptions != Some(self.config.subscriptions()) {
            return self.want(SyncJob::Subscribe { term: self.sync.term });
        }
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

    /// Whether the server is known to know a repeat.
    fn is_idempotent(&self) -> bool {
        self.sync.features.is_some_and(|features| features.is_idempotent)
    }

    fn thaw(&mut self, batch: Vec<Sequence>) {
        self.want(SyncJob::Thaw { term: self.sync.term, batch });
    }

    fn give_up_asking(&mut self, now: Now) {
        let (late, waiting) =
            std::mem::take(&mut self.sync.asked).into_iter().partition(|asked| asked.until <= now.monotonic);
        self.sync.asked = waiting;
        for asked in late {
            self.reply(asked.request, Err(Error::Network("the tab that syncs does not answer".to_owned())));
        }
    }

    fn send(&mut self, now: Now, batch: Vec<Sequence>, attempt: Attempt) {
        let Some(client_id) = &self.state.client_id else { return };
        let mutations = plan::to_wire(&self.state, &batch);
        let checkpoint = self.state.request_checkpoint();
        let request = PushRequest { client_id, mutations: &mutations, last_checkpoint: checkpoint };
        let body = request.to_json().into_bytes();
        let send = self.sync.next_send;
        self.sync.next_send += 1;
        self.sync.report.requests += 1;
        self.sync.report.bytes += body.len() as u64;
        // Its answer will hold what was committed before; a ring that comes from now on asks for one more.
        self.realtime.is_rung = false;
        self.sync.phase = Phase::Sending(Sent {
            send,
            batch,
            checkpoint: checkpoint.cloned(),
            generation: self.state.generation,
            is_snapshot: self.state.snapshot.is_some(),
            at: now.wall,
            term: self.sync.term,
            attempt,
        });
        self.outputs.push_back(Output::Send { send, body });
    }

    /// The request under way, if it is this one.
    fn take_sent(&mut self, send: u64) -> Option<Sent> {
        match std::mem::replace(&mut self.sync.phase, Phase::Idle) {
            Phase::Sending(sent) if sent.send == send => Some(sent),
            other => {
                self.sync.phase = other;
                None
            }
        }
    }

    pub(crate) fn handle_send_failed(&mut self, now: Now, send: u64, error: Error) {
        if self.take_sent(send).is_some() {
            self.fail_sync(now, error, None);
        }
    }

    pub(crate) fn handle_answer(&mut self, now: Now, send: u64, answer: &Answer) {
        let Some(sent) = self.take_sent(send) else { return };
        self.sync.report.bytes += answer.body.len() as u64;
        if let Some(max) = answer.max_mutations.filter(|max| *max > 0) {
            self.sync.server_takes = max;
        }
        let meaning = answer::read(answer, &sent, &self.state, &self.config, now.wall);
        // An error may come from a proxy, which says nothing of the server behind it.
        if answer.features != Features::default() || matches!(meaning, Meaning::Fold(..)) {
            self.sync.features = Some(answer.features);
        }
        let retry_after = answer.retry_after.map(|after| after.wait_from(now.wall));
        match meaning {
            Meaning::Fold(received, counts) => self.want(SyncJob::Receive { sent, received, counts }),
            // A server that does not even know the beginning would be asked in a loop.
            Meaning::Reset if sent.checkpoint.is_none() => {
                let detail = "the server refuses a request without a checkpoint".to_owned();
                self.fail_sync(now, Error::HttpStatus { status: answer.status, detail }, None);
            }
            Meaning::Reset => self.want(SyncJob::BeginReset { sent }),
            Meaning::Cloned if self.sync.renames > 1 => {
                self.fail_sync(now, Error::ClientIdCloned, retry_after)
            }
            Meaning::Cloned => self.want(SyncJob::Rename { sent }),
            Meaning::Unauthorized if sent.attempt.is_second_try => self.fail_unauthorized(answer.status),
            // The shell asks the app for its headers before every request: once more may bring a fresh token.
            Meaning::Unauthorized => {
                self.send(now, sent.batch, Attempt { is_second_try: true, ..sent.attempt })
            }
            Meaning::TooLarge(reason) => self.handle_too_large(now, sent, reason),
            Meaning::TooMany { takes } => {
                self.sync.server_takes = takes;
                self.thaw(sent.batch);
            }
            Meaning::Refused { error, is_final } => {
                self.handle_refused(now, sent, error, is_final, retry_after);
            }
            Meaning::Failed(error) => self.fail_sync(now, error, retry_after),
        }
    }

    /// The request was refused as a whole, perhaps for one of its mutations.
    fn handle_refused(
        &mut self,
        now: Now,
        sent: Sent,
        error: Error,
        is_final: bool,
        retry_after: Option<Duration>,
    ) {
        let Some(only) = sent.batch.first().copied() else { return self.fail_sync(now, error, retry_after) };
        let mut aside = self.sync.trial.aside().to_vec();
        aside.push(only);
        let has_others = plan::sendable(&self.state, &self.config, &aside).next().is_some();
        match self.sync.trial.refused(&sent.batch, is_final, has_others) {
            TrialOutcome::Quarantine => {
                self.sync.trial.quarantined(only);
                self.sync.shrunk_to = usize::MAX;
                self.reject_alone(sent, only, format!("the server refuses it: {error}"));
            }
            TrialOutcome::Aside => {
                self.sync.shrunk_to = usize::MAX;
                // Of a server that may not know a repeat, the next step finds out first what it did.
                if self.is_idempotent() {
                    self.thaw(sent.batch);
                }
            }
            TrialOutcome::Open if is_final => {}
            TrialOutcome::Open | TrialOutcome::Endpoint => self.fail_sync(now, error, retry_after),
        }
    }

    /// The server will never take that mutation, and said so of the request it was alone in.
    fn reject_alone(&mut self, sent: Sent, only: Sequence, reason: String) {
        let received = Box::new(Received {
            verdicts: vec![(only, Verdict::Rejected { reason })],
            changes: Vec::new(),
            checkpoint: None,
            is_complete: !self.state.is_behind,
            is_snapshot: false,
            is_repeat: false,
            is_probe: false,
            has_echoes: false,
            newest: Timestamp::from_millis(i64::MIN),
            clock_offset_ms: self.state.clock.offset_ms(),
        });
        self.want(SyncJob::Receive { sent, received, counts: Counts { pushed: 1, pulled: 0 } });
    }

    fn want(&mut self, job: SyncJob) {
        self.sync.phase = Phase::Receiving;
        self.log.push(Job::Sync(job));
    }

    /// Halves the batch; a single mutation that is too large will never be taken.
    fn handle_too_large(&mut self, now: Now, sent: Sent, reason: String) {
        match sent.batch.as_slice() {
            [] => self.fail_sync(now, Error::HttpStatus { status: 413, detail: reason }, None),
            [only] => {
                let only = *only;
                self.reject_alone(sent, only, format!("too large for the server: {reason}"));
            }
            batch => {
                self.sync.shrunk_to = batch.len() / 2;
                self.thaw(sent.batch);
            }
        }
    }

    fn fail_unauthorized(&mut self, status: u16) {
        let error = Error::Unauthorized(status);
        self.sync.error = Some(error.clone());
        self.sync.phase = Phase::Waiting { until: None, is_unauthorized: true };
        self.end_cycle(&Err(error), u64::MAX);
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

    fn limits(&self) -> Limits<'_> {
        Limits {
            max_mutations: self.sync.server_takes.min(self.sync.shrunk_to),
            is_one_per_record: self.sync.is_one_per_record,
            aside: self.sync.trial.aside(),
        }
    }

    /// Decides what a sync job puts in the row.
    pub(crate) fn decide_sync(&mut self, now: Now, job: &SyncJob) -> Decision {
        let is_current = |sent: &Sent| self.is_current(sent);
        let event = match job {
            SyncJob::Lead { .. } => None,
            SyncJob::Freeze { term } => {
                let batch = plan::plan(&self.state, &self.config, self.limits());
                let is_free = self.state.frozen.is_empty() && self.state.snapshot.is_none();
                let is_wanted = is_free && *term == self.sync.term && !batch.is_empty();
                is_wanted.then_some(Event::Frozen { batch })
            }
            SyncJob::Receive { sent, received, .. } if is_current(sent) => {
                if self.says_nothing_new(received) {
                    return Decision::Nothing;
                }
                Some(Event::Received(received.clone()))
            }
            SyncJob::Thaw { term, batch } => {
                (*term == self.sync.term && self.state.frozen == *batch).then_some(Event::Thawed)
            }
            SyncJob::BeginReset { sent } if is_current(sent) => {
                Some(Event::ResetBegan { objects: self.config.pulled_objects().collect() })
            }
            SyncJob::Rename { sent } if is_current(sent) => {
                let client_id = ClientId::new(self.random.uuid(now.wall).to_string());
                client_id.ok().map(|client_id| Event::Renamed { client_id })
            }
            SyncJob::Receive { .. } | SyncJob::BeginReset { .. } | SyncJob::Rename { .. } => None,
            SyncJob::Subscribe { term } if *term == self.sync.term => {
                let mut staged = Staged::new(&self.state, &self.config, &mut self.random, now.wall);
                let is_whole = staged.adopt();
                let mut events = staged.events;
                if is_whole {
                    events.push(Event::Subscribed(self.config.subscriptions()));
                }
                return Decision::Events(events);
            }
            SyncJob::Subscribe { .. } => None,
        };
        event.map_or(Decision::Late, |event| Decision::Events(vec![event]))
    }

    /// Whether an answer leaves everything as it was: a poll need not make the log longer.
    fn says_nothing_new(&self, received: &Received) -> bool {
        let Received { verdicts, changes, checkpoint, clock_offset_ms, .. } = received;
        verdicts.is_empty()
            && changes.is_empty()
            && received.is_complete
            && !received.is_snapshot
            && !received.is_probe
            && !self.state.is_behind
            && self.state.applied.is_empty()
            && self.state.checkpoint == *checkpoint
            && !self.state.clock.is_moved_by(*clock_offset_ms)
    }

    /// Whether nobody else synced since the request was sent: its answer speaks about the state as it is.
    fn is_current(&self, sent: &Sent) -> bool {
        if has(Defect::StaleAnswerTaken) {
            return true;
        }
        self.state.generation == sent.generation
            && self.state.request_checkpoint() == sent.checkpoint.as_ref()
            && self.state.snapshot.is_some() == sent.is_snapshot
            && (sent.batch.is_empty() || sent.batch == self.state.frozen)
    }

    /// A sync job is in the log and folded, or was dropped because it came too late.
    pub(crate) fn handle_sync_job_done(&mut self, now: Now, job: SyncJob, outcome: Option<&Folded>) {
        if job.term() != self.sync.term {
            return;
        }
        self.sync.phase = Phase::Idle;
        let Some(folded) = outcome else {
            match job {
                SyncJob::Lead { .. } => self.lead(now),
                SyncJob::Freeze { .. } | SyncJob::Thaw { .. } | SyncJob::Subscribe { .. } => {}
                SyncJob::Receive { .. } | SyncJob::BeginReset { .. } | SyncJob::Rename { .. } => {
                    self.sync.stale_answers += 1;
                }
            }
            return;
        };
        match job {
            SyncJob::Lead { .. } => {}
            SyncJob::Subscribe { .. } => self.lead(now),
            SyncJob::Rename { .. } => self.sync.renames += 1,
            SyncJob::Freeze { .. } => {
                self.sync.target = self.state.last_sequence;
                self.sync.debounce.clear();
                self.send(now, self.state.frozen.clone(), Attempt::FIRST);
            }
            SyncJob::Thaw { .. } => {}
            SyncJob::BeginReset { .. } => {
                self.sync.resets += 1;
                if self.sync.resets > 1 {
                    // A server that takes none of its own checkpoints back would be asked for snapshots in a loop.
                    self.sync.failures = self.sync.failures.max(self.sync.resets - 2);
                    let detail = "the server does not know the checkpoint it gave".to_owned();
                    self.fail_sync(now, Error::HttpStatus { status: 410, detail }, None);
                }
            }
            SyncJob::Receive { sent, received, counts } => {
                self.note_receipt(&sent, &received, counts, folded);
                self.finish_if_drained(now, sent.send);
            }
        }
    }

    /// An answer is folded.
    fn note_receipt(&mut self, sent: &Sent, received: &Received, counts: Counts, folded: &Folded) {
        if !sent.is_snapshot {
            self.sync.resets = 0;
        }
        self.sync.renames = 0;
        if received.checkpoint.is_some() {
            self.sync.trial.answered(&sent.batch);
        }
        let judged = received.verdicts.len();
        if judged < sent.batch.len() {
            // A plain server said of some of them that they were too many.
            self.sync.shrunk_to = judged;
        } else if judged > 0 && !self.sync.trial.is_halving() {
            // One that was too large says little of the others: the batches grow again.
            self.sync.shrunk_to = self.sync.shrunk_to.saturating_mul(2);
        }
        let has_chains = self.sync.features.is_some_and(|features| features.has_chains);
        self.sync.is_one_per_record =
            !has_chains && (self.sync.is_one_per_record || folded.has_self_conflict);
        let report = &mut self.sync.report;
        report.pushed += counts.pushed;
        report.pulled += counts.pulled;
        report.applied += folded.count(Outcome::Applied);
        report.superseded += folded.count(Outcome::Superseded);
        report.conflicts += folded.count(Outcome::Conflict);
        report.rejected += folded.count(Outcome::Rejected);
        self.sync.failures = 0;
        self.sync.error = None;
        let progress = SyncProgress {
            report: self.sync.report,
            remaining: self.state.pending.len() - self.state.parked.len(),
            has_more: self.state.is_behind || self.state.snapshot.is_some(),
        };
        self.outputs.push_back(Output::Notice(Notice::Progress(progress)));
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

    /// A sync job could not be written.
    pub(crate) fn handle_sync_job_failed(&mut self, now: Now, job: &SyncJob, error: Error) {
        if job.term() != self.sync.term {
            return;
        }
        self.fail_sync(now, error, None);
    }
}
