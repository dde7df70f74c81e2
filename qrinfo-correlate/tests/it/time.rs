//! Timeouts, deadlines and their causes.

use std::{num::NonZeroU64, time::Duration};

use qrinfo_core::{
    Attempt, AttemptErrorKind as Kind, PeerEvent, Timing,
    message::MnListDiff,
    wire::frame::{Command, Partial},
};
use qrinfo_correlate::{CorrelatorConfig, Event, TimeoutCause, Violation};

use crate::support::{
    attempt,
    bench::{Bench, send},
    diff_spec, reply_frame,
};

#[test]
fn silence_at_the_head_times_out() {
    let mut bench = Bench::asked(1);
    bench.pass(29);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.deadline(), Some((30, TimeoutCause::Silent(Duration::from_secs(30)))));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!(bench.source::<TimeoutCause>(1), TimeoutCause::Silent(Duration::from_secs(30)));
    let held = Some((150, TimeoutCause::Unanswered(Duration::from_secs(150))));
    assert_eq!(bench.deadline(), held, "the peer still has the slot");
}

/// Field failure: timeouts counted from sending duplicate healthy work in a deep pipeline.
#[test]
fn a_deep_pipeline_is_not_timed_out_from_sending() {
    let mut bench = Bench::asked(8);
    for id in 1..=8 {
        bench.pass(25);
        bench.answer(id);
    }
    assert!((1..=8).all(|id| bench.is_answered(id)));
}

#[test]
fn each_arrival_restarts_the_timeout() {
    let mut bench = Bench::asked(1);
    for step in 0..4 {
        bench.pass(25);
        bench.partial(step * 16_384, 3 << 20);
    }
    assert!(bench.is_waiting(1));
    bench.pass(30);
    assert_eq!(bench.source::<TimeoutCause>(1), TimeoutCause::Silent(Duration::from_secs(30)));
    let Timing { first_byte, bytes, .. } = bench.timing(1);
    assert_eq!(first_byte.map(|instant| bench.seconds(instant)), Some(25));
    assert_eq!(bytes, 3 * 16_384);
}

/// Tombstones keep their slots, so a peer that stops answering would keep all of them.
#[test]
fn a_peer_that_stays_silent_loses_its_connection() {
    let mut bench = Bench::asked(2);
    bench.pass(30);
    assert!(!bench.is_waiting(1));
    bench.pass(119);
    assert!(bench.closed.is_none());
    bench.pass(1);
    assert_eq!(bench.closed, Some(Violation::Unanswered(Duration::from_secs(150))));
}

#[test]
fn no_peer_can_drip_without_an_end() {
    let mut bench = Bench::asked(1);
    bench.pass(1);
    // 80,000 bytes at 8,000 a second.
    for _ in 0..39 {
        assert!(bench.is_waiting(1));
        bench.partial(0, 80_000);
        bench.pass(1);
    }
    let too_slow = TimeoutCause::TooSlow { length: 80_000, allowed: Duration::from_secs(40) };
    assert_eq!(bench.source::<TimeoutCause>(1), too_slow);
}

#[test]
fn a_reply_beside_others_is_bounded_by_the_longest() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 80_000);
    for _ in 0..39 {
        bench.handle(Event::Partial(Partial { command: Command::new(b"inv"), received: 0, length: 40 }));
        bench.pass(1);
    }
    assert!(bench.is_waiting(1));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
}

#[test]
fn the_next_one_is_given_its_own_time_behind_a_stalled_head() {
    let mut bench = Bench::asked(3);
    bench.pass(59);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert!(bench.is_waiting(2));
    bench.pass(1);
    assert_eq!(bench.kind(2), Some(Kind::Timeout));
    assert!(bench.is_waiting(3));
    bench.pass(10);
    bench.answer(1);
    bench.pass(29);
    assert!(bench.is_waiting(3), "its clock starts when the one before it is settled");
    bench.answer(2);
    bench.answer(3);
    assert!(bench.is_answered(3));
}

#[test]
fn a_big_cancelled_reply_does_not_make_the_next_one_time_out() {
    let mut bench = Bench::asked(2);
    bench.pass(20);
    bench.partial(0, 3 << 20);
    bench.cancel(1);
    // Within the 161 s that the length earns as far as it is plausible.
    for step in 1..=13 {
        bench.pass(10);
        bench.partial(step * 16_384, 3 << 20);
    }
    bench.answer(1);
    bench.pass(29);
    bench.answer(2);
    assert!(bench.is_answered(2));
    assert!(!bench.answers.contains_key(&1));
}

#[test]
fn a_cancelled_head_leaves_the_next_one_its_full_time() {
    let mut bench = Bench::asked(2);
    bench.pass(29);
    bench.cancel(1);
    bench.pass(29);
    assert!(bench.is_waiting(2));
    bench.pass(1);
    assert_eq!(bench.kind(2), Some(Kind::Timeout));
}

