//! Each rule of the correlator by itself, and the field failures that the rules are there to prevent.

use std::{error::Error, num::NonZeroUsize};

use qrinfo_core::{
    Answer, Attempt, AttemptErrorKind as Kind, LeaveReason, Mismatch, PeerEvent, Reply,
    message::NetworkMessage,
    wire::{
        DecodeError,
        frame::{Command, Frame},
    },
};
use qrinfo_correlate::{Closed, CorrelatorConfig, Violation};

use crate::support::{
    self, attempt,
    bench::{Bench, commands, peer, send},
    diff_frame, diff_spec, reply_frame, spec,
};

// === matching ===

#[test]
fn a_recorded_request_is_sent_as_it_was_and_its_recorded_reply_is_matched() {
    let mut bench = Bench::new();
    bench.submit(Attempt::new(150, support::recorded_spec().into()));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping"]);
    assert_eq!(bench.sent[0].payload, support::RECORDED_REQUEST);
    bench.frame(Frame { command: Command::QR_INFO, payload: support::RECORDED_REPLY.into() });
    assert!(bench.answers[&150].is_ok());
    assert_eq!(bench.timing(150).bytes, support::RECORDED_REPLY.len() as u64);
}

#[test]
fn every_request_is_followed_at_once_by_a_ping_of_its_own() {
    let bench = Bench::asked(3);
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping", "getqrinfo", "ping", "getqrinfo", "ping"]);
    assert!(!bench.correlator.is_empty());
    // SplitMix64 from a seed of 0.
    let nonces = [1, 2, 3].map(|id| bench.nonces[&id]);
    assert_eq!(nonces, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
}

#[test]
fn replies_in_order_reach_their_requests() {
    let mut bench = Bench::asked(3);
    for id in 1..=3 {
        bench.answer(id);
        bench.pong(id);
        assert!(bench.is_answered(id));
        assert_eq!(bench.done(id), Some(Ok(())));
    }
    assert_eq!(bench.released, [1, 2, 3]);
    assert!(bench.correlator.is_empty());
    assert_eq!(bench.correlator.next_deadline(), None);
}

#[test]
fn a_pong_before_the_reply_is_the_refusal() {
    let mut bench = Bench::asked(2);
    bench.pong(1);
    assert_eq!(bench.kind(1), Some(Kind::Refused));
    assert_eq!(bench.now, bench.start, "no timer is involved");
    assert!(bench.is_waiting(2));
    bench.answer(2);
    assert!(bench.is_answered(2));
}

#[test]
fn a_pong_refuses_everything_before_it_too() {
    let mut bench = Bench::asked(3);
    bench.pong(2);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::Refused), Some(Kind::Refused)));
    assert!(bench.is_waiting(3));
}

#[test]
fn a_later_reply_proves_that_earlier_requests_were_refused() {
    let mut bench = Bench::asked(3);
    bench.answer(3);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::Refused), Some(Kind::Refused)));
    assert!(bench.is_answered(3));
    assert!(bench.timing(3).head.is_some());
}

#[test]
fn unknown_and_malformed_pongs_are_ignored() {
    let mut bench = Bench::asked(1);
    bench.frame(NetworkMessage::Pong(4).to_frame());
    bench.frame(Frame { command: Command::PONG, payload: vec![1, 2, 3].into() });
    assert!(bench.is_waiting(1));
    assert_eq!(bench.closed, None);
}

#[test]
fn a_pong_for_a_ping_that_is_not_sent_is_ignored() {
    let nonce = Bench::asked(1).nonces[&1];
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now);
    bench.frame(NetworkMessage::Pong(nonce).to_frame());
    assert!(bench.is_waiting(1));
}

#[test]
fn two_requests_of_one_cycle_are_told_apart_by_order() {
    let mut bench = Bench::new();
    for id in [1, 2, 3] {
        bench.submit(Attempt::new(id, spec(7, id).into()));
    }
    bench.send();
    let tip = |bench: &Bench, id| match &bench.answers[&id] {
        Ok(Answer { reply: Reply::QrInfo(reply), .. }) => reply.mn_list_diff_tip.block_hash,
        other => panic!("{other:?}"),
    };
    bench.frame(reply_frame(7, 1));
    bench.pong(1);
    bench.pong(2);
    bench.frame(reply_frame(7, 3));
    bench.pong(3);
    assert_eq!(tip(&bench, 1), support::hash(1));
    assert_eq!(bench.kind(2), Some(Kind::Refused));
    assert_eq!(tip(&bench, 3), support::hash(3));
}

#[test]
fn both_kinds_of_requests_share_a_queue() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.submit(Attempt::new(2, diff_spec(5, 6).into()));
    bench.send();
    bench.answer(1);
    bench.frame(diff_frame(5, 6));
    assert!(matches!(bench.answers[&2], Ok(Answer { reply: Reply::MnListDiff(_), .. })));
}

