//! A client whose network runs in a task of its own and is spoken with over channels:
//! `cargo run -p qrinfo --features parallel-qrinfo --example own_streams`.
//!
//! The network here is a mock with three simulated nodes. Its task tells which peers join and leave and what they send,
//! and takes messages for them.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{collections::BTreeSet, error::Error, time::Duration};

use futures_util::stream;
use qrinfo::{
    OrderedSync, ParallelOptions, ParallelSync,
    network::{self, NetworkEvent},
    plan::Planner,
};
use qrinfo_core::{
    PeerId,
    client::{NamedNetworkManager, NetworkManager},
    message::NetworkMessage,
};
use qrinfo_correlate::CorrelatorConfig;
use spv_testkit::{Chain, MockNetworkManager, Recording, SimulatedPeer};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::PollSender;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
    let (event_sender, mut events) = mpsc::unbounded_channel();
    let (message_sender, messages) = mpsc::channel(16);
    let network = tokio::spawn(run_network(chain.clone(), event_sender, messages));

    // What the client adds: peers made of the stream and the sink, and a sync over them.
    let events = stream::poll_fn(move |cx| events.poll_recv(cx));
    let others = |peer, message| println!("for the rest of the client, from {peer}: {message:?}");
    let (peers, driver) =
        network::by_stream(events, PollSender::new(message_sender), CorrelatorConfig::default(), others);
    let driver = tokio::spawn(driver.run());
    let plan = Planner::new(chain.network(), chain.tip())
        .plan(240, chain.tip(), |height| chain.block(height).map(|block| block.hash))?;
    let mut sync = ParallelSync::with_changing_peers(plan, peers, ParallelOptions::default());
    while let Some(delivered) = sync.next().await {
        if delivered.index % 8 == 0 {
            println!("reply {:>2} from {}", delivered.index, delivered.timing.peer);
        }
    }
    let report = sync.into_report();
    println!("{}: {} replies", report.outcome, report.stats.delivered);
    drop(driver.await?);
    network.await?
}

/// The client's network: events out, messages in.
async fn run_network(
    chain: Chain,
    events: mpsc::UnboundedSender<NetworkEvent>,
    mut messages: mpsc::Receiver<(PeerId, NetworkMessage)>,
) -> Result<(), Failure> {
    let mut network = MockNetworkManager::new();
    for host in 1..=3 {
        network.add_peer(
            PeerId::Address(([203, 0, 113, host], 19899).into()),
            SimulatedPeer::builder(chain.clone()).build(),
        );
    }
    network.connect().await?;
    let mut known = BTreeSet::new();
    loop {
        let peers: BTreeSet<_> = network.peers().into_iter().collect();
        for &peer in peers.difference(&known) {
            let height = network.peer_height(peer).unwrap_or(0);
            events.send(NetworkEvent::Joined { peer, height })?;
        }
        for &peer in known.difference(&peers) {
            events.send(NetworkEvent::Left { peer })?;
        }
        known = peers;
        tokio::select! {
            message = messages.recv() => match message {
                Some((peer, message)) => network.send_to(peer, message).await?,
                None => return Ok(()),
            },
            received = network.receive_from() => match received? {
                Some((peer, message)) => events.send(NetworkEvent::Message { peer, message })?,
                None => sleep(Duration::from_millis(10)).await,
            },
        }
    }
}
