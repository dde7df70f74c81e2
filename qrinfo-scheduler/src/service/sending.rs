use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use qrinfo_core::{Answer, AttemptError, AttemptErrorKind, AttemptResult, PeerId, RequestId, SendId};
use tower::BoxError;

pin_project_lite::pin_project! {
    /// One sending that a peer's service works on.
    pub(super) struct Sending<F> {
        pub(super) send: SendId,
        pub(super) request: RequestId,
        #[pin]
        pub(super) future: F,
    }
}

/// The end of a sending.
pub(super) struct Ended {
    pub(super) send: SendId,
    pub(super) request: RequestId,
    pub(super) result: AttemptResult,
    pub(super) has_panicked: bool,
}

// === impl Sending ===

impl<F, E> Future for Sending<F>
where
    F: Future<Output = Result<Answer, E>>,
    E: Into<BoxError>,
{
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.project();
        let (send, request) = (*this.send, *this.request);
        let future = this.future;
        let (result, has_panicked) = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => (result.map_err(|error| attempt_error(error.into(), send.peer)), false),
            Err(_) => {
                let error = AttemptError::new(AttemptErrorKind::Disconnected).at(send.peer);
                (Err(error.because("the peer's service panicked")), true)
            }
        };
        Poll::Ready(Ended { send, request, result, has_panicked })
    }
}

/// The error of a peer's stack as an attempt's: unchanged if it is one, else as the source of one.
fn attempt_error(error: BoxError, peer: PeerId) -> AttemptError {
    let error = match error.downcast::<AttemptError>() {
        Ok(error) => *error,
        Err(other) if other.is::<tower::timeout::error::Elapsed>() => {
            AttemptError::new(AttemptErrorKind::Timeout).because(other)
        }
        Err(other) => AttemptError::new(AttemptErrorKind::Local).because(other),
    };
    if error.peer().is_none() { error.at(peer) } else { error }
}
