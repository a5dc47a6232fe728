//! A failing run made small: the same violation from as few actions as possible, as text that a person can read and a test can
//! play again.

use std::fmt::Write as _;

use crate::action::Action;
use crate::run::{Outcome, replay};
use crate::setup::Setup;

/// A list of actions in the world of a seed.
#[derive(Debug, Clone)]
pub struct Script {
    setup: Setup,
    actions: Vec<Action>,
}

impl Script {
    /// The script of a run.
    #[must_use]
    pub fn of(setup: &Setup, outcome: &Outcome) -> Self {
        Self { setup: setup.clone(), actions: outcome.script.clone() }
    }

    /// Reads a script: a line with the seed, then a line for each action; `#` begins a comment.
    ///
    /// # Errors
    /// The first line that says nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let seed = lines.next().and_then(|line| line.strip_prefix("seed ")).ok_or("no seed")?;
        let setup = Setup::new(seed.parse().map_err(|error| format!("seed {seed}: {error}"))?);
        Ok(Self { setup, actions: lines.map(str::parse).collect::<Result<_, _>>()? })
    }

    /// Plays it.
    #[must_use]
    pub fn play(&self, is_told: bool) -> Outcome {
        replay(&self.setup, &self.actions, is_told)
    }

    /// How many actions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether nothing happens in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Leaves out what is not needed for a violation of the same kind.
    #[must_use]
    pub fn shrunk(mut self) -> Self {
        let Some(kind) = self.play(false).violation.map(kind_of) else { return self };
        let mut size = self.actions.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            let mut is_smaller = false;
            while from < self.actions.len() {
                let to = (from + size).min(self.actions.len());
                let mut fewer = self.actions.clone();
                fewer.drain(from..to);
                let outcome = replay(&self.setup, &fewer, false);
                if outcome.violation.map(kind_of).as_ref() == Some(&kind) {
                    // What came after the violation was not even played.
                    self.actions = outcome.script;
                    is_smaller = true;
                } else {
                    from = to;
                }
            }
            if !is_smaller || size > 1 {
                size /= 2;
            }
        }
        self
    }

    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("seed {}\n", self.setup.seed);
        for action in &self.actions {
            let _ = writeln!(text, "{action}");
        }
        text
    }
}

/// What a violation is about, without its particulars.
fn kind_of(violation: String) -> String {
    let end =
        violation.find(|letter: char| letter.is_ascii_digit() && !violation.starts_with(['S', 'L', 'Q']));
    let head = violation.split(':').take(if violation.starts_with("client") { 2 } else { 1 });
    let head: String = head.collect();
    head.chars().take(end.unwrap_or(60).max(12)).filter(|letter| !letter.is_whitespace()).collect()
}
