//! The end of a request behind the layer, in paused time.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, GivenUp, RequestId, WhyGivenUp};
use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings, RecoveryStrategy, RetryPolicy};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, NoPeer, Overloaded, Refused, Timeout};

use crate::support::{self, Behaviour, Network, attempt, peer, settings, why};

/// Settings with this many attempts for each request.
fn attempts(max_attempts: u32) -> RecoverySettings {
    RecoverySettings { retry: RetryPolicy { max_attempts, ..RetryPolicy::default() }, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_not_failed_is_asked_at_once() {
    let network = Network::of(&[&[Some(Refused)], &[Some(False)], &[None]]);
    let (answer, asked, took) = network.run(settings()).await;
    assert_eq!((answer.unwrap(), asked, took), (peer(3), vec![1, 2, 3], Duration::from_millis(300)));
    let switched = |event: &RecoveryEvent| {
        matches!(event, RecoveryEvent::Decided { request: RequestId(1), strategy: RecoveryStrategy::SwitchPeer, .. })
    };
    assert_eq!(network.events().iter().filter(|event| switched(event)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lied_is_not_asked_again_for_anything() {
    let network = Network::of(&[&[Some(False)], &[None]]);
    let mut service = network.service(settings(), true);
    for id in 0..3 {
        service.ready().await.unwrap().call(attempt(id)).await.unwrap();
    }
    assert_eq!(network.asked(), [1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn peers_that_failed_get_a_second_chance_after_a_wait_and_those_that_refused_do_not() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Timeout), None], &[Some(Timeout)]]);
    let (answer, asked, took) = network.run(settings()).await;
    assert_eq!((answer.unwrap(), asked), (peer(2), vec![1, 2, 3, 2]));
    let wait = took - Duration::from_millis(20_200);
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "full jitter below a second, not {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn what_all_refuse_is_given_up_at_once() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Refused)]]);
    let (answer, asked, took) = network.run(settings()).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), why(&error)), (Refused, WhyGivenUp::Unanswerable));
    assert_eq!((asked, took), (vec![1, 2], Duration::from_millis(200)));
    let source = error.source().unwrap().to_string();
    for peer in ["203.0.113.1:9999: refused", "203.0.113.2:9999: refused"] {
        assert!(source.contains(peer), "{source}");
    }
    assert!(network.events().contains(&RecoveryEvent::GaveUp { request: RequestId(1), why: WhyGivenUp::Unanswerable }));
}

#[tokio::test(start_paused = true)]
async fn a_lone_peers_refusal_waits_for_a_second_opinion() {
    let network = Network::of(&[&[Some(Refused)]]);
    let later = network.clone();
    let join = async move {
        sleep(Duration::from_secs(60)).await;
        later.join(2, &[None]);
    };
    let ((answer, asked, took), ()) = tokio::join!(network.run(settings()), join);
    assert_eq!((answer.unwrap(), asked, took), (peer(2), vec![1, 2], Duration::from_millis(60_100)));
}

/// The first peers may refuse before the others have joined.
#[tokio::test(start_paused = true)]
async fn what_two_peers_refuse_is_asked_of_a_third_that_joins_soon_after() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Refused)]]);
    network.joined_now();
    let later = network.clone();
    let join = async move {
        sleep(Duration::from_secs(1)).await;
        later.join(3, &[None]);
    };
    let ((answer, asked, took), ()) = tokio::join!(network.run(settings()), join);
    assert_eq!((answer.unwrap(), asked, took), (peer(3), vec![1, 2, 3], Duration::from_millis(1_100)));
}

#[tokio::test(start_paused = true)]
async fn no_peer_is_waited_for_longer_than_the_network_timeout() {
    let network = Network::of(&[&[Some(Refused)]]);
    let (answer, _, took) = network.run(settings()).await;
    assert_eq!((why(&answer.unwrap_err()), took), (WhyGivenUp::NoOtherPeer, Duration::from_millis(300_100)));

    let network = Network::of(&[&[Some(Disconnected)]]);
    let (answer, _, took) = network.run(settings()).await;
    assert_eq!((why(&answer.unwrap_err()), took), (WhyGivenUp::AllPeersGone, Duration::from_millis(300_100)));
}

