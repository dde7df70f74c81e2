use std::time::{Duration, Instant};

use super::{
    error::AttemptErrorKind,
    given_up::WhyGivenUp,
    ids::{RequestId, SendId},
    peer_id::PeerId,
    retry::RecoveryStrategy,
    timing::Timing,
};

/// An event at a peer. Connections report them, and the ledger of peers publishes them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The peer can be asked.
    Joined {
        /// The peer.
        peer: PeerId,
        /// The height of its tip, announced by the peer.
        height: u32,
        /// The round trip time of a ping, or an estimate.
        round_trip: Duration,
    },
    /// A request was handed to the peer's service.
    Sent {
        /// The sending.
        send: SendId,
        /// The request.
        request: RequestId,
        /// True if another sending of the same request was made before.
        is_copy: bool,
        /// The time of the call.
        at: Instant,
    },
    /// A reply of the peer has nearly stopped. Its requests are sent to other peers as well.
    Stalled {
        /// The peer.
        peer: PeerId,
        /// The time of the decision.
        at: Instant,
    },
    /// A part of a reply has arrived. An announcement of the length comes first, with 0 bytes.
    Progress {
        /// The sending that the peer answers.
        send: SendId,
        /// Bytes of the payload so far.
        received: u64,
        /// Bytes of the whole payload, as the peer announced them.
        length: Option<u64>,
        /// The time of the arrival.
        at: Instant,
    },
    /// The caller waits no longer for a sending, while the peer still holds it. [`Ended`](Self::Ended) follows when the
    /// peer has dealt with it.
    TimedOut {
        /// The sending.
        send: SendId,
        /// The time of the timeout.
        at: Instant,
    },
    /// The peer has dealt with a sending, whether or not a caller still waited. Its slot is free.
    Ended {
        /// The sending.
        send: SendId,
        /// The timing of the reply, or the kind of failure.
        outcome: Result<Timing, AttemptErrorKind>,
        /// The time of the end.
        at: Instant,
    },
    /// The peer is gone. Its requests have failed.
    Left {
        /// The peer.
        peer: PeerId,
        /// The reason.
        why: LeaveReason,
    },
    /// The peer sent something false or malformed. It is not asked again, also if it comes back.
    Banned {
        /// The peer.
        peer: PeerId,
        /// The kind of fault.
        why: AttemptErrorKind,
    },
}

/// The reason for which a peer left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, derive_more::Display)]
#[non_exhaustive]
pub enum LeaveReason {
    /// Its connection ended, or it was removed.
    #[display("the connection ended")]
    Disconnected,
    /// It left a request unanswered for too long.
    #[display("a request was left unanswered")]
    Unanswered,
    /// Its service panicked.
    #[display("its service panicked")]
    Panicked,
}

/// A decision about failures that is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryEvent {
    /// An attempt failed.
    Decided {
        /// The request.
        request: RequestId,
        /// The peer that was asked, unless none was.
        peer: Option<PeerId>,
        /// The kind of failure.
        error: AttemptErrorKind,
        /// The decision.
        strategy: RecoveryStrategy,
    },
    /// Failures mount at several peers: fewer requests are made at a time.
    SlowedDown {
        /// The decision.
        strategy: RecoveryStrategy,
        /// Failures among the latest attempts.
        failures: usize,
        /// The number of those attempts.
        attempts: usize,
    },
    /// A request ended without a reply.
    GaveUp {
        /// The request.
        request: RequestId,
        /// The reason.
        why: WhyGivenUp,
    },
}
