mod dispatch;
mod reorder;

use std::{collections::BTreeSet, future::Future, num::NonZeroUsize, pin::Pin};

use futures_util::{
    StreamExt,
    future::{AbortHandle, abortable},
    stream::FuturesUnordered,
};
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, QRInfoRequestSpec, Reply, Request, Timing};
use tokio::time::Instant;

use self::{
    dispatch::{Dispatcher, Ended},
    reorder::Reorder,
};
use crate::{
    Delivered, LostPeer, Missing, Peer, SyncOutcome, SyncReport, SyncStats,
    peer::{AttemptService, blame, ends_peer},
};

/// Settings of a [`ParallelSync`].
#[derive(Debug, Clone, Copy)]
pub struct ParallelOptions {
    /// Requests under way at all peers together, at most.
    pub max_concurrent: NonZeroUsize,
    /// How often one request is asked before it is given up, refusals not counted; at least once.
    pub max_attempts: u32,
    /// Replies that may wait for an earlier one, counting those under way. Memory holds that many replies at most.
    pub window: NonZeroUsize,
}

impl Default for ParallelOptions {
    /// Three requests under way, five attempts, a window of 64.
    fn default() -> Self {
        let max_concurrent = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
        Self { max_concurrent, max_attempts: 5, window: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// Asks several peers at once and delivers their replies in the order of the plan.
///
/// Each request is bound to a peer when it is sent, to the one that is expected to answer it first. A request that
/// fails is asked again elsewhere. A peer that is gone, or that sent something false, is not asked again.
///
/// ```
/// # use qrinfo::{AttemptService, Peer, ParallelOptions, ParallelSync};
/// # use qrinfo_core::QRInfoRequestSpec;
/// # async fn example<S: AttemptService<Future: Send + 'static> + Clone + Send + 'static>(
/// #     plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) {
/// let mut sync = ParallelSync::new(plan, peers, ParallelOptions::default());
/// while let Some(delivered) = sync.next().await {
///     println!("request {} was answered by {}", delivered.index, delivered.peer);
/// }
/// println!("{}", sync.into_report().outcome);
/// # }
/// ```
#[derive(Debug)]
pub struct ParallelSync<S> {
    plan: Vec<QRInfoRequestSpec>,
    peers: Vec<Peer<S>>,
    dispatcher: Dispatcher,
    reorder: Reorder,
    in_flight: FuturesUnordered<InFlight>,
    /// By which attempts at a peer that was lost are ended.
    aborts: Vec<(usize, PeerId, AbortHandle)>,
    failures: Vec<Vec<AttemptError>>,
    stats: SyncStats,
    lost: Vec<LostPeer>,
}

/// One attempt under way.
type InFlight = Pin<Box<dyn Future<Output = Attempted> + Send>>;

#[derive(Debug)]
struct Attempted {
    job: usize,
    peer: PeerId,
    result: Result<(Reply, Timing), AttemptError>,
}

impl<S> ParallelSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    /// A sync of `plan` from `peers`. Of several with one name, the first is asked.
    pub fn new(plan: Vec<QRInfoRequestSpec>, mut peers: Vec<Peer<S>>, options: ParallelOptions) -> Self {
        let mut names = BTreeSet::new();
        peers.retain(|peer| names.insert(peer.id));
        Self {
            dispatcher: Dispatcher::new(plan.len(), peers.iter().map(|peer| peer.id), options),
            reorder: Reorder::default(),
            in_flight: FuturesUnordered::new(),
            aborts: Vec::new(),
            failures: plan.iter().map(|_| Vec::new()).collect(),
            stats: SyncStats::default(),
            lost: Vec::new(),
            plan,
            peers,
        }
    }

    /// The next reply in the order of the plan, or `None` when the sync has ended. A request that was given up is
    /// passed over; [`into_report`](Self::into_report) names it.
    ///
    /// Safe to cancel: a dropped call loses no reply.
    pub async fn next(&mut self) -> Option<Delivered> {
        loop {
            if let Some(delivered) = self.reorder.pop() {
                self.stats.count_delivery(&delivered.timing);
                return Some(delivered);
            }
            self.dispatch();
            let attempted = self.in_flight.next().await?;
            self.settle(attempted);
        }
    }

    /// What the sync did so far.
    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// How the sync ended. Requests without a delivered reply count as missing.
    pub fn into_report(self) -> SyncReport {
        let Self { plan, dispatcher, reorder, failures, stats, lost, .. } = self;
        let missing = failures
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !reorder.was_delivered(*index))
            .map(|(index, attempts)| Missing::new(index, &plan[index], attempts))
            .collect();
        SyncReport { outcome: SyncOutcome::of(missing, dispatcher.has_settled_all()), stats, lost }
    }

    /// Sends all that may be sent now.
    fn dispatch(&mut self) {
        let now = Instant::now().into_std();
        while let Some((job, peer)) = self.dispatcher.next(self.reorder.next_index(), now) {
            let Some(mut peer) = self.peers.iter().find(|candidate| candidate.id == peer).cloned() else { break };
            self.stats.attempts += 1;
            self.stats.retries += u64::from(!self.failures[job].is_empty());
            let attempt = Attempt::new(job as u64, Request::from(self.plan[job].clone()));
            let id = peer.id;
            let (asked, abort) = abortable(async move { peer.ask(attempt).await });
            self.aborts.push((job, id, abort));
            self.in_flight.push(Box::pin(async move {
                let aborted = |_| Err(AttemptError::new(AttemptErrorKind::Cancelled).at(id));
                Attempted { job, peer: id, result: asked.await.unwrap_or_else(aborted) }
            }));
        }
    }

    fn settle(&mut self, Attempted { job, peer, result }: Attempted) {
        let now = Instant::now().into_std();
        self.aborts.retain(|(of, at, _)| (*of, *at) != (job, peer));
        match result {
            Ok((reply, timing)) => {
                self.dispatcher.settle(job, peer, Ended::Answered(timing), now);
                self.reorder.put(Delivered { index: job, reply, timing, peer });
            }
            Err(error) => {
                tracing::debug!(%peer, cycle = self.plan[job].cycle_height, %error, "attempt failed");
                self.stats.count_failure(&error);
                let ended = match ends_peer(&error) {
                    true => Ended::PeerLost,
                    false => Ended::of(error.kind()),
                };
                let why = blame(&error);
                self.failures[job].push(error);
                let was_last = self.dispatcher.settle(job, peer, ended, now);
                self.note_loss(peer, why, was_last);
                for given_up in self.dispatcher.take_given_up() {
                    self.reorder.skip(given_up);
                }
            }
        }
    }

    /// Notes that a peer was lost, and ends what it still holds: it goes to other peers at once. Of the attempts that
    /// end with a peer, one may say why; the others only that the connection is gone, and they may come first.
    fn note_loss(&mut self, peer: PeerId, why: AttemptErrorKind, was_last: bool) {
        if was_last {
            self.peers.retain(|other| other.id != peer);
        }
        // Where the connection is gone they end by themselves, and say why.
        if was_last && why == AttemptErrorKind::Timeout {
            self.aborts.iter().filter(|(_, at, _)| *at == peer).for_each(|(_, _, abort)| abort.abort());
        }
        match self.lost.iter_mut().find(|lost| lost.peer == peer) {
            Some(lost) if lost.why == AttemptErrorKind::Disconnected => lost.why = why,
            Some(_) => {}
            None if was_last => self.lost.push(LostPeer { peer, why }),
            None => {}
        }
    }
}
