//! A session over a pipe, in paused time.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use qrinfo_core::wire::frame::{Command, Frame, FrameError, FrameEvent, Partial, max_payload};
use spv_peer::PeerError;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};
use tokio_test::{assert_pending, assert_ready};

use crate::node::{VERACK, frame, ping, pong, raw, session};

/// Longer than any frame or burst below.
const ROOMY: usize = 1 << 20;

fn qrinfo(length: usize) -> Frame {
    frame("qrinfo", (0..length).map(|i| i as u8).collect::<Vec<_>>())
}

#[tokio::test(start_paused = true)]
async fn frames_go_both_ways_as_they_are() {
    let (mut connection, mut node) = session(ROOMY).await;
    let unknown = frame("\x7e\x21 twelve.  ", vec![1, 2, 3]);
    for frame in [qrinfo(5_000), unknown, frame("sendheaders2", vec![]), frame("verack", vec![]), pong(5)] {
        node.say([frame.clone()]).await;
        assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(frame));
    }
    for frame in [frame("getqrinfo", vec![3; 66]), ping(9)] {
        connection.send(frame.clone()).await.unwrap();
        assert_eq!(node.hear().await, Some(frame));
    }
    connection.close().await.unwrap();
    assert_eq!(node.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_while_only_the_stream_is_polled() {
    let (mut connection, mut node) = session(ROOMY).await;
    let mut next = tokio_test::task::spawn(connection.next());
    assert_pending!(next.poll());
    node.say([ping(7)]).await;
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert_eq!(node.hear().await, Some(pong(7)));

    // Nor is the progress of a ping anybody's business.
    for byte in raw([ping(8)]) {
        node.io.write_all(&[byte]).await.unwrap();
        assert_pending!(next.poll());
    }
    assert_eq!(node.hear().await, Some(pong(8)));
    node.say([qrinfo(3)]).await;
    assert_eq!(assert_ready!(next.poll()).unwrap().unwrap(), FrameEvent::Frame(qrinfo(3)));
}

/// An idle Dash Core may sleep beside its answer until something arrives.
#[tokio::test(start_paused = true)]
async fn a_node_that_sleeps_beside_its_answer_is_woken_at_most_three_times() {
    let (mut connection, mut node) = session(ROOMY).await;
    for _ in 0..2 {
        connection.send(frame("getqrinfo", vec![])).await.unwrap();
        let sent = Instant::now();
        let mut reading = tokio::spawn(async move {
            let answer = connection.next().await;
            (connection, answer)
        });
        assert_eq!(node.hear().await, Some(frame("getqrinfo", vec![])));
        for pings in 1..=3 {
            assert_eq!(node.hear().await.map(|frame| frame.command), Some(Command::PING));
            assert_eq!(sent.elapsed().as_millis().div_ceil(150), pings, "{:?}", sent.elapsed());
        }
        timeout(Duration::from_secs(2), node.hear()).await.expect_err("a fourth");
        assert!(!reading.is_finished());
        node.say([qrinfo(3)]).await;
        let answer;
        (connection, answer) = (&mut reading).await.unwrap();
        assert_eq!(answer.unwrap().unwrap(), FrameEvent::Frame(qrinfo(3)));
        timeout(Duration::from_secs(2), connection.next()).await.expect_err("nothing");
        timeout(Duration::from_secs(2), node.hear()).await.expect_err("it has answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_leaves_though_there_is_always_something_to_read() {
    let (mut connection, mut node) = session(ROOMY).await;
    node.say([ping(1), qrinfo(1), qrinfo(2)]).await;
    assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(qrinfo(1)));
    assert_eq!(node.hear().await, Some(pong(1)));
}

#[tokio::test(start_paused = true)]
async fn many_pings_of_a_peer_that_reads_are_all_answered_in_order() {
    let (mut connection, node) = session(256).await;
    let (mut reading, mut writing) = tokio::io::split(node.io);
    let pings = tokio::spawn(async move {
        for nonce in 0..5_000 {
            writing.write_all(&raw([ping(nonce)])).await.unwrap();
        }
        writing.write_all(&raw([qrinfo(1)])).await.unwrap();
        writing
    });
    let pongs = tokio::spawn(async move {
        let mut bytes = vec![0; raw([pong(0)]).len()];
        for nonce in 0..5_000 {
            tokio::io::AsyncReadExt::read_exact(&mut reading, &mut bytes).await.unwrap();
            assert_eq!(bytes, raw([pong(nonce)]));
        }
    });
    // While the last pongs are on their way the stream has to be polled on.
    let mut seen = 0;
    tokio::select! {
        biased;
        result = pongs => result.unwrap(),
        () = async { while let Some(event) = connection.next().await { event.unwrap(); seen += 1; } } => {
            panic!("the session ended")
        }
    }
    drop(pings.await.unwrap());
    assert!(seen <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_ping_flood_of_a_peer_that_does_not_read_ends_the_session() {
    let (mut connection, node) = session(256).await;
    let mut io = node.io;
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        while io.write_all(&raw([ping(sent)])).await.is_ok() {
            sent += 1;
            assert!(sent < 10_000, "nobody hung up");
        }
        sent
    });
    assert!(matches!(connection.next().await, Some(Err(PeerError::PingFlood(8)))));
    assert!(connection.next().await.is_none());
    drop(connection);
    // 8 KiB of pongs in the write buffer, 8 waiting, and what the pipe and one read hold.
    let sent = flood.await.unwrap();
    assert!((8 * 1024 / 32 + 8..8 * 1024 / 32 + 32 + 256).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn pongs_that_had_to_wait_leave_when_the_peer_reads_again() {
    let (mut connection, mut node) = session(2_048).await;
    // The pipe and the write buffer are full: there is room for no pong.
    let big = frame("getqrinfo", vec![1; 20_000]);
    connection.feed(big.clone()).await.unwrap();
    let mut next = tokio_test::task::spawn(connection.next());
    for nonce in 0..8 {
        node.say([ping(nonce)]).await;
        assert_pending!(next.poll());
    }
    node.say([frame("inv", vec![])]).await;
    assert!(assert_ready!(next.poll()).unwrap().is_ok());

    let mut next = tokio_test::task::spawn(next.into_inner());
    assert_pending!(next.poll());
    let mut heard = Vec::new();
    let mut hear = tokio_test::task::spawn(async {
        for _ in 0..9 {
            heard.push(node.hear().await.unwrap());
        }
    });
    while hear.poll().is_pending() {
        assert!(next.is_woken(), "the peer has read and the stream does not know");
        assert_pending!(next.poll());
    }
    drop(hear);
    let expected: Vec<_> = [big].into_iter().chain((0..8).map(pong)).collect();
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_sent_before_it_closed_is_still_read() {
    let (mut connection, mut node) = session(ROOMY).await;
    node.say([ping(1), qrinfo(1), ping(2), qrinfo(2)]).await;
    drop(node);
    for length in 1..=2 {
        assert_eq!(connection.next().await.unwrap().unwrap(), FrameEvent::Frame(qrinfo(length)));
    }
    assert!(connection.next().await.is_none());
    assert!(matches!(connection.send(ping(3)).await, Err(PeerError::Io(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drips_gives_progress_and_then_the_frame() {
    let (mut connection, mut node) = session(256).await;
    let sent = qrinfo(40_000);
    let bytes = raw([sent.clone()]);
    let drip = tokio::spawn(async move {
        for byte in bytes {
            node.io.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut events = Vec::new();
    while let Some(event) = connection.next().await {
        events.push(event.unwrap());
    }
    drip.await.unwrap();
    let partial =
        |received| FrameEvent::Partial(Partial { command: Command::QR_INFO, received, length: sent.payload.len() });
    assert_eq!(events, [partial(0), partial(16_384), partial(32_768), FrameEvent::Frame(sent.clone())]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_end_between_two_frames_and_nowhere_else() {
    let bytes = raw([qrinfo(10), ping(1), frame("verack", vec![])]);
    let boundaries = [0, 34, 34 + 32, bytes.len()];
    assert!(bytes.ends_with(&VERACK));
    for cut in 0..=bytes.len() {
        let (mut connection, mut node) = session(ROOMY).await;
        node.io.write_all(&bytes[..cut]).await.unwrap();
        node.io.shutdown().await.unwrap();
        let mut last = None;
        while let Some(event) = connection.next().await {
            last = Some(event);
        }
        let start = boundaries.into_iter().rfind(|&start| start <= cut).unwrap();
        match last {
            Some(Err(PeerError::Frame(FrameError::Truncated(received)))) if cut > start => {
                assert_eq!(received, cut - start);
            }
            Some(Ok(_)) | None if cut == start => {}
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert!(connection.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn each_flipped_bit_is_an_error_or_another_name() {
    let bytes = raw([qrinfo(10)]);
    for bit in 0..bytes.len() * 8 {
        let (mut connection, mut node) = session(ROOMY).await;
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        node.io.write_all(&flipped).await.unwrap();
        node.io.shutdown().await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = connection.next().await {
            events.push(event);
        }
        let in_the_name = (4..16).contains(&(bit / 8));
        match events.last() {
            // The checksum covers the payload alone.
            Some(Ok(FrameEvent::Frame(frame))) => {
                assert!(in_the_name, "bit {bit}");
                assert_ne!(frame.command, Command::QR_INFO);
                assert_eq!(frame.payload, qrinfo(10).payload);
            }
            Some(Err(PeerError::Frame(_))) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_command_has_its_limit() {
    for (name, limit) in [
        ("qrinfo", 16 << 20),
        ("mnlistdiff", 4 << 20),
        ("ping", 64),
        ("pong", 64),
        ("version", 4 << 10),
        ("addr", 528 << 10),
        ("addrv2", 528 << 10),
        ("block", 3 << 20),
    ] {
        let command = Command::new(name.as_bytes());
        assert_eq!(max_payload(command), limit);
        let header = |length: usize| {
            let mut header = raw([frame(name, vec![])]);
            header[16..20].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
            header
        };
        let (mut connection, mut node) = session(ROOMY).await;
        node.io.write_all(&header(limit + 1)).await.unwrap();
        match connection.next().await {
            Some(Err(PeerError::Frame(error))) => {
                assert_eq!(error, FrameError::TooLong { command, length: limit + 1, limit });
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(connection.next().await.is_none());

        let (mut connection, mut node) = session(ROOMY).await;
        node.io.write_all(&header(limit)).await.unwrap();
        let mut next = tokio_test::task::spawn(connection.next());
        if command == Command::PING {
            assert_pending!(next.poll());
        } else {
            let event = FrameEvent::Partial(Partial { command, received: 0, length: limit });
            assert_eq!(assert_ready!(next.poll()).unwrap().unwrap(), event);
        }
    }
}