#[test]
fn without_the_fence_only_a_later_reply_refuses() {
    let mut bench = Bench::with(CorrelatorConfig { fence: false, ..CorrelatorConfig::default() });
    (1..=2).for_each(|id| bench.submit(attempt(id)));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "getqrinfo"]);
    bench.nonces = Bench::asked(2).nonces;
    bench.pong(2);
    assert!(bench.is_waiting(1), "a pong was never asked for");
    bench.answer(2);
    assert_eq!(bench.kind(1), Some(Kind::Refused));
    assert!(bench.is_answered(2));
}

// === misbehaviour ===

#[test]
fn a_reply_that_answers_nothing_fails_the_head_and_ends_the_connection() {
    let mut bench = Bench::asked(2);
    bench.answer(9);
    assert_eq!(bench.kind(1), Some(Kind::False));
    let mismatch: Mismatch = bench.source(1);
    assert!(matches!(mismatch, Mismatch::WorkBlock { cycles_back: 0, expected, got }
        if expected == support::reply(1, 1).work_block_hash() && got == support::reply(9, 9).work_block_hash()));
    assert_eq!(bench.kind(2), Some(Kind::Disconnected));
    assert!(matches!(bench.source(2), Closed::Violation(Violation::False(_))));
    assert_eq!(bench.closed, Some(Violation::False(mismatch)));
    assert_eq!(bench.released, [1, 2]);
}

#[test]
fn an_unsolicited_reply_ends_the_connection() {
    let mut bench = Bench::new();
    bench.answer(1);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
}

#[test]
fn the_head_of_an_unsolicited_reply_is_enough() {
    let mut bench = Bench::new();
    bench.partial(0, 30 << 20);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
}

#[test]
fn a_reply_cannot_answer_a_request_that_is_not_sent() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.answer(1);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
    assert_eq!(bench.kind(1), Some(Kind::Disconnected));
    assert!(bench.answers[&1].as_ref().unwrap_err().timing().is_none());
}

#[test]
fn a_reply_that_began_before_its_request_was_sent_does_not_answer_it() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 50_000);
    bench.pass(1);
    bench.submit(attempt(2));
    bench.send();
    bench.answer(2);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::False), Some(Kind::Disconnected)));
}

#[test]
fn a_reply_that_cannot_be_decoded_fails_the_head_and_ends_the_connection() {
    let mut bench = Bench::asked(2);
    let payload = support::RECORDED_REPLY[..1_000].into();
    bench.frame(Frame { command: Command::QR_INFO, payload });
    assert_eq!(bench.kind(1), Some(Kind::Malformed));
    let error: DecodeError = bench.source(1);
    assert_eq!(bench.kind(2), Some(Kind::Disconnected));
    assert_eq!(bench.closed, Some(Violation::Malformed { command: Command::QR_INFO, error }));
}

#[test]
fn a_repeated_reply_reaches_no_other_caller() {
    let mut bench = Bench::asked(2);
    bench.answer(1);
    bench.answer(1);
    assert_eq!(bench.kind(2), Some(Kind::False));
    assert!(bench.closed.is_some());
}

#[test]
fn other_messages_are_ignored_without_decoding() {
    let mut bench = Bench::asked(1);
    for command in [Command::PING, Command::VERSION, Command::GET_QR_INFO, Command::new(b"inv")] {
        bench.frame(Frame { command, payload: vec![0xff; 3].into() });
    }
    assert!(bench.is_waiting(1));
    assert_eq!(bench.closed, None);
}

#[test]
fn after_the_end_nothing_is_emitted_and_nothing_is_taken() {
    let mut bench = Bench::new();
    bench.answer(1);
    let reports = bench.reports.len();
    assert_eq!(bench.reports.last(), Some(&PeerEvent::Banned { peer: peer(), why: Kind::False }));
    // `act` checks that nothing comes.
    bench.answer(1);
    bench.partial(0, 100);
    bench.pass(100);
    bench.disconnect();
    assert_eq!(bench.reports.len(), reports);
    let error = bench.correlator.submit(send(1), attempt(1), bench.now).unwrap_err();
    assert_eq!(error.kind(), Kind::Disconnected);
    assert!(bench.correlator.next_frame(bench.now).is_none());
    assert_eq!(bench.correlator.next_deadline(), None);
}

// === slots ===

#[test]
fn submissions_beyond_the_depth_are_refused() {
    let mut bench = Bench::with(CorrelatorConfig { depth: NonZeroUsize::MIN, ..Default::default() });
    bench.submit(attempt(1));
    let error = bench.correlator.submit(send(2), attempt(2), bench.now).unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    bench.send();
    bench.answer(1);
    bench.submit(attempt(3));
    assert_eq!(bench.correlator.len(), 1);
}

