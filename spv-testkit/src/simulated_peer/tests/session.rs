use super::*;

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
    let recorded = |protocol| reply_of(recording.find(protocol, request).unwrap());
    assert_ne!(recorded(70230), recorded(70237));
    for (ours, session) in [(70230, 70230), (70235, 70230), (70237, 70237), (70300, 70237)] {
        let (mut client, _) = connect(&peer).await.greet(ours).await;
        client.ask(request, 1).await;
        assert_eq!(&client.next_frame().await.payload, recorded(session), "{ours}");
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

#[tokio::test]
async fn one_peer_is_reached_in_memory_and_over_tcp() {
    let recording = bundled();
    let exchange = chained(&recording)[0];
    let peer = simulated(&recording).start_height(99).build();
    let (addresses, pipe) = ([peer.listen().await.unwrap(), peer.listen().await.unwrap()], peer.connect());
    let (mut in_memory, version) = Client::new(pipe, Duration::from_secs(10)).greet(70237).await;
    assert_eq!(version.start_height, 99);
    in_memory.ask(&exchange.request, 1).await;
    assert_eq!(&in_memory.next_frame().await.payload, reply_of(exchange));
    assert_eq!(in_memory.next_frame().await, pong(1));
    for address in addresses {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, _) = Client::new(stream, Duration::from_secs(10)).greet(70237).await;
        client.ask(&exchange.request, 1).await;
        assert_eq!(&client.next_frame().await.payload, reply_of(exchange));
        assert_eq!(client.next_frame().await, pong(1));
    }
    let stats = peer.stats();
    assert_eq!((stats.connections, stats.requests, stats.replies), (3, 3, 3));

    drop(peer);
    assert_eq!(in_memory.next().await, Ok(None));
    assert!(TcpStream::connect(addresses[0]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_node_behind_the_tip_knows_no_block_above_its_own() {
    let recording = bundled();
    let tip = 1_764;
    let settings = SimulatedPeer::builder(RecordedAnswers::new(Arc::clone(&recording)).behind(tip));
    let peer = settings.build();
    let (mut client, version) = Client::new(peer.connect(), Duration::from_secs(10)).greet(70237).await;
    assert_eq!(version.start_height, 1_764);
    let header = recording.headers()[1_764];
    assert_eq!(version.timestamp, i64::from(u32::from_le_bytes(*header[68..].first_chunk().unwrap())));

    let (mut answered, mut refused) = (0, 0);
    let exchanges = recording.exchanges().iter().filter(|exchange| exchange.protocol == 70237);
    let replies = exchanges.filter(|exchange| matches!(exchange.answer, Answer::Reply(_)));
    for (nonce, exchange) in (0..).zip(replies.rev().take(60)) {
        client.ask(&exchange.request, nonce).await;
        let highest = exchange.base_heights.iter().chain([&exchange.height]).max().unwrap();
        if *highest <= tip {
            assert_eq!(&client.next_frame().await.payload, reply_of(exchange));
            answered += 1;
        } else {
            refused += 1;
        }
        assert_eq!(client.next_frame().await, pong(nonce));
    }
    assert!(answered > 5 && refused > 0, "{answered} answered, {refused} refused");

    let locator = vec![recording.block_hash(1_754).unwrap()];
    let request = GetHeaders { version: 70237, locator, stop: BlockHash::ZERO };
    client.send(Command::GET_HEADERS, request.to_wire()).await;
    let headers = Headers::from_wire(client.next_frame().await.payload).unwrap().0;
    assert_eq!(headers.len(), 10);
    assert_eq!(headers[9].as_bytes(), &recording.headers()[1_764]);
}

/// Answers nothing but one message, in its own time.
#[derive(Debug)]
struct Echo;

impl Answers for Echo {
    fn node(&self) -> NodeFacts {
        NodeFacts { network: Network::Regtest, user_agent: "/echo/".into(), start_height: 7, time: 0 }
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match request.command {
            Command::GET_MN_LIST_DIFF => {
                let payload = session.protocol().to_le_bytes().to_vec().into();
                Response::Reply(Frame { command: Command::MN_LIST_DIFF, payload })
            }
            Command::GET_QR_INFO => Response::Refuse,
            _ => Response::Ignore,
        }
    }

    fn cost(&self, request: &Frame) -> Option<Cost> {
        let seconds = Duration::from_secs(u64::from(*request.payload.first()?));
        Some(Cost { compute: seconds, transfer: 2 * seconds })
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_given_in_the_sessions_protocol_at_their_own_cost() {
    let peer = SimulatedPeer::builder(Echo).fault(.., Fault::WrongReply).lie(.., |_| panic!("no qrinfo")).build();
    let mut client = Client::new(peer.connect(), Duration::from_secs(100)).greet(70235).await.0;
    let start = Instant::now();
    client.send(Command::new(b"mempool"), vec![100]).await;
    client.send(Command::GET_MN_LIST_DIFF, vec![3]).await;
    client.send(Command::GET_QR_INFO, vec![10]).await;
    client.send(Command::PING, vec![1; 8]).await;
    let reply = client.next_frame().await;
    assert_eq!((reply.command, &reply.payload[..]), (Command::MN_LIST_DIFF, &70235_i32.to_le_bytes()[..]));
    assert_about(start.elapsed(), Duration::from_secs(9));
    assert_eq!(client.next_frame().await.command, Command::PONG);
    assert_about(start.elapsed(), Duration::from_secs(13));
    assert_eq!(peer.stats().requests, 2);
}
