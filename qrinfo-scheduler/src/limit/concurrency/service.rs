use std::task::{Context, Poll};

use qrinfo_core::{Attempt, AttemptError};
use tower::Service;

use super::{LimitedFuture, permits::Shared};

/// See [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
///
/// Readiness is that of the service below. Who goes first can only be decided when the request is known, so that the
/// waiting is done by the response future, which holds the service that was polled ready.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    shared: Shared,
}

// === impl ConcurrencyLimit ===

impl<S> ConcurrencyLimit<S> {
    pub(super) fn new(inner: S, shared: Shared) -> Self {
        Self { inner, shared }
    }
}

impl<S> Service<Attempt> for ConcurrencyLimit<S>
where
    S: Service<Attempt, Error = AttemptError> + Clone,
{
    type Response = S::Response;
    type Error = AttemptError;
    type Future = LimitedFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> LimitedFuture<S> {
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        LimitedFuture::new(ready, attempt, self.shared.clone())
    }
}
