//! Which request goes to which peer, and when.
//!
//! Peers differ ten-fold in speed and replies sixty-fold in length; nobody says in advance. This crate models each peer
//! from what it sees, and gives each request to the one that will be done with it soonest:
//!
//! * [`Scheduler`] is a plain state machine without I/O or a clock: events and instants go in, [`Dispatch`]es and
//!   [`Event`]s come out. It holds the queue, the limits and a [`PeerHealth`] for each peer.
//! * [`SchedulerService`] is a `tower` service around it and any peers that come and go. Its [`Driver`] is the future
//!   that does the work; spawn it. A [`SchedulerHandle`] changes cap, rates and window while it runs.
//! * [`ConcurrencyLimitLayer`] and [`RateLimitLayer`] are its limits as layers of their own, for other stacks.
//!
//! # What it promises
//!
//! * A request is bound to a peer at the moment of sending. Nothing is queued at a peer beyond what its pipeline takes,
//!   so that [`Critical`](qrinfo_core::RequestPriority::Critical) overtakes everything that is not sent.
//! * Whatever arrives, one of eight sends belongs to the request that has waited longest, once it has waited for
//!   [`Settings::ageing`].
//! * A slot belongs to the request at the peer, not to whoever waits for it: it is free when the peer has answered or
//!   gone.
//! * No more than one request in twenty is sent twice on a guess. What a stalled peer holds is always sent elsewhere,
//!   and counted.
//! * We cause at most [`MAX_POINTS`] misbehaviour points at a peer, and what it holds at that moment; then it is left.
//! * A request ends once: by a reply, or by an error that says why. Retrying is the caller's part: with the peers to
//!   avoid in [`Attempt::avoid`](qrinfo_core::Attempt::avoid) and the same id, it keeps its place.

mod aimd;
mod budget;
mod gcra;
mod limit;
mod peer;
mod policy;
mod queue;
mod scheduler;
mod service;
mod sizes;

pub use self::{
    gcra::{Gcra, Rate},
    limit::{ConcurrencyLimit, ConcurrencyLimitLayer, Limited, LimitedFuture, RateLimit, RateLimitLayer},
    peer::{MAX_DEPTH, MAX_POINTS, PeerHealth, PeerState},
    scheduler::{Dispatch, DispatchId, Event, Overloaded, Scheduler, Settings, Ticket, Window},
    service::{
        Driver, Peer, Peers, Reporter, Reports, ResponseFuture, ScheduleError, SchedulerHandle, SchedulerService,
        reports,
    },
};

use std::time::Instant;

/// Signed seconds from one instant to another.
fn seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(ahead) => ahead.as_secs_f64(),
        None => -from.saturating_duration_since(to).as_secs_f64(),
    }
}
