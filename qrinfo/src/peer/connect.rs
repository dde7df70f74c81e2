use std::net::SocketAddr;

use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::{Connection, PeerConfig, PeerError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Peer, peer_over};

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

/// Starts the task that speaks with a peer over a connection without requests in flight. Dropping all clones of the
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
