//! Doc comments that open with a question word, which readers parse twice.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::sources;

/// Words that open a clause instead of naming the item.
const CLAUSE_WORDS: [&str; 8] = ["What", "Whether", "Who", "How", "Where", "When", "As", "Of"];

/// Fails if more than one doc comment in a hundred opens with a clause.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut count = 0;
    let mut clauses = Vec::new();
    for path in sources::rust_files(root)? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (line, opening) in openings(&text) {
            count += 1;
            if CLAUSE_WORDS.contains(&first_word(opening)) {
                clauses.push(format!("{}:{line}: {opening}", path.display()));
            }
        }
    }
    ensure!(
        clauses.len() * 100 <= count,
        "{} of {count} doc comments open with a clause; open them with a noun phrase or a verb:\n{}",
        clauses.len(),
        clauses.join("\n")
    );
    eprintln!("{} of {count} doc comments open with a clause", clauses.len());
    Ok(())
}

/// The first line of each doc comment, with its number.
fn openings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut before = None;
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        let line = line.trim_start();
        let kind = ["///", "//!"].into_iter().find(|mark| line.starts_with(mark));
        let opens = kind.is_some() && kind != before;
        before = kind;
        opens.then(|| (number, line[3..].trim()))
    })
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_lines_count() {
        let text = "/// The cap.\n/// How it works.\nfn a() {}\n    //! Of a module.\n/// [`X`] of\n// When\n";
        let openings: Vec<_> = openings(text).collect();
        assert_eq!(openings, [(1, "The cap."), (4, "Of a module."), (5, "[`X`] of")]);
        let words: Vec<_> = openings.iter().map(|(_, opening)| first_word(opening)).collect();
        assert_eq!(words, ["The", "Of", "X"]);
    }
}
