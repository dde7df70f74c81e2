//! Decisions about one request, failure by failure.

use std::{error::Error, time::Duration};

use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, KnownPeer, MnListDiffRequestSpec, Network, PeerId, PeerTable,
    QRInfoRequestSpec, WhyGivenUp,
    retry::{RecoveryStrategy, RetryPolicy, RetryState},
};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, Malformed, NoPeer, Overloaded, Refused, Timeout};
use RecoveryStrategy::SwitchPeer;

use super::{failure, peer, seconds, start, table};

fn attempt() -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
    Attempt::new(1, spec.into())
}

fn state() -> RetryState {
    RetryState::new(&attempt(), RetryPolicy::default())
}

/// The decisions about failures at one instant.
fn decisions(
    state: &mut RetryState,
    peers: Option<&PeerTable>,
    failures: impl IntoIterator<Item = AttemptError>,
) -> Vec<RecoveryStrategy> {
    let now = start();
    failures.into_iter().map(|failure| state.failed(failure, peers, now)).collect()
}

fn abort(why: WhyGivenUp) -> RecoveryStrategy {
    RecoveryStrategy::Abort { why }
}

fn retry(delay: u64) -> RecoveryStrategy {
    RecoveryStrategy::Retry { delay: seconds(delay) }
}

fn wait() -> RecoveryStrategy {
    RecoveryStrategy::WaitForNetwork { timeout: seconds(300) }
}

#[test]
fn peers_that_have_not_failed_are_asked_at_once_and_then_after_a_wait() {
    let mut state = state();
    let peers = table(1..=2);
    let failures = [failure(Timeout, 1), failure(Disconnected, 2), failure(Timeout, 1), failure(Timeout, 2)];
    assert_eq!(decisions(&mut state, Some(&peers), failures), [SwitchPeer, retry(1), SwitchPeer, retry(2)]);
    assert!(state.avoid().is_empty(), "both get another turn");
}

#[test]
fn a_peer_that_refused_or_lied_gets_no_other_turn() {
    for kind in [Refused, False, Malformed] {
        let mut state = state();
        let peers = table(1..=2);
        let decided = decisions(&mut state, Some(&peers), [failure(kind, 1), failure(Timeout, 2)]);
        assert_eq!((decided, state.avoid()), (vec![SwitchPeer, retry(1)], vec![peer(1)]), "{kind:?}");
    }
}

#[test]
fn what_every_peer_with_the_blocks_refuses_is_unanswerable() {
    let spec = QRInfoRequestSpec {
        network: Network::Regtest,
        cycle: Network::Regtest.cycles().start_of(888),
        base_block_hashes: Vec::new(),
        block_hash: BlockHash::ZERO,
        extra_share: false,
        work_block_hashes: [BlockHash::ZERO; 5],
    };
    let known = |height| KnownPeer { height, is_spent: false };
    let mut peers = PeerTable::new([(peer(1), known(1_000)), (peer(2), known(888)), (peer(3), known(887))]);
    let unanswerable = || abort(WhyGivenUp::Unanswerable);
    let now = start();
    for (is_closed, last_joined, then) in [
        (false, None, unanswerable()),
        (false, Some(now), RecoveryStrategy::WaitForNetwork { timeout: seconds(2) }),
        (false, now.checked_sub(seconds(2)), unanswerable()),
        (true, Some(now), unanswerable()),
    ] {
        (peers.is_closed, peers.last_joined) = (is_closed, last_joined);
        let mut state = RetryState::new(&Attempt::new(1, spec.clone().into()), RetryPolicy::default());
        let decided = [1, 2].map(|number| state.failed(failure(Refused, number), Some(&peers), now));
        assert_eq!(decided, [SwitchPeer, then], "the third has not the blocks");
        assert!(!state.has_peer(&peers));
        assert_eq!(state.why_no_peer(&peers), WhyGivenUp::Unanswerable);
    }
}

/// No single peer decides.
#[test]
fn a_lone_refusal_waits_for_another_peer_unless_none_will_join() {
    let mut peers = table([1]);
    assert_eq!(decisions(&mut state(), Some(&peers), [failure(Refused, 1)]), [wait()]);
    peers.is_closed = true;
    assert_eq!(decisions(&mut state(), Some(&peers), [failure(Refused, 1)]), [abort(WhyGivenUp::NoOtherPeer)]);
    peers = table([]);
    peers.is_closed = true;
    assert_eq!(decisions(&mut state(), Some(&peers), [failure(False, 1)]), [abort(WhyGivenUp::AllPeersGone)]);
    assert_eq!(decisions(&mut state(), Some(&peers), [AttemptError::new(NoPeer)]), [abort(WhyGivenUp::NoPeers)]);
}

