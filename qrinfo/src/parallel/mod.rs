mod controller;
mod peers;
mod reorder;
mod slow_down;
mod tally;

use std::{collections::BTreeMap, error::Error, num::NonZeroUsize, panic};

use futures_util::{Stream, stream};
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, GivenUp, PeerId, Reply, Request, Timing, WhyGivenUp};
use qrinfo_correlate::ALL_PEERS;
use qrinfo_recovery::{FailureWatchLayer, Recovery, RecoveryEvent, RecoveryHandle, RecoveryLayer, RecoverySettings};
use qrinfo_scheduler::{Rate, SchedulerHandle, SchedulerService, Settings, Window};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, discover::Change};

pub use self::controller::{NotAllowed, PhaseLimits, RequestController, RequestStats};
pub use self::slow_down::slow_down;
use self::{peers::schedulable, reorder::Reorder, tally::Tally};
use crate::{Delivered, Missing, Peer, SyncReport, SyncStats, peer::AttemptService};

/// How many events wait for a listener that is slow, before it misses the oldest.
const EVENTS: usize = 1024;

/// Settings of a [`ParallelSync`].
#[derive(Debug, Clone, Copy)]
pub struct ParallelOptions {
    /// Requests under way at all peers together, at most.
    pub max_concurrent: NonZeroUsize,
    /// Whether there are fewer at a time when failures mount at several peers.
    pub adaptive: bool,
    /// How often anything is sent; `None` for no limit.
    pub rate: Option<Rate>,
    /// How often anything is sent to one peer; `None` for no limit.
    pub peer_rate: Option<Rate>,
    /// What happens when a request fails. Its [`max_concurrent`](RecoverySettings::max_concurrent) is taken from here.
    pub recovery: RecoverySettings,
    /// Bytes of replies that wait to be taken and of those under way, which are expected to be of mean length. At least
    /// one request is always under way.
    pub window_bytes: u64,
}

impl Default for ParallelOptions {
    /// Three requests under way, adaptive, no rates, a window of 8 MiB, recovery by its own defaults: five attempts.
    fn default() -> Self {
        let max_concurrent = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
        let recovery = RecoverySettings::default();
        Self { max_concurrent, adaptive: true, rate: None, peer_rate: None, recovery, window_bytes: 8 << 20 }
    }
}

/// Asks several peers at once and delivers their replies in the order of the plan.
///
/// A [`Scheduler`](qrinfo_scheduler::Scheduler) binds each request to a peer at the moment of sending, to the one that
/// is expected to answer it first. A request that fails is asked again elsewhere, as a
/// [`RecoveryLayer`] decides. A peer that is gone, or that sent something false, is not asked again; one that falls
/// silent rests. When failures mount at several peers there are fewer requests at a time, down to one, and more again
/// in steps. [`events`](Self::events) tells every decision.
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
    service: Recovery<SchedulerService>,
    scheduler: SchedulerHandle,
    asking: JoinSet<(usize, Answer)>,
    /// It holds the scheduler, which holds the peers, which it listens to: it has to end with this.
    _slowing: JoinSet<()>,
    /// How many requests, from the first on, were handed to the scheduler.
    begun: usize,
    reorder: Reorder,
    /// How requests failed, by their position in the plan.
    failures: BTreeMap<usize, AttemptError>,
    /// Replies that were false, by their position in the plan.
    rejected: BTreeMap<usize, Vec<AttemptError>>,
    /// The reply that was delivered last.
    last: Option<(usize, Timing)>,
    connected: RecoveryHandle,
    tally: Tally,
    events: broadcast::Sender<RecoveryEvent>,
}

