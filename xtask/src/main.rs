//! Tasks of this workspace: `cargo xtask ci`, `cargo xtask bench`, `cargo xtask live`.

mod bench;
mod ci;
mod live;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tests, doc tests, docs, and every crate alone with each of its features.
    Ci,
    /// Measures; see docs/benchmarks.md.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Checks the command qrinfo against a Dash Core binary of yours; see docs/live.md. Skipped without one.
    Live(live::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Ci => ci::run(),
        Task::Bench(bench) => bench::run(bench),
        Task::Live(options) => live::run(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
