//! Tests that need a disk which counts and fails.

mod disk;
mod faults;

use std::ops::Range;

use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network};

use self::disk::{Disk, Failure};
use crate::{Store, StoreError};

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
    disk.limit(4 << 20);
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
    disk.limit(64 << 20);
    store.store_masternode_state(&state(refused)).unwrap();
}

#[test]
fn headers_are_written_once_in_batches_of_each_size() {
    const HEADERS: u32 = 80_000;
    for batch in [2_000, 8_000] {
        let disk = Disk::default();
        let store = open(&disk);
        let before = disk.written();
        // The first height is in the middle of a chunk, and so is the end of each batch.
        let first = 1_735_489;
        for first in (first..first + HEADERS).step_by(batch) {
            store.store_headers(first, &headers(first..first + batch as u32, 1)).unwrap();
        }
        let written = disk.written() - before;
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

    let mut failed = 0;
    loop {
        let disk = base.copy();
        let store = open(&disk);
        disk.fail_after(failed, Failure::Forever);
        let result = store.store_headers(777, &headers(777..900, 2));
        let image = disk.copy();
        drop(store);
        let found = chain(&open(&image));
        if result.is_ok() {
            assert_eq!(found, after);
            break;
        }
        failed += 1;
        assert!(found == before || found == after, "after {failed} changes: {} headers", found.len());
    }
    assert!(failed > 5, "{failed}");
}
