mod answering;
mod reorder;
mod silence;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    num::NonZeroUsize,
    panic,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, DEFAULT_WINDOW_BYTES, GivenUp,
    PeerId, RecoveryEvent, RequestId, Timing, WhyGivenUp,
    retry::{RecoveryStrategy, RetryState},
};
use qrinfo_recovery::{Recovery, RecoveryLayer, RecoverySettings};
use qrinfo_scheduler::{Event, Rate, SchedulerHandle, SchedulerService, Settings, Window};
use tokio::{
    select,
    sync::broadcast,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt, discover::Change};
use tracing::{Instrument, Span};

use self::{answering::Answering, reorder::Reorder, silence::Silence};
use super::{
    Delivered, LostPeer, Missing, OrderedSync, PlannedRequest, SyncEvent, SyncOutcome, SyncReport, SyncStats,
    event::Events,
    time::{by, now},
};
use crate::peer::{Peer, chain};

/// Settings of a [`ParallelSync`].
#[derive(Debug, Clone, Copy)]
pub struct ParallelOptions {
    /// Requests in flight at all peers together, at most. A ceiling: below it each peer gets as many as its speed calls
    /// for, so that [`NonZeroUsize::MAX`] leaves the number to the peers. What a low one costs is in
    /// `docs/benchmarks.md`: with 3 and five peers a sync takes three to eight times as long.
    pub max_concurrent: NonZeroUsize,
    /// True if the number of requests at a time is lowered while failures mount at several peers.
    pub adaptive: bool,
    /// The length of a fall-back to one request at a time.
    pub sequential_for: Duration,
    /// The rate of all sends; `None` for no limit.
    pub rate: Option<Rate>,
    /// The rate of sends to one peer; `None` for no limit.
    pub peer_rate: Option<Rate>,
    /// The rules for failures.
    pub recovery: RecoverySettings,
    /// Bytes of replies that wait to be taken, together with those in flight, which are expected to be of mean length.
    /// At least one request is always in flight. Replies that do not fit are dropped and asked for again later.
    ///
    /// The default is [`DEFAULT_WINDOW_BYTES`], 768 KiB, which keeps memory low; a larger window is faster.
    pub window_bytes: u64,
    /// The time for the whole sync; `None` for no limit.
    pub total_timeout: Option<Duration>,
}

impl Default for ParallelOptions {
    /// Three requests in flight, adaptive with a minute in sequence, no rates, a window of [`DEFAULT_WINDOW_BYTES`], recovery by its own
    /// defaults (five attempts), and no limit for the whole sync.
    fn default() -> Self {
        Self {
            max_concurrent: NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN),
            adaptive: true,
            sequential_for: Duration::from_secs(60),
            rate: None,
            peer_rate: None,
            recovery: RecoverySettings::default(),
            window_bytes: DEFAULT_WINDOW_BYTES,
            total_timeout: None,
        }
    }
}

/// Asks several peers at once and delivers their replies in the order of the plan.
///
/// A [`Scheduler`](qrinfo_scheduler::Scheduler) binds each request to a peer at the moment of sending, to the one that
/// is expected to answer it first, and keeps the one ledger of peers. A [`RecoveryLayer`] around it repeats failed
/// requests at other peers. A peer that is gone, or that sent a false reply, is not asked again; a peer that times out
/// rests. While failures mount at several peers there are fewer requests at a time, down to one. A sync that no peer
/// answers ends in the time that one request takes to use up its attempts. [`events`](OrderedSync::events) reports all of
/// this.
///
/// The sync goes on in the background as far as [`ParallelOptions::window_bytes`] allows, so that a reply can be
/// processed while the next ones arrive. Dropping it cancels all requests in flight.
///
/// ```
/// # use qrinfo::{OrderedSync, Peer, ParallelOptions, ParallelSync};
/// # use qrinfo_core::{AttemptService, QRInfoRequestSpec};
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
    plan: Vec<PlannedRequest>,
    span: Span,
    options: ParallelOptions,
    service: Recovery<SchedulerService>,
    scheduler: SchedulerHandle,
    asking: JoinSet<Asked>,
    /// Passes the scheduler's events on; it ends with this.
    _forwarding: JoinSet<()>,
    /// The number of requests, from the first on, that were handed to the scheduler.
    begun: usize,
    /// Requests whose replies came and did not fit.
    postponed: BTreeSet<usize>,
    reorder: Reorder,
    /// The end of requests without a reply, by position in the plan.
    failures: BTreeMap<usize, GivenUp>,
    /// Replies that were false, by position in the plan.
    rejected: BTreeMap<usize, RetryState>,
    /// The reply that was delivered last.
    last: Option<(usize, Timing)>,
    /// Counts of deliveries; the scheduler has the rest.
    stats: SyncStats,
    deadline: Option<Instant>,
    /// The reason for which the sync ended before its plan.
    over: Option<WhyGivenUp>,
    /// No peer has answered anything for too long.
    silenced: CancellationToken,
    events: Events,
}

