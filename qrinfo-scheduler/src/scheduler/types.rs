use std::time::Duration;

use qrinfo_core::{Attempt, AttemptErrorKind, PeerEvent, RequestId, SendId, retry::RecoveryStrategy};

use crate::gcra::Rate;

/// A sending to make now: the attempt carries its [`SendId`](Attempt::send).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The sending, by which the peer's reports come back.
    pub send: SendId,
    /// The attempt for the peer's service.
    pub attempt: Attempt,
}

/// A decision of the scheduler other than a sending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The reply to this sending is the request's reply. Other copies may still come and are dropped.
    Replied(RequestId, SendId),
    /// This sending failed, and the request has no other copy.
    Failed(RequestId, SendId, AttemptErrorKind),
    /// The request's deadline passed.
    Expired(RequestId),
    /// The request avoids every peer that can be asked.
    NoPeerLeft(RequestId),
    /// A peer joined, left or was banned, or a sending to it ended. After [`PeerEvent::Left`] and
    /// [`PeerEvent::Banned`] the peer holds nothing and is not asked again.
    Peer(PeerEvent),
    /// Failures mounted at several peers, and the cap was lowered.
    SlowedDown {
        /// The decision.
        strategy: RecoveryStrategy,
        /// Failures among the latest attempts.
        failures: usize,
        /// The number of those attempts.
        attempts: usize,
    },
}

/// The refusal of a submission. The attempt comes back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// [`Settings::capacity`] requests wait already.
    #[error("{capacity} requests are waiting already; submit it later")]
    QueueFull {
        /// The attempt.
        attempt: Box<Attempt>,
        /// The number of requests that may wait.
        capacity: usize,
    },
    /// A request with this id has not ended.
    #[error("a request with id {} has not ended; give each request an id of its own", attempt.id)]
    IdInUse {
        /// The attempt.
        attempt: Box<Attempt>,
    },
}

/// The numbers that a [`Scheduler`](crate::Scheduler) keeps to. All of them can be changed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Requests [in flight](crate::PeerHealth::counted_in_flight) at a time, all peers together: a ceiling, below which
    /// each peer gets as many as its speed calls for. One makes it sequential. Zero stops sending.
    pub cap: usize,
    /// Requests that may wait.
    pub capacity: usize,
    /// The wait after which a request is served whatever its priority: one of eight sends belongs to the request that
    /// has waited longest.
    pub ageing: Duration,
    /// The rate of all sends; `None` for no limit.
    pub rate: Option<Rate>,
    /// The rate of sends to one peer; `None` for no limit.
    pub peer_rate: Option<Rate>,
    /// True if the cap is lowered while failures mount at several peers
    /// ([`Congestion`](qrinfo_core::retry::Congestion)).
    pub adaptive: bool,
    /// The length of a fall-back to one request at a time.
    pub sequential_for: Duration,
}

/// The attempts that may be in flight, so that replies can be delivered in order without too many of them waiting.
///
/// For plans whose [`RequestId`]s number the requests without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first request that is not delivered.
    pub first: RequestId,
    /// The number of requests, from the first on, that may be in flight or wait for delivery. Zero counts as one.
    pub length: u64,
}

// === impl Settings ===

impl Default for Settings {
    /// A cap of 3 (as `max_concurrent_qrinfo_requests`), adaptive with a minute in sequence, 16,384 waiting, ageing
    /// after 30 s, and no rate limits.
    fn default() -> Self {
        Self {
            cap: 3,
            capacity: 16_384,
            ageing: Duration::from_secs(30),
            rate: None,
            peer_rate: None,
            adaptive: true,
            sequential_for: Duration::from_secs(60),
        }
    }
}

// === impl Window ===

impl Window {
    /// The first request that has to wait.
    pub(crate) fn end(&self) -> RequestId {
        RequestId(self.first.0.saturating_add(self.length.max(1)))
    }
}