#[tokio::test(start_paused = true)]
async fn no_peer_is_waited_for_when_none_will_join() {
    let network = Network::of(&[&[Some(Refused)]]);
    network.close();
    let (answer, _, took) = network.run(settings()).await;
    let error = answer.unwrap_err();
    assert_eq!((why(&error), took), (WhyGivenUp::NoOtherPeer, Duration::from_millis(100)));
    assert!(error.source().unwrap().to_string().contains("refused"), "the reason is kept");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_below_does_not_outlast_its_peers() {
    let network = Network::of(&[&[None]]);
    let layer = RecoveryLayer::new(settings()).with_peers(network.table());
    let service = layer.layer(service_fn(|_: Attempt| std::future::pending::<Result<Answer, AttemptError>>()));
    let start = Instant::now();
    let leave = Duration::from_secs(1_000);
    let leaving = async {
        sleep(leave).await;
        network.leave(peer(1));
    };
    let (answer, ()) = tokio::join!(service.oneshot(attempt(1)), leaving);
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::NoPeers);
    assert_eq!(start.elapsed(), leave + Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_refusals_are_not() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Refused)], &[Some(Timeout)], &[Some(Timeout)]]);
    let (answer, asked, _) = network.run(attempts(3)).await;
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::Exhausted);
    assert_eq!(asked, [1, 2, 3, 4, 3]);
}

/// One request fails nine times, at two peers in turn. While failures mount at several peers that says little about it,
/// so it keeps its attempts.
#[tokio::test(start_paused = true)]
async fn a_request_is_not_given_up_for_what_happens_to_all() {
    for (failures_mount, expected) in [(true, Ok(10)), (false, Err(5))] {
        let network = Network::of(&[&[Some(Timeout)], &[Some(Timeout)]]);
        let mut peers = network.table().borrow().clone();
        peers.failures_mount = failures_mount;
        let (_ledger, table) = watch::channel(peers);
        let count = Arc::new(Mutex::new(0_u8));
        let counter = count.clone();
        let service = RecoveryLayer::new(settings()).with_peers(table).layer(service_fn(move |_: Attempt| {
            let mut count = counter.lock().unwrap();
            *count += 1;
            let (at, fails) = (peer(1 + *count % 2), *count < 10);
            async move { if fails { Err(AttemptError::new(Timeout).at(at)) } else { Ok(support::answer(at)) } }
        }));
        let answer = service.oneshot(attempt(0)).await;
        let count = *count.lock().unwrap();
        assert_eq!(answer.map(|_| count).map_err(|_| count), expected, "{failures_mount}");
    }
}

/// The ledger of peers bans them, so they are gone.
#[tokio::test(start_paused = true)]
async fn a_banned_peer_is_not_waited_for() {
    let network = Network::of(&[&[Some(False)]]);
    let (answer, asked, took) = network.run(settings()).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), why(&error), asked), (False, WhyGivenUp::AllPeersGone, vec![1]));
    assert_eq!(took, Duration::from_millis(300_100));
}

/// The decision about a peer that was banned while other requests wait below concerns those as well.
#[tokio::test(start_paused = true)]
async fn requests_that_wait_below_end_with_the_last_peer() {
    let network = Network::of(&[&[Some(False)]]);
    let layer = RecoveryLayer::new(settings()).with_peers(network.table());
    let service = layer.layer(service_fn(|_: Attempt| std::future::pending::<Result<Answer, AttemptError>>()));
    let waiting = tokio::spawn(service.oneshot(attempt(2)));
    network.run(settings()).await.0.unwrap_err();
    assert_eq!(why(&waiting.await.unwrap().unwrap_err()), WhyGivenUp::NoPeers);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_over_all_attempts() {
    let network = Network::of(&[&[Some(Timeout)]]);
    let settings = RecoverySettings {
        retry: RetryPolicy { max_attempts: 100, deadline: Duration::from_secs(25), ..RetryPolicy::default() },
        ..settings()
    };
    let (answer, _, took) = network.run(settings).await;
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::DeadlinePassed);
    // It counts from the first failure, ten seconds after the beginning.
    assert_eq!(took, Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_deadline_counts_from_the_beginning() {
    let network = Network::of(&[&[Some(Timeout)]]);
    let start = Instant::now();
    let deadline = Some((start + Duration::from_secs(7)).into_std());
    let answer = network.service(settings(), true).oneshot(Attempt { deadline, ..attempt(1) }).await;
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::DeadlinePassed);
    assert_eq!(start.elapsed(), Duration::from_secs(7));
}

/// The service below gives up what it may not send any more.
#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_the_deadline_that_is_known_then() {
    let told: Arc<Mutex<Vec<Option<std::time::Instant>>>> = Arc::default();
    let log = told.clone();
    let service = RecoveryLayer::new(settings()).layer(service_fn(move |attempt: Attempt| {
        let mut told = log.lock().unwrap();
        told.push(attempt.deadline);
        let result =
            if told.len() < 3 { Err(AttemptError::new(Timeout).at(peer(1))) } else { Ok(support::answer(peer(1))) };
        std::future::ready(result)
    }));
    let start = Instant::now().into_std();
    service.oneshot(attempt(1)).await.unwrap();
    let deadline = Some(start + settings().retry.deadline);
    assert_eq!(*told.lock().unwrap(), [None, deadline, deadline]);
}

