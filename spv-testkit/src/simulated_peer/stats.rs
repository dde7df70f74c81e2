use std::sync::{Mutex, PoisonError, atomic::AtomicU64};

/// Counters of a peer's work so far, over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PeerStats {
    /// Connections accepted.
    pub connections: u64,
    /// Requests received after the handshake; pings and `getheaders` do not count.
    pub requests: u64,
    /// Requests met with silence, for a fault or because the peer cannot answer them.
    pub refusals: u64,
    /// Replies sent to their last byte; one sent twice counts once.
    pub replies: u64,
    /// Bytes sent, with frame headers and everything that is no reply.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    stats: Mutex<PeerStats>,
    /// Replies begun: the number of the next one.
    pub(super) begun: AtomicU64,
}

// === impl Counters ===

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut PeerStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn stats(&self) -> PeerStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
