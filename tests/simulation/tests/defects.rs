//! Whether the simulator would find anything: deliberate defects, one at a time, each found within 500 seeds.

use objectql_sync_protocol::defect::{Defect, choose};
use simulation::{Options, Setup, run};

const SEEDS: u64 = 500;

#[test]
fn every_deliberate_defect_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut unfound = Vec::new();
    let mut highest = 0;
    for defect in Defect::ALL {
        choose(Some(*defect));
        let violation = |seed| run(&Setup::new(seed), &Options { actions: 600, is_told: false }).violation;
        let found = (0..SEEDS).find_map(|seed| violation(seed).map(|text| (seed, text)));
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
    let is_sound =
        |seed| run(&Setup::new(seed), &Options { actions: 600, is_told: false }).violation.is_none();
    assert!((0..=highest).all(is_sound));
    assert!(unfound.is_empty(), "not found within {SEEDS} seeds: {unfound:?}");
}
