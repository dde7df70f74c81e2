use std::time::Duration;

use qrinfo_core::{
    PeerId,
    client::{ClientError, NamedNetworkManager},
    message::NetworkMessage,
    wire::frame::Frame,
};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use tokio::{
    select,
    task::coop::consume_budget,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::hub::{Hub, HubEvent};
use crate::peer::Peer;

/// The time between two looks at the peers that are still connected.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The wait when the network has no message for now and has not waited itself.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The driver of the peers of a network that names them; see [`by_name`](super::by_name).
#[must_use = "the peers do nothing unless their driver is run"]
#[derive(derive_more::Debug)]
pub struct NamedDriver<N, F> {
    #[debug(skip)]
    network: N,
    #[debug(skip)]
    others: F,
    send_timeout: Duration,
    hub: Hub,
}

// === impl NamedDriver ===

impl<N, F> NamedDriver<N, F>
where
    N: NamedNetworkManager,
    F: FnMut(PeerId, NetworkMessage),
{
    pub(super) fn new(network: N, config: CorrelatorConfig, others: F) -> (Vec<Peer<PeerService>>, Self) {
        let mut hub = Hub::new(config);
        let peers = network.peers().into_iter().map(|id| hub.join(id, network.peer_height(id).unwrap_or(0))).collect();
        (peers, Self { network, others, send_timeout: config.head_timeout, hub })
    }

    /// Serves the peers until none is left. A peer ends when it disconnects, when it breaks the protocol, or when all
    /// clones of its service are dropped and no caller waits for its reply. Returns the network, and the reason for
    /// which the last peer or the network ended; every request has ended by then.
    ///
    /// Dropping this future ends every request as well. Must be polled within a tokio runtime that has time enabled.
    pub async fn run(mut self) -> (N, Closed) {
        let closed = self.speak().await;
        self.hub.close(&closed).await;
        (self.network, closed)
    }

    async fn speak(&mut self) -> Closed {
        let mut closed = Closed::Unused;
        let mut next_check = Instant::now();
        let mut pause = Duration::ZERO;
        while !self.hub.is_empty() {
            // A network that always has a message must not keep other tasks waiting.
            consume_budget().await;
            if next_check <= Instant::now() {
                let peers = self.network.peers();
                self.hub.retain(|id| peers.contains(&id));
                next_check = Instant::now() + CONNECTION_CHECK_INTERVAL;
            }
            select! {
                biased;
                event = self.hub.next() => match event {
                    HubEvent::Send(peer, frame) => self.send(peer, frame).await,
                    HubEvent::Ended(peer, why) => {
                        self.ended(peer, &why).await;
                        closed = why;
                    }
                },
                received = receive(&mut self.network, pause) => match received {
                    Ok(Some((peer, message))) => {
                        if let Some(other) = self.hub.received(peer, message) {
                            (self.others)(peer, other);
                        }
                        pause = Duration::ZERO;
                    }
                    Ok(None) => {
                        next_check = Instant::now();
                        pause = IDLE_POLL_INTERVAL;
                    }
                    Err(error) => return Closed::transport(error),
                },
                () = sleep_until(next_check) => {}
            }
        }
        closed
    }

    async fn ended(&mut self, peer: PeerId, why: &Closed) {
        self.hub.retain(|id| id != peer);
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
        if let Err(error) = sent.map_err(ClientError::from).flatten() {
            self.hub.fail(peer, error);
        }
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
