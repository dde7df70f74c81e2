use std::time::{Duration, Instant};

use qrinfo_core::{AttemptErrorKind as Kind, PeerId, RequestId, SendId, Timing};

use super::{MAX_POINTS, PeerHealth, PeerState, Rates, Sizes};
use crate::gcra::Rate;

const PEER: PeerId = PeerId::ALL;

fn send(seq: u64) -> SendId {
    SendId { peer: PEER, seq }
}

/// A peer at height 7, 50 ms away, and a clock in milliseconds.
fn peer() -> (PeerHealth, impl Fn(u64) -> Instant) {
    let base = crate::now();
    (PeerHealth::new(7, Duration::from_millis(50), None), move |ms| base + Duration::from_millis(ms))
}

/// The peer's reply to a request, in milliseconds and bytes.
fn reply(peer: &mut PeerHealth, seq: u64, times: [Instant; 3], bytes: u64) {
    let [sent, first, done] = times;
    peer.send(send(seq), RequestId(seq), sent);
    let timing = Timing { peer: PEER, sent, head: None, first_byte: Some(first), done, bytes };
    assert!(peer.replied(send(seq), &timing).is_some_and(|entry| entry.send == send(seq)));
}

fn is_about(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-6 * expected.abs().max(1.0)
}

#[test]
fn a_reply_shows_the_computing_time_and_the_rate() {
    let (mut peer, at) = peer();
    assert_eq!((peer.height(), peer.round_trip(), peer.bytes_per_second()), (7, Duration::from_millis(50), None));
    assert!(is_about(peer.compute_seconds(), 0.026));
    // 100 ms of computing and 100 ms of transfer.
    reply(&mut peer, 0, [at(0), at(150), at(250)], 100_000);
    assert!(is_about(peer.compute_seconds(), (0.1 + 0.026) / 2.0), "{}", peer.compute_seconds());
    assert!(is_about(peer.bytes_per_second().unwrap(), 1e6));
    // An older sample has 0.9 of its weight.
    reply(&mut peer, 1, [at(1_000), at(1_350), at(1_650)], 150_000);
    assert!(is_about(peer.compute_seconds(), (0.09 + 0.3 + 0.026) / 2.9), "{}", peer.compute_seconds());
    assert!(is_about(peer.bytes_per_second().unwrap(), (90_000.0 + 150_000.0) / (0.09 + 0.3)));
}

#[test]
fn a_reply_right_behind_another_says_nothing_about_the_computing() {
    let (mut peer, at) = peer();
    reply(&mut peer, 0, [at(0), at(150), at(250)], 100_000);
    let before = peer.compute_seconds();
    reply(&mut peer, 1, [at(0), at(251), at(350)], 100_000);
    assert!(is_about(peer.compute_seconds(), before));
    // The link was free for 100 ms; the request had computed since the last first byte.
    reply(&mut peer, 2, [at(0), at(450), at(500)], 50_000);
    let samples = 0.1 * 0.9 + 0.199;
    assert!(is_about(peer.compute_seconds(), (samples + 0.026) / 2.9), "{}", peer.compute_seconds());
}

#[test]
fn an_answer_within_the_round_trip_shortens_it() {
    let (mut peer, at) = peer();
    reply(&mut peer, 0, [at(0), at(20), at(30)], 1_000);
    assert_eq!(peer.round_trip(), Duration::from_millis(20));
    assert!(is_about(peer.compute_seconds(), 0.013));
    reply(&mut peer, 1, [at(100), at(160), at(170)], 1_000);
    assert_eq!(peer.round_trip(), Duration::from_millis(20));
}

#[test]
fn a_reply_without_a_first_byte_begins_when_it_could() {
    let (mut peer, at) = peer();
    peer.send(send(0), RequestId(0), at(0));
    let timing = Timing { peer: PEER, sent: at(0), head: None, first_byte: None, done: at(176), bytes: 100_000 };
    peer.replied(send(0), &timing).unwrap();
    // A round trip and the assumed 26 ms; then 100 ms of transfer.
    assert!(is_about(peer.bytes_per_second().unwrap(), 1e6), "{:?}", peer.bytes_per_second());
    peer.send(send(1), RequestId(1), at(0));
    let timing = Timing { done: at(276), ..timing };
    peer.replied(send(1), &timing).unwrap();
    assert!(is_about(peer.bytes_per_second().unwrap(), 1e6), "it was behind the other: {:?}", peer.bytes_per_second());
}

