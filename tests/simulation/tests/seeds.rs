//! Many seeds, each twice: nothing is violated, both runs are the same, and all that is worth meeting is met.

use simulation::{Coverage, Options, Outcome, Script, ServerKind, Setup, calm, run};

const SEEDS: u64 = 320;

fn survive(setup: &Setup, actions: usize) -> Outcome {
    let outcome = run(setup, &Options { actions, is_told: false });
    if let Some(violation) = &outcome.violation {
        let script = Script::of(setup, &outcome).shrunk();
        panic!("seed {}: {violation}\n{}", setup.seed, script.to_text());
    }
    outcome
}

/// Goal: whatever happens is safe and heals; what happens depends on the seed alone; and the rare cases are among it.
#[test]
fn every_seed_is_safe_and_heals_and_is_the_same_twice() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        let setup = Setup::new(seed);
        let (first, second) = (survive(&setup, 1200), survive(&setup, 1200));
        assert_eq!(first.digest, second.digest, "seed {seed} is another the second time");
        coverage.add(&first.coverage);
        if seed.is_multiple_of(8) {
            let calm = self::calm(seed);
            assert_eq!(calm.violation, None, "the calm worlds of seed {seed}");
            assert_eq!(
                calm.steps,
                self::calm(seed).steps,
                "the calm worlds of seed {seed} are others the second time"
            );
            coverage.add(&calm.coverage);
        }
    }
    println!("{}", coverage.report());
    assert_eq!(coverage.missing(), Vec::<&str>::new(), "never met in {SEEDS} seeds");
}

/// Goal: the store in memory stands for the production store. A world with the one is step by step a world with the other.
#[test]
fn a_world_is_the_same_over_both_stores() {
    for seed in [4, 12, 28, 58] {
        let over = |server| survive(&Setup::new(seed).over(server), 600).digest;
        assert_eq!(over(ServerKind::Memory), over(ServerKind::Sqlite), "seed {seed}");
    }
}

/// Seeds that failed once, and what was wrong then.
const FAILED_ONCE: [(u64, &str); 20] = [
    (1047, "a tab that began anew from a damaged root did not say what it had had pending"),
    (1124, "a person whose storage rested decided the same conflict again and again"),
    (1053, "a leader that began anew kept the time at which its compaction had been due, and slept for ever"),
    (2325, "the first row of a database that was cleared since was taken for one of the next"),
    (4644, "a tab that was left behind was not told of what was lost in rows that it never read"),
    (4771, "a record that came again as it was while a tab was left behind was not seen there any more"),
    (
        33323,
        "records of an object that was whole before its tab had opened, and not after it began anew, stayed to be seen",
    ),
    (
        36470,
        "an object of which a compaction left no block that was not in memory was whole, and not shown to queries",
    ),
    (
        49_320,
        "a batch was frozen under another tab's definitions, and changes of its answer were passed over by its own",
    ),
    (2252, "a tab that found the steps of writes lost had less to take back than the others"),
    (
        2200,
        "a compaction that found another root read everything again, and what the tab had known was forgotten",
    ),
    (20634, "a tab that was left behind took the new id of a copied profile for a loss"),
    (22293, "what a tab was about to find again was not named when the data were cleared"),
    (
        22689,
        "a compaction began while a step of the last one was under way, because the data had been cleared",
    ),
    (
        20329,
        "the rest of a frozen batch was not known as such once the sequence of what was lost had another mutation",
    ),
    (
        22994,
        "a write was refused whose row was gone before its tab could look for it, and that was taken for a lie",
    ),
    (
        31584,
        "a tab that read everything again took up another database when a segment was missing, and wrote the loss into that",
    ),
    (32421, "what a tab showed was compared with the server while it was collecting a snapshot"),
    (
        32958,
        "what had fallen with a create was sent behind the next create of the record, once the first one's row was damaged",
    ),
    (
        32995,
        "rows that were compacted between two portions of a read were taken for missing, like the one before them",
    ),
];

#[test]
fn what_failed_once_does_not_fail_again() {
    for (seed, what) in FAILED_ONCE {
        let outcome = run(&Setup::new(seed), &Options { actions: 2500, is_told: false });
        assert_eq!(outcome.violation, None, "seed {seed}: {what}");
    }
}
