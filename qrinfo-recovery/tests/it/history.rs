//! The record of decisions: what is recorded is what is done.

use std::time::Duration;

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, RequestId, SyncPhase, WhyGivenUp};
use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings, RecoveryStrategy, RetryPolicy};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use AttemptErrorKind::{Disconnected, False, Refused, Timeout};

use crate::support::{Network, answer, attempt, peer, settings, why};

#[tokio::test(start_paused = true)]
async fn the_decision_that_is_recorded_is_the_decision_that_is_carried_out() {
    // It is refused, fails at all others, waits, is answered falsely, and fails until its attempts are used up.
    let network = Network::of(&[&[Some(Refused)], &[Some(Timeout), Some(False)], &[Some(Timeout)]]);
    let layer = RecoveryLayer::new(RecoverySettings {
        retry: RetryPolicy { max_attempts: 3, ..RetryPolicy::default() },
        ..settings()
    });
    let layer = layer.with_peers(network.table());
    let asked = network.clone();
    let inner = network.service_alone();
    let error = layer.layer(inner).oneshot(attempt(7)).await.unwrap_err();
    let history: Vec<_> = layer.history().iter().cloned().collect();
    let decided: Vec<_> = history.iter().map(|record| (record.peer, record.error, record.strategy.clone())).collect();
    let wait = RecoveryStrategy::Retry { delay: Duration::from_secs(1) };
    let expected = [
        (Some(peer(1)), Refused, RecoveryStrategy::SwitchPeer),
        (Some(peer(2)), Timeout, RecoveryStrategy::SwitchPeer),
        (Some(peer(3)), Timeout, wait),
        (Some(peer(2)), False, RecoveryStrategy::SwitchPeer),
        (Some(peer(3)), Timeout, RecoveryStrategy::Abort { why: WhyGivenUp::Exhausted }),
    ];
    assert_eq!(decided, expected);
    assert_eq!(why(&error), WhyGivenUp::Exhausted);
    assert_eq!(asked.asked(), [1, 2, 3, 2, 3]);
    assert!(history.iter().all(|record| record.request == Some(RequestId(7))));
    assert!(history.iter().all(|record| record.phase == SyncPhase::MasternodeLists));
    // The decision is of the instant of the failure, and the wait comes after it.
    let pause = history[3].at - history[2].at - Duration::from_millis(100);
    assert!(pause > Duration::ZERO && pause <= Duration::from_secs(1), "{pause:?}");
    assert_eq!(history[1].at - history[0].at, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn events_and_history_say_the_same() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Disconnected)]]);
    let answer = network.run(settings()).await.0;
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::NoOtherPeer);
    let strategies: Vec<_> = network
        .events()
        .into_iter()
        .map(|event| match event {
            RecoveryEvent::Decided { strategy, .. } => strategy,
            RecoveryEvent::GaveUp { why, .. } => RecoveryStrategy::Abort { why },
            other => panic!("{other:?}"),
        })
        .collect();
    let wait = RecoveryStrategy::WaitForNetwork { timeout: Duration::from_secs(300) };
    let end = RecoveryStrategy::Abort { why: WhyGivenUp::NoOtherPeer };
    assert_eq!(strategies, [RecoveryStrategy::SwitchPeer, wait, end]);
}

/// All services of a layer write to one history, of the latest decisions only.
#[tokio::test(start_paused = true)]
async fn the_history_of_a_layer_is_bounded() {
    let layer = RecoveryLayer::new(settings());
    let inner = service_fn(|attempt: Attempt| async move {
        match attempt.avoid.is_empty() {
            true => Err(AttemptError::new(Refused).at(peer(1))),
            false => Ok(answer(peer(2))),
        }
    });
    let start = Instant::now();
    for id in 0..300 {
        layer.clone().layer(inner).oneshot(attempt(id)).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let history = layer.history();
    assert_eq!(history.iter().len(), 256);
    let last = history.iter().last().unwrap();
    assert_eq!((last.request, last.at), (Some(RequestId(299)), (start + Duration::from_secs(299)).into_std()));
}
