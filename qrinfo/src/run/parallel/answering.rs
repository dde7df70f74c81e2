use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use qrinfo_core::{Answer, Attempt, AttemptError, AttemptResult, AttemptService, PeerId, Request};
use tower::Service;

use crate::peer;

/// A peer's service whose replies are checked to answer their requests: a service that does not go through the
/// correlator need not have done so.
#[derive(Debug)]
pub(super) struct Answering<S> {
    peer: PeerId,
    inner: S,
}

pin_project! {
    pub(super) struct AnsweringFuture<F> {
        peer: PeerId,
        request: Request,
        #[pin]
        future: F,
    }
}

// === impl Answering ===

impl<S> Answering<S> {
    pub(super) fn new(peer: PeerId, inner: S) -> Self {
        Self { peer, inner }
    }
}

impl<S: AttemptService> Service<Attempt> for Answering<S> {
    type Response = Answer;
    type Error = AttemptError;
    type Future = AnsweringFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        AnsweringFuture { peer: self.peer, request: attempt.request.clone(), future: self.inner.call(attempt) }
    }
}

// === impl AnsweringFuture ===

impl<F: Future<Output = AttemptResult>> Future for AnsweringFuture<F> {
    type Output = AttemptResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AttemptResult> {
        let this = self.project();
        let answer = ready!(this.future.poll(cx));
        let answer = answer.and_then(|answer| peer::judge(this.request, answer, *this.peer));
        #[cfg(feature = "metrics")]
        if let Err(error) = &answer {
            crate::metrics::failed(error.kind());
        }
        Poll::Ready(answer)
    }
}
