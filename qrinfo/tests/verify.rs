//! The request of a false reply is sent to another peer before the sync goes on: both modes, in virtual time.
#![cfg(all(feature = "config", feature = "tcp", feature = "verify"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod honest;
mod support;

use std::{sync::Arc, time::Duration};

use honest::{Client, World};
use qrinfo::{
    Delivered, LostPeer, MasternodeSyncManager, OrderedSync, Peer, SequentialOptions, SequentialSync, SyncOutcome,
    SyncProgress, SyncReport, SyncStats, verify::Verifier,
};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, BlockHeader, PeerId, ProTxHash, QRInfoRequestSpec, WhyGivenUp,
    message::QRInfo,
};
use qrinfo_verify::{CheckLayer, Falsehood, HeaderMap, KnownBlock, Level, ListStage, VerifyError};
use spv_config::ClientConfig;
use spv_testkit::{Chain, MockNetworkManager, SimulatedPeer, SimulatedPeerBuilder};
use support::{assert_true, chain, connect, network, plan, profile};
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer, util::BoxCloneService};

type Asking = BoxCloneService<Attempt, Answer, AttemptError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sequential,
    #[cfg(feature = "parallel-qrinfo")]
    Parallel,
}

const MODES: &[Mode] = &[
    Mode::Sequential,
    #[cfg(feature = "parallel-qrinfo")]
    Mode::Parallel,
];

/// The result of a sync whose replies were verified.
struct Ended {
    delivered: Vec<Delivered>,
    /// Replies that were taken back, by their positions.
    rejected: Vec<usize>,
    /// Replies that could not be judged for want of the lists before.
    unjudged: usize,
    stats: SyncStats,
    report: SyncReport,
}

async fn verified(mode: Mode, chain: &Chain, plan: &[QRInfoRequestSpec], peers: Vec<Peer<Asking>>) -> Ended {
    match mode {
        Mode::Sequential => verify_all(chain, plan, sequential(plan, peers)).await,
        #[cfg(feature = "parallel-qrinfo")]
        Mode::Parallel => verify_all(chain, plan, parallel(plan, peers)).await,
    }
}

fn sequential(plan: &[QRInfoRequestSpec], peers: Vec<Peer<Asking>>) -> SequentialSync<Asking> {
    SequentialSync::new(plan.to_vec(), peers, SequentialOptions::default())
}

#[cfg(feature = "parallel-qrinfo")]
fn parallel(plan: &[QRInfoRequestSpec], peers: Vec<Peer<Asking>>) -> qrinfo::ParallelSync {
    qrinfo::ParallelSync::new(plan.to_vec(), peers, qrinfo::ParallelOptions::default())
}

