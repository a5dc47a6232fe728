//! What pages write before their engines are there.
//!
//! Such a page appends a row by itself, which says what it wants and no more ([`Asked`]). That waits in the state until an engine has
//! folded all before it, whichever tab's: it decides it as if the app had called just then, and its row says what came of it. As
//! an append succeeds only behind all that was folded, it is decided once. So nothing hangs on the page that asked, which may be gone.

use std::time::Duration;

use super::command::{Command, Reply, made_each};
use super::config::Config;
use super::fold::Folded;
use super::log::{Job, ROW_BYTES_WANTED};
use super::report::ErrorReport;
use super::row::{Asked, Event, Row, TabId};
use super::staged::Staged;
use super::state::State;
use super::{Engine, Now, Output, RequestId};
use crate::error::Error;

/// How long a decision waits for a store that fails, before it is tried although nobody writes: 15 seconds. Whether there is room again only a
/// write can tell.
const RETRY: Duration = Duration::from_secs(15);
/// So many outcomes of what other tabs' pages asked for are kept: nobody may come for them. Whoever asked for those of this page's does.
const MOST_ANSWERS: usize = 256;
/// The most text of one that is decided: what comes of it and what its page is told fit in one row. Pages ask for less.
const MOST_TEXT: usize = 1 << 20;

/// Something that was asked for and is not decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Early {
    /// Which append it came with.
    pub(crate) by: (TabId, u64),
    pub(crate) asked: Asked,
}

/// Who waits for the outcome of what, and outcomes that nobody waits for yet.
#[derive(Debug, Default)]
pub(crate) struct EarlyWrites {
    waiting: Vec<((TabId, u64), RequestId)>,
    /// The latest last.
    answers: Vec<((TabId, u64), String)>,
    /// When a decision is tried although the store fails and nobody writes; and whether it is.
    pub(crate) retry_at: Option<Duration>,
    is_tried_again: bool,
}

impl Early {
    /// The bytes of its row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { by: (tab, number), asked } = self;
        let row = Row { tab: *tab, number: *number, events: vec![Event::Asked(asked.clone())] };
        row.encode().unwrap_or_default()
    }

    /// What a row asks for.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let Row { tab, number, mut events } = Row::decode(bytes).ok()?;
        match events.pop() {
            Some(Event::Asked(asked)) => Some(Self { by: (tab, number), asked }),
            _ => None,
        }
    }
}

impl Asked {
    /// What it stands for: one command, or creates that are made or refused each by itself.
    pub(crate) fn commands(&self, config: &Config) -> Result<Vec<Command>, Error> {
        let object = config.object(&self.object)?.name.clone();
        if self.first.len() + self.second.len() > MOST_TEXT {
            return Err(Error::CallTooLarge("what is asked for early may have 1 MiB: split it"));
        }
        if self.is_of_creates() {
            return Command::parse_creates(&object, &self.first);
        }
        Ok(vec![Command::parse(&self.kind, object, &self.first, &self.second)?])
    }

    fn is_of_creates(&self) -> bool {
        self.kind == "createEach"
    }

    /// Decides it; gives what of it was done or refused, and whether each part stands for itself.
    fn decide(
        &self,
        state: &State,
        config: &Config,
        staged: &mut Staged<'_>,
    ) -> (Vec<Result<Reply, Error>>, bool) {
        let commands = if state.versions.of(&self.object) > Some(self.version) {
            // It was made for data that are not there any more.
            Err(Error::DefinitionOutdated(self.object.clone()))
        } else {
            self.commands(config)
        };
        let mut results = Vec::new();
        match commands {
            Ok(commands) => {
                for command in &commands {
                    results.push(staged.decide(command));
                }
                (results, self.is_of_creates())
            }
            Err(error) => {
                results.push(Err(error));
                (results, false)
            }
        }
    }
}

/// What can be decided now, in order.
fn decidable<'a>(state: &'a State, config: &Config) -> Vec<&'a Early> {
    let mut behind: Vec<TabId> = Vec::new();
    let is_one = |early: &&Early| {
        let Early { by: (tab, _), asked } = early;
        if config.object(&asked.object).is_err() {
            // A tab of another release of the app knows it.
            return false;
        }
        if state.versions.of(&asked.object) < Some(asked.version) {
            // Once the data are migrated. What its page asked for later comes later.
            behind.push(*tab);
        }
        !behind.contains(tab)
    };
    state.asked.iter().filter(is_one).collect()
}

/// Decides what was asked, as much as one row takes; adds what was refused of it and no call of this page waits for.
pub(crate) fn decide_asked(
    state: &State,
    config: &Config,
    staged: &mut Staged<'_>,
    untold: &mut Vec<ErrorReport>,
) {
    for Early { by: (tab, number), asked } in decidable(state, config) {
        if staged.bytes > ROW_BYTES_WANTED {
            break;
        }
        let (results, is_each) = asked.decide(state, config, staged);
        for result in &results {
            if let (Err(error), false) = (result, config.asker == Some(*tab)) {
                untold.push(ErrorReport::from(error));
            }
        }
        let reply = match results.first() {
            Some(result) if !is_each => Reply::to_early_text(result),
            _ => "=".to_owned() + &made_each(&mut results.iter()),
        };
        staged.bytes += reply.len();
        staged.events.push(Event::Answered { tab: *tab, number: *number, reply });
    }
}

