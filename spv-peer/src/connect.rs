use std::{io, net::SocketAddr};

use qrinfo_core::PeerId;
use tokio::{net::TcpStream, time::timeout};
use tokio_socks::tcp::Socks5Stream;

use crate::{Connection, PeerConfig, PeerError, handshake};

/// Connects to a node by TCP and shakes hands. Needs a tokio runtime with I/O and time.
///
/// Dropping the future closes the connection.
///
/// # Errors
/// [`PeerError::Connect`], [`PeerError::ConnectTimeout`], and the errors of [`handshake`].
pub async fn connect(address: SocketAddr, config: &PeerConfig) -> Result<Connection, PeerError> {
    let io = within(config, open(address)).await?;
    handshake(io, address.into(), config).await
}

/// Connects to a node through a SOCKS5 proxy without a password, such as Tor's, and shakes hands.
///
/// A peer that has a name instead of an address is named to the proxy as `HOST:PORT`: nothing is resolved here. The
/// connect timeout covers the connection to the proxy and the proxy's to the node.
///
/// ```no_run
/// use qrinfo_core::Network;
/// use spv_peer::{PeerConfig, connect_through};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tor = "127.0.0.1:9050".parse()?;
/// let node = "seed.example.org:9999".parse()?;
/// let connection = connect_through(tor, node, &PeerConfig::new(Network::Mainnet, 42)).await?;
/// println!("{} is at {}", connection.peer(), connection.start_height());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PeerError::Proxy`] if the proxy does not answer or cannot connect, [`PeerError::BadHost`] for a name without a
/// port, [`PeerError::ConnectTimeout`], and the errors of [`handshake`].
pub async fn connect_through(proxy: SocketAddr, peer: PeerId, config: &PeerConfig) -> Result<Connection, PeerError> {
    let io = within(config, open_through(proxy, peer)).await?;
    handshake(io, peer, config).await
}

/// Bounds the time that a transport may take to connect.
async fn within(
    config: &PeerConfig,
    connecting: impl Future<Output = Result<TcpStream, PeerError>>,
) -> Result<TcpStream, PeerError> {
    let limit = config.connect_timeout;
    timeout(limit, connecting).await.map_err(|_| PeerError::ConnectTimeout(limit))?
}

async fn open(address: SocketAddr) -> Result<TcpStream, PeerError> {
    tcp(address).await.map_err(PeerError::Connect)
}

async fn open_through(proxy: SocketAddr, peer: PeerId) -> Result<TcpStream, PeerError> {
    let failed = |source| PeerError::Proxy { proxy, source };
    let socket = tcp(proxy).await.map_err(failed)?;
    let opened = match peer {
        PeerId::Address(address) => Socks5Stream::connect_with_socket(socket, address).await,
        PeerId::Name(name) => {
            let host = split(name.as_str()).ok_or(PeerError::BadHost(peer))?;
            Socks5Stream::connect_with_socket(socket, host).await
        }
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| failed(io::Error::other(error)))
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let io = TcpStream::connect(address).await?;
    // Requests are small and pipelined: Nagle's algorithm would hold one back until the one before is acknowledged.
    io.set_nodelay(true)?;
    Ok(io)
}

/// Splits `HOST:PORT`.
fn split(name: &str) -> Option<(&str, u16)> {
    let (host, port) = name.rsplit_once(':')?;
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_held_back_to_fill_a_segment() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        assert!(open(listener.local_addr().unwrap()).await.unwrap().nodelay().unwrap());
    }

    #[test]
    fn a_host_needs_a_port() {
        assert_eq!(split("seed.example.org:9999"), Some(("seed.example.org", 9999)));
        for name in ["seed.example.org", ":9999", "seed:", "seed:65536", "seed:-1"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
