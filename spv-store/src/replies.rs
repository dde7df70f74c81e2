use qrinfo_core::{BlockHash, client::StoredReply};
use redb::TableDefinition;

use crate::{Store, StoreError, error::Outcome};

/// First height of a cycle to the block that its reply was requested by. The reply itself is a file.
pub(crate) const BLOCKS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("reply_blocks");

// === impl Store: replies ===

impl Store {
    /// Stores the reply of a cycle. Replaces an older one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn store_reply(&self, reply: &StoredReply) -> Outcome<()> {
        let put = self.payloads().put(reply.cycle_height, &reply.payload);
        put.map_err(|error| StoreError::Write(Box::new(error)))?;
        self.change(|transaction| {
            transaction.open_table(BLOCKS)?.insert(reply.cycle_height, reply.block_hash.as_bytes())?;
            Ok(())
        })
    }

    /// The block that the stored reply of a cycle was requested by, or `None` if there is no reply.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn reply_block(&self, cycle_height: u32) -> Outcome<Option<BlockHash>> {
        let block_hash = self.read_if_there(BLOCKS, |blocks| {
            Ok(blocks.get(cycle_height)?.map(|block_hash| BlockHash::from_bytes(*block_hash.value())))
        })?;
        Ok(block_hash.flatten())
    }

    /// The stored reply of a cycle.
    ///
    /// Verify it like a reply from a peer, and [delete](Self::delete_reply) it if it is false: the file may have been
    /// changed, or the reply was verified at a lower level when it was stored.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn reply(&self, cycle_height: u32) -> Outcome<Option<StoredReply>> {
        let Some(block_hash) = self.reply_block(cycle_height)? else { return Ok(None) };
        let payload = self.payloads().get(cycle_height).map_err(|error| StoreError::Read(Box::new(error)))?;
        Ok(payload.map(|payload| StoredReply { cycle_height, block_hash, payload }))
    }

    /// Deletes the reply of a cycle, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn delete_reply(&self, cycle_height: u32) -> Outcome<()> {
        self.change(|transaction| {
            transaction.open_table(BLOCKS)?.remove(cycle_height)?;
            Ok(())
        })?;
        self.remove_payload(cycle_height);
        Ok(())
    }

    pub(crate) fn remove_payload(&self, cycle_height: u32) {
        self.payloads().remove(cycle_height);
    }
}
