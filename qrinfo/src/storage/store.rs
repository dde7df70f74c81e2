use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use qrinfo_core::{
    BlockHash, Network,
    client::{Ban, ClientError, StorageManager, StoredReply},
    header::BlockHeader,
};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::{StoreError, held_file::HeldFile, replies::Replies};

/// The format written here. A file of a newer one is refused, never changed.
const FORMAT: u64 = 1;

/// `format` and `network`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Height to header and hash (the hash is slow to compute).
const HEADERS: TableDefinition<'_, u32, (&[u8; 80], &[u8; 32])> = TableDefinition::new("headers");
/// Hash to height.
const HEIGHTS: TableDefinition<'_, &[u8; 32], u32> = TableDefinition::new("heights");
/// Cycle to requested block. The reply itself is a file.
const REPLIES: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("reply_blocks");
/// Peer to the time its ban ends and the reason.
const BANS: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("bans");
/// The client's own state.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Headers, replies, bans and masternode state of one network in a directory.
///
/// Clones share the files. Methods block for as long as the disk takes; call them from `spawn_blocking` where that
/// matters.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    replies: Arc<Replies>,
    path: PathBuf,
}

type Outcome<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens the store of `network` in `directory`; makes both if they are not there. Reads all of the database, to
    /// find damage before anything is used or changed: about a second for all headers of mainnet.
    ///
    /// # Errors
    /// [`StoreError`], one variant for each thing that can be wrong with the directory or the file. After any of them
    /// the file is as it was.
    pub fn open(directory: &Path, network: Network) -> Outcome<Self> {
        let path = directory.join(format!("{network}.redb"));
        let cannot_open = |source| StoreError::Open { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(cannot_open)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let held = HeldFile::new(file.map_err(cannot_open)?).map_err(|error| open_error(&path, error))?;
        let database = redb::Builder::new()
            .set_check_integrity_on_open(true)
            .create_with_backend(held.clone())
            .map_err(|error| open_error(&path, error))?;
        let replies = Arc::new(Replies::new(directory.join(format!("{network}-replies"))));
        let store = Self { database: Arc::new(database), replies, path: path.clone() };
        store.check_format(network)?;
        held.release().map_err(cannot_open)?;
        Ok(store)
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_format(&self, network: Network) -> Outcome<()> {
        let magic = u64::from(u32::from_le_bytes(network.magic()));
        let stored = self.read_if_there(META, |meta| {
            let number = |key| Ok::<_, redb::StorageError>(meta.get(key)?.map(|value| value.value()));
            Ok((number("format")?, number("network")?))
        });
        let damaged = |error| StoreError::Damaged { path: self.path.clone(), source: Box::new(error) };
        match stored.map_err(damaged)? {
            Some((Some(found), _)) if found > FORMAT => {
                Err(StoreError::NewerFormat { path: self.path.clone(), found, supported: FORMAT })
            }
            Some((Some(_), Some(found))) if found != magic => {
                Err(StoreError::OtherNetwork { path: self.path.clone(), expected: network })
            }
            Some((Some(_), Some(_))) => Ok(()),
            _ => self.write(|transaction| {
                let mut meta = transaction.open_table(META)?;
                meta.insert("format", FORMAT)?;
                meta.insert("network", magic)?;
                Ok(())
            }),
        }
    }

    /// The height of the newest header.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn tip_height(&self) -> Outcome<Option<u32>> {
        let tip = self.read_if_there(HEADERS, |headers| Ok(headers.last()?.map(|(height, _)| height.value())))?;
        Ok(tip.flatten())
    }

    /// The height of the oldest header.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn first_height(&self) -> Outcome<Option<u32>> {
        let first = self.read_if_there(HEADERS, |headers| Ok(headers.first()?.map(|(height, _)| height.value())))?;
        Ok(first.flatten())
    }

    /// The header at a height.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn header(&self, height: u32) -> Outcome<Option<BlockHeader>> {
        let header = self.read_if_there(HEADERS, |headers| {
            Ok(headers.get(height)?.map(|entry| BlockHeader::from_bytes(*entry.value().0)))
        })?;
        Ok(header.flatten())
    }

    /// The hash of the header at a height.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn hash_at(&self, height: u32) -> Outcome<Option<BlockHash>> {
        let hash = self.read_if_there(HEADERS, |headers| {
            Ok(headers.get(height)?.map(|entry| BlockHash::from_bytes(*entry.value().1)))
        })?;
        Ok(hash.flatten())
    }

    /// The height of a header on the chain stored.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn height_of(&self, hash: &BlockHash) -> Outcome<Option<u32>> {
        let height =
            self.read_if_there(HEIGHTS, |heights| Ok(heights.get(hash.as_bytes())?.map(|entry| entry.value())))?;
        Ok(height.flatten())
    }

    /// Shows all headers with their heights and hashes, from the oldest on, until `visit` gives false.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn visit_headers(&self, mut visit: impl FnMut(u32, BlockHeader, BlockHash) -> bool) -> Outcome<()> {
        self.read_if_there(HEADERS, |headers| {
            for entry in headers.iter()? {
                let (height, value) = entry?;
                let (header, hash) = value.value();
                if !visit(height.value(), BlockHeader::from_bytes(*header), BlockHash::from_bytes(*hash)) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Stores headers and their hashes from height `first` on. Headers stored at or above `first` are replaced: a
    /// reorganisation. Replies whose requested block is gone with them are dropped.
    ///
    /// # Errors
    /// [`StoreError::Gap`] if they do not follow what is stored, [`StoreError::Write`].
    pub fn store_headers(&self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Outcome<()> {
        let tip = self.tip_height()?;
        let lowest = self.first_height()?;
        let follows = tip.is_none_or(|tip| first <= tip.saturating_add(1)) && lowest.is_none_or(|low| first >= low);
        if !follows {
            return Err(StoreError::Gap { first, tip });
        }
        self.write(|transaction| {
            let mut by_height = transaction.open_table(HEADERS)?;
            let mut heights = transaction.open_table(HEIGHTS)?;
            let mut gone = Vec::new();
            for entry in by_height.extract_from_if(first.., |_, _| true)? {
                gone.push(*entry?.1.value().1);
            }
            for hash in &gone {
                heights.remove(hash)?;
            }
            for (height, (header, hash)) in (first..).zip(headers) {
                by_height.insert(height, (header.as_bytes(), hash.as_bytes()))?;
                heights.insert(hash.as_bytes(), height)?;
            }
            let mut lost = Vec::new();
            if !gone.is_empty() {
                let mut replies = transaction.open_table(REPLIES)?;
                let mut failed = None;
                replies.retain(|cycle_height, block_hash| match heights.get(block_hash) {
                    Ok(Some(_)) => true,
                    Ok(None) => {
                        lost.push(cycle_height);
                        false
                    }
                    Err(error) => {
                        failed = Some(error);
                        true
                    }
                })?;
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
            Ok(lost)
        })
        .map(|lost| lost.into_iter().for_each(|cycle_height| self.replies.remove(cycle_height)))
    }

    /// Stores a cycle's reply, replacing an older one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn store_reply(&self, reply: &StoredReply) -> Outcome<()> {
        let put = self.replies.put(reply.cycle_height, &reply.payload);
        put.map_err(|error| StoreError::Write(Box::new(error)))?;
        self.write(|transaction| {
            transaction.open_table(REPLIES)?.insert(reply.cycle_height, reply.block_hash.as_bytes())?;
            Ok(())
        })
    }

    /// The block that a cycle's reply was asked for by, if there is a reply.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn reply_block(&self, cycle_height: u32) -> Outcome<Option<BlockHash>> {
        let block_hash = self.read_if_there(REPLIES, |replies| {
            Ok(replies.get(cycle_height)?.map(|block_hash| BlockHash::from_bytes(*block_hash.value())))
        })?;
        Ok(block_hash.flatten())
    }

    /// A cycle's reply, as it is stored. It is to be verified as one that comes from a peer, and
    /// [deleted](Self::delete_reply) if it fails: the file may have been changed since, or the reply was only verified
    /// at a lower level.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn reply(&self, cycle_height: u32) -> Outcome<Option<StoredReply>> {
        let Some(block_hash) = self.reply_block(cycle_height)? else { return Ok(None) };
        let payload = self.replies.get(cycle_height).map_err(|error| StoreError::Read(Box::new(error)))?;
        Ok(payload.map(|payload| StoredReply { cycle_height, block_hash, payload }))
    }

    /// Deletes a cycle's reply, if there is one: it turned out to be false, and is to be asked for again.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn delete_reply(&self, cycle_height: u32) -> Outcome<()> {
        self.write(|transaction| {
            transaction.open_table(REPLIES)?.remove(cycle_height)?;
            Ok(())
        })?;
        self.replies.remove(cycle_height);
        Ok(())
    }

    /// Bans a peer, replacing an older ban.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn ban(&self, ban: &Ban) -> Outcome<()> {
        self.write(|transaction| {
            let mut bans = transaction.open_table(BANS)?;
            bans.insert(ban.peer.to_string().as_str(), (ban.until, ban.reason.as_str()))?;
            Ok(())
        })
    }

    /// The bans that last beyond `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn bans(&self, now: u64) -> Outcome<Vec<Ban>> {
        let bans = self.read_if_there(BANS, |bans| {
            let mut found = Vec::new();
            for entry in bans.iter()? {
                let (peer, value) = entry?;
                let (until, reason) = value.value();
                // A peer that does not read back would be one that this version cannot connect to either.
                if let (true, Ok(peer)) = (until > now, peer.value().parse()) {
                    found.push(Ban { peer, until, reason: reason.to_owned() });
                }
            }
            Ok(found)
        })?;
        Ok(bans.unwrap_or_default())
    }

    /// Stores the client's masternode state, replacing an older one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn store_masternode_state(&self, state: &[u8]) -> Outcome<()> {
        self.write(|transaction| {
            transaction.open_table(STATE)?.insert("masternodes", state)?;
            Ok(())
        })
    }

    /// The masternode state as last stored.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn masternode_state(&self) -> Outcome<Option<Vec<u8>>> {
        let read =
            |states: redb::ReadOnlyTable<_, &[u8]>| Ok(states.get("masternodes")?.map(|entry| entry.value().to_vec()));
        Ok(self.read_if_there(STATE, read)?.flatten())
    }

    /// Runs a method where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ClientError> {
        let store = self.clone();
        Ok(tokio::task::spawn_blocking(move || work(store)).await??)
    }

    /// Reads from a table, or gives `None` while it does not exist.
    fn read_if_there<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        table: TableDefinition<'_, K, V>,
        read: impl FnOnce(redb::ReadOnlyTable<K, V>) -> Result<T, redb::StorageError>,
    ) -> Outcome<Option<T>> {
        let fail = |error: redb::Error| StoreError::Read(Box::new(error));
        let transaction = self.database.begin_read().map_err(|error| fail(error.into()))?;
        match transaction.open_table(table) {
            Ok(table) => read(table).map(Some).map_err(|error| fail(error.into())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Makes one durable change; nothing of it is there if it fails.
    fn write<T>(&self, change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>) -> Outcome<T> {
        let run = || {
            let transaction = self.database.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok::<_, redb::Error>(value)
        };
        run().map_err(|error| StoreError::Write(Box::new(error)))
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

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path),
        DatabaseError::Storage(redb::StorageError::Io(source)) if !is_of_the_content(&source) => {
            StoreError::Open { path, source }
        }
        other => StoreError::Damaged { path, source: Box::new(other) },
    }
}

/// Whether an error of reading says that the bytes are wrong, and not that the disk failed.
fn is_of_the_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::*;

    /// A disk of limited size that outlives its database.
    #[derive(Debug, Clone, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        limit: Arc<AtomicU64>,
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.lock().unwrap().len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let start = offset as usize;
            out.copy_from_slice(&self.bytes.lock().unwrap()[start..start + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            if len > self.limit.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.lock().unwrap().resize(len as usize, 0);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let start = offset as usize;
            self.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
            Ok(())
        }
    }

    fn open(disk: &Disk) -> Store {
        let database = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
        let replies = Arc::new(Replies::new("disk-replies".into()));
        let store = Store { database: Arc::new(database), replies, path: "disk".into() };
        store.check_format(Network::Regtest).unwrap();
        store
    }

    #[test]
    fn a_full_disk_is_one_clear_error_and_loses_nothing() {
        let disk = Disk::default();
        disk.limit.store(4 << 20, Ordering::Relaxed);
        let state = |size: usize| vec![size as u8; size << 10];
        let store = open(&disk);
        store.store_masternode_state(&state(1)).unwrap();
        let full = (1..20).map(|size| size * 100);
        let full = full.map(|size| (size, store.store_masternode_state(&state(size))));
        let (refused, error) =
            full.into_iter().find_map(|(size, result)| result.err().map(|error| (size, error))).unwrap();
        assert!(matches!(error, StoreError::Write(_)), "{error}");
        assert!(refused > 300, "{refused}");
        drop(store);

        let store = open(&disk);
        assert_eq!(store.masternode_state().unwrap(), Some(state(refused - 100)));
        disk.limit.store(64 << 20, Ordering::Relaxed);
        store.store_masternode_state(&state(refused)).unwrap();
    }
}
