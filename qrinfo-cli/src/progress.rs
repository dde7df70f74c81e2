//! Progress on standard error: a bar for a person, a few plain lines for a pipe.

use std::{
    io::{self, IsTerminal, Write},
    sync::LazyLock,
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use qrinfo::SyncStats;

/// Lines printed from start to end where there is no terminal.
const PLAIN_LINES: u64 = 4;

/// All bars on the terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error for whole lines, which do not mix with the bars.
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Adds a bar to those on the terminal.
pub(crate) fn add(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// The progress of one sync.
pub(crate) struct Progress {
    label: String,
    total: u64,
    bar: Option<ProgressBar>,
    next_line: u64,
}

impl Progress {
    /// Starts at zero of `total` replies.
    pub(crate) fn new(label: impl Into<String>, total: usize) -> Self {
        let label = label.into();
        let total = total as u64;
        let bar = io::stderr().is_terminal().then(|| {
            let bar = BARS.add(ProgressBar::new(total));
            let style = ProgressStyle::with_template("{prefix:30} {bar:32} {pos:>4}/{len} {elapsed_precise} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(label.clone());
            bar
        });
        Self { label, total, bar, next_line: total.div_ceil(PLAIN_LINES) }
    }

    /// Shows the progress of the sync.
    pub(crate) fn update(&mut self, stats: &SyncStats) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(stats.delivered);
                bar.set_message(HumanBytes(stats.bytes).to_string());
            }
            None if stats.delivered >= self.next_line => {
                eprintln!("{}: {}/{} replies, {}", self.label, stats.delivered, self.total, HumanBytes(stats.bytes));
                self.next_line = stats.delivered + self.total.div_ceil(PLAIN_LINES);
            }
            None => {}
        }
    }

    /// Replaces the bar by a line, which stays where later log lines do not overwrite it.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
            eprintln!("{}: {}/{} replies, {}", self.label, bar.position(), self.total, bar.message());
        }
    }
}
