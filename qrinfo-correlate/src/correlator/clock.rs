//! The clock of the first request that a caller waits for.

use std::time::Instant;

use crate::{config::CorrelatorConfig, error::TimeoutCause};

/// Started whenever another request becomes the first, and when anything before it is settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadClock {
    started: Instant,
    /// The last arrival; before that, `started`.
    progress: Instant,
    /// The longest message seen arriving since `started`. It may belong to a tombstone before the request, so its owner
    /// is not known, only that it is being waited for.
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

    /// The instant at which the request times out, and the cause; `None` if that is beyond the range of an `Instant`.
    ///
    /// `plausible` bounds the length that counts: a peer cannot buy time by announcing more.
    pub(crate) fn deadline(&self, config: &CorrelatorConfig, plausible: u64) -> Option<(Instant, TimeoutCause)> {
        let silent = self.progress.checked_add(config.head_timeout)?;
        let transfer = config.transfer_time(self.longest.min(plausible));
        let total = self.started.checked_add(config.head_timeout)?.checked_add(transfer)?;
        Some(match silent <= total {
            true => (silent, TimeoutCause::Silent(config.head_timeout)),
            false => (total, TimeoutCause::TooSlow { length: self.longest, allowed: config.head_timeout + transfer }),
        })
    }
}
