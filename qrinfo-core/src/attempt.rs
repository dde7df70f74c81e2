//! One try of a request at one peer, and what is known of it afterwards.

use std::{fmt, net::SocketAddr, time::Instant};

use crate::{Request, RequestPriority};

/// A peer, by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub SocketAddr);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<SocketAddr> for PeerId {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

/// What the tower services of this stack take: a request, and how to treat it.
///
/// ```
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, Request, RequestPriority};
///
/// let request = Request::from(MnListDiffRequestSpec {
///     base_block_hash: BlockHash::ZERO,
///     block_hash: BlockHash::from_bytes([3; 32]),
/// });
/// let attempt = Attempt { priority: RequestPriority::High, ..Attempt::new(7, request) };
/// assert!(attempt.avoid.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// A number chosen by the caller, by which logs and reports name this attempt.
    pub id: u64,
    /// What to ask.
    pub request: Request,
    /// Who goes first where attempts wait.
    pub priority: RequestPriority,
    /// Peers not to ask: those that failed this request before.
    pub avoid: Vec<PeerId>,
    /// The caller's guess of the reply's length in bytes.
    pub expected_bytes: Option<u64>,
    /// When the caller loses interest. A layer that waits gives up at this instant.
    pub deadline: Option<Instant>,
}

impl Attempt {
    /// An attempt of normal priority, at any peer, without a deadline.
    pub fn new(id: u64, request: Request) -> Self {
        Self {
            id,
            request,
            priority: RequestPriority::default(),
            avoid: Vec::new(),
            expected_bytes: None,
            deadline: None,
        }
    }
}

/// Where an attempt was made, and when things happened to it there. Instants come from the clock of the one who drives
/// the stack; under a paused tokio clock they are virtual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Who was asked.
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
