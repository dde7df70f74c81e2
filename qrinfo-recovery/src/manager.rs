use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, RequestId, SyncPhase, WhyGivenUp,
    retry::{Category, Congestion, FailureClass, RecoveryStrategy, RetryPolicy, RetryState},
};

use crate::{
    history::{History, RecoveryRecord},
    settings::RecoverySettings,
};

/// The number of requests whose failures are kept. Beyond it the request with the smallest id is forgotten, and gets
/// its full number of attempts again.
const KEPT: usize = 65_536;

/// The length of a fall-back to sequential.
const SEQUENTIAL_FOR: Duration = Duration::from_secs(60);

/// The counterpart of dash-spv's manager of that name: a [`RecoveryStrategy`] for each failure, for a client with a
/// sync loop of its own.
///
/// It keeps a [`RetryState`] for each request, so that a batch of failures does not use up the attempts of a single
/// request, and decides like that state without a ledger of peers. A request that has failed more often than its
/// [category](Category::limit) allows is given up. In the phases of filters and blocks, which a wallet can postpone,
/// the phase is skipped instead. After false replies the phase is restarted once.
///
/// | failure | strategy | at most |
/// |---|---|---|
/// | timeout, overloaded | retry within 1 s, 2 s, 4 s ... 30 s | 5; 3 |
/// | disconnected | retry within 1 s, from the third on switch peer | 10 |
/// | refused | switch peer | no limit |
/// | malformed, false | switch peer | 3, then once restart the phase |
/// | no peer | wait for the network | |
/// | cancelled, local | abort | |
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{AttemptError, AttemptErrorKind, RequestId, SyncPhase};
/// use qrinfo_recovery::{RecoveryManager, RecoverySettings, RecoveryStrategy};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut manager = RecoveryManager::new(&RecoverySettings::default());
/// let mut strategy = || {
///     let timeout = AttemptError::new(AttemptErrorKind::Timeout);
///     manager.determine_strategy(SyncPhase::MasternodeLists, RequestId(7), timeout, now)
/// };
/// assert_eq!(strategy(), RecoveryStrategy::Retry { delay: Duration::from_secs(1) });
/// assert_eq!(strategy(), RecoveryStrategy::Retry { delay: Duration::from_secs(2) });
/// ```
#[derive(Debug)]
pub struct RecoveryManager {
    policy: RetryPolicy,
    requests: BTreeMap<RequestId, RetryState>,
    /// Phases that were restarted.
    restarted: BTreeSet<SyncPhase>,
    congestion: Congestion,
    stats: ParallelStats,
    /// Attempts in batches since the last call of `determine_parallel_strategy`.
    recorded: usize,
    history: History,
}

/// The results of batches of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParallelStats {
    /// Requests that were made in batches.
    pub attempts: u64,
    /// Requests that were answered.
    pub successes: u64,
}

// === impl RecoveryManager ===

impl RecoveryManager {
    /// A manager that has seen no failure. Of the settings, the backoffs and the network timeout count; the number of
    /// attempts follows from the categories, and deadlines are left to the caller.
    pub fn new(settings: &RecoverySettings) -> Self {
        Self {
            policy: RetryPolicy { max_attempts: u32::MAX, deadline: Duration::MAX, ..settings.retry },
            requests: BTreeMap::new(),
            restarted: BTreeSet::new(),
            congestion: Congestion::new(SEQUENTIAL_FOR),
            stats: ParallelStats::default(),
            recorded: 0,
            history: History::default(),
        }
    }

    /// Decides about one more failure of a request.
    pub fn determine_strategy(
        &mut self,
        phase: SyncPhase,
        request: RequestId,
        error: AttemptError,
        now: Instant,
    ) -> RecoveryStrategy {
        let (kind, peer) = (error.kind(), error.peer());
        let state = self.requests.entry(request).or_insert_with(|| RetryState::new(&unknown(request), self.policy));
        let strategy = match state.failed(error, None, now) {
            _ if kind == AttemptErrorKind::NoPeer => {
                RecoveryStrategy::WaitForNetwork { timeout: self.policy.network_timeout }
            }
            RecoveryStrategy::Abort { why: WhyGivenUp::Exhausted } => self.exhausted(phase, kind),
            strategy => strategy,
        };
        if self.requests.len() > KEPT {
            self.requests.pop_first();
        }
        let (at, request) = (now, Some(request));
        self.history.push(RecoveryRecord { at, phase, request, peer, error: kind, strategy: strategy.clone() });
        strategy
    }

    /// Decides about all requests together, as [`Congestion`] does: above 0.3 of failures at two or more peers half as
    /// many requests as `concurrent` at a time, above 0.5 one. The rate is `errors` by the attempts that were
    /// [recorded](Self::record_parallel_attempt) since the previous call.
    pub fn determine_parallel_strategy(
        &mut self,
        phase: SyncPhase,
        errors: &[AttemptError],
        concurrent: usize,
        now: Instant,
    ) -> Option<RecoveryStrategy> {
        let attempts = std::mem::take(&mut self.recorded).max(errors.len());
        let failures = errors.iter().filter(|error| FailureClass::of(error.kind()).congestion);
        let failures: Vec<_> = failures.map(|error| (error.kind(), error.peer())).collect();
        let strategy = self.congestion.decide_for(&failures, attempts, concurrent, now)?;
        let (kind, peer) = *failures.last()?;
        let record = RecoveryRecord { at: now, phase, request: None, peer, error: kind, strategy: strategy.clone() };
        self.history.push(record);
        Some(strategy)
    }

    /// Adds a batch of `attempts` requests of which `successes` were answered.
    pub fn record_parallel_attempt(&mut self, attempts: usize, successes: usize) {
        self.recorded = self.recorded.saturating_add(attempts);
        self.stats.attempts = self.stats.attempts.saturating_add(attempts as u64);
        self.stats.successes = self.stats.successes.saturating_add(successes.min(attempts) as u64);
    }

    /// Forgets a request that has ended.
    pub fn forget(&mut self, request: RequestId) {
        self.requests.remove(&request);
    }

    /// The results of all batches.
    pub fn parallel_stats(&self) -> ParallelStats {
        self.stats
    }

    /// The latest decisions.
    pub fn history(&self) -> &History {
        &self.history
    }

    fn exhausted(&mut self, phase: SyncPhase, kind: AttemptErrorKind) -> RecoveryStrategy {
        match phase {
            SyncPhase::FilterHeaders | SyncPhase::Filters | SyncPhase::Blocks => {
                RecoveryStrategy::SkipPhase { reason: format!("{kind}, too often") }
            }
            _ if FailureClass::of(kind).category == Category::Validation && self.restarted.insert(phase) => {
                RecoveryStrategy::RestartPhase { checkpoint: None }
            }
            _ => RecoveryStrategy::Abort { why: WhyGivenUp::Exhausted },
        }
    }
}

/// An attempt in place of the request, which the manager is not given.
fn unknown(id: RequestId) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
    Attempt::new(id, spec.into())
}
