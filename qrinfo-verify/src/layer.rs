//! The stateless check as a tower layer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, BlockHash};
use tokio::task::spawn_blocking;
use tower::{Layer, Service};

use crate::{
    headers::KnownBlock,
    reply::{VerifyError, check},
};

type Headers = Arc<dyn Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync>;

/// Puts [`check`](crate::check()) behind a service that asks peers, so that a false reply is a failed attempt: kind
/// [`False`](qrinfo_core::AttemptErrorKind::False), with the peer, the timing, and the
/// [`Falsehood`](crate::Falsehood) as its source. What retries failed attempts elsewhere belongs around it.
///
/// Replies are checked on tokio's blocking threads, where `headers` may read a file as well.
///
/// ```
/// use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec};
/// use qrinfo_verify::{CheckLayer, HeaderMap};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let headers = HeaderMap::default();
/// let mut service = ServiceBuilder::new()
///     .layer(CheckLayer::new(move |hash: &BlockHash| headers.find(hash)))
///     .service(service_fn(|_: Attempt| async {
///         // A peer that refuses everything.
///         Err::<Answer, _>(AttemptError::new(AttemptErrorKind::Refused))
///     }));
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let error = service.ready().await?.call(Attempt::new(1, request.into())).await.expect_err("refused");
/// assert_eq!(error.kind(), AttemptErrorKind::Refused);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, derive_more::Debug)]
pub struct CheckLayer {
    #[debug(skip)]
    headers: Headers,
}

/// See [`CheckLayer`].
#[derive(Clone, derive_more::Debug)]
pub struct CheckReplies<S> {
    inner: S,
    #[debug(skip)]
    headers: Headers,
}

// === impl CheckLayer ===

impl CheckLayer {
    /// Checks against these headers, which answer for the blocks of the best chain as it is at the time.
    pub fn new(headers: impl Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync + 'static) -> Self {
        Self { headers: Arc::new(headers) }
    }
}

impl<S> Layer<S> for CheckLayer {
    type Service = CheckReplies<S>;

    fn layer(&self, inner: S) -> CheckReplies<S> {
        CheckReplies { inner, headers: self.headers.clone() }
    }
}

// === impl CheckReplies ===

impl<S: AttemptService<Future: Send + 'static>> Service<Attempt> for CheckReplies<S> {
    type Response = Answer;
    type Error = AttemptError;
    /// The reply to come, checked. Dropping it gives up the reply.
    type Future = Pin<Box<dyn Future<Output = AttemptResult> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (request, headers) = (attempt.request.clone(), self.headers.clone());
        let answer = self.inner.call(attempt);
        Box::pin(async move {
            let Answer { reply, timing } = answer.await?;
            let checking = spawn_blocking(move || {
                check(&request, &reply, |hash| headers(hash))?;
                Ok(reply)
            });
            let failed = |kind| AttemptError::new(kind).at(timing.peer).timed(timing);
            match checking.await {
                Ok(Ok(reply)) => Ok(Answer { reply, timing }),
                Ok(Err(VerifyError::False(falsehood))) => Err(failed(AttemptErrorKind::False).because(falsehood)),
                Ok(Err(VerifyError::Missing(missing))) => Err(failed(AttemptErrorKind::Local).because(missing)),
                // The runtime is shutting down, or the caller's headers panicked.
                Err(error) => Err(failed(AttemptErrorKind::Local).because(error)),
            }
        })
    }
}
