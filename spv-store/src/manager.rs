use async_trait::async_trait;
use qrinfo_core::{
    BlockHash, BlockHeader,
    client::{Ban, ClientError, StorageManager, StoredReply},
};

use crate::{Store, error::Outcome};

impl Store {
    /// Runs a method on a thread for blocking work.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ClientError> {
        let store = self.clone();
        Ok(tokio::task::spawn_blocking(move || work(store)).await??)
    }
}

#[async_trait]
impl StorageManager for Store {
    async fn get_tip_height(&self) -> Result<Option<u32>, ClientError> {
        self.blocking(|store| store.tip_height()).await
    }

    async fn get_header(&self, height: u32) -> Result<Option<BlockHeader>, ClientError> {
        self.blocking(move |store| store.header(height)).await
    }

    async fn get_header_hash(&self, height: u32) -> Result<Option<BlockHash>, ClientError> {
        self.blocking(move |store| store.hash_at(height)).await
    }

    async fn get_header_height_by_hash(&self, hash: &BlockHash) -> Result<Option<u32>, ClientError> {
        let hash = *hash;
        self.blocking(move |store| store.height_of(&hash)).await
    }

    async fn store_headers(&mut self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Result<(), ClientError> {
        let headers = headers.to_vec();
        self.blocking(move |store| store.store_headers(first, &headers)).await
    }

    async fn store_reply(&mut self, reply: &StoredReply) -> Result<(), ClientError> {
        let reply = reply.clone();
        self.blocking(move |store| store.store_reply(&reply)).await
    }

    async fn load_reply(&self, cycle_height: u32) -> Result<Option<StoredReply>, ClientError> {
        self.blocking(move |store| store.reply(cycle_height)).await
    }

    async fn delete_reply(&mut self, cycle_height: u32) -> Result<(), ClientError> {
        self.blocking(move |store| store.delete_reply(cycle_height)).await
    }

    async fn store_masternode_state(&mut self, state: &[u8]) -> Result<(), ClientError> {
        let state = state.to_vec();
        self.blocking(move |store| store.store_masternode_state(&state)).await
    }

    async fn load_masternode_state(&self) -> Result<Option<Vec<u8>>, ClientError> {
        self.blocking(|store| store.masternode_state()).await
    }

    async fn ban_peer(&mut self, ban: &Ban) -> Result<(), ClientError> {
        let ban = ban.clone();
        self.blocking(move |store| store.ban(&ban)).await
    }

    async fn bans(&self, now: u64) -> Result<Vec<Ban>, ClientError> {
        self.blocking(move |store| store.bans(now)).await
    }
}
