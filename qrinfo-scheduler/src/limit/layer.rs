use tower::Layer;

use super::{gate::Gate, rule::Rule, service::Limited};
use crate::Rate;

/// Limits the number of requests that the services below hold at a time. All services of one layer and of its clones
/// share the limit; a clone of the layer changes it.
///
/// Requests beyond the limit wait by [`RequestPriority`](qrinfo_core::RequestPriority), then by
/// [`Attempt::id`](qrinfo_core::Attempt::id). One that has waited for 30 s is served within eight others. See
/// [`Limited`] for the order of layers.
///
/// ```
/// use qrinfo_scheduler::ConcurrencyLimitLayer;
///
/// let layer = ConcurrencyLimitLayer::new(3);
/// layer.set_limit(1); // sequential
/// assert_eq!(layer.limit(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer {
    gate: Gate,
}

/// Limits the rate of calls to the services below. All services of one layer and of its clones share the rate; a clone
/// of the layer changes it.
///
/// Requests wait for their turn in the same order as those of a [`ConcurrencyLimitLayer`].
///
/// ```
/// use qrinfo_scheduler::{Rate, RateLimitLayer};
///
/// let layer = RateLimitLayer::new(Rate::per_second(10, 1));
/// layer.set_rate(Rate::per_second(50, 5));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    gate: Gate,
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// Allows `limit` requests at a time. Zero stops everything until the limit is [set](Self::set_limit) again.
    pub fn new(limit: usize) -> Self {
        Self { gate: Gate::new(Rule::concurrency(limit, false)) }
    }

    /// Allows `max` requests at a time, half as many after a timeout or a disconnect, and one more for as many replies
    /// as are allowed at a time. A refusal changes nothing.
    pub fn adaptive(max: usize) -> Self {
        Self { gate: Gate::new(Rule::concurrency(max, true)) }
    }

    /// Replaces the limit at once; an adaptive layer starts again from it as its maximum.
    pub fn set_limit(&self, limit: usize) {
        self.gate.change(|state, _| state.rule.set_limit(limit));
    }

    /// The number of requests that are allowed at a time now.
    pub fn limit(&self) -> usize {
        self.gate.change(|state, _| state.rule.limit())
    }

    /// The number of requests that hold a permit now.
    pub fn in_use(&self) -> usize {
        self.gate.change(|state, _| state.rule.in_use)
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited::new(inner, &self.gate)
    }
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// Allows calls at this rate.
    pub fn new(rate: Rate) -> Self {
        Self { gate: Gate::new(Rule::rate(rate)) }
    }

    /// Replaces the rate at once, also for requests that wait. Earlier calls still count.
    pub fn set_rate(&self, rate: Rate) {
        self.gate.change(|state, _| state.rule.bucket.set_rate(rate));
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited::new(inner, &self.gate)
    }
}
