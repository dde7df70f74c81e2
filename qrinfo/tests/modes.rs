//! One suite of scenarios for both modes, through the manager that a client adopts, in virtual time. Replies are equal in
//! everything but the tip diff, which is the answering node's own, and come in the same order.
#![cfg(all(feature = "config", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use qrinfo::{
    Delivered, HandledQRInfo, MasternodeSyncManager, MessageHandler, OrderedSync, RoutedReply, SequentialOptions,
    SequentialSync, SyncEvent, SyncProgress, SyncReport,
};
use qrinfo_core::{
    Attempt, BlockHash, QRInfoRequestSpec, RecoveryEvent, Reply, SyncPhase, WhyGivenUp,
    client::NetworkManager,
    message::{NetworkMessage, QRInfo},
    wire::frame::Frame,
};
use spv_config::ClientConfig;
use spv_testkit::{
    Answers, Chain, Fault, MockNetworkManager, NodeFacts, Response, ServerSession, ServerVersion, SimulatedPeer,
    SimulatedPeerBuilder,
};
use support::{chain, network, plan, profile};
use tokio::{sync::mpsc, time::Instant};
use tower::ServiceExt;

/// One at a time, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sequential,
    #[cfg(feature = "parallel-qrinfo")]
    Parallel,
}

/// In which modes a scenario is to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marked {
    Both,
    /// One at a time asks a single peer, and never notices.
    ParallelOnly,
}

struct Scenario {
    name: &'static str,
    marked: Marked,
    nodes: fn(&Chain) -> Vec<SimulatedPeerBuilder>,
    /// Positions in the plan that stay without a reply.
    missing: &'static [usize],
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "three honest nodes",
        marked: Marked::Both,
        nodes: |c| vec![node(c), node(c), node(c)],
        missing: &[],
    },
    Scenario { name: "a single node", marked: Marked::Both, nodes: |c| vec![node(c)], missing: &[] },
    Scenario {
        name: "nodes with different tips",
        marked: Marked::Both,
        nodes: |c| vec![node(c), node(&c.until(c.tip() - 10)), node(&c.until(c.tip() - 20))],
        missing: &[],
    },
    Scenario {
        name: "a node that falls silent",
        marked: Marked::Both,
        nodes: |c| vec![node(c).fault(4.., Fault::Silent), node(c), node(c)],
        missing: &[],
    },
    Scenario {
        name: "nodes that hang up",
        marked: Marked::Both,
        nodes: |c| vec![node(c).fault(7.., Fault::Close), node(c).fault(3.., Fault::Close), node(c)],
        missing: &[],
    },
    Scenario {
        name: "a node that refuses all",
        marked: Marked::Both,
        nodes: |c| vec![node(c).fault(.., Fault::Refuse), node(c), node(c)],
        missing: &[],
    },
    Scenario {
        name: "a node that lies",
        marked: Marked::Both,
        nodes: |c| vec![node(c).lie(5.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO), node(c), node(c)],
        missing: &[],
    },
    Scenario {
        name: "a block that nobody has",
        marked: Marked::Both,
        nodes: |c| (0..3).map(|_| lacks(c)).collect(),
        missing: &[9],
    },
    Scenario {
        name: "the first node is the slowest by far",
        marked: Marked::ParallelOnly,
        nodes: |c| vec![node(c).profile(profile(100, 20_000)), node(c), node(c)],
        missing: &[],
    },
];

/// All nodes run one version, so that the replies of both modes are the same to the byte.
fn node(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(chain.clone()).server(ServerVersion::NEWEST).profile(profile(100, 50))
}

fn lacks(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(Lacks(chain.clone(), 9)).server(ServerVersion::NEWEST).profile(profile(100, 50))
}

/// A node without the block of one request.
#[derive(Debug)]
struct Lacks(Chain, usize);

impl Answers for Lacks {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        let lacked = requests(&self.0)[self.1].block_hash;
        match NetworkMessage::from_frame(request.clone()) {
            Ok(NetworkMessage::GetQRInfo(asked)) if asked.block_hash == lacked => Response::Refuse,
            _ => self.0.answer(request, session),
        }
    }
}

/// The plan of all scenarios, which nodes with lower tips can answer as well.
fn requests(chain: &Chain) -> Vec<QRInfoRequestSpec> {
    let mut plan = plan(chain, Some(chain.tip() - 60));
    plan.truncate(plan.len() - 3);
    plan
}

