//! Connections through a SOCKS5 proxy (RFC 1928) on loopback.
#![expect(clippy::unwrap_used, reason = "a script that cannot go on fails its test")]

use std::net::SocketAddr;

use qrinfo_core::PeerId;
use spv_peer::{PeerConfig, PeerError, connect_through};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use crate::node::{Node, address, config};

const GRANTED: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const REFUSED: [u8; 10] = [5, 5, 0, 1, 0, 0, 0, 0, 0, 0];

async fn proxy() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Takes one client and gives its request without the first three bytes: the kind of address, the address, the port.
async fn request(listener: TcpListener, answer: &[u8]) -> (TcpStream, Vec<u8>) {
    let (mut io, _) = listener.accept().await.unwrap();
    let mut greeting = [0; 3];
    io.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 1, 0], "one method, without a password");
    io.write_all(&[5, 0]).await.unwrap();
    let mut request = vec![0; 300];
    let length = io.read(&mut request).await.unwrap();
    assert_eq!(request[..3], [5, 1, 0], "connect");
    io.write_all(answer).await.unwrap();
    (io, request[3..length].to_vec())
}

#[tokio::test]
async fn a_peer_is_reached_by_its_address() {
    let (listener, proxy) = proxy().await;
    let node = async {
        let (io, target) = request(listener, &GRANTED).await;
        assert_eq!(target, b"\x01\xcb\x00\x71\x05\x4d\xbb");
        Node::new(io).greet().await;
    };
    let config = config();
    let (connection, ()) = tokio::join!(connect_through(proxy, address().into(), &config), node);
    assert_eq!(connection.unwrap().peer(), address().into());
}

#[tokio::test]
async fn a_tor_address_is_resolved_by_the_proxy() {
    let (listener, proxy) = proxy().await;
    let host = format!("{}.onion", "a".repeat(56));
    let peer: PeerId = format!("{host}:9999").parse().unwrap();
    let node = async {
        let (io, target) = request(listener, &GRANTED).await;
        assert_eq!(target, [b"\x03\x3e", host.as_bytes(), b"\x27\x0f"].concat());
        Node::new(io).greet().await;
    };
    let config = config();
    let (connection, ()) = tokio::join!(connect_through(proxy, peer, &config), node);
    assert_eq!(connection.unwrap().peer(), peer);
}

#[tokio::test]
async fn what_the_proxy_cannot_do_is_an_error_that_names_it() {
    let (listener, proxy) = proxy().await;
    let config = config();
    let (result, _) = tokio::join!(connect_through(proxy, address().into(), &config), request(listener, &REFUSED));
    let error = result.unwrap_err();
    assert!(matches!(error, PeerError::Proxy { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect through the proxy {proxy}"));
    assert!(std::error::Error::source(&error).is_some());

    // Nothing listens there any more.
    let error = connect_through(proxy, address().into(), &config).await.unwrap_err();
    assert!(matches!(error, PeerError::Proxy { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_without_a_port_is_not_asked_for() {
    let (_listener, proxy) = proxy().await;
    let error = connect_through(proxy, "memory-1".parse().unwrap(), &config()).await.unwrap_err();
    assert!(matches!(error, PeerError::BadHost(_)), "{error:?}");
}

#[tokio::test]
async fn a_silent_proxy_has_the_time_of_a_connection() {
    let (_listener, proxy) = proxy().await;
    let config = PeerConfig { connect_timeout: Duration::from_millis(20), ..config() };
    let error = connect_through(proxy, address().into(), &config).await.unwrap_err();
    assert!(matches!(error, PeerError::ConnectTimeout(_)), "{error:?}");
}
