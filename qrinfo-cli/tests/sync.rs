//! The command `qrinfo sync` against peers that answer as recorded.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use qrinfo_core::{BlockHash, ProTxHash, message::QRInfo};
use spv_testkit::{Fault, HeaderFault, PeerProfile, RecordedAnswers, RecordedPeer, Recording, SimulatedPeer};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use self::support::{ALL, assert_complete, command, recording, run};

#[tokio::test]
async fn headers_come_from_the_nodes() {
    let recording = recording();
    let (first, second) = (RecordedPeer::builder(recording.clone()), RecordedPeer::builder(recording));
    let servers = [&first.spawn().await.unwrap(), &second.spawn().await.unwrap()];
    assert_complete(&run(&servers, &ALL).await);
    assert_complete(&run(&servers, &["--from-cycle", "250", "--sequential"]).await);
    let (output, json) = run(&servers, &["--from-cycle", "240", "--to-cycle", "500"]).await;
    assert!(output.status.success());
    assert_eq!(json["cycles"].as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn headers_come_from_a_file() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("headers.bin");
    std::fs::write(&file, recording.headers().as_flattened()).unwrap();
    let server = RecordedPeer::builder(recording).spawn().await.unwrap();
    let file = file.to_str().unwrap();
    assert_complete(&run(&[&server], &["--headers", file, "--from-cycle", "240"]).await);

    let mut bytes = std::fs::read(file).unwrap();
    bytes[80 * 100 + 10] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let (output, _) = run(&[&server], &["--headers", file, "--from-cycle", "240"]).await;
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("header 100 of the message names"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn the_first_cycle_is_found_by_asking() {
    let Some(recording) = Recording::shared("regtest").unwrap() else { return };
    let server = RecordedPeer::builder(Arc::new(recording)).spawn().await.unwrap();
    assert_complete(&run(&[&server], &["--history"]).await);
}

#[tokio::test]
async fn the_newest_cycle_and_the_tip_are_the_default() {
    let Some(recording) = Recording::shared("regtest").unwrap().map(Arc::new) else { return };
    let (first, second) = (RecordedPeer::builder(recording.clone()), RecordedPeer::builder(recording));
    let servers = [&first.spawn().await.unwrap(), &second.spawn().await.unwrap()];
    let (output, json) = run(&servers, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cycles: Vec<_> = json["cycles"].as_array().unwrap().iter().map(|row| row["cycle"].as_u64()).collect();
    assert_eq!(cycles, [Some(1752)]);
    let tip = &json["tip"];
    assert_eq!(
        (tip["height"].as_u64(), tip["peers"].as_u64(), json["peersUsed"].as_u64()),
        (Some(1772), Some(2), Some(2))
    );
}

#[tokio::test]
async fn a_sync_that_ends_before_its_plan_prints_an_object_too() {
    let old = RecordedPeer::builder(recording()).protocol(70229).spawn().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("none");
    for (more, why) in [
        (vec![], "no node can be asked"),
        (vec!["--headers", file.to_str().unwrap()], "No such file"),
        (vec!["--data-dir", "/proc/self"], "cannot open"),
        (vec!["--from-cycle", "500", "--to-cycle", "300"], "no node can be asked"),
    ] {
        let (output, json) = run(&[&old], &more).await;
        assert_eq!((output.status.code(), json["complete"].as_bool()), (Some(1), Some(false)), "{json}");
        assert_eq!(json["network"], "regtest");
        assert!(json["outcome"].as_str().unwrap().contains(why), "{json}");
        assert!(
            ["cycles", "missing", "unverified"].iter().all(|key| json[key].as_array().unwrap().is_empty()),
            "{json}"
        );
    }
    let (_, json) = run(&[&old], &[]).await;
    assert_eq!(json["peersLeft"][0]["peer"], old.address().to_string(), "{json}");
    let (output, json) = run(&[&old], &["--parallel", "0"]).await;
    assert_eq!((output.status.code(), json), (Some(2), serde_json::Value::Null));
}

/// A sync that was killed in the middle continues in the next run, and asks nothing twice.
#[tokio::test]
async fn a_killed_sync_goes_on_without_asking_again() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let slow = PeerProfile { compute: Duration::from_millis(30), ..PeerProfile::default() };
    let server = RecordedPeer::builder(recording.clone()).profile(slow).spawn().await.unwrap();
    let more = ["--from-cycle", "240", "--sequential", "--data-dir", directory];
    let mut child = command(&[&server], &more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The first line of progress comes after a quarter of the replies.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap_or_default();
    assert!(line.contains("16/64"), "{line}");
    child.kill().await.unwrap();

    let server = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let resumed = run(&[&server], &["--from-cycle", "240", "--data-dir", directory]).await;
    assert_complete(&resumed);
    let stored = resumed.1["cycles"].as_array().unwrap().iter().filter(|row| row["peer"].is_null()).count();
    assert!((16..64).contains(&stored), "{stored}");
    assert_eq!(server.stats().requests as usize, 64 - stored);

    let server = RecordedPeer::builder(recording).spawn().await.unwrap();
    assert_complete(&run(&[&server], &["--from-cycle", "240", "--data-dir", directory]).await);
    assert_eq!(server.stats().requests, 0, "everything was stored");
}

#[tokio::test]
async fn a_node_with_wrong_headers_loses_its_place_for_a_day() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let good = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    for fault in [HeaderFault::BrokenLink, HeaderFault::EasyTarget, HeaderFault::NoWork, HeaderFault::Truncated] {
        let wrong = RecordedPeer::builder(recording.clone()).header_fault(fault).spawn().await.unwrap();
        // Such a peer alone brings nothing. With a good one beside it the sync completes, in either order.
        let (output, _) = run(&[&wrong], &ALL).await;
        assert!(!output.status.success(), "{fault:?}");
        assert_complete(&run(&[&wrong, &good], &ALL).await);
    }
    let wrong = RecordedPeer::builder(recording.clone()).header_fault(HeaderFault::NoWork).spawn().await.unwrap();
    let (output, _) = run(&[&wrong], &["--data-dir", directory]).await;
    assert!(!output.status.success());
    let connections = wrong.stats().connections;
    let (output, _) = run(&[&wrong], &["--data-dir", directory]).await;
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("is not asked"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(wrong.stats().connections, connections, "a banned node is not connected to");
}

#[tokio::test]
async fn a_node_that_sends_a_false_reply_is_left_and_banned() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let more = ["--from-cycle", "240", "--data-dir", directory.path().to_str().unwrap()];
    // A reply to no request at all: one to another request may be true.
    let lie = |reply: &mut QRInfo| reply.mn_list_diff_h.block_hash = BlockHash::from_bytes([7; 32]);
    let wrong = RecordedPeer::builder(recording.clone()).lie(1.., lie).spawn().await.unwrap();
    let good = RecordedPeer::builder(recording).spawn().await.unwrap();
    let result = run(&[&wrong, &good], &more).await;
    assert_complete(&result);
    assert!(
        String::from_utf8_lossy(&result.0.stderr).contains("was given up: sent a false reply"),
        "{}",
        String::from_utf8_lossy(&result.0.stderr)
    );
    let (output, _) = run(&[&wrong], &more).await;
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("is not asked"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Only the list before can tell that this reply is false. A store keeps none of it.
#[tokio::test]
async fn a_false_list_is_asked_of_another_node() {
    let recording = recording();
    let directory = tempfile::tempdir().unwrap();
    let more = ["--from-cycle", "240", "--data-dir", directory.path().to_str().unwrap()];
    // The work block of the twenty-first cycle.
    let block = recording.block_hash(240 + 20 * 24 - 8).unwrap();
    let wrong = RecordedPeer::builder(recording.clone()).lie(1.., move |reply| {
        if reply.mn_list_diff_h.block_hash == block {
            reply.mn_list_diff_h.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
        }
    });
    let wrong = wrong.spawn().await.unwrap();
    let (output, json) = run(&[&wrong], &more).await;
    assert_eq!((output.status.code(), json["complete"].as_bool()), (Some(1), Some(false)), "{json}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("sent a false reply: the diff at H is false"), "{errors}");
    assert_eq!(json["cycles"].as_array().unwrap().len(), 20);

    let good = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let result = run(&[&good], &more).await;
    assert_complete(&result);
    assert_eq!((good.stats().requests, result.1["verified"].as_str()), (44, Some("roots")));
}

#[tokio::test]
async fn members_and_signatures_are_verified_on_demand() {
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let result = run(&[&server], &["--from-cycle", "240", "--verify", "full"]).await;
    assert_complete(&result);
    let last = result.1["cycles"].as_array().unwrap().last().unwrap();
    let unproven = last["unproven"].as_array().unwrap().iter().map(|part| part.as_str().unwrap());
    assert!(unproven.clone().all(|part| !part.contains("snapshots of the diff at H,")), "{last}");
    assert!(last["masternodes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_second_process_on_the_same_store_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = spv_store::Store::open(directory.path(), qrinfo_core::Network::Regtest).unwrap();
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let (output, _) = run(&[&server], &["--data-dir", directory.path().to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("in use by another process"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    drop(store);
}

#[tokio::test]
async fn peers_that_were_all_given_up_are_told_from_no_peers() {
    let recording = recording();
    let liar = || RecordedPeer::builder(recording.clone()).fault(.., Fault::WrongReply).spawn();
    let servers = [&liar().await.unwrap(), &liar().await.unwrap(), &liar().await.unwrap()];
    let (output, json) = run(&servers, &ALL).await;
    assert_eq!(output.status.code(), Some(1));
    let text = json.to_string();
    assert!(text.contains("every peer left or was given up"), "{text}");
    assert!(!text.contains("no peer was connected"), "{text}");

    let as_json = command(&servers, &ALL);
    let arguments = as_json.as_std().get_args().filter(|argument| *argument != "--json");
    let output = Command::new(env!("CARGO_BIN_EXE_qrinfo")).args(arguments).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains(" 0 asked") && text.contains(", 0 answered"), "{text}");
}

/// No other node can come, so a user does not wait for one for minutes.
#[tokio::test]
async fn a_lone_node_that_refuses_ends_the_sync() {
    let server = RecordedPeer::builder(recording()).fault(.., Fault::Refuse).spawn().await.unwrap();
    let output = timeout(Duration::from_secs(40), run(&[&server], &ALL)).await;
    let (output, json) = output.expect("the sync ends");
    assert_eq!((output.status.code(), json["complete"].as_bool()), (Some(1), Some(false)), "{json}");
}

/// Headers cost nothing on regtest, so blocks that one node alone has count only if it answers for them.
#[tokio::test]
async fn a_node_that_alone_has_more_blocks_and_does_not_answer_for_them_is_left() {
    let behind = || SimulatedPeer::builder(RecordedAnswers::new(recording()).behind(1_729));
    let (first, second) = (behind().spawn().await.unwrap(), behind().spawn().await.unwrap());
    if let Some(whole) = Recording::shared("regtest").unwrap() {
        let honest = RecordedPeer::builder(Arc::new(whole)).spawn().await.unwrap();
        assert_complete(&run(&[&first, &second, &honest], &ALL).await);
    }
    let alone = RecordedPeer::builder(recording()).fault(.., Fault::Refuse).spawn().await.unwrap();
    let (output, json) = run(&[&first, &second, &alone], &ALL).await;
    assert_eq!((json["tip"]["height"].as_u64(), json["tip"]["peers"].as_u64()), (Some(1_729), Some(2)), "{json}");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(messages.contains("it alone has blocks above 1729"), "{messages}");
}

/// Eight nodes are connected at a time by default, but all that are named are asked.
#[tokio::test]
async fn nodes_beyond_the_eighth_are_asked_where_the_others_refuse() {
    let mut servers = Vec::new();
    for _ in 0..9 {
        servers.push(RecordedPeer::builder(recording()).fault(.., Fault::Refuse).spawn().await.unwrap());
    }
    let far = PeerProfile { round_trip: Duration::from_millis(20), ..PeerProfile::default() };
    servers.push(RecordedPeer::builder(recording()).profile(far).spawn().await.unwrap());
    assert_complete(&run(&servers.iter().collect::<Vec<_>>(), &ALL).await);
}

#[tokio::test]
async fn the_ninth_node_takes_the_place_of_a_liar() {
    let recording = recording();
    let mut liars = Vec::new();
    for _ in 0..8 {
        liars.push(RecordedPeer::builder(recording.clone()).fault(.., Fault::WrongReply).spawn().await.unwrap());
    }
    let far = PeerProfile { round_trip: Duration::from_millis(20), ..PeerProfile::default() };
    let honest = RecordedPeer::builder(recording).profile(far).spawn().await.unwrap();
    let servers: Vec<_> = liars.iter().chain([&honest]).collect();
    let result = run(&servers, &ALL).await;
    assert_complete(&result);
    let left = result.1["peersLeft"].as_array().unwrap();
    assert!(!left.iter().any(|left| left["peer"] == honest.address().to_string()), "{left:?}");
}

#[tokio::test]
async fn a_node_that_hangs_up_may_be_on_another_network() {
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let address = server.address().to_string();
    let arguments = ["sync", "--network", "testnet", "--peer", &address];
    let output = Command::new(env!("CARGO_BIN_EXE_qrinfo")).args(arguments).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("the node may be on another network"), "{errors}");
}

#[tokio::test]
async fn what_is_wrong_with_the_command_or_the_nodes_is_told_in_one_line() {
    let nowhere = Path::new("/proc/self").to_str().unwrap();
    let server = RecordedPeer::builder(recording()).protocol(70229).spawn().await.unwrap();
    for (more, code, expected) in [
        (vec!["--data-dir", nowhere], 1, "cannot open"),
        (vec!["--peer", "nowhere"], 1, "nowhere is no HOST:PORT"),
        (vec!["--from-cycle", "240"], 1, "no node can be asked"),
        (vec!["--parallel", "0"], 2, "invalid value '0'"),
        (vec!["--parallel", "2", "--sequential"], 2, "cannot be used with"),
    ] {
        let (output, _) = run(&[&server], &more).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    }
    let (output, _) = run(&[], &[]).await;
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no nodes of regtest are known"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
