//! A client's network without a client.

mod link;

use std::{
    collections::BTreeMap,
    future::pending,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use qrinfo_core::{
    PeerId,
    client::{ClientError, NamedNetworkManager, NetworkManager},
    message::NetworkMessage,
};
use tokio::{
    sync::mpsc,
    time::{self, sleep},
};

use self::link::Link;
use crate::SimulatedPeer;

/// A [`NetworkManager`] whose peers are [`SimulatedPeer`]s. It can name them, so it is a [`NamedNetworkManager`] too.
///
/// It broadcasts, records what it is given to send, answers pings, and hands on what the peers send, each after the
/// time that its profile says. What goes wrong is set at the peers: silence, a disconnect, a delay or a false reply is a
/// [`Fault`](crate::Fault), scripted replies are [`Answers`](crate::Answers), and several peers make the copies of a
/// reply.
///
/// ```
/// use qrinfo_core::{PeerId, client::NetworkManager, message::NetworkMessage};
/// use spv_testkit::{Chain, Fault, MockNetworkManager, Recording, SimulatedPeer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
/// let mut network = MockNetworkManager::new();
/// for host in 1..=3 {
///     let node = SimulatedPeer::builder(chain.clone());
///     let node = if host == 1 { node.fault(.., Fault::Silent) } else { node };
///     network.add_peer(PeerId::Address(([203, 0, 113, host], 19899).into()), node.build());
/// }
/// network.connect().await?;
/// assert_eq!(network.peer_count(), 3);
///
/// let tip = chain.block(chain.tip()).map(|block| block.hash).ok_or("no tip")?;
/// network.request_qr_info(Vec::new(), tip, false).await?;
/// let mut copies = 0;
/// while copies < 2 {
///     copies += usize::from(matches!(network.receive_message().await?, Some(NetworkMessage::QRInfo(_))));
/// }
/// assert_eq!(network.sent().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(derive_more::Debug)]
pub struct MockNetworkManager {
    #[debug("{:?}", nodes.keys())]
    nodes: BTreeMap<PeerId, SimulatedPeer>,
    #[debug("{:?}", links.keys())]
    links: BTreeMap<PeerId, Link>,
    #[debug(skip)]
    sender: mpsc::UnboundedSender<Arrival>,
    #[debug(skip)]
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    #[debug("{}", sent.len())]
    sent: Vec<Sent>,
    patience: Option<Duration>,
}

/// A message that a [`MockNetworkManager`] was given to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The instant of sending.
    pub at: Instant,
    /// The receiving peer; `None` for all.
    pub to: Option<PeerId>,
    /// The message.
    pub message: NetworkMessage,
}

/// A message from a peer. `None` is the end of its connection.
type Arrival = (PeerId, Option<NetworkMessage>);

// === impl MockNetworkManager ===

impl MockNetworkManager {
    /// A network without peers.
    pub fn new() -> Self {
        let (sender, arrivals) = mpsc::unbounded_channel();
        Self { nodes: BTreeMap::new(), links: BTreeMap::new(), sender, arrivals, sent: Vec::new(), patience: None }
    }

    /// Adds a peer, to which [`connect`](NetworkManager::connect) then connects. It replaces one of the same name.
    pub fn add_peer(&mut self, id: PeerId, node: SimulatedPeer) {
        self.nodes.insert(id, node);
        self.links.remove(&id);
    }

    /// The peer of this name.
    pub fn peer(&self, id: PeerId) -> Option<&SimulatedPeer> {
        self.nodes.get(&id)
    }

    /// Sets the time that a call waits for a message before it returns `None` (100 ms in dash-spv's). By default a call
    /// waits until a message comes.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Returns the messages that it was given to send, in order.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    fn record(&mut self, to: Option<PeerId>, message: NetworkMessage) {
        self.sent.push(Sent { at: time::Instant::now().into_std(), to, message });
    }

    /// The next message; `None` after the patience, when a connection ends, and when there is none any more.
    async fn next(&mut self) -> Option<(PeerId, NetworkMessage)> {
        loop {
            let (peer, message) = match self.links.is_empty() {
                true => self.arrivals.try_recv().ok()?,
                false => tokio::select! {
                    biased;
                    arrival = self.arrivals.recv() => arrival?,
                    () = wait(self.patience) => return None,
                },
            };
            // What a peer sent before we left it is not handed on.
            if self.links.contains_key(&peer) {
                let Some(message) = message else {
                    self.links.remove(&peer);
                    return None;
                };
                return Some((peer, message));
            }
        }
    }
}

impl Default for MockNetworkManager {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl NetworkManager for MockNetworkManager {
    /// Connects to the peers that are not connected. Fails when none can be reached.
    async fn connect(&mut self) -> Result<(), ClientError> {
        let mut failed = None;
        for (id, node) in &self.nodes {
            if self.links.contains_key(id) {
                continue;
            }
            match link::connect(*id, node, self.sender.clone()).await {
                Ok(link) => drop(self.links.insert(*id, link)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if self.links.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    async fn disconnect(&mut self) -> Result<(), ClientError> {
        self.links.clear();
        while self.arrivals.try_recv().is_ok() {}
        Ok(())
    }

    async fn send_message(&mut self, message: NetworkMessage) -> Result<(), ClientError> {
        if self.links.is_empty() {
            return Err("no peer is connected".into());
        }
        for link in self.links.values() {
            link.send(&message);
        }
        self.record(None, message);
        Ok(())
    }

    async fn receive_message(&mut self) -> Result<Option<NetworkMessage>, ClientError> {
        Ok(self.next().await.map(|(_, message)| message))
    }

    fn is_connected(&self) -> bool {
        !self.links.is_empty()
    }

    fn peer_count(&self) -> usize {
        self.links.len()
    }

    async fn get_peer_best_height(&self) -> Result<Option<u32>, ClientError> {
        Ok(self.links.values().map(Link::start_height).max())
    }
}

#[async_trait]
impl NamedNetworkManager for MockNetworkManager {
    fn peers(&self) -> Vec<PeerId> {
        self.links.keys().copied().collect()
    }

    async fn send_to(&mut self, peer: PeerId, message: NetworkMessage) -> Result<(), ClientError> {
        self.links.get(&peer).ok_or("the peer is not connected")?.send(&message);
        self.record(Some(peer), message);
        Ok(())
    }

    async fn receive_from(&mut self) -> Result<Option<(PeerId, NetworkMessage)>, ClientError> {
        Ok(self.next().await)
    }

    fn peer_height(&self, peer: PeerId) -> Option<u32> {
        self.links.get(&peer).map(Link::start_height)
    }

    async fn disconnect_peer(&mut self, peer: PeerId) -> Result<(), ClientError> {
        self.links.remove(&peer);
        Ok(())
    }
}

async fn wait(patience: Option<Duration>) {
    match patience {
        Some(patience) => sleep(patience).await,
        None => pending().await,
    }
}
