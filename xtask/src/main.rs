//! Tasks of this workspace: `cargo xtask --help` lists them.

mod api;
mod bench;
mod ci;
mod conformance;
mod fuzz;
mod live;
mod msrv;
mod mutants;
mod package;
mod planted;
mod prose;
mod simulate;
mod soak;
mod sources;
mod waypoints;

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
    /// Checks the public API of each crate against docs/api; skipped with another toolchain than the one named there.
    Api {
        /// Writes docs/api.
        #[arg(long)]
        write: bool,
    },
    /// Runs a benchmark, such as `bench makespan`; see docs/benchmarks.md.
    #[command(disable_help_flag = true)]
    Bench {
        /// The benchmark and its options; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Checks that each rule of docs/conformance.toml and each promise of SECURITY.md names code and tests that exist.
    Conformance {
        /// Writes docs/conformance.md.
        #[arg(long)]
        write: bool,
    },
    /// Fuzzes a target of the crate qrinfo-fuzz; needs cargo-fuzz and a nightly toolchain.
    Fuzz(fuzz::Options),
    /// Checks every published crate with the minimum Rust version; skipped where rustup does not have it.
    Msrv,
    /// Changes the code of the crates in many small ways, each of which a test has to notice; see docs/mutants.md.
    Mutants(mutants::Options),
    /// Packages every crate as it would be published, and runs the programs in examples/adopters against the packages.
    Package,
    /// Plays bad days of a whole client in virtual time; see docs/simulation.md.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Its options; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Follows twenty nodes over real sockets, and fails if the client grows; see docs/soak.md.
    Soak(soak::Options),
    /// Counts doc comments that open with a clause.
    Prose,
    /// Adds blocks to the table of waypoints of a network, or checks it; see docs/design.md.
    Waypoints {
        /// The network, mainnet or testnet, and `--check`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Checks the command qrinfo against a Dash Core binary of yours; see docs/live.md. Skipped without one.
    Live(live::Options),
}

fn main() -> ExitCode {
    if let Some(code) = api::stand_in() {
        return code;
    }
    let result = match Cli::parse().task {
        Task::Ci => ci::run(),
        Task::Api { write } => api::check(&sources::root(), write),
        Task::Bench { args } => bench::run(&args),
        Task::Conformance { write } => conformance::run(&sources::root(), write),
        Task::Fuzz(options) => fuzz::fuzz(&sources::root(), &options),
        Task::Msrv => msrv::check(&sources::root()),
        Task::Mutants(options) => mutants::mutants(&sources::root(), &options),
        Task::Package => package::check(&sources::root()),
        Task::Simulate { args } => simulate::run(&args),
        Task::Soak(options) => soak::soak(&options),
        Task::Prose => prose::check(&sources::root()),
        Task::Waypoints { args } => waypoints::run(&args),
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
