//! The commands `qrinfo follow` and `qrinfo export-list` against nodes whose recorded chain grows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use qrinfo_core::{BlockHash, message::Headers, wire::frame::Frame};

use serde_json::Value;
use spv_testkit::{
    Answers, Chain, Keys, LiveChain, NodeFacts, PeerProfile, Recording, Response, ServerSession, SimulatedPeer,
    SyntheticChain, SyntheticParams,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running command.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(nodes: &[SocketAddr], data: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qrinfo"));
        command.args(["follow", "--network", "regtest", "--json", "--data-dir"]).arg(data).args(more);
        nodes.iter().for_each(|node| _ = command.arg("--peer").arg(node.to_string()));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The events up to the one that says that it is synced to a height.
    async fn until_synced(&mut self, height: u32) -> Vec<Value> {
        self.until(|event| event["state"] == "synced" && event["height"] == height).await
    }

    /// The events up to this one.
    async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let event: Value = serde_json::from_str(&line).unwrap();
                let is_last = is_it(&event);
                events.push(event);
                if is_last {
                    return;
                }
            }
            panic!("it ended");
        };
        timeout(PATIENCE, read).await.unwrap();
        events
    }

    async fn terminate(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn it_follows_the_recorded_chain_stores_it_and_starts_from_a_file() {
    let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
    // Of the recorded blocks, the nodes know the lists of some: those of work blocks, and of the tip.
    let live = LiveChain::new(chain.until(1744));
    let peers = [0, 1].map(|_| SimulatedPeer::builder(live.clone()).build());
    let nodes = [peers[0].listen().await.unwrap(), peers[1].listen().await.unwrap()];
    let replies = |peers: &[SimulatedPeer]| peers.iter().map(|peer| peer.stats().replies).sum::<u64>();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    let mut running = Running::start(&nodes, first.path(), &[]);
    assert_proven(&running.until_synced(1744).await, &chain, 1744);
    running.terminate().await;

    let file = first.path().join("list");
    let export = Command::new(env!("CARGO_BIN_EXE_qrinfo"))
        .args(["export-list", "--network", "regtest", "--data-dir"])
        .args([first.path(), &file])
        .output();
    let output = export.await.unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.contains("block 1744"), "{message}");

    // The next start asks for nothing that is stored.
    let before = replies(&peers);
    let mut running = Running::start(&nodes, first.path(), &[]);
    running.until_synced(1744).await;
    assert_eq!(replies(&peers) - before, 0);
    live.set(chain.until(1772));
    assert_proven(&running.until_synced(1772).await, &chain, 1772);
    running.terminate().await;
    // The cycle before, whose quorums were not all mined yet, and the newest, with the step to the tip.
    assert_eq!(replies(&peers) - before, 2);

    let mut running = Running::start(&nodes, second.path(), &["--from-list", file.to_str().unwrap()]);
    assert_proven(&running.until_synced(1772).await, &chain, 1772);
    running.terminate().await;
    // Started from the file, the newest cycle is enough.
    assert_eq!(replies(&peers) - before, 3);
}

#[tokio::test]
async fn an_instant_lock_that_nodes_announce_is_a_line_of_its_own() {
    let params = SyntheticParams { tip: 9 * 24 + 3, keys: Keys::Bls, ..SyntheticParams::regtest() };
    let synthetic = SyntheticChain::generate(29, &params);
    let live = LiveChain::new(synthetic.chain.clone());
    let peers = [0, 1].map(|_| SimulatedPeer::builder(live.clone()).build());
    let nodes = [peers[0].listen().await.unwrap(), peers[1].listen().await.unwrap()];
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(&nodes, data.path(), &[]);
    running.until_synced(params.tip).await;
    let lock = synthetic.instant_lock(params.tip, 7).unwrap();
    live.lock(lock.clone());
    let events = running.until(|event| event["event"] == "instantlocked").await;
    let last = events.last().unwrap();
    assert_eq!((&last["txid"], &last["inputs"]), (&lock.txid.to_string().into(), &1.into()), "{last}");
    running.terminate().await;
}

/// A node that records the questions that it is asked after the handshake.
#[derive(Debug, Clone)]
struct Recorded(LiveChain, Arc<Mutex<Vec<String>>>);

impl Recorded {
    fn record(&self, question: impl ToString) {
        self.1.lock().unwrap().push(question.to_string());
    }
}

impl Answers for Recorded {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        let response = self.0.answer(request, session);
        if response != Response::Ignore {
            self.record(request.command);
        }
        response
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        self.record("getheaders");
        Answers::headers(&self.0, locator)
    }

    fn live(&self) -> Option<watch::Receiver<Chain>> {
        self.0.live()
    }
}

