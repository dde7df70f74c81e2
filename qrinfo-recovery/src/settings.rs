use qrinfo_core::retry::RetryPolicy;

/// The settings of a [`RecoveryLayer`](crate::RecoveryLayer).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecoverySettings {
    /// The rules for one request.
    pub retry: RetryPolicy,
    /// Retries for each request, on average over all requests; see [`RetryBudget`](crate::RetryBudget). Only retries
    /// after a timeout, a disconnect or an overload count.
    pub budget: f64,
    /// Retries for each second on top of that.
    pub budget_per_second: f64,
    /// The seed of the jitter. It is logged, so that a run can be repeated.
    pub seed: u64,
}

impl Default for RecoverySettings {
    /// The default [`RetryPolicy`]; a budget of one retry for each request and one for each second.
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), budget: 1.0, budget_per_second: 1.0, seed: 0x7265_636f_7665_7279 }
    }
}
