//! `qrinfo sync` and `qrinfo follow` on devnets that are made up: parameters of their own, and no rotated quorums.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use qrinfo_core::{
    BlockHash, Devnet, LlmqParams, Network,
    message::Headers,
    wire::frame::{Command as Message, Frame},
};
use serde_json::Value;
use spv_testkit::{
    Answers, Chain, Keys, NodeFacts, Response, ServerSession, SimulatedPeer, SyntheticChain, SyntheticParams,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// Rotated quorums that no network has by default.
const ROTATED: LlmqParams =
    LlmqParams { size: 12, min_size: 7, threshold: 7, interval: 30, active: 3, ..LlmqParams::LLMQ_DEVNET_DIP0024 };

const CONFIG: &str = "network = 'devnet'\n[devnet]\nname = 'made-up'\nrotated_size = 12\nrotated_threshold = 7\n\
                      rotated_interval = 30\nrotated_active = 3\nchain_locks_type = 104\n";

fn devnet() -> SyntheticParams {
    let mut devnet = Devnet::default().with_rotated(ROTATED).unwrap();
    devnet.chain_locks = qrinfo_core::LlmqType(104);
    let network = Network::Devnet(devnet);
    SyntheticParams {
        network,
        tip: 9 * 30 + 24,
        masternodes: 20,
        failed_dkgs: 0.0,
        changes_per_cycle: 1.0,
        v19_height: 0,
        v20_height: 20,
        keys: Keys::Bls,
        ..SyntheticParams::regtest()
    }
}

/// A node that refuses every `getqrinfo`, as one that never stored a snapshot.
#[derive(Debug)]
struct WithoutSnapshots(Chain);

impl Answers for WithoutSnapshots {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        if request.command == Message::GET_QR_INFO { Response::Refuse } else { self.0.answer(request, session) }
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        Answers::headers(&self.0, locator)
    }
}

/// Syncs from two nodes with these answers, by a configuration file.
async fn sync(config: &str, answers: [impl Answers; 2], more: &[&str]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.toml");
    std::fs::write(&path, config).unwrap();
    let nodes = answers.map(|answers| SimulatedPeer::builder(answers).build());
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    command.args(["sync", "--json", "--config", path.to_str().unwrap()]).args(more);
    for node in &nodes {
        command.args(["--peer", &node.listen().await.unwrap().to_string()]);
    }
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await.unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, json)
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_devnet_syncs_by_its_own_parameters() {
    let chain = SyntheticChain::generate(5, &devnet()).chain;
    let genesis = format!("{CONFIG}genesis = '{}'\n", chain.block(1).unwrap().hash);
    let (output, json) = sync(&genesis, [chain.clone(), chain.clone()], &["--history", "--verify", "full"]).await;
    assert!(output.status.success(), "{}\n{json:#}", shown(&output));
    let cycles: Vec<_> = json["cycles"].as_array().unwrap().iter().map(|row| row["cycle"].as_u64().unwrap()).collect();
    assert_eq!((cycles.last(), cycles.is_sorted()), (Some(&270), true), "{cycles:?}");
    assert!(cycles.len() > 2 && cycles.windows(2).all(|pair| pair[1] - pair[0] == 30), "{cycles:?}");
    let newest = json["cycles"].as_array().unwrap().last().unwrap();
    assert_eq!(newest["quorums"], 3, "{newest}");
    let unproven = newest["unproven"].as_array().unwrap().iter().map(|part| part.as_str().unwrap());
    assert!(unproven.clone().all(|part| !part.contains("quorum")), "{newest}");

    // Other parameters, and another devnet.
    let (output, _) = sync("network = 'devnet'", [chain.clone(), chain.clone()], &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let other = format!("{CONFIG}genesis = '{}'\n", "07".repeat(32));
    let (output, json) = sync(&other, [chain.clone(), chain], &[]).await;
    assert_eq!((output.status.code(), json["complete"].as_bool()), (Some(1), Some(false)), "{}", shown(&output));
    let errors = shown(&output);
    assert!(errors.contains("it is on another chain") && !errors.contains("given up"), "{errors}");
}

#[tokio::test]
async fn a_chain_without_rotated_quorums_ends_with_the_lists_that_it_has() {
    let without = SyntheticParams { failing_index: Some((0, 0..=u32::MAX)), keys: Keys::Random, ..devnet() };
    let one = Devnet::default().with_rotated(LlmqParams { active: 1, ..ROTATED }).unwrap();
    let chain = SyntheticChain::generate(6, &SyntheticParams { network: Network::Devnet(one), ..without }).chain;
    for (tip, more) in
        [(chain.tip(), &[][..]), (chain.tip(), &["--history"]), (chain.tip(), &["--sequential"]), (70, &[])]
    {
        let nodes = || WithoutSnapshots(chain.until(tip));
        let (output, json) = sync(CONFIG, [nodes(), nodes()], more).await;
        assert!(output.status.success(), "{more:?}: {}\n{json:#}", shown(&output));
        assert_eq!(json["outcome"], "complete: the chain has no rotated quorums");
        assert_eq!((json["complete"].as_bool(), json["cycles"].as_array().map(Vec::len)), (Some(true), Some(0)));
        let lists = &json["lists"];
        assert_eq!(lists["height"], tip, "{lists}");
        let masternodes = chain.masternodes().at(tip).count() as u64;
        let quorums = chain.quorums().active_at(tip).len() as u64;
        assert_eq!(lists["masternodes"].as_u64(), Some(masternodes));
        let counts = lists["quorums"].as_object().unwrap().values();
        assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), quorums, "{lists}");
    }
}