/// The first round trip is the handshake. Each further question waits for the answer to the one before, so the questions to
/// a node are counted, and no time.
#[tokio::test]
async fn a_restart_is_synced_after_three_round_trips() {
    let params = SyntheticParams { tip: 9 * 24 + 6, keys: Keys::Bls, ..SyntheticParams::regtest() };
    let chain = SyntheticChain::generate(29, &params).chain;
    let live = LiveChain::new(chain.until(params.tip - 3));
    let link = PeerProfile { round_trip: Duration::from_millis(100), ..PeerProfile::default() };
    let recorded = [0, 1].map(|_| Recorded(live.clone(), Arc::default()));
    let peers = recorded.clone().map(|answers| SimulatedPeer::builder(answers).profile(link).build());
    let nodes = [peers[0].listen().await.unwrap(), peers[1].listen().await.unwrap()];
    let data = tempfile::tempdir().unwrap();
    for stopped_for in [0, 1, 2] {
        let tip = live.now().tip() + stopped_for;
        live.set(chain.until(tip));
        let mut running = Running::start(&nodes, data.path(), &[]);
        running.until_synced(tip).await;
        running.terminate().await;
        let mut asked = recorded.each_ref().map(|node| std::mem::take(&mut *node.1.lock().unwrap()));
        asked.sort_unstable_by_key(Vec::len);
        match stopped_for {
            // The first start, from nothing.
            0 => assert_eq!(asked.concat().last().unwrap(), "getqrinfo"),
            _ => {
                assert_eq!(asked, [vec!["getheaders"], vec!["getheaders", "getmnlistd"]], "{stopped_for} blocks later")
            }
        }
    }
}

/// Kills in [`a_follower_that_is_killed_goes_on_from_what_it_stored`]; `SPV_TEST_KILLS` sets another number.
const KILLS: u32 = 12;

/// Half of the kills hit a follower that is on its way to a block that it has not seen, the others one that starts from
/// what is stored. The last start has nothing left to ask for.
#[tokio::test]
async fn a_follower_that_is_killed_goes_on_from_what_it_stored() {
    let kills = std::env::var("SPV_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
    let link = PeerProfile { round_trip: Duration::from_millis(20), ..PeerProfile::default() };
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut killed, mut slowest) = (0, Duration::ZERO);
    while killed < kills {
        // The recorded blocks whose lists the nodes know: a work block, and the tip.
        let live = LiveChain::new(chain.until(1744));
        let peers = [0, 1].map(|_| SimulatedPeer::builder(live.clone()).profile(link).build());
        let nodes = [peers[0].listen().await.unwrap(), peers[1].listen().await.unwrap()];
        let directory = tempfile::tempdir().unwrap();
        let mut synced = 0;
        for height in [1744, 1744, 1772, 1772] {
            live.set(chain.until(height));
            let mut running = Running::start(&nodes, directory.path(), &[]);
            // From before the connection to after the last reply.
            tokio::time::sleep(Duration::from_micros(rng.u64(..400_000))).await;
            running.child.start_kill().unwrap();
            running.child.wait().await.unwrap();
            killed += 1;
            // What the killed one had reported is still there: the next start proves it without a question.
            while let Some(line) = running.lines.next_line().await.unwrap() {
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["state"] == "synced" {
                    synced = synced.max(event["height"].as_u64().unwrap());
                }
            }
            let replies = || peers.iter().map(|peer| peer.stats().replies).sum::<u64>();
            let before = replies();
            let started = tokio::time::Instant::now();
            let mut running = Running::start(&nodes, directory.path(), &[]);
            running.until_synced(height).await;
            slowest = slowest.max(started.elapsed());
            assert!(synced < u64::from(height) || replies() == before, "it asked for what it had reported");
            running.terminate().await;
            synced = u64::from(height);
        }
    }
    eprintln!("{killed} kills; the slowest start to synced took {slowest:?}, with 20 ms round trips");
}

fn assert_proven(events: &[Value], chain: &Chain, height: u32) {
    let is_of_block = |event: &&Value| event["event"] == "proven" && event["height"] == height;
    let proven = events.iter().find(is_of_block).unwrap();
    let (masternodes, quorums) = (chain.masternodes().at(height).count(), chain.quorums().active_at(height).len());
    assert_eq!((&proven["masternodes"], &proven["quorums"]), (&masternodes.into(), &quorums.into()));
}