#[tokio::test(start_paused = true)]
async fn what_is_our_own_failure_is_not_repeated() {
    for kind in [Local, Cancelled] {
        let network = Network::of(&[&[Some(kind)], &[None]]);
        let (answer, asked, _) = network.run(settings()).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), why(&error), asked), (kind, WhyGivenUp::LocalFailure, vec![1]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_service_is_left_alone_for_a_while() {
    let network = Network::of(&[&[Some(Overloaded)], &[None]]);
    let (answer, asked, took) = network.run(settings()).await;
    assert_eq!((answer.unwrap(), asked), (peer(2), vec![1, 2]));
    assert!(took > Duration::from_millis(200), "it waits, though another peer is there");
}

#[tokio::test(start_paused = true)]
async fn without_a_ledger_it_goes_by_what_the_service_says() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Timeout), None]]);
    let answer = network.service(settings(), false).oneshot(attempt(1)).await;
    assert_eq!(answer.unwrap().timing.peer, peer(2));
    assert_eq!(network.asked(), [1, 2, 2]);

    let empty = Network::default();
    let error = empty.service(settings(), false).oneshot(attempt(1)).await.unwrap_err();
    assert_eq!((error.kind(), why(&error)), (NoPeer, WhyGivenUp::NoPeers));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_becomes_a_trickle_of_retries() {
    // All are asked at once, and the first peer fails them all.
    let network = Network::of(&[&[Some(Timeout)], &[None]]);
    let settings = RecoverySettings { budget: 0.2, budget_per_second: 2.0, ..RecoverySettings::default() };
    let service = network.service(settings, true);
    let start = Instant::now();
    let requests = (0..100).map(|id| tokio::spawn(service.clone().oneshot(attempt(id))));
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().unwrap().timing.peer, peer(2), "put off, but not lost");
    }
    // Ten seconds to time out. Twenty retries are earned by requests; the other eighty come two a second.
    let took = start.elapsed().as_secs_f64();
    assert!((49.0..=51.0).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_leaves_nothing_behind() {
    let network = Network::of(&[&[Some(Timeout)]]);
    let service = network.service(settings(), true);
    let request = tokio::spawn(service.clone().oneshot(attempt(1)));
    sleep(Duration::from_secs(1)).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    sleep(Duration::from_secs(1_000)).await;
    assert_eq!(network.asked(), [1]);
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Timeout)),
        1 => Just(Some(Disconnected)),
        1 => Just(Some(Refused)),
        1 => Just(Some(False)),
        1 => Just(Some(Overloaded)),
        1 => Just(Some(NoPeer)),
    ]
}

proptest! {
    /// Every request ends within a bound, with a reply or with all its failures, and no peer is asked again after it
    /// refused or sent a false reply. This holds for any behaviour of the peers.
    #[test]
    fn every_request_ends(
        peers in prop::collection::vec(prop::collection::vec(behaviour(), 1..4), 0..5),
        told: bool,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let peers: Vec<_> = peers.iter().map(Vec::as_slice).collect();
            let network = Network::of(&peers);
            let service = network.service(RecoverySettings { seed, ..settings() }, told);
            let start = Instant::now();
            let requests: Vec<_> = (0..4).map(|id| tokio::spawn(service.clone().oneshot(attempt(id)))).collect();
            for request in requests {
                if let Err(error) = request.await.unwrap() {
                    let given_up = error.source().unwrap().downcast_ref::<GivenUp>().unwrap();
                    let mut unwilling: Vec<_> = given_up
                        .attempts
                        .iter()
                        .filter(|error| matches!(error.kind(), Refused | False))
                        .map(|error| error.peer().unwrap())
                        .collect();
                    let all = unwilling.len();
                    unwilling.sort();
                    unwilling.dedup();
                    assert_eq!(unwilling.len(), all, "{given_up}");
                }
            }
            // The deadline, the time to wait for a peer, and ten seconds for the first attempt.
            assert!(start.elapsed() <= Duration::from_secs(600 + 300 + 10), "{:?}", start.elapsed());
        });
    }
}
