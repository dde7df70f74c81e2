use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sources;

/// Changes or checks a table of waypoints, in a program of its own: this one must not need the product to compile.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let status = Command::new(sources::cargo())
        .args(["run", "--locked", "--quiet", "--package", "spv-headers", "--example", "waypoints", "--"])
        .args(args)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the table was not changed");
    Ok(())
}