/// Runs a plan in a mode; what is delivered, and how it ended.
async fn run(
    mode: Mode,
    network: &mut MockNetworkManager,
    plan: Vec<QRInfoRequestSpec>,
) -> (Vec<Delivered>, SyncReport) {
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let mut progress = manager.progress();
    let requests = plan.len();
    let (deliver, mut replies) = mpsc::channel(1);
    let sync = async {
        match mode {
            Mode::Sequential => manager.sync_by_name(network, plan, deliver, |_| {}).await,
            #[cfg(feature = "parallel-qrinfo")]
            Mode::Parallel => {
                let three = std::num::NonZeroUsize::new(3).unwrap();
                manager.request_qrinfo_parallel_by_name(network, plan, three, deliver, |_| {}).await
            }
        }
    };
    let take = async {
        let mut delivered = Vec::new();
        while let Some(next) = replies.recv().await {
            delivered.push(next);
        }
        delivered
    };
    let (report, delivered) = tokio::join!(sync, take);
    let told: Vec<_> = std::iter::from_fn(|| progress.try_recv().ok()).collect();
    let complete = report.outcome.is_complete();
    assert_eq!(told.first(), Some(&SyncProgress::Started { phase: SyncPhase::MasternodeLists, requests }));
    assert_eq!(told.last(), Some(&SyncProgress::Finished { complete }));
    let is_delivered = told.iter().filter_map(|event| match event {
        SyncProgress::Delivered { index, .. } => Some(*index),
        _ => None,
    });
    assert!(is_delivered.eq(delivered.iter().map(|next| next.index)));
    let is_missing = told.iter().filter_map(|event| match event {
        SyncProgress::Missing { index, .. } => Some(*index),
        _ => None,
    });
    assert!(is_missing.eq(report.outcome.missing().iter().map(|missing| missing.index)));
    // Every failure is told as it happens.
    let is_decision = |progress: &&SyncProgress| {
        matches!(progress, SyncProgress::Event(SyncEvent::Recovery(RecoveryEvent::Decided { .. })))
    };
    let failures = told.iter().filter(is_decision).count();
    assert!(failures >= usize::from(report.stats.refusals + report.stats.timeouts > 0), "{told:?}");
    (delivered, report)
}

/// A reply without its tip diff.
fn comparable(delivered: &Delivered) -> (usize, QRInfo) {
    let Reply::QrInfo(reply) = &delivered.reply else { panic!("{:?}", delivered.reply) };
    let mut reply = (**reply).clone();
    reply.mn_list_diff_tip = reply.mn_list_diff_h.clone();
    (delivered.index, reply)
}

async fn check(scenario: &Scenario, mode: Mode) -> Vec<(usize, QRInfo)> {
    let chain = chain();
    let mut network = network((scenario.nodes)(&chain)).await;
    let (delivered, report) = run(mode, &mut network, requests(&chain)).await;
    let missing: Vec<_> = report.outcome.missing().iter().map(|missing| missing.index).collect();
    assert_eq!(missing, scenario.missing, "{}, {mode:?}: {}", scenario.name, report.outcome);
    assert_eq!(delivered.len() + missing.len(), requests(&chain).len(), "{}, {mode:?}", scenario.name);
    assert!(delivered.is_sorted_by_key(|delivered| delivered.index), "{}, {mode:?}", scenario.name);
    delivered.iter().map(comparable).collect()
}

#[tokio::test(start_paused = true)]
async fn every_scenario_sequentially() {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.marked == Marked::Both) {
        check(scenario, Mode::Sequential).await;
    }
}

#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn every_scenario_in_parallel_delivers_the_same() {
    for scenario in &SCENARIOS {
        let parallel = check(scenario, Mode::Parallel).await;
        if scenario.marked == Marked::Both {
            let sequential = check(scenario, Mode::Sequential).await;
            assert!(parallel == sequential, "{}", scenario.name);
        }
    }
}

