use std::{fmt, time::Instant};

use tower_service::Service;

use super::{AttemptError, PeerId, Reply, Request, RequestPriority};

/// The name of one request, from the plan to the report. The caller chooses it; within one stack no two requests that
/// have not ended may share it. Where requests wait, those of equal priority go in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestId(pub u64);

/// The name of one sending of a request to one peer. It is never used twice, so that a late answer is not mistaken for
/// the answer to a later sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId {
    /// The peer that was asked.
    pub peer: PeerId,
    /// The number of the sending, unique within the stack that sends.
    pub seq: u64,
}

/// The input of every service of the stack: a request, and how to treat it.
///
/// ```
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, Request, RequestId, RequestPriority};
///
/// let request = Request::from(MnListDiffRequestSpec {
///     base_block_hash: BlockHash::ZERO,
///     block_hash: BlockHash::from_bytes([3; 32]),
/// });
/// let attempt = Attempt { priority: RequestPriority::High, ..Attempt::new(RequestId(7), request) };
/// assert!(attempt.avoid.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The request's id. No layer changes it.
    pub id: RequestId,
    /// This sending, once a scheduler has bound the request to a peer. Reports of the peer name it.
    pub send: Option<SendId>,
    /// The question.
    pub request: Request,
    /// The order in which attempts are served where they wait.
    pub priority: RequestPriority,
    /// Peers not to ask, such as those that failed this request before.
    pub avoid: Vec<PeerId>,
    /// The instant at which the caller loses interest. A layer that waits gives up then.
    pub deadline: Option<Instant>,
}

/// A reply, and when it came from which peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// The sending that it answers.
    pub timing: Timing,
}

/// The two ends of an attempt.
pub type AttemptResult = Result<Answer, AttemptError>;

/// A `tower` service that takes attempts: an alias for the bounds. Every fitting service implements it.
pub trait AttemptService: Service<Attempt, Response = Answer, Error = AttemptError> {}

/// The instants of one sending. They come from the clock of whatever drives the stack; under a paused tokio clock they
/// are virtual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The peer that was asked.
    pub peer: PeerId,
    /// The request was handed to the transport.
    pub sent: Instant,
    /// Everything asked of this peer before it was settled.
    pub head: Option<Instant>,
    /// The first bytes of the reply were seen.
    pub first_byte: Option<Instant>,
    /// The attempt ended.
    pub done: Instant,
    /// Bytes of the reply's payload that arrived.
    pub bytes: u64,
}

// === impl RequestId ===

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

// === impl SendId ===

impl fmt::Display for SendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.peer, self.seq)
    }
}

// === impl Attempt ===

impl Attempt {
    /// An attempt of normal priority, at any peer, without a deadline.
    pub fn new(id: impl Into<RequestId>, request: Request) -> Self {
        Self {
            id: id.into(),
            send: None,
            request,
            priority: RequestPriority::default(),
            avoid: Vec::new(),
            deadline: None,
        }
    }
}

impl<S: Service<Attempt, Response = Answer, Error = AttemptError>> AttemptService for S {}
