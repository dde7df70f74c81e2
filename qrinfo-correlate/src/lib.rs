//! Correlation of requests and replies at one Dash peer.
//!
//! A `qrinfo` carries no request id, a refusal is silence, and a peer answers strictly in order. On top of that this
//! crate offers requests that end exactly once:
//!
//! * [`Correlator`] is one peer's queue as a plain state machine without I/O or a clock: events and instants go in,
//!   frames and [`Action`]s come out.
//! * [`PeerService`] is a `tower` service around it and any transport that is a stream of frame events and a sink of
//!   frames. Its [`Driver`] is the future that does the work; spawn it.
//!
//! And for a client whose network sends each request to all its peers and does not say which one answers:
//!
//! * [`QRInfoCorrelationManager`] is the same for all peers together: a plain state machine, for a client that has a
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
//! * A request that timed out, or that nobody waits for any more, stays in the queue as a *tombstone* until the peer has
//!   dealt with it: it keeps its place, so that its late reply is taken for no other's, and its slot, so that the peer
//!   is never asked for more than the depth allows.
//! * A timeout counts while a request is the first that somebody waits for, not from when it was sent: a deep queue at
//!   a healthy peer does not time out. What arrives starts the count anew, up to a total bound.
//!
//! Keeping a silent connection alive, or finding it dead, is the transport's part: as long as it stays open, tombstones
//! wait for their fence.

mod broadcast;
mod config;
mod correlator;
mod error;
mod service;

pub use self::{
    broadcast::{
        BroadcastDriver, Correlated, MAX_REMEMBERED, MAX_WAITING, QRInfoCorrelationManager, Registered, ReplyReceiver,
        ReplySender,
    },
    config::CorrelatorConfig,
    correlator::{Action, Correlator, Event},
    error::{Closed, RegisterError, SendIdInUse, TimeoutCause, Unmatched, Violation},
    service::{Driver, PeerService, ResponseFuture},
};
