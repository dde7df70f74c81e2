use std::time::{Duration, Instant};

use qrinfo_core::retry::RecoveryStrategy;

/// The length of each step of the way back.
const STEP: Duration = Duration::from_secs(10);

/// The number of requests at a time: the full limit, or less for a while after failures.
///
/// A reduction holds for ten seconds, a fall-back to sequential for its duration. Then the limit doubles every ten
/// seconds until it is full again, unless another decision comes.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    full: usize,
    /// Less than full, and until when.
    reduced: Option<(usize, Instant)>,
}

// === impl Throttle ===

impl Throttle {
    pub(crate) fn new(full: usize) -> Self {
        Self { full, reduced: None }
    }

    /// Takes a decision; those that are not about concurrency change nothing. While requests are made one at a time a
    /// mere reduction does not end that.
    pub(crate) fn apply(&mut self, strategy: &RecoveryStrategy, now: Instant) {
        let (target, duration) = match strategy {
            RecoveryStrategy::ReduceConcurrency { target } => ((*target).max(1), STEP),
            RecoveryStrategy::FallbackToSequential { duration } => (1, *duration),
            _ => return,
        };
        self.pass(now);
        let current = self.limit();
        let until = now.checked_add(duration).unwrap_or(now);
        if target < self.full {
            let held = self.reduced.filter(|_| current <= target).map(|(_, held)| held);
            self.reduced = Some((target.min(current), held.map_or(until, |held| held.max(until))));
        }
    }

    /// Takes the steps that are due.
    pub(crate) fn pass(&mut self, now: Instant) {
        while let Some((limit, until)) = self.reduced.filter(|(_, until)| *until <= now) {
            let next = limit.saturating_mul(2);
            // Without a next step on the clock there is nothing to wait for.
            self.reduced = until.checked_add(STEP).filter(|_| next < self.full).map(|until| (next, until));
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.reduced.map_or(self.full, |(limit, _)| limit.min(self.full))
    }

    /// The instant of the next step, unless another decision comes.
    pub(crate) fn next_change(&self) -> Option<Instant> {
        self.reduced.map(|(_, until)| until)
    }

    pub(crate) fn set_full(&mut self, full: usize) {
        self.full = full;
        self.reduced = self.reduced.filter(|(limit, _)| *limit < full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_in_steps() {
        let start = tokio::time::Instant::now().into_std();
        let mut throttle = Throttle::new(6);
        throttle.apply(&RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) }, start);
        for (seconds, expected) in [(0, 1), (59, 1), (60, 2), (70, 4), (80, 6)] {
            throttle.pass(start + Duration::from_secs(seconds));
            assert_eq!(throttle.limit(), expected, "{seconds} s");
        }
    }

    #[test]
    fn tells_when_the_next_step_is_due() {
        let start = tokio::time::Instant::now().into_std();
        let mut throttle = Throttle::new(6);
        assert_eq!(throttle.next_change(), None);
        throttle.apply(&RecoveryStrategy::ReduceConcurrency { target: 3 }, start);
        assert_eq!(throttle.next_change(), Some(start + STEP));
        throttle.pass(start + STEP);
        assert_eq!((throttle.limit(), throttle.next_change()), (6, None));
    }

    #[test]
    fn another_full_limit_keeps_what_is_less_and_ends_what_is_not() {
        let start = tokio::time::Instant::now().into_std();
        let reduced = |full| {
            let mut throttle = Throttle::new(8);
            throttle.apply(&RecoveryStrategy::ReduceConcurrency { target: 3 }, start);
            throttle.set_full(full);
            (throttle.limit(), throttle.next_change())
        };
        assert_eq!(reduced(4), (3, Some(start + STEP)));
        assert_eq!(reduced(3), (3, None));
        assert_eq!(reduced(0), (0, None));
    }

    #[test]
    fn a_reduction_does_not_end_a_fall_back() {
        let start = tokio::time::Instant::now().into_std();
        let mut throttle = Throttle::new(8);
        throttle.apply(&RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) }, start);
        throttle.apply(&RecoveryStrategy::ReduceConcurrency { target: 4 }, start + Duration::from_secs(1));
        throttle.pass(start + Duration::from_secs(59));
        assert_eq!(throttle.limit(), 1);
    }
}
