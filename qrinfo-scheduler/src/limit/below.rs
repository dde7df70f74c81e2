use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

use qrinfo_core::{Attempt, AttemptError};
use tower::Service;

use super::{gate::Gate, seat::Seat};

tokio::task_local! {
    /// Set while a limit asks for readiness.
    static ASKED_BY_LIMIT: ();
}

/// The service below a limit: one instance for all clones, so that the most urgent request uses its readiness,
/// whichever request asked for it first.
#[derive(Debug)]
pub(super) struct Below<S> {
    service: Mutex<S>,
    gate: Gate,
    lane: u64,
    waker: Waker,
}

/// Opens the lane when the service below is ready, whatever became of the request that asked.
struct LaneWaker {
    gate: Gate,
    lane: u64,
}

// === impl Below ===

impl<S> Below<S> {
    pub(super) fn new(service: S, gate: Gate) -> Self {
        let lane = gate.change(|state, _| state.open_lane());
        let waker = Arc::new(LaneWaker { gate: gate.clone(), lane }).into();
        Self { service: Mutex::new(service), gate, lane, waker }
    }

    pub(super) fn seat(&self, attempt: Option<&Attempt>) -> Result<Seat, AttemptError> {
        Seat::new(&self.gate, self.lane, attempt)
    }

    /// Ready when the seat has passed: with the service, which is ready and locked.
    pub(super) fn poll_pass(
        &self,
        seat: &mut Seat,
        cx: &mut Context<'_>,
    ) -> Poll<Result<MutexGuard<'_, S>, AttemptError>>
    where
        S: Service<Attempt, Error = AttemptError>,
    {
        let mut locked = None;
        let ready = seat.poll(cx.waker(), || {
            let mut cx = Context::from_waker(&self.waker);
            ASKED_BY_LIMIT.sync_scope((), || locked.insert(self.lock()).poll_ready(&mut cx))
        });
        ready!(ready)?;
        Poll::Ready(Ok(locked.unwrap_or_else(|| self.lock())))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, S> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Below<S> {
    fn drop(&mut self) {
        self.gate.change(|state, _| state.remove_lane(self.lane));
    }
}

// === impl LaneWaker ===

impl Wake for LaneWaker {
    fn wake(self: Arc<Self>) {
        self.gate.change(|state, _| state.wake_lane(self.lane));
    }
}

/// Returns true if a limit further up polls for readiness.
pub(super) fn is_asked_by_limit() -> bool {
    ASKED_BY_LIMIT.try_with(|()| ()).is_ok()
}
