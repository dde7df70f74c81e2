use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use qrinfo_core::{AttemptError, AttemptErrorKind, AttemptResult, RequestId};
use tokio::sync::oneshot;

use super::{ScheduleError, SchedulerHandle, command::Command};

/// The reply to come. Dropping it cancels the request.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(State);

#[derive(Debug)]
enum State {
    Waiting { call: (RequestId, u64), response: oneshot::Receiver<AttemptResult>, handle: SchedulerHandle },
    Failed(AttemptError),
    Done,
}

// === impl ResponseFuture ===

impl ResponseFuture {
    pub(super) fn waiting(
        call: (RequestId, u64),
        response: oneshot::Receiver<AttemptResult>,
        handle: SchedulerHandle,
    ) -> Self {
        Self(State::Waiting { call, response, handle })
    }

    pub(super) fn failed(error: AttemptError) -> Self {
        Self(State::Failed(error))
    }
}

impl Future for ResponseFuture {
    type Output = AttemptResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting { response, .. } = &mut self.0 {
            let result = ready!(Pin::new(response).poll(cx));
            self.0 = State::Done;
            return Poll::Ready(result.unwrap_or_else(|_| Err(ScheduleError::Stopped.into())));
        }
        Poll::Ready(Err(match std::mem::replace(&mut self.0, State::Done) {
            State::Failed(error) => error,
            // Polled again after its end.
            _ => AttemptError::new(AttemptErrorKind::Local),
        }))
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        if let State::Waiting { call: (id, call), handle, .. } = &self.0 {
            handle.send(Command::Cancel(*id, *call));
        }
    }
}
