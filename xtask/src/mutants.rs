//! Mutation tests with cargo-mutants.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use clap::Args;

use crate::sources::{self, run};

/// The crates whose mutants are looked for.
const CRATES: [&str; 5] = ["qrinfo-core", "qrinfo-correlate", "qrinfo-scheduler", "qrinfo-recovery", "qrinfo-verify"];

/// Options of `cargo xtask mutants`.
#[derive(Args)]
pub(crate) struct Options {
    /// Crates to look at; by default core, correlate, scheduler, recovery and verify.
    #[arg(long = "crate", value_name = "NAME")]
    crates: Vec<String>,
    /// Part K of N of the mutants, K from 0 on.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Prints the mutants instead of testing them.
    #[arg(long)]
    list: bool,
}

/// Tests the mutants of one crate after the other in a copy of the workspace. Each must fail a test of its crate.
pub(crate) fn mutants(root: &Path, options: &Options) -> Result<()> {
    if Command::new(sources::cargo()).args(["mutants", "--version"]).output().is_ok_and(|told| told.status.success()) {
        let mut crates: Vec<_> = options.crates.iter().map(String::as_str).collect();
        if crates.is_empty() {
            crates.extend(CRATES);
        }
        std::fs::create_dir_all(root.join("target/mutants"))?;
        return crates.into_iter().try_for_each(|name| run(&mut command(root, options, name)));
    }
    bail!("cargo-mutants is missing; install it with `cargo install cargo-mutants`");
}

fn command(root: &Path, options: &Options, name: &str) -> Command {
    let mut command = Command::new(sources::cargo());
    command.current_dir(root).args(["mutants", "--package", name, "--all-features"]);
    command.args(options.shard.iter().flat_map(|shard| ["--shard", shard]));
    if options.list {
        command.arg("--list");
        return command;
    }
    let target = root.join("target/mutants");
    // What the copy shares with other copies is built once, and without what only a debugger reads.
    command.env("CARGO_TARGET_DIR", target.join("build")).env("CARGO_INCREMENTAL", "1");
    command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    // A mutant that survives runs every test: here fewer of the seeded schedules will do.
    command.env("SPV_TEST_SCHEDULES", "150");
    command.args(["--test-tool", "nextest", "--jobs", "1", "--output"]).arg(target.join(name));
    command
}
