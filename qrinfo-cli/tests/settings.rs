//! Settings and logs of the command: options, environment, file, and the streams they show on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use spv_testkit::{HeaderFault, RecordedPeer, Recording};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command, time::timeout};

/// Options of a short sync.
const SYNC: [&str; 6] = ["sync", "--json", "--from-cycle", "240", "--to-cycle", "500"];

async fn server() -> RecordedPeer {
    RecordedPeer::builder(Arc::new(Recording::bundled().unwrap())).spawn().await.unwrap()
}

#[allow(clippy::unwrap_used)]
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

async fn qrinfo(options: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    command.args(options).env_remove("RUST_LOG").envs(environment.iter().copied());
    command.kill_on_drop(true).stdin(Stdio::null()).output().await.unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_complete(output: &Output) {
    assert!(output.status.success(), "{}", errors(output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["complete"].as_bool(), json["cycles"].as_array().map(Vec::len)), (Some(true), Some(11)));
}

#[tokio::test]
async fn a_configuration_file_is_enough() {
    let server = server().await;
    let data = tempfile::tempdir().unwrap();
    let (_directory, path) = file(&format!(
        "network = 'regtest'\npeers = ['{}']\nstorage_path = {:?}\nmax_concurrent_filter_requests = 1",
        server.address(),
        data.path()
    ));
    let config = ["--config", path.to_str().unwrap()];
    assert_complete(&qrinfo(&[&SYNC[..], &config].concat(), &[]).await);
    let asked = server.stats().requests;
    assert_complete(&qrinfo(&[&SYNC[..], &config, &["--sequential"]].concat(), &[]).await);
    assert_eq!(server.stats().requests, asked, "the replies are stored in storage_path");
}

#[tokio::test]
async fn options_replace_the_environment_which_replaces_the_file() {
    let (named, other) = (server().await, server().await);
    let (named_address, other_address) = (named.address().to_string(), other.address().to_string());
    let (_directory, path) = file(&format!("network = 'testnet'\nmax_peers = 0\npeers = ['{other_address}']"));
    let config = ["--config", path.to_str().unwrap()];
    let environment =
        [("QRINFO_NETWORK", "regtest"), ("QRINFO_MAX_PEERS", "1"), ("QRINFO_PEERS", named_address.as_str())];
    assert_complete(&qrinfo(&[&SYNC[..], &config].concat(), &environment).await);
    assert_eq!(other.stats().connections, 0);

    let environment =
        [("QRINFO_NETWORK", "mainnet"), ("QRINFO_MAX_PEERS", "1"), ("QRINFO_PEERS", other_address.as_str())];
    let options = ["--network", "regtest", "--peer", &named_address, "--parallel", "32"];
    assert_complete(&qrinfo(&[&SYNC[..], &config, &options].concat(), &environment).await);
    assert_eq!(other.stats().connections, 0);
}

#[tokio::test]
async fn settings_reach_the_sync() {
    let (first, second) = (server().await, server().await);
    let addresses = [first.address().to_string(), second.address().to_string()].join(",");
    let environment = [("QRINFO_NETWORK", "regtest"), ("QRINFO_PEERS", addresses.as_str()), ("QRINFO_MAX_PEERS", "1")];
    assert_complete(&qrinfo(&SYNC, &environment).await);
    let asked = [first.stats().requests, second.stats().requests];
    assert!(asked.contains(&0) && asked != [0, 0], "{asked:?}");

    // Connections wait in the backlog, and nothing greets them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let environment =
        [("QRINFO_NETWORK", "regtest"), ("QRINFO_PEERS", address.as_str()), ("QRINFO_CONNECTION_TIMEOUT", "50ms")];
    let output = qrinfo(&SYNC, &environment).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no node can be asked"), "{}", errors(&output));
}

/// The time for the whole sync covers the headers too: without it, a node that sends none is waited for much longer.
#[tokio::test]
async fn the_total_timeout_ends_a_header_sync_as_well() {
    let recording = Arc::new(Recording::bundled().unwrap());
    let silent = RecordedPeer::builder(recording).header_fault(HeaderFault::Silence).spawn().await.unwrap();
    let address = silent.address().to_string();
    let environment =
        [("QRINFO_NETWORK", "regtest"), ("QRINFO_PEERS", address.as_str()), ("QRINFO_TOTAL_TIMEOUT", "1s")];
    let output = timeout(Duration::from_secs(10), qrinfo(&SYNC, &environment)).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no peer told its tip within"), "{}", errors(&output));
}

#[tokio::test]
async fn a_wrong_configuration_exits_with_2_before_anything_is_asked() {
    let server = server().await;
    let address = server.address().to_string();
    let options = ["--network", "regtest", "--peer", &address];
    let (_directory, path) = file("\nmax_peer = 1");
    let (path, missing) = (path.to_str().unwrap(), "/nonexistent/client.toml");
    for (more, variable, expected) in [
        (&[][..], ("QRINFO_MAX_PEERS", "0"), "the configuration is invalid: max_peers must be at least 1, not 0"),
        (&[], ("QRINFO_NO_SUCH_SETTING", "1"), "the environment: QRINFO_NO_SUCH_SETTING is not a setting"),
        (&[], ("QRINFO_NETWROK", "regtest"), "did you mean QRINFO_NETWORK?"),
        (&["--config", path], ("LANG", "C"), "client.toml, line 2: max_peer is not a setting; did you mean max_peers?"),
        (&["--config", missing], ("LANG", "C"), "/nonexistent/client.toml cannot be read"),
        (&["--data-dir", ""], ("LANG", "C"), "a value is required"),
    ] {
        let output = qrinfo(&[&SYNC[..], &options, more].concat(), &[variable]).await;
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn logs_go_to_standard_error_on_demand() {
    let server = server().await;
    let address = server.address().to_string();
    let sync = [&SYNC[..], &["--network", "regtest", "--peer", &address]].concat();
    for (more, environment, is_logged) in [
        (&[][..], &[][..], false),
        (&["-vv"], &[], true),
        (&["--log", "qrinfo=info,spv_peer=debug"], &[], true),
        (&[], &[("RUST_LOG", "debug")], true),
        (&["--log", "off"], &[("RUST_LOG", "debug")], false),
        (&["-v"], &[("RUST_LOG", "debug")], false),
    ] {
        let output = qrinfo(&[&sync[..], more].concat(), environment).await;
        assert_complete(&output);
        assert_eq!(errors(&output).contains("DEBUG"), is_logged, "{more:?} {environment:?}: {}", errors(&output));
    }
    let output = qrinfo(&sync, &[("RUST_LOG", "spv_peer=loud")]).await;
    assert_complete(&output);
    assert!(errors(&output).contains("ignoring `spv_peer=loud`"), "{}", errors(&output));
    let output = qrinfo(&[&sync[..], &["--log", "spv_peer=loud"]].concat(), &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("invalid value 'spv_peer=loud'"), "{}", errors(&output));
}
