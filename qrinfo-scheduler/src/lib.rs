//! Choice of request, peer and time over several Dash peers: a scheduler without I/O that keeps the one ledger of its
//! peers, a `tower` service around it, and its limits as layers.
//!
//! Peers differ ten-fold in speed and replies sixty-fold in length, and neither is known in advance. This crate models
//! each peer from its replies, and sends each request to the peer that will be done with it first:
//!
//! ```text
//!  requests, by priority and id                          peers, each with a model
//!  ┌─────────────────────────────┐                     ┌────────────────────────────────────┐
//!  │ critical │ high │ normal │… │ ── first to end ──► │ A  80 ms, 900 kB/s   holds 3 of 8  │
//!  └─────────────────────────────┘      at the         │ B 200 ms, 300 kB/s   holds 1 of 8  │
//!    cap, window, rates hold            moment of      │ C stalled: its requests go to A, B │
//!    the rest back                      sending        └────────────────────────────────────┘
//! ```
//!
//! | item | for |
//! |---|---|
//! | [`SchedulerService`] | a `tower` service over peers that come and go; spawn its [`Driver`] |
//! | [`SchedulerHandle`] | changes of cap, rates and window while it runs; bans; the ledger and its events |
//! | [`Scheduler`] | the decisions alone: events and instants go in, [`Dispatch`]es and [`Event`]s come out |
//! | [`ConcurrencyLimitLayer`], [`RateLimitLayer`] | its limits as layers of their own, for other stacks |
//!
//! The scheduler holds the queue, the limits, and a [`PeerHealth`] for each peer. The handle publishes a
//! [`PeerTable`](qrinfo_core::PeerTable) for the layers above, and every [`PeerEvent`](qrinfo_core::PeerEvent).
//!
//! # Example
//!
//! One service over three services that know nothing of connections:
//!
//! ```
//! use std::time::Duration;
//! use qrinfo_core::{
//!     Answer, Attempt, AttemptError, BlockHash, MnListDiffRequestSpec, PeerId, Reply, Timing, message::MnListDiff,
//! };
//! use qrinfo_scheduler::{Peer, SchedulerService, Settings};
//! use tower::{ServiceExt, discover::Change, service_fn};
//!
//! /// The client's own call to a peer. This one answers at once.
//! async fn ask(peer: PeerId, _attempt: Attempt) -> Result<Answer, AttemptError> {
//!     let now = tokio::time::Instant::now().into_std();
//!     let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
//!     let timing = Timing { peer, sent: now, head: None, first_byte: None, done: now, bytes: 500 };
//!     Ok(Answer { reply: Reply::MnListDiff(Box::new(diff)), timing })
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), AttemptError> {
//!     let near = PeerId::Address(([203, 0, 113, 20], 9999).into());
//!     let peers = [20, 60, 100].map(|milliseconds| {
//!         let peer = PeerId::Address(([203, 0, 113, milliseconds], 9999).into());
//!         let service = service_fn(move |attempt| ask(peer, attempt));
//!         // Its service, the height of its tip, and its round trip; the rest is learnt.
//!         let peer_and_facts = Peer::new(service, 2_240_504, Duration::from_millis(milliseconds.into()));
//!         Ok::<_, AttemptError>(Change::Insert(peer, peer_and_facts))
//!     });
//!     let (service, driver) = SchedulerService::new(futures_util::stream::iter(peers), Settings::default());
//!     tokio::spawn(driver);
//!
//!     let block_hash = BlockHash::from_bytes([3; 32]);
//!     let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash };
//!     let answer = service.oneshot(Attempt::new(1, spec.into())).await?;
//!     assert_eq!(answer.timing.peer, near);
//!     Ok(())
//! }
//! ```
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
//! * It causes at most [`MAX_POINTS`] misbehaviour points on a connection: a peer holds no more requests than it has
//!   points left. Speculative sends stop earlier, at 75 points.
//! * A peer that sends something false or malformed is banned, and not taken again. The requests that it holds fail at
//!   once, so that other peers can be asked for them.
//! * A peer whose reply nearly stops, or is announced to be longer than any true reply, keeps no request from other
//!   peers, also if it has never completed a reply.
//! * A panic in the service of one peer ends that peer alone.
//! * A request ends once: with a reply, or with an error that says why. Retrying is the caller's part: with the peers
//!   to avoid in [`Attempt::avoid`](qrinfo_core::Attempt::avoid) and the same id, it keeps its place.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! A failure of a peer's service comes back as it is. The scheduler's own reasons are the source of the
//! [`AttemptError`](qrinfo_core::AttemptError):
//!
//! | error | what to do |
//! |---|---|
//! | [`ScheduleError::NoPeerLeft`] | clear [`Attempt::avoid`](qrinfo_core::Attempt::avoid), or wait for another peer |
//! | [`ScheduleError::NoPeers`] | connect to other peers: the stream of peers has ended |
//! | [`ScheduleError::PeerRemoved`] | ask again |
//! | [`ScheduleError::DeadlinePassed`] | nothing: the caller set the deadline |
//! | [`ScheduleError::Stopped`] | keep the [`Driver`] running |
//! | [`SubmitError`], of [`Scheduler::submit`] | submit the attempt, which comes back, later or with an id of its own |
//!
//! # Bounds
//!
//! * Requests in flight at all peers: [`Settings::cap`], 3 by default. At one peer: [`MAX_DEPTH`].
//! * Requests that wait: [`Settings::capacity`], 16,384 by default; the service is not ready beyond it. A layer of this
//!   crate lets as many wait.
//! * Copies of one request at peers that make progress: two. Speculation earns one copy for each twenty requests, and
//!   saves up at most sixteen.
//! * Peers that are remembered as banned: 4,096. Requests whose refusals are remembered: 16,384. Events that wait for a
//!   slow listener: 1,024.
//! * Requests that wait are not searched: a decision takes as long with 10,000 of them as with 64 (`docs/benchmarks.md`
//!   in the repository).
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: the [`Attempt`](qrinfo_core::Attempt) and the types of peers and events.
//! * [`qrinfo-correlate`](https://docs.rs/qrinfo-correlate): the service of one peer.
//!   [`qrinfo-recovery`](https://docs.rs/qrinfo-recovery): retries around this one.
//! * `docs/scheduling.md` in the repository: the rules, and the measured worth of each. `docs/glossary.md`: the terms.

mod aimd;
mod gcra;
mod limit;
mod peer;
mod queue;
mod scheduler;
mod service;

pub use self::{
    gcra::{Gcra, Rate},
    limit::{ConcurrencyLimitLayer, Limited, RateLimitLayer},
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn seconds_have_a_sign() {
        let now = super::now();
        let later = now + Duration::from_millis(1_500);
        assert_eq!((super::seconds(now, later), super::seconds(later, now)), (1.5, -1.5));
    }
}
