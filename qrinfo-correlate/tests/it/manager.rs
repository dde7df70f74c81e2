//! The rules by which replies of unnamed peers meet their requests.
use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind as Kind, PeerId, Reply,
    message::{MnListDiff, NetworkMessage, QRInfo},
    wire::Wire,
};
use qrinfo_correlate::{
    Closed, Correlated, MAX_REMEMBERED, MAX_WAITING, QRInfoCorrelationManager, RegisterError, Registered,
    ReplyReceiver, TimeoutCause,
};

use crate::support::{self, RECORDED_REPLY, diff_spec, hash, recorded_spec, reply, spec};

const TIMEOUT: Duration = Duration::from_secs(30);
const PEERS: usize = 3;

fn start() -> (QRInfoCorrelationManager, Instant) {
    (QRInfoCorrelationManager::new(TIMEOUT), tokio::time::Instant::now().into_std())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn answer(receiver: &mut ReplyReceiver) -> QRInfo {
    match receiver.try_recv().unwrap().unwrap() {
        Answer { reply: Reply::QrInfo(reply), timing } => {
            assert_eq!(timing.peer, PeerId::ALL);
            *reply
        }
        other => panic!("{other:?}"),
    }
}

fn failure(receiver: &mut ReplyReceiver) -> AttemptError {
    let error = receiver.try_recv().unwrap().unwrap_err();
    assert_eq!(error.peer(), Some(PeerId::ALL));
    error
}

fn is_waiting(receiver: &mut ReplyReceiver) -> bool {
    receiver.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty)
}

/// Every historical reply ends in the server's own tip, so the tip cannot be what names it.
#[test]
fn replies_that_share_the_tip_go_to_their_requests() {
    const TIP: u64 = 99;
    let (mut correlator, now) = start();
    let mut registered: Vec<Registered> =
        (1..=5).map(|cycle| correlator.register_request(spec(cycle, cycle), PEERS, now).unwrap()).collect();
    for cycle in [4, 1, 5, 3, 2] {
        let came = reply(cycle, TIP);
        assert_eq!(came.mn_list_diff_tip.block_hash, hash(TIP));
        let id = registered[cycle as usize - 1].id;
        assert_eq!(correlator.handle_qr_info_response(came, now), Ok(Correlated::Answered(id)));
    }
    for (cycle, registered) in (1..).zip(&mut registered) {
        assert_eq!(answer(&mut registered.receiver).work_block_hash(), reply(cycle, TIP).work_block_hash());
    }
    assert_eq!(correlator.waiting(), 0);
}

#[test]
fn a_recorded_reply_answers_its_request() {
    let (mut correlator, now) = start();
    let mut other = correlator.register_request(spec(1, 1), 1, now).unwrap();
    let mut registered = correlator.register_request(recorded_spec(), 1, now).unwrap();
    let Some(NetworkMessage::GetQRInfo(message)) = &registered.message else { panic!() };
    assert_eq!(message.to_wire(), support::RECORDED_REQUEST);
    let later = now + Duration::from_millis(80);
    correlator.handle_qr_info_response(QRInfo::from_wire(RECORDED_REPLY).unwrap(), later).unwrap();
    let Answer { timing, .. } = registered.receiver.try_recv().unwrap().unwrap();
    assert_eq!((timing.sent, timing.first_byte, timing.done), (now, Some(later), later));
    assert_eq!(timing.bytes, RECORDED_REPLY.len() as u64);
    assert!(is_waiting(&mut other.receiver));
}

#[test]
fn copies_of_a_reply_are_dropped_as_many_as_there_are_peers() {
    let (mut correlator, now) = start();
    let mut registered = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let id = registered.id;
    assert!(correlator.is_outstanding(id));
    // Peers may differ in their tips.
    assert_eq!(correlator.handle_qr_info_response(reply(1, 7), now), Ok(Correlated::Answered(id)));
    assert!(!correlator.is_outstanding(id));
    assert_eq!(correlator.handle_qr_info_response(reply(1, 8), now), Ok(Correlated::Dropped(id)));
    assert_eq!(correlator.remembered(), 1);
    assert_eq!(correlator.handle_qr_info_response(reply(1, 9), now), Ok(Correlated::Dropped(id)));
    assert_eq!(correlator.remembered(), 0);
    assert_eq!(answer(&mut registered.receiver), reply(1, 7));

    let unmatched = correlator.handle_qr_info_response(reply(1, 10), now).unwrap_err();
    assert_eq!(unmatched.reply, Reply::QrInfo(Box::new(reply(1, 10))));
    assert_eq!(unmatched.mismatch, None);
}

#[test]
fn a_reply_to_nothing_says_what_was_expected() {
    let (mut correlator, now) = start();
    let mut registered = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let unmatched = correlator.handle_qr_info_response(reply(2, 1), now).unwrap_err();
    assert!(unmatched.source().unwrap().to_string().contains("work block"), "{unmatched:?}");
    assert!(is_waiting(&mut registered.receiver));
}

