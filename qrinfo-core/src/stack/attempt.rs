use std::time::Instant;

use tower_service::Service;

use super::{
    error::AttemptError,
    ids::{RequestId, SendId},
    peer_id::PeerId,
    request::{Reply, Request, RequestPriority},
    timing::Timing,
};

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
    /// The request.
    pub request: Request,
    /// The order in which attempts are served where they wait.
    pub priority: RequestPriority,
    /// Peers not to ask, such as those that failed this request before.
    pub avoid: Vec<PeerId>,
    /// The instant after which the caller does not need a reply. Every layer that waits gives up then.
    pub deadline: Option<Instant>,
}

/// A reply, with its peer and its timing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// The peer and the instants of the sending that it answers.
    pub timing: Timing,
}

/// The two ends of an attempt.
pub type AttemptResult = Result<Answer, AttemptError>;

/// A `tower` service that takes attempts: an alias for the bounds. Every service with these bounds implements it.
pub trait AttemptService: Service<Attempt, Response = Answer, Error = AttemptError> {}

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
