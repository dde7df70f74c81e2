//! The record of a day: its events and the rules that were broken.

use std::{
    cell::RefCell,
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

/// The events of a day in order, and the rules that were broken. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    start: Instant,
    records: Arc<Mutex<Records>>,
}

/// The records so far.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) events: Vec<String>,
    pub(crate) violations: Vec<String>,
}

thread_local! {
    /// The log of the day on this thread, for a client's log, which is a plain function.
    static CURRENT: RefCell<Option<Log>> = const { RefCell::new(None) };
}

// === impl Log ===

impl Log {
    /// Starts the log of the day on this thread.
    pub(crate) fn start() -> Self {
        let log = Self { start: Instant::now(), records: Arc::default() };
        CURRENT.set(Some(log.clone()));
        log
    }

    /// The time since the start of the day.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    pub(crate) fn event(&self, event: impl AsRef<str>) {
        let line = format!("{:>12.3} {}", self.start.elapsed().as_secs_f64(), event.as_ref());
        self.records().events.push(line);
    }

    pub(crate) fn violation(&self, violation: impl AsRef<str>) {
        self.event(format!("VIOLATION {}", violation.as_ref()));
        self.records().violations.push(violation.as_ref().to_owned());
    }

    /// Notes a broken rule unless `holds`.
    pub(crate) fn check(&self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violation(violation());
        }
    }

    /// Takes the records out.
    pub(crate) fn end(&self) -> Records {
        CURRENT.set(None);
        std::mem::take(&mut *self.records())
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of a client about its nodes.
pub(crate) fn of_client(line: &str) {
    CURRENT.with_borrow(|log| {
        if let Some(log) = log {
            log.event(line);
        }
    });
}

// === impl Records ===

impl Records {
    pub(crate) fn hash(&self) -> u64 {
        hash(self.events.join("\n").as_bytes())
    }
}

/// A hash that is the same in every process.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
