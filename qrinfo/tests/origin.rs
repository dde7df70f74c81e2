//! The two tests of the design that this library grew from, as close to their letter as sound Rust allows.
//! `docs/origin-api.md` says where they differ, and why.
#![cfg(all(feature = "config", feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{num::NonZeroUsize, time::Duration};

use qrinfo::{MasternodeSyncError, MasternodeSyncManager, RequestController, plan::PlanError};
use qrinfo_core::{
    Attempt, BlockHeader, PeerId, RequestPriority, SyncPhase,
    client::{NetworkManager, StorageManager},
};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_scheduler::{SchedulerService, Settings};
use spv_config::ClientConfig;
use spv_testkit::{Chain, MemoryStorageManager, MockNetworkManager, Recording, SimulatedPeer};
use tokio::sync::mpsc;
use tower::discover::Change;

/// The mocks that exist: a network of three nodes, and a storage with their headers.
async fn mocks() -> (MockNetworkManager, MemoryStorageManager) {
    let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
    let mut network = MockNetworkManager::new();
    for host in 1..=3 {
        network.add_peer(
            PeerId::Address(([203, 0, 113, host], 19899).into()),
            SimulatedPeer::builder(chain.clone()).build(),
        );
    }
    let mut storage = MemoryStorageManager::default();
    let blocks = (0..=chain.tip()).map(|height| chain.block(height).unwrap());
    let headers: Vec<_> = blocks.map(|block| (BlockHeader::from_bytes(block.header), block.hash)).collect();
    storage.store_headers(0, &headers).await.unwrap();
    (network, storage)
}

#[tokio::test(start_paused = true)]
async fn test_parallel_qrinfo_with_existing_mocks() {
    let (mut mock_network, storage) = mocks().await;
    mock_network.connect().await.unwrap();

    let config = ClientConfig::regtest().with_parallel_qrinfo_settings(3, true, Duration::from_secs(10));
    let mut mn_sync = MasternodeSyncManager::new(&config);

    let plan = mn_sync.plan(&storage, 240).await.unwrap();
    let requests = plan.into_iter().zip([RequestPriority::Normal, RequestPriority::High]);
    let (deliver, mut replies) = mpsc::channel(2);
    let three = NonZeroUsize::new(3).unwrap();
    let result = mn_sync.request_qrinfo_parallel(&mut mock_network, requests, three, deliver, |_| {}).await;

    assert!(result.unwrap().outcome.is_complete(), "parallel requests should succeed");
    assert_eq!((replies.recv().await.unwrap().index, replies.recv().await.unwrap().index), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn test_enhanced_request_controller_concurrency() {
    let config = ClientConfig::regtest().with_max_concurrent_filter_requests(8).with_parallel_qrinfo_settings(
        4,
        true,
        Duration::from_secs(15),
    );

    let (mut mock_network, storage) = mocks().await;
    mock_network.connect().await.unwrap();
    let (peers, driver) = qrinfo::network::by_name(mock_network, CorrelatorConfig::default(), |_, _| {});
    tokio::spawn(driver.run());
    let peers = peers.into_iter().map(|peer| Ok::<_, std::io::Error>(Change::Insert(peer.id, peer.into())));
    let peers = futures_util::stream::iter(peers.collect::<Vec<_>>());
    let (scheduler, driver) = SchedulerService::new(peers, Settings::default());
    tokio::spawn(driver);
    let mut request_controller = RequestController::new(&config, scheduler.clone(), scheduler.handle());

    // The configuration's limits are there without being set by hand.
    let phase = SyncPhase::MasternodeLists;
    assert_eq!(request_controller.limits(phase).max_concurrent, 4);
    assert_eq!(request_controller.limits(SyncPhase::Filters).max_concurrent, 8);
    request_controller.set_parallel_limits(phase, 2);
    assert_eq!(request_controller.limits(phase).max_concurrent, 2);
    assert!(config.validate().is_ok());

    let plan = MasternodeSyncManager::new(&config).plan(&storage, 240).await.unwrap();
    for (id, spec) in (0..8).zip(plan) {
        request_controller.queue_request(phase, Attempt::new(id, spec.into())).unwrap();
    }
    request_controller.process_pending_requests(phase, |_, result| drop(result.unwrap())).await;
    assert_eq!((request_controller.stats().completed, request_controller.stats().pending), (8, 0));
}

#[tokio::test]
async fn an_empty_storage_allows_no_plan() {
    let manager = MasternodeSyncManager::new(&ClientConfig::regtest());
    let error = manager.plan(&MemoryStorageManager::default(), 240).await.unwrap_err();
    assert!(matches!(error, MasternodeSyncError::Plan(PlanError::MissingHeader(0))), "{error}");
}
