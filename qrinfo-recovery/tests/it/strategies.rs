//! The strategies of the manager, as a table of failures.

use std::time::{Duration, Instant};

use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId, RequestId, SyncPhase, WhyGivenUp};
use qrinfo_recovery::{ParallelStats, RecoveryManager, RecoverySettings, RecoveryStrategy, RetryPolicy};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, Malformed, NoPeer, Overloaded, Refused, Timeout};

const LISTS: SyncPhase = SyncPhase::MasternodeLists;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn peer(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number], 9999).into())
}

fn manager() -> RecoveryManager {
    RecoveryManager::new(&RecoverySettings::default())
}

fn error(kind: AttemptErrorKind) -> AttemptError {
    AttemptError::new(kind)
}

fn errors(failures: &[(AttemptErrorKind, u8)]) -> Vec<AttemptError> {
    failures.iter().map(|(kind, number)| error(*kind).at(peer(*number))).collect()
}

/// The strategies of a manager for one failure after the other.
fn strategies(phase: SyncPhase, kind: AttemptErrorKind, attempts: usize) -> Vec<String> {
    let mut manager = manager();
    (0..attempts).map(|_| manager.determine_strategy(phase, RequestId(1), error(kind), now()).to_string()).collect()
}

#[test]
fn class_by_attempt_gives_the_strategy() {
    let table: [(_, &[&str]); 9] = [
        (
            Timeout,
            &[
                "retry within 1s",
                "retry within 2s",
                "retry within 4s",
                "retry within 8s",
                "retry within 16s",
                "give up: the request used up its attempts; connect to other peers",
            ],
        ),
        (
            Overloaded,
            &[
                "retry within 1s",
                "retry within 2s",
                "retry within 4s",
                "give up: the request used up its attempts; connect to other peers",
            ],
        ),
        (Disconnected, &["retry within 1s", "retry within 1s", "ask another peer", "ask another peer"]),
        (Refused, &["ask another peer"; 12]),
        (
            Malformed,
            &[
                "ask another peer",
                "ask another peer",
                "ask another peer",
                "restart the phase",
                "give up: the request used up its attempts; connect to other peers",
            ],
        ),
        (
            False,
            &[
                "ask another peer",
                "ask another peer",
                "ask another peer",
                "restart the phase",
                "give up: the request used up its attempts; connect to other peers",
            ],
        ),
        (NoPeer, &["wait up to 300s for a peer"]),
        (Cancelled, &["give up: the failure is local; another peer would not help"]),
        (Local, &["give up: the failure is local; another peer would not help"]),
    ];
    for (kind, expected) in table {
        assert_eq!(strategies(LISTS, kind, expected.len()), expected, "{kind:?}");
    }
}

#[test]
fn a_disconnect_may_come_ten_times() {
    let strategies = strategies(LISTS, Disconnected, 11);
    assert_eq!(strategies.get(9).unwrap(), "ask another peer");
    assert_eq!(strategies.get(10).unwrap(), "give up: the request used up its attempts; connect to other peers");
}

#[test]
fn backoff_doubles_up_to_its_bound() {
    let settings = RecoverySettings {
        retry: RetryPolicy { longest_backoff: Duration::from_secs(3), ..RetryPolicy::default() },
        ..RecoverySettings::default()
    };
    let mut manager = RecoveryManager::new(&settings);
    let delays: Vec<_> =
        (0..4).map(|_| manager.determine_strategy(LISTS, RequestId(1), error(Timeout), now()).to_string()).collect();
    assert_eq!(delays, ["retry within 1s", "retry within 2s", "retry within 3s", "retry within 3s"]);
}

#[test]
fn phases_that_a_wallet_can_do_without_are_skipped() {
    for phase in [SyncPhase::FilterHeaders, SyncPhase::Filters, SyncPhase::Blocks] {
        assert_eq!(strategies(phase, Timeout, 6).last().unwrap(), "skip the phase: timed out, too often");
    }
    assert_eq!(
        strategies(SyncPhase::Headers, Timeout, 6).last().unwrap(),
        "give up: the request used up its attempts; connect to other peers"
    );
}

