use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a peer's work so far, over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) replies: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Replies begun: the number of the next one.
    pub(super) begun: AtomicU64,
}

// === impl Counters ===

impl Counters {
    /// Adds, and gives back what was counted before.
    pub(super) fn add(counter: &AtomicU64, more: u64) -> u64 {
        counter.fetch_add(more, Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> PeerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerStats {
            connections: read(&self.connections),
            requests: read(&self.requests),
            refusals: read(&self.refusals),
            replies: read(&self.replies),
            bytes: read(&self.bytes),
        }
    }
}
