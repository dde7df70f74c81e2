use async_trait::async_trait;
use auto_impl::auto_impl;

use super::ClientError;
use crate::{
    chain::BlockHash,
    message::{GetQRInfo, NetworkMessage},
    stack::PeerId,
};

/// A client's connections to its peers, without the names of the peers.
///
/// It can be used as `Box<dyn NetworkManager>` and lent as `&mut dyn NetworkManager`; both are managers themselves.
///
/// ```
/// use qrinfo_core::{
///     BlockHash,
///     client::{ClientError, NetworkManager},
///     message::NetworkMessage,
/// };
///
/// async fn ask(network: &mut dyn NetworkManager) -> Result<Option<NetworkMessage>, ClientError> {
///     network.request_qr_info(Vec::new(), BlockHash::from_bytes([1; 32]), false).await?;
///     network.receive_message().await
/// }
/// ```
#[async_trait]
#[auto_impl(&mut, Box)]
pub trait NetworkManager: Send + Sync {
    /// Connects to peers.
    async fn connect(&mut self) -> Result<(), ClientError>;

    /// Ends all connections.
    async fn disconnect(&mut self) -> Result<(), ClientError>;

    /// Sends a message to *every* connected peer.
    ///
    /// Must be safe to cancel: a dropped call has sent either nothing or the whole message.
    async fn send_message(&mut self, message: NetworkMessage) -> Result<(), ClientError>;

    /// Returns the next message of any peer. `None` means that there is none for now: a manager may return it after a
    /// wait of its own, as dash-spv's does after 100 ms. Once all connections have ended it returns `None` at once, and
    /// [`is_connected`](Self::is_connected) distinguishes the two cases.
    ///
    /// The manager answers the pings of its peers itself.
    ///
    /// Must be safe to cancel: a dropped call has not taken a message. The driver drops and re-issues this call
    /// whenever it needs to send.
    async fn receive_message(&mut self) -> Result<Option<NetworkMessage>, ClientError>;

    /// Returns true if at least one peer is connected.
    fn is_connected(&self) -> bool;

    /// Returns the number of connected peers.
    fn peer_count(&self) -> usize;

    /// Returns the greatest height that a connected peer has announced.
    async fn get_peer_best_height(&self) -> Result<Option<u32>, ClientError>;

    /// Asks every peer for rotated quorums.
    async fn request_qr_info(
        &mut self,
        base_block_hashes: Vec<BlockHash>,
        block_hash: BlockHash,
        extra_share: bool,
    ) -> Result<(), ClientError> {
        self.send_message(NetworkMessage::GetQRInfo(GetQRInfo { base_block_hashes, block_hash, extra_share })).await
    }
}

/// A client's connections to its peers, each with its name.
///
/// A client that implements this as well sends each request to one peer, so that its peers share the work instead of
/// repeating it. It also sees a refusal after one round trip: a `ping` after each request, the fence, is answered
/// before any reply could be. For that, [`receive_from`](Self::receive_from) passes on the `pong`s to pings that were
/// sent through [`send_to`](Self::send_to).
#[async_trait]
#[auto_impl(&mut, Box)]
pub trait NamedNetworkManager: NetworkManager {
    /// The connected peers.
    fn peers(&self) -> Vec<PeerId>;

    /// Sends a message to one peer. Fails if that one is not connected.
    ///
    /// Must be safe to cancel, as [`send_message`](NetworkManager::send_message).
    async fn send_to(&mut self, peer: PeerId, message: NetworkMessage) -> Result<(), ClientError>;

    /// Returns the next message and its peer, in the order in which that peer sent its messages. It takes from the same
    /// messages as [`receive_message`](NetworkManager::receive_message), and the rules of that method apply. A manager
    /// that returns `None` when a peer joins or leaves makes that visible at once.
    async fn receive_from(&mut self) -> Result<Option<(PeerId, NetworkMessage)>, ClientError>;

    /// Returns the height that a connected peer has announced; `None`, the default, if it is not known.
    fn peer_height(&self, _peer: PeerId) -> Option<u32> {
        None
    }

    /// Ends the connection to a peer that broke the protocol. By default nothing happens, and the peer only gets no
    /// further requests.
    async fn disconnect_peer(&mut self, _peer: PeerId) -> Result<(), ClientError> {
        Ok(())
    }
}
