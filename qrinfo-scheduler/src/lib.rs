//! A scheduler of requests over several peers, with the one ledger of those peers.
//!
//! Peers differ ten-fold in speed and replies sixty-fold in length, and neither is known in advance. This crate models
//! each peer from its replies, and sends each request to the peer that will be done with it first:
//!
//! * [`Scheduler`] is a plain state machine without I/O or a clock: events and instants go in, [`Dispatch`]es and
//!   [`Event`]s come out. It holds the queue, the limits and the ledger: a [`PeerHealth`] for each peer.
//! * [`SchedulerService`] is a `tower` service around it and any peers that come and go. Its [`Driver`] is the future
//!   that does the work; spawn it. A [`SchedulerHandle`] changes cap, rates and window while it runs, bans peers, and
//!   publishes the ledger: a [`PeerTable`](qrinfo_core::PeerTable) for the layers above, and every
//!   [`PeerEvent`](qrinfo_core::PeerEvent).
//! * [`ConcurrencyLimitLayer`] and [`RateLimitLayer`] are its limits as layers of their own, for other stacks.
//!
//! # Guarantees
//!
//! * A request is bound to a peer at the moment of sending. Nothing is queued at a peer beyond what its pipeline takes,
//!   so that [`Critical`](qrinfo_core::RequestPriority::Critical) overtakes everything that is not sent.
//! * Whatever arrives, one of eight sends belongs to the request that has waited longest, once it has waited for
//!   [`Settings::ageing`].
//! * A slot belongs to the request at the peer, not to its caller: it is free when the peer has answered or is gone.
//! * At most one request in twenty is sent twice by speculation. Requests at a stalled peer are always sent to other
//!   peers, and counted.
//! * It causes at most [`MAX_POINTS`] misbehaviour points on a connection, plus the requests that the peer holds at
//!   that moment. Speculative sends stop much earlier, at 50 points.
//! * A peer that sends something false or malformed is banned, and not taken again. The requests that it holds fail at
//!   once, so that other peers can be asked for them.
//! * A peer whose reply nearly stops, or is announced to be longer than any true reply, keeps no request from other
//!   peers, also if it has never completed a reply.
//! * A panic in the service of one peer ends that peer alone.
//! * A request ends once: with a reply, or with an error that says why. Retrying is the caller's part: with the peers to
//!   avoid in [`Attempt::avoid`](qrinfo_core::Attempt::avoid) and the same id, it keeps its place.

mod aimd;
mod gcra;
mod limit;
mod peer;
mod queue;
mod scheduler;
mod service;

pub use self::{
    gcra::{Gcra, Rate},
    limit::{ConcurrencyLimit, ConcurrencyLimitLayer, Limited, LimitedFuture, RateLimit, RateLimitLayer},
    peer::{MAX_DEPTH, MAX_POINTS, PeerHealth, PeerState},
    scheduler::{Dispatch, Event, Scheduler, Settings, SubmitError, Window},
    service::{Driver, Peer, Peers, ResponseFuture, ScheduleError, SchedulerHandle, SchedulerService, SendStats},
};

use std::time::Instant;

/// Signed seconds from one instant to another.
fn seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(ahead) => ahead.as_secs_f64(),
        None => -from.saturating_duration_since(to).as_secs_f64(),
    }
}

/// The time of the tokio clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
