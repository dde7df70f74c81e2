use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId, SyncPhase};

use crate::{Backoff, Category, FailureClass, RecoverySettings, RecoveryStrategy};

/// How many decisions are remembered.
const HISTORY: usize = 256;

/// How many requests and peers are counted. Beyond that those with the smallest number or address are forgotten: they
/// get their full number of attempts anew, so a caller who never calls [`RecoveryManager::forget`] wastes only time.
const COUNTED: usize = 65_536;

/// A disconnected peer is worth so many tries before another one is asked.
const RECONNECTS: u32 = 2;

/// After a disconnect. dash-spv's figure.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Above this share of failures requests are made one at a time.
const ONE_AT_A_TIME: f64 = 0.5;

/// Above this share of failures half as many are made.
pub(crate) const HALF: f64 = 0.3;

/// Says what to do about failures, by their [class](FailureClass) and by how many there were before.
///
/// Its counters are kept for each request, so that a batch of failures does not use up what a single request may have,
/// and for each peer. A plain struct; a [`RecoveryLayer`](crate::RecoveryLayer) drives one, and so can a client that
/// has a sync loop of its own.
///
/// | failure | strategy | at most |
/// |---|---|---|
/// | timeout, overloaded | retry within 1 s, 2 s, 4 s ... 30 s | 5; 3 |
/// | disconnected | retry within 1 s, from the third on switch peer | 10 |
/// | refused | switch peer | as there are peers |
/// | malformed, false | switch peer | 3, then once restart the phase |
/// | no peer | wait for the network | |
/// | cancelled, local | abort | |
///
/// What has failed as often as it may is aborted; in the phases of filters and blocks, which a wallet can do without
/// for a while, the phase is skipped.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{AttemptError, AttemptErrorKind, SyncPhase};
/// use qrinfo_recovery::{RecoveryManager, RecoverySettings, RecoveryStrategy};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut manager = RecoveryManager::new(&RecoverySettings::default());
/// let timeout = AttemptError::new(AttemptErrorKind::Timeout);
/// let mut strategy = || manager.determine_strategy(SyncPhase::MasternodeLists, 7, &timeout, now);
/// assert_eq!(strategy(), RecoveryStrategy::Retry { delay: Duration::from_secs(1) });
/// assert_eq!(strategy(), RecoveryStrategy::Retry { delay: Duration::from_secs(2) });
/// ```
#[derive(Debug, Clone)]
pub struct RecoveryManager {
    first_backoff: Duration,
    longest_backoff: Duration,
    network_timeout: Duration,
    sequential_for: Duration,
    requests: BTreeMap<u64, HashMap<Category, u32>>,
    peers: BTreeMap<PeerId, u32>,
    /// Phases that were begun anew.
    restarted: BTreeSet<SyncPhase>,
    /// When it was last said to make one request at a time.
    one_at_a_time: Option<Instant>,
    stats: ParallelStats,
    history: VecDeque<RecoveryRecord>,
}

/// A decision of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryRecord {
    /// When.
    pub at: Instant,
    /// In which phase.
    pub phase: SyncPhase,
    /// About which request, by the number given; `None` for all of them together.
    pub request: Option<u64>,
    /// How it failed; the last failure where there are several.
    pub error: AttemptErrorKind,
    /// What was decided.
    pub strategy: RecoveryStrategy,
}

/// What batches of requests came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParallelStats {
    /// Requests that were made in batches.
    pub attempts: u64,
    /// Those that were answered.
    pub successes: u64,
}

// === impl RecoveryManager ===

impl RecoveryManager {
    /// A manager that has seen no failure. Of the settings it takes backoffs, the network timeout and the time in
    /// sequence.
    pub fn new(settings: &RecoverySettings) -> Self {
        Self {
            first_backoff: settings.first_backoff,
            longest_backoff: settings.longest_backoff,
            network_timeout: settings.network_timeout,
            sequential_for: settings.sequential_for,
            requests: BTreeMap::new(),
            peers: BTreeMap::new(),
            restarted: BTreeSet::new(),
            one_at_a_time: None,
            stats: ParallelStats::default(),
            history: VecDeque::new(),
        }
    }

    /// A request failed once more: what to do about it.
    pub fn determine_strategy(
        &mut self,
        phase: SyncPhase,
        request: u64,
        error: &AttemptError,
        now: Instant,
    ) -> RecoveryStrategy {
        self.strategy_for_one(phase, request, error, false, now)
    }

    /// As [`determine_strategy`](Self::determine_strategy). An `excused` failure is not counted.
    pub(crate) fn strategy_for_one(
        &mut self,
        phase: SyncPhase,
        request: u64,
        error: &AttemptError,
        excused: bool,
        now: Instant,
    ) -> RecoveryStrategy {
        let kind = error.kind();
        if let Some(peer) = error.peer() {
            *self.peers.entry(peer).or_default() += 1;
            drop_first_beyond(&mut self.peers, COUNTED);
        }
        let category = FailureClass::of(kind).category;
        let counted = self.requests.entry(request).or_default().entry(category).or_default();
        let failures = counted.saturating_add(1);
        if !excused {
            *counted = failures;
        }
        drop_first_beyond(&mut self.requests, COUNTED);

        let strategy = if !excused && category.limit().is_some_and(|limit| failures > limit) {
            self.exhausted(phase, category, kind)
        } else {
            self.by_kind(kind, failures)
        };
        self.record(RecoveryRecord { at: now, phase, request: Some(request), error: kind, strategy: strategy.clone() });
        strategy
    }

