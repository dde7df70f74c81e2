//! A client that keeps its own network: `cargo run -p qrinfo --features parallel-qrinfo --example existing_client`.
//!
//! Its `NetworkManager` stays as it is. Without the feature the same program asks one request at a time; with it, three.
//! The network here is a mock with three simulated nodes.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{error::Error, time::Duration};

use qrinfo::{MasternodeSyncManager, plan::Planner};
use qrinfo_core::{
    PeerId,
    client::{NamedNetworkManager, NetworkManager},
};
use spv_config::ClientConfig;
use spv_testkit::{Chain, MockNetworkManager, PeerProfile, Recording, SimulatedPeer};
use tokio::{sync::mpsc, time::Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // What the client has: its configuration, its headers, its network.
    let config = ClientConfig::from_toml("network = 'regtest'\nmessage_timeout = '20s'")?;
    config.validate()?;
    let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
    let mut network = network(&chain);
    network.connect().await?;

    let tip = network.get_peer_best_height().await?.unwrap_or_default();
    let plan =
        Planner::new(chain.network(), tip).plan(240, tip, |height| chain.block(height).map(|block| block.hash))?;
    println!("{} requests to {} peers", plan.len(), network.peer_count());

    // What it adds: the manager is lent the network for as long as the sync takes.
    let mut manager = MasternodeSyncManager::new(&config);
    let (deliver, mut replies) = mpsc::channel(1);
    let started = Instant::now();
    let network: &mut dyn NamedNetworkManager = &mut network;
    let others = |message| println!("for the rest of the client: {message:?}");
    #[cfg(not(feature = "parallel-qrinfo"))]
    let sync = manager.sync_by_name(network, plan, deliver, others);
    #[cfg(feature = "parallel-qrinfo")]
    let sync = {
        let three = std::num::NonZeroUsize::new(config.max_concurrent_qrinfo_requests()).ok_or("nothing at a time")?;
        manager.request_qrinfo_parallel_by_name(network, plan, three, deliver, others)
    };
    let apply = async {
        while let Some(delivered) = replies.recv().await {
            // Here the client applies the reply's diffs to its lists.
            if delivered.index % 8 == 0 {
                println!("reply {:>2} from {}", delivered.index, delivered.timing.peer);
            }
        }
    };
    let (report, ()) = tokio::join!(sync, apply);
    println!("{} in {:.1?}: {} replies", report.outcome, started.elapsed(), report.stats.delivered);
    Ok(())
}

fn network(chain: &Chain) -> MockNetworkManager {
    let profile = PeerProfile {
        round_trip: Duration::from_millis(40),
        compute: Duration::from_millis(10),
        rate: Some(2_000_000),
    };
    let mut network = MockNetworkManager::new();
    for host in 1..=3 {
        let node = SimulatedPeer::builder(chain.clone()).profile(profile).build();
        network.add_peer(PeerId::Address(([203, 0, 113, host], 19899).into()), node);
    }
    network
}
