//! The same over TCP.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use qrinfo_core::wire::frame::{Command, FrameError, FrameEvent};
use spv_peer::{PeerConfig, PeerError, connect};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};

use crate::node::{Node, config, frame, ping, pong};

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[tokio::test]
async fn a_session_with_a_reply_of_a_megabyte() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let reply = frame("qrinfo", vec![6; 1 << 20]);
    let sent = reply.clone();
    let node = tokio::spawn(async move {
        let mut node = Node::new(listener.accept().await.unwrap().0);
        node.greet().await;
        assert_eq!(node.hear().await, Some(frame("getqrinfo", vec![3; 66])));
        assert_eq!(node.hear().await, Some(ping(1)));
        node.say([ping(2), sent, pong(1)]).await;
        assert_eq!(node.hear().await, Some(pong(2)));
        assert_eq!(node.hear().await, None);
    });

    let mut connection = connect(address, &config()).await.unwrap();
    assert_eq!(connection.peer(), address.into());
    assert_eq!(connection.start_height(), 1_772);
    connection.feed(frame("getqrinfo", vec![3; 66])).await.unwrap();
    connection.send(ping(1)).await.unwrap();
    let mut frames = Vec::new();
    while frames.last() != Some(&pong(1)) {
        match connection.next().await.unwrap().unwrap() {
            FrameEvent::Frame(frame) => frames.push(frame),
            FrameEvent::Partial(partial) => assert_eq!(partial.command, Command::QR_INFO),
        }
    }
    assert_eq!(frames, [reply, pong(1)]);
    drop(connection);
    node.await.unwrap();
}

#[tokio::test]
async fn a_node_that_dies_inside_a_frame() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = tokio::spawn(async move {
        let mut node = Node::new(listener.accept().await.unwrap().0);
        node.greet().await;
        let bytes = crate::node::raw([frame("qrinfo", vec![6; 1_000])]);
        tokio::io::AsyncWriteExt::write_all(&mut node.io, &bytes[..500]).await.unwrap();
    });
    let mut connection = connect(address, &config()).await.unwrap();
    node.await.unwrap();
    let error = loop {
        match connection.next().await.unwrap() {
            Ok(event) => assert!(matches!(event, FrameEvent::Partial(_))),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PeerError::Frame(FrameError::Truncated(500))), "{error:?}");
    assert!(connection.next().await.is_none());
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    match connect(address, &config()).await {
        Err(PeerError::Connect(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_accepts() {
    // With its queue full a listener answers no one. How many fit differs from system to system.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(anywhere()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let config =
        PeerConfig { connect_timeout: Duration::from_secs(7), handshake_timeout: Duration::from_millis(1), ..config() };
    for _ in 0..64 {
        let start = Instant::now();
        match connect(address, &config).await {
            Err(PeerError::HandshakeTimeout { .. }) => {}
            Err(PeerError::ConnectTimeout(after)) => {
                assert_eq!(after, Duration::from_secs(7));
                assert_eq!(start.elapsed(), after);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the listener's queue never filled");
}
