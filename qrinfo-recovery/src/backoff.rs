use std::time::Duration;

/// The draws of full jitter: a wait anywhere between nothing and a bound.
///
/// Full jitter spreads requests that failed together over the whole interval, so that they do not come back together.
/// The draws follow from the seed: a run with a logged seed can be repeated. The bounds follow from
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
    /// Draws that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// A wait below `bound`, each one as likely as any other.
    pub fn draw(&mut self, bound: Duration) -> Duration {
        bound.mul_f64(self.rng.f64())
    }
}
