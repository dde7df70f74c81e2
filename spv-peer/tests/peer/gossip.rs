//! Addresses that peers name.

use futures_util::StreamExt;
use qrinfo_core::{
    message::{Addr, KnownNode, NetAddress},
    wire::{Wire, frame::FrameEvent},
};
use spv_peer::known_nodes;
use tokio::sync::mpsc;

use crate::node::{address, frame, pong, session};

fn addr() -> Addr {
    Addr(vec![KnownNode { last_seen: 7, services: 1, address: address() }])
}

#[tokio::test(start_paused = true)]
async fn they_go_to_their_channel_and_nothing_else_does() {
    let (mut connection, mut node) = session(1 << 16).await;
    let (sender, mut addresses) = mpsc::channel(4);
    connection.send_addresses_to(sender);
    node.say([frame("addr", addr().to_wire()), frame("inv", vec![0]), frame("addrv2", vec![0]), pong(1)]).await;
    for expected in [frame("inv", vec![0]), pong(1)] {
        assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(expected));
    }
    let (peer, message) = addresses.recv().await.unwrap();
    assert_eq!(peer, address().into());
    let nodes = known_nodes(message).unwrap();
    assert_eq!(nodes, [KnownNode { last_seen: 7, services: 1, address: NetAddress::Ip(address()) }]);
    assert_eq!(known_nodes(addresses.recv().await.unwrap().1).unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_fills_no_memory() {
    let (mut connection, mut node) = session(1 << 20).await;
    let (sender, mut addresses) = mpsc::channel(100);
    connection.send_addresses_to(sender);
    node.say((0..1000).map(|_| frame("addr", addr().to_wire())).chain([pong(1)])).await;
    assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(pong(1)));
    drop(connection);
    let mut taken = 0;
    while addresses.recv().await.is_some() {
        taken += 1;
    }
    assert_eq!(taken, 8);
}

#[tokio::test(start_paused = true)]
async fn they_are_handed_on_where_no_channel_is_set() {
    let (mut connection, mut node) = session(1 << 16).await;
    node.say([frame("addr", addr().to_wire())]).await;
    assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(frame("addr", addr().to_wire())));
}
