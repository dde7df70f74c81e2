use std::collections::BTreeMap;

use proptest::prelude::*;
use qrinfo_core::{Network, client::StoredReply};
use spv_store::{Store, StoreError};

use crate::support::{Entry, fork, hash, headers};

#[derive(Debug, Clone)]
enum Change {
    Append(u32),
    Replace { depth: u32, count: u32 },
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_u32..160).prop_map(Change::Append),
        2 => (0_u32..160, 0_u32..120).prop_map(|(depth, count)| Change::Replace { depth, count }),
        1 => Just(Change::Reopen),
    ]
}

/// All that a store says about headers is what a map of them says.
fn compare(store: &Store, model: &BTreeMap<u32, Entry>) {
    assert_eq!(store.first_height().unwrap(), model.keys().next().copied());
    assert_eq!(store.tip_height().unwrap(), model.keys().next_back().copied());
    let mut visited = BTreeMap::new();
    store
        .visit_headers(|height, header, hash| {
            visited.insert(height, (header, hash));
            true
        })
        .unwrap();
    assert_eq!(&visited, model);
    let first = model.keys().next().copied().unwrap_or(7);
    for height in (first.saturating_sub(2)..first + 400).step_by(7).chain(model.keys().next_back().copied()) {
        let expected = model.get(&height);
        assert_eq!(store.header(height).unwrap(), expected.map(|(header, _)| *header), "{height}");
        assert_eq!(store.hash_at(height).unwrap(), expected.map(|(_, hash)| *hash), "{height}");
        if let Some((_, hash)) = expected {
            assert_eq!(store.height_of(hash).unwrap(), Some(height));
        }
    }
    assert_eq!(store.hash_at(u32::MAX).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_store_holds_the_chain_that_its_changes_make(first in 0_u32..120, changes in prop::collection::vec(change(), 1..12)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path(), Network::Regtest).unwrap();
        let mut model = BTreeMap::<u32, Entry>::new();
        for (branch, change) in (1_u8..).zip(changes) {
            let next = model.keys().next_back().map_or(first, |tip| tip + 1);
            let (start, count) = match change {
                Change::Append(count) => (next, count),
                Change::Replace { depth, count } => (next.saturating_sub(depth).max(first), count),
                Change::Reopen => {
                    drop(store);
                    store = Store::open(directory.path(), Network::Regtest).unwrap();
                    continue;
                }
            };
            let gone: Vec<_> = model.split_off(&start).into_values().collect();
            let mut new = fork(start..start + count, branch, branch);
            if let (Some((_, (_, parent))), Some((header, _))) = (model.last_key_value(), new.first_mut()) {
                let mut bytes = *header.as_bytes();
                bytes[4..36].copy_from_slice(parent.as_bytes());
                *header = qrinfo_core::BlockHeader::from_bytes(bytes);
            }
            store.store_headers(start, &new).unwrap();
            model.extend((start..).zip(new));
            compare(&store, &model);
            for (_, hash) in gone {
                assert_eq!(store.height_of(&hash).unwrap(), None);
            }
        }
    }
}

#[test]
fn headers_that_do_not_join_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    store.store_headers(100, &headers(100..160, 1)).unwrap();
    for gap in [99, 161] {
        let error = store.store_headers(gap, &headers(gap..gap + 3, 1)).unwrap_err();
        assert!(matches!(error, StoreError::Gap { lowest: 100, tip: 159, .. }), "{error}");
    }
    for first in [150, 160] {
        let error = store.store_headers(first, &headers(first..first + 3, 2)).unwrap_err();
        assert!(matches!(error, StoreError::Unlinked { height } if height == first), "{error}");
    }
    let mut broken = headers(160..170, 1);
    broken.remove(4);
    let error = store.store_headers(160, &broken).unwrap_err();
    assert!(matches!(error, StoreError::Unlinked { height: 164 }), "{error}");
    let error = store.store_headers(u32::MAX, &headers(0..1, 1)).unwrap_err();
    assert!(matches!(error, StoreError::TooHigh { .. }), "{error}");
    assert_eq!((store.first_height().unwrap(), store.tip_height().unwrap()), (Some(100), Some(159)));
    assert_eq!(store.hash_at(159).unwrap(), Some(hash(159, 1)));
}

#[test]
fn an_empty_list_removes_headers_and_the_replies_that_were_requested_by_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    store.store_headers(0, &headers(0..300, 1)).unwrap();
    let reply = |cycle_height, requested: u32| {
        let reply =
            StoredReply { cycle_height, block_hash: hash(requested, 1), payload: vec![cycle_height as u8].into() };
        store.store_reply(&reply).unwrap();
    };
    reply(48, 71);
    reply(72, 210);
    reply(96, 299);
    store.store_headers(300, &headers(300..301, 1)).unwrap();
    assert!(store.reply(96).unwrap().is_some(), "an append removes no reply");
    // The block at 210 is in the new headers again.
    store.store_headers(205, &headers(205..211, 1)).unwrap();
    assert_eq!([48, 72, 96].map(|cycle| store.reply(cycle).unwrap().is_some()), [true, true, false]);
    store.store_headers(205, &[]).unwrap();
    assert_eq!([48, 72, 96].map(|cycle| store.reply(cycle).unwrap().is_some()), [true, false, false]);
    assert_eq!(store.tip_height().unwrap(), Some(204));
    store.store_headers(0, &[]).unwrap();
    assert_eq!((store.tip_height().unwrap(), store.reply(48).unwrap()), (None, None));
    store.store_headers(7, &headers(7..8, 1)).unwrap();
    assert_eq!(store.first_height().unwrap(), Some(7));
}
