//! One run: a setup, a number of actions that are drawn or read, and the healing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::action::Action;
use crate::coverage::Coverage;
use crate::setup::Setup;
use crate::workload::Workload;
use crate::world::World;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs handed to an engine, requests handled by the server, faults and deeds of users.
    pub steps: u64,
    /// A digest of everything that happened: the same for the same seed.
    pub digest: u64,
    /// What was met on the way.
    pub coverage: Coverage,
    /// What must not have happened, if it did.
    pub violation: Option<String>,
    pub(crate) script: Vec<Action>,
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many actions are drawn before the faults stop.
    pub actions: usize,
    /// Whether everything that happens is printed.
    pub is_told: bool,
}

/// Runs a seed.
#[must_use]
pub fn run(setup: &Setup, options: &Options) -> Outcome {
    let mut workload = Workload::new(setup.seed);
    let mut left = options.actions;
    play(setup, options.is_told, |world| {
        left = left.checked_sub(1)?;
        Some(workload.next(world))
    })
}

/// Runs a list of actions in the world of a seed.
pub(crate) fn replay(setup: &Setup, script: &[Action], is_told: bool) -> Outcome {
    let mut actions = script.iter();
    play(setup, is_told, |_| actions.next().copied())
}

fn play(setup: &Setup, is_told: bool, mut next: impl FnMut(&World) -> Option<Action>) -> Outcome {
    let mut script = Vec::new();
    let mut world = World::new(setup.clone());
    world.trace.is_told = is_told;
    let played = catch_unwind(AssertUnwindSafe(|| {
        while world.violation.is_none()
            && let Some(action) = next(&world)
        {
            script.push(action);
            world.apply(&action);
        }
        if world.violation.is_none() {
            world.heal();
        }
    }));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.violate(format!("a panic: {}", text.unwrap_or_default()));
    }
    Outcome {
        steps: world.steps,
        digest: world.trace.digest(),
        coverage: world.coverage,
        violation: world.violation,
        script,
    }
}
