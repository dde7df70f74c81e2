//! Which request goes to which peer, and when.

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
    limit::{ConcurrencyLimit, ConcurrencyLimitLayer, LimitedFuture, RateLimit, RateLimitLayer},
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
