use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use qrinfo_core::{
    BlockHash,
    client::StoredReply,
    wire::frame::{Command, max_payload},
};
use redb::TableDefinition;

use crate::{Store, StoreError, store::Outcome};

/// First height of a cycle to the block that its reply was requested by. The reply itself is a file.
pub(crate) const BLOCKS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("reply_blocks");

/// Payloads of replies in a directory, one file for each cycle.
///
/// They are not in the database: a payload is verified when it is used, so damage costs one reply and not the store.
#[derive(Debug)]
pub(crate) struct Payloads {
    directory: PathBuf,
}

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

// === impl Payloads ===

impl Payloads {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes a payload. After a crash either the old payload is there or the new one.
    fn put(&self, cycle_height: u32, payload: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let fresh = self.directory.join("fresh");
        let mut file = File::create(&fresh)?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path(cycle_height))?;
        sync_directory(&self.directory)
    }

    /// The payload of a cycle, or `None` if its file is missing or longer than a reply can be.
    fn get(&self, cycle_height: u32) -> io::Result<Option<Bytes>> {
        let limit = max_payload(Command::QR_INFO);
        let mut payload = Vec::new();
        match File::open(self.path(cycle_height)) {
            Ok(file) => file.take(limit as u64 + 1).read_to_end(&mut payload)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((payload.len() <= limit).then(|| payload.into()))
    }

    /// Deletes a payload that the database no longer names. It is never read again, so a failure is not an error.
    fn remove(&self, cycle_height: u32) {
        if let Err(error) = fs::remove_file(self.path(cycle_height)) {
            tracing::debug!(cycle_height, %error, "cannot delete the file of a reply");
        }
    }

    fn path(&self, cycle_height: u32) -> PathBuf {
        self.directory.join(format!("{cycle_height}.qrinfo"))
    }
}

/// Makes a new name in a directory durable. On systems other than Unix this is up to the system.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
