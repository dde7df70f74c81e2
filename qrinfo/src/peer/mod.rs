#[cfg(feature = "tcp")]
mod connect;
mod transport;

use std::{error::Error, iter::successors, time::Duration};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, PeerId, Request};
use qrinfo_correlate::{Closed, Violation};
use tokio::time::timeout;
use tower::ServiceExt;

#[cfg(feature = "tcp")]
pub use self::connect::{adopt, connect};
pub(crate) use self::transport::peer_over;

/// The wait of a request for a slot at its peer. It must stay above the correlator's default timeout, so that a slot that
/// is only slow to come back is waited for.
const SLOT_TIMEOUT: Duration = Duration::from_secs(60);

/// The round trip assumed for a peer of which nothing is known: a long way.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// A peer that can be asked.
///
/// [`connect`](crate::connect) makes one of an address. A client with connections of its own makes one of any `tower`
/// service that takes an [`Attempt`]:
///
/// ```
/// use qrinfo::Peer;
/// use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, PeerId};
///
/// let refuses = tower::service_fn(|_: Attempt| async {
///     Err::<Answer, _>(AttemptError::new(AttemptErrorKind::Refused))
/// });
/// let id = PeerId::Address(([203, 0, 113, 5], 9999).into());
/// let peer = Peer::new(id, refuses, 2_240_504);
/// assert_eq!(peer.id.to_string(), "203.0.113.5:9999");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Peer<S> {
    /// Its name.
    pub id: PeerId,
    /// The service that asks it.
    pub service: S,
    /// The height of its tip when it was connected.
    pub start_height: u32,
    /// The time of a message there and back. A guess will do; one that is too long is corrected by the first replies. Only
    /// [`ParallelSync`](crate::ParallelSync) uses it.
    pub round_trip: Duration,
    #[cfg(feature = "parallel-qrinfo")]
    pub(crate) events: Option<tokio::sync::mpsc::UnboundedReceiver<qrinfo_core::PeerEvent>>,
}

// === impl Peer ===

impl<S> Peer<S> {
    /// A peer with a round trip of 200 ms that reports nothing.
    pub fn new(id: PeerId, service: S, start_height: u32) -> Self {
        Self {
            id,
            service,
            start_height,
            round_trip: ROUND_TRIP,
            #[cfg(feature = "parallel-qrinfo")]
            events: None,
        }
    }

    /// A peer that is this far away.
    #[must_use]
    pub fn with_round_trip(self, round_trip: Duration) -> Self {
        Self { round_trip, ..self }
    }

    /// The same peer behind another service, such as a layer around its own.
    #[must_use]
    pub fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Peer<T> {
        Peer {
            id: self.id,
            service: wrap(self.service),
            start_height: self.start_height,
            round_trip: self.round_trip,
            #[cfg(feature = "parallel-qrinfo")]
            events: self.events,
        }
    }

    /// A peer that reports the progress of its replies, so that a stall is seen as it happens. One sync listens to it.
    #[cfg(feature = "parallel-qrinfo")]
    #[must_use]
    pub fn with_events(self, events: tokio::sync::mpsc::UnboundedReceiver<qrinfo_core::PeerEvent>) -> Self {
        Self { events: Some(events), ..self }
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl<S> From<Peer<S>> for qrinfo_scheduler::Peer<S> {
    fn from(peer: Peer<S>) -> Self {
        let scheduled = Self::new(peer.service, peer.start_height, peer.round_trip);
        match peer.events {
            Some(events) => scheduled.with_events(events),
            None => scheduled,
        }
    }
}

/// Asks a peer once, and checks that the reply answers the request.
pub(crate) async fn ask(peer: PeerId, service: &mut impl AttemptService, attempt: Attempt) -> AttemptResult {
    let request = attempt.request.clone();
    // A peer whose slots are all held by tombstones may never free one.
    let service = match timeout(SLOT_TIMEOUT, service.ready()).await {
        Ok(ready) => ready?,
        Err(_) => {
            return Err(AttemptError::new(AttemptErrorKind::Timeout).at(peer).because("no slot became free"));
        }
    };
    judge(&request, service.call(attempt).await?, peer)
}

/// Checks that a reply answers the request: a service that does not go through the correlator need not have done so.
pub(crate) fn judge(request: &Request, answer: Answer, peer: PeerId) -> AttemptResult {
    match request.check_reply(&answer.reply) {
        Ok(()) => Ok(answer),
        Err(mismatch) => {
            Err(AttemptError::new(AttemptErrorKind::False).at(peer).timed(answer.timing).because(mismatch))
        }
    }
}

/// The kind of failure as far as it concerns the peer. Where a connection was ended for a fault of the peer, the attempts
/// behind it fail as disconnected, and only their source knows the fault.
pub(crate) fn classify(error: &AttemptError) -> AttemptErrorKind {
    let Some(closed) = causes(error).find_map(|cause| cause.downcast_ref::<Closed>()) else { return error.kind() };
    let is_stuck = matches!(closed, Closed::Violation(Violation::Unanswered(_)));
    closed.fault().unwrap_or(if is_stuck { AttemptErrorKind::Timeout } else { error.kind() })
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error, then its sources.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
