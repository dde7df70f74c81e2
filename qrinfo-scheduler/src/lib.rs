//! Which request goes to which peer, and when.

mod budget;
mod gcra;
mod peer;
mod policy;
mod queue;
mod scheduler;
mod sizes;

pub use self::{
    gcra::{Gcra, Rate},
    peer::{MAX_DEPTH, MAX_POINTS, PeerHealth, PeerState},
    scheduler::{Dispatch, DispatchId, Event, Overloaded, Scheduler, Settings, Ticket, Window},
};

use std::time::Instant;

/// Signed seconds from one instant to another.
fn seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(ahead) => ahead.as_secs_f64(),
        None => -from.saturating_duration_since(to).as_secs_f64(),
    }
}
