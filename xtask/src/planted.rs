//! Bugs that are planted to measure the simulation: each breaks one rule of the library in a copy of the workspace.
//!
//! All of them are in one build, and an environment variable switches one on, so that the library has nothing of them.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// Makes tokio's own choices follow from the seed of a day.
pub(crate) const SEEDED: &str = r#"build.rustflags=["--cfg","tokio_unstable"]"#;

/// The variable that names the bug.
const VARIABLE: &str = "QRINFO_PLANTED";

/// Seeds within which each bug is to be found.
const SEEDS: &str = "300";

/// The switch, which is added to the crate that all others use.
const SWITCH: &str = r#"
/// Returns `true` for the bug that is switched on.
#[doc(hidden)]
pub fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("VARIABLE").ok()).as_deref() == Some(name)
}
"#;

/// A bug: a rule, and the change that breaks it.
struct Bug {
    name: String,
    rule: String,
    file: String,
    instead_of: String,
    there_is: String,
}

/// Builds the library with all bugs, looks for each of those named, or for all, and prints a table.
#[expect(clippy::print_stdout, reason = "the table is its output")]
pub(crate) fn run(root: &Path, names: &[String]) -> Result<()> {
    let bugs = bugs(&root.join("simulate/planted"))?;
    let copy = root.join("target/planted");
    copy_sources(root, &copy, &bugs)?;
    build(&copy)?;
    println!("| planted bug | rule | found by seed |\n|---|---|---|");
    let mut missed = 0;
    for bug in bugs.iter().filter(|bug| names.is_empty() || names.contains(&bug.name)) {
        let found = bug.find(&copy)?;
        missed += usize::from(found.is_none());
        println!("| {} | {} | {} |", bug.name, bug.rule, found.as_deref().unwrap_or("not found"));
    }
    ensure!(missed == 0, "{missed} bugs were not found");
    Ok(())
}

fn bugs(directory: &Path) -> Result<Vec<Bug>> {
    let mut paths: Vec<_> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Bug::read(path).with_context(|| format!("cannot read {}", path.display()))).collect()
}

// === impl Bug ===

impl Bug {
    /// Reads a rule, a file, the text of the file, and the text in its place.
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let (head, change) = text.split_once("\n=== instead of\n").context("it does not say what is replaced")?;
        let (rule, file) = head.split_once('\n').context("it names no file")?;
        let (instead_of, there_is) = change.split_once("\n=== there is\n").context("it does not say by what")?;
        let name = path.file_stem().context("it has no name")?.to_string_lossy().into_owned();
        let there_is = there_is.trim_end_matches('\n');
        Ok(Self {
            name,
            rule: rule.to_owned(),
            file: file.to_owned(),
            instead_of: instead_of.to_owned(),
            there_is: there_is.to_owned(),
        })
    }

    /// The text of its file with the bug.
    fn plant(&self, text: &str) -> Result<String> {
        let count = text.matches(&self.instead_of).count();
        ensure!(count == 1, "{}: {} has the text to replace {count} times", self.name, self.file);
        let core = if self.file.starts_with("qrinfo-core/") { "crate" } else { "qrinfo_core" };
        let switched = self.there_is.replace("PLANTED", &format!("{core}::planted(\"{}\")", self.name));
        Ok(text.replace(&self.instead_of, &switched))
    }

    /// The first seed that fails, and does not without the bug.
    fn find(&self, copy: &Path) -> Result<Option<String>> {
        let seed = failed(copy, &self.name, &["--seeds", SEEDS, "--first"])?;
        if let Some(seed) = &seed {
            let is_sound = failed(copy, "none", &["--from", seed, "--seeds", "1"])?.is_none();
            ensure!(is_sound, "day {seed} fails without any bug");
        }
        Ok(seed)
    }
}

/// Plays days with a bug, each once, and returns the first seed that fails.
fn failed(copy: &Path, bug: &str, days: &[&str]) -> Result<Option<String>> {
    let output = Command::new(copy.join("../planted-build/simulate/qrinfo-simulate"))
        .args(days)
        .arg("--once")
        .env(VARIABLE, bug)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run the simulation")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seed = text.lines().find_map(|line| line.strip_prefix("seed ")?.split(' ').next());
    Ok(seed.map(str::to_owned))
}

/// Copies what the repository has, with the bugs. What is there already stays, so that little is built again.
fn copy_sources(root: &Path, copy: &Path, bugs: &[Bug]) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "git cannot list the files");
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), copy.join(name));
        if from.is_file() {
            let bytes = with_bugs(name, fs::read(&from)?, bugs).with_context(|| format!("cannot copy {name}"))?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(copy))?;
            fs::write(&to, bytes)?;
        }
    }
    Ok(())
}

/// The bytes of a file with its bugs, and with the switch.
fn with_bugs(name: &str, bytes: Vec<u8>, bugs: &[Bug]) -> Result<Vec<u8>> {
    let mut bugs = bugs.iter().filter(|bug| bug.file == name).peekable();
    let has_switch = name == "qrinfo-core/src/lib.rs";
    if bugs.peek().is_none() && !has_switch {
        return Ok(bytes);
    }
    let mut text = bugs.try_fold(String::from_utf8(bytes)?, |text, bug| bug.plant(&text))?;
    if has_switch {
        text += &SWITCH.replace("VARIABLE", VARIABLE);
    }
    Ok(text.into())
}

fn build(copy: &Path) -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--quiet", "--profile", "simulate", "--package", "qrinfo-simulate"])
        .args(["--config", SEEDED, "--config", "build.incremental=false", "--target-dir"])
        .arg(copy.join("../planted-build"))
        .current_dir(copy)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the library with its planted bugs does not compile");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    #[test]
    fn every_bug_finds_the_text_that_it_replaces() {
        let root = sources::root();
        for Bug { name, file, instead_of, .. } in bugs(&root.join("simulate/planted")).unwrap() {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert_eq!(text.matches(&instead_of).count(), 1, "{name}");
        }
    }
}
