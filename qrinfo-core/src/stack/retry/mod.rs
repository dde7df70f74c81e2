//! Decisions about failures: plain structs without a runtime, which sequential and parallel syncs share.
//!
//! | struct | decides about | input |
//! |---|---|---|
//! | [`RetryState`] | one request: ask another peer, wait, or give up | each failure of that request |
//! | [`Rest`] | one peer: how long it is left alone | each failure and answer of that peer |
//! | [`Congestion`] | all requests: fewer at a time, or one | the end of each sending |
//! | [`is_silence`](crate::GivenUp::is_silence) | a whole sync: no peer answers | each request that is given up |
//!
//! [`FailureClass`] is the meaning of a kind of failure, [`RecoveryStrategy`] a decision, [`RetryPolicy`] the limits
//! and times.

mod class;
mod congestion;
mod policy;
mod rest;
mod state;
mod strategy;

pub use self::{
    class::{Category, FailureClass},
    congestion::Congestion,
    policy::RetryPolicy,
    rest::Rest,
    state::RetryState,
    strategy::RecoveryStrategy,
};
