use super::*;

/// A peer whose second reply is at fault, and a client that has asked for four with their pings and got the first.
async fn at_fault(recording: &Arc<Recording>, fault: Fault) -> Client<DuplexStream> {
    let mut client = connect_in_memory(simulated(recording).fault(1..=1, fault)).await;
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
    let limit = 16 << 20;
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
    let settings = simulated(&recording)
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

#[tokio::test(start_paused = true)]
async fn a_late_reply_holds_up_what_was_asked_behind_it() {
    let recording = bundled();
    let by = Duration::from_secs(7);
    let start = Instant::now();
    let mut client = at_fault(&recording, Fault::Late { by }).await;
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[1]));
    assert_about(start.elapsed(), by);
    assert_eq!(client.next_frame().await, pong(1));
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[2]));
    assert_about(start.elapsed(), by);
}

#[tokio::test(start_paused = true)]
async fn a_flood_lasts_as_long_as_it_is_read() {
    let recording = bundled();
    let mut client = at_fault(&recording, Fault::Flood).await;
    let start = Instant::now();
    for _ in 0..100_000 {
        let frame = client.next_frame().await;
        assert_eq!((frame.command, frame.payload.len()), (Command::new(b"inv"), 37));
    }
    // 16 KiB a millisecond at most.
    let taken = Duration::from_millis(100_000 * 61 / 16_445);
    assert!(start.elapsed() >= taken && start.elapsed() < 2 * taken, "{:?}", start.elapsed());

    // The client does not read: no more than the pipe holds.
    let sent = || client.peer.as_ref().unwrap().stats().bytes;
    let before = sent();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(sent() - before <= 4 << 20, "{} bytes", sent() - before);
    let full = sent();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(sent(), full);
}

#[tokio::test(start_paused = true)]
async fn a_lie_is_sent_with_a_fitting_checksum() {
    let recording = bundled();
    let settings = simulated(&recording)
        .lie(1.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO)
        .lie(2.., |reply| reply.extra_share = None)
        .fault(3.., Fault::Duplicate);
    let mut client = connect_in_memory(settings).await;
    for exchange in &chained(&recording)[..4] {
        client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
    }
    assert_eq!(&client.next_frame().await.payload, reply_of(chained(&recording)[0]));
    for (number, copies) in [(1, 1), (2, 1), (3, 2)] {
        let mut expected = QRInfo::from_wire(reply_of(chained(&recording)[number]).clone()).unwrap();
        expected.mn_list_diff_h.block_hash = BlockHash::ZERO;
        if number >= 2 {
            expected.extra_share = None;
        }
        for _ in 0..copies {
            assert_eq!(QRInfo::from_wire(client.next_frame().await.payload).unwrap(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_faults_befall_the_same_replies_again() {
    let recording = bundled();
    let play = async |seed| {
        let mut client = connect_in_memory(simulated(&recording).random_fault(0.5, seed, Fault::Refuse)).await;
        let mut refused = Vec::new();
        for (nonce, exchange) in (0..).zip(chained(&recording)) {
            client.ask(&exchange.request, nonce).await;
            if client.next_frame().await == pong(nonce) {
                refused.push(nonce);
            } else {
                assert_eq!(client.next_frame().await, pong(nonce));
            }
        }
        refused
    };
    let refused = play(3).await;
    let all = chained(&recording).len();
    assert!((all / 4..all * 3 / 4).contains(&refused.len()), "{} of {all}", refused.len());
    assert_eq!(play(3).await, refused);
    assert_ne!(play(4).await, refused);
}
