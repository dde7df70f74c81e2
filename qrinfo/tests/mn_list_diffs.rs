//! The lists that a client asks for after a sync, one at a time and from three peers, in virtual time.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lists.rs"]
mod lists;
mod support;

use std::{collections::BTreeSet, sync::LazyLock};

use lists::Lists;
use qrinfo::{
    Delivered, Peer, SyncReport,
    plan::{MnListDiffPlanner, Planner},
};
use qrinfo_core::{
    AttemptErrorKind, BlockHash, BlockHeader, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    RequestPriority, WhyGivenUp, message::PROTOCOL_VERSION, wire::Wire,
};
use qrinfo_correlate::PeerService;
use qrinfo_verify::{HeaderMap, Level, ListStage};
use spv_testkit::{
    Chain, Fault, SimulatedPeer, SimulatedPeerBuilder, SyntheticChain, SyntheticParams, builder, chain::Place,
};
#[cfg(feature = "parallel-qrinfo")]
use support::parallel;
use support::{connect_on, profile, sequential};

/// The lowest cycle that the chain's nodes answer.
const FIRST_CYCLE: u32 = 5 * 288;

/// A chain with mainnet's types of quorums.
static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let params = SyntheticParams { masternodes: 700, evo_share: 0.3, ..SyntheticParams::mainnet_like(8) };
    SyntheticChain::generate(1, &params).chain
});

fn hash_at(height: u32) -> Option<BlockHash> {
    CHAIN.block(height).map(|block| block.hash)
}

fn height_of(hash: BlockHash) -> Option<u32> {
    match CHAIN.find(&hash)? {
        Place::Active(height) => Some(height),
        Place::Stale(_) => None,
    }
}

fn qr_infos() -> Vec<(QRInfoRequestSpec, RequestPriority)> {
    Planner::new(Network::Mainnet, CHAIN.tip()).plan_newest_first(FIRST_CYCLE, CHAIN.tip(), hash_at).unwrap()
}

/// The ChainLock and Platform quorums that are active at the tip, for a client that holds these lists.
fn mn_list_diffs(known_lists: BTreeSet<u32>) -> Vec<MnListDiffRequestSpec> {
    // The chain is lower than mainnet was when it got v20, which a devnet has from the start on.
    let planner = MnListDiffPlanner { network: Network::DEVNET, known_lists };
    let quorums = CHAIN.quorums().active_at(CHAIN.tip()).into_keys();
    planner.plan(quorums.filter(|(kind, _)| [2, 4, 5].contains(&kind.0)), height_of, hash_at).unwrap()
}

/// Everything that a whole sync brings.
fn lists_of_a_sync() -> BTreeSet<u32> {
    (1..=8).map(|cycle| cycle * 288 - 8).chain([CHAIN.tip()]).collect()
}

fn node() -> SimulatedPeerBuilder {
    SimulatedPeer::builder(CHAIN.clone()).profile(profile(100, 50))
}

async fn connect(nodes: Vec<SimulatedPeerBuilder>) -> (Vec<SimulatedPeer>, Vec<Peer<PeerService>>) {
    connect_on(Network::Mainnet, nodes).await
}

/// Every reply is that of the builder, in the order of the plan, and they chain.
fn assert_true(plan: &[MnListDiffRequestSpec], delivered: &[Delivered], known: &BTreeSet<u32>) {
    assert_eq!(delivered.len(), plan.len());
    let mut lists = Lists::new(&CHAIN, known);
    for (index, (delivered, spec)) in delivered.iter().zip(plan).enumerate() {
        assert_eq!(delivered.index, index);
        let request = Request::from(spec.clone()).to_message();
        let expected = builder::answer(&CHAIN, &request, PROTOCOL_VERSION).unwrap().unwrap();
        let (Reply::MnListDiff(expected), Reply::MnListDiff(got)) = (&expected, &delivered.reply) else { panic!() };
        assert_eq!(got.to_wire(), expected.to_wire(), "request {index}");
        lists.apply(got);
    }
    assert_eq!((lists.from_genesis, lists.known_already), (0, 0));
}

/// The lists that a client holds after a sync of the rotated quorums, the newest cycle first.
async fn sync_rotated() -> BTreeSet<u32> {
    let plan = qr_infos();
    let (_nodes, peers) = connect(vec![node()]).await;
    let (delivered, report, _) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    newest_first(&plan, &delivered)
}

/// Applies the replies of a sync; says which lists they lead to.
fn newest_first(plan: &[(QRInfoRequestSpec, RequestPriority)], delivered: &[Delivered]) -> BTreeSet<u32> {
    let mut lists = Lists::new(&CHAIN, &BTreeSet::new());
    for (index, delivered) in delivered.iter().take(plan.len()).enumerate() {
        assert_eq!(delivered.index, index);
        let Reply::QrInfo(reply) = &delivered.reply else { panic!("another reply") };
        lists.take(reply);
        assert!(lists.heights().contains(&CHAIN.tip()), "from the first reply on");
    }
    lists.heights()
}

