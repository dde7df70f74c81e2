use std::net::SocketAddr;

use futures_util::{FutureExt, future::BoxFuture, sink::SinkExt};
use qrinfo_core::{
    PeerId,
    wire::frame::{Command, Frame},
};
use spv_peer::{AddressSender, Connection, PeerConfig, PeerError, connect, connect_through};
use tokio::net::TcpStream;

/// An order to connect to a peer.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The peer.
    pub peer: PeerId,
    /// The channel for the addresses that the peer names; `None` where they are not used.
    pub addresses: Option<AddressSender>,
    /// Asks the peer for addresses, because few candidates are left.
    pub asks_for_addresses: bool,
}

/// Connects to peers by TCP, for [`start`](crate::start). With a proxy every connection goes through it; without one a
/// peer that has a name and no address fails with [`PeerError::NeedsProxy`].
///
/// Each connection draws a nonce of its own; the one in `config` is not used.
///
/// ```no_run
/// use qrinfo_core::Network;
/// use spv_peer::PeerConfig;
///
/// let config = PeerConfig::new(Network::Mainnet, 0);
/// let through_tor = spv_pool::dialer(config, Some(([127, 0, 0, 1], 9050).into()));
/// # drop(through_tor);
/// ```
pub fn dialer(
    config: PeerConfig,
    proxy: Option<SocketAddr>,
) -> impl FnMut(Dial) -> BoxFuture<'static, Result<Connection<TcpStream>, PeerError>> {
    move |dial| tcp(PeerConfig { nonce: fastrand::u64(..), ..config.clone() }, proxy, dial).boxed()
}

async fn tcp(config: PeerConfig, proxy: Option<SocketAddr>, dial: Dial) -> Result<Connection, PeerError> {
    let mut connection = match (proxy, dial.peer) {
        (Some(proxy), peer) => connect_through(proxy, peer, &config).await?,
        (None, PeerId::Address(address)) => connect(address, &config).await?,
        (None, peer) => return Err(PeerError::NeedsProxy(peer)),
    };
    if let Some(addresses) = dial.addresses {
        connection.send_addresses_to(addresses);
        if dial.asks_for_addresses {
            // It leaves with the first request, so that nothing waits for it.
            connection.feed(Frame { command: Command::GET_ADDR, payload: Default::default() }).await?;
        }
    }
    Ok(connection)
}
