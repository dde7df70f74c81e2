use std::{error::Error, future::Future, net::SocketAddr};

use futures_util::{Sink, Stream};
use qrinfo_core::{
    PeerId,
    wire::frame::{Frame, FrameEvent},
};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use spv_peer::{Connection, PeerConfig, PeerError};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument;

use super::Peer;

/// Connects to a node over TCP and starts the task that speaks with it. Dropping all clones of the returned peer ends
/// that task and the connection.
///
/// Must be called within a tokio runtime.
///
/// ```no_run
/// use qrinfo_correlate::CorrelatorConfig;
/// use qrinfo_core::Network;
/// use spv_peer::PeerConfig;
///
/// # async fn example() -> Result<(), spv_peer::PeerError> {
/// let address = ([127, 0, 0, 1], 19899).into();
/// let peer = qrinfo::connect(address, &PeerConfig::new(Network::Regtest, 0x5eed), CorrelatorConfig::default()).await?;
/// println!("{} has blocks up to {}", peer.id, peer.start_height);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PeerError`] if the node cannot be reached or is not one that can be used.
pub async fn connect(
    address: SocketAddr,
    config: &PeerConfig,
    correlator: CorrelatorConfig,
) -> Result<Peer<PeerService>, PeerError> {
    Ok(adopt(spv_peer::connect(address, config).await?, correlator))
}

/// Starts the task that speaks with a peer over a connection on which nothing is under way. Dropping all clones of the
/// returned peer ends that task and the connection.
///
/// Must be called within a tokio runtime.
pub fn adopt<Io>(connection: Connection<Io>, correlator: CorrelatorConfig) -> Peer<PeerService>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (id, start_height) = (connection.peer(), connection.start_height());
    let round_trip = connection.greeting_time();
    let (peer, driver) = peer_over(id, start_height, connection, correlator);
    tokio::spawn(async move {
        let why = driver.await;
        tracing::debug!(peer = %id, %why, "peer ended");
    });
    peer.with_round_trip(round_trip)
}

/// A peer that is spoken with over a transport, and the future that does it.
pub(crate) fn peer_over<T, E>(
    id: PeerId,
    start_height: u32,
    transport: T,
    correlator: CorrelatorConfig,
) -> (Peer<PeerService>, impl Future<Output = Closed> + Send + use<T, E>)
where
    T: Stream<Item = Result<FrameEvent, E>> + Sink<Frame, Error = E> + Unpin + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    #[cfg(feature = "parallel-qrinfo")]
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    // After the end of the sync there is no listener.
    #[cfg(feature = "parallel-qrinfo")]
    let observer = move |event| drop(sender.send(event));
    #[cfg(not(feature = "parallel-qrinfo"))]
    let observer = |_| {};
    let (service, driver) = PeerService::new(id, transport, correlator, observer);
    let peer = Peer::new(id, service, start_height);
    #[cfg(feature = "parallel-qrinfo")]
    let peer = peer.with_events(events);
    (peer, driver.instrument(tracing::debug_span!("peer", addr = %id)))
}
