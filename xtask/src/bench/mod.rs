//! `cargo xtask bench`: the figures in docs/benchmarks.md.

mod makespan;
mod memory;
mod overhead;
mod verify;
mod x11;

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Hashes per second of spv-x11 beside the C code of rs-x11-hash and the Rust code of dash-pow, in one run.
    X11,
    /// Peak heap of a client, in sequence and in parallel.
    Memory,
    /// CPU time per request through the scheduler beside a bare tower stack, in one run.
    Overhead,
    /// Makespan of the real stack over simulated nodes in virtual time, as a multiple of the floor.
    Makespan {
        /// A directory of scenario files.
        #[arg(long, value_name = "DIR", default_value = "../shared/bench/scenarios")]
        scenarios: PathBuf,
    },
    /// Time to verify replies of mainnet's size.
    Verify {
        /// A directory with recorded replies, of which `mainnet` is read; without it only made-up ones are measured.
        #[arg(long, value_name = "DIR", default_value = "../shared/vectors")]
        vectors: PathBuf,
    },
}

pub(crate) fn run(bench: Bench) -> Result<()> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    match bench {
        Bench::X11 => x11::run(),
        Bench::Memory => memory::run(),
        Bench::Overhead => overhead::run(),
        Bench::Makespan { scenarios } => makespan::run(&scenarios),
        Bench::Verify { vectors } => verify::run(&vectors),
    }
}

/// Runs the same command again in a release build: `cargo xtask` is a debug build, and no measure of anything.
fn run_optimised() -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "--quiet", "--package", "xtask", "--"])
        .args(env::args_os().skip(1))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the benchmark failed");
    Ok(())
}