#[test]
fn only_the_first_part_of_a_reply_begins_it_and_its_bytes_do_not_count_for_the_rate() {
    let (mut peer, at) = peer();
    peer.send(send(0), RequestId(0), at(0));
    assert!(!peer.progress(send(9), 10_000, None, at(100)), "no such request");
    assert!(peer.progress(send(0), 10_000, Some(60_000), at(100)));
    assert!(!peer.progress(send(0), 35_000, None, at(150)));
    assert!(!peer.progress(send(0), 20_000, None, at(160)), "reports may overtake each other");
    let rate = peer.rate_so_far(at(160)).unwrap();
    assert!(is_about(rate, 25_000.0 / 0.06), "{rate}");
    // Silence counts beyond 100 ms.
    let rate = peer.rate_so_far(at(400)).unwrap();
    assert!(is_about(rate, 25_000.0 / 0.2), "{rate}");
    let timing = Timing { peer: PEER, sent: at(0), head: None, first_byte: None, done: at(200), bytes: 60_000 };
    let entry = peer.replied(send(0), &timing).unwrap();
    assert_eq!((entry.length, entry.bytes), (Some(60_000), 35_000));
    assert!(is_about(peer.bytes_per_second().unwrap(), 50_000.0 / 0.1));
}

#[test]
fn a_refusal_costs_a_point_and_twelve_in_a_row_the_willingness() {
    let (mut peer, at) = peer();
    assert!(is_about(peer.answering(), 1.0));
    let refuse = |peer: &mut PeerHealth, seq, ms| {
        peer.send(send(seq), RequestId(seq), at(ms));
        peer.failed(send(seq), Kind::Refused, at(ms)).unwrap();
    };
    for seq in 0..7 {
        refuse(&mut peer, seq, 0);
    }
    assert_eq!(peer.points(), 7);
    assert!(is_about(peer.answering(), 1.0 - 7.0 / 9.0));
    assert!(peer.is_willing(1, at(0)));
    refuse(&mut peer, 7, 0);
    assert!(!peer.is_willing(1, at(4_999)) && peer.is_willing(1, at(5_000)));
    refuse(&mut peer, 8, 0);
    assert!(!peer.is_willing(1, at(9_999)) && peer.is_willing(1, at(10_000)));
    for seq in 9..20 {
        refuse(&mut peer, seq, 0);
    }
    assert!(!peer.is_willing(1, at(299_999)) && peer.is_willing(1, at(300_000)));
    // An answer ends the run, and a peer that has answered may refuse twelve.
    reply(&mut peer, 20, [at(0), at(150), at(250)], 1_000);
    assert!(peer.is_willing(1, at(250)));
    assert!(is_about(peer.answering(), 1.0 - 20.0 / 23.0));
    for seq in 21..32 {
        refuse(&mut peer, seq, 300);
    }
    assert!(peer.is_willing(1, at(300)));
    refuse(&mut peer, 32, 300);
    assert!(!peer.is_willing(1, at(300)));
}

#[test]
fn a_peer_with_75_points_gets_what_its_points_are_enough_for_and_at_90_nothing() {
    let (mut peer, at) = peer();
    peer.answers = 1;
    for (points, willing, spent) in [(74, true, false), (75, false, false), (89, false, false), (90, false, true)] {
        peer.points = points;
        assert_eq!((peer.is_willing(16, at(0)), peer.is_spent()), (willing, spent), "{points}");
        assert_eq!(peer.is_live(), !spent);
    }
    peer.points = 75;
    assert!(peer.is_willing(15, at(0)) && !peer.is_willing(16, at(0)));
    peer.points = MAX_POINTS + 5;
    assert!(peer.is_spent() && peer.is_willing(0, at(0)));
    peer.state = PeerState::Cooling { until: at(5) };
    assert_eq!(peer.rests_until(), None, "it is not asked afterwards either");
    peer.points = 0;
    assert_eq!(peer.rests_until(), Some(at(5)));
}

