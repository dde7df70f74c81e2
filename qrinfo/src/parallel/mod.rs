mod ask;
mod controller;
mod peers;
mod reorder;

use std::{collections::BTreeMap, num::NonZeroUsize, panic};

use futures_util::{Stream, stream};
use qrinfo_core::{Attempt, AttemptError, PeerId, Request};
use qrinfo_scheduler::{SchedulerHandle, SchedulerService, Settings, Window};
use tokio::task::JoinSet;
use tower::discover::Change;

pub use self::controller::{NotAllowed, PhaseLimits, RequestController, RequestStats};
use self::{
    ask::{Asked, ask, found_no_peer},
    peers::schedulable,
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
    /// Bytes of replies that wait to be taken and of those under way, which are expected to be of mean length. At least
    /// one request is always under way.
    pub window_bytes: u64,
}

impl Default for ParallelOptions {
    /// Three requests under way, five attempts, a window of 8 MiB.
    fn default() -> Self {
        let max_concurrent = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
        Self { max_concurrent, max_attempts: 5, window_bytes: 8 << 20 }
    }
}

/// Asks several peers at once and delivers their replies in the order of the plan.
///
/// A [`Scheduler`](qrinfo_scheduler::Scheduler) binds each request to a peer at the moment of sending, to the one that
/// is expected to answer it first. A request that fails is asked again elsewhere. A peer that is gone, or that sent
/// something false, is not asked again; one that falls silent rests.
///
/// It goes on in the background as far as [`ParallelOptions::window_bytes`] allows, so a reply can be worked on while the
/// next ones arrive. Dropping it cancels what is under way.
///
/// ```
/// # use qrinfo::{AttemptService, Peer, ParallelOptions, ParallelSync};
/// # use qrinfo_core::QRInfoRequestSpec;
/// # async fn example<S: AttemptService<Future: Send> + Send + 'static>(
/// #     plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) {
/// let mut sync = ParallelSync::new(plan, peers, ParallelOptions::default());
/// while let Some(delivered) = sync.next().await {
///     println!("request {} was answered by {}", delivered.index, delivered.timing.peer);
/// }
/// println!("{}", sync.into_report().outcome);
/// # }
/// ```
#[derive(Debug)]
pub struct ParallelSync {
    plan: Vec<Request>,
    options: ParallelOptions,
    service: SchedulerService,
    scheduler: SchedulerHandle,
    asking: JoinSet<Asked>,
    /// How many requests, from the first on, were handed to the scheduler.
    begun: usize,
    reorder: Reorder,
    /// How requests failed, by their position in the plan.
    failures: BTreeMap<usize, Vec<AttemptError>>,
    stats: SyncStats,
    lost: Vec<LostPeer>,
}

impl ParallelSync {
    /// A sync of `plan` from `peers`. Of several with one name, the last is asked. It ends when none is left.
    ///
    /// Must be called within a tokio runtime.
    pub fn new<S>(plan: impl IntoIterator<Item: Into<Request>>, peers: Vec<Peer<S>>, options: ParallelOptions) -> Self
    where
        S: AttemptService<Future: Send> + Send + 'static,
    {
        let peers = peers.into_iter().map(|peer| Change::Insert(peer.id, peer));
        Self::with_changing_peers(plan, stream::iter(peers), options)
    }

    /// A sync from peers that join and leave while it runs. While there is none it waits, until the stream ends.
    ///
    /// Must be called within a tokio runtime.
    pub fn with_changing_peers<S>(
        plan: impl IntoIterator<Item: Into<Request>>,
        peers: impl Stream<Item = Change<PeerId, Peer<S>>> + Send + Unpin + 'static,
        options: ParallelOptions,
    ) -> Self
    where
        S: AttemptService<Future: Send> + Send + 'static,
    {
        let plan: Vec<Request> = plan.into_iter().map(Into::into).collect();
        let settings = Settings { cap: options.max_concurrent.get(), ..Settings::default() };
        let (service, driver) = SchedulerService::new(schedulable(peers), settings);
        let scheduler = service.handle();
        // It ends by itself when the last clone of the service and of the handle is gone.
        tokio::spawn(driver);
        let mut sync = Self {
            plan,
            options,
            service,
            scheduler,
            asking: JoinSet::new(),
            begun: 0,
            reorder: Reorder::default(),
            failures: BTreeMap::new(),
            stats: SyncStats::default(),
            lost: Vec::new(),
        };
        sync.move_window();
        sync
    }