#[test]
fn an_attempts_own_deadline_comes_sooner() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.submit(Attempt { deadline: Some(bench.now + Duration::from_secs(5)), ..attempt(2) });
    bench.send();
    assert_eq!(bench.deadline(), Some((5, TimeoutCause::Deadline)));
    bench.partial(16_384, 50_000);
    bench.pass(5);
    assert_eq!(bench.timing(2).bytes, 0, "what arrives is the first one's");
    assert_eq!(bench.source::<TimeoutCause>(2), TimeoutCause::Deadline);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.correlator.len(), 2);
}

#[test]
fn a_deadline_that_has_passed_is_not_sent() {
    let mut bench = Bench::new();
    bench.submit(Attempt { deadline: Some(bench.now), ..attempt(1) });
    bench.send();
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert!(bench.sent.is_empty() && bench.correlator.is_empty());
}

#[test]
fn what_arrives_counts_before_the_time_that_has_passed() {
    let mut bench = Bench::asked(1);
    bench.now += Duration::from_secs(60);
    bench.answer(1);
    assert!(bench.is_answered(1));
}

#[test]
fn a_transport_that_takes_nothing_does_not_stop_the_clock() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.pass(30);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!(bench.released, [1], "the peer knows nothing of it");
}

#[test]
fn the_clock_restarts_when_the_request_is_sent() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.pass(20);
    bench.send();
    bench.pass(29);
    assert!(bench.is_waiting(1));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
}

#[test]
fn limits_beyond_the_clock_are_no_limits() {
    let config = CorrelatorConfig { head_timeout: Duration::MAX, min_rate: NonZeroU64::MIN, ..Default::default() };
    let mut bench = Bench::with(config);
    bench.submit(attempt(1));
    bench.send();
    bench.partial(0, usize::MAX);
    bench.pass(1);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.correlator.next_deadline(), None);
}

#[test]
fn timing_tells_when_the_peer_could_begin() {
    let mut bench = Bench::asked(2);
    bench.pass(3);
    bench.answer(1);
    bench.pass(1);
    bench.partial(0, 50_000);
    bench.pass(1);
    bench.answer(2);
    let seconds = |timing: Timing| {
        let [sent, done] = [timing.sent, timing.done].map(|instant| bench.seconds(instant));
        let [head, first_byte] = [timing.head, timing.first_byte].map(|instant| instant.map(|at| bench.seconds(at)));
        (sent, head, first_byte, done)
    };
    assert_eq!(seconds(bench.timing(1)), (0, Some(0), Some(3), 3));
    assert_eq!(seconds(bench.timing(2)), (0, Some(3), Some(4), 5));
    assert_eq!(bench.timing(2).bytes, reply_frame(2, 2).payload.len() as u64);
}

#[test]
fn the_ledger_is_told_of_progress_and_the_end() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 50_000);
    bench.partial(16_384, 50_000);
    bench.answer(1);
    let words: Vec<_> = bench
        .reports
        .iter()
        .map(|report| match report {
            PeerEvent::Progress { received: 0, length: Some(50_000), .. } => "announced",
            PeerEvent::Progress { received: 16_384, length: Some(50_000), .. } => "progress",
            PeerEvent::Ended { send, outcome: Ok(timing), .. } if *timing == bench.timing(send.seq) => "ended",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["announced", "progress", "ended"]);
}

#[test]
fn the_announcement_of_a_length_comes_first_even_if_its_bytes_came_with_it() {
    let mut bench = Bench::asked(1);
    bench.partial(16_384, 50_000);
    let received = |report: &PeerEvent| match report {
        PeerEvent::Progress { send: id, received, .. } if *id == send(1) => *received,
        other => panic!("{other:?}"),
    };
    assert_eq!(bench.reports.iter().map(received).collect::<Vec<_>>(), [0, 16_384]);
}

// === drips ===

/// The seconds until a request ends whose reply comes in steps of 16 KiB every 2 s.
fn drip(bench: &mut Bench, id: u64, length: usize) -> u64 {
    let start = bench.now;
    for step in 0.. {
        if !bench.is_waiting(id) {
            break;
        }
        assert!(step < 10_000, "it drips without an end");
        bench.partial(step * 16_384, length);
        bench.pass(2);
    }
    (bench.now - start).as_secs()
}

/// Field failure: an announced length bought its sender time, more than an hour for 32 MiB.
#[test]
fn an_announced_length_earns_time_only_as_far_as_it_is_plausible() {
    let mut bench = Bench::asked(1);
    let config = CorrelatorConfig::default();
    let allowed = config.head_timeout + Duration::from_millis(config.plausible_bytes * 1_000 / config.min_rate);
    assert_eq!(drip(&mut bench, 1, 32 << 20), allowed.as_secs() + 1, "in steps of two seconds");
    let too_slow = TimeoutCause::TooSlow { length: 32 << 20, allowed };
    assert_eq!(bench.source::<TimeoutCause>(1), too_slow);
}

