//! What an existing client brings along: its network and its storage.
//!
//! The traits have the shape of dash-spv's (mid-2025), so that a client can adopt this library without another
//! network stack. A client without one takes the peers of `spv-peer`.

use std::error::Error;

use async_trait::async_trait;

use crate::{
    BlockHash,
    message::{GetQRInfo, NetworkMessage},
};

/// An error of the client's own network or storage.
pub type ClientError = Box<dyn Error + Send + Sync>;

/// A client's connections to its peers, without their names.
#[async_trait]
pub trait NetworkManager: Send + Sync {
    /// Connects to peers.
    async fn connect(&mut self) -> Result<(), ClientError>;

    /// Ends all connections.
    async fn disconnect(&mut self) -> Result<(), ClientError>;

    /// Sends a message to *every* connected peer.
    ///
    /// Must be safe to cancel: a dropped call has sent either nothing or the whole message.
    async fn send_message(&mut self, message: NetworkMessage) -> Result<(), ClientError>;

    /// The next message of any peer, or `None` when all connections have ended.
    ///
    /// Must be safe to cancel: a dropped call has not taken a message.
    async fn receive_message(&mut self) -> Result<Option<NetworkMessage>, ClientError>;

    /// Whether at least one peer is connected.
    fn is_connected(&self) -> bool;

    /// How many peers are connected.
    fn peer_count(&self) -> usize;

    /// The greatest height that a connected peer has announced.
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

/// A client's headers and its place for masternode state.
#[async_trait]
pub trait StorageManager: Send + Sync {
    /// The height of the newest header, or `None` while there is none.
    async fn get_tip_height(&self) -> Result<Option<u32>, ClientError>;

    /// The hash of the header at `height` on the best chain, or `None` beyond the tip.
    async fn get_header_hash(&self, height: u32) -> Result<Option<BlockHash>, ClientError>;

    /// The height of a header of the best chain, or `None` for a block that is not on it.
    async fn get_header_height_by_hash(&self, hash: &BlockHash) -> Result<Option<u32>, ClientError>;

    /// Keeps the masternode state, replacing what was kept before.
    async fn store_masternode_state(&mut self, state: &[u8]) -> Result<(), ClientError>;

    /// The masternode state as last kept.
    async fn load_masternode_state(&self) -> Result<Option<Vec<u8>>, ClientError>;
}
