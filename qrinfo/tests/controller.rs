//! Request control by phase, over simulated nodes in virtual time.
#![cfg(all(feature = "config", feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{convert::Infallible, time::Duration};

use futures_util::{StreamExt, stream};
use qrinfo::{NotAllowed, RequestController, adopt, plan::Planner};
use qrinfo_core::{Attempt, Network, PeerId, RequestId, RequestPriority, SyncPhase};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_scheduler::{Rate, SchedulerService, Settings};
use spv_config::ClientConfig;
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{Chain, PeerProfile, Recording, SimulatedPeer};
use tokio::time::Instant;
use tower::discover::Change;

const PHASE: SyncPhase = SyncPhase::MasternodeLists;
const REQUESTS: u32 = 12;

/// A controller over one node that takes 50 ms for a request, 100 ms away.
async fn controller() -> (SimulatedPeer, RequestController<SchedulerService>) {
    let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
    let planner = Planner::new(chain.network(), chain.tip());
    let plan =
        planner.plan(240, 240 + 24 * (REQUESTS - 1), |height| chain.block(height).map(|block| block.hash)).unwrap();
    let (round_trip, compute) = (Duration::from_millis(100), Duration::from_millis(50));
    let node = SimulatedPeer::builder(chain).profile(PeerProfile { round_trip, compute, rate: None }).build();
    let id = PeerId::Address(([203, 0, 113, 1], 19899).into());
    let connection = handshake(node.connect(), id, &PeerConfig::new(Network::Regtest, 7)).await.unwrap();
    let peer = adopt(connection, CorrelatorConfig::default());
    let peer = qrinfo_scheduler::Peer::from(peer);
    let peers = stream::iter([Ok::<_, Infallible>(Change::Insert(id, peer))]).chain(stream::pending());
    let (service, driver) = SchedulerService::new(peers, Settings::default());
    tokio::spawn(driver);
    let mut controller = RequestController::new(&ClientConfig::regtest(), service.clone(), service.handle());
    for (id, spec) in (0..).zip(plan) {
        controller.queue_request(PHASE, Attempt::new(id, spec.into())).unwrap();
    }
    (node, controller)
}

async fn process(
    controller: &mut RequestController<SchedulerService>,
    max: Option<usize>,
) -> (Vec<RequestId>, Duration) {
    let started = Instant::now();
    let mut ids = Vec::new();
    let deliver = |id, result: Result<_, _>| {
        result.unwrap();
        ids.push(id);
    };
    controller.process_pending_requests_with_concurrency(PHASE, max, deliver).await;
    (ids, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn one_is_sequential_and_more_hide_the_round_trip() {
    let (_node, mut controller) = controller().await;
    controller.set_rate_limit(PHASE, None);
    let (ids, one) = process(&mut controller, Some(1)).await;
    assert_eq!(ids, (0..u64::from(REQUESTS)).map(RequestId).collect::<Vec<_>>());
    assert_eq!(one, Duration::from_millis(150) * REQUESTS);

    let (_node, mut controller) = self::controller().await;
    controller.set_rate_limit(PHASE, None);
    controller.set_parallel_limits(PHASE, 4);
    let (ids, four) = process(&mut controller, None).await;
    assert_eq!(ids.len(), REQUESTS as usize);
    assert!(four * 3 < one * 2, "{four:?} of {one:?}");
    assert_eq!((controller.stats().completed, controller.stats().pending), (u64::from(REQUESTS), 0));
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_them_back() {
    let (_node, mut controller) = controller().await;
    controller.set_rate_limit(PHASE, Some(Rate::per_second(2, 1)));
    let (_, took) = process(&mut controller, Some(8)).await;
    assert!(took >= Duration::from_millis(500) * (REQUESTS - 1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_critical_overtakes_what_waits() {
    let (_node, mut controller) = controller().await;
    let mut urgent = None;
    // The same question as the last of those that wait.
    let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
    let plan = Planner::new(chain.network(), chain.tip()).plan(480, 480, |height| chain.block(height).map(|b| b.hash));
    for spec in plan.unwrap() {
        let attempt = Attempt { priority: RequestPriority::Critical, ..Attempt::new(99, spec.into()) };
        controller.queue_request(PHASE, attempt).unwrap();
        urgent = Some(RequestId(99));
    }
    let (ids, _) = process(&mut controller, Some(1)).await;
    assert_eq!(ids.first().copied(), urgent);
}

#[tokio::test(start_paused = true)]
async fn what_is_cleared_is_not_sent_and_other_phases_take_nothing() {
    let (node, mut controller) = controller().await;
    controller.clear_pending_requests();
    let (ids, _) = process(&mut controller, None).await;
    assert!(ids.is_empty());
    assert_eq!((node.stats().requests, controller.stats().pending), (0, 0));

    let spec = qrinfo_core::MnListDiffRequestSpec {
        base_block_hash: qrinfo_core::BlockHash::ZERO,
        block_hash: qrinfo_core::BlockHash::ZERO,
    };
    let refused = controller.queue_request(SyncPhase::Blocks, Attempt::new(0, spec.into()));
    assert_eq!(refused, Err(NotAllowed(SyncPhase::Blocks)));
}
