use qrinfo_core::Network;
use spv_store::{HeaderWriter, Store, StoreError};

use crate::support::{fork, hash, headers};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    (directory, store)
}

fn all(store: &Store) -> Vec<crate::support::Entry> {
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
fn what_was_queued_is_stored_when_the_writer_has_finished() {
    let (directory, store) = store();
    let mut writer = HeaderWriter::new(&store).unwrap();
    for first in (100..20_100).step_by(500) {
        writer.write(first, headers(first..first + 500, 1)).unwrap();
    }
    // Two reorganizations, the second one below the first.
    writer.write(15_000, fork(15_000..15_010, 2, 1)).unwrap();
    writer.write(12_345, fork(12_345..12_999, 3, 1)).unwrap();
    writer.finish().unwrap();
    drop(store);
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    assert_eq!(all(&store), [headers(100..12_345, 1), fork(12_345..12_999, 3, 1)].concat());
}

#[test]
fn an_error_reaches_the_caller_and_ends_the_writer() {
    let (_directory, store) = store();
    let mut writer = HeaderWriter::new(&store).unwrap();
    writer.write(0, headers(0..10, 1)).unwrap();
    writer.write(11, headers(11..20, 1)).unwrap();
    let error = loop {
        if let Err(error) = writer.write(20, headers(20..21, 1)) {
            break error;
        }
    };
    assert!(matches!(error, StoreError::Gap { first: 11, lowest: 0, tip: 9 }), "{error}");
    assert!(matches!(writer.write(10, headers(10..11, 1)), Err(StoreError::Write(_))));
    assert!(matches!(writer.finish(), Err(StoreError::Write(_))));
    assert_eq!((store.tip_height().unwrap(), store.hash_at(9).unwrap()), (Some(9), Some(hash(9, 1))));

    let mut writer = HeaderWriter::new(&store).unwrap();
    writer.write(12, headers(12..13, 1)).unwrap();
    assert!(matches!(writer.finish(), Err(StoreError::Gap { first: 12, .. })));
}
