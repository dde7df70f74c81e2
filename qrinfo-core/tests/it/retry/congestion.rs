//! Conclusions from the failures of all requests.

use qrinfo_core::{
    AttemptErrorKind, PeerId,
    retry::{Congestion, RecoveryStrategy},
};

use AttemptErrorKind::{Disconnected, False, Malformed, NoPeer, Overloaded, Refused, Timeout};

use super::{peer, seconds, start};

type End = Option<(AttemptErrorKind, Option<PeerId>)>;

fn fail(kind: AttemptErrorKind, number: u8) -> End {
    Some((kind, Some(peer(number))))
}

fn congestion() -> Congestion {
    Congestion::new(seconds(60))
}

/// The decisions while attempts end like this, six at a time, each asked for after every end.
fn decisions(ends: impl IntoIterator<Item = End>) -> Vec<RecoveryStrategy> {
    let mut congestion = congestion();
    let now = start();
    ends.into_iter()
        .filter_map(|end| {
            congestion.ended(end);
            congestion.decide(6, now)
        })
        .collect()
}

#[test]
fn failures_at_several_peers_mean_one_at_a_time_and_then_sequential() {
    let timeouts = (0..20).map(|n| fail(Timeout, n % 3));
    let strategies = [
        RecoveryStrategy::ReduceConcurrency { target: 1 },
        RecoveryStrategy::FallbackToSequential { duration: seconds(60) },
    ];
    assert_eq!(decisions(timeouts), strategies, "each conclusion is drawn from ten attempts of its own");
}

#[test]
fn a_moderate_rate_means_half_as_many() {
    let four_of_ten = (0..10).map(|n| if n % 5 < 2 { fail(Timeout, n % 5) } else { None });
    assert_eq!(decisions(four_of_ten), [RecoveryStrategy::ReduceConcurrency { target: 3 }]);
}

#[test]
fn few_attempts_prove_nothing() {
    assert_eq!(decisions((0..9).map(|n| fail(Timeout, n))), []);
}

#[test]
fn refusals_and_false_replies_are_no_congestion() {
    for kind in [Refused, False, Malformed, NoPeer] {
        assert_eq!(decisions((0..100).map(|n| fail(kind, n))), [], "{kind:?}");
    }
}

#[test]
fn one_bad_peer_slows_nothing_down() {
    assert_eq!(decisions((0..100).map(|_| fail(Timeout, 1))), []);
    // Nor do failures that name no peer: they may all be of one.
    assert_eq!(decisions((0..100).map(|_| Some((Timeout, None)))), []);
}

#[test]
fn a_connection_that_ends_is_one_failure_however_many_requests_end_with_it() {
    let ends = |number| std::iter::repeat_n(fail(Disconnected, number), 8);
    assert_eq!(decisions(std::iter::repeat_n(None, 8).chain(ends(1)).chain(ends(2))), []);
    // Timeouts are each their own.
    let timeouts = |number| std::iter::repeat_n(fail(Timeout, number), 8);
    assert_ne!(decisions(std::iter::repeat_n(None, 8).chain(timeouts(1)).chain(timeouts(2))), []);
}

#[test]
fn the_latest_twenty_attempts_count() {
    let mut congestion = congestion();
    for n in 0..20 {
        congestion.ended(fail(Overloaded, n));
    }
    assert_eq!(congestion.counts(), (20, 20));
    for _ in 0..15 {
        congestion.ended(None);
    }
    assert_eq!(congestion.counts(), (5, 20));
    assert_eq!(congestion.decide(6, start()), None, "0.25");
}

#[test]
fn the_rate_is_failures_by_attempts() {
    let reduce = |target| Some(RecoveryStrategy::ReduceConcurrency { target });
    let decide = |failures: usize, attempts, concurrent| {
        let failures: Vec<_> = (0..failures).map(|n| (Timeout, Some(peer(n as u8 % 3)))).collect();
        congestion().decide_for(&failures, attempts, concurrent, start())
    };
    assert_eq!(decide(6, 20, 8), None, "0.3 is not above 0.3");
    assert_eq!(decide(6, 19, 8), reduce(4), "0.32");
    assert_eq!(decide(6, 12, 8), reduce(4), "0.5 is not above 0.5");
    assert_eq!(decide(6, 11, 8), reduce(1), "0.55");
    assert_eq!(decide(6, 12, 1), reduce(1), "never none");
    assert_eq!(decide(0, 0, 8), None);
    assert_eq!(decide(1, 1, 8), None, "one peer");
}

#[test]
fn one_at_a_time_again_within_a_minute_is_sequential() {
    let mut congestion = congestion();
    let failures = [(Timeout, Some(peer(1))), (Timeout, Some(peer(2)))];
    let now = start();
    let mut after = |after| congestion.decide_for(&failures, 3, 6, now + seconds(after)).unwrap();
    let sequential = RecoveryStrategy::FallbackToSequential { duration: seconds(60) };
    assert_eq!(after(0), RecoveryStrategy::ReduceConcurrency { target: 1 });
    assert_eq!(after(30), sequential);
    assert_eq!(after(90), sequential);
    assert_eq!(after(151), RecoveryStrategy::ReduceConcurrency { target: 1 }, "the failures had stopped");
}

#[test]
fn failures_mount_while_some_attempts_are_answered() {
    let mounts = |ends: &[End]| {
        let mut congestion = congestion();
        ends.iter().for_each(|end| congestion.ended(*end));
        congestion.failures_mount()
    };
    let (first, second) = (fail(Timeout, 1), fail(Timeout, 2));
    let answers = |count: usize| vec![None; count];
    assert!(mounts(&[answers(6), vec![first, second, first, second]].concat()));
    assert!(!mounts(&[answers(7), vec![first, second, first]].concat()), "0.3 is not above 0.3");
    assert!(!mounts(&[answers(6), vec![first; 4]].concat()), "one peer");
    assert!(!mounts(&[answers(5), vec![first, second, first, second]].concat()), "nine attempts");
    assert!(!mounts(&[first, second].repeat(10)), "nothing is answered: no failure is excused");
}