/// One at a time costs what a bare loop costs, in time and in heap.
#[test]
fn the_default_is_a_bare_loop() {
    let chain = chain();
    let plan = requests(&chain);
    let measure = |bare| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut took = Duration::ZERO;
        let heap = allocation_counter::measure(|| {
            runtime.block_on(async {
                let (_nodes, peers) = support::connect(vec![node(&chain)]).await;
                let plan = plan.clone();
                let started = Instant::now();
                if bare {
                    for (id, spec) in (0..).zip(&plan) {
                        peers[0].service.clone().oneshot(Attempt::new(id, spec.clone().into())).await.unwrap();
                    }
                } else {
                    let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
                    while sync.next().await.is_some() {}
                }
                took = started.elapsed();
            });
        });
        (took, heap.bytes_max)
    };
    // What is allocated once and kept is not either one's.
    measure(true);
    let ((bare_time, bare_heap), (time, heap)) = (measure(true), measure(false));
    assert_eq!(time, bare_time);
    println!("peak heap: {heap} bytes, of a bare loop {bare_heap}");
    // The peer's place in the queue and the future of the request under way.
    assert!(heap <= bare_heap + 2_048, "{heap} bytes, of a bare loop {bare_heap}");
}

/// Three in flight at three equal peers: within a tenth of a third.
#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn three_equal_peers_take_a_third_of_the_time() {
    let chain = chain();
    let mut times = Vec::new();
    for mode in [Mode::Sequential, Mode::Parallel] {
        let mut network = network(vec![node(&chain), node(&chain), node(&chain)]).await;
        let started = Instant::now();
        let (_, report) = run(mode, &mut network, requests(&chain)).await;
        assert!(report.outcome.is_complete());
        times.push(started.elapsed().as_secs_f64());
    }
    let share = times[1] / times[0];
    assert!(share <= 1.1 / 3.0, "{share} of {} s", times[0]);
}

