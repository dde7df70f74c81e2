//! The command `qrinfo sync` as a user runs it.

use std::{
    process::{Output, Stdio},
    sync::Arc,
};

use serde_json::Value;
use spv_testkit::{RecordedPeer, Recording};
use tokio::process::Command;

pub(crate) fn recording() -> Arc<Recording> {
    Arc::new(Recording::bundled().unwrap())
}

pub(crate) fn command(servers: &[&RecordedPeer], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    command.args(["sync", "--network", "regtest", "--json"]).args(more).kill_on_drop(true).stdin(Stdio::null());
    for server in servers {
        command.args(["--peer", &server.address().to_string()]);
    }
    command
}

pub(crate) async fn run(servers: &[&RecordedPeer], more: &[&str]) -> (Output, Value) {
    let output = command(servers, more).output().await.unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, json)
}

pub(crate) fn assert_complete((output, json): &(Output, Value)) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((json["complete"].as_bool(), json["cycles"].as_array().map(Vec::len)), (Some(true), Some(64)), "{json}");
    let cycles: Vec<_> = json["cycles"].as_array().unwrap().iter().map(|row| row["cycle"].as_u64().unwrap()).collect();
    assert!(cycles.is_sorted());
}

pub(crate) const ALL: [&str; 2] = ["--from-cycle", "240"];
