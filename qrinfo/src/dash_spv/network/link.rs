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
    /// Hands on a message. Returns true if there was room; for a peer that sends only answers to requests there always
    /// is.
    pub(super) fn send(&self, frame: Frame) -> bool {
        // A link without a reader is removed soon.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use qrinfo_core::message::NetworkMessage;

    use super::*;

    fn peer() -> PeerId {
        PeerId::Address(([203, 0, 113, 5], 19899).into())
    }

    fn frame(nonce: u64) -> Frame {
        NetworkMessage::Pong(nonce).to_frame()
    }

    #[tokio::test]
    async fn a_full_link_still_takes_the_reason_of_its_end() {
        let (outbound, _outgoing) = mpsc::channel(1);
        let (sender, mut link) = link(peer(), 2, outbound);
        assert!(sender.send(frame(1)) && sender.send(frame(2)));
        assert!(!sender.send(frame(3)));
        sender.fail("too much".into());
        for nonce in [1, 2] {
            assert!(matches!(link.next().await, Some(Ok(FrameEvent::Frame(read))) if read == frame(nonce)));
        }
        assert_eq!(link.next().await.unwrap().unwrap_err().to_string(), "too much");
        assert!(link.next().await.is_none());
    }

    #[tokio::test]
    async fn what_nobody_reads_any_more_is_no_surplus() {
        let (outbound, _outgoing) = mpsc::channel(1);
        let (sender, link) = link(peer(), 1, outbound);
        drop(link);
        assert!((0..9).all(|nonce| sender.send(frame(nonce))));
    }

    #[tokio::test]
    async fn what_is_sent_carries_the_name_of_its_peer() {
        let (outbound, mut outgoing) = mpsc::channel(1);
        let (_sender, mut link) = link(peer(), 1, outbound);
        link.send(frame(1)).await.unwrap();
        assert_eq!(outgoing.recv().await, Some((peer(), frame(1))));
        drop(outgoing);
        assert!(link.send(frame(2)).await.is_err());
    }
}
