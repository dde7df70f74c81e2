//! Syncs of a plan: requests in, replies out in the order of the plan.

mod event;
mod ordered;
mod outcome;
#[cfg(feature = "parallel-qrinfo")]
mod parallel;
mod planned;
mod sequential;
mod time;

#[cfg(feature = "parallel-qrinfo")]
pub use self::parallel::{ParallelOptions, ParallelSync};
#[cfg(feature = "config")]
pub(crate) use self::time::now;
pub use self::{
    event::SyncEvent,
    ordered::OrderedSync,
    outcome::{Delivered, LostPeer, Missing, SyncOutcome, SyncReport, SyncStats},
    planned::PlannedRequest,
    sequential::{SequentialOptions, SequentialSync},
};
