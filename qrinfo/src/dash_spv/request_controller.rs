use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use qrinfo_core::{Attempt, AttemptResult, AttemptService, RequestId, SyncPhase};
use qrinfo_scheduler::{Rate, SchedulerHandle};
use spv_config::ClientConfig;
use tower::ServiceExt;

/// The limits of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseLimits {
    /// Requests at peers at a time; zero counts as one.
    pub max_concurrent: usize,
    /// The rate of sends; `None` for no limit.
    pub rate: Option<Rate>,
}

/// The request control of dash-spv, as settings of a [`Scheduler`](qrinfo_scheduler::Scheduler).
///
/// It holds the limits of each phase; queue, limits and clock are the scheduler's. Timeouts are those of the stack below,
/// and a reply comes back to the caller that queued its request, so there is nothing to complete or to check by hand. Only the phase [`MasternodeLists`](SyncPhase::MasternodeLists) has requests here.
///
/// ```
/// use qrinfo::RequestController;
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, SyncPhase};
/// use qrinfo_scheduler::SchedulerService;
/// use spv_config::ClientConfig;
///
/// # async fn example(scheduler: SchedulerService) -> Result<(), qrinfo::NotAllowed> {
/// let mut controller = RequestController::new(&ClientConfig::mainnet(), scheduler.clone(), scheduler.handle());
/// controller.set_parallel_limits(SyncPhase::MasternodeLists, 8);
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// controller.queue_request(SyncPhase::MasternodeLists, Attempt::new(0, request.into()))?;
/// controller
///     .process_pending_requests(SyncPhase::MasternodeLists, |id, result| match result {
///         Ok(answer) => println!("request {id}: {} bytes from {}", answer.timing.bytes, answer.timing.peer),
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
    pending: FuturesUnordered<BoxFuture<'static, (RequestId, AttemptResult)>>,
    stats: RequestStats,
}

/// Counts of the requests of a [`RequestController`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequestStats {
    /// Requests that have not ended.
    pub pending: usize,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// The refusal of a request that does not belong to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("masternode lists are not asked for while syncing {0}; queue the request for {list}", list = SyncPhase::MasternodeLists)]
pub struct NotAllowed(pub SyncPhase);

// === impl PhaseLimits ===

impl PhaseLimits {
    /// dash-spv's limits, with the configuration's for filters and masternode lists.
    fn of(phase: SyncPhase, config: &ClientConfig) -> Self {
        let (max_concurrent, per_second) = match phase {
            SyncPhase::Headers | SyncPhase::FilterHeaders => (1, 10),
            SyncPhase::MasternodeLists => (config.max_concurrent_qrinfo_requests(), 5),
            SyncPhase::Filters => (config.max_concurrent_filter_requests, 50),
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
    /// A controller of the scheduler behind `service`, which may have layers around it. Phases start with dash-spv's
    /// limits: 1 at a time for headers and filter headers, 5 for blocks, and the configuration's for masternode lists
    /// and filters; a second 10 headers, 5 lists, 10 filter headers, 50 filters and 10 blocks.
    pub fn new(config: &ClientConfig, service: S, scheduler: SchedulerHandle) -> Self {
        Self {
            service,
            scheduler,
            limits: SyncPhase::ALL.into_iter().map(|phase| (phase, PhaseLimits::of(phase, config))).collect(),
            pending: FuturesUnordered::new(),
            stats: RequestStats::default(),
        }
    }

    /// Sets the requests of a phase that may be in flight at a time. 1 is sequential.
    pub fn set_parallel_limits(&mut self, phase: SyncPhase, max_concurrent: usize) {
        if let Some(limits) = self.limits.get_mut(&phase) {
            limits.max_concurrent = max_concurrent;
        }
    }

    /// Sets the rate of a phase; `None` for no limit.
    pub fn set_rate_limit(&mut self, phase: SyncPhase, rate: Option<Rate>) {
        if let Some(limits) = self.limits.get_mut(&phase) {
            limits.rate = rate;
        }
    }

    /// The limits of a phase.
    pub fn limits(&self, phase: SyncPhase) -> PhaseLimits {
        // The constructor sets every phase.
        self.limits.get(&phase).copied().unwrap_or(PhaseLimits { max_concurrent: 1, rate: None })
    }

    /// Returns true if requests for quorums and lists belong to this phase.
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
        self.pending.push(asked.map(move |answer| (id, answer)).boxed());
        self.stats.pending += 1;
        Ok(())
    }

    /// Sends all queued requests, within the phase's limits, and hands out the end of each as it comes.
    ///
    /// Safe to cancel: the next call goes on with the requests that have not ended.
    pub async fn process_pending_requests(&mut self, phase: SyncPhase, deliver: impl FnMut(RequestId, AttemptResult)) {
        self.process_pending_requests_with_concurrency(phase, None, deliver).await;
    }

    /// The same with another number of requests at a time; 1 is sequential, `None` is the phase's own.
    pub async fn process_pending_requests_with_concurrency(
        &mut self,
        phase: SyncPhase,
        max_concurrent: Option<usize>,
        mut deliver: impl FnMut(RequestId, AttemptResult),
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

    /// The counts so far.
    pub fn stats(&self) -> RequestStats {
        self.stats
    }
}
