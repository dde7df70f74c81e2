use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{self, Instant, Sleep};
use tower::Service;

use super::pace::Pace;

/// See [`RateLimitLayer`](super::RateLimitLayer).
///
/// A service that is ready has taken its turn; one that is dropped ready has wasted it.
#[derive(Debug)]
pub struct RateLimit<S> {
    inner: S,
    pace: Pace,
    name: u64,
    /// Its turn has come, for the next call.
    turn: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

// === impl RateLimit ===

impl<S> RateLimit<S> {
    pub(super) fn new(inner: S, pace: Pace) -> Self {
        let name = pace.name();
        Self { inner, pace, name, turn: false, sleep: None }
    }
}

impl<S, Request> Service<Request> for RateLimit<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The turn comes last: it is not taken for a service that could not use it.
        ready!(self.inner.poll_ready(cx))?;
        while !self.turn {
            match self.pace.take(self.name, cx.waker(), Instant::now().into_std()) {
                Ok(()) => {
                    self.turn = true;
                    self.sleep = None;
                }
                Err(next) => {
                    let next = Instant::from_std(next);
                    let sleep = self.sleep.get_or_insert_with(|| Box::pin(time::sleep_until(next)));
                    if sleep.deadline() != next {
                        sleep.as_mut().reset(next);
                    }
                    ready!(sleep.as_mut().poll(cx));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.turn = false;
        self.inner.call(request)
    }
}

impl<S: Clone> Clone for RateLimit<S> {
    /// The clone has to be polled ready itself.
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.pace.clone())
    }
}

impl<S> Drop for RateLimit<S> {
    fn drop(&mut self) {
        self.pace.forget(self.name);
    }
}
