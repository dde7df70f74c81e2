//! Writes the public API of a crate as lines of text, from the JSON that rustdoc makes of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use public_api::Builder;

/// Takes a directory for the output and the JSON files.
fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().context("name the directory for the output, then the JSON files")?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    arguments.try_for_each(|json| write(&json, &directory))
}

fn write(json: &Path, directory: &Path) -> Result<()> {
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()
        .with_context(|| format!("cannot read {}", json.display()))?;
    let path = directory.join(json.with_extension("txt").file_name().unwrap_or_default());
    fs::write(&path, concise(api.items().map(ToString::to_string))).context("cannot write the API")
}

/// The lines that a user can depend on and that the others do not imply.
fn concise(lines: impl Iterator<Item = String>) -> String {
    let mut methods = None;
    let mut text = String::new();
    for line in lines {
        let is_implied = methods.as_ref().is_some_and(|prefix: &String| line.starts_with(prefix));
        if is_implied || is_internal(&line) {
            continue;
        }
        if line.starts_with("impl") {
            methods = methods_of_standard_trait(&line);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Returns true for an implementation that the compiler adds. `Send` and `Sync` are part of a promise, the rest is not.
fn is_internal(line: &str) -> bool {
    const INTERNAL: [&str; 6] =
        ["Freeze", "Unpin", "UnsafeUnpin", "RefUnwindSafe", "UnwindSafe", "StructuralPartialEq"];
    let Some((head, _)) = line.split_once(" for ").filter(|_| line.starts_with("impl")) else { return false };
    INTERNAL.iter().any(|name| head.rsplit("::").next() == Some(name))
}

/// The beginning of the lines of methods that an implementation of a trait of the standard library has anyway.
fn methods_of_standard_trait(line: &str) -> Option<String> {
    let (head, of) = line.split_once(" for ")?;
    let is_standard = ["core::", "alloc::", "std::"].iter().any(|library| head.contains(&format!(" {library}")));
    let name = of.split(['<', ' ']).next().unwrap_or_default();
    is_standard.then(|| format!("pub fn {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_implementation_implies_its_methods() {
        let lines = [
            "pub struct a::B",
            "impl a::B",
            "pub fn a::B::get(&self) -> u8",
            "impl core::clone::Clone for a::B",
            "pub fn a::B::clone(&self) -> a::B",
            "impl core::marker::Freeze for a::B",
            "impl core::marker::Send for a::B",
            "impl tower_service::Service<u8> for a::B",
            "pub fn a::B::call(&mut self, u8)",
            "pub fn a::free()",
        ];
        let text = concise(lines.iter().map(ToString::to_string));
        let expected = [0, 1, 2, 3, 6, 7, 8, 9].map(|n| lines[n]).join("\n") + "\n";
        assert_eq!(text, expected);
    }
}