#[test]
fn another_request_of_a_cycle_waits_until_no_copy_is_to_come() {
    let (mut correlator, now) = start();
    let busy = RegisterError::CycleBusy { cycle_height: spec(1, 2).cycle.height() };
    let _first = correlator.register_request(spec(1, 1), 2, now).unwrap();
    assert_eq!(correlator.register_request(spec(1, 2), 2, now).unwrap_err(), busy);
    correlator.handle_qr_info_response(reply(1, 1), now).unwrap();
    assert_eq!(correlator.admits(&spec(1, 2).into()), Err(busy), "a copy is to come");
    correlator.handle_qr_info_response(reply(1, 1), now).unwrap();
    let mut second = correlator.register_request(spec(1, 2), 2, now).unwrap();
    correlator.handle_qr_info_response(reply(1, 2), now).unwrap();
    assert_eq!(answer(&mut second.receiver), reply(1, 2));

    // The other peer is silent: it is given the time of a timeout.
    assert_eq!(correlator.admits(&spec(1, 3).into()), Err(busy));
    correlator.cleanup_expired_requests(now + TIMEOUT);
    assert_eq!(correlator.admits(&spec(1, 3).into()), Ok(()));
}

#[test]
fn identical_requests_are_sent_once_and_answered_together() {
    let (mut correlator, now) = start();
    let mut first = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let mut second = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    assert!(first.message.is_some() && second.message.is_none());
    assert_eq!((first.id, correlator.waiting()), (second.id, 2));
    correlator.handle_qr_info_response(reply(1, 1), now).unwrap();
    assert_eq!(answer(&mut first.receiver), answer(&mut second.receiver));
}

#[test]
fn a_timeout_counts_from_when_a_request_is_the_oldest() {
    let (mut correlator, now) = start();
    let mut first = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let mut second = correlator.register_request(spec(2, 2), PEERS, now).unwrap();
    let mut third = correlator.register_request(spec(3, 3), PEERS, now).unwrap();
    assert_eq!(correlator.next_deadline(), Some(now + TIMEOUT));

    correlator.handle_qr_info_response(reply(1, 1), now + seconds(20)).unwrap();
    answer(&mut first.receiver);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(49)), 0);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(50)), 1);
    let error = failure(&mut second.receiver);
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&TimeoutCause::Silent(TIMEOUT)));
    let timing = error.timing().unwrap();
    assert_eq!((timing.sent, timing.head), (now, Some(now + seconds(20))));

    assert!(is_waiting(&mut third.receiver));
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(80)), 1);
    assert_eq!(failure(&mut third.receiver).kind(), Kind::Timeout);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(110)), 0);
    assert_eq!((correlator.next_deadline(), correlator.remembered()), (None, 0));
}

#[test]
fn a_late_reply_belongs_to_its_own_request() {
    let (mut correlator, now) = start();
    let mut late = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    correlator.cleanup_expired_requests(now + TIMEOUT);
    assert_eq!(failure(&mut late.receiver).kind(), Kind::Timeout);
    assert!(correlator.is_outstanding(late.id), "the peers may still be at it");
    let now = now + TIMEOUT + seconds(1);
    assert_eq!(correlator.handle_qr_info_response(reply(1, 1), now), Ok(Correlated::Dropped(late.id)));

    // Asked again, it is answered by what is still to come of the first time.
    let mut again = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    assert!(again.message.is_some() && again.id != late.id);
    assert!(!correlator.is_outstanding(late.id));
    for _ in 0..2 + PEERS {
        correlator.handle_qr_info_response(reply(1, 1), now).unwrap();
    }
    answer(&mut again.receiver);
    assert!(correlator.handle_qr_info_response(reply(1, 1), now).is_err(), "all copies have come");
}

#[test]
fn a_dropped_receiver_gives_up_the_reply_and_leaves_a_tombstone() {
    let (mut correlator, now) = start();
    let gone = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let mut next = correlator.register_request(spec(2, 2), PEERS, now).unwrap();
    drop(gone.receiver);
    correlator.cleanup_expired_requests(now + seconds(10));
    assert_eq!(correlator.waiting(), 1);
    assert!(correlator.admits(&spec(1, 9).into()).is_err());
    assert_eq!(correlator.handle_qr_info_response(reply(1, 1), now + seconds(11)), Ok(Correlated::Dropped(gone.id)));
    // It is the oldest since the other was given up.
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(39)), 0);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(40)), 1);
    assert_eq!(failure(&mut next.receiver).kind(), Kind::Timeout);
}

