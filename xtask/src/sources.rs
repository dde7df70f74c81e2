//! The workspace's own files, and the commands that work on them.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace's root, from the directory that cargo names.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `root`, sorted, without those that a build made.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut rest = vec![root.to_owned()];
    while let Some(directory) = rest.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                rest.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) is_published: bool,
    pub(crate) has_library: bool,
    /// The minimum Rust version, such as 1.90.
    pub(crate) rust_version: Option<String>,
    /// Its features, sorted.
    pub(crate) features: Vec<String>,
}

/// The packages of the workspace, as cargo lists them.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(cargo())
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().map(Package::read).collect()
}

// === impl Package ===

impl Package {
    fn read(package: &Value) -> Result<Self> {
        let is_library = |target: &Value| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"lib".into()));
        Ok(Self {
            name: package["name"].as_str().context("a package has no name")?.to_owned(),
            is_published: package["publish"].is_null(),
            has_library: package["targets"].as_array().is_some_and(|targets| targets.iter().any(is_library)),
            rust_version: package["rust_version"].as_str().map(str::to_owned),
            features: package["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command without input; fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "failed: {command:?}");
    Ok(())
}
