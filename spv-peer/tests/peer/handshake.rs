//! The handshake over a pipe, in paused time.

use std::{error::Error, time::Duration};

use futures_util::StreamExt;
use qrinfo_core::{
    Network, PeerId,
    message::VersionMessage,
    wire::{
        Wire,
        frame::{Command, Frame, FrameError, FrameEvent},
    },
};
use spv_peer::{PeerConfig, PeerError, handshake};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};
use tokio_test::{assert_pending, assert_ready};

use crate::node::{
    NETWORK, Node, OUR_NONCE, SEND_ADDR_V2, VERACK, address, config, frame, handshake_with, ping, pong, raw, session,
    version,
};

/// The example of `version` in Dash Core's developer reference, with the user agent written out that is cut short there.
const DOCUMENTED: &[&[u8]] = &[
    b"\x46\x12\x01\x00",
    b"\x05\0\0\0\0\0\0\0",
    b"\x9c\x10\xad\x5c\0\0\0\0",
    b"\x01\0\0\0\0\0\0\0",
    b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x1b\x64\x09\x27\x0f",
    b"\x05\0\0\0\0\0\0\0",
    b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\xc0\x27\x0f",
    b"\x12\x80\x35\xcb\xc9\x79\x53\xf8",
    b"\x12/Dash Core:0.14.0/",
    b"\x85\x1f\x0b\x00\x01",
    b"\x5d\xbb\x5d\x1b\xaa\xde\x6a\x9a\xfa\x34\xdb\x70\x8f\x72\xc0\xdd",
    b"\xb5\xbd\x82\xb3\x65\x64\x93\x48\x45\x56\x68\x96\x40\xa9\x13\x57\x00",
];

fn documented(protocol_version: i32) -> Frame {
    let mut payload = DOCUMENTED.concat();
    payload[..4].copy_from_slice(&protocol_version.to_le_bytes());
    frame("version", payload)
}

fn verack() -> Frame {
    frame("verack", vec![])
}

#[tokio::test(start_paused = true)]
async fn a_documented_version_with_noise_around_it_is_accepted() {
    let (ours, theirs) = duplex(64 * 1024);
    let mut node = Node::new(theirs);
    node.say([
        frame("sendaddrv2", vec![]),
        ping(1),
        documented(70_240),
        frame("sendheaders", vec![]),
        frame("senddsq", vec![1]),
        ping(2),
        frame("whatisthis", vec![0; 1000]),
        verack(),
        // What comes right behind belongs to the session.
        frame("mnauth", vec![5; 128]),
    ])
    .await;
    let mut connection = handshake(ours, PeerId::Address(address()), &config()).await.unwrap();

    assert_eq!(connection.peer(), PeerId::Address(address()));
    assert_eq!(connection.protocol_version(), 70_237);
    assert_eq!(connection.start_height(), 0x000b_1f85);
    let theirs = connection.peer_version();
    assert_eq!((theirs.protocol_version, theirs.services, theirs.relay), (70_240, 5, true));
    assert_eq!(theirs.user_agent, "/Dash Core:0.14.0/");
    assert_eq!(theirs.trailing, DOCUMENTED[10..].concat());

    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(node.hear().await.unwrap());
    }
    assert_eq!(heard[0].command, Command::VERSION);
    assert_eq!(heard[1..], [pong(1), frame("sendaddrv2", vec![]), verack(), pong(2)]);
    assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(frame("mnauth", vec![5; 128])));
}

