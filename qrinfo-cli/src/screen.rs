//! Text that fits the terminal.

use std::{
    env,
    io::{self, Write},
};

use console::Term;

/// The width where there is no terminal.
const DEFAULT_WIDTH: usize = 80;

/// The least width that text is fitted to.
const LEAST_WIDTH: usize = 20;

/// The width of standard output in columns; `COLUMNS` where it is set, 80 where it is no terminal.
pub(crate) fn width() -> usize {
    let named = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let of_terminal = || Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    named.or_else(of_terminal).unwrap_or(DEFAULT_WIDTH).max(LEAST_WIDTH)
}

/// Writes a paragraph; lines after the first are indented.
pub(crate) fn paragraph(out: &mut impl Write, width: usize, text: &str) -> io::Result<()> {
    let options = textwrap::Options::new(width).subsequent_indent("  ").break_words(false);
    writeln!(out, "{}", textwrap::fill(text, options))
}

/// The start of a single word that is longer than `width`, with an ellipsis; any other text as it is.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some(_) if !text.contains(' ') => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        _ => text.to_owned(),
    }
}

/// A table of values: a row for each name, a column for each subject.
#[derive(Debug, Default)]
pub(crate) struct Table {
    subjects: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

// === impl Table ===

impl Table {
    /// An empty table. Without subjects it is a list of names and values.
    pub(crate) fn new<S: Into<String>>(subjects: impl IntoIterator<Item = S>) -> Self {
        Self { subjects: subjects.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row. An empty value is left out where the table is too wide for columns.
    pub(crate) fn row(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        self.rows.push((name.to_owned(), values.into_iter().collect()));
    }

    /// Writes the table in columns, or subject by subject where they do not fit.
    pub(crate) fn write(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        if self.subjects.is_empty() {
            return self
                .rows
                .iter()
                .try_for_each(|(name, values)| pair(out, width, self.names(), name, &values.join(" ")));
        }
        let columns = self.columns();
        if self.names() + columns.iter().map(|column| 2 + column).sum::<usize>() <= width {
            self.write_columns(out, &columns)
        } else {
            self.write_subjects(out, width)
        }
    }

    /// Writes the table in columns, or row by row where they do not fit: for tables with many rows.
    pub(crate) fn write_by_row(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        let columns = self.columns();
        if self.names() + columns.iter().map(|column| 2 + column).sum::<usize>() <= width {
            return self.write_columns(out, &columns);
        }
        let names = self.subjects.iter().map(|name| 2 + console::measure_text_width(name)).max().unwrap_or_default();
        for (name, values) in &self.rows {
            paragraph(out, width, name)?;
            for (subject, value) in self.subjects.iter().zip(values) {
                pair(out, width, names, &format!("  {subject}"), value)?;
            }
        }
        Ok(())
    }

    fn write_columns(&self, out: &mut impl Write, columns: &[usize]) -> io::Result<()> {
        let names = self.names();
        let header = (String::new(), self.subjects.clone());
        for (name, values) in std::iter::once(&header).chain(&self.rows) {
            let mut line = format!("{name:<names$}");
            for (value, column) in values.iter().zip(columns) {
                line.push_str(&format!("  {value:>column$}"));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_subjects(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        for (index, subject) in self.subjects.iter().enumerate() {
            paragraph(out, width, subject)?;
            for (name, values) in &self.rows {
                if let Some(value) = values.get(index).filter(|value| !value.is_empty()) {
                    pair(out, width, 2 + self.names(), &format!("  {name}"), value)?;
                }
            }
        }
        Ok(())
    }

    /// The width of the longest name.
    fn names(&self) -> usize {
        self.rows.iter().map(|(name, _)| console::measure_text_width(name)).max().unwrap_or_default()
    }

    fn columns(&self) -> Vec<usize> {
        let values = |index: usize| self.rows.iter().filter_map(move |(_, values)| values.get(index));
        let widest =
            |index| values(index).chain(self.subjects.get(index)).map(|text| console::measure_text_width(text)).max();
        (0..self.subjects.len()).map(|index| widest(index).unwrap_or_default()).collect()
    }
}

/// A name and its value on one line, or on two where they do not fit.
fn pair(out: &mut impl Write, width: usize, names: usize, name: &str, value: &str) -> io::Result<()> {
    let line = format!("{name:<names$}  {value}");
    if console::measure_text_width(&line) <= width {
        return writeln!(out, "{line}");
    }
    let options = textwrap::Options::new(width).initial_indent("    ").subsequent_indent("    ").break_words(false);
    writeln!(out, "{name}\n{}", textwrap::fill(value, options))
}

/// True if every line of `text` fits, words that are longer than the width aside.
#[cfg(test)]
pub(crate) fn fits(text: &str, width: usize) -> bool {
    text.lines().all(|line| console::measure_text_width(line) <= width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(table: &Table, width: usize) -> String {
        let mut out = Vec::new();
        table.write(&mut out, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_that_is_too_wide_goes_subject_by_subject() {
        let mut table = Table::new(["one at a time", "five at once"]);
        table.row("requests", ["64".to_owned(), "65".to_owned()]);
        table.row("speed-up", [String::new(), "5.2 x".to_owned()]);
        table.row("time", ["5 s".to_owned(), "1 s".to_owned()]);
        assert_eq!(
            rendered(&table, 80),
            "          one at a time  five at once\n\
             requests             64            65\n\
             speed-up                        5.2 x\n\
             time                5 s           1 s\n"
        );
        assert_eq!(
            rendered(&table, 30),
            "one at a time\n  requests  64\n  time      5 s\n\
             five at once\n  requests  65\n  speed-up  5.2 x\n  time      1 s\n"
        );
    }

    #[test]
    fn a_long_value_goes_below_its_name() {
        let mut table = Table::new([""; 0]);
        table.row("tip", ["at 2,240,504, on 8 of 8 nodes, an hour old".to_owned()]);
        assert_eq!(rendered(&table, 80), "tip  at 2,240,504, on 8 of 8 nodes, an hour old\n");
        let narrow = rendered(&table, 30);
        assert!(fits(&narrow, 30), "{narrow}");
    }
}
