//! Correlation of requests and replies at one Dash peer: a state machine without I/O, and a `tower` service around it.
//!
//! A `qrinfo` carries no request id, a refusal is silence, and a peer answers strictly in order. This crate turns that
//! into requests that end exactly once:
//!
//! ```text
//!  caller            requests that the peer holds        peer
//!    │── A ─────────►  [A, fence 1]                ── getqrinfo A, ping 1 ─►│
//!    │── B ─────────►  [A, fence 1, B, fence 2]    ── getqrinfo B, ping 2 ─►│
//!    │                                             ◄──────────────  pong 1 ─│   no reply came before it:
//!    │◄─ refused ────  [B, fence 2]                                         │   A is refused
//!    │                                             ◄──────── qrinfo, pong 2 │   its work block is that of B
//!    │◄─ reply of B ─  []                                                   │
//! ```
//!
//! | the client | takes |
//! |---|---|
//! | has one connection for each peer | [`PeerService`], a `tower` service; spawn its [`Driver`] |
//! | has a message loop of its own | [`Correlator`]: events and instants go in, frames and [`Action`]s come out |
//! | sends to all peers and does not see which one answers | [`PeerService::broadcast`], a service |
//! | the same, with a message loop of its own | [`QRInfoCorrelationManager`], a plain state machine |
//!
//! The transport of a [`PeerService`] is any stream of frame events that is a sink of frames too; that of `broadcast`
//! is a [`NetworkManager`](qrinfo_core::client::NetworkManager).
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
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! Every request ends with a reply or an [`AttemptError`](qrinfo_core::AttemptError). Its kind decides, its source says
//! why:
//!
//! | kind | source | what to do |
//! |---|---|---|
//! | `Refused` | | ask another peer: this one lacks a block |
//! | `Timeout` | [`TimeoutCause`] | ask another peer; the connection stays open |
//! | `Disconnected` | [`Closed`] | connect again, unless [`Closed::fault`] names a fault of the peer |
//! | `Malformed`, `False` | [`Violation`] | ban the peer: the connection is closed |
//! | `Local` | [`SendIdInUse`] | give each sending an id of its own |
//!
//! A broadcast manager refuses a request with [`RegisterError`], and gives back a reply of no request as [`Unmatched`].
//!
//! # Bounds
//!
//! * Requests that a peer holds, tombstones included: [`CorrelatorConfig::depth`], 8 by default.
//! * Silence while a caller waits: [`head_timeout`](CorrelatorConfig::head_timeout), 30 s by default. A peer that
//!   leaves a request unanswered for five times as long loses its connection.
//! * The time of a reply of `n` bytes: `head_timeout + n / min_rate`, with 8,000 bytes/s by default. A length that a
//!   peer announced counts up to 1 MiB, or up to four times the longest true reply of the connection.
//! * Callers that wait at a broadcast manager: [`MAX_WAITING`]. Requests that it remembers for late copies:
//!   [`MAX_REMEMBERED`].
//! * No part of a reply is copied or kept.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: the messages and the [`Attempt`](qrinfo_core::Attempt).
//! * [`spv-peer`](https://docs.rs/spv-peer): a connection that fits.
//!   [`qrinfo-scheduler`](https://docs.rs/qrinfo-scheduler): one service over many of these.
//! * `docs/glossary.md` in the repository: the terms of this project.

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
