use async_trait::async_trait;
use bytes::Bytes;

use super::ClientError;
use crate::{
    chain::{BlockHash, BlockHeader},
    stack::PeerId,
};

/// Persistent storage: headers, replies, the client's own state, and banned peers.
///
/// A method that returns `Ok` has stored its argument durably, also in the event of a crash.
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
    /// Headers stored at or above `first` are replaced (a reorganisation), and replies whose requested block is removed
    /// with them are dropped. Fails if the headers would leave a gap above the stored ones.
    async fn store_headers(&mut self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Result<(), ClientError>;

    /// Stores a cycle's reply, replacing an older one.
    async fn store_reply(&mut self, reply: &StoredReply) -> Result<(), ClientError>;

    /// The reply stored for the cycle that starts at `cycle_height`.
    async fn load_reply(&self, cycle_height: u32) -> Result<Option<StoredReply>, ClientError>;

    /// Deletes the reply stored for the cycle that starts at `cycle_height`, if there is one.
    async fn delete_reply(&mut self, cycle_height: u32) -> Result<(), ClientError>;

    /// Keeps the masternode state, replacing what was kept before.
    async fn store_masternode_state(&mut self, state: &[u8]) -> Result<(), ClientError>;

    /// The masternode state as last kept.
    async fn load_masternode_state(&self) -> Result<Option<Vec<u8>>, ClientError>;

    /// Bans a peer, replacing an older ban.
    async fn ban_peer(&mut self, ban: &Ban) -> Result<(), ClientError>;

    /// The bans that last beyond `now`, in seconds since 1970.
    async fn bans(&self, now: u64) -> Result<Vec<Ban>, ClientError>;
}

/// A stored reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// The first block of its cycle.
    pub cycle_height: u32,
    /// The requested block.
    pub block_hash: BlockHash,
    /// The `qrinfo` payload.
    pub payload: Bytes,
}

/// A banned peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The peer.
    pub peer: PeerId,
    /// The end of the ban, in seconds since 1970.
    pub until: u64,
    /// The reason.
    pub reason: String,
}