#[test]
fn requests_that_fail_together_are_one_failure_and_a_probe_decides() {
    let (mut peer, at) = peer();
    (0..4).for_each(|seq| peer.send(send(seq), RequestId(seq), at(0)));
    assert_eq!((peer.outstanding(), peer.counted_in_flight(), peer.depth_limit()), (4, 4, 64));
    assert_eq!(peer.timed_out(send(0), at(1_000)), Some(RequestId(0)));
    assert_eq!(peer.timed_out(send(1), at(1_000)), Some(RequestId(1)));
    assert_eq!(peer.timed_out(send(9), at(1_000)), None);
    assert_eq!((peer.outstanding(), peer.counted_in_flight(), peer.depth_limit()), (4, 0, 32));
    assert_eq!(peer.rests_until(), Some(at(6_000)));
    assert!(!peer.is_live() && !peer.is_trusted());
    peer.failed(send(2), Kind::Disconnected, at(1_000)).unwrap();
    assert_eq!((peer.depth_limit(), peer.rests_until()), (32, Some(at(6_000))));
    peer.thaw(at(5_999));
    assert!(!peer.is_live());
    peer.thaw(at(6_000));
    assert_eq!(peer.state(), PeerState::HalfOpen { probe: None });
    assert_eq!(peer.counted_in_flight(), 0);
    // A straggler does not end it.
    let timing = Timing { peer: PEER, sent: at(0), head: None, first_byte: None, done: at(6_000), bytes: 9 };
    peer.replied(send(3), &timing).unwrap();
    assert_eq!(peer.state(), PeerState::HalfOpen { probe: None });
    peer.send(send(5), RequestId(5), at(6_000));
    assert_eq!((peer.state(), peer.counted_in_flight()), (PeerState::HalfOpen { probe: Some(send(5)) }, 1));
    peer.replied(send(5), &Timing { done: at(6_100), ..timing }).unwrap();
    assert_eq!((peer.state(), peer.depth_limit()), (PeerState::Open, 32));
    // The next failure is a first one again.
    peer.send(send(6), RequestId(6), at(7_000));
    peer.failed(send(6), Kind::Local, at(7_000)).unwrap();
    assert_eq!((peer.rests_until(), peer.depth_limit()), (Some(at(12_000)), 32));
}

#[test]
fn timeouts_and_disconnects_halve_the_depth_and_other_failures_do_not() {
    for (kind, depth, rests) in [
        (Kind::Timeout, 32, true),
        (Kind::Disconnected, 32, true),
        (Kind::Local, 64, true),
        (Kind::Refused, 64, false),
        (Kind::NotSent, 64, false),
        (Kind::Cancelled, 64, false),
    ] {
        let (mut peer, at) = peer();
        peer.send(send(0), RequestId(0), at(0));
        peer.failed(send(0), kind, at(100)).unwrap();
        assert_eq!((peer.depth_limit(), peer.rests_until()), (depth, rests.then(|| at(5_100))), "{kind}");
        assert_eq!(peer.points(), u32::from(kind == Kind::Refused));
    }
}

#[test]
fn one_reply_at_half_the_former_rate_ends_a_stall() {
    let stalled = |bytes| {
        let (mut peer, at) = peer();
        (0..2).for_each(|seq| peer.send(send(seq), RequestId(seq), at(0)));
        peer.state = PeerState::Stalled { former_rate: 1e6 };
        assert_eq!((peer.counted_in_flight(), peer.is_live(), peer.is_trusted()), (0, false, false));
        let timing = Timing { peer: PEER, sent: at(0), head: None, first_byte: Some(at(100)), done: at(200), bytes };
        peer.replied(send(0), &timing).unwrap();
        let after_one = peer.state();
        peer.failed(send(1), Kind::Cancelled, at(200)).unwrap();
        (after_one, peer.state())
    };
    assert_eq!(stalled(50_000), (PeerState::Open, PeerState::Open));
    let slow = PeerState::Stalled { former_rate: 1e6 };
    assert_eq!(stalled(49_999), (slow, PeerState::HalfOpen { probe: None }));
}

/// A stall that ends is no probe that was answered: the rests before it are forgotten with the next reply.
#[test]
fn a_reply_of_an_open_peer_makes_its_next_failure_a_first_one() {
    for is_answered in [false, true] {
        let (mut peer, at) = peer();
        peer.rest.failed(at(0));
        if is_answered {
            reply(&mut peer, 0, [at(0), at(76), at(176)], 100_000);
        }
        peer.send(send(1), RequestId(1), at(1_000));
        peer.failed(send(1), Kind::Timeout, at(1_000)).unwrap();
        assert_eq!(peer.rests_until(), Some(at(if is_answered { 6_000 } else { 11_000 })));
    }
}

