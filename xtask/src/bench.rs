use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

/// Runs the benchmarks in a release build, in a package of their own: this one must not need the product to compile.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "--quiet", "--package", "qrinfo-bench", "--"])
        .args(args)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the benchmark failed");
    Ok(())
}
