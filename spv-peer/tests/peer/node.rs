//! The other side: says what the test scripts, and hears what we say.
#![expect(clippy::unwrap_used, reason = "a script that cannot go on fails its test")]

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    Network, PeerId,
    message::VersionMessage,
    wire::{
        Wire,
        frame::{Command, Frame, FrameDecoder, FrameEvent},
    },
};
use spv_peer::{Connection, PeerConfig, PeerError, handshake};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

pub(crate) const NETWORK: Network = Network::Regtest;

pub(crate) const OUR_NONCE: u64 = 0x0123_4567_89ab_cdef;

/// `sendaddrv2` on regtest, byte for byte: magic, name, length 0, and the checksum of nothing.
pub(crate) const SEND_ADDR_V2: [u8; 24] = *b"\xfc\xc1\xb7\xdcsendaddrv2\0\0\0\0\0\0\x5d\xf6\xe0\xe2";

/// `verack`, likewise.
pub(crate) const VERACK: [u8; 24] = *b"\xfc\xc1\xb7\xdcverack\0\0\0\0\0\0\0\0\0\0\x5d\xf6\xe0\xe2";

pub(crate) fn config() -> PeerConfig {
    PeerConfig::new(NETWORK, OUR_NONCE)
}

pub(crate) fn address() -> SocketAddr {
    ([203, 0, 113, 5], 19899).into()
}

pub(crate) fn frame(command: &str, payload: impl Into<Bytes>) -> Frame {
    Frame { command: Command::new(command.as_bytes()), payload: payload.into() }
}

pub(crate) fn ping(nonce: u64) -> Frame {
    frame("ping", nonce.to_le_bytes().to_vec())
}

pub(crate) fn pong(nonce: u64) -> Frame {
    frame("pong", nonce.to_le_bytes().to_vec())
}

pub(crate) fn raw(frames: impl IntoIterator<Item = Frame>) -> BytesMut {
    let mut bytes = BytesMut::new();
    for frame in frames {
        frame.encode(NETWORK, &mut bytes);
    }
    bytes
}

/// The first message of a node of this protocol version.
pub(crate) fn version(protocol_version: i32) -> Frame {
    let message = VersionMessage {
        protocol_version,
        services: 0xc05,
        start_height: 1_772,
        relay: true,
        trailing: Bytes::from_static(&[9; 33]),
        ..VersionMessage::for_client(([127, 0, 0, 1], 50_000).into(), 1_700_000_000, 77, "/Dash Core:23.0.0/")
    };
    frame("version", message.to_wire())
}

/// A node at the other end of `io`.
pub(crate) struct Node<Io = DuplexStream> {
    pub(crate) io: Io,
    decoder: FrameDecoder,
    buffer: BytesMut,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Node<Io> {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, decoder: FrameDecoder::new(NETWORK), buffer: BytesMut::new() }
    }

    pub(crate) async fn say(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.io.write_all(&raw(frames)).await.unwrap();
    }

    /// The next frame from us, or `None` when we have closed. Fails instead of waiting without end.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        timeout(Duration::from_secs(60), self.next()).await.unwrap()
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.decode(&mut self.buffer).unwrap() {
                Some(FrameEvent::Frame(frame)) => return Some(frame),
                Some(FrameEvent::Partial(_)) => {}
                None if self.io.read_buf(&mut self.buffer).await.unwrap() == 0 => {
                    assert_eq!(self.decoder.finish(&self.buffer), Ok(()));
                    return None;
                }
                None => {}
            }
        }
    }

    /// The node's part of a handshake.
    pub(crate) async fn greet(&mut self) {
        assert_eq!(self.hear().await.unwrap().command, Command::VERSION);
        self.say([version(70237), frame("verack", vec![])]).await;
        assert_eq!(self.hear().await.unwrap(), frame("sendaddrv2", vec![]));
        assert_eq!(self.hear().await.unwrap().command, Command::VERACK);
    }
}

/// Shakes hands with a node that says `bytes` and then closes, or stays and is silent.
pub(crate) async fn handshake_with(bytes: &[u8], closes: bool) -> Result<Connection<DuplexStream>, PeerError> {
    let (ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(bytes).await.unwrap();
    if closes {
        theirs.shutdown().await.unwrap();
    }
    let result = handshake(ours, PeerId::Address(address()), &config()).await;
    drop(theirs);
    result
}

/// A session over a pipe that holds `capacity` bytes each way.
pub(crate) async fn session(capacity: usize) -> (Connection<DuplexStream>, Node) {
    let (ours, theirs) = duplex(capacity);
    let mut node = Node::new(theirs);
    let config = config();
    let (connection, ()) = tokio::join!(handshake(ours, PeerId::Address(address()), &config), node.greet());
    (connection.unwrap(), node)
}