#[tokio::test(start_paused = true)]
async fn we_say_what_a_light_client_says() {
    let (ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(&raw([version(70_237), verack()])).await.unwrap();
    let config = PeerConfig { user_agent: "/x:1/".into(), ..config() };
    drop(handshake(ours, PeerId::Address(address()), &config).await.unwrap());
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.unwrap();

    let (version, rest) = bytes.split_at(24 + 80 + 6 + 5);
    assert_eq!(rest, [SEND_ADDR_V2, VERACK].concat());
    assert_eq!(version[..20], *b"\xfc\xc1\xb7\xdcversion\0\0\0\0\0\x5b\0\0\0");
    let payload = &version[24..];
    assert_eq!(payload[..12], *b"\x5d\x12\x01\0\0\0\0\0\0\0\0\0");
    let clock = i64::from_le_bytes(payload[12..20].try_into().unwrap());
    assert!((1_700_000_000..4_000_000_000).contains(&clock), "{clock}");
    assert_eq!(payload[20..46], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x05\x4d\xbb");
    assert_eq!(payload[72..80], OUR_NONCE.to_le_bytes());
    assert_eq!(payload[80..], *b"\x05/x:1/\0\0\0\0\0");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_before_both_have_acknowledged() {
    let (ours, theirs) = duplex(64 * 1024);
    let mut node = Node::new(theirs);
    let config = config();
    let mut task = tokio_test::task::spawn(handshake(ours, PeerId::Address(address()), &config));
    assert_pending!(task.poll());
    node.say([version(70_237)]).await;
    assert!(task.is_woken());
    assert_pending!(task.poll());
    node.say([frame("inv", vec![0]), ping(4)]).await;
    assert_pending!(task.poll());
    node.say([verack()]).await;
    assert!(task.is_woken());
    assert!(assert_ready!(task.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_another_network_is_told_by_its_first_bytes() {
    let mut mainnet = bytes::BytesMut::new();
    version(70_237).encode(Network::Mainnet, &mut mainnet);
    for bytes in [&mainnet[..], &mainnet[..4], b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0"] {
        let error = handshake_with(bytes, false).await.unwrap_err();
        assert!(
            matches!(error, PeerError::WrongNetwork { expected: NETWORK, magic } if magic == bytes[..4]),
            "{error:?}"
        );
    }
    let error = handshake_with(&mainnet, true).await.unwrap_err();
    assert_eq!(error.to_string(), "peer is not on regtest: it speaks for mainnet");
    let error = handshake_with(b"HTTP/1.1", true).await.unwrap_err();
    assert_eq!(error.to_string(), "peer is not on regtest: it starts with [48, 54, 54, 50], which is no Dash network");

    // Later it is no longer a question of the network.
    let bytes = [&raw([version(70_237)])[..], &mainnet].concat();
    let error = handshake_with(&bytes, false).await.unwrap_err();
    assert!(matches!(error, PeerError::Frame(FrameError::WrongMagic(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_below_the_oldest_protocol_is_refused_with_both_numbers() {
    for protocol_version in [70_214, 70_229, 0, -1, i32::MIN] {
        let error = handshake_with(&raw([documented(protocol_version), verack()]), false).await.unwrap_err();
        assert!(matches!(error, PeerError::TooOld { version, minimum: 70_230 } if version == protocol_version));
    }
    let error = handshake_with(&raw([documented(70_214)]), false).await.unwrap_err();
    assert_eq!(error.to_string(), "peer speaks protocol 70214, at least 70230 is needed");
    for protocol_version in [70_230, 70_236, 70_237, 70_240, i32::MAX] {
        let connection = handshake_with(&raw([documented(protocol_version), verack()]), false).await.unwrap();
        assert_eq!(connection.protocol_version(), protocol_version.min(70_237));
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_height_is_none() {
    let mut payload = DOCUMENTED.concat();
    payload[..4].copy_from_slice(&70_237_i32.to_le_bytes());
    payload[99..103].copy_from_slice(&(-1_i32).to_le_bytes());
    let connection = handshake_with(&raw([frame("version", payload), verack()]), false).await.unwrap();
    assert_eq!(connection.peer_version().start_height, -1);
    assert_eq!(connection.start_height(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_ourselves_is_found() {
    let (ours, mut theirs) = duplex(64 * 1024);
    let mirror = async {
        let mut first = [0; 512];
        let read = theirs.read(&mut first).await.unwrap();
        theirs.write_all(&first[..read]).await.unwrap();
    };
    let config = config();
    let (result, ()) = tokio::join!(handshake(ours, PeerId::Address(address()), &config), mirror);
    assert!(matches!(result, Err(PeerError::SelfConnection)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_left_at_the_time_limit() {
    let script = raw([version(70_237)]);
    for (bytes, missing) in [
        (&b""[..], Command::VERSION),
        (&script[..3], Command::VERSION),
        (&script[..60], Command::VERSION),
        (&script, Command::VERACK),
    ] {
        let start = Instant::now();
        let error = handshake_with(bytes, false).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert!(matches!(error, PeerError::HandshakeTimeout { awaited, after }
            if awaited == missing && after == Duration::from_secs(10)));
        assert_eq!(error.to_string(), format!("no {missing} within 10s"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_talking_or_does_not_read_gets_no_more_time() {
    let (ours, theirs) = duplex(64 * 1024);
    let mut node = Node::new(theirs);
    let talk = tokio::spawn(async move {
        for byte in raw((0..20).map(ping)) {
            sleep(Duration::from_secs(1)).await;
            if node.io.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        panic!("nobody hung up");
    });
    let start = Instant::now();
    let error = handshake(ours, PeerId::Address(address()), &config()).await.unwrap_err();
    assert!(matches!(error, PeerError::HandshakeTimeout { awaited: Command::VERSION, .. }), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    talk.await.unwrap();

    let (ours, theirs) = duplex(16);
    let config = PeerConfig { handshake_timeout: Duration::from_secs(3), ..config() };
    let error = handshake(ours, PeerId::Address(address()), &config).await.unwrap_err();
    assert!(matches!(error, PeerError::HandshakeTimeout { awaited: Command::VERSION, .. }), "{error:?}");
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_says_before_what() {
    let script = raw([ping(1), version(70_237)]);
    for (bytes, missing) in
        [(&b""[..], Command::VERSION), (&script[..32], Command::VERSION), (&script, Command::VERACK)]
    {
        let error = handshake_with(bytes, true).await.unwrap_err();
        assert!(matches!(error, PeerError::HandshakeClosed { awaited, source: None, .. } if awaited == missing));
        let text = error.to_string();
        assert!(text.starts_with(&format!("connection ended before {missing}")), "{text}");
        assert_eq!(text.contains("may be on another network than regtest"), missing == Command::VERSION, "{text}");
    }
    for cut in (1..32).chain(33..script.len()) {
        let error = handshake_with(&script[..cut], true).await.unwrap_err();
        assert!(matches!(error, PeerError::Frame(FrameError::Truncated(_))), "cut at {cut}: {error:?}");
    }

    let (ours, theirs) = duplex(64);
    drop(theirs);
    let error = handshake(ours, PeerId::Address(address()), &config()).await.unwrap_err();
    assert!(
        matches!(error, PeerError::HandshakeClosed { awaited: Command::VERSION, source: Some(_), .. }),
        "{error:?}"
    );
    assert!(error.source().is_some());
}

#[tokio::test(start_paused = true)]
async fn version_and_verack_come_once_and_in_order() {
    let error = handshake_with(&raw([verack(), version(70_237)]), false).await.unwrap_err();
    assert!(matches!(error, PeerError::HandshakeOrder(Command::VERACK)), "{error:?}");
    let error = handshake_with(&raw([version(70_237), version(70_237)]), false).await.unwrap_err();
    assert!(matches!(error, PeerError::HandshakeOrder(Command::VERSION)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_before_verack_ends_the_handshake() {
    let inv = || frame("inv", vec![0; 37]);
    let script: Vec<_> = [version(70_237)].into_iter().chain((0..30).map(|_| inv())).collect();
    let good: Vec<_> = script.iter().cloned().chain([verack()]).collect();
    assert!(handshake_with(&raw(good), false).await.is_ok());
    let flood: Vec<_> = script.into_iter().chain([inv(), verack()]).collect();
    let error = handshake_with(&raw(flood), false).await.unwrap_err();
    assert!(matches!(error, PeerError::HandshakeFlood { awaited: Command::VERACK, limit: 32 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_decode_is_malformed() {
    let whole = DOCUMENTED.concat();
    for cut in 0..103 {
        let error = handshake_with(&raw([frame("version", whole[..cut].to_vec())]), false).await.unwrap_err();
        assert!(matches!(error, PeerError::MalformedVersion(_)), "cut at {cut}: {error:?}");
        assert!(error.source().is_some());
    }
    let error = handshake_with(&raw([frame("version", vec![0; 5000])]), false).await.unwrap_err();
    assert!(matches!(error, PeerError::Frame(FrameError::TooLong { command: Command::VERSION, .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_agent_that_no_peer_accepts_is_not_sent() {
    let (ours, mut theirs) = duplex(64 * 1024);
    let config = PeerConfig { user_agent: "x".repeat(257), ..config() };
    let error = handshake(ours, PeerId::Address(address()), &config).await.unwrap_err();
    assert!(matches!(error, PeerError::UserAgentTooLong { length: 257, limit: 256 }), "{error:?}");
    assert_eq!(theirs.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_devnets_nodes_hear_its_name() {
    for name in ["paloma", "devnet-paloma"] {
        let (ours, theirs) = duplex(64 * 1024);
        let mut node = Node::new(theirs);
        let config = PeerConfig { user_agent: "/x:1/".into(), devnet: Some(name.into()), ..config() };
        let hear = async {
            let version = node.hear().await.unwrap();
            drop(node);
            VersionMessage::from_wire(version.payload).unwrap().user_agent
        };
        let (_, user_agent) = tokio::join!(handshake(ours, address().into(), &config), hear);
        assert_eq!(user_agent, "/x:1(devnet.devnet-paloma)/");
    }
    let config = PeerConfig { devnet: Some("x".repeat(256)), ..config() };
    let (ours, _theirs) = duplex(64);
    let error = handshake(ours, address().into(), &config).await.unwrap_err();
    assert!(matches!(error, PeerError::UserAgentTooLong { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_travels_as_a_boxed_one() {
    let error = handshake_with(&raw([documented(70_214)]), false).await.unwrap_err();
    assert!(matches!(error, PeerError::TooOld { .. }), "{error:?}");
    let boxed: Box<dyn Error + Send + Sync> = error.into();
    assert!(boxed.downcast_ref::<PeerError>().is_some());
    // A session can be moved to another thread.
    fn sendable<T: Send + Sync + 'static>(_: T) {}
    sendable(session(4096).await.0);
}