    /// A batch of `attempts` requests was made and `errors` came of it: what to do about all of them, besides what
    /// [`determine_strategy`](Self::determine_strategy) says of each.
    ///
    /// Only failures that speak of congestion count, and only if two or more peers had them: one bad peer is that
    /// peer's business. More than half of the attempts: one request at a time, and if that was said before within the
    /// time in sequence, a fall-back to sequential for that time. More than 0.3: half as many requests.
    pub fn determine_parallel_strategy(
        &mut self,
        phase: SyncPhase,
        errors: &[AttemptError],
        attempts: usize,
        now: Instant,
    ) -> Option<RecoveryStrategy> {
        let failures = errors.iter().filter(|error| FailureClass::of(error.kind()).congestion);
        let failures: Vec<_> = failures.map(|error| (error.kind(), error.peer())).collect();
        self.strategy_for_all(phase, &failures, attempts, attempts, now)
    }

    /// As [`determine_parallel_strategy`](Self::determine_parallel_strategy), of attempts that were not all made at
    /// once, but `concurrent` at a time.
    pub(crate) fn strategy_for_all(
        &mut self,
        phase: SyncPhase,
        failures: &[(AttemptErrorKind, Option<PeerId>)],
        attempts: usize,
        concurrent: usize,
        now: Instant,
    ) -> Option<RecoveryStrategy> {
        let peers: BTreeSet<PeerId> = failures.iter().filter_map(|(_, peer)| *peer).collect();
        let rate = failures.len() as f64 / attempts.max(1) as f64;
        let error = failures.last().filter(|_| peers.len() >= 2 && rate > HALF)?.0;
        let strategy = if rate > ONE_AT_A_TIME {
            let before = self.one_at_a_time.replace(now);
            match before.is_some_and(|before| now.saturating_duration_since(before) <= self.sequential_for) {
                true => RecoveryStrategy::FallbackToSequential { duration: self.sequential_for },
                false => RecoveryStrategy::ReduceConcurrency { target: 1 },
            }
        } else {
            RecoveryStrategy::ReduceConcurrency { target: (concurrent / 2).max(1) }
        };
        self.record(RecoveryRecord { at: now, phase, request: None, error, strategy: strategy.clone() });
        Some(strategy)
    }

    /// A batch of `attempts` requests was made, and `successes` were answered.
    pub fn record_parallel_attempt(&mut self, attempts: usize, successes: usize) {
        self.stats.attempts = self.stats.attempts.saturating_add(attempts as u64);
        self.stats.successes = self.stats.successes.saturating_add(successes.min(attempts) as u64);
    }

    /// A request has ended: its counters are not needed any more.
    pub fn forget(&mut self, request: u64) {
        self.requests.remove(&request);
    }

    /// How often a peer has failed.
    pub fn peer_failures(&self, peer: PeerId) -> u32 {
        self.peers.get(&peer).copied().unwrap_or(0)
    }

    /// What batches came to.
    pub fn parallel_stats(&self) -> ParallelStats {
        self.stats
    }

    /// The latest decisions, the oldest of them first; at most 256.
    pub fn history(&self) -> impl Iterator<Item = &RecoveryRecord> {
        self.history.iter()
    }

    fn by_kind(&self, kind: AttemptErrorKind, failures: u32) -> RecoveryStrategy {
        match kind {
            AttemptErrorKind::Timeout | AttemptErrorKind::Overloaded => RecoveryStrategy::Retry {
                delay: Backoff::bound(self.first_backoff, self.longest_backoff, failures.saturating_sub(1)),
            },
            AttemptErrorKind::Disconnected if failures <= RECONNECTS => {
                RecoveryStrategy::Retry { delay: RECONNECT_AFTER.min(self.longest_backoff) }
            }
            AttemptErrorKind::NoPeer => RecoveryStrategy::WaitForNetwork { timeout: self.network_timeout },
            _ if FailureClass::of(kind).ask_elsewhere => RecoveryStrategy::SwitchPeer,
            _ => RecoveryStrategy::Abort { error: kind },
        }
    }

    fn exhausted(&mut self, phase: SyncPhase, category: Category, kind: AttemptErrorKind) -> RecoveryStrategy {
        match phase {
            SyncPhase::FilterHeaders | SyncPhase::Filters | SyncPhase::Blocks => {
                RecoveryStrategy::SkipPhase { reason: format!("{kind}, too often") }
            }
            _ if category == Category::Validation && self.restarted.insert(phase) => {
                RecoveryStrategy::RestartPhase { checkpoint: None }
            }
            _ => RecoveryStrategy::Abort { error: kind },
        }
    }

    fn record(&mut self, record: RecoveryRecord) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(record);
    }
}

fn drop_first_beyond<K: Ord, V>(map: &mut BTreeMap<K, V>, length: usize) {
    if map.len() > length {
        map.pop_first();
    }
}
