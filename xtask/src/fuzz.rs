//! Fuzzing with libFuzzer.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::sources::{self, run};

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct Options {
    /// The target: a function of the crate qrinfo-fuzz.
    target: String,
    /// The time to fuzz for.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Fuzzes one target; new inputs go to a directory below `target`, the committed corpus is only read.
pub(crate) fn fuzz(root: &Path, options: &Options) -> Result<()> {
    let is_installed = Command::new(sources::cargo())
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_installed {
        bail!("cargo-fuzz is missing; install it with `cargo install cargo-fuzz`, and a nightly toolchain");
    }
    let grown = root.join("target/fuzz-corpus").join(&options.target);
    std::fs::create_dir_all(&grown)?;
    let mut command = Command::new("cargo");
    // The toolchain that runs this task names itself in the environment.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command.current_dir(root).args(["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz/harness"]);
    command.arg("--target-dir").arg(root.join("target/fuzz"));
    command.arg(&options.target).arg(&grown);
    let committed = root.join("fuzz/corpus").join(&options.target);
    if committed.is_dir() {
        command.arg(committed);
    }
    command.arg("--").args([format!("-max_total_time={}", options.seconds), "-rss_limit_mb=1024".to_owned()]);
    command.args(["-max_len=65536", "-timeout=10"]);
    run(&mut command)
}
