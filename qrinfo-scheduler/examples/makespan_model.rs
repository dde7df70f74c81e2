//! The plain `Scheduler` against the scenario files, peers by the model: makespan over floor, median and worst.
//!
//! `cargo run --release -p qrinfo-scheduler --example makespan_model -- [--no-lengths] [--cap N] DIR`

#[path = "../tests/support/mod.rs"]
mod support;

use std::{env, error::Error, path::PathBuf};

use support::{
    run::{Outcome, View, simulate},
    scenario::Scenario,
};

/// Median and worst to reach, by scenario.
const TARGETS: [(&str, f64, f64); 8] = [
    ("clean", 1.08, 1.30),
    ("uniform", 1.03, 1.06),
    ("refusals", 1.09, 1.30),
    ("stall", 1.09, 1.30),
    ("stall-window64", 1.10, 1.45),
    ("clean-window64", 1.13, 1.40),
    ("three-peers", 1.05, 1.20),
    ("eight-peers", 1.11, 1.40),
];

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
    let base = tokio::time::Instant::now().into_std();
    println!(
        "{:16} {:>7} {:>7} {:>15} {:>5} {:>6} {:>6} {:>6} {:>11} {:>9} {:>18}",
        "scenario", "median", "worst", "target", "", "mean", "cap", "used", "depth used", "copies %", "one at a time"
    );
    for scenario in Scenario::load_all(&directory)? {
        let outcomes: Vec<Outcome> = scenario.runs.iter().map(|run| simulate(&scenario, run, view, base)).collect();
        let (median, worst, mean) = spread(outcomes.iter().map(|outcome| outcome.score).collect());
        let (one, one_worst, _) = spread(scenario.runs.iter().map(|run| scenario.one_at_a_time(run)).collect());
        let target = TARGETS.iter().find(|(name, ..)| *name == scenario.name);
        let reached = target.map_or("", |&(_, m, w)| if median <= m && worst <= w { "ok" } else { "MISS" });
        let copies = outcomes.iter().map(|outcome| 100.0 * outcome.duplicates as f64 / outcome.jobs as f64);
        println!(
            "{:16} {:>7.3} {:>7.3} {:>15} {:>5} {:>6.3} {:>6} {:>6} {:>11} {:>9} {:>18}",
            scenario.name,
            median,
            worst,
            target.map_or(String::new(), |(_, m, w)| format!("{m:.2} ({w:.2})")),
            reached,
            mean,
            view.cap,
            outcomes.iter().map(|outcome| outcome.highest_in_flight).max().unwrap_or(0),
            outcomes.iter().map(|outcome| outcome.highest_depth).max().unwrap_or(0),
            format!("{:.1}, {:.1}", copies.clone().sum::<f64>() / outcomes.len() as f64, copies.fold(0.0, f64::max)),
            format!("{one:.2} ({one_worst:.2})"),
        );
    }
    Ok(())
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
