use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Request, Timing};
use qrinfo_correlate::ALL_PEERS;
use qrinfo_recovery::{RecoveryEvent, RecoveryHandle};
use qrinfo_scheduler::MAX_POINTS;
use tokio::sync::broadcast;
use tower::Service;

use super::Answer;
use crate::{
    AttemptService, LostPeer, SyncStats,
    peer::{blame, ends_peer},
};

/// A peer whose attempts are counted. It checks that a reply answers the request, and tells recovery when the peer is
/// gone.
#[derive(Debug)]
pub(super) struct Tallied<S> {
    inner: S,
    peer: PeerId,
    connection: u64,
    recovery: RecoveryHandle,
    tally: Tally,
    events: broadcast::Sender<RecoveryEvent>,
}

/// What was counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    stats: SyncStats,
    /// The requests that were asked, by a hash, for a scheduler gives each attempt a number of its own; and who refused
    /// them.
    asked: HashMap<u64, Vec<PeerId>>,
    refusals: BTreeMap<PeerId, u32>,
    lost: Vec<LostPeer>,
}

// === impl Tallied ===

impl<S> Tallied<S> {
    /// `connection` is the peer's, by recovery's number.
    pub(super) fn new(
        inner: S,
        (peer, connection): (PeerId, u64),
        recovery: RecoveryHandle,
        tally: Tally,
        events: broadcast::Sender<RecoveryEvent>,
    ) -> Self {
        Self { inner, peer, connection, recovery, tally, events }
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
            self.recovery.connection_ended(self.peer, self.connection);
        }
        ready
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (peer, connection) = (self.peer, self.connection);
        let (recovery, tally, events) = (self.recovery.clone(), self.tally.clone(), self.events.clone());
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
            // Recovery is not told of it where another copy of the request is answered.
            if let Err(error) = &answer
                && matches!(error.kind(), AttemptErrorKind::False | AttemptErrorKind::Malformed)
                && recovery.ban(peer)
            {
                // Nobody has to listen.
                let _ = events.send(RecoveryEvent::Banned { peer, error: error.kind() });
            }
            if tally.count(&request, peer, &answer) {
                recovery.connection_ended(peer, connection);
            }
            answer
        })
    }
}

impl<S> Drop for Tallied<S> {
    /// The scheduler has given the peer up.
    fn drop(&mut self) {
        self.recovery.connection_ended(self.peer, self.connection);
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
        let asked = hash(request);
        counts.stats.retries += u64::from(counts.asked.contains_key(&asked));
        let refused_by = counts.asked.entry(asked).or_default();
        if matches!(answer, Err(error) if error.kind() == AttemptErrorKind::Refused) {
            refused_by.push(peer);
        }
        let Err(error) = answer else { return false };
        counts.stats.count_failure(error);
        counts.ends(peer, error)
    }

    /// The peers that refused a request.
    pub(super) fn refused_by(&self, request: &Request) -> Vec<PeerId> {
        self.counts().asked.get(&hash(request)).cloned().unwrap_or_default()
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

fn hash(request: &Request) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(request)
}