/// The end of a request.
struct Asked {
    index: usize,
    /// Replies and refusals of all peers before it began.
    signs_before: u64,
    result: AttemptResult,
}

impl ParallelSync {
    /// A sync of `plan` from `peers`. Of several with one name, the last is asked. It ends when none is left.
    ///
    /// Must be called within a tokio runtime.
    pub fn new<S>(
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        peers: Vec<Peer<S>>,
        options: ParallelOptions,
    ) -> Self
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
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        peers: impl Stream<Item = Change<PeerId, Peer<S>>> + Send + Unpin + 'static,
        options: ParallelOptions,
    ) -> Self
    where
        S: AttemptService<Future: Send> + Send + 'static,
    {
        let peers = peers.map(|change| {
            Ok::<_, Infallible>(match change {
                Change::Remove(id) => Change::Remove(id),
                Change::Insert(id, peer) => {
                    Change::Insert(id, peer.map(|service| Answering { peer: id, inner: service }).into())
                }
            })
        });
        let settings = Settings {
            cap: options.max_concurrent.get(),
            rate: options.rate,
            peer_rate: options.peer_rate,
            adaptive: options.adaptive,
            sequential_for: options.sequential_for,
            ..Settings::default()
        };
        let (service, driver) = SchedulerService::new(peers, settings);
        let scheduler = service.handle();
        let events = Events::default();
        let mut forwarding = JoinSet::new();
        let silenced = CancellationToken::new();
        let silence = Silence::new(options.recovery.retry.max_attempts, now());
        forwarding.spawn(forward(scheduler.events(), events.clone(), silence, silenced.clone()));
        // It ends by itself when the last clone of the service and of the handle is gone.
        let plan: Vec<PlannedRequest> = plan.into_iter().map(Into::into).collect();
        let span = tracing::debug_span!("sync", mode = "parallel", requests = plan.len());
        tokio::spawn(driver.instrument(span.clone()));
        let told = events.clone();
        let layer = RecoveryLayer::new(options.recovery).with_peers(scheduler.peers()).on_event(move |event| {
            told.send(SyncEvent::Recovery(event.clone()));
        });
        let mut sync = Self {
            plan,
            span,
            options,
            service: layer.layer(service),
            scheduler,
            asking: JoinSet::new(),
            _forwarding: forwarding,
            begun: 0,
            postponed: BTreeSet::new(),
            reorder: Reorder::default(),
            failures: BTreeMap::new(),
            rejected: BTreeMap::new(),
            last: None,
            stats: SyncStats::default(),
            deadline: options.total_timeout.and_then(|time| now().checked_add(time)),
            over: None,
            silenced,
            events,
        };
        sync.move_window();
        sync
    }

    /// The end of a request, or the reason for which the sync ends before. Safe to cancel.
    async fn joined(&mut self) -> Result<Option<Result<Asked, JoinError>>, WhyGivenUp> {
        select! {
            biased;
            joined = by(self.deadline, self.asking.join_next()) => joined.ok_or(WhyGivenUp::SyncDeadlinePassed),
            () = self.silenced.cancelled() => Err(WhyGivenUp::Silence),
        }
    }

    /// Decides about a reply that was taken back: it is asked for again, or given up where all peers answer under one
    /// name. The peers' own failures of the request are recovery's.
    fn decide_about_rejection(&mut self, index: usize, error: AttemptError) -> Option<RecoveryStrategy> {
        let request = RequestId(index as u64);
        let (peer, kind) = (error.peer(), error.kind());
        let attempt = Attempt::new(request, self.plan.get(index)?.request.clone());
        let policy = self.options.recovery.retry;
        let state = self.rejected.entry(index).or_insert_with(|| RetryState::new(&attempt, policy));
        let strategy = match state.failed(error, Some(&self.scheduler.peers().borrow()), now()) {
            RecoveryStrategy::Abort { why } if peer == Some(PeerId::ALL) => RecoveryStrategy::Abort { why },
            _ => RecoveryStrategy::SwitchPeer,
        };
        let decided = RecoveryEvent::Decided { request, peer, error: kind, strategy: strategy.clone() };
        self.events.send(SyncEvent::Recovery(decided));
        Some(strategy)
    }

    /// The window begins at the first request that is not delivered. Requests beyond it are not begun.
    fn move_window(&mut self) {
        let (first, length) = (self.reorder.next_index() as u64, self.reorder.window(self.options.window_bytes));
        self.scheduler.set_window(Some(Window { first: RequestId(first), length }));
        let end = usize::try_from(first.saturating_add(length)).unwrap_or(usize::MAX);
        while let Some(index) = self.postponed.first().copied().filter(|index| *index < end) {
            self.postponed.remove(&index);
            self.ask(index);
        }
        while self.begun < end.min(self.plan.len()) {
            self.ask(self.begun);
            self.begun += 1;
        }
    }

    fn ask_again(&mut self, index: usize) {
        self.reorder.take_back(index);
        self.move_window();
        self.ask(index);
    }

    fn ask(&mut self, index: usize) {
        let Some(PlannedRequest { request, priority }) = self.plan.get(index).cloned() else { return };
        let signs_before = self.scheduler.stats().signs_of_life();
        let answer = self.service.clone().oneshot(Attempt { priority, ..Attempt::new(index as u64, request) });
        let asked = async move { Asked { index, signs_before, result: answer.await } };
        self.asking.spawn(asked.instrument(self.span.clone()));
    }

    fn settle(&mut self, Asked { index, signs_before, result }: Asked) {
        match result {
            Ok(Answer { reply, timing }) => {
                self.reorder.put(Delivered { index, reply, timing });
                self.postponed.extend(self.reorder.evict(self.options.window_bytes));
            }
            Err(error) => {
                tracing::debug!(index, error = chain(&error), "given up");
                let given_up = given_up(error);
                let is_silence = given_up.is_silence() && self.scheduler.stats().signs_of_life() == signs_before;
                self.give_up(index, given_up);
                if is_silence {
                    self.end(WhyGivenUp::Silence);
                }
            }
        }
    }

    fn give_up(&mut self, index: usize, given_up: GivenUp) {
        self.failures.insert(index, given_up);
        self.reorder.skip(index);
    }

    /// Ends the sync before its plan. The replies that are there are delivered.
    fn end(&mut self, why: WhyGivenUp) {
        (self.reorder.next_index()..self.plan.len()).for_each(|index| self.reorder.skip(index));
        tracing::info!(%why, "the sync ends");
        self.asking.abort_all();
        self.over = Some(why);
    }
}