type Answer = Result<(Reply, Timing), AttemptError>;

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
        let cap = options.max_concurrent.get();
        let recovery_settings = RecoverySettings { max_concurrent: cap, ..options.recovery };
        let (connected, tally) = (RecoveryHandle::default(), Tally::default());
        let events = broadcast::Sender::new(EVENTS);
        let (slower, slow_downs) = mpsc::unbounded_channel();
        let told = events.clone();
        let watch = FailureWatchLayer::new(&recovery_settings, move |event| {
            // Without adaptation, and after the sync, nobody receives it.
            let _ = slower.send(event.clone());
            let _ = told.send(event.clone());
        });
        let peers = schedulable(peers, watch, connected.clone(), tally.clone(), events.clone());
        let (rate, peer_rate) = (options.rate, options.peer_rate);
        let settings = Settings { cap, rate, peer_rate, ..Settings::default() };
        let (service, driver) = SchedulerService::new(peers, settings);
        let scheduler = service.handle();
        // It ends by itself when the last clone of the service and of the handle is gone.
        tokio::spawn(driver);
        let told = events.clone();
        // Nobody has to listen.
        let observer = move |event: &RecoveryEvent| drop(told.send(event.clone()));
        let layer = RecoveryLayer::new(recovery_settings).with_peers(connected.clone()).on_event(observer);
        let service = layer.layer(service);
        let mut slowing = JoinSet::new();
        if options.adaptive {
            slowing.spawn(slow_down(cap, slow_downs, scheduler.clone()));
        }
        let mut sync = Self {
            plan,
            options,
            service,
            scheduler,
            asking: JoinSet::new(),
            _slowing: slowing,
            begun: 0,
            reorder: Reorder::default(),
            failures: BTreeMap::new(),
            rejected: BTreeMap::new(),
            last: None,
            connected,
            tally,
            events,
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
                self.tally.count_delivery(&delivered.timing);
                self.last = Some((delivered.index, delivered.timing));
                self.move_window();
                return Some(delivered);
            }
            self.move_window();
            match self.asking.join_next().await? {
                Ok((index, answer)) => self.settle(index, answer),
                // Nothing aborts these tasks while we wait for them.
                Err(error) => {
                    if let Ok(panicked) = error.try_into_panic() {
                        panic::resume_unwind(panicked);
                    }
                }
            }
        }
    }

    /// Takes back the reply that was delivered last, because it is false. Its peer is not asked again; others are asked
    /// for it, and what comes after it in the plan waits for that. Peers without names are all asked again, as often as
    /// [`RecoverySettings::max_attempts`] says. Without such a reply, or when it was taken back
    /// before, nothing happens.
    ///
    /// This is for what only the reply's place in the plan shows, such as a list that does not follow from the one
    /// before; see the crate `qrinfo-verify`.
    pub fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        let Some((index, timing)) = self.last.take() else { return };
        let peer = timing.peer;
        let error = AttemptError::new(AttemptErrorKind::False).at(peer).timed(timing).because(why);
        tracing::debug!(index, %error, "rejected");
        self.tally.count_rejection(&error, &timing);
        let rejected = self.rejected.entry(index).or_default();
        rejected.push(error);
        if peer == ALL_PEERS {
            // Whoever it was among them, the others answer as well.
            if rejected.len() >= self.options.recovery.max_attempts as usize {
                self.give_up(index, WhyGivenUp::Exhausted);
                return;
            }
        } else {
            if self.connected.ban(peer) {
                // Nobody has to listen.
                let _ = self.events.send(RecoveryEvent::Banned { peer, error: AttemptErrorKind::False });
            }
            self.scheduler.blame(peer);
        }
        self.ask_again(index);
    }

    /// The reply that was delivered last was not taken: it counts as missing if the sync ends here, and is asked for
    /// again if it goes on. Nobody is blamed.
    pub fn return_last(&mut self) {
        let Some((index, timing)) = self.last.take() else { return };
        self.tally.count_return(&timing);
        self.ask_again(index);
    }

    /// What the sync did so far. Attempts are counted when they have ended.
    pub fn stats(&self) -> SyncStats {
        self.tally.stats()
    }

    /// What is decided from now on about failures, and why. A listener that is slow misses the oldest of more than a
    /// thousand.
    pub fn events(&self) -> broadcast::Receiver<RecoveryEvent> {
        self.events.subscribe()
    }

    /// How the sync ended. Requests without a delivered reply count as missing.
    pub fn into_report(self) -> SyncReport {
        let Self { plan, reorder, mut failures, mut rejected, tally, .. } = self;
        let missing = plan
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !reorder.was_delivered(*index))
            .map(|(index, request)| {
                let mut missing = Missing::after(index, request, failures.remove(&index));
                missing.attempts.splice(0..0, rejected.remove(&index).unwrap_or_default());
                missing
            })
            .collect();
        SyncReport::new(missing, tally.stats(), tally.lost())
    }

    /// The window begins at the first request that is not delivered. What lies beyond is not begun.
    fn move_window(&mut self) {
        let (first, length) = (self.reorder.next_index() as u64, self.reorder.window(self.options.window_bytes));
        self.scheduler.set_window(Some(Window { first, length }));
        let end = usize::try_from(first.saturating_add(length)).unwrap_or(usize::MAX);
        while let Some(request) = self.plan.get(self.begun).filter(|_| self.begun < end).cloned() {
            self.ask(Attempt::new(self.begun as u64, request), self.begun);
            self.begun += 1;
        }
    }

    fn give_up(&mut self, index: usize, why: WhyGivenUp) {
        self.reorder.take_back(index);
        self.failures.insert(index, GivenUp { why, attempts: Vec::new() }.into_error());
        self.reorder.skip(index);
    }

    fn ask_again(&mut self, index: usize) {
        let Some(request) = self.plan.get(index).cloned() else { return };
        self.reorder.take_back(index);
        self.move_window();
        let avoid = self.tally.refused_by(&request);
        self.ask(Attempt { avoid, ..Attempt::new(index as u64, request) }, index);
    }

    fn ask(&mut self, attempt: Attempt, index: usize) {
        let answer = self.service.clone().oneshot(attempt);
        self.asking.spawn(async move { (index, answer.await) });
    }

    fn settle(&mut self, index: usize, answer: Answer) {
        match answer {
            Ok((reply, timing)) => self.reorder.put(Delivered { index, reply, timing }),
            Err(error) => {
                tracing::debug!(index, %error, "given up");
                self.failures.insert(index, error);
                self.reorder.skip(index);
            }
        }
    }
}
