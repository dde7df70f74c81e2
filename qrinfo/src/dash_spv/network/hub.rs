//! The peers of a network that names them, each spoken with over a link of its own.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use qrinfo_core::{PeerId, client::ClientError, message::NetworkMessage, wire::frame::Frame};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use tokio::{select, sync::mpsc, task::JoinSet};

use super::link::{LinkSender, Outbound, link};
use crate::peer::{Peer, peer_over};

/// Frames of all peers that may wait to be sent.
const OUTGOING: usize = 64;

/// Messages of a peer that may wait to be read beyond a reply and a pong for each of its slots: pongs to pings of the
/// client's own.
const SPARE: usize = 16;

/// Connects the peers' drivers with one network. The peers' timeouts run in tasks of their own, because a network may
/// take its time to send.
#[derive(derive_more::Debug)]
#[debug("Hub {{ peers: {:?} }}", self.links.keys())]
pub(super) struct Hub {
    config: CorrelatorConfig,
    links: BTreeMap<PeerId, LinkSender>,
    sender: mpsc::Sender<Outbound>,
    outgoing: mpsc::Receiver<Outbound>,
    /// Drivers that wait for a runtime.
    starting: Vec<(PeerId, BoxFuture<'static, Closed>)>,
    running: JoinSet<(PeerId, Closed)>,
}

/// A matter for the network.
pub(super) enum HubEvent {
    /// A frame is to be sent to a peer.
    Send(PeerId, Frame),
    /// The connection to a peer has ended here.
    Ended(PeerId, Closed),
}

// === impl Hub ===

impl Hub {
    pub(super) fn new(config: CorrelatorConfig) -> Self {
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        Self { config, links: BTreeMap::new(), sender, outgoing, starting: Vec::new(), running: JoinSet::new() }
    }

    /// Makes a peer of one that has joined. An earlier connection of that name ends.
    pub(super) fn join(&mut self, id: PeerId, height: u32) -> Peer<PeerService> {
        let capacity = self.config.depth.get().saturating_mul(2).saturating_add(SPARE);
        let (link_sender, transport) = link(id, capacity, self.sender.clone());
        let (peer, driver) = peer_over(id, height, transport, self.config);
        self.links.insert(id, link_sender);
        self.starting.push((id, Box::pin(driver)));
        peer
    }

    /// Ends the connections to all peers but these.
    pub(super) fn retain(&mut self, stays: impl Fn(PeerId) -> bool) {
        self.links.retain(|id, _| stays(*id));
    }

    /// Ends the connection to a peer for a reason.
    pub(super) fn fail(&mut self, peer: PeerId, why: ClientError) {
        if let Some(link) = self.links.remove(&peer) {
            link.fail(why);
        }
    }

    /// Hands a message to its peer. One that answers nothing that was asked here is given back.
    pub(super) fn received(&mut self, peer: PeerId, message: NetworkMessage) -> Option<NetworkMessage> {
        let is_reply =
            matches!(message, NetworkMessage::QRInfo(_) | NetworkMessage::MnListDiff(_) | NetworkMessage::Pong(_));
        let Some(link) = self.links.get(&peer).filter(|_| is_reply) else { return Some(message) };
        if !link.send(message.to_frame()) {
            self.fail(peer, "the peer sends more than it was asked for".into());
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.starting.is_empty()
    }

    /// The next matter for the network; none while there is no peer. Safe to cancel. Must be polled within a tokio
    /// runtime that has time enabled.
    pub(super) async fn next(&mut self) -> HubEvent {
        for (peer, driver) in self.starting.drain(..) {
            self.running.spawn(async move { (peer, driver.await) });
        }
        loop {
            select! {
                biased;
                // A driver does not panic; if one did, its peer would only be silent.
                Some(ended) = self.running.join_next() => if let Ok((peer, why)) = ended {
                    tracing::debug!(%peer, %why, "peer ended");
                    return HubEvent::Ended(peer, why);
                },
                Some((peer, frame)) = self.outgoing.recv() => return HubEvent::Send(peer, frame),
            }
        }
    }

    /// Ends every connection, for this reason if the network failed, and waits until every request has ended.
    pub(super) async fn close(&mut self, why: &Closed) {
        for (_, link) in std::mem::take(&mut self.links) {
            if let Closed::Transport(error) = why {
                link.fail(ClientError::from(error.clone()));
            }
        }
        self.starting.clear();
        self.outgoing.close();
        while self.running.join_next().await.is_some() {}
    }
}
