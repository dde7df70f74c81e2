use std::{
    sync::Arc,
    task::{Context, Poll},
};

use qrinfo_core::{Attempt, AttemptError};
use tower::Service;

use super::{
    below::{Below, is_asked_by_limit},
    future::LimitedFuture,
    gate::Gate,
    seat::Seat,
};

/// A service with a limit before it. All clones share one instance of the service below.
///
/// It is ready at once: only the request has a priority, so the response future does the waiting. That future takes its
/// place when it is first polled, and has to be polled whenever it is woken. The permit or the turn is taken at the call
/// to the service below, when that is ready. At most 16,384 requests wait at a layer; a further one fails as
/// [`Overloaded`](qrinfo_core::AttemptErrorKind::Overloaded).
///
/// Limits compose in any order, also with other layers between them. When it is another limit that polls for readiness,
/// the service is ready when a call would pass now. So the requests wait at the upper limit, in its order, and pass both
/// limits in the same instant. This does not reach through a layer that polls from another task, like tower's buffer.
#[derive(Debug)]
pub struct Limited<S> {
    /// The seat of the limit above. Dropped before the service, whose lane it stands in.
    seat: Option<Seat>,
    below: Arc<Below<S>>,
}

// === impl Limited ===

impl<S> Limited<S> {
    pub(super) fn new(inner: S, gate: Gate) -> Self {
        Self { below: Arc::new(Below::new(inner, gate)), seat: None }
    }
}

impl<S> Service<Attempt> for Limited<S>
where
    S: Service<Attempt, Error = AttemptError>,
{
    type Response = S::Response;
    type Error = AttemptError;
    type Future = LimitedFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        if !is_asked_by_limit() {
            return Poll::Ready(Ok(()));
        }
        let seat = match &mut self.seat {
            Some(seat) => seat,
            None => self.seat.insert(self.below.seat(None)?),
        };
        if seat.has_passed() { Poll::Ready(Ok(())) } else { self.below.poll_pass(seat, cx).map_ok(drop) }
    }

    fn call(&mut self, attempt: Attempt) -> LimitedFuture<S> {
        match self.seat.take().filter(Seat::has_passed) {
            Some(seat) => LimitedFuture::passed(self.below.clone(), attempt, seat),
            None => LimitedFuture::waiting(self.below.clone(), attempt),
        }
    }
}

impl<S> Clone for Limited<S> {
    /// The clone has to be polled ready itself.
    fn clone(&self) -> Self {
        Self { below: self.below.clone(), seat: None }
    }
}