/// A network that does not name its peers is one peer.
#[tokio::test(start_paused = true)]
async fn a_nameless_network_syncs_too() {
    let chain = chain();
    let mut network = network(vec![node(&chain).fault(3.., Fault::Close), node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    for round in 0..2 {
        let (deliver, mut replies) = mpsc::channel(1);
        let sync = async {
            #[cfg(feature = "parallel-qrinfo")]
            if round == 1 {
                let three = std::num::NonZeroUsize::new(3).unwrap();
                return manager.request_qrinfo_parallel(&mut network, requests(&chain), three, deliver, |_| {}).await;
            }
            manager.sync(&mut network, requests(&chain), deliver, |_| {}).await
        };
        let take = async {
            let mut indices = Vec::new();
            while let Some(next) = replies.recv().await {
                indices.push(next.index);
            }
            indices
        };
        let (report, indices) = tokio::join!(sync, take);
        assert!(report.unwrap().outcome.is_complete(), "round {round}");
        assert_eq!(indices, (0..requests(&chain).len()).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_sync_says_what_is_missing() {
    let chain = chain();
    let mut network = network(vec![node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let cancellation = manager.cancellation();
    let (deliver, mut replies) = mpsc::channel(1);
    let take = async {
        for _ in 0..5 {
            replies.recv().await.unwrap();
        }
        cancellation.cancel();
        replies
    };
    let (report, _replies) = tokio::join!(manager.sync_by_name(&mut network, requests(&chain), deliver, |_| {}), take);
    let missing = report.outcome.missing();
    assert!(!missing.is_empty() && missing.iter().all(|missing| missing.why == WhyGivenUp::Stopped));
    assert_eq!((manager.phase(), manager.cancellation().is_cancelled()), (None, false), "ready for the next");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_dropped_stops_the_sync() {
    let chain = chain();
    let mut network = network(vec![node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let (deliver, replies) = mpsc::channel(1);
    drop(replies);
    let report = manager.sync_by_name(&mut network, requests(&chain), deliver, |_| {}).await;
    assert!(!report.outcome.is_complete());
}

/// The client's own loop, as dash-spv has it.
#[tokio::test(start_paused = true)]
async fn a_clients_own_loop_asks_one_at_a_time() {
    let chain = chain();
    let mut network = network(vec![node(&chain), node(&chain)]).await;
    let (mut manager, mut handler) = (MasternodeSyncManager::new(&ClientConfig::regtest()), MessageHandler::new());
    for spec in requests(&chain).into_iter().take(3) {
        manager.request_qrinfo(&mut network, spec.clone()).await.unwrap();
        assert_eq!(manager.phase(), Some(SyncPhase::MasternodeLists));
        assert!(manager.request_qrinfo(&mut network, spec.clone()).await.is_err(), "one at a time");
        let reply = next_reply(&mut network).await;
        let RoutedReply::Sequential(handled) =
            handler.handle_qrinfo_message(reply, &mut manager, Instant::now().into_std())
        else {
            panic!()
        };
        let HandledQRInfo::Answered(request, _) = handled else { panic!("{handled:?}") };
        assert_eq!(*request, spec.into());
        // The other peer's copy.
        let copy = next_reply(&mut network).await;
        assert!(matches!(manager.handle_qrinfo_message(copy), HandledQRInfo::Unexpected(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_reply_leaves_the_request_waiting_until_it_times_out() {
    let chain = chain();
    let [first, second] = requests(&chain)[..2].to_vec().try_into().unwrap();
    let mut network = network(vec![node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let sent = Instant::now();
    manager.request_qrinfo(&mut network, first.clone()).await.unwrap();
    network.request_qr_info(second.base_block_hashes, second.block_hash, second.extra_share).await.unwrap();
    let (true_reply, other_reply) = (next_reply(&mut network).await, next_reply(&mut network).await);
    assert!(matches!(manager.handle_qrinfo_message(other_reply.clone()), HandledQRInfo::Mismatched(_)));
    assert!(matches!(manager.handle_qrinfo_message(true_reply), HandledQRInfo::Answered(..)), "it still waits");

    manager.request_qrinfo(&mut network, first.clone()).await.unwrap();
    assert!(matches!(manager.handle_qrinfo_message(other_reply), HandledQRInfo::Mismatched(_)));
    let after = |seconds| (sent + Duration::from_secs(seconds)).into_std();
    assert_eq!(manager.check_timeout(after(30)), None);
    assert_eq!(manager.check_timeout(after(90)), Some(first.into()), "dash-spv's timeout of a minute");
    assert_eq!((manager.check_timeout(after(90)), manager.phase()), (None, None));
}

async fn next_reply(network: &mut MockNetworkManager) -> Box<QRInfo> {
    loop {
        if let Some(NetworkMessage::QRInfo(reply)) = network.receive_message().await.unwrap() {
            return reply;
        }
    }
}

/// Several requests of a client's own loop, which all have the same tip. By tip, as the first design matched them, none
/// could be told from another.
#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn registered_requests_get_their_own_replies() {
    let chain = chain();
    let mut network = network(vec![node(&chain), node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let mut handler = MessageHandler::new_with_parallel_qrinfo(Duration::from_secs(30));
    let now = || Instant::now().into_std();
    let mut waiting = Vec::new();
    for spec in requests(&chain).into_iter().take(5) {
        let registered = handler.register_qrinfo_request(spec.clone(), 2, now()).unwrap().unwrap();
        network.send_message(registered.message.unwrap()).await.unwrap();
        waiting.push((spec, registered.receiver));
    }
    for _ in 0..2 * waiting.len() {
        let reply = next_reply(&mut network).await;
        let routed = handler.handle_qrinfo_message(reply, &mut manager, now());
        assert!(matches!(routed, RoutedReply::Correlated(_)), "{routed:?}");
    }
    for (spec, receiver) in waiting {
        let reply = receiver.await.unwrap().unwrap().reply;
        assert_eq!(qrinfo_core::Request::from(spec).check_reply(&reply), Ok(()));
    }
    assert_eq!(handler.cleanup_expired_requests(now()), 0);
}

/// A refusal has no name over a network without names: it costs timeouts, and only that request.
#[tokio::test(start_paused = true)]
async fn a_request_that_no_peer_without_a_name_answers_costs_only_itself() {
    let chain = chain();
    let mut plan = requests(&chain);
    plan.truncate(10);
    plan[3].block_hash = BlockHash::from_bytes([9; 32]);
    let mut network = network(vec![node(&chain), node(&chain), node(&chain)]).await;
    let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let (deliver, mut replies) = mpsc::channel(plan.len());
    let report = manager.sync(&mut network, plan, deliver, |_| {}).await.unwrap();
    let missing: Vec<_> = report.outcome.missing().iter().map(|missing| (missing.index, missing.why)).collect();
    assert_eq!(missing, [(3, WhyGivenUp::Exhausted)]);
    assert!(report.lost.is_empty());
    let delivered = std::iter::from_fn(|| replies.try_recv().ok()).count();
    assert_eq!(delivered, 9);
}
