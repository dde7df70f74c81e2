use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, ready},
};

use futures_util::future::BoxFuture;
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{self, Sleep},
};
use tower::Service;

use super::gate::{Door, Gate, MAX_WAITING, Rank, Turn};
use crate::scheduler::SubmitError;

tokio::task_local! {
    /// Set while a limit asks for readiness.
    static ASKED_BY_LIMIT: ();
}

/// A service with a limit before it. All clones share one instance of the service below.
///
/// It is ready at once: only the request has a priority, so the response future does the waiting. That future takes its
/// place when it is first polled, and has to be polled whenever it is woken; dropping it gives back its place or its
/// permit. The permit or the turn is taken at the call to the service below, when that is ready. At most 16,384 requests
/// wait at a layer; a further one fails as [`Overloaded`](qrinfo_core::AttemptErrorKind::Overloaded).
///
/// Limits compose in any order, also with other layers between them. When it is another limit that polls for readiness,
/// the service is ready when a call would pass now. So the requests wait at the upper limit, in its order, and pass both
/// limits in the same instant. This does not reach through a layer that polls from another task, like tower's buffer.
#[derive(Debug)]
pub struct Limited<S> {
    below: Below<S>,
    /// The seat of the limit above.
    seat: Option<Seat<S>>,
}

/// The service below a limit: one instance for all clones, so that the most urgent request uses its readiness,
/// whichever request asked for it first.
#[derive(Debug)]
struct Below<S> {
    service: Arc<Mutex<S>>,
    door: Arc<Door>,
}

/// A place before a limit, then a permit. Dropping it gives back either.
#[derive(Debug)]
struct Seat<S> {
    below: Below<S>,
    rank: Rank,
    sleep: Option<Pin<Box<Sleep>>>,
    passed: Option<(Ready<S>, Permit)>,
}

/// The service below, reserved for one call.
#[derive(Debug)]
struct Ready<S> {
    service: OwnedMutexGuard<S>,
    /// After the service: whoever comes through the open lane finds it free.
    lane: Closed,
}

/// Opens the lane when it is dropped, unless the service itself will do so.
#[derive(Debug)]
struct Closed {
    door: Arc<Door>,
    by_service: bool,
}

/// Gives the permit back when it is dropped.
#[derive(Debug)]
struct Permit(Gate);

/// A question to the service below. A panic of the service ends it like an error.
struct Question<'a>(&'a Gate);

// === impl Limited ===

impl<S> Limited<S> {
    pub(super) fn new(inner: S, gate: &Gate) -> Self {
        Self { below: Below { service: Arc::new(Mutex::new(inner)), door: gate.open_door() }, seat: None }
    }
}

impl<S> Service<Attempt> for Limited<S>
where
    S: Service<Attempt, Error = AttemptError, Future: Send> + Send + 'static,
{
    type Response = S::Response;
    type Error = AttemptError;
    type Future = BoxFuture<'static, Result<S::Response, AttemptError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        if ASKED_BY_LIMIT.try_with(|()| ()).is_err() {
            return Poll::Ready(Ok(()));
        }
        let seat = match &mut self.seat {
            Some(seat) => seat,
            None => self.seat.insert(Seat::new(&self.below, None)?),
        };
        seat.poll(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        match self.seat.take().and_then(|mut seat| seat.passed.take()) {
            Some((ready, permit)) => Box::pin(Permit::hold(ready.call(attempt), permit)),
            None => Box::pin(wait_and_call(self.below.clone(), attempt)),
        }
    }
}

impl<S> Clone for Limited<S> {
    /// The clone has to be polled ready itself.
    fn clone(&self) -> Self {
        Self { below: self.below.clone(), seat: None }
    }
}

