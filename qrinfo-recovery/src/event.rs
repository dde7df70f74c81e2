use qrinfo_core::{AttemptErrorKind, PeerId, WhyGivenUp};

use crate::RecoveryStrategy;

/// What was decided, and why. Whoever owns the scheduler, the store and the user's screen acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryEvent {
    /// An attempt failed, and this is done about it.
    Decided {
        /// The request, by its [`Attempt::id`](qrinfo_core::Attempt::id).
        request: u64,
        /// The peer that was asked, unless none was.
        peer: Option<PeerId>,
        /// How it failed.
        error: AttemptErrorKind,
        /// What is done.
        strategy: RecoveryStrategy,
    },
    /// A peer sent something false or malformed. It is avoided from now on; end its connection, and do not connect to
    /// it again for a day.
    Banned {
        /// The peer.
        peer: PeerId,
        /// What it did.
        error: AttemptErrorKind,
    },
    /// Failures mount: have fewer requests under way, see [`ConcurrencyThrottle`](crate::ConcurrencyThrottle).
    SlowDown {
        /// How.
        strategy: RecoveryStrategy,
        /// Failures among the latest attempts.
        failures: usize,
        /// Those attempts.
        attempts: usize,
    },
    /// A request ended without a reply.
    GaveUp {
        /// The request.
        request: u64,
        /// Why.
        why: WhyGivenUp,
    },
}