impl Engine {
    pub(crate) fn decidable(&self) -> Vec<&Early> {
        decidable(&self.state, &self.config)
    }

    /// Has decided what was asked, before anything else is written.
    pub(crate) fn advance_asked(&mut self, now: Now) {
        let is_tried_again = std::mem::take(&mut self.early.is_tried_again);
        if self.state.asked.is_empty() || !self.is_open || !self.damage.is_none() {
            return;
        }
        let (is_under_way, is_write_next) = self.log.is_deciding_asked();
        // A store that fails is asked again when it works, after a while, or with the next write, which comes later.
        let is_due = self.log.health.error.is_none() || is_write_next || is_tried_again;
        if is_under_way || self.decidable().is_empty() {
            return;
        }
        if is_due {
            self.log.push_first(Job::Asked);
        } else {
            self.early.retry_at.get_or_insert(now.monotonic + RETRY);
        }
    }

    /// Whether a decision is to be tried now.
    pub(crate) fn note_retry(&mut self, now: Now) {
        self.early.is_tried_again |= self.early.retry_at.take_if(|at| *at <= now.monotonic).is_some();
    }

    /// A page wants to know what became of what it asked for. Its row is in the log, but perhaps not read here. Of number 0 there is
    /// no row: who waits for it waits until all is decided that can be.
    pub(crate) fn handle_early(&mut self, request: RequestId, by: (TabId, u64)) {
        if by.1 == 0 {
            if let Some(error) = self.log.health.error.clone() {
                // Nobody knows when it works again, and opening is not to wait for that.
                return self.reply(request, Err(error));
            }
            self.early.waiting.push((by, request));
            return self.answer_all_decided();
        }
        let place = self.early.answers.iter().position(|(known, _)| *known == by);
        if let Some(place) = place {
            let (_, text) = self.early.answers.remove(place);
            return self.reply(request, Ok(Reply::Early(text)));
        }
        self.early.waiting.push((by, request));
        self.log.want_tail();
    }

    /// Tells those who wait what a row decided.
    pub(crate) fn answer_early(&mut self, folded: &Folded) {
        for (by, text) in &folded.answers {
            let place = self.early.waiting.iter().position(|(waiting, _)| waiting == by);
            if let Some(place) = place {
                let (_, request) = self.early.waiting.remove(place);
                self.reply(request, Ok(Reply::Early(text.clone())));
            } else if self.early.answers.iter().all(|(known, _)| known != by) {
                let is_other = |((tab, _), _): &((TabId, u64), String)| self.config.asker != Some(*tab);
                let others = self.early.answers.iter().filter(|answer| is_other(answer)).count();
                if others == MOST_ANSWERS
                    && let Some(oldest) = self.early.answers.iter().position(is_other)
                {
                    self.early.answers.remove(oldest);
                }
                self.early.answers.push((*by, text.clone()));
            }
        }
        if !folded.answers.is_empty() {
            self.answer_all_decided();
        }
    }

    fn answer_all_decided(&mut self) {
        while self.decidable().is_empty()
            && let Some(place) = self.early.waiting.iter().position(|((_, number), _)| *number == 0)
        {
            let (_, request) = self.early.waiting.remove(place);
            self.reply(request, Ok(Reply::Done));
        }
    }

    /// The log was read to its end: what is not asked there any more was decided in a row that is gone.
    pub(crate) fn answer_missed(&mut self) {
        let Self { early, state, .. } = self;
        let is_missed =
            |(by, _): &((TabId, u64), RequestId)| by.1 > 0 && state.asked.iter().all(|early| early.by != *by);
        while let Some(place) = early.waiting.iter().position(is_missed) {
            let (_, request) = early.waiting.remove(place);
            self.outputs.push_back(Output::Reply { request, result: Err(Error::AnswerGone) });
        }
    }

    /// Nobody knows when what was asked is decided: it is in the log, and the store fails.
    pub(crate) fn fail_early(&mut self, error: &Error) {
        let error = match error {
            Error::Cleared => Error::Cleared,
            other => Error::StorageUnknown(other.to_string()),
        };
        for (_, request) in std::mem::take(&mut self.early.waiting) {
            self.reply(request, Err(error.clone()));
        }
    }
}

#[cfg(test)]
impl Early {
    /// An update that was asked for.
    pub(crate) fn of_update() -> Self {
        let [kind, object, first, second] = ["update", "story", "7", "{}"].map(str::to_owned);
        Self { by: (TabId(9), 2), asked: Asked { kind, object, version: 1, first, second } }
    }
}