    /// The next reply in the order of the plan, or `None` when the sync has ended. A request that was given up is
    /// passed over; [`into_report`](Self::into_report) names it.
    ///
    /// Safe to cancel: a dropped call loses no reply.
    pub async fn next(&mut self) -> Option<Delivered> {
        loop {
            if let Some(delivered) = self.reorder.pop() {
                self.stats.count_delivery(&delivered.timing);
                self.move_window();
                return Some(delivered);
            }
            self.move_window();
            match self.asking.join_next().await? {
                Ok(asked) => self.settle(asked),
                // Nothing aborts these tasks while we wait for them.
                Err(error) => {
                    if let Ok(panicked) = error.try_into_panic() {
                        panic::resume_unwind(panicked);
                    }
                }
            }
        }
    }

    /// What the sync did so far. Attempts are counted when their request has ended.
    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// How the sync ended. Requests without a delivered reply count as missing.
    pub fn into_report(self) -> SyncReport {
        let Self { plan, reorder, mut failures, stats, lost, asking, begun, .. } = self;
        let ended = begun == plan.len() && asking.is_empty();
        let had_peers = !failures.values().flatten().any(found_no_peer);
        let missing = plan
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !reorder.was_delivered(*index))
            .map(|(index, request)| Missing { index, request, attempts: failures.remove(&index).unwrap_or_default() })
            .collect();
        SyncReport { outcome: SyncOutcome::of(missing, ended && had_peers), stats, lost }
    }

    /// The window begins at the first request that is not delivered. What lies beyond is not begun.
    fn move_window(&mut self) {
        let (first, length) = (self.reorder.next_index() as u64, self.reorder.window(self.options.window_bytes));
        self.scheduler.set_window(Some(Window { first, length }));
        let end = usize::try_from(first.saturating_add(length)).unwrap_or(usize::MAX);
        for (index, request) in self.plan.iter().enumerate().take(end).skip(self.begun) {
            let attempt = Attempt::new(index as u64, request.clone());
            self.asking.spawn(ask(self.service.clone(), attempt, self.options.max_attempts));
            self.begun = index + 1;
        }
    }

    fn settle(&mut self, Asked { job, failures, reply }: Asked) {
        let at_peers = failures.iter().filter(|error| error.peer().is_some()).count() as u64;
        self.stats.attempts += at_peers + u64::from(reply.is_some());
        self.stats.retries += (at_peers + u64::from(reply.is_some())).saturating_sub(1);
        for error in &failures {
            self.stats.count_failure(error);
            self.note_loss(error);
        }
        match reply {
            Some((reply, timing)) => self.reorder.put(Delivered { index: job, reply, timing }),
            None => {
                self.failures.insert(job, failures);
                self.reorder.skip(job);
            }
        }
    }

    /// Notes that a peer was lost. Of the attempts that end with a peer, one may say why; the others only that the
    /// connection is gone, and they may come first.
    fn note_loss(&mut self, error: &AttemptError) {
        let Some(peer) = error.peer().filter(|_| ends_peer(error)) else { return };
        let why = blame(error);
        match self.lost.iter_mut().find(|lost| lost.peer == peer) {
            Some(lost) if lost.why == qrinfo_core::AttemptErrorKind::Disconnected => lost.why = why,
            Some(_) => {}
            None => self.lost.push(LostPeer { peer, why }),
        }
    }
}
