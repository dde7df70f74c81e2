//! One named peer of a network, as a transport of its own.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use qrinfo_core::{
    PeerId,
    client::ClientError,
    wire::frame::{Frame, FrameEvent},
};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

pub(super) type Inbound = Result<FrameEvent, ClientError>;
pub(super) type Outbound = (PeerId, Frame);

/// The peer's end, for its driver. What is sent goes to the one driver of the network.
pub(super) struct Link {
    peer: PeerId,
    inbound: mpsc::Receiver<Inbound>,
    outbound: PollSender<Outbound>,
}

/// The network's end.
pub(super) struct LinkSender(mpsc::Sender<Inbound>);

/// A connection to `peer`, on which this many messages may wait to be read.
pub(super) fn link(peer: PeerId, capacity: usize, outbound: mpsc::Sender<Outbound>) -> (LinkSender, Link) {
    // One more for the reason of its end.
    let (sender, inbound) = mpsc::channel(capacity + 1);
    (LinkSender(sender), Link { peer, inbound, outbound: PollSender::new(outbound) })
}

// === impl LinkSender ===

impl LinkSender {
    /// Hands on a message. Whether there was room: a peer that answers only what it is asked never finds none.
    pub(super) fn send(&self, frame: Frame) -> bool {
        // One that nobody reads any more will be taken away.
        self.0.capacity() > 1 && self.0.try_send(Ok(FrameEvent::Frame(frame))).is_ok() || self.0.is_closed()
    }

    /// Ends the connection for a reason.
    pub(super) fn fail(self, why: ClientError) {
        let _ = self.0.try_send(Err(why));
    }
}

// === impl Link ===

impl Stream for Link {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        self.inbound.poll_recv(cx)
    }
}

impl Sink<Frame> for Link {
    type Error = ClientError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(ready!(self.outbound.poll_reserve(cx))?))
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), ClientError> {
        let peer = self.peer;
        Ok(self.outbound.send_item((peer, frame))?)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }
}
