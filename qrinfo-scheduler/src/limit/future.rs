use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind};
use tower::Service;

use super::{below::Below, seat::Seat};

pin_project! {
    /// Waits for its turn, then for the reply. Dropping it gives back its place or its permit.
    #[must_use = "futures do nothing unless polled"]
    pub struct LimitedFuture<S>
    where
        S: Service<Attempt>,
    {
        // `None` once it was called.
        waiting: Option<Attempt>,
        #[pin]
        future: Option<S::Future>,
        // After the future: the permit is free when the request is gone. Before the service, whose lane it stands in.
        seat: Option<Seat>,
        below: Arc<Below<S>>,
    }
}

// === impl LimitedFuture ===

impl<S: Service<Attempt>> LimitedFuture<S> {
    pub(super) fn waiting(below: Arc<Below<S>>, attempt: Attempt) -> Self {
        Self { below, waiting: Some(attempt), future: None, seat: None }
    }

    /// Calls the service below, which is ready and reserved for this request.
    pub(super) fn passed(below: Arc<Below<S>>, attempt: Attempt, mut seat: Seat) -> Self {
        let future = below.lock().call(attempt);
        seat.release_service();
        Self { below, waiting: None, future: Some(future), seat: Some(seat) }
    }
}

impl<S> LimitedFuture<S>
where
    S: Service<Attempt, Error = AttemptError>,
{
    /// Calls the service below when it is this request's turn.
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        let mut this = self.project();
        if this.waiting.is_none() {
            return Poll::Ready(Ok(()));
        }
        let seat = match this.seat {
            Some(seat) => seat,
            // Not before the first poll: one that is never polled must not keep its turn from others.
            None => this.seat.insert(this.below.seat(this.waiting.as_ref())?),
        };
        let mut service = ready!(this.below.poll_pass(seat, cx))?;
        this.future.set(this.waiting.take().map(|attempt| service.call(attempt)));
        Poll::Ready(Ok(()))
    }
}

impl<S> Future for LimitedFuture<S>
where
    S: Service<Attempt, Error = AttemptError>,
{
    type Output = Result<S::Response, AttemptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let called = ready!(self.as_mut().poll_call(cx));
        let mut this = self.project();
        let result = match (called, this.future.as_mut().as_pin_mut()) {
            (Ok(()), Some(future)) => ready!(future.poll(cx)),
            // Polled again after its end.
            (Ok(()), None) => Err(AttemptError::new(AttemptErrorKind::Local)),
            (Err(error), _) => Err(error),
        };
        *this.waiting = None;
        this.future.set(None);
        if let Some(seat) = this.seat.take() {
            seat.finish(result.as_ref().err());
        }
        Poll::Ready(result)
    }
}

impl<S: Service<Attempt>> std::fmt::Debug for LimitedFuture<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimitedFuture").field("seat", &self.seat).finish_non_exhaustive()
    }
}
