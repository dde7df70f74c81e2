use std::time::Duration;

/// Exponential backoff with full jitter: a wait anywhere between nothing and a bound that doubles.
///
/// Full jitter spreads those that failed together over the whole interval, so that they do not come back together. The
/// draws follow from the seed: a run with a logged seed can be repeated.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_recovery::Backoff;
///
/// let bounds = Backoff::bound(Duration::from_secs(1), Duration::from_secs(30), 3);
/// assert_eq!(bounds, Duration::from_secs(8));
/// let mut backoff = Backoff::new(42);
/// assert!(backoff.draw(bounds) <= bounds);
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

    /// The bound after `failures` failures: `first` doubled each time, at most `longest`.
    pub fn bound(first: Duration, longest: Duration, failures: u32) -> Duration {
        first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
    }

    /// A wait below `bound`, each one as likely as any other.
    pub fn draw(&mut self, bound: Duration) -> Duration {
        bound.mul_f64(self.rng.f64())
    }
}