#[test]
fn its_own_rate_limit_and_its_service_hold_a_peer_back() {
    let (mut peer, at) = peer();
    assert!(peer.takes_one(at(0)));
    peer.set_ready(false);
    assert!(!peer.takes_one(at(0)));
    peer.set_ready(true);
    peer.set_rate_limit(Some(Rate::per_second(10, 1)));
    peer.send(send(0), RequestId(0), at(0));
    assert_eq!(peer.conforms_at(at(0)), at(100));
    assert!(!peer.takes_one(at(99)) && peer.takes_one(at(100)));
    peer.set_rate_limit(Some(Rate::per_second(20, 1)));
    assert_eq!(peer.conforms_at(at(0)), at(50));
    peer.set_rate_limit(None);
    assert!(peer.takes_one(at(0)));
}

#[test]
fn a_rate_takes_bytes_and_time() {
    for (bytes, seconds, rate) in [(0.0, 1.0, None), (5.0, 0.0, None), (5.0, -1.0, None), (5.0, 2.0, Some(2.5))] {
        let (mut peer, _) = peer();
        peer.rate.add(bytes, seconds);
        assert_eq!(peer.bytes_per_second(), rate);
        assert_eq!(peer.rate.with(0.0, -1.0).own(), rate);
    }
}

#[test]
fn the_common_rate_is_the_geometric_mean_of_trusted_peers() {
    let (nobody, at) = peer();
    let rates = |peers: &[&PeerHealth]| Rates::of(peers.iter().copied(), at(500));
    assert!(is_about(rates(&[&nobody]).common, 500_000.0) && is_about(rates(&[&nobody]).shown, 500_000.0));
    let with = |bytes| {
        let mut health = nobody.clone();
        reply(&mut health, 0, [at(0), at(100), at(200)], bytes);
        health
    };
    let (slow, fast) = (with(10_000), with(1_000_000));
    assert!(is_about(rates(&[&slow, &fast, &nobody]).common, 1e6));
    let stalled = PeerHealth { state: PeerState::Stalled { former_rate: 1.0 }, ..slow.clone() };
    let Rates { common, shown } = rates(&[&stalled, &fast]);
    assert!(is_about(common, 1e7) && is_about(shown, 1e6), "{common} {shown}");
    // Drawn towards the others with the weight of 20 KB.
    assert!(is_about(slow.rate.shrunk(1e6), 30_000.0 / (0.1 + 0.02)));
    assert!(is_about(nobody.rate.shrunk(1e6), 1e6));
}

#[test]
fn a_late_first_byte_is_a_stall_after_four_services_and_a_tenth_of_a_second() {
    let (mut peer, at) = peer();
    let sizes = Sizes::default();
    reply(&mut peer, 0, [at(0), at(76), at(176)], 100_000);
    peer.send(send(1), RequestId(1), at(1_000));
    let rates = Rates { common: 1e6, shown: 1e6 };
    // 50 ms of round trip and 26 of computing; the service is 26 ms and 300 KB at 1 MB/s.
    let due = 1_076 + 4 * 326 + 100;
    assert!(!peer.notice_stall(at(due - 1), &rates, &sizes));
    assert!(peer.notice_stall(at(due + 1), &rates, &sizes));
    assert!(matches!(peer.state(), PeerState::Stalled { former_rate } if is_about(former_rate, 1e6)));
    assert!(!peer.notice_stall(at(due + 1), &rates, &sizes), "it is known");
}

#[test]
fn a_reply_that_comes_at_less_than_a_third_of_the_rate_is_a_stall() {
    let rates = Rates { common: 1e6, shown: 1e6 };
    let stalls = |bytes, ms: u64, is_known: bool, length| {
        let (mut peer, at) = peer();
        if is_known {
            reply(&mut peer, 0, [at(0), at(76), at(176)], 100_000);
        }
        peer.send(send(1), RequestId(1), at(1_000));
        peer.progress(send(1), 0, length, at(2_000));
        peer.progress(send(1), bytes, None, at(2_000 + ms));
        peer.notice_stall(at(2_000 + ms), &rates, &Sizes::default())
    };
    // 0.3 of 1 MB/s for 200 ms are 60,000 bytes, of which 16,384 may not be reported yet.
    assert!(stalls(43_000, 200, true, None) && !stalls(44_000, 200, true, None));
    assert!(!stalls(0, 99, true, None) && stalls(0, 101, true, None));
    // Of a stranger 0.04 of what the others would have sent.
    assert!(stalls(23_000, 1_001, false, None) && !stalls(24_000, 1_001, false, None));
    assert!(!stalls(0, 999, false, None));
    // More than 4 MiB are not expected.
    assert!(!stalls(44_000, 200, true, Some(4 << 20)) && stalls(44_000, 200, true, Some((4 << 20) + 1)));
    assert!(!stalls(44_000, 99, true, Some(5 << 20)));
}