/// Verifies all replies, as far as the lists before are there.
async fn verify_all(chain: &Chain, plan: &[QRInfoRequestSpec], mut sync: impl OrderedSync) -> Ended {
    let headers = headers(chain);
    let stage = ListStage::new(chain.network(), Level::Roots);
    let mut verifier = Verifier::new(stage, move |hash| headers.find(hash));
    let (mut delivered, mut rejected, mut unjudged) = (Vec::new(), Vec::new(), 0);
    while let Some(next) = sync.next().await {
        match verifier.take(plan[next.index].clone(), &next.reply).await {
            Ok(verified) => {
                assert_eq!(verified.lists.unwrap().block_hash(), plan[next.index].work_block_hashes[0]);
                delivered.push(next);
            }
            Err(VerifyError::False(falsehood)) => {
                sync.reject_last(falsehood);
                rejected.push(next.index);
                // It was taken back already.
                sync.reject_last(Falsehood::NoCommitment { index: 0, height: 0 });
            }
            Err(VerifyError::Missing(_)) => unjudged += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let stats = sync.stats();
    Ended { delivered, rejected, unjudged, stats, report: sync.into_report() }
}

impl Ended {
    fn assert_complete(&self, chain: &Chain, plan: &[QRInfoRequestSpec]) {
        assert!(self.report.outcome.is_complete(), "{}", self.report.outcome);
        let order: Vec<_> = self.delivered.iter().map(|delivered| delivered.index).collect();
        assert_eq!((order, self.unjudged), ((0..plan.len()).collect::<Vec<_>>(), 0));
        assert_eq!(self.stats.delivered, plan.len() as u64);
        assert_eq!(self.stats.bytes, self.delivered.iter().map(|delivered| delivered.timing.bytes).sum::<u64>());
        assert_true(chain, plan, &self.delivered);
    }
}

fn headers(chain: &Chain) -> Arc<HeaderMap> {
    let mut headers = HeaderMap::default();
    for height in 0..=chain.tip() {
        let block = chain.block(height).unwrap();
        headers.insert(height, block.hash, &BlockHeader::from_bytes(block.header));
    }
    Arc::new(headers)
}

/// Peers whose replies are checked as they come, if there are headers to check them by.
async fn peers(
    nodes: Vec<SimulatedPeerBuilder>,
    check: Option<Arc<HeaderMap>>,
) -> (Vec<SimulatedPeer>, Vec<Peer<Asking>>) {
    let (nodes, peers) = connect(nodes).await;
    let wrap = |service| match check.clone() {
        Some(headers) => BoxCloneService::new(CheckLayer::new(move |hash: &_| headers.find(hash)).layer(service)),
        None => BoxCloneService::new(service),
    };
    (nodes, peers.into_iter().map(|peer| peer.map(wrap)).collect())
}

fn node(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(chain.clone()).profile(profile(100, 50))
}

/// Takes away a masternode that is not there: only the list before can tell.
fn false_list(reply: &mut QRInfo) {
    reply.mn_list_diff_h.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
}

/// Headers can tell.
fn false_proof(reply: &mut QRInfo) {
    reply.mn_list_diff_h.total_transactions = 0;
}

fn is_lost(report: &SyncReport, liar: PeerId) {
    assert_eq!(report.lost, [LostPeer { peer: liar, why: AttemptErrorKind::False }]);
}

#[tokio::test(start_paused = true)]
async fn an_honest_sync_is_verified_to_its_end() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let (_nodes, peers) = peers(vec![node(&chain), node(&chain), node(&chain)], Some(headers(&chain))).await;
        let ended = verified(*mode, &chain, &plan, peers).await;
        ended.assert_complete(&chain, &plan);
        assert!(ended.rejected.is_empty() && ended.report.lost.is_empty(), "{mode:?}");
    }
}

/// Nodes of all versions, on both branches of the chain, behind and ahead: whatever becomes of the sync, none is lost
/// for a false reply.
#[tokio::test(start_paused = true)]
async fn no_honest_node_of_a_mixed_network_is_blamed() {
    let mut delivered = 0;
    for number in 0..12 {
        let world = World::generate(number);
        let mut rng = fastrand::Rng::with_seed(number);
        let client = Client::random(&world, &mut rng);
        let headers = Arc::new(client.headers());
        let nodes: Vec<_> = (0..5).map(|_| honest::Peer::random(&world, &mut rng)).collect();
        let plan = client.plan(&nodes, Vec::new(), &mut rng);
        for mode in MODES {
            let nodes = nodes.iter().map(|node| node.simulated().profile(profile(100, 50))).collect();
            let (_nodes, peers) = peers(nodes, Some(headers.clone())).await;
            let (replies, report) = match mode {
                Mode::Sequential => honest_sync(sequential(&plan, peers), &plan, &headers).await,
                #[cfg(feature = "parallel-qrinfo")]
                Mode::Parallel => honest_sync(parallel(&plan, peers), &plan, &headers).await,
            };
            let is_blamed =
                |lost: &&LostPeer| matches!(lost.why, AttemptErrorKind::False | AttemptErrorKind::Malformed);
            let blamed: Vec<_> = report.lost.iter().filter(is_blamed).collect();
            assert!(blamed.is_empty(), "world {number}, {mode:?}: {blamed:?}");
            delivered += replies;
        }
    }
    assert!(delivered > 30 * MODES.len(), "{delivered}");
}

