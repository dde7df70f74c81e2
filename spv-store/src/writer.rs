use std::{
    io, mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use qrinfo_core::{BlockHash, BlockHeader};

use crate::{Store, StoreError, error::Outcome};

/// Lists of headers that wait, at most. A message has up to 8,000 headers, so this is 1 MB of headers.
const QUEUE: usize = 1;

/// Headers from which on no further list is added to them.
const BATCH: usize = 4_000;

/// A thread that stores headers, so that a sync does not wait for the disk.
///
/// Lists of headers that wait are stored together. A list in the queue is *not* stored yet: a crash loses it. All are
/// stored when [`finish`](Self::finish) returns `Ok`. Each transaction leaves a whole chain in the store: the one
/// before a reorganization or the one after it.
///
/// A writer that is dropped still stores its queue, if the process runs long enough; an error goes to the log alone.
///
/// ```
/// use qrinfo_core::{BlockHash, Network, BlockHeader};
/// use spv_store::{HeaderWriter, Store};
///
/// let directory = tempfile::tempdir()?;
/// let store = Store::open(directory.path(), Network::Regtest)?;
/// let mut writer = HeaderWriter::new(&store)?;
/// writer.write(7, vec![(BlockHeader::from_bytes([0; 80]), BlockHash::from_bytes([1; 32]))])?;
/// writer.finish()?;
/// assert_eq!(store.tip_height()?, Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HeaderWriter {
    queue: SyncSender<Headers>,
    thread: Option<JoinHandle<Outcome<()>>>,
}

#[derive(Debug)]
struct Headers {
    first: u32,
    headers: Vec<(BlockHeader, BlockHash)>,
}

// === impl HeaderWriter ===

impl HeaderWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub fn new(store: &Store) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let store = store.clone();
        let thread = thread::Builder::new().name("spv-store".into()).spawn(move || {
            let result = run(&store, &waiting);
            if let Err(error) = &result {
                tracing::warn!(%error, "headers were not stored");
            }
            result
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Puts headers from height `first` on into the queue, with the meaning of
    /// [`store_headers`](Store::store_headers). Blocks while the queue is full.
    ///
    /// # Errors
    /// The error of an earlier list, see [`store_headers`](Store::store_headers). Lists that were in the queue with it
    /// are not stored, and the writer takes no more.
    pub fn write(&mut self, first: u32, headers: Vec<(BlockHeader, BlockHash)>) -> Outcome<()> {
        match self.queue.send(Headers { first, headers }) {
            Ok(()) => Ok(()),
            Err(_) => self.join().and(Err(stopped())),
        }
    }

    /// Waits until the whole queue is stored.
    ///
    /// # Errors
    /// The same as those of [`write`](Self::write).
    pub fn finish(mut self) -> Outcome<()> {
        // The thread ends with its queue.
        drop(mem::replace(&mut self.queue, sync_channel(0).0));
        self.join()
    }

    fn join(&mut self) -> Outcome<()> {
        let thread = self.thread.take().ok_or_else(stopped)?;
        thread.join().unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> StoreError {
    StoreError::Write("the writer stopped after an error".into())
}

fn run(store: &Store, waiting: &Receiver<Headers>) -> Outcome<()> {
    while let Ok(mut batch) = waiting.recv() {
        while batch.headers.len() < BATCH {
            let Ok(next) = waiting.try_recv() else { break };
            if let Some(next) = batch.join(next) {
                store.store_headers(batch.first, &batch.headers)?;
                batch = next;
            }
        }
        store.store_headers(batch.first, &batch.headers)?;
    }
    Ok(())
}

// === impl Headers ===

impl Headers {
    /// Takes in headers that follow these or replace the last of them. Gives back others.
    fn join(&mut self, next: Self) -> Option<Self> {
        let kept = next.first.checked_sub(self.first).map(|kept| kept as usize);
        match kept.filter(|kept| (1..=self.headers.len()).contains(kept)) {
            Some(kept) => {
                self.headers.truncate(kept);
                self.headers.extend(next.headers);
                None
            }
            None => Some(next),
        }
    }
}
