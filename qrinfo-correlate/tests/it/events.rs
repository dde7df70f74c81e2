//! The events for the ledger of peers: one end of each sending, and one end of the connection.

use std::{error::Error, io};

use qrinfo_core::{
    AttemptErrorKind as Kind, LeaveReason, PeerEvent,
    wire::frame::{Command, Frame, FrameDecoder, FrameError, Partial},
};
use qrinfo_correlate::{Closed, Event, SendIdInUse};

use crate::support::{
    self, attempt,
    bench::{Bench, peer, send},
};

/// The number of ends of each sending, in the order of their numbers, and the last event.
fn ends(bench: &Bench) -> (Vec<u64>, Option<&PeerEvent>) {
    let mut ends: Vec<u64> = bench
        .reports
        .iter()
        .filter_map(|event| match event {
            PeerEvent::Ended { send, .. } => Some(send.seq),
            _ => None,
        })
        .collect();
    ends.sort();
    (ends, bench.reports.last())
}

fn left(why: LeaveReason) -> PeerEvent {
    PeerEvent::Left { peer: peer(), why }
}

fn banned(why: Kind) -> PeerEvent {
    PeerEvent::Banned { peer: peer(), why }
}

/// An error of a transport around an error of the frames.
#[derive(Debug, thiserror::Error)]
#[error("the transport failed")]
struct Wrapped(#[source] FrameError);

fn frame_error(bytes: &[u8]) -> FrameError {
    let mut decoder = FrameDecoder::new(qrinfo_core::Network::Regtest);
    decoder.decode(&mut bytes::BytesMut::from(bytes)).unwrap_err()
}

#[test]
fn every_sending_ends_once_and_the_connection_last() {
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let wrong_magic = frame_error(&[7; 24]);
    type Happening = Box<dyn Fn(&mut Bench)>;
    let disconnected = |closed: Closed| -> Happening {
        Box::new(move |bench: &mut Bench| bench.handle(Event::Disconnected(closed.clone())))
    };
    let frame = |frame: Frame| -> Happening { Box::new(move |bench: &mut Bench| bench.frame(frame.clone())) };
    let malformed = Frame { command: Command::QR_INFO, payload: vec![1; 5].into() };
    let table: Vec<(&str, Happening, PeerEvent)> = vec![
        ("the peer ends it", disconnected(Closed::ByPeer), left(LeaveReason::Disconnected)),
        ("the transport fails", disconnected(Closed::transport(reset())), left(LeaveReason::Disconnected)),
        ("it is not used", disconnected(Closed::Unused), left(LeaveReason::Disconnected)),
        ("the driver goes", disconnected(Closed::DriverDropped), left(LeaveReason::Disconnected)),
        (
            "a frame breaks off",
            disconnected(Closed::transport(FrameError::Truncated(3))),
            left(LeaveReason::Disconnected),
        ),
        ("bytes are no frame", disconnected(Closed::transport(wrong_magic.clone())), banned(Kind::Malformed)),
        (
            "bytes are no frame, says a source",
            disconnected(Closed::transport(Wrapped(wrong_magic))),
            banned(Kind::Malformed),
        ),
        ("a reply is false", frame(support::reply_frame(9, 9)), banned(Kind::False)),
        ("a reply is malformed", frame(malformed), banned(Kind::Malformed)),
        ("the peer is silent", Box::new(|bench| bench.pass(150)), left(LeaveReason::Unanswered)),
    ];
    for (name, happen, last) in table {
        // Answered, refused, cancelled, waiting, and not sent.
        let mut bench = Bench::asked(4);
        bench.answer(1);
        bench.pong(2);
        bench.cancel(3);
        bench.submit(attempt(5));
        assert_eq!(ends(&bench).0, [1, 2], "{name}");
        happen(&mut bench);
        assert_eq!(ends(&bench), (vec![1, 2, 3, 4, 5], Some(&last)), "{name}");
        let connection = |event: &&PeerEvent| matches!(event, PeerEvent::Left { .. } | PeerEvent::Banned { .. });
        assert_eq!(bench.reports.iter().filter(connection).count(), 1, "{name}");
    }
}

#[test]
fn a_reply_to_nothing_bans_its_peer() {
    let mut bench = Bench::new();
    bench.answer(1);
    assert_eq!(ends(&bench), (vec![], Some(&banned(Kind::False))));
    let mut bench = Bench::new();
    bench.handle(Event::Partial(Partial { command: Command::MN_LIST_DIFF, received: 0, length: 100 }));
    assert_eq!(ends(&bench), (vec![], Some(&banned(Kind::False))));
}

/// A timeout tells the caller; the ledger is told when the peer has dealt with the request.
#[test]
fn a_timed_out_sending_ends_with_its_late_reply() {
    let mut bench = Bench::asked(1);
    bench.pass(40);
    assert_eq!((bench.kind(1), ends(&bench)), (Some(Kind::Timeout), (vec![], None)));
    bench.answer(1);
    assert_eq!(bench.done(1), Some(Ok(())));
    assert_eq!(ends(&bench).0, [1]);
}

#[test]
fn an_id_that_is_in_use_is_refused_with_a_typed_error() {
    let mut bench = Bench::asked(1);
    let error = bench.correlator.submit(send(1), attempt(2), bench.now).unwrap_err();
    assert_eq!((error.kind(), error.peer()), (Kind::Local, Some(peer())));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&SendIdInUse { send: send(1) }));
    assert!(bench.correlator.next_action().is_none() && bench.is_waiting(1));
    bench.answer(1);
    assert!(bench.is_answered(1));
    assert_eq!(ends(&bench).0, [1]);

    // A tombstone has not ended either.
    let mut bench = Bench::asked(1);
    bench.cancel(1);
    assert!(bench.correlator.submit(send(1), attempt(1), bench.now).is_err());
}
