//! The reasons for which connections end and requests time out: the sources of the
//! [`AttemptError`](qrinfo_core::AttemptError)s of this crate.

use std::{error::Error, iter::successors, sync::Arc, time::Duration};

use qrinfo_core::{
    AttemptErrorKind, LeaveReason, Mismatch, PeerEvent, PeerId, SendId,
    wire::DecodeError,
    wire::frame::{Command, FrameError},
};

/// A fault of a peer that ends its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reply while nothing was asked.
    #[error("{0} arrived, but no request was sent")]
    Unsolicited(Command),
    /// A reply that answers no request that was sent; it counts as the answer to the oldest.
    #[error("the reply does not answer any request that was sent")]
    False(#[source] Mismatch),
    /// A request that the peer neither answered nor refused for this long, whether or not a caller still waited.
    #[error("a request was left unanswered for {0:?}")]
    Unanswered(Duration),
    /// A reply that cannot be decoded.
    #[error("{command} cannot be decoded")]
    Malformed {
        /// The command of the message.
        command: Command,
        /// The position and kind of the fault.
        #[source]
        error: DecodeError,
    },
}

/// The reason of a connection's end: the source of every error of kind
/// [`Disconnected`](qrinfo_core::AttemptErrorKind::Disconnected). Clones share their source.
#[derive(Debug, Clone, derive_more::Display)]
#[non_exhaustive]
pub enum Closed {
    /// The peer ended it.
    #[display("the peer ended the connection")]
    ByPeer,
    /// The transport failed.
    #[display("the transport failed")]
    Transport(Arc<dyn Error + Send + Sync>),
    /// The correlator ended it because of a fault of the peer.
    #[display("the connection was ended because of a fault of the peer")]
    Violation(Violation),
    /// Every service was dropped, and no caller waited for a reply.
    #[display("the connection was closed because it was not used")]
    Unused,
    /// The driver was dropped.
    #[display("the connection's driver was dropped")]
    DriverDropped,
}

/// The limit that a request ran into: the source of every error of kind
/// [`Timeout`](qrinfo_core::AttemptErrorKind::Timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutCause {
    /// The peer was silent for this long.
    #[error("no bytes arrived for {0:?}")]
    Silent(Duration),
    /// The reply came more slowly than [`min_rate`](crate::CorrelatorConfig::min_rate) allows.
    #[error("a reply announced with {length} bytes was not complete after {allowed:?}")]
    TooSlow {
        /// Bytes of the message, as the peer announced them.
        length: u64,
        /// The time that a reply may take, from the moment the peer could begin with it.
        allowed: Duration,
    },
    /// The peer left a request unanswered for this long. It ends the connection.
    #[error("a request was left unanswered for {0:?}")]
    Unanswered(Duration),
    /// The attempt's own deadline passed.
    #[error("the caller's deadline passed")]
    Deadline,
}

/// A [`SendId`] that cannot be used now. The request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sending {send} has not ended; give each sending an id of its own")]
pub struct SendIdInUse {
    /// The id.
    pub send: SendId,
}

// === impl Closed ===

impl Closed {
    /// The transport failed with `error`.
    pub fn transport(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(Arc::from(error.into()))
    }

    /// The event that tells the ledger of peers.
    pub fn event(&self, peer: PeerId) -> PeerEvent {
        match self.fault() {
            Some(why) => PeerEvent::Banned { peer, why },
            None => {
                let is_stuck = matches!(self, Self::Violation(Violation::Unanswered(_)));
                let why = if is_stuck { LeaveReason::Unanswered } else { LeaveReason::Disconnected };
                PeerEvent::Left { peer, why }
            }
        }
    }

    /// The kind of failure for which the peer is to be banned; `None` if the end is not its fault.
    pub fn fault(&self) -> Option<AttemptErrorKind> {
        match self {
            Self::Violation(Violation::Malformed { .. }) => Some(AttemptErrorKind::Malformed),
            Self::Violation(Violation::False(_) | Violation::Unsolicited(_)) => Some(AttemptErrorKind::False),
            // A frame that only breaks off was cut by the end of the connection.
            Self::Transport(error) => {
                let first: &(dyn Error + 'static) = &**error;
                match successors(Some(first), |&error| error.source()).find_map(|error| error.downcast_ref()) {
                    Some(FrameError::Truncated(_)) | None => None,
                    Some(_) => Some(AttemptErrorKind::Malformed),
                }
            }
            _ => None,
        }
    }
}

impl Error for Closed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Transport(error) => Some(&**error),
            Self::Violation(violation) => Some(violation),
            Self::ByPeer | Self::Unused | Self::DriverDropped => None,
        }
    }
}
