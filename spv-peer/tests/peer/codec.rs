//! The codec under whatever a peer may send, and what it keeps in memory.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use proptest::{collection::vec, prelude::*};
use qrinfo_core::wire::frame::{Command, Frame, FrameEvent};
use spv_peer::{FrameCodec, PeerError};
use tokio::io::{AsyncWriteExt, duplex};
use tokio_util::codec::{Decoder, Encoder, FramedRead};

use crate::node::{NETWORK, frame, raw};

/// Reads chunks as they arrive, then the end. What came, and the error that ended it.
fn read(chunks: &[&[u8]]) -> (Vec<FrameEvent>, Option<PeerError>) {
    let mut codec = FrameCodec::new(NETWORK);
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for (chunk, eof) in chunks.iter().map(|&chunk| (chunk, false)).chain([(&[][..], true)]) {
        buffer.extend_from_slice(chunk);
        loop {
            match if eof { codec.decode_eof(&mut buffer) } else { codec.decode(&mut buffer) } {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn frames(events: Vec<FrameEvent>) -> Vec<Frame> {
    let frame = |event| match event {
        FrameEvent::Frame(frame) => Some(frame),
        FrameEvent::Partial(_) => None,
    };
    events.into_iter().filter_map(frame).collect()
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let length = prop_oneof![8 => 0..200_usize, 1 => 60_000..140_000_usize];
    ("[ -~]{0,12}", length, any::<u8>())
        .prop_map(|(name, length, seed)| {
            frame(&name, (0..length).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect::<Vec<_>>())
        })
        .prop_filter("short messages have limits of their own", |frame| {
            ![Command::PING, Command::PONG, Command::VERSION].contains(&frame.command)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn frames_survive_any_cutting(
        sent in vec(any_frame(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut codec = FrameCodec::new(NETWORK);
        let mut bytes = BytesMut::new();
        for frame in &sent {
            codec.encode(frame.clone(), &mut bytes).unwrap();
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let (events, error) = read(&chunks);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(frames(events), sent);
    }

    #[test]
    fn a_stream_cut_short_gives_its_whole_frames_and_says_that_it_was_cut(
        sent in vec(any_frame(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = raw(sent.clone());
        let cut = cut.index(bytes.len());
        let (events, error) = read(&[&bytes[..cut]]);
        let mut end = 0;
        let whole = sent.iter().take_while(|frame| { end += 24 + frame.payload.len(); end <= cut }).count();
        let boundary = cut == raw(sent[..whole].to_vec()).len();
        prop_assert_eq!(error.map(|error| matches!(error, PeerError::Frame(_))), (!boundary).then_some(true));
        prop_assert_eq!(frames(events), &sent[..whole]);
    }

    #[test]
    fn random_bytes_are_an_error_and_never_a_panic(
        prefix in 0..4_usize,
        name in "[a-z]{0,12}",
        length in prop_oneof![any::<u32>(), 0..100_u32],
        bytes in vec(any::<u8>(), 0..300),
    ) {
        // From pure noise to a good header with a payload that is not its own.
        let mut header = raw([frame(&name, Bytes::new())]);
        header[16..20].copy_from_slice(&length.to_le_bytes());
        let kept = [0, 4, 16, 24][prefix];
        let input = [&header[..kept], &bytes].concat();
        let (events, error) = read(&[&input]);
        // Four bytes of a checksum do not match by accident, unless the payload is the empty one of the header.
        if !(input.is_empty() || kept == 24 && length == 0 && bytes.is_empty()) {
            prop_assert!(matches!(error, Some(PeerError::Frame(_))), "{error:?}");
        }
        prop_assert!(events.len() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_buffer_grows_with_what_arrived_and_not_with_what_was_announced() {
    let mut bytes = raw([frame("qrinfo", vec![0; 100_000])]);
    bytes[16..20].copy_from_slice(&(16_u32 << 20).to_le_bytes());
    let (ours, mut theirs) = duplex(1 << 20);
    theirs.write_all(&bytes).await.unwrap();
    let mut stream = FramedRead::new(ours, FrameCodec::new(NETWORK));
    let mut most = 0;
    let mut next = tokio_test::task::spawn(());
    while let std::task::Poll::Ready(event) = next.enter(|cx, _| stream.poll_next_unpin(cx)) {
        assert!(matches!(event, Some(Ok(FrameEvent::Partial(_)))));
        most = most.max(stream.read_buffer().capacity());
    }
    most = most.max(stream.read_buffer().capacity());
    assert!((100_000..=200_000).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_long_message_takes_its_buffer_along() {
    let long = frame("qrinfo", vec![7; 3 << 20]);
    let short = frame("inv", vec![1; 100]);
    let (ours, mut theirs) = duplex(8 << 20);
    theirs.write_all(&raw([long.clone(), short.clone(), long.clone(), short.clone()])).await.unwrap();
    let mut stream = FramedRead::new(ours, FrameCodec::new(NETWORK));
    for expected in [long.clone(), short.clone(), long, short] {
        let got = loop {
            match stream.next().await.unwrap().unwrap() {
                FrameEvent::Frame(frame) => break frame,
                FrameEvent::Partial(_) => {}
            }
        };
        assert_eq!(got, expected);
    }
    // The buffer that held three megabytes went with them.
    let kept = stream.read_buffer().capacity();
    assert!(kept <= 16 * 1024, "{kept}");
}
