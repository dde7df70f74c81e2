//! Properties of the decisions about one request, around services that do as they like.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, KnownPeer, MnListDiffRequestSpec, PeerId, PeerTable,
    WhyGivenUp,
    retry::{FailureClass, RecoveryStrategy, RetryPolicy, RetryState},
};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, Malformed, NoPeer, Overloaded, Refused, Timeout};

use super::{peer, start};

/// The next failure of the service, and the ledger of peers at that time.
#[derive(Debug, Clone)]
struct Happening {
    kind: AttemptErrorKind,
    /// The place of the peer among those that may be asked.
    at: prop::sample::Index,
    /// The service names the peer.
    is_named: bool,
    /// Peers of the ledger, as bits.
    connected: u8,
    failures_mount: bool,
    passes: Duration,
}

fn kind() -> impl Strategy<Value = AttemptErrorKind> {
    prop::sample::select(vec![Timeout, Disconnected, Refused, Malformed, False, Overloaded, NoPeer])
}

fn happening() -> impl Strategy<Value = Happening> {
    (kind(), any::<prop::sample::Index>(), prop::bool::weighted(0.8), any::<u8>(), any::<bool>(), 0..30_u64).prop_map(
        |(kind, at, is_named, connected, failures_mount, seconds)| Happening {
            kind,
            at,
            is_named,
            connected,
            failures_mount,
            passes: Duration::from_secs(seconds),
        },
    )
}

fn ledger(happening: &Happening, is_closed: bool) -> PeerTable {
    let numbers = (0..8_u8).filter(|bit| happening.connected >> bit & 1 == 1);
    let mut table =
        PeerTable::new(numbers.map(|number| (peer(number), KnownPeer { height: 1, is_spent: number == 7 })));
    table.is_closed = is_closed;
    table.failures_mount = happening.failures_mount;
    table
}

fn state(max_attempts: u32) -> RetryState {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
    RetryState::new(&Attempt::new(1, spec.into()), RetryPolicy { max_attempts, ..RetryPolicy::default() })
}

/// The answer of a service that respects the peers to avoid: a failure at another peer, or that there is none.
fn error(happening: &Happening, avoid: &[PeerId]) -> AttemptError {
    let allowed: Vec<_> = (0..8).map(peer).filter(|peer| !avoid.contains(peer)).collect();
    if happening.kind == NoPeer || allowed.is_empty() {
        return AttemptError::new(NoPeer);
    }
    let error = AttemptError::new(happening.kind);
    if happening.is_named { error.at(allowed[happening.at.index(allowed.len())]) } else { error }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Without a ledger each failure is an attempt.
    #[test]
    fn without_a_ledger_a_request_ends_within_its_attempts(
        max_attempts in 0..12_u32,
        happenings in prop::collection::vec(happening(), 13),
    ) {
        let (mut state, now) = (state(max_attempts), start());
        let ended = happenings.iter().position(|happening| {
            let error = error(happening, &state.avoid());
            matches!(state.failed(error, None, now), RecoveryStrategy::Abort { .. })
        });
        prop_assert!(ended.is_some_and(|index| index < max_attempts.max(1) as usize), "{ended:?}");
    }

    /// With a ledger those that count are the ones that do not rule out their peer and come of no congestion.
    #[test]
    fn with_a_ledger_a_request_ends_within_its_attempts_peers_and_time(
        max_attempts in 1..12_u32,
        is_closed: bool,
        happenings in prop::collection::vec(happening(), 1..200),
    ) {
        let (mut state, mut now) = (state(max_attempts), start());
        let (mut counted, mut ruled_out) = (0, BTreeSet::new());
        let mut first = None;
        for happening in happenings {
            now += happening.passes;
            first.get_or_insert(now);
            let peers = ledger(&happening, is_closed);
            let error = error(&happening, &state.avoid());
            let (kind, at) = (error.kind(), error.peer());
            if let Some(at) = at.filter(|_| matches!(kind, Refused | Malformed | False)) {
                prop_assert!(ruled_out.insert(at), "{at} is asked again");
            } else if matches!(kind, Refused | Malformed | False) {
                counted += 1;
            } else if FailureClass::of(kind).congestion {
                counted += u32::from(at.is_none() || !happening.failures_mount);
            }
            let strategy = state.failed(error, Some(&peers), now);
            match &strategy {
                RecoveryStrategy::Abort { why } => {
                    let is_late = now >= first.unwrap_or(now) + RetryPolicy::default().deadline;
                    prop_assert_eq!(*why == WhyGivenUp::DeadlinePassed, is_late);
                    break;
                }
                RecoveryStrategy::WaitForNetwork { .. } => {
                    prop_assert!(!peers.is_closed, "no peer will join");
                    prop_assert!(!state.has_peer(&peers), "one is there");
                }
                RecoveryStrategy::SwitchPeer => prop_assert!(peers.has_other_than(&state.avoid())),
                RecoveryStrategy::Retry { delay } => prop_assert!(*delay > Duration::ZERO),
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert!(counted < max_attempts, "{counted} of {max_attempts}: {strategy:?}");
            prop_assert!(ruled_out.iter().all(|peer| state.avoid().contains(peer)));
        }
    }

    /// A failure on our side ends the request, whatever was before.
    #[test]
    fn our_own_failure_ends_a_request(happenings in prop::collection::vec(happening(), 0..4), is_local: bool) {
        let (mut state, now) = (state(100), start());
        for happening in &happenings {
            let error = error(happening, &state.avoid());
            state.failed(error, None, now);
        }
        let strategy = state.failed(AttemptError::new(if is_local { Local } else { Cancelled }), None, now);
        prop_assert_eq!(strategy, RecoveryStrategy::Abort { why: WhyGivenUp::LocalFailure });
    }
}
