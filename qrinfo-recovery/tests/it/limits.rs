//! The bounds of the number of attempts, around services of every kind.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, KnownPeer, PeerId, PeerTable, WhyGivenUp};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings, RetryPolicy};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

use AttemptErrorKind::{Disconnected, False, Malformed, NoPeer, Overloaded, Refused, Timeout};

use crate::support::{self, Behaviour, Network, attempt, peer, why};

/// Kinds of failure that another peer may not have.
const KINDS: [AttemptErrorKind; 7] = [Timeout, Disconnected, Refused, Malformed, False, Overloaded, NoPeer];

fn settings(max_attempts: u32) -> RecoverySettings {
    RecoverySettings { retry: RetryPolicy { max_attempts, ..RetryPolicy::default() }, ..RecoverySettings::default() }
}

/// The number of calls of a service that always fails like this and does not keep to [`Attempt::avoid`], and the end.
async fn calls(
    max_attempts: u32,
    kind: AttemptErrorKind,
    at: Option<PeerId>,
    peers: Option<PeerTable>,
) -> (u32, WhyGivenUp) {
    let count = Arc::new(Mutex::new(0));
    let counter = count.clone();
    let mut layer = RecoveryLayer::new(settings(max_attempts));
    let ledger = peers.map(watch::channel);
    if let Some((_, peers)) = &ledger {
        layer = layer.with_peers(peers.clone());
    }
    let service = layer.layer(service_fn(move |_: Attempt| {
        *counter.lock().unwrap() += 1;
        assert!(*counter.lock().unwrap() < 1_000, "it is called without an end");
        let error = AttemptError::new(kind);
        async move { Err(at.map_or_else(|| AttemptError::new(kind), |peer| error.at(peer))) }
    }));
    let error = service.oneshot(attempt(1)).await.unwrap_err();
    let count = *count.lock().unwrap();
    (count, why(&error))
}

/// The reason where all attempts ended like this.
fn exhausted(kind: AttemptErrorKind) -> WhyGivenUp {
    if kind == NoPeer { WhyGivenUp::NoPeers } else { WhyGivenUp::Exhausted }
}

fn three_peers() -> PeerTable {
    PeerTable::new((1..=3).map(|number| (peer(number), KnownPeer { height: 1_000, is_spent: false })))
}

/// Field failure: 601 calls in 600 s were made with one attempt, because the failures did not name their peer.
#[tokio::test(start_paused = true)]
async fn attempts_are_counted_where_failures_do_not_name_their_peer() {
    for kind in KINDS {
        for at in [None, Some(PeerId::ALL)] {
            let mut mounting = three_peers();
            mounting.failures_mount = true;
            for peers in [None, Some(three_peers()), Some(mounting)] {
                for max_attempts in [1, 3] {
                    let ended = calls(max_attempts, kind, at, peers.clone()).await;
                    assert_eq!(ended, (max_attempts, exhausted(kind)), "{kind:?} {at:?} {peers:?}");
                }
            }
        }
    }
}

/// Without a ledger of peers nothing else ends the refusals and false replies of one peer.
#[tokio::test(start_paused = true)]
async fn attempts_are_counted_where_no_ledger_is_attached() {
    for kind in KINDS {
        assert_eq!(calls(3, kind, Some(peer(1)), None).await, (3, exhausted(kind)), "{kind:?}");
    }
}

/// The service names a peer that it was told to avoid. The first such failure is free, its repetitions are not.
#[tokio::test(start_paused = true)]
async fn attempts_are_counted_where_the_service_does_not_avoid_peers() {
    for kind in [Refused, False, Malformed] {
        let ended = calls(2, kind, Some(peer(1)), Some(three_peers())).await;
        assert_eq!(ended, (3, WhyGivenUp::Exhausted), "{kind:?}");
    }
}

