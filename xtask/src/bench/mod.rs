//! `cargo xtask bench`: the figures in docs/benchmarks.md.

mod x11;

use anyhow::Result;
use clap::Subcommand;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Hashes per second of spv-x11 beside the C code of rs-x11-hash, in one run.
    X11,
}

pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::X11 => x11::run(),
    }
}
