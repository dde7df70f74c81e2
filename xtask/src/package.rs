//! The crates as they would be published, and programs that depend on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::sources::{self, packages, run};

/// Packages every crate, then builds and runs each adopter against the packages.
pub(crate) fn check(root: &Path) -> Result<()> {
    let packages = unpacked(root)?;
    for adopter in adopters(root)? {
        let mut command = Command::new(sources::cargo());
        command.args(["run", "--quiet", "--manifest-path"]).arg(adopter.join("Cargo.toml"));
        command.arg("--target-dir").arg(root.join("target/adopters"));
        for (name, path) in &packages {
            command.arg("--config").arg(format!("patch.crates-io.{name}.path={path:?}"));
        }
        eprintln!("-- {}", adopter.file_name().unwrap_or_default().display());
        run(&mut command)?;
    }
    Ok(())
}

/// The programs in `examples/adopters` that need nothing but the registry and the packages.
fn adopters(root: &Path) -> Result<Vec<PathBuf>> {
    let mut adopters = Vec::new();
    for entry in fs::read_dir(root.join("examples/adopters")).context("cannot read examples/adopters")? {
        let path = entry?.path();
        // dashcore is not on the registry.
        if path.join("Cargo.toml").exists() && !path.ends_with("dashcore") {
            adopters.push(path);
        }
    }
    adopters.sort();
    Ok(adopters)
}

/// Name and directory of each package, unpacked below `target`.
fn unpacked(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut package = Command::new(sources::cargo());
    package.current_dir(root).args(["package", "--quiet", "--workspace", "--no-verify", "--allow-dirty", "--locked"]);
    let private: Vec<_> = packages(root)?.into_iter().filter(|package| !package.is_published).collect();
    package.args(private.iter().flat_map(|package| ["--exclude", &package.name]));
    let archives = root.join("target/package");
    if archives.exists() {
        fs::remove_dir_all(&archives).context("cannot clear target/package")?;
    }
    run(&mut package)?;
    let directory = root.join("target/packages");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("cannot clear target/packages")?;
    }
    fs::create_dir_all(&directory).context("cannot make target/packages")?;
    let mut packages = Vec::new();
    for entry in fs::read_dir(&archives).context("cannot read target/package")? {
        let archive = entry?.path();
        let Some(stem) = archive.file_name().and_then(|name| name.to_str()?.strip_suffix(".crate")) else { continue };
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&directory))?;
        let path = directory.join(stem);
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            ensure!(path.join(file).is_file(), "{stem} has no {file}");
        }
        let (name, _version) = stem.rsplit_once('-').with_context(|| format!("{stem} has no version"))?;
        packages.push((name.to_owned(), path.canonicalize().with_context(|| format!("cannot find {stem}"))?));
    }
    packages.sort();
    Ok(packages)
}
