use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use qrinfo_core::Network;
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};

use crate::{StoreError, error::Outcome, held_file::HeldFile, index::Index, payloads::Payloads};

/// The format that this version reads and writes. A file of another format is refused and not changed.
const FORMAT: u64 = 2;

/// Pages that the database keeps in memory, in bytes. Each header is written once, and read once in most runs, so a small
/// cache is enough.
const CACHE: usize = 1 << 20;

/// `format` and `network`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Headers, replies, bans, good peers and masternode state of one network in a directory.
///
/// Clones share the files. Methods block while the disk works. Call them from `spawn_blocking` where that matters.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    payloads: Payloads,
    index: Mutex<Index>,
    path: PathBuf,
}

// === impl Store ===

impl Store {
    /// Opens the store of `network` in `directory`, and creates both if they are missing.
    ///
    /// Reads the whole database first, to find damage before any data is used or changed. This takes about half a
    /// second for all headers of mainnet.
    ///
    /// # Errors
    /// [`StoreError`], with a variant for each problem of the directory and the file. The file is not changed then.
    pub fn open(directory: &Path, network: Network) -> Outcome<Self> {
        let path = directory.join(format!("{network}.redb"));
        let cannot_open = |source| StoreError::Open { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(cannot_open)?;
        let replies = directory.join(format!("{network}-replies"));
        if fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
            // A database that is cut off while it is made cannot be opened, so it is made under another name.
            let unfinished = directory.join(format!("{network}.redb.{}", process::id()));
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_open(error)),
                _ => {}
            }
            drop(Self::open_file(&unfinished, network, replies.clone())?);
            put_in_place(&unfinished, &path).map_err(cannot_open)?;
        }
        Self::open_file(&path, network, replies)
    }

    fn open_file(path: &Path, network: Network, replies: PathBuf) -> Outcome<Self> {
        let cannot_open = |source| StoreError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let held = HeldFile::new(file.map_err(cannot_open)?).map_err(|error| open_error(path, error))?;
        let store = Self::with_backend(held.clone(), path.to_owned(), replies)?;
        store.check_format(network)?;
        held.release().map_err(cannot_open)?;
        Ok(store)
    }

    /// Opens the store of `network` on another medium than a file, such as a simulated disk that fails. Replies go to
    /// files in the directory `replies`.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open). The medium may be changed then.
    #[doc(hidden)]
    pub fn open_on(backend: impl redb::StorageBackend, network: Network, replies: PathBuf) -> Outcome<Self> {
        let store = Self::with_backend(backend, "medium".into(), replies)?;
        store.check_format(network)?;
        Ok(store)
    }

    pub(crate) fn with_backend(backend: impl redb::StorageBackend, path: PathBuf, replies: PathBuf) -> Outcome<Self> {
        let mut builder = redb::Builder::new();
        builder.set_check_integrity_on_open(true).set_cache_size(CACHE);
        let database = builder.create_with_backend(backend).map_err(|error| open_error(&path, error))?;
        Ok(Self(Arc::new(Inner { database, payloads: Payloads::new(replies), index: Mutex::default(), path })))
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn payloads(&self) -> &Payloads {
        &self.0.payloads
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_format(&self, network: Network) -> Outcome<()> {
        let magic = u64::from(u32::from_le_bytes(network.magic()));
        let stored = self.read_if_there(META, |meta| {
            let number = |key| Ok::<_, redb::StorageError>(meta.get(key)?.map(|value| value.value()));
            Ok((number("format")?, number("network")?))
        });
        let path = || self.0.path.clone();
        let supported = FORMAT;
        let damaged = |error| StoreError::Damaged { path: path(), source: Box::new(error) };
        match stored.map_err(damaged)? {
            Some((Some(found), _)) if found > FORMAT => Err(StoreError::NewerFormat { path: path(), found, supported }),
            Some((Some(found), _)) if found < FORMAT => Err(StoreError::OlderFormat { path: path(), found, supported }),
            Some((Some(_), Some(found))) if found != magic => {
                Err(StoreError::OtherNetwork { path: path(), expected: network })
            }
            Some((Some(_), Some(_))) => Ok(()),
            _ => self.change(|transaction| {
                let mut meta = transaction.open_table(META)?;
                meta.insert("format", FORMAT)?;
                meta.insert("network", magic)?;
                Ok(())
            }),
        }
    }

    /// Reads from a table. Returns `None` while the table does not exist.
    pub(crate) fn read_if_there<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        table: TableDefinition<'_, K, V>,
        read: impl FnOnce(redb::ReadOnlyTable<K, V>) -> Result<T, redb::StorageError>,
    ) -> Outcome<Option<T>> {
        let fail = |error: redb::Error| StoreError::Read(Box::new(error));
        let transaction = self.0.database.begin_read().map_err(|error| fail(error.into()))?;
        match transaction.open_table(table) {
            Ok(table) => read(table).map(Some).map_err(|error| fail(error.into())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Makes one durable change. No part of it is stored if it fails.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Outcome<T> {
        self.write(|transaction| change(transaction).map(Ok))
    }

    /// Makes one durable change that may be refused. No part of it is stored if it fails or returns an inner error.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<Outcome<T>, redb::Error>,
    ) -> Outcome<T> {
        let run = || {
            let transaction = self.0.database.begin_write()?;
            let outcome = change(&transaction)?;
            match outcome {
                Ok(_) => transaction.commit()?,
                Err(_) => transaction.abort()?,
            }
            Ok::<_, redb::Error>(outcome)
        };
        run().map_err(|error| StoreError::Write(Box::new(error)))?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// Gives a finished file its name, unless another process was faster, and has the directory on the disk.
fn put_in_place(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished)?,
        Err(_) if fs::metadata(path).is_ok_and(|file| file.len() > 0) => fs::remove_file(unfinished)?,
        // An empty file is replaced; some file systems have no hard links.
        Err(_) => fs::rename(unfinished, path)?,
    }
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
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

/// Returns `true` for a read error that means wrong bytes, and not a failed disk.
fn is_of_the_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
