//! Nodes made from a recorded chain, in virtual time.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use std::time::Duration;

use qrinfo::{
    Delivered, OrderedSync, Peer, PlannedRequest, SequentialOptions, SequentialSync, SyncReport, adopt, plan::Planner,
};
use qrinfo_core::{Network, PeerId, QRInfoRequestSpec, Request, client::NetworkManager, message::PROTOCOL_VERSION};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{
    Chain, MockNetworkManager, PeerProfile, Recording, ServerSession, ServerVersion, SimulatedPeer,
    SimulatedPeerBuilder, builder,
};
use tokio::time::Instant;

pub const FIRST_CYCLE: u32 = 240;

pub fn chain() -> Chain {
    Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap()
}

pub fn profile(round_trip: u64, compute: u64) -> PeerProfile {
    let (round_trip, compute) = (Duration::from_millis(round_trip), Duration::from_millis(compute));
    PeerProfile { round_trip, compute, rate: Some(1_000_000) }
}

/// Nodes of regtest and our ends of the connections to them.
pub async fn connect(nodes: Vec<SimulatedPeerBuilder>) -> (Vec<SimulatedPeer>, Vec<Peer<PeerService>>) {
    connect_on(Network::Regtest, nodes).await
}

pub async fn connect_on(
    network: Network,
    nodes: Vec<SimulatedPeerBuilder>,
) -> (Vec<SimulatedPeer>, Vec<Peer<PeerService>>) {
    let nodes = SimulatedPeer::network(nodes);
    let mut peers = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let id = PeerId::Address(([203, 0, 113, index as u8 + 1], 19899).into());
        let config = PeerConfig::new(network, 7);
        peers.push(adopt(handshake(node.connect(), id, &config).await.unwrap(), CorrelatorConfig::default()));
    }
    (nodes, peers)
}

/// A client's network of nodes, connected.
pub async fn network(nodes: Vec<SimulatedPeerBuilder>) -> MockNetworkManager {
    let mut network = MockNetworkManager::new();
    for (host, node) in (1..).zip(SimulatedPeer::network(nodes)) {
        network.add_peer(PeerId::Address(([203, 0, 113, host], 19899).into()), node);
    }
    network.connect().await.unwrap();
    network
}

pub fn plan(chain: &Chain, anchor_at: Option<u32>) -> Vec<QRInfoRequestSpec> {
    let planner = Planner { anchor: anchor_at, ..Planner::new(chain.network(), chain.tip()) };
    planner.plan(FIRST_CYCLE, chain.tip(), |height| chain.block(height).map(|block| block.hash)).unwrap()
}

pub fn assert_true(chain: &Chain, plan: &[QRInfoRequestSpec], delivered: &[Delivered]) {
    for delivered in delivered {
        let request = Request::from(plan[delivered.index].clone()).to_message();
        let is_of = |server| {
            let session = ServerSession::new(server, PROTOCOL_VERSION);
            builder::answer(chain, &request, session).unwrap().unwrap() == delivered.reply
        };
        assert!(ServerVersion::ALL.into_iter().any(is_of), "request {}", delivered.index);
    }
}

pub async fn sequential(
    plan: &[impl Clone + Into<PlannedRequest>],
    peers: Vec<Peer<PeerService>>,
) -> (Vec<Delivered>, SyncReport, Duration) {
    let started = Instant::now();
    let mut sync = SequentialSync::new(plan.to_vec(), peers, SequentialOptions::default());
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    (delivered, sync.into_report(), started.elapsed())
}

#[cfg(feature = "parallel-qrinfo")]
pub async fn parallel(
    plan: &[impl Clone + Into<PlannedRequest>],
    peers: Vec<Peer<PeerService>>,
) -> (Vec<Delivered>, SyncReport, Duration) {
    let started = Instant::now();
    let max_concurrent = std::num::NonZeroUsize::new(16).unwrap();
    let options = qrinfo::ParallelOptions { max_concurrent, ..Default::default() };
    let mut sync = qrinfo::ParallelSync::new(plan.to_vec(), peers, options);
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    (delivered, sync.into_report(), started.elapsed())
}
