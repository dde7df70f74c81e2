use std::{fmt, time::Duration};

use qrinfo_core::{
    BlockHash, BlockHeader, Hash256, Network,
    message::{ChainLock, Headers, InstantLock},
    wire::frame::Frame,
};

use tokio::sync::watch;

use crate::{Chain, ServerSession};

/// The source of a [`SimulatedPeer`](crate::SimulatedPeer)'s answers: a recording, a chain, the numbers of a scenario.
///
/// The peer does everything else: the handshake, pings, the order, the time that it takes, and faults. A node that is
/// behind the tip, or on a fork, is an answerer that knows fewer blocks, or others.
///
/// ```
/// use qrinfo_core::{Network, wire::frame::{Command, Frame}};
/// use spv_testkit::{Answers, NodeFacts, Response, ServerSession, SimulatedPeer};
///
/// /// A node without any blocks.
/// #[derive(Debug)]
/// struct Empty;
///
/// impl Answers for Empty {
///     fn node(&self) -> NodeFacts {
///         NodeFacts { network: Network::Regtest, user_agent: "/empty/".into(), start_height: 0, time: 0 }
///     }
///
///     fn answer(&self, request: &Frame, _session: ServerSession) -> Response {
///         if request.command == Command::GET_QR_INFO { Response::Refuse } else { Response::Ignore }
///     }
/// }
///
/// let peer = SimulatedPeer::builder(Empty).build();
/// assert_eq!(peer.stats().requests, 0);
/// ```
pub trait Answers: fmt::Debug + Send + Sync + 'static {
    /// Returns the contents of the node's `version`. Called once per connection.
    fn node(&self) -> NodeFacts;

    /// Returns the reaction of a node of this version to a message, in a session of this protocol version. Called for
    /// every message after the handshake but `ping` and `getheaders`.
    fn answer(&self, request: &Frame, session: ServerSession) -> Response;

    /// Returns the time that the answer to this message takes, a refusal included; `None`, the default, leaves it to
    /// the peer's [`PeerProfile`](crate::PeerProfile).
    fn cost(&self, _request: &Frame) -> Option<Cost> {
        None
    }

    /// The headers behind the newest block of a locator, at most
    /// [`MAX_HEADERS`](qrinfo_core::message::MAX_HEADERS). None by default.
    fn headers(&self, _locator: &[BlockHash]) -> Headers {
        Headers(Vec::new())
    }

    /// The headers behind the newest block of a locator for `getheaders2`, at most
    /// [`MAX_HEADERS2`](qrinfo_core::message::MAX_HEADERS2). Those of [`headers`](Self::headers) by default.
    fn compressed_headers(&self, locator: &[BlockHash]) -> Vec<BlockHeader> {
        self.headers(locator).0
    }

    /// The chain as it changes, for a node that announces its new blocks. None by default.
    fn live(&self) -> Option<watch::Receiver<Chain>> {
        None
    }

    /// The newest ChainLock, which the node announces when its chain changes. None by default.
    fn chain_lock(&self) -> Option<ChainLock> {
        None
    }

    /// The InstantSend locks that the node has, the oldest first. It announces those that are new when its chain changes.
    /// None by default.
    fn instant_locks(&self) -> Vec<InstantLock> {
        Vec::new()
    }

    /// The InstantSend lock with this hash, which it sends on request. Of [`instant_locks`](Self::instant_locks) by default.
    fn instant_lock(&self, hash: &Hash256) -> Option<InstantLock> {
        self.instant_locks().into_iter().find(|lock| lock.hash() == *hash)
    }

    /// A true reply to a request for another cycle, for [`Fault::WrongReply`](crate::Fault::WrongReply), which does
    /// nothing where there is none. None by default.
    fn other(&self, _request: &Frame, _session: ServerSession) -> Option<Frame> {
        None
    }
}

/// The contents of a node's `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its network.
    pub network: Network,
    /// Its name and version.
    pub user_agent: String,
    /// The height of its tip.
    pub start_height: u32,
    /// Its clock, in seconds since 1970. A fixed one, so that a session can be replayed.
    pub time: i64,
}

/// The reaction of a node to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// It sends this.
    Reply(Frame),
    /// It sends nothing, and counts a point of misbehaviour.
    Refuse,
    /// It takes no notice, and no time.
    Ignore,
}

/// The time that an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// To make it.
    pub compute: Duration,
    /// On the link, from its first byte to its last.
    pub transfer: Duration,
}
