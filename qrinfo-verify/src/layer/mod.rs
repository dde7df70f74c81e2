//! The stateless check as a tower layer.

mod future;
mod service;

use std::{fmt, sync::Arc};

use qrinfo_core::BlockHash;
use tower::Layer;

pub use self::{future::CheckFuture, service::CheckReplies};
use crate::headers::KnownBlock;

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
pub struct CheckLayer<H> {
    headers: Arc<H>,
}

// === impl CheckLayer ===

impl<H> CheckLayer<H>
where
    H: Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync + 'static,
{
    /// Checks against these headers, which answer for the blocks of the best chain as it is at the time.
    pub fn new(headers: H) -> Self {
        Self { headers: Arc::new(headers) }
    }
}

impl<S, H> Layer<S> for CheckLayer<H> {
    type Service = CheckReplies<S, H>;

    fn layer(&self, inner: S) -> CheckReplies<S, H> {
        CheckReplies { inner, headers: self.headers.clone() }
    }
}

impl<H> Clone for CheckLayer<H> {
    fn clone(&self) -> Self {
        Self { headers: self.headers.clone() }
    }
}

impl<H> fmt::Debug for CheckLayer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckLayer").finish_non_exhaustive()
    }
}
