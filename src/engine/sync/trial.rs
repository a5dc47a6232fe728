//! Finding the one mutation that makes a server refuse a whole request (a poisoned row), without letting it hold up the others
//! and without taking an outage for one.
//!
//! A batch that is refused is halved until the mutation is alone. Alone it is *quarantined* (put among the rejected ones, with
//! all its data) when the server refuses it twice with an answered pull in between, and takes another push beside it. As long
//! as no push was taken, it is set *aside*: the others go first, and show whether it is the mutation or the endpoint.

use objectql_sync_protocol::Sequence;
use objectql_sync_protocol::defect::{Defect, has};

/// So many mutations may be refused in a row, before any is taken, until it must be the endpoint.
const MOST_ASIDE: usize = 20;
/// A mutation that is the only one cannot be told from a broken endpoint by the others. It is quarantined; of more than so many
/// none is.
const MOST_WITHOUT_PROOF: usize = 3;

/// What is known of requests that were refused as a whole.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// The batch that was refused last.
    batch: Vec<Sequence>,
    refusals: u32,
    is_final: bool,
    /// Whether the server answered a pull since.
    is_alive: bool,
    /// Up to where the batches are being halved: the end of the batch that was refused first.
    until: Option<Sequence>,
    /// The mutations that were refused alone.
    aside: Vec<Sequence>,
    /// Whether a push was taken since the first of them was set aside.
    is_push_taken: bool,
}

/// What to do next about a frozen batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send it again.
    Again,
    /// Send half of it.
    Halve,
    /// Ask whether the server answers at all.
    Pull,
}

/// What a mutation that was refused alone has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing yet.
    Open,
    /// The others go first.
    Aside,
    /// It is the mutation.
    Quarantine,
    /// It is the endpoint: everything waits.
    Endpoint,
}

impl Trial {
    /// The mutations that let the others go first.
    pub(crate) fn aside(&self) -> &[Sequence] {
        &self.aside
    }

    /// Whether batches are being halved.
    pub(crate) fn is_halving(&self) -> bool {
        self.until.is_some()
    }

    /// What to do about the frozen batch.
    pub(crate) fn step(&self, frozen: &[Sequence]) -> Step {
        match frozen {
            _ if self.batch != frozen => Step::Again,
            [_] if self.is_alive => Step::Again,
            [_] => Step::Pull,
            // One failure of the server may be an accident.
            _ if self.is_final || self.refusals > 1 || self.is_halving() => Step::Halve,
            _ => Step::Again,
        }
    }

    /// The batch was refused. `has_others`: whether there is anything else to send.
    pub(crate) fn refused(&mut self, batch: &[Sequence], is_final: bool, has_others: bool) -> Refusal {
        if self.batch != batch {
            self.batch = batch.to_vec();
            self.refusals = 0;
            self.is_alive = false;
        }
        self.refusals += 1;
        self.is_final = is_final;
        let [only] = batch else { return Refusal::Open };
        if has(Defect::PoisonHeld) {
            return Refusal::Open;
        }
        let was_aside = self.aside.contains(only);
        if was_aside && self.is_push_taken {
            return Refusal::Quarantine;
        }
        if !self.is_alive {
            return Refusal::Open;
        }
        self.is_alive = false;
        if self.is_push_taken || (!has_others && self.aside.len() < MOST_WITHOUT_PROOF) {
            return Refusal::Quarantine;
        }
        if was_aside || !has_others || self.aside.len() >= MOST_ASIDE {
            self.aside.clear();
            return Refusal::Endpoint;
        }
        self.aside.push(*only);
        self.until = None;
        Refusal::Aside
    }

    /// The batch is about to be halved.
    pub(crate) fn halve(&mut self) {
        self.until = self.until.max(self.batch.last().copied());
    }

    /// The server answered, with verdicts on that batch, or a pull.
    pub(crate) fn answered(&mut self, batch: &[Sequence]) {
        let Some(last) = batch.last() else {
            self.is_alive = true;
            return;
        };
        self.aside.retain(|sequence| !batch.contains(sequence));
        self.is_push_taken = !self.aside.is_empty();
        if self.until.is_some_and(|until| *last >= until) {
            self.until = None;
        }
        self.batch.clear();
    }

    /// The mutation is quarantined.
    pub(crate) fn quarantined(&mut self, sequence: Sequence) {
        self.aside.retain(|other| *other != sequence);
        self.until = None;
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(range: std::ops::RangeInclusive<u64>) -> Vec<Sequence> {
        range.map(|number| Sequence::new(number).unwrap()).collect()
    }

    #[test]
    fn an_accident_is_none_and_a_refusal_is_halved() {
        let batch = sequences(1..=4);
        let mut trial = Trial::default();
        assert_eq!(trial.refused(&batch, false, true), Refusal::Open);
        assert_eq!(trial.step(&batch), Step::Again);
        assert_eq!(trial.refused(&batch, false, true), Refusal::Open);
        assert_eq!(trial.step(&batch), Step::Halve);
        let mut trial = Trial::default();
        trial.refused(&batch, true, true);
        assert_eq!(trial.step(&batch), Step::Halve);
        assert_eq!(trial.step(&sequences(1..=3)), Step::Again, "another batch");
    }

    #[test]
    fn a_mutation_is_quarantined_only_when_the_server_answers_and_takes_others() {
        let (one, others) = (sequences(1..=1), sequences(2..=9));
        let mut trial = Trial::default();
        for _ in 0..200 {
            assert_eq!(trial.refused(&one, false, true), Refusal::Open, "an outage");
            assert_eq!(trial.step(&one), Step::Pull);
        }
        trial.answered(&[]);
        assert_eq!(trial.step(&one), Step::Again);
        assert_eq!(trial.refused(&one, false, true), Refusal::Aside);
        assert_eq!(trial.aside(), one);
        trial.answered(&others);
        assert_eq!(trial.refused(&one, false, false), Refusal::Quarantine);
    }

    #[test]
    fn what_is_taken_after_all_is_no_suspect() {
        let one = sequences(1..=1);
        let mut trial = Trial::default();
        trial.refused(&one, true, true);
        trial.answered(&[]);
        trial.refused(&one, true, true);
        trial.answered(&sequences(1..=2));
        assert!(trial.aside().is_empty());
    }

    #[test]
    fn an_endpoint_that_takes_nothing_quarantines_next_to_nothing() {
        let mut trial = Trial::default();
        let mut outcomes = Vec::new();
        for number in 1..=50 {
            let one = sequences(number..=number);
            assert_eq!(trial.refused(&one, true, true), Refusal::Open);
            trial.answered(&[]);
            outcomes.push(trial.refused(&one, true, true));
        }
        assert!(!outcomes.contains(&Refusal::Quarantine));
        assert_eq!(outcomes.iter().position(|outcome| *outcome == Refusal::Endpoint), Some(MOST_ASIDE));
    }
}