#[test]
fn lengths_have_a_mean_a_rest_and_a_bound() {
    let mut sizes = Sizes::default();
    assert!(is_about(sizes.mean(), 300_000.0));
    sizes.announced(100_000);
    sizes.announced(500_000);
    // A quarter of a reply of 300 KB.
    assert!(is_about(sizes.mean(), 675_000.0 / 2.25));
    // Two longer ones, or one, and 0.8 of what came or 0.3 of the mean.
    assert!(is_about(sizes.residual(50_000.0), (90_000.0 + 50_000.0 + 450_000.0) / 3.0));
    assert!(is_about(sizes.residual(100_000.0), (90_000.0 + 400_000.0) / 2.0));
    assert!(is_about(sizes.residual(400_000.0), (320_000.0 + 100_000.0) / 2.0));
    assert!(sizes.is_implausible((4 << 20) + 1) && !sizes.is_implausible(4 << 20));
    sizes.announced(5 << 20);
    assert!(is_about(sizes.mean(), 675_000.0 / 2.25), "not believed");
    sizes.completed(1 << 20, true);
    assert!(is_about(sizes.mean(), 675_000.0 / 2.25), "its header was");
    assert!(sizes.is_implausible((8 << 20) + 1) && !sizes.is_implausible(8 << 20));
    sizes.completed(600_000, false);
    assert!(is_about(sizes.mean(), 1_275_000.0 / 3.25));
}

#[test]
fn a_forecast_walks_through_what_the_peer_holds() {
    let (mut peer, at) = peer();
    let sizes = Sizes::default();
    // 26 ms of computing, 1 MB/s: 300 ms for a reply of mean length.
    reply(&mut peer, 0, [at(0), at(76), at(176)], 100_000);
    let idle = peer.forecast(at(1_000), 1e6, &sizes, 8);
    assert!(is_about(idle.compute, 0.026) && is_about(idle.transfer, 0.3) && idle.has_slot && idle.held.is_empty());
    assert!(is_about(idle.done, 0.376) && is_about(idle.done_at_risk(), 0.676) && is_about(idle.service(), 0.3));
    assert!(is_about(idle.done_with(100_000.0), 0.176));
    let completions = [0.676, 0.677, 0.977, 1.3].map(|time| idle.completions_before(time));
    assert_eq!(completions, [0.0, 1.0, 2.0, 3.0]);

    peer.send(send(1), RequestId(1), at(1_000));
    peer.send(send(2), RequestId(2), at(1_000));
    let two = peer.forecast(at(1_000), 1e6, &sizes, 8);
    let held: Vec<_> = two.held.iter().map(|held| (held.request, (held.done * 1e3).round())).collect();
    assert_eq!(held, [(Some(RequestId(1)), 376.0), (Some(RequestId(2)), 676.0)]);
    assert!(is_about(two.done, 0.976), "{}", two.done);

    // The first one has 700 KB to go, the second one is behind it.
    peer.progress(send(1), 0, Some(800_000), at(1_076));
    peer.progress(send(1), 100_000, None, at(1_176));
    let long = peer.forecast(at(1_176), 1e6, &sizes, 8);
    assert!(is_about(long.held[0].done, 0.7) && is_about(long.held[0].size, 800_000.0), "{long:?}");
    assert!(is_about(long.held[1].done, 1.0) && is_about(long.held[1].size, 300_000.0), "{long:?}");
    assert!(is_about(long.done, 1.3) && !long.has_slot, "{long:?}");
}

#[test]
fn a_stranger_holds_its_trial_and_a_half_open_peer_one() {
    let (mut peer, at) = peer();
    let has_slot = |peer: &PeerHealth, trial| peer.forecast(at(0), 1e9, &Sizes::default(), trial).has_slot;
    (0..2).for_each(|seq| peer.send(send(seq), RequestId(seq), at(0)));
    assert!(has_slot(&peer, 3) && !has_slot(&peer, 2));
    peer.rate.add(1e9, 1.0);
    assert!(has_slot(&peer, 1));
    peer.points = MAX_POINTS - 2;
    assert!(!has_slot(&peer, 8), "each may be refused");
    peer.points = 0;
    peer.state = PeerState::HalfOpen { probe: None };
    assert!(!has_slot(&peer, 8));
    peer.entries.clear();
    assert!(has_slot(&peer, 8));
}
