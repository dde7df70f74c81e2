//! Simulation of whole clients on bad days: `cargo xtask simulate`. See docs/simulation.md.
#![allow(clippy::print_stdout, reason = "the results are its output")]

mod chains;
mod client;
mod day;
mod disk;
mod kind;
mod lie;
mod log;
mod network;
mod node;
mod one_shot;
mod play;
mod run;
mod runtime;

use std::{collections::BTreeSet, process::ExitCode};

use clap::Parser;

use self::kind::Kind;

/// Plays bad days of a whole client in virtual time, each twice, and checks its promises.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cargo xtask simulate",
    after_help = "`--planted [NAME ...]` as the first option looks for each of the bugs in simulate/planted instead."
)]
struct Simulate {
    /// Days to play.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The seed of the first day.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Days that are played at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Faults that are left out, with commas between.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    without: Vec<Kind>,
    /// Leaves out faults while the day still fails.
    #[arg(long)]
    shrink: bool,
    /// Prints the events of each day.
    #[arg(long)]
    log: bool,
    /// Prints what the client logs, such as with `debug`.
    #[arg(long, value_name = "FILTER")]
    trace: Option<String>,
    /// Plays each day once, and does not compare two runs.
    #[arg(long)]
    once: bool,
    /// Stops at the first day that fails.
    #[arg(long)]
    first: bool,
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| format!("{name} is no fault"))
}

fn main() -> ExitCode {
    let options = Simulate::parse();
    let without: BTreeSet<Kind> = options.without.iter().copied().collect();
    if let Some(filter) = &options.trace {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
    }
    let failed = run::run(&options, &without);
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
