use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind};
use tower::Service;

use super::permits::{Claim, Shared};
use crate::aimd::Aimd;

pin_project! {
    /// Waits for its turn, then for the reply. Dropping it gives the permit back.
    #[must_use = "futures do nothing unless polled"]
    pub struct LimitedFuture<S>
    where
        S: Service<Attempt>,
    {
        // `None` once it was called.
        waiting: Option<(S, Attempt)>,
        #[pin]
        future: Option<S::Future>,
        claim: Option<Claim>,
        shared: Shared,
    }
}

// === impl LimitedFuture ===

impl<S: Service<Attempt>> LimitedFuture<S> {
    pub(super) fn new(service: S, attempt: Attempt, shared: Shared) -> Self {
        Self { waiting: Some((service, attempt)), future: None, claim: None, shared }
    }
}

impl<S> Future for LimitedFuture<S>
where
    S: Service<Attempt, Error = AttemptError>,
{
    type Output = Result<S::Response, AttemptError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.waiting.is_some() {
            let now = tokio::time::Instant::now().into_std();
            if let Some((_, attempt)) = &this.waiting {
                // Not before the first poll: one that nobody polls must not keep its turn from others.
                let claim = this.claim.get_or_insert_with(|| this.shared.claim(attempt.priority, attempt.id.0, now));
                ready!(claim.poll(cx, now));
            }
            if let Some((mut service, attempt)) = this.waiting.take() {
                this.future.set(Some(service.call(attempt)));
            }
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            // Polled again after its end.
            return Poll::Ready(Err(AttemptError::new(AttemptErrorKind::Local)));
        };
        let result = ready!(future.poll(cx));
        match &result {
            Ok(_) => this.shared.learn(false),
            Err(error) if Aimd::is_congestion(error.kind()) => this.shared.learn(true),
            Err(_) => {}
        }
        this.future.set(None);
        *this.claim = None;
        Poll::Ready(result)
    }
}

impl<S: Service<Attempt>> std::fmt::Debug for LimitedFuture<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimitedFuture").field("claim", &self.claim).finish_non_exhaustive()
    }
}
