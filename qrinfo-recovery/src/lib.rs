//! Retries of failed requests at other peers, as a `tower` layer.
//!
//! * [`RecoveryLayer`] repeats failed requests: full jitter from a seed, a [`RetryBudget`] that is exact at fractions,
//!   one deadline over all attempts, and no attempt at peers that have failed the request.
//! * [`RecoveryManager`] has the interface of dash-spv's: a [`RecoveryStrategy`] for each failure.
//!
//! Both decide with the plain structs of [`qrinfo_core::retry`], and keep a [`History`] of the decisions that
//! were carried out. The layer keeps [`max_attempts`](RetryPolicy::max_attempts) around any service. With the
//! [`PeerTable`](qrinfo_core::PeerTable) of a ledger of peers, refusals and false replies cost no attempt, a
//! request that every peer refused is given up at once, and one that all have failed waits for another peer to join.
//!
//! No task is spawned, and a dropped future leaves nothing behind.
//!
//! # Example
//!
//! The first peer refuses; the request is repeated at the second:
//!
//! ```
//! use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, Reply};
//! use qrinfo_core::{Timing, message::MnListDiff, KnownPeer, PeerTable};
//! use qrinfo_recovery::{RecoveryLayer, RecoverySettings, RecoveryStrategy};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), AttemptError> {
//! let peers = [1, 2].map(|number| PeerId::Address(([203, 0, 113, number], 9999).into()));
//! let known = KnownPeer { height: 2_240_504, is_spent: false };
//! let (_ledger, table) = tokio::sync::watch::channel(PeerTable::new(peers.map(|peer| (peer, known))));
//!
//! let layer = RecoveryLayer::new(RecoverySettings::default()).with_peers(table);
//! let service = ServiceBuilder::new().layer(layer.clone()).service(service_fn(move |attempt: Attempt| async move {
//!     if !attempt.avoid.contains(&peers[0]) {
//!         return Err(AttemptError::new(AttemptErrorKind::Refused).at(peers[0]));
//!     }
//!     let now = tokio::time::Instant::now().into_std();
//!     let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
//!     let timing = Timing { peer: peers[1], sent: now, head: None, first_byte: None, done: now, bytes: 0 };
//!     Ok(Answer { reply: Reply::MnListDiff(Box::new(diff)), timing })
//! }));
//!
//! let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
//! let answer = service.oneshot(Attempt::new(7, request.into())).await?;
//! assert_eq!(answer.timing.peer, peers[1]);
//! assert_eq!(layer.history().iter().next().unwrap().strategy, RecoveryStrategy::SwitchPeer);
//! # Ok(())
//! # }
//! ```

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
pub use qrinfo_core::{
    RecoveryEvent,
    retry::{Category, FailureClass, RecoveryStrategy, RetryPolicy, RetryState},
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
