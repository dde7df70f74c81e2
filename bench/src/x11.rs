use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::cargo_run;

/// Runs the detached package that is built with all implementations.
pub(super) fn run() -> Result<()> {
    let clang = Command::new("clang").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !clang.is_ok_and(|status| status.success()) {
        bail!("the C code of rs-x11-hash is built by clang, which is not installed (on Debian: apt-get install clang)");
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spv-x11/bench-c/Cargo.toml");
    cargo_run([OsStr::new("--manifest-path"), package.as_os_str()])
}
