use std::time::{Duration, Instant};

use crate::RecoveryStrategy;

/// How long each step of the way back lasts.
const STEP: Duration = Duration::from_secs(10);

/// How many requests may be under way: the full limit, or less for a while after failures.
///
/// A reduction holds for ten seconds, a fall-back to sequential for its duration. Then the limit doubles every ten
/// seconds until it is full again, unless another strategy comes.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_recovery::{ConcurrencyThrottle, RecoveryStrategy};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut throttle = ConcurrencyThrottle::new(6);
/// throttle.apply(&RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) }, now);
/// let after = |throttle: &mut ConcurrencyThrottle, seconds| throttle.limit(now + Duration::from_secs(seconds));
/// assert_eq!(after(&mut throttle, 59), 1);
/// assert_eq!(after(&mut throttle, 60), 2);
/// assert_eq!(after(&mut throttle, 70), 4);
/// assert_eq!(after(&mut throttle, 80), 6);
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyThrottle {
    full: usize,
    /// Less than full, and until when.
    reduced: Option<(usize, Instant)>,
}

// === impl ConcurrencyThrottle ===

impl ConcurrencyThrottle {
    /// Nothing is held back: `full` requests may be under way. Zero counts as one.
    pub fn new(full: usize) -> Self {
        Self { full: full.max(1), reduced: None }
    }

    /// Takes a strategy; those that do not speak of concurrency change nothing. While requests are made one at a time
    /// a mere reduction does not end that.
    pub fn apply(&mut self, strategy: &RecoveryStrategy, now: Instant) {
        let (target, duration) = match strategy {
            RecoveryStrategy::ReduceConcurrency { target } => ((*target).max(1), STEP),
            RecoveryStrategy::FallbackToSequential { duration } => (1, *duration),
            _ => return,
        };
        let current = self.limit(now);
        let until = now.checked_add(duration).unwrap_or(now);
        if target < self.full {
            let held = self.reduced.filter(|_| current <= target).map(|(_, held)| held);
            self.reduced = Some((target.min(current), held.map_or(until, |held| held.max(until))));
        }
    }

    /// How many requests may be under way.
    pub fn limit(&mut self, now: Instant) -> usize {
        while let Some((limit, until)) = self.reduced {
            if now < until {
                return limit;
            }
            let next = limit.saturating_mul(2);
            // Without a next step on the clock there is nothing to wait for.
            self.reduced = until.checked_add(STEP).filter(|_| next < self.full).map(|until| (next, until));
        }
        self.full
    }

    /// When the limit changes next, unless a strategy comes.
    pub fn next_change(&self) -> Option<Instant> {
        self.reduced.map(|(_, until)| until)
    }

    /// Changes the full limit.
    pub fn set_full(&mut self, full: usize) {
        self.full = full.max(1);
        self.reduced = self.reduced.filter(|(limit, _)| *limit < self.full);
    }
}
