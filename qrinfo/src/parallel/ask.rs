use std::error::Error;

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Timing};
use qrinfo_scheduler::{ScheduleError, SchedulerService};
use tower::{Service, ServiceExt};

/// How a request ended.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) job: usize,
    /// What each peer did that was asked in vain, in order.
    pub(super) failures: Vec<AttemptError>,
    /// `None` when it was given up.
    pub(super) reply: Option<(Reply, Timing)>,
}

/// Asks until a peer answers. None is asked again that refused; one that failed otherwise only when the others have had
/// their chance.
pub(super) async fn ask(mut service: SchedulerService, mut attempt: Attempt, max_attempts: u32) -> Asked {
    let job = usize::try_from(attempt.id).unwrap_or(usize::MAX);
    let mut failures: Vec<AttemptError> = Vec::new();
    let mut refused: Vec<PeerId> = Vec::new();
    let mut chances = max_attempts.max(1);
    while chances > 0 {
        let error = match ask_once(&mut service, attempt.clone()).await {
            Ok(reply) => return Asked { job, failures, reply: Some(reply) },
            Err(error) => error,
        };
        tracing::debug!(job, %error, "attempt failed");
        match (error.kind(), error.peer()) {
            (AttemptErrorKind::Refused, Some(peer)) => {
                refused.push(peer);
                attempt.avoid.push(peer);
            }
            (_, Some(peer)) => {
                chances -= 1;
                attempt.avoid.push(peer);
            }
            // Everyone there is has failed it: those that did not refuse are asked again.
            (_, None) if schedule_error(&error) == Some(ScheduleError::NobodyLeft) && attempt.avoid != refused => {
                attempt.avoid.clone_from(&refused);
                continue;
            }
            (_, None) => chances = 0,
        }
        failures.push(error);
    }
    Asked { job, failures, reply: None }
}

/// Whether the request ended because there was no peer.
pub(super) fn found_no_peer(error: &AttemptError) -> bool {
    matches!(schedule_error(error), Some(ScheduleError::NoPeers | ScheduleError::Stopped))
}

fn schedule_error(error: &AttemptError) -> Option<ScheduleError> {
    error.source().and_then(|source| source.downcast_ref()).copied()
}

async fn ask_once(service: &mut SchedulerService, attempt: Attempt) -> Result<(Reply, Timing), AttemptError> {
    let request = attempt.request.clone();
    let (reply, timing) = service.ready().await?.call(attempt).await?;
    // A service that does not go through the correlator need not have checked.
    match request.check_reply(&reply) {
        Ok(()) => Ok((reply, timing)),
        Err(mismatch) => {
            service.handle().blame(timing.peer);
            Err(AttemptError::new(AttemptErrorKind::False).at(timing.peer).timed(timing).because(mismatch))
        }
    }
}