impl OrderedSync for ParallelSync {
    async fn next(&mut self) -> Option<Delivered> {
        loop {
            if let Some(delivered) = self.reorder.pop() {
                self.stats.count_delivery(&delivered.timing);
                self.last = Some((delivered.index, delivered.timing));
                if self.over.is_none() {
                    self.move_window();
                }
                return Some(delivered);
            }
            if self.over.is_some() {
                return None;
            }
            self.move_window();
            match self.joined().await {
                Ok(None) => return None,
                Ok(Some(Ok(asked))) => self.settle(asked),
                // Nothing aborts these tasks while they are waited for.
                Ok(Some(Err(error))) => {
                    if let Ok(panicked) = error.try_into_panic() {
                        panic::resume_unwind(panicked);
                    }
                }
                Err(why) => self.end(why),
            }
        }
    }

    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        let Some((index, timing)) = self.last.take() else { return };
        let peer = timing.peer;
        let error = self.stats.count_rejection(index, &timing, why);
        let strategy = self.decide_about_rejection(index, error);
        if peer != PeerId::ALL {
            self.scheduler.ban(peer, AttemptErrorKind::False);
        } else if let Some(RecoveryStrategy::Abort { why }) = strategy {
            // The copies of the other peers answer as well, but their number is limited.
            self.reorder.take_back(index);
            self.give_up(index, GivenUp { why, attempts: Vec::new() });
            return;
        }
        self.ask_again(index);
    }

    fn return_last(&mut self) {
        let Some((index, timing)) = self.last.take() else { return };
        self.stats.count_return(&timing);
        self.ask_again(index);
    }

    fn stats(&self) -> SyncStats {
        let sends = self.scheduler.stats();
        SyncStats {
            attempts: sends.sends,
            retries: sends.resends,
            refusals: sends.refusals,
            timeouts: sends.timeouts,
            ..self.stats
        }
    }

    fn events(&self) -> broadcast::Receiver<SyncEvent> {
        self.events.subscribe()
    }

    fn into_report(mut self) -> SyncReport {
        let (stats, lost) = (self.stats(), self.scheduler.stats().lost);
        let why = self.over.unwrap_or(WhyGivenUp::Stopped);
        let missing = std::mem::take(&mut self.plan).into_iter().enumerate();
        let missing = missing.filter(|(index, _)| !self.reorder.was_delivered(*index)).collect::<Vec<_>>();
        let missing = missing.into_iter().map(|(index, PlannedRequest { request, .. })| {
            let given_up = self.failures.remove(&index);
            let GivenUp { why, mut attempts } = given_up.unwrap_or(GivenUp { why, attempts: Vec::new() });
            let rejected = self.rejected.remove(&index).map(|state| state.give_up(why).attempts);
            attempts.splice(0..0, rejected.unwrap_or_default());
            Missing { index, request, why, attempts }
        });
        let missing = missing.collect();
        let lost = lost.into_iter().map(|(peer, why)| LostPeer { peer, why }).collect();
        SyncReport { outcome: SyncOutcome::of(missing), stats, lost }
    }
}

/// The reasons of a request's end, from recovery's error.
fn given_up(error: AttemptError) -> GivenUp {
    let kind = error.kind();
    match error.into_source().map(|source| source.downcast::<GivenUp>()) {
        Some(Ok(given_up)) => *given_up,
        // Recovery always says why; this is for completeness.
        _ => GivenUp { why: WhyGivenUp::LocalFailure, attempts: vec![AttemptError::new(kind)] },
    }
}

/// Passes the scheduler's events on to the listeners of a sync, until there are no more, or until no peer has answered
/// anything for too long: then `silenced` is cancelled.
async fn forward(mut from: broadcast::Receiver<Event>, to: Events, mut silence: Silence, silenced: CancellationToken) {
    loop {
        match by(silence.ends_at(), from.recv()).await {
            Some(Ok(Event::Peer(event))) => {
                silence.on_event(&event);
                to.send(SyncEvent::Peer(event));
            }
            Some(Ok(Event::SlowedDown { strategy, failures, attempts })) => {
                to.send(SyncEvent::Recovery(RecoveryEvent::SlowedDown { strategy, failures, attempts }));
            }
            Some(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
            Some(Err(broadcast::error::RecvError::Closed)) => return,
            None => return silenced.cancel(),
        }
    }
}
