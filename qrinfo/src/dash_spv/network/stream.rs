use std::{pin::pin, time::Duration};

use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use qrinfo_core::{PeerId, client::ClientError, message::NetworkMessage, wire::frame::Frame};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use tokio::{select, sync::mpsc, task::coop::consume_budget, time::timeout};
use tower::discover::Change;

use super::hub::{Hub, HubEvent};
use crate::peer::Peer;

/// An event of a client's network, in the order in which it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkEvent {
    /// A peer has completed its handshake.
    Joined {
        /// The peer.
        peer: PeerId,
        /// The height of its tip, as it announced it.
        height: u32,
    },
    /// A peer has sent a message.
    Message {
        /// The peer.
        peer: PeerId,
        /// The message.
        message: NetworkMessage,
    },
    /// The connection to a peer has ended.
    Left {
        /// The peer.
        peer: PeerId,
    },
}

/// Peers that join and leave, for a [`ParallelSync`](crate::ParallelSync).
pub type JoiningPeers = BoxStream<'static, Change<PeerId, Peer<PeerService>>>;

/// The driver of the peers of a network that is a stream of events and a sink of messages; see
/// [`by_stream`](super::by_stream).
#[must_use = "the peers do nothing unless their driver is run"]
#[derive(derive_more::Debug)]
#[debug("StreamDriver {{ hub: {:?} }}", inbound.hub)]
pub struct StreamDriver<E, K, F> {
    events: E,
    sink: K,
    send_timeout: Duration,
    inbound: Inbound<F>,
}

/// The recipients of a network's events.
struct Inbound<F> {
    hub: Hub,
    changes: mpsc::UnboundedSender<Change<PeerId, Peer<PeerService>>>,
    others: F,
}

// === impl StreamDriver ===

impl<E, K, F> StreamDriver<E, K, F>
where
    E: Stream<Item = NetworkEvent> + Unpin,
    K: Sink<(PeerId, NetworkMessage), Error: Into<ClientError>> + Unpin,
    F: FnMut(PeerId, NetworkMessage),
{
    pub(super) fn new(events: E, sink: K, config: CorrelatorConfig, others: F) -> (JoiningPeers, Self) {
        let (changes, mut joining) = mpsc::unbounded_channel();
        let inbound = Inbound { hub: Hub::new(config), changes, others };
        let joining = stream::poll_fn(move |cx| joining.poll_recv(cx));
        (joining.boxed(), Self { events, sink, send_timeout: config.head_timeout, inbound })
    }

    /// Speaks with the peers until the events end, until the sink fails, or until the sync is over: when the stream of
    /// peers and all clones of their services are dropped. Returns the stream and the sink, and the reason; every
    /// request has ended by then.
    ///
    /// Dropping this future ends every request as well. Must be polled within a tokio runtime that has time enabled.
    pub async fn run(mut self) -> (E, K, Closed) {
        let closed = match self.speak().await {
            Ok(closed) => closed,
            Err(error) => Closed::transport(error),
        };
        self.inbound.hub.close(&closed).await;
        (self.events, self.sink, closed)
    }

    async fn speak(&mut self) -> Result<Closed, ClientError> {
        loop {
            // Events that are always ready must not keep other tasks waiting.
            consume_budget().await;
            let Inbound { hub, changes, .. } = &mut self.inbound;
            let is_idle = hub.is_empty();
            select! {
                biased;
                event = hub.next() => match event {
                    HubEvent::Send(peer, frame) => self.send(peer, frame).await?,
                    // The network still has the peer; only the sync is done with it.
                    HubEvent::Ended(..) => {}
                },
                event = self.events.next() => match event {
                    Some(event) => self.inbound.on_event(event),
                    None => return Ok(Closed::ByPeer),
                },
                () = changes.closed(), if is_idle => return Ok(Closed::Unused),
            }
        }
    }

    /// Sends a frame. Events are taken meanwhile: a client may not send before it has got rid of them.
    async fn send(&mut self, peer: PeerId, frame: Frame) -> Result<(), ClientError> {
        let message = NetworkMessage::from_frame(frame)?;
        let mut sending = pin!(timeout(self.send_timeout, self.sink.send((peer, message))));
        loop {
            select! {
                biased;
                sent = &mut sending => return sent?.map_err(Into::into),
                Some(event) = self.events.next() => self.inbound.on_event(event),
            }
        }
    }
}

// === impl Inbound ===

impl<F: FnMut(PeerId, NetworkMessage)> Inbound<F> {
    fn on_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Joined { peer, height } => {
                let joined = self.hub.join(peer, height);
                // After the end of the sync no one takes it, and its driver ends.
                let _ = self.changes.send(Change::Insert(peer, joined));
            }
            NetworkEvent::Message { peer, message } => {
                if let Some(other) = self.hub.received(peer, message) {
                    (self.others)(peer, other);
                }
            }
            NetworkEvent::Left { peer } => {
                self.hub.retain(|id| id != peer);
                let _ = self.changes.send(Change::Remove(peer));
            }
        }
    }
}
