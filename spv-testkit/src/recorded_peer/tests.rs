use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    BlockHash, Network,
    message::{GetQRInfo, QRInfo, VersionMessage},
    wire::{
        Wire,
        frame::{Command, Frame, FrameDecoder, FrameError, FrameEvent, HEADER_LEN},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{Counters, Fault, PeerProfile, RecordedPeer, RecordedPeerBuilder, connection};
use crate::{Answer, Construction, Exchange, LinkModel, Plan, Recording};

/// The whole of a client.
struct Client<S> {
    stream: S,
    /// A test that waits longer than this for a message has failed.
    patience: Duration,
    decoder: FrameDecoder,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, decoder: FrameDecoder::new(Network::Regtest), buffer: BytesMut::new() }
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
async fn connect_in_memory(settings: RecordedPeerBuilder) -> Client<DuplexStream> {
    let (ours, theirs) = duplex(1 << 20);
    tokio::spawn(async move {
        connection::serve(theirs, ([127, 0, 0, 1], 2).into(), &settings, &Counters::default()).await
    });
    Client::new(ours, Duration::from_secs(3600)).greet(70237).await.0
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

#[tokio::test]
async fn the_bundled_recording_is_answered_over_tcp_as_it_was_recorded() {
    let asked = play(bundled()).await;
    assert_eq!(asked, 215);
}

#[tokio::test]
async fn the_whole_recordings_are_answered_over_tcp_as_they_were_recorded() {
    for (name, exchanges) in [("regtest", 612), ("regtest-churn", 628)] {
        if let Some(recording) = Recording::shared(name).unwrap() {
            assert_eq!(play(Arc::new(recording)).await, exchanges);
        }
    }
}

/// Asks everything, sixteen in flight, each request with its ping, at a peer of each construction.
async fn play(recording: Arc<Recording>) -> usize {
    let mut asked = 0;
    for protocol in [70237, 70230] {
        let peer = RecordedPeer::builder(Arc::clone(&recording)).protocol(protocol).spawn().await.unwrap();
        let (mut client, version) = connect(&peer).await.greet(70240).await;
        assert_eq!(version.protocol_version, protocol);
        assert_eq!(version.start_height, i32::try_from(recording.start_height()).unwrap());
        assert_eq!(version.user_agent, "/Dash Core:23.0.0/");

        let exchanges: Vec<_> = recording.exchanges().iter().filter(|exchange| exchange.protocol == protocol).collect();
        for (nonce, exchange) in (0..).zip(exchanges.iter().take(16)) {
            client.ask(&exchange.request, nonce).await;
        }
        let mut replies = 0;
        for (position, (nonce, exchange)) in (0..).zip(&exchanges).enumerate() {
            let mut next = client.next_frame().await;
            if let Answer::Reply(reply) = &exchange.answer {
                assert_eq!((next.command, &next.payload), (Command::QR_INFO, reply), "exchange {}", exchange.id);
                next = client.next_frame().await;
                replies += 1;
            }
            assert_eq!(next, pong(nonce), "exchange {}", exchange.id);
            if let Some(exchange) = exchanges.get(position + 16) {
                client.ask(&exchange.request, nonce + 16).await;
            }
        }
        asked += exchanges.len();

        let stats = peer.stats();
        assert_eq!(stats.connections, 1);
        assert_eq!(stats.requests, exchanges.len() as u64);
        assert_eq!(stats.replies, replies);
        assert_eq!(stats.refusals, stats.requests - replies);
    }
    asked
}

#[tokio::test]
async fn a_session_uses_the_lower_protocol_of_both_sides() {
    let recording = bundled();
    let peer = RecordedPeer::builder(Arc::clone(&recording)).spawn().await.unwrap();
    let request = &chained(&recording)[0].request;
    let recorded = |construction| reply_of(recording.find(construction, request).unwrap());
    assert_ne!(recorded(Construction::Legacy), recorded(Construction::Efficient));
    for (ours, construction) in [
        (70230, Construction::Legacy),
        (70235, Construction::Legacy),
        (70236, Construction::Efficient),
        (70300, Construction::Efficient),
    ] {
        let (mut client, _) = connect(&peer).await.greet(ours).await;
        client.ask(request, 1).await;
        assert_eq!(&client.next_frame().await.payload, recorded(construction), "{ours}");
    }
    let mut client = connect(&peer).await;
    client.send_version(70229).await;
    assert_eq!(client.next().await, Ok(None), "below 70230 messages have another layout");
}

#[tokio::test]
async fn a_request_before_verack_is_dropped() {
    let recording = bundled();
    let peer = RecordedPeer::builder(Arc::clone(&recording)).spawn().await.unwrap();
    let exchange = chained(&recording)[0];
    let mut client = connect(&peer).await;
    client.ask(&exchange.request, 1).await;
    client.send_version(70237).await;
    client.ask(&exchange.request, 2).await;
    client.send(Command::VERACK, Bytes::new()).await;
    client.ask(&exchange.request, 3).await;

    let mut commands = Vec::new();
    let last = loop {
        let frame = client.next_frame().await;
        match frame.command {
            Command::PONG => break frame,
            command => commands.push(command.to_string()),
        }
    };
    let expected = ["version", "sendaddrv2", "verack", "sendheaders2", "sendcmpct", "senddsq", "ping", "qrinfo"]
        .map(str::to_owned);
    assert_eq!(commands, expected);
    assert_eq!(last, pong(3));
    assert_eq!(peer.stats().requests, 1);
}

#[tokio::test]
async fn what_a_node_does_not_answer_is_ignored() {
    let peer = RecordedPeer::builder(bundled()).spawn().await.unwrap();
    let (mut client, _) = connect(&peer).await.greet(70237).await;
    client.send(Command::GET_MN_LIST_DIFF, vec![0; 64]).await;
    client.send(Command::new(b"mempool"), Bytes::new()).await;
    client.send_version(70237).await;
    client.send(Command::PING, vec![5; 8]).await;
    assert_eq!(client.next_frame().await.payload[..], [5; 8]);
}

#[tokio::test]
async fn a_hundred_refusals_end_the_connection() {
    let peer = RecordedPeer::builder(bundled()).spawn().await.unwrap();
    let (mut client, _) = connect(&peer).await.greet(70237).await;
    for nonce in 0..99 {
        client.ask(&unknown_request(), nonce).await;
        assert_eq!(client.next_frame().await, pong(nonce));
    }
    client.send(Command::GET_QR_INFO, unknown_request()).await;
    assert_eq!(client.next().await, Ok(None));
    assert_eq!(peer.stats().refusals, 100);

    let (mut client, _) = connect(&peer).await.greet(70237).await;
    client.ask(&unknown_request(), 1).await;
    assert_eq!(client.next_frame().await, pong(1));
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_connection() {
    let peer = RecordedPeer::builder(bundled()).spawn().await.unwrap();
    let (mut client, _) = connect(&peer).await.greet(70237).await;
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.next().await, Ok(None));
    let mut client = connect(&peer).await;
    client.send(Command::VERSION, vec![1, 2, 3]).await;
    assert_eq!(client.next().await, Ok(None));
}

#[tokio::test]
async fn dropping_the_peer_ends_its_connections() {
    let peer = RecordedPeer::builder(bundled()).spawn().await.unwrap();
    let (mut client, _) = connect(&peer).await.greet(70237).await;
    let address = peer.address();
    drop(peer);
    assert_eq!(client.next().await, Ok(None));
    assert!(TcpStream::connect(address).await.is_err());
}

const PROFILE: PeerProfile =
    PeerProfile { round_trip: Duration::from_millis(100), compute: Duration::from_millis(10), rate: Some(100_000) };

/// Timers fire on whole milliseconds.
fn assert_about(got: Duration, expected: Duration) {
    assert!(got >= expected && got - expected <= Duration::from_millis(1), "{got:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn every_byte_arrives_when_the_link_model_says() {
    let recording = bundled();
    let mut client = connect_in_memory(RecordedPeer::builder(Arc::clone(&recording)).profile(PROFILE)).await;
    let exchanges = &chained(&recording)[..10];
    let start = Instant::now();
    for exchange in exchanges {
        client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
    }
    let mut model = LinkModel::new(PROFILE.round_trip);
    for exchange in exchanges {
        let reply = reply_of(exchange);
        let bytes = (HEADER_LEN + reply.len()) as u64;
        let transit = model.answer(start.into_std(), PROFILE.compute, PROFILE.transfer(bytes), bytes);
        assert_eq!(&client.next_frame().await.payload, reply);
        assert_about(start.elapsed(), transit.last_byte - start.into_std());
    }
    // The link is the bottleneck here: one round trip and one computation in all, then bytes without a gap.
    let bytes: usize = exchanges.iter().map(|exchange| HEADER_LEN + reply_of(exchange).len()).sum();
    assert_about(start.elapsed(), Duration::from_millis(110) + PROFILE.transfer(bytes as u64));
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_seen_to_grow_while_it_is_on_the_link() {
    let recording = bundled();
    let mut client = connect_in_memory(RecordedPeer::builder(Arc::clone(&recording)).profile(PROFILE)).await;
    let start = Instant::now();
    let exchange = chained(&recording)[0];
    client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
    let mut received = 0;
    let length = HEADER_LEN + reply_of(exchange).len();
    while received < length {
        received += client.stream.read_buf(&mut client.buffer).await.unwrap();
        // 100 bytes a millisecond, from the first byte after a round trip and the computation on.
        let due = (start.elapsed() - Duration::from_millis(110)).as_millis() * 100;
        assert!(received as u128 <= due && due <= received as u128 + 600, "{received} bytes, {due} are due");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_measures_the_round_trip_and_waits_for_earlier_replies() {
    let recording = bundled();
    let exchange = chained(&recording)[0];
    let mut client = connect_in_memory(RecordedPeer::builder(Arc::clone(&recording)).profile(PROFILE)).await;
    let start = Instant::now();
    client.send(Command::PING, vec![1; 8]).await;
    client.next_frame().await;
    assert_about(start.elapsed(), PROFILE.round_trip + PROFILE.transfer(32));

    let start = Instant::now();
    client.ask(&exchange.request, 1).await;
    client.next_frame().await;
    let replied = start.elapsed();
    assert_eq!(client.next_frame().await, pong(1));
    assert_about(start.elapsed() - replied, PROFILE.transfer(32));

    // A refusal is known after a round trip and the computation.
    let start = Instant::now();
    client.ask(&unknown_request(), 2).await;
    assert_eq!(client.next_frame().await, pong(2));
    assert_about(start.elapsed(), PROFILE.round_trip + PROFILE.compute + PROFILE.transfer(32));
}

/// A peer whose second reply is at fault, and a client that has asked for four with their pings and got the first.
async fn at_fault(recording: &Arc<Recording>, fault: Fault) -> Client<DuplexStream> {
    let mut client = connect_in_memory(RecordedPeer::builder(Arc::clone(recording)).fault(1..=1, fault)).await;
    for (nonce, exchange) in (0..4).zip(chained(recording)) {
        client.ask(&exchange.request, nonce).await;
    }
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(recording)[0]));
    assert_eq!(client.next_frame().await, pong(0));
    client
}

#[tokio::test(start_paused = true)]
async fn faults_that_end_or_stall_a_connection() {
    let recording = bundled();
    assert_eq!(at_fault(&recording, Fault::Close).await.next().await, Ok(None));
    for at in [1, 24, 500] {
        let mut client = at_fault(&recording, Fault::CloseInFrame { at }).await;
        assert_eq!(client.next().await, Err(FrameError::Truncated(at)));
    }
    let mut client = at_fault(&recording, Fault::Silent).await;
    client.send(Command::PING, vec![0; 8]).await;
    assert!(timeout(Duration::from_secs(3600), client.stream.read_buf(&mut client.buffer)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn faults_that_spoil_the_frame() {
    let recording = bundled();
    let mut client = at_fault(&recording, Fault::Oversized).await;
    let limit = 32 << 20;
    assert_eq!(client.next().await, Err(FrameError::TooLong { command: Command::QR_INFO, length: limit + 1, limit }));
    for bit in [0, 777, usize::MAX] {
        let mut client = at_fault(&recording, Fault::BitFlip { bit }).await;
        assert_eq!(client.next().await, Err(FrameError::BadChecksum(Command::QR_INFO)));
    }
    let mut client = at_fault(&recording, Fault::Garbage { seed: 1 }).await;
    assert!(matches!(client.next().await, Err(FrameError::WrongMagic(_))));
}

#[tokio::test(start_paused = true)]
async fn faults_after_which_the_connection_goes_on() {
    let recording = bundled();
    let right = reply_of(chained(&recording)[1]).clone();
    for (fault, expected) in [
        (Fault::Refuse, vec![]),
        (Fault::Unknown, vec![Frame { command: Command::new(b"unheardof"), payload: right.clone() }]),
        (Fault::Duplicate, vec![Frame { command: Command::QR_INFO, payload: right.clone() }; 2]),
    ] {
        let mut client = at_fault(&recording, fault).await;
        for frame in expected {
            assert_eq!(client.next_frame().await, frame, "{fault:?}");
        }
        assert_eq!(client.next_frame().await, pong(1), "{fault:?}");
        assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[2]));
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_frames_do_not_show() {
    let recording = bundled();
    let right = reply_of(chained(&recording)[1]).clone();
    let mut client = at_fault(&recording, Fault::Tamper { bit: 803 }).await;
    let mut tampered = right.to_vec();
    tampered[100] ^= 8;
    assert_eq!(client.next_frame().await.payload, tampered);

    let mut client = at_fault(&recording, Fault::WrongReply).await;
    let wrong = QRInfo::from_wire(client.next_frame().await.payload).unwrap();
    assert_ne!(wrong.work_block_hash(), QRInfo::from_wire(right).unwrap().work_block_hash());
}

#[tokio::test(start_paused = true)]
async fn a_dripping_reply_takes_its_time() {
    let recording = bundled();
    let mut client = at_fault(&recording, Fault::Drip { bytes: 10, every: Duration::from_secs(1) }).await;
    let start = Instant::now();
    let length = HEADER_LEN + reply_of(chained(&recording)[1]).len();
    for second in 1..=5 {
        assert_eq!(client.stream.read_buf(&mut client.buffer).await.unwrap(), 10);
        assert_about(start.elapsed(), Duration::from_secs(second));
    }
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[1]));
    assert_about(start.elapsed(), Duration::from_millis(length as u64 * 100));
}

#[tokio::test(start_paused = true)]
async fn faults_add_up_in_the_order_in_which_they_were_set() {
    let recording = bundled();
    let settings = RecordedPeer::builder(Arc::clone(&recording))
        .fault(.., Fault::WrongReply)
        .fault(2.., Fault::BitFlip { bit: 1 })
        .fault(..1, Fault::Duplicate);
    let mut client = connect_in_memory(settings).await;
    for exchange in &chained(&recording)[..3] {
        client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
    }
    let wrong = client.next_frame().await;
    assert_ne!(&wrong.payload, reply_of(chained(&recording)[0]));
    assert_eq!(client.next_frame().await, wrong);
    assert_ne!(client.next_frame().await, wrong);
    assert_eq!(client.next().await, Err(FrameError::BadChecksum(Command::QR_INFO)));
}

#[tokio::test]
async fn replies_are_counted_over_connections() {
    let recording = bundled();
    let peer = RecordedPeer::builder(Arc::clone(&recording)).fault(..2, Fault::Close).spawn().await.unwrap();
    let request = &chained(&recording)[0].request;
    for _ in 0..2 {
        let (mut client, _) = connect(&peer).await.greet(70237).await;
        client.send(Command::GET_QR_INFO, request.clone()).await;
        assert_eq!(client.next().await, Ok(None));
    }
    let (mut client, _) = connect(&peer).await.greet(70237).await;
    client.ask(request, 1).await;
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[0]));
}
