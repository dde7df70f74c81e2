//! The command `qrinfo peers` against nodes on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use serde_json::Value;
use spv_testkit::{RecordedPeer, Recording};
use tokio::process::Command;

#[tokio::test]
async fn nodes_that_answer_are_told_from_those_that_do_not() {
    let recording = Arc::new(Recording::bundled().unwrap());
    let nodes = [
        RecordedPeer::builder(recording.clone()).spawn().await.unwrap(),
        RecordedPeer::builder(recording.clone()).spawn().await.unwrap(),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    command.args(["peers", "--network", "regtest", "--json", "--peer", "127.0.0.1:1"]);
    nodes.iter().for_each(|node| _ = command.args(["--peer", &node.address().to_string()]));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let answers = json["answer"].as_array().unwrap();
    assert_eq!((answers.len(), json["fail"][0]["peer"].as_str()), (2, Some("127.0.0.1:1")), "{json}");
    assert!(answers.iter().all(|answer| answer["height"] == recording.start_height()), "{json}");

    let alone = Command::new(env!("CARGO_BIN_EXE_qrinfo"))
        .args(["peers", "--network", "regtest", "--peer", "127.0.0.1:1"])
        .output();
    assert_eq!(alone.await.unwrap().status.code(), Some(1));
}