/// A spent peer is connected, and is not asked.
#[test]
fn a_spent_peer_is_no_other_peer() {
    let spent = KnownPeer { height: 1_000, is_spent: true };
    let fresh = KnownPeer { is_spent: false, ..spent };
    let peers = PeerTable::new([(peer(1), fresh), (peer(2), spent)]);
    assert_eq!(decisions(&mut state(), Some(&peers), [failure(Refused, 1)]), [wait()]);
}

#[test]
fn overload_waits_though_another_peer_is_there() {
    assert_eq!(decisions(&mut state(), Some(&table(1..=2)), [failure(Overloaded, 1)]), [retry(1)]);
    assert_eq!(decisions(&mut state(), None, [failure(Overloaded, 1)]), [retry(1)]);
}

#[test]
fn without_a_ledger_the_kind_of_failure_decides() {
    let row = |kind, count| decisions(&mut state(), None, (0..count).map(|_| AttemptError::new(kind)));
    assert_eq!(row(Timeout, 4), [retry(1), retry(2), retry(4), retry(8)]);
    assert_eq!(row(Disconnected, 4), [retry(1), retry(1), SwitchPeer, SwitchPeer]);
    assert_eq!(row(Refused, 2), [SwitchPeer, SwitchPeer]);
    assert_eq!(row(False, 2), [SwitchPeer, SwitchPeer]);
    assert_eq!(row(NoPeer, 2), [retry(1), retry(2)]);
}

/// The service keeps to the peers to avoid; that it finds none means that all had their turn.
#[test]
fn without_a_ledger_peers_that_failed_get_another_turn_when_there_is_no_other() {
    let mut state = state();
    let failures = [failure(Timeout, 1), failure(Refused, 2), failure(False, 3), AttemptError::new(NoPeer)];
    decisions(&mut state, None, failures);
    assert_eq!(state.avoid(), [peer(2), peer(3)]);
}

#[test]
fn our_own_failures_end_the_request() {
    for kind in [Cancelled, Local] {
        assert_eq!(decisions(&mut state(), Some(&table(1..=2)), [failure(kind, 1)]), [abort(WhyGivenUp::LocalFailure)]);
    }
}

/// Otherwise some of many requests would use up their attempts by chance.
#[test]
fn congestion_uses_up_no_attempts_while_failures_mount() {
    for (failures_mount, last) in [(true, retry(30)), (false, abort(WhyGivenUp::Exhausted))] {
        let mut peers = table(1..=2);
        peers.failures_mount = failures_mount;
        let failures = (0..20).map(|n| failure(Timeout, 1 + n % 2));
        assert_eq!(decisions(&mut state(), Some(&peers), failures).last(), Some(&last));
    }
}

#[test]
fn the_deadline_counts_from_the_first_failure_unless_the_callers_own_is_sooner() {
    let now = start();
    let mut patient = state();
    assert_eq!(patient.deadline(), None);
    patient.failed(failure(Timeout, 1), None, now + seconds(100));
    assert_eq!(patient.deadline(), Some(now + seconds(700)));
    assert_eq!(patient.failed(failure(Refused, 1), None, now + seconds(700)), abort(WhyGivenUp::DeadlinePassed));

    let deadline = Some(now + seconds(50));
    let mut hasty = RetryState::new(&Attempt { deadline, ..attempt() }, RetryPolicy::default());
    assert_eq!(hasty.failed(failure(Timeout, 1), None, now + seconds(49)), retry(1));
    assert_eq!(hasty.failed(failure(Timeout, 1), None, now + seconds(50)), abort(WhyGivenUp::DeadlinePassed));
    assert_eq!(hasty.deadline(), deadline);
}

#[test]
fn a_time_beyond_the_clock_is_no_deadline() {
    let policy = RetryPolicy { deadline: Duration::MAX, ..RetryPolicy::default() };
    let mut state = RetryState::new(&attempt(), policy);
    assert_eq!(state.failed(failure(Timeout, 1), None, start()), retry(1));
    assert_eq!(state.deadline(), None);
}

#[test]
fn failures_at_several_peers_for_one_attempt_are_all_counted() {
    let mut state = state();
    let error = failure(Timeout, 3).after(vec![failure(Refused, 1), failure(Timeout, 2)]);
    let policy = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
    let mut strict = RetryState::new(&attempt(), policy);
    assert_eq!(decisions(&mut state, Some(&table(1..=4)), [error]), [SwitchPeer]);
    assert_eq!(state.avoid(), [1, 2, 3].map(peer));
    let kinds: Vec<_> = state.failures().iter().map(AttemptError::kind).collect();
    assert_eq!(kinds, [Refused, Timeout, Timeout]);
    let error = failure(Timeout, 3).after(vec![failure(Timeout, 2)]);
    assert_eq!(decisions(&mut strict, Some(&table(1..=4)), [error]), [abort(WhyGivenUp::Exhausted)]);
}

