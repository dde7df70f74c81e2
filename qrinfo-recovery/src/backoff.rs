use std::time::Duration;

/// Full jitter: random waits between zero and a bound.
///
/// It spreads requests that failed together over the whole interval, so that they are not repeated together. The waits
/// follow from the seed, so a run with a logged seed can be repeated. The bounds come from
/// [`RetryPolicy::backoff`](crate::RetryPolicy::backoff).
///
/// ```
/// use std::time::Duration;
/// use qrinfo_recovery::Backoff;
///
/// let mut backoff = Backoff::new(42);
/// assert!(backoff.draw(Duration::from_secs(8)) < Duration::from_secs(8));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    rng: fastrand::Rng,
}

// === impl Backoff ===

impl Backoff {
    /// A sequence of waits that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// Draws a wait below `bound` from a uniform distribution.
    pub fn draw(&mut self, bound: Duration) -> Duration {
        bound.mul_f64(self.rng.f64())
    }
}
