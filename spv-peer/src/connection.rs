use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use qrinfo_core::{
    PeerId,
    message::{PROTOCOL_VERSION, VersionMessage},
    wire::frame::{Command, Frame, FrameEvent, Partial},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::codec::Framed;

use crate::{
    FrameCodec, PeerError,
    gossip::{AddressSender, Gossip},
    handshake::pong,
    long_reads::{LongRead, LongReads},
    nudge::Nudge,
};

/// The number of pongs that may wait because the peer does not read. Dash Core has one ping outstanding and sends none
/// before it is answered.
const MAX_WAITING_PONGS: usize = 8;

/// A session with one peer, after the handshake.
///
/// As a stream it gives every frame of the peer in order, and the progress of long ones. It ends with `None` when the
/// peer closes between two frames, and after the first error. Pings are answered and not handed on; every other frame
/// is. A frame is handed on as soon as it is read: nothing is queued here, so a reader that stops reading slows down
/// the peer.
///
/// As a sink it takes frames; they leave when it is flushed, and with the next pong at the latest. Once more than
/// 8 KiB wait to leave, it is ready again when the peer has read.
///
/// An idle Dash Core may sleep for half a second beside its answer. A ping wakes it when nothing has come for 150 ms after
/// a frame was sent, at most three times.
///
/// Pongs leave while the stream is polled, whether or not the sink is. Stream and sink share one waker for writing, so
/// **one task has to drive both**. That task must not wait for the sink alone: a node stops reading while it has much
/// to send, and so does not read until we do.
///
/// Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection<Io = TcpStream> {
    framed: Framed<Io, FrameCodec>,
    peer: PeerId,
    version: VersionMessage,
    greeting_time: Duration,
    pongs: Pongs,
    nudge: Nudge,
    gossip: Option<Gossip>,
    /// The message that is being read, as its header announced it.
    announced: usize,
    long_read: LongRead,
    ended: bool,
}

/// Pongs that are on their way out, and pings that wake the peer.
#[derive(Debug, Default)]
struct Pongs {
    /// Those for which the write buffer has no room yet.
    waiting: VecDeque<Frame>,
    /// True if a pong may be in the write buffer.
    unflushed: bool,
}

// === impl Connection ===

impl<Io> Connection<Io> {
    pub(crate) fn new(
        framed: Framed<Io, FrameCodec>,
        peer: PeerId,
        version: VersionMessage,
        greeting_time: Duration,
        long_reads: &LongReads,
    ) -> Self {
        let long_read = long_reads.connection();
        let (pongs, nudge, gossip) = (Pongs::default(), Nudge::default(), None);
        Self { framed, peer, version, greeting_time, pongs, nudge, gossip, announced: 0, long_read, ended: false }
    }

    /// The peer's name: the address that was connected to.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the peer's own `version`. None of it is proven.
    pub fn peer_version(&self) -> &VersionMessage {
        &self.version
    }

    /// The protocol of this session: the lower of both sides' newest. It decides the layout of `mnlistdiff` and, from
    /// 70236 on, which bases a `qrinfo` is built upon.
    pub fn protocol_version(&self) -> i32 {
        self.version.protocol_version.min(PROTOCOL_VERSION)
    }

    /// The height of the peer's tip when it greeted us; 0 if it claimed less.
    pub fn start_height(&self) -> u32 {
        u32::try_from(self.version.start_height).unwrap_or(0)
    }

    /// Sends the addresses that the peer names, `addr` and `addrv2`, to `to` from now on, and no longer hands them on.
    ///
    /// A few messages of a connection are sent, enough for the answer to a `getaddr`. The rest is dropped.
    pub fn send_addresses_to(&mut self, to: AddressSender) {
        self.gossip = Some(Gossip::new(to));
    }

    /// Returns the time that the peer took to answer our greeting: a round trip, and the time that an idle node sleeps
    /// before it looks at its connections. [`round_trip`](crate::round_trip) measures another one.
    pub fn greeting_time(&self) -> Duration {
        self.greeting_time
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    /// Moves pongs to the wire as far as the peer reads.
    fn poll_pongs(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        let mut framed = Pin::new(&mut self.framed);
        while !self.pongs.waiting.is_empty() {
            ready!(framed.as_mut().poll_ready(cx))?;
            if let Some(pong) = self.pongs.waiting.pop_front() {
                framed.as_mut().start_send(pong)?;
                self.pongs.unflushed = true;
            }
        }
        if self.pongs.unflushed {
            ready!(Sink::<Frame>::poll_flush(framed, cx))?;
            self.pongs.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FrameEvent, PeerError>>> {
        // A peer that does not read is not woken.
        if self.pongs.waiting.is_empty() {
            self.pongs.waiting.extend(self.nudge.poll(cx));
        }
        loop {
            let written = self.poll_pongs(cx);
            let Poll::Ready(()) = self.long_read.poll_fits(self.announced, cx) else { return Poll::Pending };
            let event = Pin::new(&mut self.framed).poll_next(cx)?;
            if event.is_ready() {
                self.nudge.received();
            }
            match &event {
                Poll::Ready(Some(FrameEvent::Partial(partial))) => self.announced = partial.length,
                Poll::Ready(_) => {
                    self.announced = 0;
                    self.long_read.release();
                }
                Poll::Pending => {}
            }
            match event {
                Poll::Ready(Some(FrameEvent::Frame(frame))) if frame.command == Command::PING => {
                    if self.pongs.waiting.len() >= MAX_WAITING_PONGS {
                        return Poll::Ready(Some(Err(PeerError::PingFlood(MAX_WAITING_PONGS))));
                    }
                    self.pongs.waiting.push_back(pong(&frame));
                }
                Poll::Ready(Some(FrameEvent::Partial(Partial { command: Command::PING, .. }))) => {}
                Poll::Ready(Some(event)) if self.gossip.is_some() && Gossip::takes(event.command()) => {
                    if let (Some(gossip), FrameEvent::Frame(frame)) = (&mut self.gossip, event) {
                        gossip.take(self.peer, frame);
                    }
                }
                Poll::Ready(event) => return Poll::Ready(event.map(Ok)),
                // A peer that has closed cannot be answered, but what it sent before is still worth reading: a
                // failure to write counts only when there is nothing to read.
                Poll::Pending => {
                    return match written {
                        Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for Connection<Io> {
    type Item = Result<FrameEvent, PeerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = ready!(self.poll_event(cx));
        self.ended = !matches!(event, Some(Ok(_)));
        Poll::Ready(event)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Frame> for Connection<Io> {
    type Error = PeerError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        Pin::new(&mut self.framed).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), PeerError> {
        self.nudge.sent();
        Pin::new(&mut self.framed).start_send(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        // The stream may not be polled again before.
        let _ = self.nudge.poll_timer(cx);
        Sink::<Frame>::poll_flush(Pin::new(&mut self.framed), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        Sink::<Frame>::poll_close(Pin::new(&mut self.framed), cx)
    }
}
