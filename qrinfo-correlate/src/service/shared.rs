use std::sync::{OnceLock, atomic::AtomicU64};

use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId};

use crate::error::Closed;

/// The state that the services, their futures and the driver of one peer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) peer: PeerId,
    pub(super) next_seq: AtomicU64,
    /// Set by the driver before it wakes the tasks that wait for it.
    pub(super) ended: OnceLock<Closed>,
}

// === impl Shared ===

impl Shared {
    /// The error of a call after the driver has ended.
    pub(crate) fn ended(&self) -> AttemptError {
        self.disconnected(self.ended.get().cloned().unwrap_or(Closed::DriverDropped))
    }

    pub(super) fn disconnected(&self, closed: Closed) -> AttemptError {
        AttemptError::new(AttemptErrorKind::Disconnected).at(self.peer).because(closed)
    }
}
