//! A connection that serves requests and follows the chain at the same time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use qrinfo_core::{
    PeerId,
    wire::frame::{Command, Frame, FrameEvent},
};
use spv_peer::{Connection, PeerError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_util::sync::PollSender;

/// A session with a peer. A peer that comes back has a new one.
pub(super) type Session = (PeerId, u64);

/// A connection of which the messages about headers and locks are handed to the follower. All others are left to the
/// service that asks the peer.
pub(super) struct Tap<Io> {
    connection: Connection<Io>,
    session: Session,
    follower: PollSender<(Session, Frame)>,
    /// The next message for the follower, while it has no room. Meanwhile nothing more is read.
    held: Option<Frame>,
    /// Messages of the follower to the peer.
    orders: mpsc::UnboundedReceiver<Frame>,
    /// The next of them, while the connection has no room.
    order: Option<Frame>,
    is_unflushed: bool,
}

// === impl Tap ===

impl<Io> Tap<Io> {
    /// The connection behind a tap, and the way to send messages to the peer.
    pub(super) fn new(
        connection: Connection<Io>,
        session: Session,
        follower: mpsc::Sender<(Session, Frame)>,
    ) -> (Self, mpsc::UnboundedSender<Frame>) {
        let (sender, orders) = mpsc::unbounded_channel();
        let follower = PollSender::new(follower);
        (Self { connection, session, follower, held: None, orders, order: None, is_unflushed: false }, sender)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Tap<Io> {
    /// Moves the follower's messages to the wire as far as the peer reads.
    fn poll_orders(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        let mut connection = Pin::new(&mut self.connection);
        loop {
            if self.order.is_none() {
                match self.orders.poll_recv(cx) {
                    Poll::Ready(Some(frame)) => self.order = Some(frame),
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            ready!(connection.as_mut().poll_ready(cx))?;
            if let Some(frame) = self.order.take() {
                connection.as_mut().start_send(frame)?;
                self.is_unflushed = true;
            }
        }
        if self.is_unflushed {
            ready!(Sink::<Frame>::poll_flush(connection, cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for Tap<Io> {
    type Item = Result<FrameEvent, PeerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let tap = &mut *self;
        if let Poll::Ready(Err(error)) = tap.poll_orders(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            if let Some(frame) = tap.held.take() {
                match tap.follower.poll_reserve(cx) {
                    Poll::Pending => {
                        tap.held = Some(frame);
                        return Poll::Pending;
                    }
                    // A follower that has ended takes nothing more.
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Ready(Ok(())) => _ = tap.follower.send_item((tap.session, frame)),
                }
            }
            match ready!(Pin::new(&mut tap.connection).poll_next(cx)) {
                Some(Ok(event)) if is_for_follower(event.command()) => {
                    if let FrameEvent::Frame(frame) = event {
                        tap.held = Some(frame);
                    }
                }
                event => return Poll::Ready(event),
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Frame> for Tap<Io> {
    type Error = PeerError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        Pin::new(&mut self.connection).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), PeerError> {
        Pin::new(&mut self.connection).start_send(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        Sink::<Frame>::poll_flush(Pin::new(&mut self.connection), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        Sink::<Frame>::poll_close(Pin::new(&mut self.connection), cx)
    }
}

fn is_for_follower(command: Command) -> bool {
    matches!(command, Command::HEADERS | Command::INV | Command::CHAIN_LOCK | Command::INSTANT_LOCK)
}
