//! What an existing client brings along: its network and its storage.
//!
//! The traits have the shape of dash-spv's (mid-2025), so that a client can adopt this library without another
//! network stack. A client without one takes the peers of `spv-peer`.

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    BlockHash, PeerId,
    header::BlockHeader,
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

/// What outlives the process: headers, replies, the client's own state, and the peers not to ask.
///
/// A method that returns `Ok` has stored what it was given: it is there after a crash.
#[async_trait]
pub trait StorageManager: Send + Sync {
    /// The height of the newest header, or `None` while there is none.
    async fn get_tip_height(&self) -> Result<Option<u32>, ClientError>;

    /// The header at `height` on the best chain, or `None` where none is stored.
    async fn get_header(&self, height: u32) -> Result<Option<BlockHeader>, ClientError>;

    /// The hash of the header at `height` on the best chain, or `None` where none is stored.
    async fn get_header_hash(&self, height: u32) -> Result<Option<BlockHash>, ClientError>;

    /// The height of a header of the best chain, or `None` for a block that is not on it.
    async fn get_header_height_by_hash(&self, hash: &BlockHash) -> Result<Option<u32>, ClientError>;

    /// Stores headers with their hashes from height `first` on.
    ///
    /// Headers stored at or above `first` are replaced: a reorganisation; replies whose requested block goes with them
    /// are dropped. Fails if the headers would leave a gap behind those stored.
    async fn store_headers(&mut self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Result<(), ClientError>;

    /// Stores a cycle's reply, replacing an older one.
    async fn store_reply(&mut self, reply: &StoredReply) -> Result<(), ClientError>;

    /// The reply stored for the cycle that starts at `cycle_height`.
    async fn load_reply(&self, cycle_height: u32) -> Result<Option<StoredReply>, ClientError>;

    /// Keeps the masternode state, replacing what was kept before.
    async fn store_masternode_state(&mut self, state: &[u8]) -> Result<(), ClientError>;

    /// The masternode state as last kept.
    async fn load_masternode_state(&self) -> Result<Option<Vec<u8>>, ClientError>;

    /// Bans a peer, replacing an older ban.
    async fn ban_peer(&mut self, ban: &Ban) -> Result<(), ClientError>;

    /// The bans that last beyond `now`, in seconds since 1970.
    async fn bans(&self, now: u64) -> Result<Vec<Ban>, ClientError>;
}

/// A reply as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// The first block of the cycle that it brings.
    pub cycle_height: u32,
    /// The block that was asked for.
    pub block_hash: BlockHash,
    /// The `qrinfo` payload as the peer sent it.
    pub payload: Bytes,
}

/// A peer not to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The peer.
    pub peer: PeerId,
    /// When the ban ends, in seconds since 1970.
    pub until: u64,
    /// What the peer did.
    pub reason: String,
}
