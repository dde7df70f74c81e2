use std::{error::Error, fmt};

use super::{peer_id::PeerId, timing::Timing};

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

/// The kinds of failure. Layers decide by the kind, never by the text of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, derive_more::Display)]
#[non_exhaustive]
pub enum AttemptErrorKind {
    /// The peer was silent, or too slow, while the request was at the head of its queue.
    #[display("timed out")]
    Timeout,
    /// The connection ended before the reply.
    #[display("the connection ended before the reply")]
    Disconnected,
    /// The peer refused: it lacks a block that the request names. It is neither faulty nor overloaded.
    #[display("refused the request")]
    Refused,
    /// The request was not sent, because it names a block that the peer is known to lack: the peer would refuse it, and
    /// hold it against us.
    #[display("lacks a block of the request, which was not sent")]
    NotSent,
    /// The peer sent bytes that are not a valid message.
    #[display("sent a malformed message")]
    Malformed,
    /// The peer sent a reply that does not answer the request, or that is proven false.
    #[display("sent a false reply")]
    False,
    /// A limit of the stack is reached; the attempt can be made later.
    #[display("too many requests are in flight; try again later")]
    Overloaded,
    /// The caller has cancelled the request.
    #[display("the request was cancelled")]
    Cancelled,
    /// No peer is available: none is connected, or all are in [`Attempt::avoid`](crate::Attempt::avoid).
    #[display("no peer is available")]
    NoPeer,
    /// A failure on our side: storage, configuration, a stopped driver.
    #[display("a local failure, not caused by a peer")]
    Local,
}

impl AttemptErrorKind {
    /// A stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Malformed => "malformed",
            Self::False => "false",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
            Self::NoPeer => "no_peer",
            Self::Local => "local",
        }
    }
}

// === impl AttemptError ===

impl AttemptError {
    /// An error of this kind, without a peer, timing or cause.
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

    /// Returns true if the peer said nothing: the attempt timed out, or the connection ended.
    pub fn is_silence(&self) -> bool {
        matches!(self.kind(), AttemptErrorKind::Timeout | AttemptErrorKind::Disconnected)
    }

    /// Removes and returns the earlier failures; see [`after`](Self::after).
    pub fn take_earlier(&mut self) -> Vec<AttemptError> {
        std::mem::take(&mut self.0.earlier)
    }

    /// Consumes the error and returns its cause.
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
