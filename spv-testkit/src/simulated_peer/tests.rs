mod faults;
mod session;
mod timing;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    BlockHash, Network,
    message::{GetHeaders, GetQRInfo, Headers, QRInfo, VersionMessage},
    wire::{
        Wire,
        frame::{Command, Frame, FrameDecoder, FrameError, FrameEvent, HEADER_LEN},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{Fault, PeerProfile, SimulatedPeer, SimulatedPeerBuilder};
use crate::{
    Answer, Answers, Cost, Exchange, LinkModel, NodeFacts, Plan, RecordedAnswers, RecordedPeer, Recording, Response,
    ServerSession,
};

/// The whole of a client.
struct Client<S> {
    stream: S,
    /// The peer of a connection in memory. Dropping it ends the connection.
    peer: Option<SimulatedPeer>,
    /// A test that waits longer than this for a message has failed.
    patience: Duration,
    decoder: FrameDecoder,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, peer: None, patience, decoder: FrameDecoder::new(Network::Regtest), buffer: BytesMut::new() }
    }

    async fn send(&mut self, command: Command, payload: impl Into<Bytes>) {
        let mut out = BytesMut::new();
        Frame { command, payload: payload.into() }.encode(Network::Regtest, &mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn send_version(&mut self, protocol: i32) {
        let ours = VersionMessage::for_client(([127, 0, 0, 1], 1).into(), 0, 77, "/test/");
        self.send(Command::VERSION, VersionMessage { protocol_version: protocol, ..ours }.to_wire()).await;
    }

    /// A request, and the ping that fences it, numbered.
    async fn ask(&mut self, request: &Bytes, nonce: u64) {
        self.send(Command::GET_QR_INFO, request.clone()).await;
        self.send(Command::PING, nonce.to_le_bytes().to_vec()).await;
    }

    /// The next whole message; `None` at a clean end of the stream.
    async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.decoder.decode(&mut self.buffer)? {
                Some(FrameEvent::Frame(frame)) => return Ok(Some(frame)),
                Some(FrameEvent::Partial(_)) => continue,
                None => {}
            }
            let read = timeout(self.patience, self.stream.read_buf(&mut self.buffer)).await;
            if read.expect("a sign of life").unwrap() == 0 {
                return self.decoder.finish(&self.buffer).map(|()| None);
            }
        }
    }

    async fn next_frame(&mut self) -> Frame {
        self.next().await.unwrap().expect("the stream goes on")
    }

    /// Shakes hands, and reads the node's version and everything up to the ping with which a node ends its greeting.
    async fn greet(mut self, protocol: i32) -> (Self, VersionMessage) {
        self.send_version(protocol).await;
        let version = self.next_frame().await;
        assert_eq!(version.command, Command::VERSION);
        while self.next_frame().await.command != Command::VERACK {}
        self.send(Command::VERACK, Bytes::new()).await;
        while self.next_frame().await.command != Command::PING {}
        (self, VersionMessage::from_wire(version.payload).unwrap())
    }
}

async fn connect(peer: &RecordedPeer) -> Client<TcpStream> {
    let stream = TcpStream::connect(peer.address()).await.unwrap();
    // Else a ping waits for the acknowledgement of the request before it.
    stream.set_nodelay(true).unwrap();
    Client::new(stream, Duration::from_secs(10))
}

/// A connection in memory, whose time is exact while the clock is paused.
async fn connect_in_memory(settings: SimulatedPeerBuilder) -> Client<DuplexStream> {
    let peer = settings.build();
    let mut client = Client::new(peer.connect(), Duration::from_secs(3600));
    client.peer = Some(peer);
    client.greet(70237).await.0
}

/// A peer that answers as recorded.
fn simulated(recording: &Arc<Recording>) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(RecordedAnswers::new(Arc::clone(recording)))
}

fn bundled() -> Arc<Recording> {
    Arc::new(Recording::bundled().unwrap())
}

fn pong(nonce: u64) -> Frame {
    Frame { command: Command::PONG, payload: nonce.to_le_bytes().to_vec().into() }
}

fn reply_of(exchange: &Exchange) -> &Bytes {
    match &exchange.answer {
        Answer::Reply(reply) => reply,
        Answer::Refused => panic!("exchange {} was refused", exchange.id),
    }
}

/// The chained plan in the efficient construction.
fn chained(recording: &Recording) -> Vec<&Exchange> {
    let sync = recording.complete_syncs().iter().find(|sync| sync.protocol == 70237 && sync.plan == Plan::Chained);
    recording.exchanges_of(sync.unwrap()).collect()
}

fn unknown_request() -> Bytes {
    let block_hash = BlockHash::from_bytes([9; 32]);
    GetQRInfo { base_block_hashes: Vec::new(), block_hash, extra_share: true }.to_wire()
}

/// Timers fire on whole milliseconds.
fn assert_about(got: Duration, expected: Duration) {
    assert!(got >= expected && got - expected <= Duration::from_millis(1), "{got:?} instead of {expected:?}");
}
