use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

/// Runs the simulation, in a package of its own: this one must not need the product to compile.
///
/// The flag makes tokio's own choices follow from the seed of a day.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--locked", "--quiet", "--profile", "simulate", "--package", "qrinfo-simulate"])
        .args(["--config", r#"build.rustflags=["--cfg","tokio_unstable"]"#, "--"])
        .args(args)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the simulation failed");
    Ok(())
}
