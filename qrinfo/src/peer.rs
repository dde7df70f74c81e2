use std::{error::Error, time::Duration};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Timing, wire::frame::FrameError};
use qrinfo_correlate::Violation;
use tokio::time::timeout;
use tower::{Service, ServiceExt};

/// A service that asks one peer: short for the bounds that the runs here need.
pub trait AttemptService: Service<Attempt, Response = (Reply, Timing), Error = AttemptError> {}

impl<S: Service<Attempt, Response = (Reply, Timing), Error = AttemptError>> AttemptService for S {}

/// A peer that let this many requests time out in a row is not asked again: each one keeps a slot at the peer.
pub(crate) const MAX_TIMEOUTS: u32 = 2;

/// How long a request waits for a slot at its peer. Longer than the correlator's default timeout, so that a slot that is
/// only slow to come back is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The round trip of a peer of which nothing is known: a long way.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// A peer that can be asked.
///
/// [`connect`](crate::connect) makes one of an address. A client with connections of its own makes one of any `tower`
/// service that takes an [`Attempt`]:
///
/// ```
/// use qrinfo::Peer;
/// use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Timing};
///
/// let refuses = tower::service_fn(|_: Attempt| async {
///     Err::<(Reply, Timing), _>(AttemptError::new(AttemptErrorKind::Refused))
/// });
/// let id = PeerId(([203, 0, 113, 5], 9999).into());
/// let peer = Peer::new(id, refuses, 2_240_504);
/// assert_eq!(peer.id.to_string(), "203.0.113.5:9999");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Peer<S> {
    /// Its name.
    pub id: PeerId,
    /// What asks it.
    pub service: S,
    /// The height of its tip when it was connected.
    pub start_height: u32,
    /// How long a message takes there and back. A guess will do; one that is too long is corrected by the first
    /// replies. Only [`ParallelSync`](crate::ParallelSync) uses it.
    pub round_trip: Duration,
    #[cfg(feature = "parallel-qrinfo")]
    pub(crate) reports: Option<qrinfo_scheduler::Reports>,
}

// === impl Peer ===

impl<S> Peer<S> {
    /// A peer with a round trip of 200 ms and without reports.
    pub fn new(id: PeerId, service: S, start_height: u32) -> Self {
        Self {
            id,
            service,
            start_height,
            round_trip: ROUND_TRIP,
            #[cfg(feature = "parallel-qrinfo")]
            reports: None,
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
            reports: self.reports,
        }
    }

    /// A peer that reports the progress of its replies, so that a stall is seen as it happens. One sync listens to
    /// them.
    #[cfg(feature = "parallel-qrinfo")]
    #[must_use]
    pub fn with_reports(self, reports: qrinfo_scheduler::Reports) -> Self {
        Self { reports: Some(reports), ..self }
    }
}

/// Asks a peer once, and checks that the reply answers the request: a service that does not go through the correlator
/// need not have done so.
pub(crate) async fn ask<S: AttemptService>(
    peer: PeerId,
    service: &mut S,
    attempt: Attempt,
) -> Result<(Reply, Timing), AttemptError> {
    let request = attempt.request.clone();
    // A peer whose slots are all held by requests that nobody waits for any more may never free one.
    let service = match timeout(PATIENCE, service.ready()).await {
        Ok(ready) => ready?,
        Err(_) => {
            return Err(AttemptError::new(AttemptErrorKind::Timeout).at(peer).because("no slot became free"));
        }
    };
    let future = service.call(attempt);
    let (reply, timing) = future.await?;
    match request.check_reply(&reply) {
        Ok(()) => Ok((reply, timing)),
        Err(mismatch) => Err(AttemptError::new(AttemptErrorKind::False).at(peer).timed(timing).because(mismatch)),
    }
}

/// Whether a peer that failed like this can be asked anything else.
pub(crate) fn ends_peer(error: &AttemptError) -> bool {
    matches!(error.kind(), AttemptErrorKind::Disconnected | AttemptErrorKind::Malformed | AttemptErrorKind::False)
}

/// What an attempt's end says of its peer. Where the connection was ended for what the peer sent, the attempts behind
/// fail as disconnected, and only their source knows better.
pub(crate) fn blame(error: &AttemptError) -> AttemptErrorKind {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(violation) = cause.downcast_ref::<Violation>() {
            return match violation {
                Violation::Malformed { .. } => AttemptErrorKind::Malformed,
                Violation::Unanswered(_) => AttemptErrorKind::Timeout,
                _ => AttemptErrorKind::False,
            };
        }
        // A frame that only breaks off was cut by the connection's end.
        if let Some(frame) = cause.downcast_ref::<FrameError>()
            && !matches!(frame, FrameError::Truncated(_))
        {
            return AttemptErrorKind::Malformed;
        }
        source = cause.source();
    }
    error.kind()
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