/// Counts the replies that were found true.
async fn honest_sync(
    mut sync: impl OrderedSync,
    plan: &[QRInfoRequestSpec],
    headers: &Arc<HeaderMap>,
) -> (usize, SyncReport) {
    let (stage, headers) = (ListStage::new(plan[0].network, Level::Roots), headers.clone());
    let mut verifier = Verifier::new(stage, move |hash| headers.find(hash));
    let mut truths = 0;
    while let Some(next) = sync.next().await {
        match verifier.take(plan[next.index].clone(), &next.reply).await {
            Ok(_) => truths += 1,
            Err(VerifyError::Missing(_)) => {}
            Err(error) => panic!("request {}: {error}", next.index),
        }
    }
    (truths, sync.into_report())
}

#[tokio::test(start_paused = true)]
async fn what_headers_can_tell_never_gets_as_far_as_delivery() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let liar = node(&chain).lie(5.., false_proof);
        let (_nodes, peers) = peers(vec![liar, node(&chain), node(&chain)], Some(headers(&chain))).await;
        let liar = peers[0].id;
        let ended = verified(*mode, &chain, &plan, peers).await;
        ended.assert_complete(&chain, &plan);
        assert!(ended.rejected.is_empty(), "{mode:?}: {:?}", ended.rejected);
        is_lost(&ended.report, liar);
    }
}

/// Only the request of the false reply is sent again. Others stay in flight, and all are delivered in order.
#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_follow_is_asked_of_somebody_else() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let liar = node(&chain).lie(5..6, false_list);
        let (nodes, peers) = peers(vec![liar, node(&chain), node(&chain)], Some(headers(&chain))).await;
        let liar = peers[0].id;
        let ended = verified(*mode, &chain, &plan, peers).await;
        ended.assert_complete(&chain, &plan);
        assert_eq!(ended.rejected.len(), 1, "{mode:?}");
        is_lost(&ended.report, liar);
        assert!(nodes.iter().map(|node| node.stats().requests).sum::<u64>() <= plan.len() as u64 + 4, "{mode:?}");
    }
}

/// A reorganisation may take a block away between a request and its reply.
#[tokio::test(start_paused = true)]
async fn a_header_that_we_lack_is_nobodys_fault() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let unknown = plan[5].work_block_hashes[0];
        let lacking: HeaderMap = (0..=chain.tip())
            .map(|height| chain.block(height).unwrap())
            .zip(0..)
            .filter(|(block, _)| block.hash != unknown)
            .map(|(block, height)| {
                let merkle_root = BlockHeader::from_bytes(block.header).merkle_root();
                (block.hash, KnownBlock { height, merkle_root })
            })
            .collect();
        let (_nodes, peers) = peers(vec![node(&chain), node(&chain)], Some(Arc::new(lacking))).await;
        let (delivered, report) = match mode {
            Mode::Sequential => take_all(sequential(&plan, peers)).await,
            #[cfg(feature = "parallel-qrinfo")]
            Mode::Parallel => take_all(parallel(&plan, peers)).await,
        };
        let names_it = |spec: &&QRInfoRequestSpec| spec.work_block_hashes.contains(&unknown);
        let missing = report.outcome.missing();
        assert_eq!(missing.len(), plan.iter().filter(names_it).count(), "{mode:?}: {}", report.outcome);
        assert!(missing.iter().all(|missing| missing.why == WhyGivenUp::LocalFailure));
        assert_eq!(delivered.len() + missing.len(), plan.len());
        assert!(report.lost.is_empty(), "{mode:?}: {:?}", report.lost);
    }
}

async fn take_all(mut sync: impl OrderedSync) -> (Vec<Delivered>, SyncReport) {
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    (delivered, sync.into_report())
}

