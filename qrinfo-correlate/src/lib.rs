//! Correlation of requests and replies at one Dash peer.
//!
//! A `qrinfo` carries no request id, a refusal is silence, and a peer answers strictly in order. This crate turns that
//! into requests that end exactly once:
//!
//! * [`Correlator`] is one peer's queue as a plain state machine without I/O or a clock: events and instants go in,
//!   frames and [`Action`]s come out.
//! * [`PeerService`] is a `tower` service around it and any transport that is a stream of frame events and a sink of
//!   frames. Its [`Driver`] is the future that does the work; spawn it.
//!
//! For a client whose network sends each request to all peers and does not name the peer that answers:
//!
//! * [`QRInfoCorrelationManager`] does the same for all peers together: a plain state machine, for a client with a
//!   message loop of its own.
//! * [`PeerService::broadcast`] is the service around it and a
//!   [`NetworkManager`](qrinfo_core::client::NetworkManager).
//!
//! # How requests and replies meet at one peer
//!
//! * A reply goes to the first request that it answers, oldest first, as
//!   [`Request::check_reply`](qrinfo_core::Request::check_reply) judges. A reply that answers none costs the peer its
//!   connection.
//! * Every request is followed by a `ping` with a number of its own, the *fence*. The `pong` cannot overtake the reply;
//!   if it comes first, the request was refused. A reply to a later request says the same of every earlier one.
//! * A request that timed out or was cancelled stays in the queue as a *tombstone* until the peer has dealt with it. It
//!   keeps its place, so that its late reply is not mistaken for the reply to another request, and its slot, so that
//!   the peer never holds more requests than the depth allows.
//! * The head timeout counts while a request is the first one with a waiting caller, not from its sending: a deep queue
//!   at a healthy peer does not time out. Each arrival restarts it, up to a total bound
//!   ([`CorrelatorConfig::min_rate`]).
//!
//! The transport keeps a silent connection alive, or finds it dead. While it stays open, tombstones wait for their
//! fence.
//!
//! # Example
//!
//! Two requests in flight; the second reply proves that the first request was refused:
//!
//! ```
//! use qrinfo_core::{Attempt, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, SendId};
//! use qrinfo_core::message::{MnListDiff, NetworkMessage};
//! use qrinfo_correlate::{Action, Correlator, CorrelatorConfig, Event};
//!
//! let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
//! let now = tokio::time::Instant::now().into_std();
//! let block = |number| BlockHash::from_bytes([number; 32]);
//! let mut correlator = Correlator::new(peer, CorrelatorConfig::default());
//! for number in [1, 2] {
//!     let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: block(number) };
//!     let send = SendId { peer, seq: number.into() };
//!     correlator.submit(send, Attempt::new(u64::from(number), spec.into()), now)?;
//! }
//! // The caller writes these to its transport: two requests, and a ping behind each.
//! assert_eq!(std::iter::from_fn(|| correlator.next_frame(now)).count(), 4);
//!
//! let reply = NetworkMessage::MnListDiff(Box::new(MnListDiff::empty(BlockHash::ZERO, block(2))));
//! correlator.handle(Event::Frame(reply.to_frame()), now);
//! let answers: Vec<_> = std::iter::from_fn(|| correlator.next_action())
//!     .filter_map(|action| match action {
//!         Action::Answer { send, result } => Some((send.seq, result.err().map(|error| error.kind()))),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(answers, [(1, Some(AttemptErrorKind::Refused)), (2, None)]);
//! # Ok::<(), qrinfo_core::AttemptError>(())
//! ```

mod broadcast;
mod config;
mod correlator;
mod error;
mod reply;
mod service;

pub use self::{
    broadcast::{
        BroadcastDriver, Correlated, MAX_REMEMBERED, MAX_WAITING, QRInfoCorrelationManager, RegisterError, Registered,
        Unmatched,
    },
    config::CorrelatorConfig,
    correlator::{Action, Correlator, Event},
    error::{Closed, SendIdInUse, TimeoutCause, Violation},
    reply::{ReplyReceiver, ReplySender},
    service::{Driver, PeerService, ResponseFuture},
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
