use tower::Layer;

use super::{ConcurrencyLimit, permits::Shared};

/// Limits how many requests are in the services below at a time. All services of one layer and of its clones share the
/// limit; keep a clone to change it.
///
/// Requests beyond the limit wait by [`RequestPriority`](qrinfo_core::RequestPriority), then by
/// [`Attempt::id`](qrinfo_core::Attempt::id). One that has waited for 30 s is served within eight others.
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
    shared: Shared,
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// At most `limit` at a time. Zero stops everything until it is [set](Self::set_limit) again.
    pub fn new(limit: usize) -> Self {
        Self { shared: Shared::new(limit, false) }
    }

    /// At most `max` at a time, half as many after a timeout or a disconnect, and one more for as many replies as are
    /// allowed at a time. A refusal moves nothing.
    pub fn adaptive(max: usize) -> Self {
        Self { shared: Shared::new(max, true) }
    }

    /// Goes on with another limit; of an adaptive one, with another greatest limit, from which it starts again.
    pub fn set_limit(&self, limit: usize) {
        self.shared.set_limit(limit, tokio::time::Instant::now().into_std());
    }

    /// How many are allowed at a time now.
    pub fn limit(&self) -> usize {
        self.shared.limit()
    }

    /// How many are below now.
    pub fn in_use(&self) -> usize {
        self.shared.in_use()
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit::new(inner, self.shared.clone())
    }
}
