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

/// A peer that can be asked.
#[derive(Debug, Clone)]
pub struct Peer<S> {
    /// Its name.
    pub id: PeerId,
    /// What asks it.
    pub service: S,
    /// The height of its tip when it was connected.
    pub start_height: u32,
}

impl<S: AttemptService> Peer<S> {
    /// Asks once, and checks that the reply answers the request: a service that does not go through the correlator
    /// need not have done so.
    pub(crate) async fn ask(&mut self, attempt: Attempt) -> Result<(Reply, Timing), AttemptError> {
        let request = attempt.request.clone();
        // A peer whose slots are all held by requests that nobody waits for any more may never free one.
        let service = match timeout(PATIENCE, self.service.ready()).await {
            Ok(ready) => ready?,
            Err(_) => {
                return Err(AttemptError::new(AttemptErrorKind::Timeout).at(self.id).because("no slot became free"));
            }
        };
        let future = service.call(attempt);
        let (reply, timing) = future.await?;
        match request.check_reply(&reply) {
            Ok(()) => Ok((reply, timing)),
            Err(mismatch) => {
                Err(AttemptError::new(AttemptErrorKind::False).at(self.id).timed(timing).because(mismatch))
            }
        }
    }
}

/// Whether a peer that failed like this can be asked anything else.
pub(crate) fn ends_peer(error: &AttemptError) -> bool {
    matches!(
        error.kind(),
        AttemptErrorKind::Disconnected
            | AttemptErrorKind::Malformed
            | AttemptErrorKind::False
            | AttemptErrorKind::Local
    )
}

/// What an attempt's end says of its peer. Where the connection was ended for what the peer sent, the attempts behind
/// fail as disconnected, and only their source knows better.
pub(crate) fn blame(error: &AttemptError) -> AttemptErrorKind {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(violation) = cause.downcast_ref::<Violation>() {
            return match violation {
                Violation::Malformed { .. } => AttemptErrorKind::Malformed,
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
