use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::sources::{Package, packages, root};

/// Runs every check, the quick ones first, and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let mut ci = Ci::default();
    ci.step("format", cargo(["fmt", "--all", "--check"]))?;
    let xtask = |task: &[&str]| {
        let mut command = Command::new(env::current_exe().unwrap_or_else(|_| "xtask".into()));
        command.args(task);
        command
    };
    ci.step("prose", xtask(&["prose"]))?;
    ci.step("rules and promises", xtask(&["conformance"]))?;
    ci.step(
        "lints",
        cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"]),
    )?;
    for check in alone()? {
        ci.step(&check.name(), check.command())?;
    }
    ci.step("minimum Rust version", xtask(&["msrv"]))?;
    for (name, features) in [
        ("docs", &["--all-features"][..]),
        ("docs, default features", &[]),
        ("docs, no features", &["--no-default-features"]),
    ] {
        let mut docs = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
        docs.args(features).env("RUSTDOCFLAGS", "-D warnings");
        ci.step(name, docs)?;
    }
    ci.step("public API", xtask(&["api"]))?;
    ci.step("doc tests", cargo(["test", "--doc", "--workspace", "--all-features", "--locked"]))?;
    for (package, example, features) in EXAMPLES {
        let run = ["run", "--quiet", "--locked", "-p", package, "--example", example, "--features", features];
        ci.step(
            &format!("example {example} of {package}, {}", if features.is_empty() { "no features" } else { features }),
            cargo(run),
        )?;
    }
    // A workspace build unifies features: the default library has to be tested by itself.
    ci.step("tests, sequential library", test(&["-p", "qrinfo"]))?;
    ci.step("tests, all features", test(&["--workspace", "--all-features"]))?;
    // Without the feature, signatures of before v19 are named as unproven.
    ci.step("tests, no signatures of before v19", test(&["-p", "qrinfo-verify", "--test", "it"]))?;
    ci.step("500 bad days", xtask(&["simulate", "--seeds", "500"]))?;
    ci.step("packages and adopters", xtask(&["package"]))?;
    ci.summary();
    Ok(())
}

/// Examples that show how to use a crate: package, name, features. They have to run to their end.
const EXAMPLES: [(&str, &str, &str); 6] = [
    ("qrinfo", "sequential", ""),
    ("qrinfo", "existing_client", ""),
    ("qrinfo", "existing_client", "parallel-qrinfo"),
    ("qrinfo", "own_stack", "parallel-qrinfo"),
    ("qrinfo", "chain_lock", "parallel-qrinfo,verify"),
    ("qrinfo-scheduler", "compose", ""),
];

/// The greatest number of features of which every combination is built. Beyond it: each pair, and all together.
const MOST_COMBINED: usize = 4;

#[derive(Default)]
struct Ci {
    passed: Vec<(String, Duration)>,
}

impl Ci {
    fn step(&mut self, name: &str, mut command: Command) -> Result<()> {
        eprintln!("\n== {name}");
        #[expect(clippy::disallowed_methods, reason = "how long a step takes on this machine")]
        let start = std::time::Instant::now();
        let status =
            command.stdin(Stdio::null()).status().with_context(|| format!("{name}: cannot run {command:?}"))?;
        if !status.success() {
            bail!("{name} failed; run it alone: {}", shown(&command));
        }
        self.passed.push((name.to_owned(), start.elapsed()));
        Ok(())
    }

    fn summary(&self) {
        eprintln!();
        for (name, took) in &self.passed {
            eprintln!("{:>7.1} s  {name}", took.as_secs_f64());
        }
        eprintln!("ci: all {} checks passed", self.passed.len());
    }
}

fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// `cargo nextest` where it is installed, `cargo test` elsewhere.
fn test(packages: &[&str]) -> Command {
    let has_nextest = cargo(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let runner: &[&str] = if has_nextest { &["nextest", "run"] } else { &["test", "--all-targets"] };
    cargo(runner.iter().chain(packages).copied().chain(["--locked"]))
}

/// One library or command, built with one choice of features.
struct Alone {
    package: String,
    features: Option<String>,
}

impl Alone {
    fn name(&self) -> String {
        format!("{} alone, {}", self.package, self.features.as_deref().unwrap_or("no features"))
    }

    fn command(&self) -> Command {
        let mut command = cargo(["check", "--quiet", "--locked", "--no-default-features", "-p", &self.package]);
        command.args(self.features.iter().flat_map(|features| ["--features", features]));
        command
    }
}

/// Every crate of the workspace with every combination of its features. If there are too many, those of at most two and
/// the one of all are left.
fn alone() -> Result<Vec<Alone>> {
    let mut checks = Vec::new();
    for Package { name, features, .. } in packages(&root())? {
        let optional: Vec<_> = features.iter().map(String::as_str).filter(|feature| *feature != "default").collect();
        ensure!(optional.len() < 32, "{name} has too many features to choose from");
        let is_built = |chosen: &u32| {
            let count = chosen.count_ones() as usize;
            optional.len() <= MOST_COMBINED || count <= 2 || count == optional.len()
        };
        let combinations = (0..1_u32 << optional.len()).filter(is_built).map(|chosen| {
            let features: Vec<_> =
                (0..).zip(&optional).filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, name)| *name).collect();
            (!features.is_empty()).then(|| features.join(","))
        });
        checks.extend(combinations.map(|features| Alone { package: name.clone(), features }));
    }
    Ok(checks)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