/// The caller's own choice of peers to avoid is kept to the end.
#[test]
fn peers_that_the_caller_avoids_stay_avoided() {
    let mut state = RetryState::new(&Attempt { avoid: vec![peer(9)], ..attempt() }, RetryPolicy::default());
    decisions(&mut state, Some(&table([1, 9])), [failure(Timeout, 1)]);
    assert_eq!(state.avoid(), [peer(9)]);
}

/// A network of unnamed peers is no peer that could be avoided.
#[test]
fn all_peers_together_are_not_avoided() {
    let mut state = state();
    decisions(&mut state, None, [AttemptError::new(Refused).at(PeerId::ALL)]);
    assert!(state.avoid().is_empty());
}

#[test]
fn the_failures_that_are_kept_are_bounded() {
    let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
    let mut state = RetryState::new(&attempt(), policy);
    decisions(&mut state, None, (0..1_000).map(|_| AttemptError::new(Refused)));
    assert_eq!(state.failures().len(), 256);
}

#[test]
fn a_request_that_is_given_up_tells_all_its_failures() {
    let mut state = state();
    decisions(&mut state, Some(&table(1..=3)), [failure(Refused, 1), failure(Timeout, 2), AttemptError::new(NoPeer)]);
    let error = state.give_up(WhyGivenUp::NoOtherPeer).into_error();
    assert_eq!(error.kind(), Timeout, "the last one; that there was no peer is no attempt");
    let text = error.source().unwrap().to_string();
    assert!(text.contains("203.0.113.1:9999: refused") && text.contains("203.0.113.2:9999: timed out"), "{text}");
}

#[test]
fn a_request_may_fail_as_often_as_the_category_of_its_failures_allows() {
    let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
    for (kind, limit) in [(Timeout, 5), (Disconnected, 10), (False, 3), (Overloaded, 3)] {
        let mut state = RetryState::new(&attempt(), policy);
        let decided = decisions(&mut state, None, (0..=limit).map(|_| AttemptError::new(kind)));
        let ended = decided.iter().position(|strategy| matches!(strategy, RecoveryStrategy::Abort { .. }));
        assert_eq!(ended, Some(limit), "{kind}");
    }
}

#[test]
fn a_request_is_silent_until_a_peer_says_something() {
    let mut state = state();
    assert!(state.is_silent());
    decisions(&mut state, None, [failure(Timeout, 1), failure(Disconnected, 2)]);
    assert!(state.is_silent());
    decisions(&mut state, None, [failure(Refused, 3)]);
    assert!(!state.is_silent());
}

#[test]
fn the_first_refusal_or_false_reply_of_each_peer_is_no_attempt_and_the_second_is() {
    let policy = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    for kind in [Refused, False, Malformed] {
        let mut state = RetryState::new(&attempt(), policy);
        let failures = [1, 2, 3, 1].map(|number| failure(kind, number));
        let decided = decisions(&mut state, Some(&table(1..=4)), failures);
        assert_eq!(decided, [SwitchPeer, SwitchPeer, SwitchPeer, abort(WhyGivenUp::Exhausted)], "{kind}");
    }
}

#[test]
fn that_there_was_no_peer_counts_only_where_there_is_one() {
    let policy = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let no_peer = || [AttemptError::new(NoPeer), AttemptError::new(NoPeer)];
    let mut state = RetryState::new(&attempt(), policy);
    assert_eq!(decisions(&mut state, Some(&table([])), no_peer()), [wait(), wait()]);
    assert_eq!(decisions(&mut state, Some(&table([1])), no_peer())[0], abort(WhyGivenUp::NoPeers));
}

#[test]
fn peers_without_room_are_asked_again_when_there_is_no_other() {
    let (mut state, peers) = (state(), table(1..=2));
    assert!(state.has_peer(&peers));
    decisions(&mut state, Some(&peers), [failure(Overloaded, 1)]);
    assert_eq!((state.avoid(), state.has_peer(&peers)), (vec![peer(1)], true));
    decisions(&mut state, Some(&peers), [failure(Overloaded, 2)]);
    assert_eq!((state.avoid(), state.has_peer(&peers)), (vec![], true));
    assert!(!state.has_peer(&table([])));
}