#[test]
fn a_plausible_length_earns_its_own_time() {
    let mut bench = Bench::asked(1);
    assert_eq!(drip(&mut bench, 1, 400_000), 30 + 50);
}

/// Also when no caller waits for it: a slot is not held for longer than a plausible reply takes, beyond five times the
/// head timeout.
#[test]
fn a_drip_that_no_caller_waits_for_ends_with_the_connection() {
    let mut bench = Bench::asked(1);
    bench.cancel(1);
    let mut seconds = 0;
    while bench.closed.is_none() {
        bench.partial(seconds * 8_192, 32 << 20);
        bench.pass(2);
        seconds += 2;
        assert!(seconds < 10_000, "it drips without an end");
    }
    // 1 MiB at 8,000 bytes a second are 131.072 s.
    assert_eq!((seconds, bench.closed.clone()), (282, Some(Violation::Unanswered(Duration::from_secs(150)))));
}

/// A connection with true replies of 2 MB may well have one of 8 MB.
#[test]
fn a_true_reply_makes_longer_ones_plausible() {
    let mut bench = Bench::new();
    bench.submit(Attempt::new(1, diff_spec(1, 2).into()));
    bench.submit(attempt(2));
    bench.submit(attempt(3));
    bench.send();
    let spec = diff_spec(1, 2);
    let diff = MnListDiff {
        merkle_flags: vec![0; 2_000_000].into(),
        ..MnListDiff::empty(spec.base_block_hash, spec.block_hash)
    };
    let frame = qrinfo_core::message::NetworkMessage::MnListDiff(Box::new(diff)).to_frame();
    let plausible = 4 * frame.payload.len() as u64;
    assert!(plausible > 8_000_000);
    bench.frame(frame);
    assert!(bench.answers[&1].is_ok());
    assert_eq!(drip(&mut bench, 2, 8_000_000), 30 + 1_000);
    assert_eq!(bench.kind(2), Some(Kind::Timeout));

    // Its own announcement is no true reply, and earns the next one nothing.
    bench.answer(2);
    let allowed = 30 + plausible / 8_000;
    let took = drip(&mut bench, 3, 32 << 20);
    assert!((allowed..=allowed + 2).contains(&took), "{took} s instead of {allowed}");
}

/// A reply that is complete in time is taken, however long it is.
#[test]
fn a_long_reply_that_comes_fast_is_taken() {
    let mut bench = Bench::asked(1);
    for step in 0..100 {
        bench.partial(step * 300_000, 30_000_000);
        bench.pass(1);
    }
    bench.answer(1);
    assert!(bench.is_answered(1));
}

// === causes ===

#[test]
fn the_next_deadline_names_its_cause() {
    // Nothing to wait for.
    assert_eq!(Bench::new().deadline(), None);

    // Silence, before and after a first byte.
    let head = Duration::from_secs(30);
    let mut bench = Bench::asked(2);
    assert_eq!(bench.deadline(), Some((30, TimeoutCause::Silent(head))));
    bench.pass(10);
    bench.partial(0, 400_000);
    assert_eq!(bench.deadline(), Some((40, TimeoutCause::Silent(head))));

    // Too slow: 30 s, and 50 s for 400,000 bytes.
    for step in 1..=5 {
        bench.pass(10);
        bench.partial(step * 16_384, 400_000);
    }
    let too_slow = TimeoutCause::TooSlow { length: 400_000, allowed: Duration::from_secs(80) };
    assert_eq!(bench.deadline(), Some((80, too_slow)));

    // The caller's own deadline, also of a request that is not the first.
    let deadline = Some(bench.now + Duration::from_secs(3));
    bench.submit(Attempt { deadline, ..attempt(3) });
    assert_eq!(bench.deadline(), Some((63, TimeoutCause::Deadline)));
    bench.pass(3);
    assert_eq!(bench.source::<TimeoutCause>(3), TimeoutCause::Deadline);

    // Tombstones alone: the peer's own time.
    bench.cancel(1);
    bench.cancel(2);
    let unanswered = TimeoutCause::Unanswered(Duration::from_secs(150));
    assert_eq!(bench.deadline(), Some((150 + 50, unanswered)));
    bench.pass(200 - 63);
    assert_eq!(bench.closed, Some(Violation::Unanswered(Duration::from_secs(150))));
    assert_eq!(bench.deadline(), None);
}

/// Every cause that is announced is the cause of the timeout that comes then.
#[test]
fn the_announced_cause_is_the_cause_of_the_timeout() {
    for partial in [None, Some(40_000), Some(32 << 20)] {
        let mut bench = Bench::asked(1);
        let mut announced = None;
        while bench.is_waiting(1) {
            announced = bench.deadline();
            bench.pass(1);
            if let Some(length) = partial.filter(|_| bench.is_waiting(1)) {
                bench.partial(1, length);
            }
        }
        // The last announcement before the timeout.
        assert_eq!(announced.map(|(_, cause)| cause), Some(bench.source::<TimeoutCause>(1)), "{partial:?}");
    }
}
