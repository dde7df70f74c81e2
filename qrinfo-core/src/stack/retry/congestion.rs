use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{class::FailureClass, strategy::RecoveryStrategy};
use crate::stack::{error::AttemptErrorKind, peer_id::PeerId};

/// The number of latest attempts that count.
const LENGTH: usize = 20;

/// The number of attempts below which nothing is concluded.
const ENOUGH: usize = 10;

/// The share of failures above which half as many requests are made.
const HALF: f64 = 0.3;

/// The share of failures above which requests are made one at a time.
const ONE_AT_A_TIME: f64 = 0.5;

/// The ends of the latest twenty attempts of all requests, and the conclusion from them: fewer requests at a time.
///
/// Only failures that may come of congestion count ([`FailureClass::congestion`]), and only if two or more peers had
/// them: one bad peer slows down no other. A connection that ends counts as one failure, however many requests end with
/// it.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{AttemptErrorKind, PeerId, retry::{Congestion, RecoveryStrategy}};
///
/// # fn example(now: std::time::Instant) {
/// let mut congestion = Congestion::new(Duration::from_secs(60));
/// for port in 1..=10 {
///     let peer = PeerId::Address(([203, 0, 113, 5], port).into());
///     congestion.ended(Some((AttemptErrorKind::Timeout, Some(peer))));
/// }
/// assert_eq!(congestion.decide(8, now), Some(RecoveryStrategy::ReduceConcurrency { target: 1 }));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Congestion {
    sequential_for: Duration,
    /// `None` for an attempt that did not fail of congestion.
    ended: VecDeque<Option<Failure>>,
    /// The verdict on the latest set of attempts that was large enough, kept after those attempts are dropped.
    failures_mount: bool,
    /// The last decision for one request at a time.
    one_at_a_time: Option<Instant>,
}

/// The kind of a failure, and its peer where it is named.
type Failure = (AttemptErrorKind, Option<PeerId>);

// === impl Congestion ===

impl Congestion {
    /// A state without attempts. `sequential_for` is the length of a fall-back to sequential.
    pub fn new(sequential_for: Duration) -> Self {
        Self { sequential_for, ended: VecDeque::new(), failures_mount: false, one_at_a_time: None }
    }

    /// Adds the end of an attempt: the kind of failure and the peer, or `None` for an answer.
    pub fn ended(&mut self, failure: Option<Failure>) {
        let failure = failure.filter(|(kind, _)| FailureClass::of(*kind).congestion);
        let repeated = matches!(failure, Some((AttemptErrorKind::Disconnected, _))) && self.ended.contains(&failure);
        if repeated {
            return;
        }
        if self.ended.len() == LENGTH {
            self.ended.pop_front();
        }
        self.ended.push_back(failure);
        if self.ended.len() >= ENOUGH {
            self.failures_mount = self.do_failures_mount();
        }
    }

    /// Returns true if failures mount while some attempts are answered: more than 0.3 of the latest attempts failed, at
    /// two or more peers. A failure then says little about its request. A [decision](Self::decide) does not end this;
    /// ten further attempts may.
    pub fn failures_mount(&self) -> bool {
        self.failures_mount
    }

    fn do_failures_mount(&self) -> bool {
        let attempts = self.ended.len();
        let failures: Vec<Failure> = self.ended.iter().flatten().copied().collect();
        failures.len() < attempts && peers(&failures) >= 2 && failures.len() as f64 > HALF * attempts as f64
    }

    /// Decides, and forgets the attempts so far if there is a decision. `concurrent` is the current number of requests
    /// at a time. [`decide_for`](Self::decide_for) has the rule.
    pub fn decide(&mut self, concurrent: usize, now: Instant) -> Option<RecoveryStrategy> {
        if self.ended.len() < ENOUGH {
            return None;
        }
        let failures: Vec<Failure> = self.ended.iter().flatten().copied().collect();
        let strategy = self.decide_for(&failures, self.ended.len(), concurrent, now)?;
        self.ended.clear();
        Some(strategy)
    }

    /// Decides about `failures` of congestion among `attempts`.
    ///
    /// More than half of the attempts: one request at a time, and if that was decided before within the time in
    /// sequence, a fall-back to sequential for that time. More than 0.3: half as many requests.
    pub fn decide_for(
        &mut self,
        failures: &[Failure],
        attempts: usize,
        concurrent: usize,
        now: Instant,
    ) -> Option<RecoveryStrategy> {
        let rate = failures.len() as f64 / attempts.max(1) as f64;
        if peers(failures) < 2 || rate <= HALF {
            return None;
        }
        if rate <= ONE_AT_A_TIME {
            return Some(RecoveryStrategy::ReduceConcurrency { target: (concurrent / 2).max(1) });
        }
        let before = self.one_at_a_time.replace(now);
        let is_repeated = before.is_some_and(|before| now.saturating_duration_since(before) <= self.sequential_for);
        Some(match is_repeated {
            true => RecoveryStrategy::FallbackToSequential { duration: self.sequential_for },
            false => RecoveryStrategy::ReduceConcurrency { target: 1 },
        })
    }

    /// The failures of congestion among the latest attempts, and the number of those attempts.
    pub fn counts(&self) -> (usize, usize) {
        (self.ended.iter().flatten().count(), self.ended.len())
    }
}

fn peers(failures: &[Failure]) -> usize {
    failures.iter().filter_map(|(_, peer)| *peer).collect::<BTreeSet<_>>().len()
}
