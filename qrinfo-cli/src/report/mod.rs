//! `--report`: one page that shows a whole sync, for anyone who asks why it was slow.

mod lanes;
mod page;
mod record;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use qrinfo::SyncEvent;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};

use self::record::Record;

/// The report of a command's syncs. Clones share one record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report(Arc<Mutex<Record>>);

// === impl Report ===

impl Report {
    /// Records the events of a sync until it ends. `title` names the sync if the command makes several.
    pub(crate) fn follow(&self, title: &str, mut events: broadcast::Receiver<SyncEvent>) {
        let record = self.clone();
        let run = record.with(|record| record.begin(title, Instant::now().into_std()));
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => record.with(|record| record.event(run, &event, Instant::now().into_std())),
                    Err(RecvError::Lagged(count)) => record.with(|record| record.missed(count)),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Adds a line about the outcome: a name and a value.
    pub(crate) fn fact(&self, name: &str, value: impl ToString) {
        self.with(|record| record.fact(name, value.to_string()));
    }

    /// Writes the page to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let page = self.with(|record| page::page(record));
        fs::write(path, page).with_context(|| format!("cannot write the report {}", path.display()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
