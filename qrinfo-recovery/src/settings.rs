use std::time::Duration;

/// The numbers that a [`RecoveryLayer`](crate::RecoveryLayer) and a [`FailureWatchLayer`](crate::FailureWatchLayer) keep
/// to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecoverySettings {
    /// How often one request is asked; at least once, and within the [limits](crate::Category::limit) of each category.
    /// Refusals are not counted, nor false replies, whose peers are not asked again, nor failures of congestion
    /// [while they mount](crate::Recovery).
    pub max_attempts: u32,
    /// The bound of the wait after a request's first failure that calls for one; it doubles with each.
    pub first_backoff: Duration,
    /// The longest such bound.
    pub longest_backoff: Duration,
    /// Retries for each request, on the average; see [`RetryBudget`](crate::RetryBudget).
    pub budget: f64,
    /// Retries for each second on top of that.
    pub budget_per_second: f64,
    /// How long one request may go on after its first failure, all attempts and waits together. Before that it waits
    /// for its turn, which the caller's own [deadline](qrinfo_core::Attempt::deadline) bounds.
    pub deadline: Duration,
    /// How long to wait for a peer when there is none.
    pub network_timeout: Duration,
    /// How many requests the service below has under way at most: a reduction halves it.
    pub max_concurrent: usize,
    /// How long requests are made one at a time when failures mount.
    pub sequential_for: Duration,
    /// From which the jitter is drawn. It is logged, so that a run can be repeated.
    pub seed: u64,
}

impl Default for RecoverySettings {
    /// Five attempts; backoff from 1 s to 30 s; a budget of one retry for each request and one for each second; a
    /// deadline of ten minutes; three requests at a time; five minutes for the network to come back; one minute in sequence.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
            budget: 1.0,
            budget_per_second: 1.0,
            deadline: Duration::from_secs(600),
            network_timeout: Duration::from_secs(300),
            max_concurrent: 3,
            sequential_for: Duration::from_secs(60),
            seed: 0x7265_636f_7665_7279,
        }
    }
}
