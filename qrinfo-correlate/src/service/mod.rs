mod driver;
mod future;
pub(crate) mod inbox;
mod shared;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, PeerEvent, PeerId, SendId,
    client::NetworkManager,
    message::NetworkMessage,
    wire::frame::{Frame, FrameEvent},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::PollSemaphore;
use tower_service::Service;

pub use self::{driver::Driver, future::ResponseFuture};
use self::{
    inbox::{Command, Gate, Inbox, Submission},
    shared::Shared,
};
use crate::{broadcast::BroadcastDriver, config::CorrelatorConfig, correlator::Correlator};

/// The first number of a sending that the caller did not number. Callers number from 0 on.
const OWN_SENDS: u64 = 1 << 63;

/// A `tower` service that asks one peer, pipelined. Clones ask the same peer and share its slots.
///
/// Events name a sending by [`Attempt::send`], or by a number of the service's own, from 2^63 on, where the attempt has
/// none.
///
/// It is ready while one of the peer's [`depth`](CorrelatorConfig::depth) slots is free. The slot then belongs to the
/// request, not to its future: dropping the future gives up the reply, but the slot stays taken until the peer has
/// dealt with the request.
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use qrinfo_core::{Attempt, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, Network, PeerId};
/// use qrinfo_core::message::NetworkMessage;
/// use qrinfo_core::wire::frame::{Frame, FrameDecoder, FrameEvent};
/// use qrinfo_correlate::{CorrelatorConfig, PeerService};
/// use tokio_util::{bytes::BytesMut, codec::{Decoder, Encoder, Framed}};
/// use tower::{Service, ServiceExt};
///
/// /// Makes a transport of any stream of bytes.
/// struct Wire(FrameDecoder);
///
/// impl Decoder for Wire {
///     type Item = FrameEvent;
///     type Error = std::io::Error;
///
///     fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<FrameEvent>, std::io::Error> {
///         self.0.decode(buffer).map_err(std::io::Error::other)
///     }
/// }
///
/// impl Encoder<Frame> for Wire {
///     type Error = std::io::Error;
///
///     fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), std::io::Error> {
///         frame.encode(Network::Regtest, buffer);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = tokio::io::duplex(1024);
/// let transport = Framed::new(ours, Wire(FrameDecoder::new(Network::Regtest)));
/// let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
/// let (mut service, driver) = PeerService::new(peer, transport, CorrelatorConfig::default(), |report| {
///     println!("{report:?}");
/// });
/// tokio::spawn(driver);
///
/// // A peer that refuses: it sends nothing but the pong.
/// let mut at_peer = Framed::new(theirs, Wire(FrameDecoder::new(Network::Regtest)));
/// tokio::spawn(async move {
///     while let Some(Ok(event)) = at_peer.next().await {
///         let FrameEvent::Frame(frame) = event else { continue };
///         if let Ok(NetworkMessage::Ping(nonce)) = NetworkMessage::from_frame(frame) {
///             at_peer.send(NetworkMessage::Pong(nonce).to_frame()).await?;
///         }
///     }
///     Ok::<(), std::io::Error>(())
/// });
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let response = service.ready().await?.call(Attempt::new(1, request.into()));
/// let error = response.await.expect_err("the peer refuses");
/// assert_eq!(error.kind(), AttemptErrorKind::Refused);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PeerService {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    slots: PollSemaphore,
    /// The slot of the next call.
    permit: Option<OwnedSemaphorePermit>,
}

// === impl PeerService ===

impl PeerService {
    /// A service and its driver for a fresh connection to `peer`.
    ///
    /// `transport` is the connection after its handshake: a stream of messages and their progress, and a sink of
    /// messages. It answers the peer's pings itself. The driver calls `observer` with every [`PeerEvent`], so it must
    /// not block.
    ///
    /// Spawn the driver. It ends with the connection, or when all services are dropped and no caller waits for a reply.
    pub fn new<T, E, O>(peer: PeerId, transport: T, config: CorrelatorConfig, observer: O) -> (Self, Driver<T, O>)
    where
        T: Stream<Item = Result<FrameEvent, E>> + Sink<Frame, Error = E> + Unpin + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        O: FnMut(PeerEvent) + Send,
    {
        let (service, inbox) = Self::with_inbox(peer, config);
        (service, Driver::new(transport, observer, Correlator::new(peer, config), inbox))
    }

