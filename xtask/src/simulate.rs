use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{planted, sources};

/// Runs the simulation, in a package of its own: this one must not need the product to compile.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some((first, names)) = args.split_first()
        && first == "--planted"
    {
        return planted::run(&sources::root(), names);
    }
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--locked", "--quiet", "--profile", "simulate", "--package", "qrinfo-simulate"])
        .args(["--config", planted::SEEDED, "--"])
        .args(args)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the simulation failed");
    Ok(())
}
