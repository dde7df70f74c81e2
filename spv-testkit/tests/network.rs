//! The mock network keeps what its traits promise, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use qrinfo_core::{
    PeerId,
    client::{NamedNetworkManager, NetworkManager},
    message::{GetQRInfo, NetworkMessage},
};
use spv_testkit::{Chain, Fault, MockNetworkManager, PeerProfile, Recording, SimulatedPeer, SimulatedPeerBuilder};
use tokio::time::{Instant, timeout};

fn id(host: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, host], 19899).into())
}

fn chain() -> Chain {
    Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap()
}

fn node(chain: &Chain, round_trip: u64) -> SimulatedPeerBuilder {
    let round_trip = Duration::from_millis(round_trip);
    SimulatedPeer::builder(chain.clone()).profile(PeerProfile { round_trip, ..PeerProfile::default() })
}

async fn manager(nodes: Vec<SimulatedPeerBuilder>) -> MockNetworkManager {
    let mut manager = MockNetworkManager::new();
    for (host, node) in (1..).zip(nodes) {
        manager.add_peer(id(host), node.build());
    }
    manager.connect().await.unwrap();
    manager
}

fn request(chain: &Chain) -> NetworkMessage {
    let block_hash = chain.block(chain.tip()).unwrap().hash;
    NetworkMessage::GetQRInfo(GetQRInfo { base_block_hashes: Vec::new(), block_hash, extra_share: false })
}

/// The peers whose replies come until all connections end or fall silent, and when each came.
async fn replies(manager: &mut MockNetworkManager) -> Vec<(PeerId, Duration)> {
    let (start, mut replies) = (Instant::now(), Vec::new());
    while let Ok(Ok(received)) = timeout(Duration::from_secs(5), manager.receive_from()).await {
        match received {
            Some((peer, NetworkMessage::QRInfo(_))) => replies.push((peer, start.elapsed())),
            Some((_, NetworkMessage::Ping(_))) => panic!("pings are answered here"),
            Some(_) => {}
            None if manager.is_connected() => {}
            None => break,
        }
    }
    replies
}

#[tokio::test(start_paused = true)]
async fn every_peer_answers_a_broadcast_in_its_own_time() {
    let chain = chain();
    let mut manager = manager(vec![node(&chain, 300), node(&chain, 100)]).await;
    assert_eq!(manager.peers(), [id(1), id(2)]);
    assert_eq!(manager.get_peer_best_height().await.unwrap(), Some(chain.tip()));
    manager.send_message(request(&chain)).await.unwrap();
    let came = replies(&mut manager).await;
    assert_eq!(came, [(id(2), Duration::from_millis(100)), (id(1), Duration::from_millis(300))]);
    assert_eq!((manager.sent().len(), manager.sent()[0].to), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_message_to_one_reaches_one() {
    let chain = chain();
    let mut manager = manager(vec![node(&chain, 300), node(&chain, 100)]).await;
    manager.send_to(id(1), request(&chain)).await.unwrap();
    assert_eq!(replies(&mut manager).await.len(), 1);
    assert_eq!(manager.peer(id(2)).unwrap().stats().requests, 0);
    assert!(manager.send_to(id(3), request(&chain)).await.is_err());
    assert_eq!(manager.sent().len(), 1, "what failed was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_handed_on() {
    let chain = chain();
    let mut manager = manager(vec![node(&chain, 300)]).await;
    manager.send_to(id(1), NetworkMessage::Ping(77)).await.unwrap();
    loop {
        if let Some(NetworkMessage::Pong(nonce)) = manager.receive_message().await.unwrap() {
            break assert_eq!(nonce, 77);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_is_missed_and_can_be_had_again() {
    let chain = chain();
    let mut manager = manager(vec![node(&chain, 100).fault(1..2, Fault::Close)]).await;
    for _ in 0..2 {
        manager.send_message(request(&chain)).await.unwrap();
    }
    assert_eq!(replies(&mut manager).await.len(), 1, "what came before the end is handed on");
    assert!(!manager.is_connected() && manager.peers().is_empty());
    assert!(manager.send_message(request(&chain)).await.is_err());
    assert!(manager.receive_message().await.unwrap().is_none(), "at once");

    manager.connect().await.unwrap();
    manager.send_message(request(&chain)).await.unwrap();
    assert_eq!(replies(&mut manager).await.len(), 1);
    manager.disconnect_peer(id(1)).await.unwrap();
    assert!(!manager.is_connected());
}

#[tokio::test(start_paused = true)]
async fn impatience_gives_none_and_loses_nothing() {
    let chain = chain();
    let mut manager = manager(vec![node(&chain, 450)]).await;
    manager.set_patience(Duration::from_millis(100));
    manager.send_message(request(&chain)).await.unwrap();
    let (start, mut nones) = (Instant::now(), 0);
    loop {
        match manager.receive_message().await.unwrap() {
            Some(NetworkMessage::QRInfo(_)) => break,
            Some(_) => {}
            None => nones += 1,
        }
    }
    assert_eq!((start.elapsed(), nones), (Duration::from_millis(450), 4));
}
