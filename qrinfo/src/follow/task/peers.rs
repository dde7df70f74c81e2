//! The peers that join, leave, and are spoken to.

use std::time::Duration;

use qrinfo_core::{
    PeerId,
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::Connection;
use spv_pool::{Place, PoolEvent};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use super::{Task, now};
use crate::{
    Peer,
    follow::tap::{Session, Tap},
    nodes::{Ledger, on_one_line},
    peer::peer_over,
};

/// A connected peer.
pub(super) struct Link {
    pub(super) session: u64,
    service: PeerService,
    round_trip: Duration,
    orders: mpsc::UnboundedSender<Frame>,
    _place: Option<Place>,
}

// === impl Task: peers ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    pub(super) fn on_pool(&mut self, event: PoolEvent<Connection<Io>>) {
        match event {
            PoolEvent::Ready(place, connection) => {
                self.ledger.connected(place);
                self.adopt(connection);
            }
            event => note(&self.ledger, event),
        }
    }

    /// Starts to speak with a peer.
    pub(super) fn adopt(&mut self, connection: Connection<Io>) {
        let (peer, announced) = (connection.peer(), connection.start_height());
        let round_trip = connection.greeting_time();
        self.next_session += 1;
        let session = (peer, self.next_session);
        let (tap, orders) = Tap::new(connection, session, self.to_inbox.clone());
        let (service, driver) = peer_over(peer, announced, tap, CorrelatorConfig::default());
        let gone = self.to_gone.clone();
        tokio::spawn(async move {
            let why = driver.await;
            tracing::debug!(%peer, %why, "peer ended");
            // After the follower's end there is no listener.
            let _ = gone.send(session);
        });
        let link =
            Link { session: session.1, service: service.service, round_trip, orders, _place: self.ledger.used(peer) };
        self.links.insert(peer, link);
        self.tracker.join(peer);
        self.roster.join(peer, announced, round_trip, now());
        self.decider.retry();
        self.has_had_peers = true;
    }

    pub(super) fn on_gone(&mut self, (peer, session): Session) {
        if self.links.get(&peer).is_some_and(|link| link.session == session) {
            self.leave(peer, "the connection ended");
        }
    }

    pub(super) fn leave(&mut self, peer: PeerId, why: &str) {
        self.forget(peer);
        self.ledger.left(peer, why);
    }

    pub(super) fn ban(&mut self, peer: PeerId, why: &str) {
        // Its locks that wait may be true. If one is not, it is banned already.
        self.forget(peer);
        self.ledger.ban(peer, why);
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.links.remove(&peer);
        self.tracker.leave(peer);
        self.roster.leave(peer);
        self.checking.remove(&peer);
        let questions = self.wanted.leave(peer, now());
        self.ask_for_locks(questions);
    }

    pub(super) fn send(&self, peer: PeerId, command: Command, message: &impl Wire) {
        self.send_raw(peer, command, message.to_wire());
    }

    pub(super) fn send_raw(&self, peer: PeerId, command: Command, payload: bytes::Bytes) {
        if let Some(link) = self.links.get(&peer) {
            // If the connection has ended, that is heard of.
            let _ = link.orders.send(Frame { command, payload });
        }
    }

    pub(super) fn peer(&self, id: PeerId) -> Option<Peer<PeerService>> {
        let link = self.links.get(&id)?;
        let height = self.tracker.standing(id)?.shared;
        Some(Peer::new(id, link.service.clone(), height).with_round_trip(link.round_trip))
    }

    /// Returns `true` once two peers have told their tips, or the only one: the tip that was stored, or the checkpoint, is
    /// not agreed on before.
    pub(super) fn is_heard(&self) -> bool {
        self.tracker.known() >= self.roster.len().clamp(1, 2)
    }
}

/// Tells the ledger about a node that cannot be used.
pub(super) fn note<C>(ledger: &Ledger, event: PoolEvent<C>) {
    match event {
        PoolEvent::Failed(peer, error) => ledger.left(peer, &format!("cannot be used: {}", on_one_line(&error))),
        PoolEvent::Unresolved(host, error) => tracing::warn!(host, %error, "a host name does not resolve"),
        PoolEvent::Ready(..) | PoolEvent::Exhausted => {}
    }
}
