use tower::Layer;

use super::{RateLimit, pace::Pace};
use crate::Rate;

/// Limits how often the services below are called. All services of one layer and of its clones share the rate; keep a
/// clone to change it. Unlike tower's, the services can be cloned.
///
/// Turns are taken in the order in which services ask to be ready: before the request, and with it its priority, is
/// known. Where priority matters, let this limit rarely be the one that waits.
///
/// ```
/// use qrinfo_scheduler::{Rate, RateLimitLayer};
///
/// let layer = RateLimitLayer::new(Rate::per_second(10, 1));
/// layer.set_rate(Rate::per_second(50, 5));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    pace: Pace,
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// At most at this rate.
    pub fn new(rate: Rate) -> Self {
        Self { pace: Pace::new(rate) }
    }

    /// Goes on at another rate. Who waits is told.
    pub fn set_rate(&self, rate: Rate) {
        self.pace.set_rate(rate);
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.pace.clone())
    }
}