/// Waits for the turn of a request, then for its reply. It takes its place at its first poll: a future that is never
/// polled must not keep its turn from others.
async fn wait_and_call<S>(below: Below<S>, attempt: Attempt) -> Result<S::Response, AttemptError>
where
    S: Service<Attempt, Error = AttemptError>,
{
    let mut seat = Seat::new(&below, Some(&attempt))?;
    poll_fn(|cx| seat.poll(cx)).await?;
    let (ready, permit) = seat.passed.take().ok_or_else(|| AttemptError::new(AttemptErrorKind::Local))?;
    drop(seat);
    Permit::hold(ready.call(attempt), permit).await
}

// === impl Below ===

impl<S> Clone for Below<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), door: self.door.clone() }
    }
}

// === impl Seat ===

impl<S> Seat<S> {
    /// A place in the queue for an attempt, or behind the queue for a limit above.
    fn new(below: &Below<S>, attempt: Option<&Attempt>) -> Result<Self, AttemptError> {
        let Door { gate, lane } = &*below.door;
        let request = attempt.map(|attempt| (attempt.priority, attempt.id.0));
        let rank = gate.change(|state, now| state.join(*lane, request, now)).ok_or_else(|| {
            let error = AttemptError::new(AttemptErrorKind::Overloaded);
            match attempt.cloned().map(Box::new) {
                Some(attempt) => error.because(SubmitError::QueueFull { attempt, capacity: MAX_WAITING }),
                None => error,
            }
        })?;
        Ok(Self { below: below.clone(), rank, sleep: None, passed: None })
    }

    /// Ready once the service below is reserved, with the permit and the turn taken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>>
    where
        S: Service<Attempt, Error = AttemptError>,
    {
        while self.passed.is_none() {
            let Door { gate, lane } = &*self.below.door;
            match gate.change(|state, now| state.ask(*lane, self.rank, cx.waker(), now)) {
                Turn::Now => return self.poll_below(),
                Turn::At(at) => {
                    let sleep = self.sleep.insert(Box::pin(time::sleep_until(at.into())));
                    ready!(sleep.as_mut().poll(cx));
                }
                Turn::Later => {
                    self.sleep = None;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_below(&mut self) -> Poll<Result<(), AttemptError>>
    where
        S: Service<Attempt, Error = AttemptError>,
    {
        let Door { gate, lane } = &*self.below.door;
        let _question = Question(gate);
        // Reserved by another: it opens the lane when it has called.
        let Ok(service) = self.below.service.clone().try_lock_owned() else { return Poll::Pending };
        let closed = Closed { door: self.below.door.clone(), by_service: false };
        let mut ready = Ready { service, lane: closed };
        let answer = {
            let waker = self.below.door.clone().into();
            ASKED_BY_LIMIT.sync_scope((), || ready.service.poll_ready(&mut Context::from_waker(&waker)))
        };
        ready.lane.by_service = answer.is_pending();
        ready!(answer)?;
        gate.change(|state, now| state.pass(*lane, self.rank, now));
        self.passed = Some((ready, Permit(gate.clone())));
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Seat<S> {
    fn drop(&mut self) {
        let Door { gate, lane } = &*self.below.door;
        gate.change(|state, _| state.leave(*lane, self.rank));
    }
}

// === impl Ready ===

impl<S> Ready<S> {
    fn call(mut self, attempt: Attempt) -> S::Future
    where
        S: Service<Attempt>,
    {
        self.service.call(attempt)
    }
}

// === impl Closed ===

impl Drop for Closed {
    fn drop(&mut self) {
        if !self.by_service {
            self.door.wake_by_ref();
        }
    }
}

// === impl Permit ===

impl Permit {
    /// Keeps the permit until the reply is there, and moves an adaptive limit by it.
    async fn hold<T>(reply: impl Future<Output = Result<T, AttemptError>>, permit: Self) -> Result<T, AttemptError> {
        let result = reply.await;
        permit.0.change(|state, _| state.rule.learn(result.as_ref().err()));
        result
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.change(|state, _| state.rule.give_back());
    }
}

// === impl Question ===

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.change(|state, _| state.asking = false);
    }
}
