//! Whether the simulator would find anything: deliberate defects, one at a time, each found within 1,000 seeds.

use objectql_sync_protocol::defect::{Defect, choose};
use simulation::{Options, Setup, calm, run};

const SEEDS: u64 = 1000;

#[test]
fn every_deliberate_defect_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut unfound = Vec::new();
    let mut highest = 0;
    for defect in Defect::ALL {
        choose(Some(*defect));
        let found = (0..SEEDS).find_map(|seed| violation_of(seed).map(|text| (seed, text)));
        choose(None);
        match found {
            Some((seed, text)) => {
                highest = highest.max(seed);
                println!("{defect:?}: seed {seed}: {}", text.chars().take(100).collect::<String>());
            }
            None => unfound.push(defect),
        }
    }
    let _ = std::panic::take_hook();
    // Found means: by the defect. Without one, none of these seeds fails.
    assert!((0..=highest).all(|seed| violation_of(seed).is_none()));
    assert!(unfound.is_empty(), "not found within {SEEDS} seeds: {unfound:?}");
}

fn violation_of(seed: u64) -> Option<String> {
    let outcome = run(&Setup::new(seed), &Options { actions: 600, is_told: false });
    outcome.violation.or_else(|| seed.is_multiple_of(8).then(|| calm(seed).violation)?)
}