/// More liars than a request has attempts, and an honest peer behind them.
#[tokio::test(start_paused = true)]
async fn any_number_of_liars_cannot_end_a_sync() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        for lie in [false_list, false_proof] {
            let nodes = (0..9).map(|place| if place < 7 { node(&chain).lie(.., lie) } else { node(&chain) });
            let (_nodes, peers) = peers(nodes.collect(), Some(headers(&chain))).await;
            let ended = verified(*mode, &chain, &plan, peers).await;
            ended.assert_complete(&chain, &plan);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_lie_the_request_is_missing_and_says_who_lied() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let liar = || node(&chain).lie(.., false_list);
        let (_nodes, peers) = peers(vec![liar(), liar(), liar()], Some(headers(&chain))).await;
        let ended = verified(*mode, &chain, &plan, peers).await;
        assert_eq!((ended.rejected, ended.delivered.len()), (vec![0, 0, 0], 0), "{mode:?}");
        let SyncOutcome::Failed { missing, why: WhyGivenUp::AllPeersGone } = &ended.report.outcome else {
            panic!("{mode:?}: {}", ended.report.outcome);
        };
        assert_eq!(missing.len() + ended.unjudged, plan.len());
        assert_eq!(ended.stats.delivered, ended.unjudged as u64);
        let kinds: Vec<_> = missing[0].attempts.iter().map(AttemptError::kind).collect();
        assert_eq!(kinds, [AttemptErrorKind::False; 3]);
        assert_eq!(ended.report.lost.len(), 3);
    }
}

/// A call of `next` that was dropped may have gone further than the reply that is taken back.
#[tokio::test(start_paused = true)]
async fn a_reply_can_be_taken_back_late() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        for (later, is_false) in [(0, true), (50, true), (120, true), (1_000, true), (50, false), (1_000, false)] {
            let (_nodes, peers) = peers(vec![node(&chain), node(&chain)], None).await;
            let later = Duration::from_millis(later);
            match mode {
                Mode::Sequential => take_back_late(&chain, &plan, sequential(&plan, peers), later, is_false).await,
                #[cfg(feature = "parallel-qrinfo")]
                Mode::Parallel => take_back_late(&chain, &plan, parallel(&plan, peers), later, is_false).await,
            }
        }
    }
}

async fn take_back_late(
    chain: &Chain,
    plan: &[QRInfoRequestSpec],
    mut sync: impl OrderedSync,
    later: Duration,
    is_false: bool,
) {
    let mut delivered = vec![sync.next().await.unwrap(), sync.next().await.unwrap()];
    let last = delivered.pop().unwrap();
    // What comes in this time is the last in its place.
    if timeout(later, sync.next()).await.is_ok() {
        delivered.push(last);
    }
    match is_false {
        true => sync.reject_last(Falsehood::NoCommitment { index: 0, height: 0 }),
        false => sync.return_last(),
    }
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    let order: Vec<_> = delivered.iter().map(|delivered| delivered.index).collect();
    assert_eq!(order, (0..plan.len()).collect::<Vec<_>>(), "{later:?}");
    assert_true(chain, plan, &delivered);
    assert_eq!(sync.stats().delivered, plan.len() as u64);
    let report = sync.into_report();
    assert!(report.outcome.is_complete());
    assert_eq!(report.lost.len(), usize::from(is_false));
}

/// Through the manager that a client adopts. What is delivered, what was told, and how it ended.
async fn managed(
    mode: Mode,
    manager: &mut MasternodeSyncManager,
    network: &mut MockNetworkManager,
    plan: &[QRInfoRequestSpec],
) -> (Vec<Delivered>, Vec<SyncProgress>, SyncReport) {
    let mut progress = manager.progress();
    let (deliver, mut replies) = mpsc::channel(plan.len());
    let report = match mode {
        Mode::Sequential => manager.sync_by_name(network, plan.to_vec(), deliver, |_| {}).await,
        #[cfg(feature = "parallel-qrinfo")]
        Mode::Parallel => {
            let three = std::num::NonZeroUsize::new(3).unwrap();
            manager.request_qrinfo_parallel_by_name(network, plan.to_vec(), three, deliver, |_| {}).await
        }
    };
    let (mut delivered, mut told) = (Vec::new(), Vec::new());
    while let Ok(next) = replies.try_recv() {
        delivered.push(next);
    }
    while let Ok(event) = progress.try_recv() {
        told.push(event);
    }
    (delivered, told, report)
}

