//! The minimum Rust version, checked with that toolchain.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::sources::{packages, run};

/// Checks every published crate with the version that its manifest names, if rustup has it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let packages: Vec<_> = packages(root)?.into_iter().filter(|package| package.is_published).collect();
    let version = packages.first().and_then(|package| package.rust_version.as_deref());
    let version = version.context("the manifests name no rust-version")?;
    let Some(toolchain) = installed(version) else {
        eprintln!("skipped: Rust {version} is not installed; `rustup toolchain install {version}.0` brings it");
        return Ok(());
    };
    let mut check = Command::new("rustup");
    check.current_dir(root).args(["run", &toolchain, "cargo", "check", "--quiet", "--locked", "--all-features"]);
    // The compilers would not share a directory: each would build everything again.
    check.args(["--target-dir", "target/msrv"]).args(packages.iter().flat_map(|package| ["-p", &package.name]));
    run(check.env_remove("RUSTC").env_remove("RUSTDOC"))
}

/// The installed toolchain of a version.
fn installed(version: &str) -> Option<String> {
    let output = Command::new("rustup").args(["toolchain", "list"]).output().ok()?;
    named(&String::from_utf8_lossy(&output.stdout), version)
}

/// The first toolchain of a version in rustup's list.
fn named(list: &str, version: &str) -> Option<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let is_of_version = |name: &&str| name.strip_prefix(version).is_some_and(|rest| rest.starts_with(['.', '-']));
    names.filter(is_of_version).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_found_with_and_without_a_patch_version() {
        let list = "stable-x86_64 (active, default)\n1.9-x86_64\n1.90.0-x86_64\n1.95-x86_64\n";
        assert_eq!(named(list, "1.90").as_deref(), Some("1.90.0-x86_64"));
        assert_eq!(named(list, "1.95").as_deref(), Some("1.95-x86_64"));
        assert_eq!(named(list, "1.89"), None);
    }
}
