//! The public API of each published crate as text in `docs/api`, which a change of the API has to update.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

use crate::sources::{self, packages, run};

/// The toolchain whose rustdoc makes the lines of `docs/api`. Another one would word them differently, and the crate
/// `public-api` in `api/Cargo.toml` reads the format of this one.
const TOOLCHAIN: &str = "1.95";

/// The variable that makes this program stand in for rustdoc. Its value is the path of rustdoc.
const RUSTDOC: &str = "QRINFO_RUSTDOC";

/// The lines of a difference that are shown.
const SHOWN: usize = 60;

/// Compares the API with `docs/api`, or writes it there.
pub(crate) fn check(root: &Path, write: bool) -> Result<()> {
    let version = version()?;
    if !version.starts_with(&format!("rustc {TOOLCHAIN}.")) {
        eprintln!("skipped: docs/api is made with Rust {TOOLCHAIN}, and this is {version}");
        return Ok(());
    }
    let (kept, made) = (root.join("docs/api"), root.join("target/api"));
    make(root, &made)?;
    let names: BTreeSet<_> = files(&kept)?.union(&files(&made)?).cloned().collect();
    let mut changes = String::new();
    for name in &names {
        let read = |directory: &Path| fs::read_to_string(directory.join(name)).unwrap_or_default();
        changes.push_str(&difference(name, &read(&kept), &read(&made)));
    }
    if write {
        let _ = fs::remove_dir_all(&kept);
        return fs::rename(&made, &kept).context("cannot write docs/api");
    }
    ensure!(
        changes.is_empty(),
        "the public API differs from docs/api; if that is meant, run `cargo xtask api --write`, and name the change in \
         CHANGELOG.md:\n{changes}"
    );
    eprintln!("the public API of {} crates is that of docs/api", names.len());
    Ok(())
}

/// Stands in for rustdoc if a build of this task calls it: rustdoc with its unstable options. Cargo itself and the
/// compiler must not see the variable, because many build scripts would run again, and the whole build with them.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let rustdoc = env::var_os(RUSTDOC)?;
    let status = Command::new(rustdoc).args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn version() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes the API of each published library to a directory.
fn make(root: &Path, directory: &Path) -> Result<()> {
    let mut doc = Command::new(sources::cargo());
    doc.current_dir(root).args(["doc", "--workspace", "--all-features", "--no-deps", "--lib", "--locked", "--quiet"]);
    doc.env(RUSTDOC, env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into()));
    doc.env("RUSTDOC", env::current_exe().context("cannot find this program")?);
    run(doc.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json"))?;
    let _ = fs::remove_dir_all(directory);
    let mut list = Command::new(sources::cargo());
    list.current_dir(root).args(["run", "--quiet", "--locked", "--package", "qrinfo-api", "--"]).arg(directory);
    for package in packages(root)?.iter().filter(|package| package.is_published && package.has_library) {
        list.arg(root.join("target/doc").join(package.name.replace('-', "_")).with_extension("json"));
    }
    run(&mut list)
}

fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(BTreeSet::new()) };
    entries.map(|entry| Ok(entry?.file_name().into())).collect()
}

/// The lines that are in one of two texts alone, below the name of their file.
fn difference(name: &Path, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let [old, new] = [before, after].map(|text| text.lines().collect::<BTreeSet<_>>());
    let removed = old.difference(&new).map(|line| format!("- {line}\n"));
    let added = new.difference(&old).map(|line| format!("+ {line}\n"));
    let lines: String = removed.chain(added).take(SHOWN).collect();
    format!("{}\n{lines}", name.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_lines_of_one_side_alone() {
        let text = difference(Path::new("a.txt"), "one\ntwo\n", "two\nthree\n");
        assert_eq!(text, "a.txt\n- one\n+ three\n");
        assert_eq!(difference(Path::new("a.txt"), "one\n", "one\n"), "");
    }
}
