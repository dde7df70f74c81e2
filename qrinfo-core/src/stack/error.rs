use std::{error::Error, fmt};

use super::{PeerId, Timing};
use crate::BlockHash;

type Source = Box<dyn Error + Send + Sync>;

/// The failure of an attempt. Every layer of the stack fails with this type.
///
/// ```
/// use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId};
///
/// let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
/// let error = AttemptError::new(AttemptErrorKind::Refused).at(peer);
/// assert_eq!(error.kind(), AttemptErrorKind::Refused);
/// assert_eq!(error.to_string(), "127.0.0.1:19899: refused the request");
/// ```
#[derive(Debug)]
pub struct AttemptError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: AttemptErrorKind,
    peer: Option<PeerId>,
    timing: Option<Timing>,
    source: Option<Source>,
    earlier: Vec<AttemptError>,
}

/// The kinds of failure; a layer decides by these, never by an error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptErrorKind {
    /// The peer was silent, or too slow, while the request was at the head of its queue.
    Timeout,
    /// The connection ended before the reply.
    Disconnected,
    /// The peer declined: it lacks a block that the request names. It is neither broken nor congested.
    Refused,
    /// The peer sent bytes that are no message.
    Malformed,
    /// The peer sent a message that does not answer what was asked, or that is proven false.
    False,
    /// The stack has no room for the attempt now.
    Overloaded,
    /// The caller has given the request up.
    Cancelled,
    /// No peer is available: none is connected, or all are in [`Attempt::avoid`](crate::Attempt::avoid).
    NoPeer,
    /// A failure on our side: storage, configuration, a stopped driver.
    Local,
}

impl AttemptErrorKind {
    /// A stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::False => "false",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
            Self::NoPeer => "no_peer",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for AttemptErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timed out",
            Self::Disconnected => "connection ended before the reply",
            Self::Refused => "refused the request",
            Self::Malformed => "sent a malformed message",
            Self::False => "sent a false reply",
            Self::Overloaded => "no room for the request now",
            Self::Cancelled => "request was cancelled",
            Self::NoPeer => "no peer to ask",
            Self::Local => "failure on our side",
        })
    }
}

// === impl AttemptError ===

impl AttemptError {
    /// An error of this kind with nothing else known.
    pub fn new(kind: AttemptErrorKind) -> Self {
        Self(Box::new(Inner { kind, peer: None, timing: None, source: None, earlier: Vec::new() }))
    }

    /// Adds the peer that was asked.
    #[must_use]
    pub fn at(mut self, peer: PeerId) -> Self {
        self.0.peer = Some(peer);
        self
    }

    /// Adds the timing.
    #[must_use]
    pub fn timed(mut self, timing: Timing) -> Self {
        self.0.timing = Some(timing);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds earlier failures of the request at other peers, where a layer asks several peers for one attempt.
    #[must_use]
    pub fn after(mut self, earlier: Vec<AttemptError>) -> Self {
        self.0.earlier = earlier;
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> AttemptErrorKind {
        self.0.kind
    }

    /// The peer that was asked, unless none was.
    pub fn peer(&self) -> Option<PeerId> {
        self.0.peer
    }

    /// The timing, unless nothing was sent.
    pub fn timing(&self) -> Option<Timing> {
        self.0.timing
    }

    /// Takes out the earlier failures; see [`after`](Self::after).
    pub fn take_earlier(&mut self) -> Vec<AttemptError> {
        std::mem::take(&mut self.0.earlier)
    }

    /// The cause, taken out of the error.
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.0.source
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = self.0.peer {
            write!(f, "{peer}: ")?;
        }
        self.0.kind.fmt(f)
    }
}

impl Error for AttemptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The way in which a well-formed reply fails to answer a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A reply of the other kind.
    #[error("expected {expected}, got {got}")]
    Message {
        /// The command that answers the request.
        expected: &'static str,
        /// The command that came.
        got: &'static str,
    },
    /// A diff of a `qrinfo` leads to another block than the cycle's work block.
    #[error("expected the work block of H-{cycles_back}C to be {expected}, got {got}")]
    WorkBlock {
        /// How many cycles before the requested one.
        cycles_back: u32,
        /// The work block by our headers.
        expected: BlockHash,
        /// The target of the diff that came.
        got: BlockHash,
    },
    /// A diff starts from a block that was not sent as a base, is not genesis, and is the target of no other diff of the
    /// reply.
    #[error(
        "the diff to {target} starts from {got}, which is neither a base that was sent nor the target of another diff"
    )]
    Base {
        /// The diff's target.
        target: BlockHash,
        /// The diff's base.
        got: BlockHash,
    },
    /// A `mnlistdiff` leads to another block.
    #[error("expected a diff to {expected}, got one to {got}")]
    Target {
        /// The block asked for.
        expected: BlockHash,
        /// The target of the diff that came.
        got: BlockHash,
    },
    /// The part for `H-4C` is there unasked, or missing.
    #[error("the extra share was {}", if *.expected { "asked for and is missing" } else { "not asked for and is there" })]
    ExtraShare {
        /// Whether it was asked for.
        expected: bool,
    },
}
