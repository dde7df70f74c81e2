use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Request, Timing};
use qrinfo_correlate::ALL_PEERS;
use qrinfo_recovery::RecoveryHandle;
use qrinfo_scheduler::MAX_POINTS;
use tower::Service;

use super::Answer;
use crate::{
    AttemptService, LostPeer, SyncStats,
    peer::{blame, ends_peer},
};

/// A peer whose attempts are counted. It checks that a reply answers the request, and tells recovery when the peer is
/// gone.
#[derive(Debug, Clone)]
pub(super) struct Tallied<S> {
    inner: S,
    peer: PeerId,
    recovery: RecoveryHandle,
    tally: Tally,
}

/// What was counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    stats: SyncStats,
    /// The requests that were asked, by a hash: a scheduler gives each attempt a number of its own.
    asked: HashSet<u64>,
    refusals: BTreeMap<PeerId, u32>,
    lost: Vec<LostPeer>,
}

// === impl Tallied ===

impl<S> Tallied<S> {
    pub(super) fn new(inner: S, peer: PeerId, recovery: RecoveryHandle, tally: Tally) -> Self {
        Self { inner, peer, recovery, tally }
    }
}

impl<S> Service<Attempt> for Tallied<S>
where
    S: AttemptService,
    S::Future: Send + 'static,
{
    type Response = (Reply, Timing);
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        let ready = self.inner.poll_ready(cx);
        if let Poll::Ready(Err(error)) = &ready
            && self.tally.ends(self.peer, error)
        {
            self.recovery.peer_left(self.peer);
        }
        ready
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (peer, recovery, tally) = (self.peer, self.recovery.clone(), self.tally.clone());
        let request = attempt.request.clone();
        let answer = self.inner.call(attempt);
        Box::pin(async move {
            // A service that does not go through the correlator need not have checked.
            let answer = answer.await.and_then(|(reply, timing)| match request.check_reply(&reply) {
                Ok(()) => Ok((reply, timing)),
                Err(mismatch) => {
                    Err(AttemptError::new(AttemptErrorKind::False).at(peer).timed(timing).because(mismatch))
                }
            });
            if tally.count(&request, peer, &answer) {
                recovery.peer_left(peer);
            }
            answer
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

    /// A delivered reply was false, so its peer is gone, if it has a name.
    pub(super) fn count_rejection(&self, error: &AttemptError, timing: &Timing) {
        let mut counts = self.counts();
        counts.stats.count_rejection(error, timing);
        if timing.peer != ALL_PEERS {
            counts.note_loss(timing.peer, AttemptErrorKind::False);
        }
    }

    pub(super) fn count_return(&self, timing: &Timing) {
        self.counts().stats.count_return(timing);
    }

    pub(super) fn lost(&self) -> Vec<LostPeer> {
        self.counts().lost.clone()
    }

    /// Counts an attempt, and says whether its peer is gone after this.
    fn count(&self, request: &Request, peer: PeerId, answer: &Answer) -> bool {
        let mut counts = self.counts();
        counts.stats.attempts += 1;
        let known = !counts.asked.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(request));
        counts.stats.retries += u64::from(known);
        let Err(error) = answer else { return false };
        counts.stats.count_failure(error);
        counts.ends(peer, error)
    }

    /// Whether a peer is gone that failed like this.
    fn ends(&self, peer: PeerId, error: &AttemptError) -> bool {
        self.counts().ends(peer, error)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are of use whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counts ===

impl Counts {
    fn ends(&mut self, peer: PeerId, error: &AttemptError) -> bool {
        let over = ends_peer(error) || (error.kind() == AttemptErrorKind::Refused && self.refused_too_often(peer));
        if over {
            self.note_loss(peer, blame(error));
        }
        over
    }

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