#[tokio::test(start_paused = true)]
async fn the_manager_delivers_what_is_true() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let headers = headers(&chain);
        let verifier = Verifier::new(ListStage::new(chain.network(), Level::Roots), move |hash| headers.find(hash));
        let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest()).with_verifier(verifier);
        let mut network = network(vec![node(&chain).lie(3..4, false_list), node(&chain), node(&chain)]).await;
        let (delivered, told, report) = managed(*mode, &mut manager, &mut network, &plan).await;
        assert!(report.outcome.is_complete(), "{mode:?}: {}", report.outcome);
        let order: Vec<_> = delivered.iter().map(|delivered| delivered.index).collect();
        assert_eq!(order, (0..plan.len()).collect::<Vec<_>>());
        assert_true(&chain, &plan, &delivered);
        let liar = PeerId::Address(([203, 0, 113, 1], 19899).into());
        let is_rejection =
            |event: &&SyncProgress| matches!(event, SyncProgress::Rejected { peer, .. } if *peer == liar);
        assert_eq!(told.iter().filter(is_rejection).count(), 1, "{mode:?}");
        let work_height = chain.network().cycles().work_height_back(plan.last().unwrap().cycle, 0).unwrap();
        assert!(manager.verifier().unwrap().stage().lists(work_height).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_manager_stops_where_it_cannot_tell() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        let (headers, unknown) = (headers(&chain), plan[5].work_block_hashes[0]);
        let find = move |hash: &_| headers.find(hash).filter(|_| *hash != unknown);
        let verifier = Verifier::new(ListStage::new(chain.network(), Level::Roots), find);
        let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest()).with_verifier(verifier);
        let mut network = network(vec![node(&chain), node(&chain)]).await;
        let (delivered, told, report) = managed(*mode, &mut manager, &mut network, &plan).await;
        let why = format!("block {unknown} of the request is not in our headers");
        assert!(told.contains(&SyncProgress::Unverifiable { index: 5, why }), "{mode:?}: {told:?}");
        let SyncOutcome::Failed { missing, why: WhyGivenUp::Stopped } = &report.outcome else {
            panic!("{mode:?}: {}", report.outcome);
        };
        assert_eq!((delivered.len(), missing.len(), missing[0].index), (5, plan.len() - 5, 5));
        assert!(report.lost.is_empty(), "nobody is to blame");
        assert_eq!(report.stats.delivered, 5);
    }
}

/// A false reply cannot be attributed, so no peer is lost: the copies of the other peers count.
#[tokio::test(start_paused = true)]
async fn among_peers_without_names_the_others_are_heard() {
    let chain = chain();
    let plan = plan(&chain, Some(chain.tip()));
    for mode in MODES {
        for liars in [1, 3] {
            let headers = headers(&chain);
            let verifier = Verifier::new(ListStage::new(chain.network(), Level::Roots), move |hash| headers.find(hash));
            let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest()).with_verifier(verifier);
            // The first to answer is a liar.
            let nodes = (0..3).map(|place| {
                let node = SimulatedPeer::builder(chain.clone()).profile(profile(100 + 50 * place, 50));
                if place < liars { node.lie(2.., false_list) } else { node }
            });
            let mut network = network(nodes.collect()).await;
            let (deliver, mut replies) = mpsc::channel(plan.len());
            let report = match mode {
                Mode::Sequential => manager.sync(&mut network, plan.clone(), deliver, |_| {}).await.unwrap(),
                #[cfg(feature = "parallel-qrinfo")]
                Mode::Parallel => {
                    let three = std::num::NonZeroUsize::new(3).unwrap();
                    let plan = plan.clone();
                    manager.request_qrinfo_parallel(&mut network, plan, three, deliver, |_| {}).await.unwrap()
                }
            };
            let mut delivered = Vec::new();
            while let Ok(next) = replies.try_recv() {
                delivered.push(next);
            }
            assert!(report.lost.is_empty(), "{mode:?}");
            if liars == 1 {
                assert!(report.outcome.is_complete(), "{mode:?}: {}", report.outcome);
                assert_true(&chain, &plan, &delivered);
            } else {
                let missing = &report.outcome.missing()[0];
                assert_eq!((delivered.len(), missing.index, missing.why), (2, 2, WhyGivenUp::Exhausted), "{mode:?}");
                // A false reply is asked for again three times.
                assert_eq!(missing.attempts.len(), 4, "{mode:?}");
            }
        }
    }
}
