use super::*;

const PROFILE: PeerProfile =
    PeerProfile { round_trip: Duration::from_millis(100), compute: Duration::from_millis(10), rate: Some(100_000) };

#[tokio::test(start_paused = true)]
async fn every_byte_arrives_when_the_link_model_says() {
    let recording = bundled();
    let mut client = connect_in_memory(simulated(&recording).profile(PROFILE)).await;
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
    let mut client = connect_in_memory(simulated(&recording).profile(PROFILE)).await;
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
    let mut client = connect_in_memory(simulated(&recording).profile(PROFILE)).await;
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

#[tokio::test(start_paused = true)]
async fn a_peer_that_stalls_goes_on_when_the_stall_ends() {
    let recording = bundled();
    let exchange = chained(&recording)[0];
    let bytes = (HEADER_LEN + reply_of(exchange).len()) as u64;
    let usual = PROFILE.round_trip + PROFILE.compute + PROFILE.transfer(bytes);
    let start = Instant::now();
    let (stalls, ends) = (start + Duration::from_secs(10), start + Duration::from_secs(20));
    let settings = simulated(&recording).profile(PROFILE).slow(ends.into_std(), 1).slow(stalls.into_std(), 1_000_000);
    let mut client = connect_in_memory(settings).await;
    for (asked, expected) in [(5_000, usual), (15_000, Duration::from_millis(4_950) + usual), (30_000, usual)] {
        let asked = start + Duration::from_millis(asked);
        tokio::time::sleep_until(asked).await;
        client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
        client.next_frame().await;
        let late = asked.elapsed().abs_diff(expected);
        assert!(late <= Duration::from_millis(1), "{:?} instead of {expected:?}", asked.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_send_buffer_stops_the_peer_sooner() {
    let recording = bundled();
    let exchange = chained(&recording)[0];
    let reply = reply_of(exchange).len() as u64;
    let bytes = reply + HEADER_LEN as u64;
    let profile = PeerProfile { compute: Duration::from_secs(1), round_trip: Duration::ZERO, rate: Some(bytes / 10) };
    let last = async |send_buffer| {
        let mut client = connect_in_memory(simulated(&recording).profile(profile).send_buffer(send_buffer)).await;
        let start = Instant::now();
        for _ in 0..2 {
            client.send(Command::GET_QR_INFO, exchange.request.clone()).await;
        }
        client.next_frame().await;
        client.next_frame().await;
        start.elapsed()
    };
    let transfer = profile.transfer(bytes);
    assert_about(last(reply).await, Duration::from_secs(1) + 2 * transfer);
    // The second is not read before the last byte of the first has left.
    assert_about(last(0).await, Duration::from_secs(2) + 2 * transfer);
}
