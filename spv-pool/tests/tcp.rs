//! The dialer against nodes on loopback.
#![expect(clippy::unwrap_used, reason = "a script that cannot go on fails its test")]

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    Network,
    message::VersionMessage,
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};
use spv_peer::{PeerConfig, PeerError};
use spv_pool::{Plan, PlanConfig, PoolEvent, Source, dialer, start};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, timeout},
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A node that greets one client on `network`, and gives all that it hears.
async fn node(listener: TcpListener, network: Network) -> Vec<u8> {
    let (mut io, _) = listener.accept().await.unwrap();
    let version = VersionMessage::for_client(([127, 0, 0, 1], 1).into(), 0, 77, "/node/").to_wire();
    let mut greeting = BytesMut::new();
    Frame { command: Command::VERSION, payload: version }.encode(network, &mut greeting);
    Frame { command: Command::VERACK, payload: Bytes::new() }.encode(network, &mut greeting);
    io.write_all(&greeting).await.unwrap();
    let mut heard = Vec::new();
    // A client that closes with bytes unread resets the connection.
    let _ = io.read_to_end(&mut heard).await;
    heard
}

fn plan(peers: impl IntoIterator<Item = SocketAddr>) -> Plan {
    let now = Instant::now().into_std();
    let mut plan = Plan::new(PlanConfig::new(Network::Regtest, 42), now, 1_800_000_000);
    peers.into_iter().for_each(|peer| plan.add(peer.into(), Source::Named, now));
    plan
}

#[tokio::test]
async fn a_node_that_never_speaks_costs_its_own_place_alone() {
    let (_silent, silent) = listen().await;
    let (listener, address) = listen().await;
    let heard = tokio::spawn(node(listener, Network::Regtest));
    let (_pool, mut events) = start(plan([silent, address]), dialer(PeerConfig::new(Network::Regtest, 0), None));
    let event = timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap();
    let PoolEvent::Ready(place, mut connection) = event else { panic!("{event:?}") };
    assert_eq!(place.peer(), address.into());
    // The question for addresses leaves with the first message.
    futures_util::SinkExt::flush(&mut connection).await.unwrap();
    drop(connection);
    let heard = heard.await.unwrap();
    assert!(heard.windows(7).any(|bytes| bytes == b"getaddr"));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_its_reason() {
    let (listener, other_network) = listen().await;
    let other = tokio::spawn(node(listener, Network::Testnet));
    let (closed, refuses) = listen().await;
    drop(closed);
    let mut plan = plan([other_network, refuses]);
    let host = "seed.example.org:9999".parse().unwrap();
    plan.add(host, Source::Named, Instant::now().into_std());
    let (_pool, mut events) = start(plan, dialer(PeerConfig::new(Network::Regtest, 0), None));
    let mut errors = Vec::new();
    loop {
        match timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap() {
            PoolEvent::Failed(peer, error) => errors.push((peer, error)),
            PoolEvent::Exhausted => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(errors.len(), 3);
    for (peer, error) in errors {
        match error {
            PeerError::WrongNetwork { .. } => assert_eq!(peer, other_network.into()),
            PeerError::Connect(_) => assert_eq!(peer, refuses.into()),
            PeerError::NeedsProxy(_) => assert_eq!(peer, host),
            other => panic!("{peer}: {other}"),
        }
    }
    other.await.unwrap();
}
