//! Storage in memory, and what every storage has to do.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, HEADER_LEN, PeerId,
    client::{Ban, ClientError, StorageManager, StoredReply},
};

/// A [`StorageManager`] that forgets everything when it is dropped.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorageManager {
    headers: BTreeMap<u32, (BlockHeader, BlockHash)>,
    replies: BTreeMap<u32, StoredReply>,
    bans: BTreeMap<PeerId, Ban>,
    state: Option<Vec<u8>>,
}

#[async_trait]
impl StorageManager for MemoryStorageManager {
    async fn get_tip_height(&self) -> Result<Option<u32>, ClientError> {
        Ok(self.headers.last_key_value().map(|(height, _)| *height))
    }

    async fn get_header(&self, height: u32) -> Result<Option<BlockHeader>, ClientError> {
        Ok(self.headers.get(&height).map(|(header, _)| *header))
    }

    async fn get_header_hash(&self, height: u32) -> Result<Option<BlockHash>, ClientError> {
        Ok(self.headers.get(&height).map(|(_, hash)| *hash))
    }

    async fn get_header_height_by_hash(&self, hash: &BlockHash) -> Result<Option<u32>, ClientError> {
        Ok(self.headers.iter().find(|(_, (_, stored))| stored == hash).map(|(height, _)| *height))
    }

    async fn store_headers(&mut self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Result<(), ClientError> {
        if let (Some((lowest, _)), Some((tip, _))) = (self.headers.first_key_value(), self.headers.last_key_value())
            && !(*lowest..=tip.saturating_add(1)).contains(&first)
        {
            return Err(format!("headers from height {first} on leave a gap: {lowest} to {tip} are stored").into());
        }
        drop(self.headers.split_off(&first));
        self.headers.extend((first..).zip(headers.iter().copied()));
        let Self { headers, replies, .. } = self;
        replies.retain(|_, reply| headers.values().any(|(_, hash)| *hash == reply.block_hash));
        Ok(())
    }

    async fn store_reply(&mut self, reply: &StoredReply) -> Result<(), ClientError> {
        self.replies.insert(reply.cycle_height, reply.clone());
        Ok(())
    }

    async fn load_reply(&self, cycle_height: u32) -> Result<Option<StoredReply>, ClientError> {
        Ok(self.replies.get(&cycle_height).cloned())
    }

    async fn delete_reply(&mut self, cycle_height: u32) -> Result<(), ClientError> {
        self.replies.remove(&cycle_height);
        Ok(())
    }

    async fn store_masternode_state(&mut self, state: &[u8]) -> Result<(), ClientError> {
        self.state = Some(state.to_vec());
        Ok(())
    }

    async fn load_masternode_state(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.state.clone())
    }

    async fn ban_peer(&mut self, ban: &Ban) -> Result<(), ClientError> {
        self.bans.insert(ban.peer, ban.clone());
        Ok(())
    }

    async fn bans(&self, now: u64) -> Result<Vec<Ban>, ClientError> {
        Ok(self.bans.values().filter(|ban| ban.until > now).cloned().collect())
    }
}

/// Checks that an empty storage keeps the contract of [`StorageManager`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// spv_testkit::storage::check(spv_testkit::storage::MemoryStorageManager::default()).await;
/// # }
/// ```
///
/// # Panics
/// If it does not.
pub async fn check(mut storage: impl StorageManager) {
    check_all(&mut storage).await.unwrap_or_else(|error| panic!("storage failed: {error}"));
}

async fn check_all(storage: &mut impl StorageManager) -> Result<(), ClientError> {
    assert_eq!((storage.get_tip_height().await?, storage.get_header_hash(0).await?), (None, None));

    storage.store_headers(100, &headers(100..160, 1)).await?;
    storage.store_headers(160, &headers(160..170, 1)).await?;
    assert_eq!(storage.get_tip_height().await?, Some(169));
    assert_eq!(storage.get_header(169).await?, Some(header(169, 1).0));
    assert_eq!(storage.get_header_hash(100).await?, Some(header(100, 1).1));
    assert_eq!(storage.get_header_hash(99).await?, None);
    assert_eq!(storage.get_header_height_by_hash(&header(150, 1).1).await?, Some(150));
    for gap in [99, 171] {
        assert!(storage.store_headers(gap, &headers(gap..gap + 3, 1)).await.is_err(), "a gap at {gap}");
    }
    assert_eq!(storage.get_tip_height().await?, Some(169));

    let reply =
        |cycle_height, block_hash| StoredReply { cycle_height, block_hash, payload: Bytes::from(vec![7; 5000]) };
    let (stays, goes) = (reply(96, header(119, 1).1), reply(144, header(167, 1).1));
    for reply in [&reply(96, header(118, 1).1), &stays, &goes] {
        storage.store_reply(reply).await?;
    }
    assert_eq!(storage.load_reply(96).await?.as_ref(), Some(&stays), "the newer one replaces the older");
    assert_eq!(storage.load_reply(120).await?, None);

    // A reorganisation takes its headers, and replies for them, away.
    storage.store_headers(140, &headers(140..145, 2)).await?;
    assert_eq!(storage.get_tip_height().await?, Some(144));
    assert_eq!(storage.get_header_hash(139).await?, Some(header(139, 1).1));
    assert_eq!(storage.get_header_hash(140).await?, Some(header(140, 2).1));
    for gone in [140, 169] {
        assert_eq!(storage.get_header_height_by_hash(&header(gone, 1).1).await?, None);
    }
    assert_eq!(storage.load_reply(96).await?, Some(stays));
    assert_eq!(storage.load_reply(144).await?, None);
    storage.delete_reply(96).await?;
    storage.delete_reply(96).await?;
    assert_eq!(storage.load_reply(96).await?, None);

    assert_eq!(storage.load_masternode_state().await?, None);
    storage.store_masternode_state(b"old").await?;
    storage.store_masternode_state(b"new").await?;
    assert_eq!(storage.load_masternode_state().await?.as_deref(), Some(&b"new"[..]));

    let ban = |until| Ban { peer: PeerId::Address(([127, 0, 0, 1], 9).into()), until, reason: "a false list".into() };
    storage.ban_peer(&ban(50)).await?;
    storage.ban_peer(&ban(100)).await?;
    assert_eq!((storage.bans(99).await?, storage.bans(100).await?), (vec![ban(100)], vec![]));
    Ok(())
}

/// Headers of a branch, each of which names the one before it. The first one forks off from branch 1.
fn headers(heights: std::ops::Range<u32>, branch: u8) -> Vec<(BlockHeader, BlockHash)> {
    let first = heights.start;
    let parent = |height: u32| hash(height.saturating_sub(1), if height == first { 1 } else { branch });
    heights.map(|height| (header_after(parent(height), height), hash(height, branch))).collect()
}

fn header(height: u32, branch: u8) -> (BlockHeader, BlockHash) {
    (header_after(hash(height.saturating_sub(1), branch), height), hash(height, branch))
}

fn header_after(parent: BlockHash, height: u32) -> BlockHeader {
    let mut bytes = [height as u8; HEADER_LEN];
    bytes[4..36].copy_from_slice(parent.as_bytes());
    BlockHeader::from_bytes(bytes)
}

fn hash(height: u32, branch: u8) -> BlockHash {
    let mut hash = [branch; 32];
    hash[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_bytes(hash)
}