#[test]
fn a_deadline_of_its_own_ends_a_caller_and_no_other() {
    let (mut correlator, now) = start();
    let mut patient = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    let (respond, mut hasty) = tokio::sync::oneshot::channel();
    let attempt = Attempt { deadline: Some(now + seconds(5)), ..Attempt::new(0, spec(1, 1).into()) };
    let (id, message) = correlator.register_attempt(attempt, respond, PEERS, now).unwrap();
    assert_eq!((id, message), (patient.id, None));
    assert_eq!(correlator.next_deadline(), Some(now + seconds(5)));
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(5)), 0, "the request goes on");
    let error = failure(&mut hasty);
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&TimeoutCause::Deadline));
    assert!(is_waiting(&mut patient.receiver));
}

#[test]
fn a_disconnect_ends_all_at_once() {
    let (mut correlator, now) = start();
    let mut registered: Vec<_> =
        (1..4).map(|cycle| correlator.register_request(spec(cycle, cycle), PEERS, now).unwrap()).collect();
    correlator.disconnected(&Closed::ByPeer);
    for registered in &mut registered {
        let error = failure(&mut registered.receiver);
        assert_eq!(error.kind(), Kind::Disconnected);
        assert!(matches!(error.source().unwrap().downcast_ref(), Some(Closed::ByPeer)));
    }
    assert_eq!((correlator.waiting(), correlator.remembered(), correlator.next_deadline()), (0, 0, None));
    assert!(correlator.register_request(spec(1, 9), PEERS, now).is_ok());
}

#[test]
fn what_could_not_be_sent_is_as_if_it_never_was() {
    let (mut correlator, now) = start();
    let mut registered = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    correlator.withdraw(registered.id, &Closed::transport("no route"), now);
    assert_eq!(failure(&mut registered.receiver).kind(), Kind::NoPeer);
    assert!(correlator.register_request(spec(1, 2), PEERS, now).is_ok());
}

#[test]
fn diffs_are_told_apart_by_both_their_blocks() {
    let (mut correlator, now) = start();
    let mut register = |base, block| correlator.register_request(diff_spec(base, block), 1, now).unwrap();
    let (mut first, mut second, mut third) = (register(1, 3), register(2, 3), register(2, 4));
    let template = reply(1, 1).mn_list_diff_h;
    for (base, block) in [(2, 4), (2, 3), (1, 3)] {
        let diff = MnListDiff { base_block_hash: hash(base), block_hash: hash(block), ..template.clone() };
        correlator.handle_qr_info_response(diff, now).unwrap();
    }
    for (receiver, base, block) in
        [(&mut first.receiver, 1, 3), (&mut second.receiver, 2, 3), (&mut third.receiver, 2, 4)]
    {
        let Reply::MnListDiff(diff) = receiver.try_recv().unwrap().unwrap().reply else { panic!() };
        assert_eq!((diff.base_block_hash, diff.block_hash), (hash(base), hash(block)));
    }
}

#[test]
fn what_waits_and_what_is_remembered_is_bounded() {
    let (mut correlator, now) = start();
    let mut waiting = Vec::new();
    for cycle in 0..MAX_WAITING as u64 {
        waiting.push(correlator.register_request(spec(cycle, cycle), PEERS, now).unwrap());
    }
    assert_eq!(correlator.register_request(spec(0, 0), PEERS, now).unwrap_err(), RegisterError::Full);
    waiting.pop();
    assert!(correlator.register_request(spec(0, 0), PEERS, now).is_ok(), "one is gone");

    drop(waiting);
    let first = MAX_WAITING as u64;
    for cycle in first..first + MAX_REMEMBERED as u64 + 5 {
        drop(correlator.register_request(diff_spec(cycle, cycle), PEERS, now).unwrap());
        assert!(correlator.remembered() <= MAX_REMEMBERED && correlator.waiting() <= 1);
    }
    correlator.cleanup_expired_requests(now);
    assert_eq!((correlator.waiting(), correlator.remembered()), (0, MAX_REMEMBERED));
}

#[test]
fn a_request_ends_with_the_deadline_of_its_only_caller() {
    let (mut correlator, now) = start();
    let receivers = [1, 2].map(|seq| {
        let (respond, receiver) = tokio::sync::oneshot::channel();
        let attempt = Attempt { deadline: Some(now + seconds(5)), ..Attempt::new(seq, spec(seq, seq).into()) };
        correlator.register_attempt(attempt, respond, PEERS, now).unwrap();
        receiver
    });
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(4)), 0);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(5)), 2);
    for mut receiver in receivers {
        assert_eq!(failure(&mut receiver).kind(), Kind::Timeout);
    }
}

/// Sums of instants must not overflow.
#[test]
fn the_longest_timeout_is_a_day() {
    let mut correlator = QRInfoCorrelationManager::new(Duration::MAX);
    let now = start().1;
    let mut registered = correlator.register_request(spec(1, 1), PEERS, now).unwrap();
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(24 * 60 * 60 - 1)), 0);
    assert_eq!(correlator.cleanup_expired_requests(now + seconds(24 * 60 * 60)), 1);
    assert_eq!(failure(&mut registered.receiver).kind(), Kind::Timeout);
}
