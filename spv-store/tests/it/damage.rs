//! A damaged store is refused and left unchanged, or all that it gives is right.

use std::{fs, path::Path, sync::LazyLock};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use qrinfo_core::{
    Network, PeerId,
    client::{Ban, StoredReply},
};
use spv_store::{Store, StoreError};

use crate::support::{Entry, headers};

const HEADERS: u32 = 3000;
const PAGE: usize = 4096;

fn header(height: u32) -> Entry {
    headers(height..height + 1, 1)[0]
}

fn reply(cycle_height: u32) -> StoredReply {
    let block_hash = header(cycle_height + 23).1;
    StoredReply { cycle_height, block_hash, payload: Bytes::from(vec![cycle_height as u8; 5000]) }
}

fn ban() -> Ban {
    Ban { peer: PeerId::Address(([127, 0, 0, 1], 9).into()), until: 100, reason: "a false list".into() }
}

fn fill(directory: &Path) -> Store {
    let store = Store::open(directory, Network::Regtest).unwrap();
    for first in (0..HEADERS).step_by(500) {
        store.store_headers(first, &(first..first + 500).map(header).collect::<Vec<_>>()).unwrap();
    }
    (240..480).step_by(24).for_each(|cycle| store.store_reply(&reply(cycle)).unwrap());
    store.ban(&ban()).unwrap();
    store.store_masternode_state(&[7; 20_000]).unwrap();
    store.store_good_peers(&[(ban().peer, 100)].into()).unwrap();
    store
}

/// A database as it is after its process has ended, and as it is when that was killed.
static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let store = fill(directory.path());
    let path = store.path().to_owned();
    let killed = fs::read(&path).unwrap();
    drop(store);
    [fs::read(&path).unwrap(), killed]
});

/// Asserts that everything the store gives is what was stored.
fn compare(store: &Store) -> Result<(), StoreError> {
    store.visit_headers(|height, found, hash| {
        assert_eq!((found, hash), header(height));
        true
    })?;
    let tip = store.tip_height()?.unwrap_or_default();
    for height in (0..=tip).step_by(97) {
        assert!(store.height_of(&header(height).1)?.is_none_or(|found| found == height));
    }
    for cycle in (240..480).step_by(24) {
        // The payloads are files of their own, and not there.
        assert_eq!(store.reply(cycle)?, None);
    }
    assert!(store.bans(0)?.into_iter().all(|found| found == ban()));
    assert!(store.good_peers()?.into_iter().all(|found| found == (ban().peer, 100)));
    assert!(store.masternode_state()?.is_none_or(|state| state == [7; 20_000]));
    if tip > 0 {
        store.store_headers(tip + 1, &[header(tip + 1)])?;
        store.store_headers(tip / 2, &[header(tip / 2)])?;
        assert_eq!(store.tip_height()?, Some(tip / 2));
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Flip(Index, u8),
    Overwrite(Index, Vec<u8>),
    Zero(Index, usize),
    CopyPage(Index, Index),
    Scatter(Vec<(Index, u8)>),
}

impl Damage {
    fn apply(&self, image: &mut Vec<u8>) {
        let (length, pages) = (image.len(), image.len() / PAGE);
        match self {
            Self::Cut(at) => image.truncate(at.index(length)),
            Self::Flip(at, bit) => image[at.index(length)] ^= 1 << bit,
            Self::Overwrite(at, bytes) => {
                let at = at.index(length - bytes.len());
                image[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Zero(at, count) => {
                let at = at.index(length - count);
                image[at..at + count].fill(0);
            }
            Self::CopyPage(from, to) => {
                let from = from.index(pages) * PAGE;
                image.copy_within(from..from + PAGE, to.index(pages) * PAGE);
            }
            Self::Scatter(bytes) => bytes.iter().for_each(|(at, byte)| image[at.index(length)] = *byte),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let anywhere = || any::<Index>();
    prop_oneof![
        anywhere().prop_map(Damage::Cut),
        (anywhere(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (anywhere(), vec(any::<u8>(), 1..2 * PAGE)).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        (anywhere(), 1..2 * PAGE).prop_map(|(at, count)| Damage::Zero(at, count)),
        (anywhere(), anywhere()).prop_map(|(from, to)| Damage::CopyPage(from, to)),
        vec((anywhere(), any::<u8>()), 1..2000).prop_map(Damage::Scatter),
    ]
}

/// Damage in the first `length` bytes only, where the header and the roots are.
fn check(killed: bool, damage: &Damage, length: Option<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("regtest.redb");
    let mut image = IMAGES[usize::from(killed)].clone();
    let rest = image.split_off(length.unwrap_or(image.len()));
    damage.apply(&mut image);
    if !matches!(damage, Damage::Cut(_)) {
        image.extend(rest);
    }
    fs::write(&path, &image).unwrap();
    match Store::open(directory.path(), Network::Regtest) {
        Ok(store) => compare(&store).unwrap(),
        Err(StoreError::Damaged { .. }) => assert!(fs::read(&path).unwrap() == image, "the file was changed"),
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    // More on demand, by PROPTEST_CASES.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(600)))]

    #[test]
    fn a_damaged_database_is_refused_unchanged_or_gives_only_what_was_stored(
        killed in any::<bool>(),
        damage in damage(),
        at_the_start in any::<bool>(),
    ) {
        check(killed, &damage, at_the_start.then_some(16 * PAGE));
    }
}

#[test]
fn a_damaged_payload_costs_that_reply_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = fill(directory.path());
    let payload = |cycle: u32| directory.path().join(format!("regtest-replies/{cycle}.qrinfo"));
    assert_eq!(fs::read(payload(264)).unwrap(), reply(264).payload);
    fs::write(payload(240), b"other bytes").unwrap();
    fs::remove_file(payload(288)).unwrap();
    drop(store);

    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    assert_eq!(&store.reply(240).unwrap().unwrap().payload[..], b"other bytes");
    assert_eq!(store.reply(288).unwrap(), None);
    store.delete_reply(240).unwrap();
    assert_eq!(store.reply(240).unwrap(), None);
    assert!(!payload(240).exists());
    assert_eq!(store.reply(264).unwrap(), Some(reply(264)));
}

/// A sound database whose content is not what this library writes.
#[test]
fn headers_of_wrong_lengths_are_an_error() {
    for (key, length) in [(0, 0), (0, 31), (0, 32), (0, 111), (0, 113), (7, 112 + 79), (u32::MAX, 192), (150, 8_000)] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        let path = store.path().to_owned();
        drop(store);
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let chunks = redb::TableDefinition::<u32, &[u8]>::new("header_chunks");
        transaction.open_table(chunks).unwrap().insert(key, vec![1; length].as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);

        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        for error in [
            store.tip_height().unwrap_err(),
            store.header(key).unwrap_err(),
            store.hash_at(u32::MAX).unwrap_err(),
            store.height_of(&header(1).1).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Read(_)), "{error}");
        }
        assert!(matches!(store.store_headers(key, &[]), Err(StoreError::Write(_))), "{key} {length}");
    }
}
