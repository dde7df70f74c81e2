use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use qrinfo_core::{Answer, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, Reply, Request, Timing};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    headers::KnownBlock,
    reply::{VerifyError, check},
};

pin_project! {
    /// The reply to come, checked. Dropping it gives up the reply.
    #[must_use = "futures do nothing unless polled"]
    pub struct CheckFuture<F, H> {
        #[pin]
        inner: F,
        request: Option<Request>,
        headers: Arc<H>,
        checking: Option<(JoinHandle<Result<Reply, VerifyError>>, Timing)>,
    }
}

// === impl CheckFuture ===

impl<F, H> CheckFuture<F, H> {
    pub(super) fn new(inner: F, request: Request, headers: Arc<H>) -> Self {
        Self { inner, request: Some(request), headers, checking: None }
    }
}

impl<F, H> Future for CheckFuture<F, H>
where
    F: Future<Output = AttemptResult>,
    H: Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync + 'static,
{
    type Output = AttemptResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some((check, timing)) = this.checking {
                let failed = |kind| AttemptError::new(kind).at(timing.peer).timed(*timing);
                return Poll::Ready(match ready!(Pin::new(check).poll(cx)) {
                    Ok(Ok(reply)) => Ok(Answer { reply, timing: *timing }),
                    Ok(Err(VerifyError::False(falsehood))) => Err(failed(AttemptErrorKind::False).because(falsehood)),
                    Ok(Err(VerifyError::Missing(missing))) => Err(failed(AttemptErrorKind::Local).because(missing)),
                    // The runtime is shutting down, or the caller's headers panicked.
                    Err(error) => Err(failed(AttemptErrorKind::Local).because(error)),
                });
            }
            let Answer { reply, timing } = ready!(this.inner.as_mut().poll(cx))?;
            let Some(request) = this.request.take() else {
                return Poll::Ready(Err(AttemptError::new(AttemptErrorKind::Local)));
            };
            let headers = this.headers.clone();
            let check = spawn_blocking(move || {
                check(&request, &reply, |hash| headers(hash))?;
                Ok(reply)
            });
            *this.checking = Some((check, timing));
        }
    }
}

impl<F, H> fmt::Debug for CheckFuture<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckFuture").field("is_checking", &self.checking.is_some()).finish_non_exhaustive()
    }
}
