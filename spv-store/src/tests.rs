//! Tests that need a disk which counts and fails.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network};

use crate::{Store, StoreError};

/// A disk in memory that outlives its database.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    /// The greatest length, or 0 for no limit.
    limit: AtomicU64,
    /// Writes that succeed before all others fail, and one more; 0 for no limit.
    writes_left: AtomicU64,
    /// Bytes written so far.
    written: AtomicU64,
}

impl Disk {
    /// Another disk with the same bytes, without limits.
    fn copy(&self) -> Self {
        Self(Arc::new(Inner { bytes: Mutex::new(self.0.bytes.lock().unwrap().clone()), ..Inner::default() }))
    }

    /// Fails if the disk takes no more writes.
    fn count_write(&self) -> io::Result<()> {
        match self.0.writes_left.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err(io::Error::other("the disk is gone")),
            left => {
                self.0.writes_left.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        out.copy_from_slice(&self.0.bytes.lock().unwrap()[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.count_write()?;
        if (1..len).contains(&self.0.limit.load(Ordering::Relaxed)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.count_write()?;
        let start = offset as usize;
        self.0.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
        self.0.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn open(disk: &Disk) -> Store {
    Store::open_on(disk.clone(), Network::Regtest, "disk-replies".into()).unwrap()
}

fn hash(height: u32, branch: u8) -> BlockHash {
    let mut bytes = [branch; 32];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

/// Headers of a branch, the first of which follows a block of branch 1.
fn headers(heights: Range<u32>, branch: u8) -> Vec<(BlockHeader, BlockHash)> {
    let first = heights.start;
    let header = |height: u32| {
        let mut bytes = [height as u8; HEADER_LEN];
        bytes[4..36].copy_from_slice(hash(height - 1, if height == first { 1 } else { branch }).as_bytes());
        (BlockHeader::from_bytes(bytes), hash(height, branch))
    };
    heights.map(header).collect()
}

fn chain(store: &Store) -> Vec<(BlockHeader, BlockHash)> {
    let mut all = Vec::new();
    store
        .visit_headers(|_, header, hash| {
            all.push((header, hash));
            true
        })
        .unwrap();
    all
}

#[test]
fn a_full_disk_is_one_clear_error_and_loses_nothing() {
    let disk = Disk::default();
    disk.0.limit.store(4 << 20, Ordering::Relaxed);
    let state = |size: usize| vec![size as u8; size << 10];
    let store = open(&disk);
    store.store_masternode_state(&state(1)).unwrap();
    let full = (1..20).map(|size| size * 100);
    let full = full.map(|size| (size, store.store_masternode_state(&state(size))));
    let (refused, error) = full.into_iter().find_map(|(size, result)| result.err().map(|error| (size, error))).unwrap();
    assert!(matches!(error, StoreError::Write(_)), "{error}");
    assert!(refused > 300, "{refused}");
    drop(store);

    let store = open(&disk);
    assert_eq!(store.masternode_state().unwrap(), Some(state(refused - 100)));
    disk.0.limit.store(64 << 20, Ordering::Relaxed);
    store.store_masternode_state(&state(refused)).unwrap();
}

#[test]
fn headers_are_written_once_in_batches_of_each_size() {
    const HEADERS: u32 = 80_000;
    for batch in [2_000, 8_000] {
        let disk = Disk::default();
        let store = open(&disk);
        let before = disk.0.written.load(Ordering::Relaxed);
        // The first height is in the middle of a chunk, and so is the end of each batch.
        let first = 1_735_489;
        for first in (first..first + HEADERS).step_by(batch) {
            store.store_headers(first, &headers(first..first + batch as u32, 1)).unwrap();
        }
        let written = disk.0.written.load(Ordering::Relaxed) - before;
        let payload = u64::from(HEADERS) * HEADER_LEN as u64;
        assert!(written * 10 <= payload * 15, "{written} bytes for {payload} in batches of {batch}");
    }
}

#[test]
fn a_reorganization_that_is_cut_off_leaves_the_chain_before_or_the_one_after() {
    let disk = Disk::default();
    let store = open(&disk);
    store.store_headers(1, &headers(1..1001, 1)).unwrap();
    let before = chain(&store);
    let base = disk.copy();
    drop(store);
    let after = [&before[..776], &headers(777..900, 2)].concat();

    let (mut failed, mut writes) = (0, 0_u64);
    loop {
        let disk = base.copy();
        let store = open(&disk);
        writes += 1;
        disk.0.writes_left.store(writes, Ordering::Relaxed);
        let result = store.store_headers(777, &headers(777..900, 2));
        let image = disk.copy();
        drop(store);
        let found = chain(&open(&image));
        if result.is_ok() {
            assert_eq!(found, after);
            break;
        }
        failed += 1;
        assert!(found == before || found == after, "after {writes} writes: {} headers", found.len());
    }
    assert!(failed > 5, "{failed}");
}
