//! The types that travel a request stack, and the rules that every layer of it shares.
//!
//! * A [`Request`] is sent to a peer, which sends a [`Reply`] back.
//! * An [`Attempt`] carries a request through the stack, under one [`RequestId`] from plan to report. Each sending to a
//!   peer has a [`SendId`].
//! * [`Answer`] and [`AttemptError`] are the two ends of an attempt. [`AttemptService`] is an alias for the bounds of
//!   the `tower` services in between.
//! * A [`PeerEvent`] reports a change at a peer; a [`PeerTable`] lists the peers that can be asked now.
//! * [`retry`] decides about failures: plain structs without a runtime, for sequential and parallel syncs.

mod attempt;
mod error;
mod event;
mod given_up;
mod ids;
mod mismatch;
mod peer_id;
mod peers;
mod request;
pub mod retry;
mod timing;

/// Bytes of replies that a parallel sync holds back or has in flight, by default: 768 KiB. Replies that come before their
/// turn wait, so that they are delivered in order. With this many the memory of a process is at most a fifth above that
/// of one that asks in sequence, whatever it does with the replies; with 8 MiB a sync of mainnet's replies takes
/// half to two thirds of the time.
pub const DEFAULT_WINDOW_BYTES: u64 = 768 << 10;

pub use self::{
    attempt::{Answer, Attempt, AttemptResult, AttemptService},
    error::{AttemptError, AttemptErrorKind},
    event::{LeaveReason, PeerEvent, RecoveryEvent},
    given_up::{GivenUp, WhyGivenUp},
    ids::{RequestId, SendId},
    mismatch::Mismatch,
    peer_id::{BadPeerName, PeerId, PeerName},
    peers::{KnownPeer, PeerTable},
    request::{MnListDiffRequestSpec, QRInfoRequestSpec, Reply, Request, RequestPriority},
    timing::Timing,
};
