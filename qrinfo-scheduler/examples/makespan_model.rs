//! The plain `Scheduler` against the scenario files, with peers by the link model: makespan over floor, median and worst.
//! `cargo xtask bench makespan` measures the whole stack and has the targets.
//!
//! `cargo run --release -p qrinfo-scheduler --example makespan_model -- [--no-lengths] [--cap N] DIR`

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{env, error::Error, fs, path::PathBuf};

use spv_testkit::Scenario;
use support::run::{Outcome, View, simulate};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut view = View { lengths: true, cap: 64 };
    let mut directory = PathBuf::from("../shared/bench/scenarios");
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--no-lengths" => view.lengths = false,
            "--cap" => view.cap = arguments.next().ok_or("--cap needs a number")?.parse()?,
            path => directory = path.into(),
        }
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    println!(
        "{:16} {:>7} {:>7} {:>6} {:>8} {:>6} {:>6} {:>11}",
        "scenario", "median", "worst", "mean", "in use", "depth", "points", "twice %"
    );
    for file in files {
        show(&Scenario::load(&file)?, view);
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn show(scenario: &Scenario, view: View) {
    let start = support::now();
    let outcomes: Vec<Outcome> = scenario.runs.iter().map(|run| simulate(scenario, run, view, start)).collect();
    let score = |(outcome, run): (&Outcome, &spv_testkit::scenario::Run)| {
        outcome.makespan.as_secs_f64() / (run.floor_us as f64 / 1e6)
    };
    let (median, worst, mean) = spread(outcomes.iter().zip(&scenario.runs).map(score).collect());
    let copies = outcomes
        .iter()
        .zip(&scenario.runs)
        .map(|(outcome, run)| 100.0 * (outcome.replies - run.jobs()) as f64 / run.jobs() as f64);
    println!(
        "{:16} {median:>7.3} {worst:>7.3} {mean:>6.3} {:>8} {:>6} {:>6} {:>11}",
        scenario.name,
        outcomes.iter().map(|outcome| outcome.highest_in_flight).max().unwrap_or(0),
        outcomes.iter().map(|outcome| outcome.highest_depth).max().unwrap_or(0),
        outcomes.iter().map(|outcome| outcome.points).max().unwrap_or(0),
        format!("{:.1}, {:.1}", copies.clone().sum::<f64>() / outcomes.len() as f64, copies.fold(0.0, f64::max)),
    );
}

/// Median, greatest and mean.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (median, values.last().copied().unwrap_or(f64::NAN), mean)
}
