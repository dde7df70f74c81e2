use std::time::{Duration, Instant};

/// Tokens are counted in millionths, so that a fraction is exact: ten requests at 0.6 earn six retries.
const TOKEN: u64 = 1_000_000;

/// The largest number of retries that can be saved.
const MOST_SAVED: u64 = 100_000;

/// A limit of retries in proportion to requests.
///
/// Every request earns a share of a retry, and time earns some as well. A retry beyond that is not refused but delayed:
/// a storm of failures becomes a trickle of retries, and no request is lost.
///
/// tower's budget counts whole tokens, so 0.6 and 0.9 both allow one retry for each request.
///
/// ```
/// use qrinfo_recovery::RetryBudget;
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut budget = RetryBudget::new(0.6, 0.0);
/// for _ in 0..10 {
///     budget.earn();
/// }
/// let granted = (0..10).filter(|_| budget.take(now).is_ok()).count();
/// assert_eq!(granted, 6);
/// ```
#[derive(Debug, Clone)]
pub struct RetryBudget {
    share: u64,
    per_second: u64,
    saved: u64,
    counted: Option<Instant>,
}

// === impl RetryBudget ===

impl RetryBudget {
    /// A budget of `share` retries for each request, and `per_second` more for each second. Both are limited to the
    /// range of 0 to 1,000; not-a-number counts as 0.
    pub fn new(share: f64, per_second: f64) -> Self {
        // As casts of floats saturate, not-a-number counts as nothing.
        let tokens = |value: f64| (value.clamp(0.0, 1_000.0) * TOKEN as f64).round() as u64;
        Self { share: tokens(share), per_second: tokens(per_second), saved: 0, counted: None }
    }

    /// Adds the share of a request that is made for the first time.
    pub fn earn(&mut self) {
        self.save(self.share);
    }

    /// Takes a retry.
    ///
    /// # Errors
    /// The instant at which time has earned the next retry, if no request earns it before; `None` if time earns none.
    pub fn take(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        self.pass(now);
        if let Some(rest) = self.saved.checked_sub(TOKEN) {
            self.saved = rest;
            return Ok(());
        }
        let missing = TOKEN - self.saved;
        let Some(seconds) = missing.checked_mul(1_000_000).and_then(|micro| micro.checked_div(self.per_second)) else {
            return Err(None);
        };
        // One more than the quotient, so that it is earned by then.
        Err(now.checked_add(Duration::from_micros(seconds + 1)))
    }

    fn pass(&mut self, now: Instant) {
        let since = self.counted.map_or(Duration::ZERO, |counted| now.saturating_duration_since(counted));
        let earned = u128::from(self.per_second) * since.as_micros() / 1_000_000;
        if earned > 0 || self.counted.is_none() {
            self.counted = Some(self.counted.map_or(now, |counted| counted.max(now)));
            self.save(u64::try_from(earned).unwrap_or(u64::MAX));
        }
    }

    fn save(&mut self, tokens: u64) {
        self.saved = self.saved.saturating_add(tokens).min(MOST_SAVED * TOKEN);
    }
}
