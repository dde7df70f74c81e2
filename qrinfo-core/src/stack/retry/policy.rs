use std::time::Duration;

/// The limits and times of a [`RetryState`](super::RetryState).
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::retry::RetryPolicy;
///
/// let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
/// assert_eq!(policy.backoff(0), Duration::from_secs(1));
/// assert_eq!(policy.backoff(3), Duration::from_secs(8));
/// assert_eq!(policy.backoff(9), Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one request; 0 counts as 1. With a ledger of peers, the first refusal or false reply of each peer
    /// does not count, because the peer is not asked again.
    pub max_attempts: u32,
    /// The bound of the first wait; it doubles with each further one.
    pub first_backoff: Duration,
    /// The longest such bound.
    pub longest_backoff: Duration,
    /// The time for one request after its first failure, all attempts and waits together. The caller's own
    /// [deadline](crate::Attempt::deadline) bounds the time before.
    pub deadline: Duration,
    /// The time to wait for a peer while there is none.
    pub network_timeout: Duration,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// The bound of the wait after `waits` earlier ones.
    pub fn backoff(&self, waits: u32) -> Duration {
        self.first_backoff.saturating_mul(2_u32.saturating_pow(waits)).min(self.longest_backoff)
    }
}

impl Default for RetryPolicy {
    /// Five attempts; waits from 1 s to 30 s; ten minutes for a request that fails; five minutes for a peer to join.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
            deadline: Duration::from_secs(600),
            network_timeout: Duration::from_secs(300),
        }
    }
}
