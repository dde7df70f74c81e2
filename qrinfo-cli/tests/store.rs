//! Stored replies of `qrinfo sync` are verified again in every run. A false one is asked for again, and no peer is
//! blamed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{fs, mem, path::PathBuf, process::Output};

use qrinfo_core::{BlockHash, BlockHeader, Network, ProTxHash, message::QRInfo, wire::Wire};
use serde_json::Value;
use spv_store::Store;
use spv_testkit::RecordedPeer;
use tempfile::TempDir;

use self::support::{ALL, assert_complete, recording, run};

/// Runs a sync against one honest node with a store. Returns the number of requests that the node got.
async fn honest_run(directory: &TempDir, level: &str) -> u64 {
    let honest = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let result = run_with(&honest, directory, level).await;
    assert_complete(&result);
    let errors = String::from_utf8_lossy(&result.0.stderr);
    assert!(!errors.contains("given up") && !errors.contains("sent a false"), "{errors}");
    honest.stats().requests
}

async fn run_with(server: &RecordedPeer, directory: &TempDir, level: &str) -> (Output, Value) {
    let data = ["--data-dir", directory.path().to_str().unwrap(), "--verify", level];
    run(&[server], &[&ALL[..], &data].concat()).await
}

/// Fills a store from a node that alters all of its replies.
async fn fill_with(directory: &TempDir, level: &str, lie: impl Fn(&mut QRInfo) + Send + Sync + 'static) {
    let liar = RecordedPeer::builder(recording()).lie(.., lie).spawn().await.unwrap();
    assert_complete(&run_with(&liar, directory, level).await);
}

fn stored(directory: &TempDir, cycle: u32) -> PathBuf {
    directory.path().join(format!("regtest-replies/{cycle}.qrinfo"))
}

#[tokio::test]
async fn a_store_that_is_false_at_a_higher_level_is_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    fill_with(&directory, "structure", |reply| {
        reply.mn_list_diff_h.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
    })
    .await;
    assert_eq!(honest_run(&directory, "roots").await, 64);
    assert_eq!(honest_run(&directory, "roots").await, 0);

    let directory = tempfile::tempdir().unwrap();
    fill_with(&directory, "roots", |reply| {
        mem::swap(&mut reply.quorum_snapshot_at_h_minus_c, &mut reply.quorum_snapshot_at_h_minus_2c);
    })
    .await;
    assert!(honest_run(&directory, "full").await > 0);
    assert_eq!(honest_run(&directory, "full").await, 0);
}

/// The headers of a store that was begun for the newest cycle start too high for older cycles: on mainnet at the newest
/// checkpoint.
#[tokio::test]
async fn a_store_that_starts_too_high_gets_the_older_headers() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    let header = |height: u32| {
        let header = BlockHeader::from_bytes(recording.headers()[height as usize]);
        (header, recording.block_hash(height).unwrap())
    };
    store.store_headers(1501, &(1501..=1700).map(header).collect::<Vec<_>>()).unwrap();
    drop(store);
    assert_eq!(honest_run(&directory, "roots").await, 64);
    assert_eq!(honest_run(&directory, "roots").await, 0);
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    assert_eq!((store.first_height().unwrap(), store.tip_height().unwrap()), (Some(1), Some(1772)));
}

/// Two stored replies: one to a block that is not known yet, and one from the anchor, whose list is not stored.
#[tokio::test]
async fn a_tip_diff_that_nothing_proves_is_not_stored() {
    let directory = tempfile::tempdir().unwrap();
    fill_with(&directory, "full", |reply| {
        reply.mn_list_diff_tip.block_hash = BlockHash::from_bytes([9; 32]);
        reply.mn_list_diff_tip.new_masternodes = reply.mn_list_diff_at_h_minus_3c.new_masternodes.clone();
    })
    .await;
    let mut replies = 0;
    for file in fs::read_dir(stored(&directory, 0).parent().unwrap()).unwrap() {
        let reply = QRInfo::from_wire(fs::read(file.unwrap().path()).unwrap()).unwrap();
        assert_eq!(reply.mn_list_diff_tip.block_hash, BlockHash::ZERO);
        replies += 1;
    }
    assert_eq!(replies, 64);
    assert_eq!(honest_run(&directory, "full").await, 0);

    let directory = tempfile::tempdir().unwrap();
    assert_eq!(honest_run(&directory, "roots").await, 64);
    let tip_of = |cycle| QRInfo::from_wire(fs::read(stored(&directory, cycle)).unwrap()).unwrap().mn_list_diff_tip;
    assert_eq!(tip_of(480).block_hash, BlockHash::ZERO);
    assert_ne!(tip_of(1752).block_hash, BlockHash::ZERO, "the newest request has no anchor: its tip diff is proven");
}

#[tokio::test]
async fn a_damaged_reply_is_asked_for_again_alone() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(honest_run(&directory, "full").await, 64);
    for (cycle, requests) in [(240, 1), (960, 1), (1752, 1)] {
        let mut reply = fs::read(stored(&directory, cycle)).unwrap();
        let middle = reply.len() / 2;
        reply[middle] ^= 1;
        fs::write(stored(&directory, cycle), reply).unwrap();
        assert_eq!(honest_run(&directory, "full").await, requests, "{cycle}");
    }
    fs::write(stored(&directory, 480), b"no reply").unwrap();
    fs::remove_file(stored(&directory, 720)).unwrap();
    // The second one has its neighbour asked with it.
    assert_eq!(honest_run(&directory, "full").await, 1 + 2);
    assert_eq!(honest_run(&directory, "full").await, 0);
}

#[tokio::test]
async fn only_the_false_reply_is_missing_until_an_honest_node_is_there() {
    let directory = tempfile::tempdir().unwrap();
    honest_run(&directory, "roots").await;
    fs::write(stored(&directory, 960), b"no reply").unwrap();
    let liar = RecordedPeer::builder(recording());
    let liar = liar.lie(.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::from_bytes([9; 32]));
    let (output, json) = run_with(&liar.spawn().await.unwrap(), &directory, "roots").await;
    assert_eq!((output.status.code(), json["missing"].as_array().map(Vec::len)), (Some(1), Some(1)), "{json}");
    let honest = honest_run(&directory, "roots").await;
    assert_eq!(honest, 1, "nothing else was lost");
}

#[tokio::test]
async fn a_damaged_database_is_told_in_one_line_and_left_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    honest_run(&directory, "roots").await;
    let path = directory.path().join("regtest.redb");
    let sound = fs::read(&path).unwrap();
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    for damage in [|image: &mut Vec<u8>| image.truncate(10_000), |image: &mut Vec<u8>| image[4096..20_000].fill(0xff)] {
        let mut damaged = sound.clone();
        damage(&mut damaged);
        fs::write(&path, &damaged).unwrap();
        let (output, _) = run_with(&server, &directory, "roots").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("is damaged or not a store, and was not changed"), "{errors}");
        assert!(!errors.contains("panicked") && errors.lines().count() == 1, "{errors}");
        assert!(fs::read(&path).unwrap() == damaged);
    }
    fs::remove_file(&path).unwrap();
    assert_complete(&run_with(&server, &directory, "roots").await);
}
