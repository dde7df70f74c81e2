use std::{collections::BTreeMap, future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};
use qrinfo_core::{Attempt, AttemptError, Reply, SyncPhase, Timing};
use qrinfo_scheduler::{Rate, SchedulerHandle};
use tower::ServiceExt;

use crate::AttemptService;

/// How many requests of a phase are at peers at a time, and how often one is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseLimits {
    /// Requests at peers at a time; zero counts as one.
    pub max_concurrent: usize,
    /// How often one is sent; `None` for no limit.
    pub rate: Option<Rate>,
}

/// The request control of dash-spv, as settings of a [`Scheduler`](qrinfo_scheduler::Scheduler).
///
/// It says how much of which phase may be under way; queue, limits and clock are the scheduler's. Timeouts are those of
/// the stack below, and a reply comes back to whoever queued its request, so there is nothing to complete or to check
/// by hand. Only the phase [`MasternodeLists`](SyncPhase::MasternodeLists) has requests here.
///
/// ```
/// use qrinfo::RequestController;
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, SyncPhase};
/// use qrinfo_scheduler::SchedulerService;
///
/// # async fn example(scheduler: SchedulerService) -> Result<(), qrinfo::NotAllowed> {
/// let mut controller = RequestController::new(scheduler.clone(), scheduler.handle());
/// controller.set_parallel_limits(SyncPhase::MasternodeLists, 8);
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// controller.queue_request(SyncPhase::MasternodeLists, Attempt::new(0, request.into()))?;
/// controller
///     .process_pending_requests(SyncPhase::MasternodeLists, |id, result| match result {
///         Ok((_, timing)) => println!("request {id}: {} bytes from {}", timing.bytes, timing.peer),
///         Err(error) => println!("request {id}: {error}"),
///     })
///     .await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RequestController<S> {
    service: S,
    scheduler: SchedulerHandle,
    limits: BTreeMap<SyncPhase, PhaseLimits>,
    pending: FuturesUnordered<Pending>,
    stats: RequestStats,
}

/// What became of the requests of a [`RequestController`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestStats {
    /// Requests that have not ended.
    pub pending: usize,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// A request that does not belong into a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("masternode lists are not asked for while syncing {0}; queue the request for {list}", list = SyncPhase::MasternodeLists)]
pub struct NotAllowed(pub SyncPhase);

/// A request and its number.
struct Pending(Pin<Box<dyn Future<Output = (u64, Answer)> + Send>>);

type Answer = Result<(Reply, Timing), AttemptError>;

// === impl PhaseLimits ===

impl PhaseLimits {
    /// dash-spv's.
    fn of(phase: SyncPhase) -> Self {
        let (max_concurrent, per_second) = match phase {
            SyncPhase::Headers | SyncPhase::FilterHeaders => (1, 10),
            SyncPhase::MasternodeLists => (1, 5),
            SyncPhase::Filters => (16, 50),
            SyncPhase::Blocks => (5, 10),
        };
        Self { max_concurrent, rate: Some(Rate::per_second(per_second, per_second)) }
    }
}

// === impl RequestController ===

impl<S> RequestController<S>
where
    S: AttemptService<Future: Send> + Clone + Send + 'static,
{
    /// A controller of the scheduler behind `service`, which may have layers around it. Phases begin with dash-spv's
    /// limits: at a time 1 for headers, masternode lists and filter headers, 16 for filters, 5 for blocks; a second 10,
    /// 5, 10, 50 and 10.
    pub fn new(service: S, scheduler: SchedulerHandle) -> Self {
        Self {
            service,
            scheduler,
            limits: SyncPhase::ALL.into_iter().map(|phase| (phase, PhaseLimits::of(phase))).collect(),
            pending: FuturesUnordered::new(),
            stats: RequestStats::default(),
        }
    }

    /// How many requests of a phase may be at peers at a time. 1 is sequential.
    pub fn set_parallel_limits(&mut self, phase: SyncPhase, max_concurrent: usize) {
        self.limits_mut(phase).max_concurrent = max_concurrent;
    }

    /// How often a request of a phase is sent; `None` for no limit.
    pub fn set_rate_limit(&mut self, phase: SyncPhase, rate: Option<Rate>) {
        self.limits_mut(phase).rate = rate;
    }

    /// The limits of a phase.
    pub fn limits(&self, phase: SyncPhase) -> PhaseLimits {
        self.limits.get(&phase).copied().unwrap_or(PhaseLimits::of(phase))
    }

    /// Whether requests for quorums and lists belong into this phase.
    pub fn is_request_allowed(&self, phase: SyncPhase) -> bool {
        phase == SyncPhase::MasternodeLists
    }

    /// Takes a request, to be sent when its phase is [processed](Self::process_pending_requests).
    ///
    /// # Errors
    /// [`NotAllowed`] in any phase but [`MasternodeLists`](SyncPhase::MasternodeLists).
    pub fn queue_request(&mut self, phase: SyncPhase, attempt: Attempt) -> Result<(), NotAllowed> {
        if !self.is_request_allowed(phase) {
            return Err(NotAllowed(phase));
        }
        let (id, asked) = (attempt.id, self.service.clone().oneshot(attempt));
        self.pending.push(Pending(Box::pin(async move { (id, asked.await) })));
        self.stats.pending += 1;
        Ok(())
    }

    /// Sends all that is queued, within the phase's limits, and hands out each end as it comes.
    ///
    /// Safe to cancel: the next call goes on with what has not ended.
    pub async fn process_pending_requests(&mut self, phase: SyncPhase, deliver: impl FnMut(u64, Answer)) {
        self.process_pending_requests_with_concurrency(phase, None, deliver).await;
    }

    /// The same with another number of requests at a time; 1 is sequential, `None` is the phase's own.
    pub async fn process_pending_requests_with_concurrency(
        &mut self,
        phase: SyncPhase,
        max_concurrent: Option<usize>,
        mut deliver: impl FnMut(u64, Answer),
    ) {
        let PhaseLimits { max_concurrent: own, rate } = self.limits(phase);
        self.scheduler.set_cap(max_concurrent.unwrap_or(own).max(1));
        self.scheduler.set_rate(rate);
        while let Some((id, answer)) = self.pending.next().await {
            self.stats.pending -= 1;
            match &answer {
                Ok(_) => self.stats.completed += 1,
                Err(_) => self.stats.failed += 1,
            }
            deliver(id, answer);
        }
    }

    /// Drops everything that has not ended.
    pub fn clear_pending_requests(&mut self) {
        self.pending.clear();
        self.stats.pending = 0;
    }

    /// What became of the requests so far.
    pub fn stats(&self) -> RequestStats {
        self.stats
    }

    fn limits_mut(&mut self, phase: SyncPhase) -> &mut PhaseLimits {
        self.limits.entry(phase).or_insert_with(|| PhaseLimits::of(phase))
    }
}

// === impl Pending ===

impl Future for Pending {
    type Output = (u64, Answer);

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}
