use std::net::SocketAddr;

use qrinfo_core::PeerId;
use tokio::{net::TcpStream, time::timeout};

use crate::{Connection, PeerConfig, PeerError, handshake};

/// Connects to a node by TCP and shakes hands. Needs a tokio runtime with I/O and time.
///
/// Dropping the future closes the connection.
///
/// # Errors
/// [`PeerError::Connect`], [`PeerError::ConnectTimeout`], and the errors of [`handshake`].
pub async fn connect(address: SocketAddr, config: &PeerConfig) -> Result<Connection, PeerError> {
    let io = open(address, config).await?;
    handshake(io, PeerId::Address(address), config).await
}

async fn open(address: SocketAddr, config: &PeerConfig) -> Result<TcpStream, PeerError> {
    let io = timeout(config.connect_timeout, TcpStream::connect(address))
        .await
        .map_err(|_| PeerError::ConnectTimeout(config.connect_timeout))?
        .map_err(PeerError::Connect)?;
    // Requests are small and pipelined: Nagle's algorithm would hold one back until the one before is acknowledged.
    io.set_nodelay(true).map_err(PeerError::Connect)?;
    Ok(io)
}

#[cfg(test)]
mod tests {
    use qrinfo_core::Network;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_held_back_to_fill_a_segment() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let io = open(address, &PeerConfig::new(Network::Regtest, 1)).await.unwrap();
        assert!(io.nodelay().unwrap());
    }
}
