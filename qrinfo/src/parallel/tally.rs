use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Timing};
use qrinfo_recovery::RecoveryHandle;
use qrinfo_scheduler::{MAX_POINTS, SchedulerService};
use tower::Service;

use crate::{
    LostPeer, SyncStats,
    peer::{blame, ends_peer},
};

/// Stands between recovery and the scheduler and sees every attempt: checks that its reply answers the request, counts
/// it, and tells recovery which peers are gone.
#[derive(Debug, Clone)]
pub(super) struct Tallied {
    scheduler: SchedulerService,
    peers: RecoveryHandle,
    tally: Tally,
}

/// What was counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    stats: SyncStats,
    /// The requests that were asked, by their number.
    asked: BTreeSet<u64>,
    refusals: BTreeMap<PeerId, u32>,
    lost: Vec<LostPeer>,
}

// === impl Tallied ===

impl Tallied {
    pub(super) fn new(scheduler: SchedulerService, peers: RecoveryHandle, tally: Tally) -> Self {
        Self { scheduler, peers, tally }
    }
}

impl Service<Attempt> for Tallied {
    type Response = (Reply, Timing);
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Result<(Reply, Timing), AttemptError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.scheduler.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (scheduler, peers, tally) = (self.scheduler.handle(), self.peers.clone(), self.tally.clone());
        let (id, request) = (attempt.id, attempt.request.clone());
        let reply = self.scheduler.call(attempt);
        Box::pin(async move {
            // A peer's service that does not go through the correlator need not have checked.
            let checked = reply.await.and_then(|(reply, timing)| match request.check_reply(&reply) {
                Ok(()) => Ok((reply, timing)),
                Err(mismatch) => {
                    scheduler.blame(timing.peer);
                    Err(AttemptError::new(AttemptErrorKind::False).at(timing.peer).timed(timing).because(mismatch))
                }
            });
            if let Some(gone) = tally.count(id, &checked) {
                peers.peer_left(gone);
            }
            checked
        })
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn stats(&self) -> SyncStats {
        self.counts().stats
    }

    pub(super) fn count_delivery(&self, timing: &Timing) {
        self.counts().stats.count_delivery(timing);
    }

    pub(super) fn lost(&self) -> Vec<LostPeer> {
        self.counts().lost.clone()
    }

    /// Counts an attempt. The peer is named if it is gone after this.
    fn count(&self, id: u64, ended: &Result<(Reply, Timing), AttemptError>) -> Option<PeerId> {
        let mut counts = self.counts();
        let peer = match ended {
            Ok((_, timing)) => timing.peer,
            // Without a peer nothing was asked.
            Err(error) => error.peer()?,
        };
        counts.stats.attempts += 1;
        counts.stats.retries += u64::from(!counts.asked.insert(id));
        let error = ended.as_ref().err()?;
        counts.stats.count_failure(error);
        let over = ends_peer(error) || (error.kind() == AttemptErrorKind::Refused && counts.refused_too_often(peer));
        if over {
            counts.note_loss(peer, blame(error));
        }
        over.then_some(peer)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are of use whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counts ===

impl Counts {
    /// Counts a refusal. The scheduler asks a peer no more that has refused this many.
    fn refused_too_often(&mut self, peer: PeerId) -> bool {
        let refusals = self.refusals.entry(peer).or_default();
        *refusals += 1;
        *refusals == MAX_POINTS
    }

    /// Notes that a peer was lost. Of the attempts that end with a peer, one may say why; the others only that the
    /// connection is gone, and they may come first.
    fn note_loss(&mut self, peer: PeerId, why: AttemptErrorKind) {
        match self.lost.iter_mut().find(|lost| lost.peer == peer) {
            Some(lost) if lost.why == AttemptErrorKind::Disconnected => lost.why = why,
            Some(_) => {}
            None => self.lost.push(LostPeer { peer, why }),
        }
    }
}
