use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Network,
    client::{Ban, StoredReply},
};
use spv_store::{Store, StoreError};

use crate::support::{hash, headers};

fn reply(cycle_height: u32, block_hash: BlockHash) -> StoredReply {
    StoredReply { cycle_height, block_hash, payload: Bytes::from(vec![cycle_height as u8; 5000]) }
}

#[test]
fn bans_last_until_their_end_for_peers_with_an_address_and_with_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let onion = format!("{}.onion:9999", "a".repeat(56));
    let ban = |peer: &str, until| Ban { peer: peer.parse().unwrap(), until, reason: "a false list".into() };
    let bans = [ban("203.0.113.5:9999", 100), ban("[2a01:4f8::1]:9999", 200), ban(&onion, 300)];
    {
        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        bans.iter().for_each(|ban| store.ban(ban).unwrap());
    }
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    for (now, left) in [(0, 0), (99, 0), (100, 1), (299, 2), (300, 3)] {
        let mut found = store.bans(now).unwrap();
        found.sort_by_key(|ban| ban.until);
        assert_eq!(found, bans[left..], "at {now}");
    }
}

#[test]
fn good_peers_are_those_that_were_stored_last() {
    let directory = tempfile::tempdir().unwrap();
    let peers = |list: &[(&str, u64)]| list.iter().map(|(peer, last)| (peer.parse().unwrap(), *last)).collect();
    let newest = peers(&[("203.0.113.5:9999", 200), ("seed.example.org:9999", u64::MAX)]);
    {
        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        assert!(store.good_peers().unwrap().is_empty());
        store.store_good_peers(&peers(&[("203.0.113.5:9999", 100), ("203.0.113.6:9999", 100)])).unwrap();
        store.store_good_peers(&newest).unwrap();
    }
    assert_eq!(Store::open(directory.path(), Network::Regtest).unwrap().good_peers().unwrap(), newest);
}

#[test]
fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        store.store_headers(7, &headers(7..60, 1)).unwrap();
        store.store_reply(&reply(24, hash(47, 1))).unwrap();
        store.store_masternode_state(b"state").unwrap();
    }
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    let mut visited = Vec::new();
    store
        .visit_headers(|height, header, hash| {
            visited.push((header, hash));
            height < 50
        })
        .unwrap();
    assert_eq!(visited, headers(7..51, 1));
    assert_eq!(store.reply(24).unwrap(), Some(reply(24, hash(47, 1))));
    assert_eq!(store.masternode_state().unwrap().as_deref(), Some(&b"state"[..]));
}

#[test]
fn a_second_user_of_the_same_store_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let first = Store::open(directory.path(), Network::Regtest).unwrap();
    let error = Store::open(directory.path(), Network::Regtest).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    first.store_headers(0, &headers(0..3, 1)).unwrap();
}

#[test]
fn a_store_of_another_format_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = Store::open(directory.path(), Network::Regtest).unwrap().path().to_owned();
    let refused_as = |format: u64| {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let before = fs::read(&path).unwrap();
        let error = Store::open(directory.path(), Network::Regtest).unwrap_err();
        assert!(fs::read(&path).unwrap() == before, "the file was changed");
        error
    };
    let error = refused_as(3);
    assert!(matches!(error, StoreError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
    let error = refused_as(1);
    assert!(matches!(error, StoreError::OlderFormat { found: 1, supported: 2, .. }), "{error}");
    assert!(error.to_string().contains("remove the file"), "{error}");
    fs::remove_file(&path).unwrap();
    Store::open(directory.path(), Network::Regtest).unwrap();
}

#[test]
fn another_networks_file_and_a_file_that_is_no_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = Store::open(directory.path(), Network::Regtest).unwrap().path().to_owned();
    let other = path.with_file_name("testnet.redb");
    fs::copy(&path, &other).unwrap();
    let error = Store::open(directory.path(), Network::Testnet).unwrap_err();
    assert!(matches!(error, StoreError::OtherNetwork { .. }), "{error}");

    let damaged = path.with_file_name("mainnet.redb");
    fs::write(&damaged, b"not a store, and long enough to be taken for one".repeat(100)).unwrap();
    let error = Store::open(directory.path(), Network::Mainnet).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Open { .. }), "{error}");
    assert!(fs::read(&damaged).unwrap().starts_with(b"not a store"));
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::open(&file.join("below"), Network::Regtest).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    // Not even root may create files in /proc.
    let error = Store::open(Path::new("/proc/self"), Network::Regtest).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

const CHILD: &str = "SPV_TEST_STORE_CHILD";

/// The same test is the process that is killed: with the variable set it stores, and reports, until the end comes.
#[test]
fn nothing_reported_as_stored_is_lost_by_a_kill() {
    if let Some(directory) = std::env::var_os(CHILD) {
        let store = Store::open(Path::new(&directory), Network::Regtest).unwrap();
        for height in 0_u32.. {
            store.store_headers(height, &headers(height..height + 1, 1)).unwrap();
            store.store_reply(&reply(height, hash(height, 1))).unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "stored {height}").and_then(|()| out.flush()).unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::nothing_reported_as_stored_is_lost_by_a_kill", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let reported = lines.filter_map(|line| line.rsplit_once("stored ")?.1.parse::<u32>().ok());
        let last = reported.take(15 * round).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(directory.path(), Network::Regtest).unwrap();
        assert!(store.tip_height().unwrap() >= Some(last), "round {round}");
        for height in 0..=last {
            assert_eq!(store.hash_at(height).unwrap(), Some(hash(height, 1)));
            assert_eq!(store.reply(height).unwrap(), Some(reply(height, hash(height, 1))));
        }
    }
}

/// A process that is killed while it makes the database leaves an unfinished file under another name, or an empty one.
#[test]
fn a_store_whose_making_was_cut_off_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("regtest.redb");
    std::fs::write(directory.path().join(format!("regtest.redb.{}", std::process::id())), [0; 5000]).unwrap();
    drop(Store::open(directory.path(), Network::Regtest).unwrap());
    std::fs::write(&path, []).unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    assert_eq!(store.path(), path);
    drop(store);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["regtest.redb"]);
}
