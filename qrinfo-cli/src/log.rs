//! Log lines on standard error.

use clap::ArgAction;
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

use crate::progress::Stderr;

/// Options of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Log to standard error: -v for changes of state, -vv for every request, -vvv for everything
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "log")]
    verbose: u8,
    /// Log to standard error by a filter, such as "debug" or "info,qrinfo_scheduler=trace" [default: the environment
    /// variable RUST_LOG, or "warn"]
    #[arg(long, value_name = "FILTER", global = true, value_parser = check)]
    log: Option<String>,
}

impl Options {
    /// Starts logging.
    pub(crate) fn start(&self) {
        tracing_subscriber::fmt().with_env_filter(self.filter()).with_writer(|| Stderr).init();
    }

    /// Returns `true` with -v, which also makes results longer.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    fn filter(&self) -> EnvFilter {
        match (&self.log, self.verbose) {
            (Some(filter), _) => EnvFilter::new(filter),
            // Other programs may need what is not valid here, so it only causes a warning.
            (None, 0) => EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy(),
            (None, 1) => EnvFilter::new("info"),
            (None, 2) => EnvFilter::new("debug"),
            (None, _) => EnvFilter::new("trace"),
        }
    }
}

fn check(filter: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(filter).map(|_| filter.to_owned())
}
