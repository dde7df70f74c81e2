//! The types that travel a request stack, and the rules that every layer of it shares.
//!
//! * [`Request`] is a question, [`Reply`] what a peer sends back.
//! * [`Attempt`] is a request on its way, under one [`RequestId`] from plan to report; each sending has a [`SendId`].
//! * [`Answer`] and [`AttemptError`] are the two ends of an attempt, [`AttemptService`] is short for the `tower` services
//!   in between.
//! * [`PeerEvent`] tells what happens to peers; a [`PeerTable`] says which of them can be asked now.
//! * [`retry`] decides what to do about failures: plain structs without a runtime, for sequential and parallel syncs.

mod attempt;
mod error;
mod event;
mod given_up;
mod peer_id;
mod peers;
mod request;
pub mod retry;

pub use self::{
    attempt::{Answer, Attempt, AttemptResult, AttemptService, RequestId, SendId, Timing},
    error::{AttemptError, AttemptErrorKind, Mismatch},
    event::{LeaveReason, PeerEvent, RecoveryEvent},
    given_up::{GivenUp, WhyGivenUp},
    peer_id::{BadPeerName, PeerId, PeerName},
    peers::{KnownPeer, PeerTable},
    request::{MnListDiffRequestSpec, QRInfoRequestSpec, Reply, Request, RequestPriority},
};
