//! A request, and what its answer leads to.

use std::time::Duration;

use objectql_sync_protocol::{Checkpoint, PushRequest, Sequence, Timestamp};

use super::answer::{self, Answer, Counts, Features, Meaning};
use super::job::SyncJob;
use super::trial::Refusal;
use super::{Phase, plan};
use crate::engine::row::{Received, Verdict};
use crate::engine::{Engine, Now, Output};
use crate::error::Error;

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
    pub(super) const FIRST: Self = Self { is_repeat: false, is_probe: false, is_second_try: false };
    pub(super) const AGAIN: Self = Self { is_repeat: true, ..Self::FIRST };
    pub(super) const PROBE: Self = Self { is_probe: true, ..Self::FIRST };
}

impl Engine {
    /// Whether the server is known to know a repeat.
    pub(super) fn is_idempotent(&self) -> bool {
        self.sync.features.is_some_and(|features| features.is_idempotent)
    }

    pub(super) fn send(&mut self, now: Now, batch: Vec<Sequence>, attempt: Attempt) {
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
            Refusal::Quarantine => {
                self.sync.trial.quarantined(only);
                self.sync.shrunk_to = usize::MAX;
                self.reject_alone(sent, only, format!("the server refuses it: {error}"));
            }
            Refusal::Aside => {
                self.sync.shrunk_to = usize::MAX;
                // Of a server that may not know a repeat, the next step finds out first what it did.
                if self.is_idempotent() {
                    self.thaw(sent.batch);
                }
            }
            Refusal::Open if is_final => {}
            Refusal::Open | Refusal::Endpoint => self.fail_sync(now, error, retry_after),
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
}
