//! `--report`: one page that shows a whole sync, for anyone who asks why it was slow.

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

/// The report of a command's syncs. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report(Arc<Mutex<qrinfo_report::Report>>);

// === impl Report ===

impl Report {
    /// Records the events of a sync until it ends. `title` names the sync if the command makes several.
    pub(crate) fn follow(&self, title: &str, mut events: broadcast::Receiver<SyncEvent>) {
        let shared = self.clone();
        let now = || Instant::now().into_std();
        let run = shared.with(|report| report.begin(title, now()));
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(SyncEvent::Peer(event)) => shared.with(|report| report.peer_event(run, &event, now())),
                    Ok(SyncEvent::Recovery(event)) => shared.with(|report| report.recovery_event(run, &event, now())),
                    Ok(_) => shared.with(|report| report.missed(1)),
                    Err(RecvError::Lagged(count)) => shared.with(|report| report.missed(count)),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Adds a line about the outcome: a name and a value.
    pub(crate) fn fact(&self, name: &str, value: impl ToString) {
        self.with(|report| report.fact(name, value));
    }

    /// Writes the page to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let page = self.with(|report| report.page());
        fs::write(path, page).with_context(|| format!("cannot write the report {}", path.display()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut qrinfo_report::Report) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
