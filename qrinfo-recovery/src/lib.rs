//! Retries of failed requests at other peers, as a `tower` layer.
//!
//! * [`RecoveryLayer`] asks again elsewhere: full jitter from a seed, a [`RetryBudget`] that is exact at fractions, one
//!   deadline over all attempts, peers that failed avoided.
//! * [`RecoveryManager`] has the surface of dash-spv's: a [`RecoveryStrategy`] for each failure.
//!
//! Both decide with the plain structs of [`qrinfo_core::stack::retry`], and keep a [`History`] of what was done. The
//! layer works around any service that keeps to [`Attempt::avoid`](qrinfo_core::Attempt::avoid). With the
//! [`PeerTable`](qrinfo_core::stack::PeerTable) of a ledger of peers it also knows when to stop: what every peer refused
//! is given up at once, and what all have failed waits for another peer to join.
//!
//! Nothing is spawned, and a dropped future leaves nothing behind.

mod backoff;
mod budget;
mod history;
mod layer;
mod manager;
mod service;
mod settings;

pub use self::{
    backoff::Backoff,
    budget::RetryBudget,
    history::{History, RecoveryRecord},
    layer::RecoveryLayer,
    manager::{ParallelStats, RecoveryManager},
    service::Recovery,
    settings::RecoverySettings,
};
pub use qrinfo_core::stack::{
    RecoveryEvent,
    retry::{Category, FailureClass, RecoveryStrategy, RetryPolicy, RetryState},
};
