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
pub struct ResponseFuture {
    pub(super) response: oneshot::Receiver<AttemptResult>,
    pub(super) send: SendId,
    /// It also tells the driver that a caller waits.
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) shared: Arc<Shared>,
}

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = AttemptResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.response.is_terminated() {
            return Poll::Ready(Err(AttemptError::new(AttemptErrorKind::Local)));
        }
        let result = ready!(Pin::new(&mut self.response).poll(cx));
        Poll::Ready(result.unwrap_or_else(|_| Err(self.shared.ended())))
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        // An attempt that has ended needs no cancellation; if the driver has ended, so has the attempt.
        if !self.response.is_terminated() {
            // Close first: the driver cancels only a sending without a caller.
            self.response.close();
            let _ = self.commands.send(Command::Cancel(self.send));
        }
    }
}
