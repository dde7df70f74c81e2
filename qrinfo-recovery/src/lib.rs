//! What happens when a request fails.
//!
//! * [`FailureClass`] says what a kind of failure means: whose fault it is, whether another peer may do better, and
//!   whether it speaks of congestion.
//! * [`RecoveryManager`] answers a failure with a [`RecoveryStrategy`]. It has the surface of dash-spv's; its counters
//!   are kept per request and per peer, and its failure rate is failures by attempts.
//! * [`RecoveryLayer`] is a `tower` layer that asks again elsewhere: full jitter from a seed, a [`RetryBudget`] that
//!   is exact at fractions, one deadline over all attempts, peers that failed avoided.
//! * [`FailureWatchLayer`] sees attempts end and says when so many fail that there should be fewer at a time;
//!   [`ConcurrencyThrottle`] turns that into a limit that comes back in steps.
//!
//! Nothing here touches a scheduler: a [`RecoveryEvent`] tells what was decided, and whoever owns the scheduler applies
//! it. Nothing is spawned, and a dropped future leaves nothing behind.

mod backoff;
mod budget;
mod class;
mod event;
mod layer;
mod manager;
mod peers;
mod pursuit;
mod service;
mod settings;
mod strategy;
mod throttle;
mod watch;
mod window;

pub use backoff::Backoff;
pub use budget::RetryBudget;
pub use class::{Category, FailureClass};
pub use event::RecoveryEvent;
pub use layer::RecoveryLayer;
pub use manager::{ParallelStats, RecoveryManager, RecoveryRecord};
pub use peers::RecoveryHandle;
pub use service::Recovery;
pub use settings::RecoverySettings;
pub use strategy::RecoveryStrategy;
pub use throttle::ConcurrencyThrottle;
pub use watch::{FailureWatch, FailureWatchLayer};