#[test]
fn a_timed_out_request_keeps_its_slot_until_the_peer_has_dealt_with_it() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!((bench.correlator.len(), bench.done(1)), (1, None));
    bench.pass(100);
    assert_eq!(bench.correlator.len(), 1);
    bench.pong(1);
    assert_eq!(bench.done(1), Some(Err(Kind::Refused)));
    assert_eq!(bench.released, [1]);
    assert!(bench.correlator.is_empty());
}

/// Field failure: a late reply was mistaken for the reply to the next request.
#[test]
fn a_late_reply_is_not_taken_for_the_next_requests() {
    let mut bench = Bench::new();
    // The same request again, as a retry at the same peer would have it.
    bench.submit(Attempt::new(1, spec(7, 1).into()));
    bench.send();
    bench.pass(30);
    bench.submit(Attempt::new(2, spec(7, 1).into()));
    bench.send();
    bench.frame(reply_frame(7, 1));
    assert_eq!(bench.done(1), Some(Ok(())));
    assert_eq!(bench.kind(1), Some(Kind::Timeout), "the caller was told once");
    assert!(bench.is_waiting(2));
    bench.pong(1);
    assert!(bench.is_waiting(2));
    bench.frame(reply_frame(7, 2));
    assert!(bench.answers[&2].is_ok());
}

#[test]
fn a_timed_out_request_does_not_starve_new_work() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    bench.submit(attempt(2));
    bench.send();
    bench.pong(1);
    bench.answer(2);
    assert!(bench.is_answered(2));
    assert!(bench.correlator.is_empty());
}

/// Field failure: a leaked in-flight slot silenced a peer for good.
#[test]
fn no_request_leaks_its_slot_however_it_ends() {
    let mut bench = Bench::new();
    for round in 0..50 {
        let first = round * 8 + 1;
        (first..first + 8).for_each(|id| bench.submit(attempt(id)));
        bench.cancel(first + 7);
        bench.send();
        bench.answer(first);
        bench.pong(first + 1);
        bench.cancel(first + 2);
        bench.pass(30);
        bench.cancel(first + 3);
        bench.answer(first + 2);
        bench.answer(first + 5);
        bench.pass(60);
        bench.pong(first + 6);
        assert!(bench.correlator.is_empty());
        bench.released.sort();
        assert!(bench.released.iter().copied().eq(1..first + 8));
    }
}

#[test]
fn a_cancelled_request_keeps_its_slot_and_its_reply_reaches_no_caller() {
    let mut bench = Bench::asked(2);
    bench.cancel(1);
    assert_eq!(bench.correlator.len(), 2);
    bench.answer(1);
    assert_eq!(bench.done(1), Some(Ok(())));
    assert!(bench.answers.is_empty());
    assert!(bench.is_waiting(2));
}

#[test]
fn a_request_cancelled_before_it_is_sent_leaves_no_trace() {
    let mut bench = Bench::new();
    (1..=3).for_each(|id| bench.submit(attempt(id)));
    bench.cancel(2);
    assert_eq!(bench.released, [2]);
    bench.send();
    assert_eq!(bench.sent.len(), 4);
    bench.answer(1);
    bench.answer(3);
    assert!(bench.is_answered(1) && bench.is_answered(3));
    assert_eq!(bench.done(2), Some(Err(Kind::Cancelled)));
}

#[test]
fn a_cancelled_request_that_was_sent_still_gets_its_fence() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now).unwrap();
    bench.cancel(1);
    assert!(bench.correlator.has_frame());
    bench.send();
    assert_eq!(commands(&bench.sent), ["ping"]);
}

#[test]
fn a_settled_request_needs_no_fence() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now).unwrap();
    bench.answer(1);
    assert!(!bench.correlator.has_frame());
    bench.submit(attempt(2));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping"]);
}

#[test]
fn cancelling_what_has_ended_does_nothing() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    bench.cancel(1);
    bench.cancel(77);
    bench.answer(1);
    bench.cancel(1);
    assert_eq!(bench.released, [1]);
}

/// Field failure: a peer's disconnect stranded its requests until a timeout.
#[test]
fn a_disconnect_does_not_strand_requests_until_a_timeout() {
    let mut bench = Bench::asked(3);
    bench.cancel(2);
    bench.submit(attempt(4));
    bench.partial(16_384, 50_000);
    bench.disconnect();
    for id in [1, 3, 4] {
        assert_eq!(bench.kind(id), Some(Kind::Disconnected));
        let closed: Closed = bench.source(id);
        let reset = closed.source().and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(bench.timing(1).bytes, 16_384);
    assert_eq!(bench.timing(3).bytes, 0);
    assert_eq!(bench.done(2), Some(Err(Kind::Disconnected)));
    assert_eq!(bench.released, [1, 2, 3, 4]);
    assert!(matches!(bench.reports.last(), Some(PeerEvent::Left { why: LeaveReason::Disconnected, .. })));
    assert_eq!(bench.closed, None, "it is closed already");
}
