use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, time::Duration};

use qrinfo_core::{
    PeerId,
    client::{ClientError, NamedNetworkManager},
    message::NetworkMessage,
    wire::frame::Frame,
};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use tokio::{
    select,
    sync::mpsc,
    task::{JoinSet, coop::consume_budget},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::link::{LinkSender, Outbound, link};
use crate::peer::{Peer, peer_over};

/// How many frames of all peers may wait to be sent.
const OUTGOING: usize = 64;

/// How many messages of a peer may wait to be read beyond a reply and a pong for each of its slots: pongs to pings of
/// the client's own.
const SPARE: usize = 16;

/// How often to look which peers are still there.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait when the network has no message for now and has not waited itself.
const PAUSE: Duration = Duration::from_millis(10);

/// What speaks with the peers of a network that names them; see [`by_name`](super::by_name).
#[must_use = "the peers do nothing unless their driver is run"]
pub struct NamedDriver<N, F> {
    network: N,
    others: F,
    send_timeout: Duration,
    links: BTreeMap<PeerId, LinkSender>,
    outgoing: mpsc::Receiver<Outbound>,
    /// Not started yet.
    drivers: Vec<(PeerId, PeerDriver)>,
}

type PeerDriver = Pin<Box<dyn Future<Output = Closed> + Send>>;

/// The peers' drivers at work.
type Running = JoinSet<(PeerId, Closed)>;

// === impl NamedDriver ===

impl<N, F> NamedDriver<N, F>
where
    N: NamedNetworkManager,
    F: FnMut(PeerId, NetworkMessage),
{
    pub(super) fn new(network: N, config: CorrelatorConfig, others: F) -> (Vec<Peer<PeerService>>, Self) {
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        let capacity = config.depth.get().saturating_mul(2).saturating_add(SPARE);
        let (mut peers, mut links, mut drivers) = (Vec::new(), BTreeMap::new(), Vec::new());
        for id in network.peers() {
            let (link_sender, transport) = link(id, capacity, sender.clone());
            let (peer, driver) = peer_over(id, network.peer_height(id).unwrap_or(0), transport, config);
            peers.push(peer);
            links.insert(id, link_sender);
            drivers.push((id, Box::pin(driver) as PeerDriver));
        }
        (peers, Self { network, others, send_timeout: config.head_timeout, links, outgoing, drivers })
    }

    /// Speaks with the peers until none is left: each is until it disconnects, sends what it must not, or all clones of
    /// its service are dropped and nobody waits for its reply. Gives the network back and says why the last one ended,
    /// or the network; every request has ended by then.
    ///
    /// Dropping this future ends every request as well.
    ///
    /// Must be polled within a tokio runtime that has time enabled. The peers' timeouts run in tasks of their own, for a
    /// manager may take its time to send.
    pub async fn run(mut self) -> (N, Closed) {
        let mut running = Running::new();
        for (peer, driver) in self.drivers.drain(..) {
            running.spawn(async move { (peer, driver.await) });
        }
        let closed = self.speak(&mut running).await;
        for (_, link) in std::mem::take(&mut self.links) {
            if let Closed::Transport(error) = &closed {
                link.fail(ClientError::from(error.clone()));
            }
        }
        self.outgoing.close();
        while running.join_next().await.is_some() {}
        (self.network, closed)
    }

    async fn speak(&mut self, running: &mut Running) -> Closed {
        let mut closed = Closed::Unused;
        let mut look = Instant::now();
        let mut pause = Duration::ZERO;
        while !running.is_empty() {
            // A network that always has a message must not keep other tasks waiting.
            consume_budget().await;
            if look <= Instant::now() {
                self.leave_departed();
                look = Instant::now() + LOOK;
            }
            select! {
                biased;
                Some(ended) = running.join_next() => if let Ok((peer, why)) = ended {
                    self.ended(peer, &why).await;
                    closed = why;
                },
                Some((peer, frame)) = self.outgoing.recv() => self.send(peer, frame).await,
                received = receive(&mut self.network, pause) => match received {
                    Ok(Some((peer, message))) => {
                        self.received(peer, message);
                        pause = Duration::ZERO;
                    }
                    Ok(None) => {
                        look = Instant::now();
                        pause = PAUSE;
                    }
                    Err(error) => return Closed::transport(error),
                },
                () = sleep_until(look) => {}
            }
        }
        closed
    }

    /// A peer that the network is no longer connected to has its connection ended here as well.
    fn leave_departed(&mut self) {
        let peers = self.network.peers();
        self.links.retain(|id, _| peers.contains(id));
    }

    async fn ended(&mut self, peer: PeerId, why: &Closed) {
        tracing::debug!(%peer, %why, "peer ended");
        self.links.remove(&peer);
        if let Closed::Violation(_) = why {
            match timeout(self.send_timeout, self.network.disconnect_peer(peer)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%peer, %error, "cannot disconnect"),
                Err(error) => tracing::debug!(%peer, %error, "cannot disconnect"),
            }
        }
    }

    async fn send(&mut self, peer: PeerId, frame: Frame) {
        let sent = match NetworkMessage::from_frame(frame) {
            Ok(message) => timeout(self.send_timeout, self.network.send_to(peer, message)).await,
            Err(error) => Ok(Err(error.into())),
        };
        if let Err(error) = sent.map_err(ClientError::from).flatten()
            && let Some(link) = self.links.remove(&peer)
        {
            link.fail(error);
        }
    }

    fn received(&mut self, peer: PeerId, message: NetworkMessage) {
        let is_reply =
            matches!(message, NetworkMessage::QRInfo(_) | NetworkMessage::MnListDiff(_) | NetworkMessage::Pong(_));
        match self.links.get(&peer).filter(|_| is_reply) {
            Some(link) if link.send(message.to_frame()) => {}
            Some(_) => {
                if let Some(link) = self.links.remove(&peer) {
                    link.fail("the peer sends more than it was asked for".into());
                }
            }
            None => (self.others)(peer, message),
        }
    }
}

impl<N, F> fmt::Debug for NamedDriver<N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedDriver").field("peers", &self.links.keys()).finish_non_exhaustive()
    }
}

/// The next message, after a pause. Safe to cancel, as the network's own call is.
async fn receive(
    network: &mut impl NamedNetworkManager,
    pause: Duration,
) -> Result<Option<(PeerId, NetworkMessage)>, ClientError> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    network.receive_from().await
}