/// A node that falls silent, one that lies, and one that does neither.
fn faulty() -> Vec<SimulatedPeerBuilder> {
    // A bit of the base: the reply does not answer the request.
    let lies = Fault::Tamper { bit: 20 };
    vec![node().fault(2.., Fault::Silent), node().fault(2.., lies), node()]
}

fn lost(report: &SyncReport) -> Vec<AttemptErrorKind> {
    report.lost.iter().map(|lost| lost.why).collect()
}

#[tokio::test(start_paused = true)]
async fn after_a_sync_the_lists_of_all_other_quorums_are_fetched() {
    let known = sync_rotated().await;
    assert_eq!(known, lists_of_a_sync().into_iter().chain([0]).collect());
    let plan = mn_list_diffs(known.clone());
    assert!(plan.len() > 20, "{}", plan.len());
    let (nodes, peers) = connect(vec![node()]).await;
    let (delivered, report, _) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&plan, &delivered, &known);
    assert_eq!(nodes[0].stats().requests, plan.len() as u64);
}

#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn three_peers_take_less_than_a_third_of_the_time_of_one() {
    let known = lists_of_a_sync();
    let plan = mn_list_diffs(known.clone());
    let (_nodes, peers) = connect(vec![node()]).await;
    let (_, report, sequential) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);

    let (nodes, peers) = connect(vec![node(), node(), node()]).await;
    let (delivered, report, parallel) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&plan, &delivered, &known);
    assert!(parallel * 3 < sequential, "{parallel:?} of {sequential:?}");
    let asked: Vec<_> = nodes.iter().map(|node| node.stats().requests).collect();
    assert!(asked.iter().all(|asked| *asked >= plan.len() as u64 / 5), "everybody has a share: {asked:?}");
}

#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn the_newest_cycle_comes_first_from_three_peers() {
    let plan = qr_infos();
    let (_nodes, peers) = connect(vec![node(), node(), node()]).await;
    let (delivered, report, _) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_eq!(newest_first(&plan, &delivered), lists_of_a_sync().into_iter().chain([0]).collect());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_or_lies_costs_no_list() {
    let known = lists_of_a_sync();
    let plan = mn_list_diffs(known.clone());
    let (_nodes, peers) = connect(faulty()).await;
    let (delivered, report, _) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_eq!(lost(&report), [AttemptErrorKind::False]);
    assert_true(&plan, &delivered, &known);
}

#[cfg(feature = "parallel-qrinfo")]
#[tokio::test(start_paused = true)]
async fn nor_does_it_in_parallel() {
    let known = lists_of_a_sync();
    let plan = mn_list_diffs(known.clone());
    let (_nodes, peers) = connect(faulty()).await;
    let (delivered, report, _) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_eq!(lost(&report), [AttemptErrorKind::False]);
    assert_true(&plan, &delivered, &known);
}

/// A request that is given up is named in the report.
#[tokio::test(start_paused = true)]
async fn a_diff_that_nobody_has_is_missing_from_the_report() {
    let plan = mn_list_diffs(lists_of_a_sync());
    let (_nodes, peers) = connect(vec![node().fault(1..2, Fault::Refuse)]).await;
    let (delivered, report, _) = sequential(&plan, peers).await;
    assert_eq!(delivered.len(), plan.len() - 1);
    let [missing] = report.outcome.missing() else { panic!("one is missing: {}", report.outcome) };
    assert_eq!((missing.index, &missing.request), (1, &Request::from(plan[1].clone())));
    assert_eq!(missing.why, WhyGivenUp::NoOtherPeer);
}

/// A wallet's whole way: the newest cycle, its history, and the lists of the other quorums, each proven by its roots.
#[tokio::test(start_paused = true)]
async fn newest_first_history_and_other_lists_are_proven_by_one_stage() {
    let mut headers = HeaderMap::default();
    for (height, header) in (0..).zip(CHAIN.headers()) {
        headers.insert(height, hash_at(height).unwrap(), &BlockHeader::from_bytes(*header));
    }
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    let (_nodes, peers) = connect(vec![node()]).await;
    let plan = qr_infos();
    let (delivered, _, _) = sequential(&plan, peers).await;
    for (planned, delivered) in plan.iter().zip(&delivered) {
        let request = Request::from(planned.0.clone());
        let verified = stage.apply(&request, &delivered.reply, |hash| headers.find(hash)).unwrap();
        assert_eq!(verified.lists.unwrap().block_hash(), planned.0.work_block_hashes[0]);
    }
    assert_eq!(delivered.len(), plan.len());

    let known: BTreeSet<_> = stage.kept().map(qrinfo_verify::Lists::height).collect();
    assert!(known.len() >= 8 && known.contains(&CHAIN.tip()), "{known:?}");
    let plan = mn_list_diffs(known);
    assert!(plan.len() > 10);
    let (_nodes, peers) = connect(vec![node()]).await;
    let (delivered, _, _) = sequential(&plan, peers).await;
    for (spec, delivered) in plan.iter().zip(&delivered) {
        let verified = stage.apply(&spec.clone().into(), &delivered.reply, |hash| headers.find(hash)).unwrap();
        assert_eq!(verified.lists.unwrap().block_hash(), spec.block_hash);
    }
    assert_eq!(delivered.len(), plan.len());
}
