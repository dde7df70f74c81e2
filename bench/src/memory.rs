use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

/// Runs the example that measures: its allocator counts, which would slow everything else here.
pub(super) fn run() -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "-p", "qrinfo", "--features", "parallel-qrinfo", "--example", "memory"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the benchmark failed");
    Ok(())
}