#[test]
fn failures_are_counted_for_each_request() {
    let mut manager = manager();
    let mut fail = |request| manager.determine_strategy(LISTS, RequestId(request), error(Timeout).at(peer(1)), now());
    // dash-spv's counters were global: one batch of failures used up the attempts of every request.
    for request in 0..100 {
        assert_eq!(fail(request), RecoveryStrategy::Retry { delay: Duration::from_secs(1) }, "request {request}");
    }
    let last = (0..5).map(|_| fail(7)).last().unwrap();
    assert_eq!(last, RecoveryStrategy::Abort { why: WhyGivenUp::Exhausted });
    manager.forget(RequestId(7));
    let first = manager.determine_strategy(LISTS, RequestId(7), error(Timeout), now());
    assert_eq!(first, RecoveryStrategy::Retry { delay: Duration::from_secs(1) });
}

#[test]
fn the_failure_rate_is_failures_by_attempts() {
    let reduce = |target| Some(RecoveryStrategy::ReduceConcurrency { target });
    let verdict = |failures: &[(AttemptErrorKind, u8)], attempts| {
        let mut manager = manager();
        manager.record_parallel_attempt(attempts, attempts - failures.len());
        manager.determine_parallel_strategy(LISTS, &errors(failures), 8, now())
    };
    let two = [(Timeout, 1), (Timeout, 2)];
    let six = [(Timeout, 1), (Timeout, 2), (Disconnected, 3), (Timeout, 1), (Timeout, 2), (Disconnected, 3)];
    // dash-spv divided by the number of errors, so that any failure was a rate of one.
    assert_eq!(verdict(&two, 10), None, "0.2");
    assert_eq!(verdict(&six, 20), None, "0.3 is not above 0.3");
    assert_eq!(verdict(&six, 19), reduce(4), "0.32");
    assert_eq!(verdict(&six, 12), reduce(4), "0.5 is not above 0.5");
    assert_eq!(verdict(&six, 11), reduce(1), "0.55");
    assert_eq!(verdict(&[], 0), None);
}

#[test]
fn one_bad_peer_slows_nothing_down() {
    let mut manager = manager();
    let failures = errors(&[(Timeout, 1); 10]);
    assert_eq!(manager.determine_parallel_strategy(LISTS, &failures, 10, now()), None);
}

#[test]
fn refusals_and_lies_are_not_congestion() {
    let mut manager = manager();
    let failures = errors(&[(Refused, 1), (Refused, 2), (False, 3), (Malformed, 4), (Timeout, 5)]);
    assert_eq!(manager.determine_parallel_strategy(LISTS, &failures, 5, now()), None);
}

#[test]
fn mounting_failures_lead_to_sequential() {
    let mut manager = manager();
    let failures = errors(&[(Timeout, 1), (Timeout, 2)]);
    let start = now();
    let mut after = |seconds| {
        let now = start + Duration::from_secs(seconds);
        manager.determine_parallel_strategy(LISTS, &failures, 3, now).unwrap()
    };
    let sequential = RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) };
    assert_eq!(after(0), RecoveryStrategy::ReduceConcurrency { target: 1 });
    assert_eq!(after(30), sequential);
    assert_eq!(after(90), sequential);
    assert_eq!(after(151), RecoveryStrategy::ReduceConcurrency { target: 1 }, "the failures had stopped");
}

#[test]
fn the_failures_of_65_536_requests_are_kept_and_beyond_the_smallest_id_is_forgotten() {
    let mut manager = manager();
    let mut fail = |request| manager.determine_strategy(LISTS, RequestId(request), error(Timeout), now());
    let [first, second] = [1, 2].map(|seconds| RecoveryStrategy::Retry { delay: Duration::from_secs(seconds) });
    for request in 0..65_536 {
        assert_eq!(fail(request), first);
    }
    assert_eq!(fail(0), second);
    assert_eq!(fail(65_536), first);
    assert_eq!([fail(1), fail(0)], [second, first]);
}

#[test]
fn history_is_bounded_and_tells_the_latest() {
    let mut manager = manager();
    for request in 0..1_000 {
        manager.determine_strategy(LISTS, RequestId(request), error(Refused), now());
    }
    let history: Vec<_> = manager.history().iter().collect();
    assert_eq!(history.len(), 256);
    let last = history.last().unwrap();
    assert_eq!(
        (last.request, last.error, &last.strategy),
        (Some(RequestId(999)), Refused, &RecoveryStrategy::SwitchPeer)
    );
}

#[test]
fn batches_are_added_up() {
    let mut manager = manager();
    manager.record_parallel_attempt(10, 7);
    manager.record_parallel_attempt(3, 5);
    assert_eq!(manager.parallel_stats(), ParallelStats { attempts: 13, successes: 10 });
}
