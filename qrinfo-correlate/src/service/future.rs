use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use qrinfo_core::{AttemptError, AttemptErrorKind, AttemptResult, SendId};
use tokio::sync::{mpsc, oneshot};

use super::{inbox::Command, shared::Shared};

/// The response of a [`PeerService`](crate::PeerService). Dropping it gives up the reply; the slot stays taken until
/// the peer has dealt with the request.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(State);

#[derive(Debug)]
enum State {
    Waiting(Waiting),
    Failed(Option<AttemptError>),
}

/// Its sender of commands also tells the driver that a caller waits.
#[derive(Debug)]
struct Waiting {
    response: oneshot::Receiver<AttemptResult>,
    send: SendId,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

// === impl ResponseFuture ===

impl ResponseFuture {
    pub(crate) fn waiting(
        response: oneshot::Receiver<AttemptResult>,
        send: SendId,
        commands: mpsc::UnboundedSender<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self(State::Waiting(Waiting { response, send, commands, shared }))
    }

    pub(crate) fn failed(error: AttemptError) -> Self {
        Self(State::Failed(Some(error)))
    }
}

impl Future for ResponseFuture {
    type Output = AttemptResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Waiting(waiting) => match ready!(Pin::new(&mut waiting.response).poll(cx)) {
                Ok(result) => result,
                Err(_) => Err(waiting.shared.ended()),
            },
            // Polled again after its end.
            State::Failed(error) => Err(error.take().unwrap_or_else(|| AttemptError::new(AttemptErrorKind::Local))),
        };
        self.0 = State::Failed(None);
        Poll::Ready(result)
    }
}

// === impl Waiting ===

impl Drop for Waiting {
    fn drop(&mut self) {
        // An attempt that has ended needs no cancellation; if the driver has ended, so has the attempt.
        if !self.response.is_terminated() {
            // Close first: the driver cancels only a sending without a caller.
            self.response.close();
            let _ = self.commands.send(Command::Cancel(self.send));
        }
    }
}
