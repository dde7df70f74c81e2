//! The reasons for which requests are not accepted and replies are given back.

use qrinfo_core::{Mismatch, Reply};

/// Callers that may wait at once. Far more than any client has in flight, and little memory.
pub const MAX_WAITING: usize = 256;

/// The reason for which a [`QRInfoCorrelationManager`](crate::QRInfoCorrelationManager) does not accept a request now.
/// The request must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The limit of [`MAX_WAITING`] waiting callers is reached.
    #[error("{} callers are waiting already; wait for replies first", MAX_WAITING)]
    Full,
    /// A reply to another request of this cycle may still come, and could not be distinguished from the reply to this
    /// one.
    #[error("another request of cycle {cycle_height} is in flight; wait until it has ended")]
    CycleBusy {
        /// The first block of the cycle.
        cycle_height: u32,
    },
}

/// A reply that answers no request, given back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reply answers no request")]
pub struct Unmatched {
    /// The reply.
    pub reply: Reply,
    /// The difference from a reply to the oldest waiting request; `None` if none waits.
    #[source]
    pub mismatch: Option<Mismatch>,
}
