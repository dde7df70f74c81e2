//! When failures mount, by what the watch around each peer sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Mutex};

use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, Reply, Request, Timing,
};
use qrinfo_recovery::{FailureWatchLayer, RecoveryEvent, RecoverySettings, RecoveryStrategy};
use tower::{Layer, ServiceExt, service_fn};

use AttemptErrorKind::{Disconnected, Refused, Timeout};

/// What is said while attempts fail like this, at peers of these numbers.
async fn said(failures: impl IntoIterator<Item = (AttemptErrorKind, u8)>) -> Vec<RecoveryStrategy> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let listener = said.clone();
    let settings = RecoverySettings { max_concurrent: 6, ..RecoverySettings::default() };
    let watch = FailureWatchLayer::new(&settings, move |event| match event {
        RecoveryEvent::SlowDown { strategy, .. } => listener.lock().unwrap().push(strategy.clone()),
        _ => panic!("{event:?}"),
    });
    for (kind, number) in failures {
        let peer = PeerId(([203, 0, 113, number], 9999).into());
        // As many services as peers share the watch.
        let service = watch.layer(service_fn(move |_: Attempt| async move {
            Err::<(Reply, Timing), _>(AttemptError::new(kind).at(peer))
        }));
        service.oneshot(attempt()).await.unwrap_err();
    }
    let said = said.lock().unwrap();
    said.clone()
}

fn attempt() -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([1; 32]) };
    Attempt::new(1, Request::from(spec))
}

#[tokio::test(start_paused = true)]
async fn timeouts_at_several_peers_mean_one_at_a_time_and_then_sequential() {
    let timeouts = (0..20).map(|n| (Timeout, n % 3));
    let settings = RecoverySettings::default();
    let strategies = [
        RecoveryStrategy::ReduceConcurrency { target: 1 },
        RecoveryStrategy::FallbackToSequential { duration: settings.sequential_for },
    ];
    assert_eq!(said(timeouts).await, strategies, "each conclusion is drawn from ten attempts of its own");
}

#[tokio::test(start_paused = true)]
async fn a_moderate_rate_means_half_as_many() {
    // Refusals are attempts without congestion.
    let four_of_ten = (0..10).map(|n| if n % 5 < 2 { (Timeout, n % 5) } else { (Refused, 9) });
    assert_eq!(said(four_of_ten).await, [RecoveryStrategy::ReduceConcurrency { target: 3 }]);
}

#[tokio::test(start_paused = true)]
async fn few_attempts_prove_nothing() {
    assert_eq!(said((0..9).map(|n| (Timeout, n))).await, []);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_no_congestion() {
    assert_eq!(said((0..100).map(|n| (Refused, n))).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_is_one_failure_whatever_was_asked_over_it() {
    let ends = |number| std::iter::repeat_n((Disconnected, number), 8);
    let refusals = std::iter::repeat_n((Refused, 9), 8);
    assert_eq!(said(refusals.chain(ends(1)).chain(ends(2))).await, []);
}
