use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptService, BlockHash};
use tower::Service;

use super::future::CheckFuture;
use crate::headers::KnownBlock;

/// See [`CheckLayer`](super::CheckLayer).
pub struct CheckReplies<S, H> {
    pub(super) inner: S,
    pub(super) headers: Arc<H>,
}

// === impl CheckReplies ===

impl<S, H> Service<Attempt> for CheckReplies<S, H>
where
    S: AttemptService,
    H: Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync + 'static,
{
    type Response = Answer;
    type Error = AttemptError;
    type Future = CheckFuture<S::Future, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let request = attempt.request.clone();
        CheckFuture::new(self.inner.call(attempt), request, self.headers.clone())
    }
}

impl<S: Clone, H> Clone for CheckReplies<S, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), headers: self.headers.clone() }
    }
}

impl<S: fmt::Debug, H> fmt::Debug for CheckReplies<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckReplies").field("inner", &self.inner).finish_non_exhaustive()
    }
}
