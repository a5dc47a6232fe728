//! What the sync wants in the log, and what follows once it is there.

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{ClientId, Operation, Sequence};

use super::answer::Counts;
use super::plan::Limits;
use super::progress::SyncProgress;
use super::request::{Attempt, Sent};
use super::{Phase, plan};
use crate::engine::fold::{CREATE_REJECTED, Folded, Outcome, dependants};
use crate::engine::log::Job;
use crate::engine::row::{Event, Received, Verdict};
use crate::engine::staged::Staged;
use crate::engine::state::Pending;
use crate::engine::{Engine, Notice, Now, Output};
use crate::error::Error;

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

impl Engine {
    pub(super) fn want(&mut self, job: SyncJob) {
        self.sync.phase = Phase::Receiving;
        self.log.push(Job::Sync(job));
    }

    pub(super) fn thaw(&mut self, batch: Vec<Sequence>) {
        self.want(SyncJob::Thaw { term: self.sync.term, batch });
    }

    pub(super) fn limits(&self) -> Limits<'_> {
        Limits {
            max_mutations: self.sync.server_takes.min(self.sync.shrunk_to),
            is_one_per_record: self.sync.is_one_per_record,
            aside: self.sync.trial.aside(),
        }
    }

    /// Decides what a sync job puts in the row.
    pub(crate) fn decide_sync(&mut self, now: Now, job: &SyncJob) -> Decision {
        if self.is_migrating() && !matches!(job, SyncJob::Lead { .. }) {
            return Decision::Late;
        }
        let is_current = |sent: &Sent| self.is_current(sent);
        let event = match job {
            SyncJob::Lead { .. } => None,
            SyncJob::Freeze { term } => {
                let batch = plan::plan(&self.state, &self.config, self.limits());
                let is_free = self.state.frozen.is_empty() && self.state.snapshot.is_none();
                // Another tab, with other definitions, may have led meanwhile: the answer would be taken by the wrong ones.
                let is_own = self.state.subscriptions == Some(self.config.subscriptions());
                let is_wanted = is_free && is_own && *term == self.sync.term && !batch.is_empty();
                is_wanted.then_some(Event::Frozen { batch })
            }
            SyncJob::Receive { sent, received, .. } if is_current(sent) => {
                if self.says_nothing_new(received) {
                    return Decision::Nothing;
                }
                let mut received = received.clone();
                self.name_dependants(&mut received.verdicts);
                Some(Event::Received(received))
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
                let Self { state, config, collections, random, .. } = self;
                let mut staged = Staged::new(state, config, collections, random, now.wall);
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

    /// Adds verdicts on what falls with the creates that are rejected and was not sent with them: where the row of a create is damaged,
    /// nobody knows any more on what it depended, and it would be sent one day, perhaps after a later create of the record.
    fn name_dependants(&self, verdicts: &mut Vec<(Sequence, Verdict)>) {
        for place in 0..verdicts.len() {
            let Some((sequence, Verdict::Rejected { .. })) = verdicts.get(place) else { continue };
            let Some(Pending { recorded, .. }) = self.state.pending.get(sequence) else { continue };
            if recorded.operation != Operation::Create {
                continue;
            }
            for dependant in dependants(&self.state, recorded) {
                if !self.state.frozen.contains(&dependant) {
                    verdicts.push((dependant, Verdict::Rejected { reason: CREATE_REJECTED.to_owned() }));
                }
            }
        }
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
            SyncJob::Lead { .. } | SyncJob::Subscribe { .. } | SyncJob::Thaw { .. } => {}
            SyncJob::Rename { .. } => self.sync.renames += 1,
            SyncJob::Freeze { .. } => {
                self.sync.target = self.state.last_sequence;
                self.sync.debounce.clear();
                self.send(now, self.state.frozen.clone(), Attempt::FIRST);
            }
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

    /// A sync job could not be written.
    pub(crate) fn handle_sync_job_failed(&mut self, now: Now, job: &SyncJob, error: Error) {
        if job.term() != self.sync.term {
            return;
        }
        self.fail_sync(now, error, None);
    }
}