    /// A service and its driver for a connected network that does not name its peers. Each request goes to all of them,
    /// and its peer is [`PeerId::ALL`].
    ///
    /// `network` may be a `&mut` or a `Box`. Of `config`, the depth and the head timeout count; its other fields need
    /// the progress of a reply and its peer, which such a network does not tell. The driver calls `others` with every
    /// message that answers no request, so it must not block.
    ///
    /// [`Run`](BroadcastDriver::run) the driver.
    pub fn broadcast<N, F>(network: N, config: CorrelatorConfig, others: F) -> (Self, BroadcastDriver<N, F>)
    where
        N: NetworkManager,
        F: FnMut(NetworkMessage),
    {
        let (service, inbox) = Self::with_inbox(PeerId::ALL, config);
        (service, BroadcastDriver::new(network, others, config.head_timeout, inbox))
    }

    fn with_inbox(peer: PeerId, config: CorrelatorConfig) -> (Self, Inbox) {
        let shared = Arc::new(Shared { peer, next_seq: AtomicU64::new(OWN_SENDS), ended: OnceLock::new() });
        let slots = Arc::new(Semaphore::new(config.depth.get().min(Semaphore::MAX_PERMITS)));
        let (sender, commands) = mpsc::unbounded_channel();
        let inbox = Inbox { commands, gate: Gate { slots: slots.clone(), shared: shared.clone() } };
        (Self { shared, commands: sender, slots: PollSemaphore::new(slots), permit: None }, inbox)
    }

    /// The peer that the service asks.
    pub fn peer(&self) -> PeerId {
        self.shared.peer
    }
}

impl Service<Attempt> for PeerService {
    type Response = Answer;
    type Error = AttemptError;
    type Future = ResponseFuture;

    /// Ready when a slot is free.
    ///
    /// # Errors
    /// [`Disconnected`](AttemptErrorKind::Disconnected), with the [`Closed`](crate::Closed) as its source, once the
    /// driver has ended.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        if let Some(closed) = self.shared.ended.get() {
            return Poll::Ready(Err(self.shared.disconnected(closed.clone())));
        }
        if self.permit.is_none() {
            self.permit = ready!(self.slots.poll_acquire(cx));
        }
        Poll::Ready(match self.permit {
            Some(_) => Ok(()),
            None => Err(self.shared.ended()),
        })
    }

    /// Asks. Called without readiness it fails as [`Overloaded`](AttemptErrorKind::Overloaded).
    fn call(&mut self, attempt: Attempt) -> ResponseFuture {
        let (commands, shared, peer) = (self.commands.clone(), self.shared.clone(), self.shared.peer);
        let own = || SendId { peer, seq: shared.next_seq.fetch_add(1, Ordering::Relaxed) };
        let send = attempt.send.unwrap_or_else(own);
        let (respond, response) = oneshot::channel();
        let mut future = ResponseFuture { response, send, commands, shared };
        let Some(permit) = self.permit.take() else {
            let _ = respond.send(Err(AttemptError::new(AttemptErrorKind::Overloaded).at(peer)));
            return future;
        };
        // A driver that has ended drops it, or never sees it.
        let _ = self.commands.send(Command::Submit(Box::new(Submission { send, attempt, respond, permit })));
        if self.shared.ended.get().is_some() {
            future.response.close();
        }
        future
    }
}

impl Clone for PeerService {
    /// A clone does not inherit readiness; poll it ready first.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), commands: self.commands.clone(), slots: self.slots.clone(), permit: None }
    }
}
