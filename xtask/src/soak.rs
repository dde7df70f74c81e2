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
    // glibc gives each thread memory of its own, which fills and empties in its own time and hides what the client does.
    command.env("MALLOC_ARENA_MAX", "1");
    run(command.arg("--").arg(options.minutes.to_string()))
}
