//! Why a connection ended and why a request timed out: the sources of the
//! [`AttemptError`](qrinfo_core::AttemptError)s that this crate gives.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use qrinfo_core::{Mismatch, Reply, wire::DecodeError, wire::frame::Command};

/// What a peer did that ends its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reply while nothing was asked.
    #[error("{0} came unasked")]
    Unsolicited(Command),
    /// A reply that answers nothing that was asked; held against the oldest request.
    #[error("a reply answers nothing that was asked")]
    False(#[source] Mismatch),
    /// A request that it neither answered nor refused for so long, whether or not somebody still waited.
    #[error("a request was left unanswered for {0:?}")]
    Unanswered(Duration),
    /// A reply that cannot be decoded.
    #[error("{command} cannot be decoded")]
    Malformed {
        /// What the message claims to be.
        command: Command,
        /// Where its bytes stop making sense.
        #[source]
        error: DecodeError,
    },
}

/// Why a connection ended: the source of every error of kind
/// [`Disconnected`](qrinfo_core::AttemptErrorKind::Disconnected). Clones share their source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Closed {
    /// The peer ended it.
    ByPeer,
    /// The transport failed.
    Transport(Arc<dyn Error + Send + Sync>),
    /// We ended it for what the peer did.
    Violation(Violation),
    /// Nobody could ask the peer any more: every service was dropped, and nobody waited for a reply.
    Unused,
    /// The driver was dropped.
    DriverDropped,
}

/// Which of its limits a request ran into: the source of every error of kind
/// [`Timeout`](qrinfo_core::AttemptErrorKind::Timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutCause {
    /// The peer was silent for this long.
    #[error("nothing arrived for {0:?}")]
    Silent(Duration),
    /// The reply came more slowly than the least rate allows.
    #[error("a message of {length} bytes arrived too slowly")]
    TooSlow {
        /// Bytes of the message in all.
        length: u64,
    },
    /// The attempt's own deadline passed.
    #[error("the caller's deadline passed")]
    Deadline,
}

/// Why a [`QRInfoCorrelationManager`](crate::QRInfoCorrelationManager) takes no request now. It must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// As many callers wait as ever may: [`MAX_WAITING`](crate::MAX_WAITING).
    #[error("{} callers wait already", crate::MAX_WAITING)]
    Full,
    /// A reply to another request of this cycle may still come, and could not be told from the reply to this one.
    #[error("another request of cycle {cycle_height} is under way")]
    CycleBusy {
        /// The first block of the cycle.
        cycle_height: u32,
    },
}

/// A reply that answers nothing that was asked, given back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reply answers nothing that was asked")]
pub struct Unmatched {
    /// What came.
    pub reply: Reply,
    /// How it fails to answer the oldest request that waits; `None` if none does.
    #[source]
    pub mismatch: Option<Mismatch>,
}

// === impl Closed ===

impl Closed {
    /// The transport failed with `error`.
    pub fn transport(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(Arc::from(error.into()))
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByPeer => "the peer ended the connection",
            Self::Transport(_) => "the transport failed",
            Self::Violation(_) => "the connection was ended for what the peer did",
            Self::Unused => "nobody could ask the peer any more",
            Self::DriverDropped => "the connection's driver was dropped",
        })
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