/// The lists show that there are rotated quorums, so refusals prove nothing.
#[tokio::test]
async fn nodes_that_refuse_rotated_quorums_which_exist_leave_them_missing() {
    let chain = SyntheticChain::generate(7, &SyntheticParams { keys: Keys::Random, ..devnet() }).chain;
    let nodes = || WithoutSnapshots(chain.clone());
    let (output, json) = sync(CONFIG, [nodes(), nodes()], &[]).await;
    assert_eq!((output.status.code(), json["complete"].as_bool()), (Some(1), Some(false)), "{}", shown(&output));
    assert_eq!(json["lists"]["quorums"]["105"], 3, "{json:#}");
    assert_eq!(json["missing"].as_array().map(Vec::len), Some(1));
}

/// The events of a follower up to the first that says that it is synced, or does not go on.
async fn follow(config: &std::path::Path, data: &std::path::Path, chains: &[Chain]) -> Vec<Value> {
    let nodes: Vec<_> = chains.iter().map(|chain| SimulatedPeer::builder(chain.clone()).build()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    command.args(["follow", "--json", "--config"]).arg(config).arg("--data-dir").arg(data);
    for node in &nodes {
        command.args(["--peer", &node.listen().await.unwrap().to_string()]);
    }
    let mut child = command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            events.push(serde_json::from_str::<Value>(&line).unwrap());
            let state = &events[events.len() - 1]["state"];
            if state == "synced" || state == "degraded" {
                break;
            }
        }
    };
    timeout(Duration::from_secs(30), read).await.unwrap();
    child.kill().await.unwrap();
    events
}

#[tokio::test]
async fn a_devnet_is_followed_by_its_own_parameters() {
    let chain = SyntheticChain::generate(5, &devnet()).chain;
    let directory = tempfile::tempdir().unwrap();
    let config = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ours = config("ours.toml", format!("{CONFIG}genesis = '{}'\n", chain.block(1).unwrap().hash));
    let chains = [chain.clone(), chain.clone()];
    let data = directory.path().join("data");
    let events = follow(&ours, &data, &chains).await;
    assert_eq!(events.last().unwrap()["height"], chain.tip(), "{events:?}");
    let quorums = chain.quorums().active_at(chain.tip()).len();
    let is_of_tip = |event: &&Value| event["event"] == "proven" && event["height"] == chain.tip();
    assert_eq!(events.iter().find(is_of_tip).unwrap()["quorums"], quorums);
    // The stored headers begin behind its genesis block, and its lists are found by the configuration.
    let file = directory.path().join("list");
    let mut export = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
    export.args(["export-list", "--config"]).arg(&ours).arg("--data-dir").args([&data, &file]);
    let exported = export.output().await.unwrap();
    assert!(exported.status.success(), "{}", shown(&exported));
    assert_eq!(follow(&ours, &data, &chains).await.last().unwrap()["height"], chain.tip());

    // The nodes are on another devnet: block 0 is the same.
    let other = config("other.toml", format!("{CONFIG}genesis = '{}'\n", "07".repeat(32)));
    let events = follow(&other, &directory.path().join("other"), &chains).await;
    assert_eq!(events.last().unwrap()["state"], "degraded", "{events:?}");
    assert!(events.iter().all(|event| event["event"] == "state"), "{events:?}");
    // Nor are the stored headers taken for those of another devnet.
    assert_eq!(follow(&other, &data, &chains).await, [Value::Null; 0]);
}
