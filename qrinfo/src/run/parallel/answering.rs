use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use qrinfo_core::{Answer, Attempt, AttemptError, AttemptResult, AttemptService, PeerId};
use tower::Service;

use crate::peer;

/// A peer's service whose replies are checked to answer their requests: a service that does not go through the
/// correlator need not have done so.
#[derive(Debug)]
pub(super) struct Answering<S> {
    pub(super) peer: PeerId,
    pub(super) inner: S,
}

impl<S: AttemptService<Future: Send> + 'static> Service<Attempt> for Answering<S> {
    type Response = Answer;
    type Error = AttemptError;
    type Future = BoxFuture<'static, AttemptResult>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (peer, request) = (self.peer, attempt.request.clone());
        let answer = self.inner.call(attempt).map(move |answer| peer::judge(&request, answer?, peer));
        #[cfg(feature = "metrics")]
        let answer =
            answer.inspect(|answer| _ = answer.as_ref().inspect_err(|error| crate::metrics::failed(error.kind())));
        answer.boxed()
    }
}