/// A category has a limit of its own, below that of the request.
#[tokio::test(start_paused = true)]
async fn one_request_has_no_more_failures_of_a_category_than_its_limit() {
    for (kind, limit) in [(Timeout, 5), (Disconnected, 10), (False, 3), (Overloaded, 3)] {
        assert_eq!(calls(100, kind, None, None).await, (limit + 1, WhyGivenUp::Exhausted), "{kind:?}");
    }
}

/// Each request makes one call for each peer, and none waits: 278 s and 400 refusals before.
#[tokio::test(start_paused = true)]
async fn requests_that_every_peer_refuses_end_without_a_wait() {
    let refuses: &[Behaviour] = &[Some(Refused)];
    let network = Network::of(&[refuses; 8]);
    let service = network.service(RecoverySettings::default(), true);
    let start = Instant::now();
    let requests: Vec<_> = (0..50).map(|id| tokio::spawn(service.clone().oneshot(attempt(id)))).collect();
    for request in requests {
        assert_eq!(why(&request.await.unwrap().unwrap_err()), WhyGivenUp::Unanswerable);
    }
    assert_eq!((start.elapsed(), network.asked().len()), (Duration::from_millis(800), 50 * 8));
}

/// 30 s instead of 2 s before.
#[tokio::test(start_paused = true)]
async fn refusals_beside_a_good_peer_cost_their_round_trips_alone() {
    let mostly_refuses = |number: usize| -> Vec<Behaviour> {
        (0..1_000).map(|call| if (call + number).is_multiple_of(5) { None } else { Some(Refused) }).collect()
    };
    let peers: Vec<_> = (0..7).map(mostly_refuses).chain([vec![None]]).collect();
    let network = Network::of(&peers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let service = network.service(RecoverySettings::default(), true);
    let start = Instant::now();
    let requests: Vec<_> = (0..100).map(|id| tokio::spawn(service.clone().oneshot(attempt(id)))).collect();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    // A request asks each peer once at most, for a tenth of a second.
    assert!(start.elapsed() <= Duration::from_millis(800), "{:?}", start.elapsed());
}

/// Like refusals.
#[tokio::test(start_paused = true)]
async fn false_replies_cost_no_retry_budget() {
    let settings = RecoverySettings { budget: 0.0, budget_per_second: 0.0, ..RecoverySettings::default() };
    let network = Network::of(&[&[Some(False)], &[Some(Malformed)], &[Some(Refused)], &[None]]);
    let (answer, asked, took) = network.run(settings).await;
    assert_eq!((answer.unwrap(), asked, took), (peer(4), vec![1, 2, 3, 4], Duration::from_millis(400)));
}

/// A service that finds no peer where the ledger has one: without a wait the layer would call it again and again at
/// one instant.
#[tokio::test(start_paused = true)]
async fn a_service_that_contradicts_the_ledger_is_not_called_in_a_loop() {
    let called = timeout(Duration::from_secs(700), calls(4, NoPeer, None, Some(three_peers()))).await;
    assert_eq!(called.unwrap(), (4, WhyGivenUp::NoPeers));
}

/// A peer that lied is not asked again, whether or not a ledger bans it.
#[tokio::test(start_paused = true)]
async fn a_peer_that_lied_is_avoided_though_the_ledger_keeps_it() {
    let (_ledger, peers) = watch::channel(three_peers());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = asked.clone();
    let layer = RecoveryLayer::new(settings(4)).with_peers(peers);
    let service = layer.layer(service_fn(move |attempt: Attempt| {
        let at = (1..=3).map(peer).find(|peer| !attempt.avoid.contains(peer)).unwrap();
        record.lock().unwrap().push(at);
        let kind = if at == peer(1) { False } else { Timeout };
        async move { Err::<qrinfo_core::Answer, _>(AttemptError::new(kind).at(at)) }
    }));
    service.oneshot(attempt(1)).await.unwrap_err();
    assert_eq!(*asked.lock().unwrap(), [1, 2, 3, 2, 3].map(support::peer));
}
