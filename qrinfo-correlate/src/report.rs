use std::time::Instant;

use qrinfo_core::{AttemptErrorKind, Timing};

use crate::Closed;

/// What happened at a peer, for whoever keeps its record. `attempt` is the [`Attempt::id`](qrinfo_core::Attempt::id).
///
/// Of each attempt that got a slot there is exactly one [`Done`](Self::Done), whether or not somebody still waited; of
/// each connection one [`Closed`](Self::Closed), the last report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Report {
    /// The request was handed to the transport.
    Sent {
        /// Which attempt.
        attempt: u64,
        /// When.
        at: Instant,
    },
    /// A reply begins to arrive. Taken for the oldest attempt's: a peer answers in order. Not told of a reply that
    /// arrives all at once.
    FirstByte {
        /// Which attempt.
        attempt: u64,
        /// When.
        at: Instant,
    },
    /// More of that reply arrived.
    Progress {
        /// Which attempt.
        attempt: u64,
        /// When.
        at: Instant,
        /// Bytes so far.
        received: u64,
        /// Bytes in all, as the peer announced.
        length: u64,
    },
    /// The attempt left the peer's queue.
    Done {
        /// Which attempt.
        attempt: u64,
        /// When things happened; `None` if nothing was sent.
        timing: Option<Timing>,
        /// Whether the peer answered, or what it did instead.
        outcome: Result<(), AttemptErrorKind>,
        /// The caller had its error, or lost interest, before this.
        abandoned: bool,
    },
    /// The connection ended.
    Closed {
        /// When.
        at: Instant,
        /// Why.
        reason: Closed,
    },
}
