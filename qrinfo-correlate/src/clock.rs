//! The clock of the first request that somebody waits for.

use std::time::{Duration, Instant};

use crate::{CorrelatorConfig, TimeoutCause};

/// Started whenever another request becomes the first, and when anything before it is settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadClock {
    started: Instant,
    /// When something last arrived; before that, `started`.
    progress: Instant,
    /// The longest message seen arriving since `started`. What arrives may belong to a tombstone before the request, so
    /// it is not known whose length this is, only that it is being waited for.
    longest: u64,
}

// === impl HeadClock ===

impl HeadClock {
    pub(crate) fn start(now: Instant) -> Self {
        Self { started: now, progress: now, longest: 0 }
    }

    /// A part of a message of this length arrived.
    pub(crate) fn progressed(&mut self, length: u64, now: Instant) {
        self.progress = now;
        self.longest = self.longest.max(length);
    }

    /// When the request times out, and why; `None` if that is beyond what an `Instant` can hold.
    pub(crate) fn deadline(&self, config: &CorrelatorConfig) -> Option<(Instant, TimeoutCause)> {
        let silent = self.progress.checked_add(config.head_timeout)?;
        let transfer = Duration::from_millis(self.longest.saturating_mul(1_000) / config.min_rate);
        let total = self.started.checked_add(config.head_timeout)?.checked_add(transfer)?;
        Some(match silent <= total {
            true => (silent, TimeoutCause::Silent(config.head_timeout)),
            false => (total, TimeoutCause::TooSlow { length: self.longest }),
        })
    }
}
