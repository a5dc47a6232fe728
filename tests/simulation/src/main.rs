//! `cargo run --profile simulation -p simulation -- --seed 1 --seeds 1000 --steps 5000`

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::{Coverage, Options, Script, Setup, calm, run};

/// Every so manieth seed also has calm worlds.
const CALM_EVERY: u64 = 8;

/// Runs worlds of faults over the production engine and server, and checks what must hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many actions in each before the faults stop.
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Prints everything that happens.
    #[arg(long)]
    tell: bool,
    /// Plays a script instead of a seed.
    #[arg(long)]
    script: Option<std::path::PathBuf>,
    /// Goes on after a failing seed, and shrinks none.
    #[arg(long)]
    survey: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(path) = &arguments.script {
        return play(path, arguments.tell);
    }
    let began = Instant::now();
    let (mut steps, mut failed) = (0, 0);
    let mut coverage = Coverage::default();
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let setup = Setup::new(seed);
        if arguments.tell {
            println!("{setup:?}");
        }
        let outcome = run(&setup, &Options { actions: arguments.steps, is_told: arguments.tell });
        steps += outcome.steps;
        coverage.add(&outcome.coverage);
        if seed.is_multiple_of(CALM_EVERY) {
            let calm = calm(seed);
            steps += calm.steps;
            coverage.add(&calm.coverage);
            if let Some(violation) = calm.violation {
                println!("calm seed {seed}: {violation}");
                failed += 1;
            }
        }
        if let Some(violation) = &outcome.violation {
            println!("seed {seed}: {violation}");
            failed += 1;
            if !arguments.survey {
                let script = Script::of(&setup, &outcome).shrunk();
                let violation = script.play(false).violation.unwrap_or_default();
                println!("# {violation}\n{}", script.to_text());
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", coverage.report());
    println!("never met: {:?}", coverage.missing());
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_minute = steps as f64 / seconds * 60.0;
    println!(
        "{} seeds, {failed} failed, {steps} steps in {seconds:.1} s: {per_minute:.0} steps a minute",
        arguments.seeds
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(path: &std::path::Path, is_told: bool) -> ExitCode {
    let script = match std::fs::read_to_string(path).map_err(|error| error.to_string()) {
        Ok(text) => Script::parse(&text),
        Err(error) => Err(error),
    };
    match script.map(|script| script.play(is_told).violation) {
        Ok(None) => {
            println!("nothing is violated");
            ExitCode::SUCCESS
        }
        Ok(Some(violation)) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
