//! A rate limit: the generic cell rate algorithm.

use std::time::{Duration, Instant};

/// The number of sends a second, and the number of sends that may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The mean distance between two sends.
    pub interval: Duration,
    /// The number of sends that may come at once after a pause. Zero counts as one.
    pub burst: u32,
}

/// A bucket that says when the next send conforms to a [`Rate`].
///
/// Its state is one instant: the time at which the bucket would be full again. It is therefore exact, however much time
/// passes between two sends.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_scheduler::{Gcra, Rate};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut bucket = Gcra::new(Rate { interval: Duration::from_millis(100), burst: 2 });
/// bucket.take(now);
/// bucket.take(now);
/// assert_eq!(bucket.next(now), now + Duration::from_millis(100));
/// ```
#[derive(Debug, Clone)]
pub struct Gcra {
    rate: Rate,
    last: Option<Instant>,
    full_at: Option<Instant>,
}

// === impl Rate ===

impl Rate {
    /// `n` sends a second, in bursts of at most `burst`. Zero a second counts as one.
    pub fn per_second(n: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / n.max(1), burst }
    }

    fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(1))
    }
}

// === impl Gcra ===

impl Gcra {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, last: None, full_at: None }
    }

    /// Returns the instant at which the next send conforms: `now`, or later.
    pub fn next(&self, now: Instant) -> Instant {
        match self.full_at.and_then(|full_at| full_at.checked_sub(self.rate.tolerance())) {
            Some(next) => next.max(now),
            None => now,
        }
    }

    /// Returns true if a send at `now` conforms.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.next(now) <= now
    }

    /// Counts a send at `now`.
    pub fn take(&mut self, now: Instant) {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        // An interval beyond the clock's range closes the bucket for as long as the clock can say.
        self.full_at = from.checked_add(self.rate.interval).or(Some(from));
        self.last = Some(now);
    }

    /// Replaces the rate at once. Earlier sends still count, with the distance of the new rate: at a burst of one, the
    /// next send conforms one new interval after the last.
    pub fn set_rate(&mut self, rate: Rate) {
        let old = self.rate.interval.as_nanos();
        if let (Some(last), Some(full_at)) = (self.last, self.full_at) {
            let debt = full_at.saturating_duration_since(last).as_nanos().saturating_mul(rate.interval.as_nanos());
            let debt = Duration::from_nanos(u64::try_from(debt.checked_div(old).unwrap_or(0)).unwrap_or(u64::MAX));
            self.full_at = last.checked_add(debt).or(Some(full_at));
        }
        self.rate = rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: Instant, ms: u64) -> Instant {
        base + Duration::from_millis(ms)
    }

    #[test]
    fn never_more_than_burst_and_rate_allow() {
        let base = tokio::time::Instant::now().into_std();
        let mut bucket = Gcra::new(Rate::per_second(10, 3));
        let mut sent = Vec::new();
        for ms in 0..3000 {
            while bucket.is_ready(at(base, ms)) {
                bucket.take(at(base, ms));
                sent.push(ms);
            }
        }
        assert_eq!(sent[..5], [0, 0, 0, 100, 200]);
        assert_eq!(sent.len(), 3 + 29);
        for window in sent.windows(4) {
            assert!(window[3] - window[0] >= 100);
        }
    }

    #[test]
    fn another_rate_counts_from_the_last_send() {
        let base = tokio::time::Instant::now().into_std();
        for (ms, next) in [(10, 10), (5_000, 5_000)] {
            let mut bucket = Gcra::new(Rate::per_second(1, 1));
            bucket.take(base);
            bucket.set_rate(Rate { interval: Duration::from_millis(ms), burst: 1 });
            assert_eq!(bucket.next(base), at(base, next));
        }
        let mut bucket = Gcra::new(Rate::per_second(1, 3));
        bucket.take(base);
        bucket.take(base);
        bucket.set_rate(Rate::per_second(10, 2));
        assert_eq!(bucket.next(base), at(base, 100), "two of two are used");
        bucket.set_rate(Rate { interval: Duration::MAX, burst: 1 });
        bucket.set_rate(Rate { interval: Duration::ZERO, burst: 1 });
        assert!(bucket.is_ready(base));
    }

    #[test]
    fn a_pause_refills_the_burst_and_no_more() {
        let base = tokio::time::Instant::now().into_std();
        let mut bucket = Gcra::new(Rate::per_second(10, 2));
        for ms in [0, 0, 10_000, 10_000] {
            assert!(bucket.is_ready(at(base, ms)));
            bucket.take(at(base, ms));
        }
        assert_eq!(bucket.next(at(base, 10_000)), at(base, 10_100));
    }
}
