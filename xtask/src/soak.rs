use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::sources::{self, run};

/// Options of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// The time to follow for. Growth is judged from the twelfth part of it on: of an hour, after five minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=1_440))]
    minutes: u64,
}

/// Follows nodes over real sockets for a while, and fails if the client grows.
pub(crate) fn soak(options: &Options) -> Result<()> {
    let mut command = Command::new(sources::cargo());
    command.args(["run", "--release", "--locked", "--quiet", "--package", "qrinfo-bench", "--example", "soak"]);
    // glibc keeps memory for each thread, and much of what was given back to it. What grows is then mostly its own.
    for (variable, value) in [
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "32768"),
        ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ("MALLOC_TOP_PAD_", "0"),
    ] {
        command.env(variable, value);
    }
    run(command.arg("--").arg(options.minutes.to_string()))
}
