//! Headers, lists and quorums at the tip, for as long as a client runs.
mod decide;
mod state;

pub use self::state::{Degradation, FollowConfig, FollowError, FollowEvent, FollowState};
