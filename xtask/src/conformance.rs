//! Rules of the protocol, each with the code that follows it and the tests that show it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::sources;

const RULES: &str = "docs/conformance.toml";
const DOCUMENT: &str = "docs/conformance.md";
const PROMISES: &str = "SECURITY.md";

/// Checks every rule and every promise of SECURITY.md, and that the document is up to date; writes it on demand.
pub(crate) fn run(root: &Path, is_written: bool) -> Result<()> {
    let text = read(&root.join(RULES))?;
    let Table { rule: rules } = toml::from_str(&text).with_context(|| format!("{RULES} is no table of rules"))?;
    let tests = Tests::below(root)?;
    let mut faults: Vec<String> = rules.iter().flat_map(|rule| rule.faults(root, &tests)).collect();
    let promises = tests.named_in(&read(&root.join(PROMISES))?);
    faults.extend(promises.iter().filter(|(_, exists)| !exists).map(|(name, _)| format!("{PROMISES}: no test {name}")));
    ensure!(faults.is_empty(), "rules without code or test:\n{}", faults.join("\n"));

    let document = shown(&rules);
    let path = root.join(DOCUMENT);
    if is_written {
        fs::write(&path, document).with_context(|| format!("cannot write {DOCUMENT}"))?;
    } else if read(&path)? != document {
        bail!("{DOCUMENT} differs from {RULES}; run `cargo xtask conformance --write`");
    }
    eprintln!("{} rules and {} promises have their tests", rules.len(), promises.len());
    Ok(())
}

#[derive(Deserialize)]
struct Table {
    rule: Vec<Rule>,
}

/// One rule of a specification or of Dash Core's behaviour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Specification: `DIP-24`, `Dash Core` and so on.
    source: String,
    /// The rule in one sentence.
    text: String,
    /// The place that follows it: `path#item`.
    code: String,
    /// The tests that show it: `crate::name`.
    tests: Vec<String>,
}

impl Rule {
    fn faults(&self, root: &Path, tests: &Tests) -> Vec<String> {
        let mut faults: Vec<_> = self
            .tests
            .iter()
            .filter(|name| !tests.contains(name))
            .map(|name| format!("no test {name}: {}", self.text))
            .collect();
        if self.tests.is_empty() {
            faults.push(format!("no test is named: {}", self.text));
        }
        let (path, item) = self.place();
        if !fs::read_to_string(root.join(path)).is_ok_and(|text| text.contains(item)) {
            faults.push(format!("no code {}: {}", self.code, self.text));
        }
        faults
    }

    /// Path and item of the code.
    fn place(&self) -> (&str, &str) {
        self.code.split_once('#').unwrap_or((&self.code, ""))
    }
}

/// The names of all test functions, by crate.
struct Tests(BTreeMap<String, BTreeSet<String>>);

impl Tests {
    fn below(root: &Path) -> Result<Self> {
        let mut tests = BTreeMap::<String, BTreeSet<String>>::new();
        for path in sources::rust_files(root)? {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let Some(package) = relative.iter().next() else { continue };
            let names = tests.entry(package.to_string_lossy().into_owned()).or_default();
            names.extend(functions(&read(&path)?).map(str::to_owned));
        }
        Ok(Self(tests))
    }

    fn contains(&self, name: &str) -> bool {
        name.split_once("::")
            .is_some_and(|(package, test)| self.0.get(package).is_some_and(|names| names.contains(test)))
    }

    /// The tests that a document names between backticks, and whether each exists.
    fn named_in(&self, text: &str) -> Vec<(String, bool)> {
        let quoted = text.split('`').skip(1).step_by(2);
        let is_name = |name: &&str| {
            name.split_once("::").is_some_and(|(package, _)| self.0.contains_key(package)) && !name.contains(' ')
        };
        quoted.filter(is_name).map(|name| (name.to_owned(), self.contains(name))).collect()
    }
}

/// The functions that a test attribute, or the macro `proptest!`, makes tests.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let (_, name) = line.split_once("fn ")?;
        let name = name.split('(').next()?;
        std::mem::take(&mut is_test).then_some(name)
    })
}

fn shown(rules: &[Rule]) -> String {
    let mut document = format!(
        "# Conformance\n\n*Rules that the code relies on, each with its place and its tests. Made from \
         `{RULES}` by `cargo xtask conformance --write`; `cargo xtask ci` fails on a rule without a test.*\n"
    );
    let mut source = "";
    for rule in rules {
        if rule.source != source {
            source = &rule.source;
            let _ = write!(document, "\n## {source}\n\n| rule | code | tests |\n|---|---|---|\n");
        }
        let (path, item) = rule.place();
        let tests = rule.tests.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(document, "| {} | [`{item}`](../{path}) | {tests} |", rule.text);
    }
    document
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_functions_behind_an_attribute() {
        let text = "#[test]\nfn a() {\nfn b() {\n    #[tokio::test(start_paused = true)]\n    async fn c() {";
        assert_eq!(functions(text).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_rule_without_code_or_test_is_a_fault() {
        let root = sources::root();
        let tests = Tests::below(&root).unwrap();
        let rule = |code: &str, tests: &[&str]| Rule {
            source: "DIP-0".into(),
            text: "A rule.".into(),
            code: code.into(),
            tests: tests.iter().map(|name| (*name).to_owned()).collect(),
        };
        let here = "xtask/src/conformance.rs#fn run";
        let this = "xtask::a_rule_without_code_or_test_is_a_fault";
        assert!(rule(here, &[this]).faults(&root, &tests).is_empty());
        assert_eq!(rule(here, &[]).faults(&root, &tests).len(), 1);
        assert_eq!(rule(here, &["xtask::none"]).faults(&root, &tests).len(), 1);
        assert_eq!(rule("xtask/src/none.rs#fn run", &[this]).faults(&root, &tests).len(), 1);
        let named = tests.named_in(&format!("`{this}`, `xtask::none`, `std::mem`"));
        assert_eq!(named, [(this.to_owned(), true), ("xtask::none".to_owned(), false)]);
    }
}
