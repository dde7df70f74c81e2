//! What becomes of a request behind the layer, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, GivenUp, Hash256, MnListDiffRequestSpec, PeerId, Reply,
    Request, Timing, WhyGivenUp,
    message::{Coinbase, CoinbasePayload, MnListDiff},
};
use qrinfo_recovery::{RecoveryEvent, RecoveryHandle, RecoveryLayer, RecoverySettings, RecoveryStrategy};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, NoPeer, Overloaded, Refused, Timeout};

/// How a peer answers; `None` is a reply.
type Behaviour = Option<AttemptErrorKind>;

type Answer = Pin<Box<dyn Future<Output = Result<(Reply, Timing), AttemptError>> + Send>>;

/// A network of peers, each with answers to give in turn; the last is given for ever. Whoever asks gets the first peer
/// that is not to be avoided.
#[derive(Clone, Default)]
struct Network {
    peers: Arc<Mutex<BTreeMap<PeerId, Vec<Behaviour>>>>,
    asked: Arc<Mutex<Vec<(PeerId, Duration)>>>,
    events: Arc<Mutex<Vec<RecoveryEvent>>>,
    handle: RecoveryHandle,
}

fn peer(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number], 9999).into())
}

fn attempt(id: u64) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([1; 32]) };
    Attempt::new(id, Request::from(spec))
}

fn settings() -> RecoverySettings {
    RecoverySettings { budget_per_second: 1_000.0, ..RecoverySettings::default() }
}

impl Network {
    fn of(peers: &[&[Behaviour]]) -> Self {
        let network = Self::default();
        for (number, answers) in (1..).zip(peers) {
            network.join(number, answers);
        }
        network
    }

    fn join(&self, number: u8, answers: &[Behaviour]) {
        self.peers.lock().unwrap().insert(peer(number), answers.iter().rev().copied().collect());
        self.handle.peer_joined(peer(number), 1_000);
    }

    /// A peer takes a tenth of a second to answer, ten to time out.
    async fn ask(self, attempt: Attempt, start: Instant) -> Result<(Reply, Timing), AttemptError> {
        let (peer, answer) = {
            let mut peers = self.peers.lock().unwrap();
            let found = peers.iter_mut().find(|(peer, _)| !attempt.avoid.contains(peer));
            let Some((peer, answers)) = found else { return Err(AttemptError::new(NoPeer)) };
            let answer = *answers.last().unwrap();
            if answers.len() > 1 {
                answers.pop();
            }
            (*peer, answer)
        };
        let sent = Instant::now();
        self.asked.lock().unwrap().push((peer, sent - start));
        sleep(if answer == Some(Timeout) { Duration::from_secs(10) } else { Duration::from_millis(100) }).await;
        let done = Instant::now().into_std();
        let timing = Timing { peer, sent: sent.into_std(), head: None, first_byte: None, done, bytes: 0 };
        match answer {
            None => Ok((reply(), timing)),
            Some(kind) => {
                if kind == Disconnected {
                    self.peers.lock().unwrap().remove(&peer);
                    self.handle.peer_left(peer);
                }
                Err(AttemptError::new(kind).at(peer).timed(timing))
            }
        }
    }

    fn service(
        &self,
        settings: RecoverySettings,
        told: bool,
    ) -> impl Service<Attempt, Response = (Reply, Timing), Error = AttemptError, Future = Answer> + Clone + use<> {
        let (network, events, start) = (self.clone(), self.events.clone(), Instant::now());
        let layer = RecoveryLayer::new(settings)
            .on_event(move |event: &RecoveryEvent| events.lock().unwrap().push(event.clone()));
        let layer = if told { layer.with_peers(self.handle.clone()) } else { layer };
        layer.layer(service_fn(move |attempt| network.clone().ask(attempt, start)))
    }

    /// Asks once, and says who was asked.
    async fn run(&self, settings: RecoverySettings) -> (Result<PeerId, AttemptError>, Vec<u8>, Duration) {
        let start = Instant::now();
        let answer = self.service(settings, true).oneshot(attempt(1)).await;
        (answer.map(|(_, timing)| timing.peer), self.asked(), start.elapsed())
    }

    fn asked(&self) -> Vec<u8> {
        let number = |peer: &PeerId| match peer.address().map(|address| address.ip()) {
            Some(std::net::IpAddr::V4(ip)) => ip.octets()[3],
            _ => 0,
        };
        self.asked.lock().unwrap().iter().map(|(peer, _)| number(peer)).collect()
    }

    fn events(&self) -> Vec<RecoveryEvent> {
        self.events.lock().unwrap().clone()
    }
}

/// The least reply there is.
fn reply() -> Reply {
    let payload = CoinbasePayload {
        version: 1,
        height: 1,
        merkle_root_mn_list: Hash256::from_bytes([1; 32]),
        merkle_root_quorums: None,
        credit_pool: None,
    };
    Reply::MnListDiff(Box::new(MnListDiff {
        version: 1,
        base_block_hash: BlockHash::ZERO,
        block_hash: BlockHash::from_bytes([1; 32]),
        total_transactions: 1,
        merkle_hashes: Default::default(),
        merkle_flags: Default::default(),
        coinbase: Coinbase::new(payload),
        deleted_masternodes: Default::default(),
        new_masternodes: Default::default(),
        deleted_quorums: Default::default(),
        new_quorums: Default::default(),
        quorums_cl_sigs: Default::default(),
    }))
}

fn why(error: &AttemptError) -> WhyGivenUp {
    error.source().unwrap().downcast_ref::<GivenUp>().unwrap().why
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_not_failed_is_asked_at_once() {
    let network = Network::of(&[&[Some(Refused)], &[Some(False)], &[None]]);
    let (answer, asked, took) = network.run(settings()).await;
    assert_eq!((answer.unwrap(), asked, took), (peer(3), vec![1, 2, 3], Duration::from_millis(300)));
    let switched = |event: &RecoveryEvent| {
        matches!(event, RecoveryEvent::Decided { request: 1, strategy: RecoveryStrategy::SwitchPeer, .. })
    };
    assert_eq!(network.events().iter().filter(|event| switched(event)).count(), 2);
    assert!(network.events().contains(&RecoveryEvent::Banned { peer: peer(2), error: False }));
    assert_eq!(network.handle.banned(), [peer(2)]);
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
    assert!(network.events().contains(&RecoveryEvent::GaveUp { request: 1, why: WhyGivenUp::Unanswerable }));
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

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_longer_than_the_network_timeout() {
    let network = Network::of(&[&[Some(Refused)]]);
    let (answer, _, took) = network.run(settings()).await;
    assert_eq!((why(&answer.unwrap_err()), took), (WhyGivenUp::NobodyElse, Duration::from_millis(300_100)));

    let network = Network::of(&[&[Some(Disconnected)]]);
    let (answer, _, took) = network.run(settings()).await;
    assert_eq!((why(&answer.unwrap_err()), took), (WhyGivenUp::NoPeers, Duration::from_millis(300_100)));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_when_nobody_will_come() {
    let network = Network::of(&[&[Some(Refused)]]);
    network.handle.no_more_peers();
    let (answer, _, took) = network.run(settings()).await;
    let error = answer.unwrap_err();
    assert_eq!((why(&error), took), (WhyGivenUp::NobodyElse, Duration::from_millis(100)));
    assert!(error.source().unwrap().to_string().contains("refused"), "the reason is kept");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_below_does_not_outlast_its_peers() {
    let network = Network::default();
    let layer = RecoveryLayer::new(settings()).with_peers(network.handle.clone());
    let service = layer.layer(service_fn(|_: Attempt| std::future::pending::<Result<(Reply, Timing), AttemptError>>()));
    let start = Instant::now();
    network.handle.peer_joined(peer(1), 1);
    let (handle, leave) = (network.handle.clone(), Duration::from_secs(1_000));
    let answer = async {
        tokio::join!(service.oneshot(attempt(1)), async {
            sleep(leave).await;
            handle.peer_left(peer(1));
        })
        .0
    };
    assert_eq!(why(&answer.await.unwrap_err()), WhyGivenUp::NoPeers);
    assert_eq!(start.elapsed(), leave + Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_refusals_are_not() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Refused)], &[Some(Timeout)], &[Some(Timeout)]]);
    let (answer, asked, _) = network.run(RecoverySettings { max_attempts: 3, ..settings() }).await;
    assert_eq!(why(&answer.unwrap_err()), WhyGivenUp::Exhausted);
    assert_eq!(asked, [1, 2, 3, 4, 3]);
}

/// One request fails nine times, at two peers in turn. That is its own fault, unless the others fail as well; but if
/// nobody is answered any more, nothing is excused.
#[tokio::test(start_paused = true)]
async fn a_request_is_not_given_up_for_what_happens_to_all() {
    for (others_fail, fails, given_up) in [(true, 9, false), (false, 9, true), (true, 90, true)] {
        let asked = Arc::new(Mutex::new(BTreeMap::<u64, u8>::new()));
        let times = asked.clone();
        let service = RecoveryLayer::new(settings()).layer(service_fn(move |attempt: Attempt| {
            let mut asked = asked.lock().unwrap();
            let count = asked.entry(attempt.id).or_default();
            *count += 1;
            let at = peer(1 + *count % 2);
            let fails = *count <= if attempt.id == 0 { fails } else { u8::from(others_fail) * 2 };
            async move {
                let now = Instant::now().into_std();
                let timing = Timing { peer: at, sent: now, head: None, first_byte: None, done: now, bytes: 0 };
                if fails { Err(AttemptError::new(Timeout).at(at)) } else { Ok((reply(), timing)) }
            }
        }));
        for id in 1..=20 {
            service.clone().oneshot(attempt(id)).await.unwrap();
        }
        let answer = service.oneshot(attempt(0)).await;
        assert_eq!(answer.is_err(), given_up, "{others_fail} {fails}");
        // Nineteen until the last answer is out of sight, and then the five of its own.
        let expected = match (given_up, others_fail) {
            (false, _) => fails + 1,
            (true, false) => 5,
            (true, true) => 19 + 5,
        };
        assert_eq!(times.lock().unwrap()[&0], expected);
    }
}

/// That others are refused is no answer, and excuses nothing.
#[tokio::test(start_paused = true)]
async fn refusals_do_not_excuse_timeouts() {
    let asked = Arc::new(Mutex::new(0_u8));
    let times = asked.clone();
    let service = RecoveryLayer::new(settings()).layer(service_fn(move |attempt: Attempt| {
        let mut asked = asked.lock().unwrap();
        *asked += u8::from(attempt.id == 0);
        let (kind, at) = if attempt.id == 0 { (Timeout, peer(1 + *asked % 2)) } else { (Refused, peer(3)) };
        async move { Err::<(Reply, Timing), _>(AttemptError::new(kind).at(at)) }
    }));
    let refused = service.clone();
    let others = tokio::spawn(async move {
        for id in 1.. {
            let _ = tokio::time::timeout(Duration::from_millis(100), refused.clone().oneshot(attempt(id))).await;
        }
    });
    sleep(Duration::from_secs(10)).await;
    let error = service.oneshot(attempt(0)).await.unwrap_err();
    assert_eq!((why(&error), *times.lock().unwrap()), (WhyGivenUp::Exhausted, 5));
    others.abort();
}

/// Who is banned counts as gone: nobody waits for him.
#[tokio::test(start_paused = true)]
async fn a_banned_peer_is_not_waited_for() {
    let handle = RecoveryHandle::default();
    handle.peer_joined(peer(1), 1_000);
    let mut lie = true;
    let service = RecoveryLayer::new(settings()).with_peers(handle.clone()).layer(service_fn(move |_: Attempt| {
        let lies = std::mem::take(&mut lie);
        async move {
            if lies {
                return Err(AttemptError::new(False).at(peer(1)));
            }
            // As a scheduler does that has nobody to ask.
            std::future::pending::<Result<(Reply, Timing), AttemptError>>().await
        }
    }));
    let mut first = service.clone();
    let first = tokio::spawn(first.ready().await.unwrap().call(attempt(1)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((handle.connected(), handle.banned()), (0, vec![peer(1)]));
    let error = service.oneshot(attempt(2)).await.unwrap_err();
    assert_eq!(why(&error), WhyGivenUp::NoPeers);
    first.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_over_all_attempts() {
    let network = Network::of(&[&[Some(Timeout)]]);
    let settings = RecoverySettings { max_attempts: 100, deadline: Duration::from_secs(25), ..settings() };
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

#[tokio::test(start_paused = true)]
async fn what_is_our_own_failure_is_not_repeated() {
    for kind in [Local, Cancelled] {
        let network = Network::of(&[&[Some(kind)], &[None]]);
        let (answer, asked, _) = network.run(settings()).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), why(&error), asked), (kind, WhyGivenUp::NotThePeers, vec![1]));
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
async fn without_a_handle_it_goes_by_what_the_service_says() {
    let network = Network::of(&[&[Some(Refused)], &[Some(Timeout), None]]);
    let answer = network.service(settings(), false).oneshot(attempt(1)).await;
    assert_eq!(answer.unwrap().1.peer, peer(2));
    assert_eq!(network.asked(), [1, 2, 2]);

    let nobody = Network::default();
    let error = nobody.service(settings(), false).oneshot(attempt(1)).await.unwrap_err();
    assert_eq!((error.kind(), why(&error)), (NoPeer, WhyGivenUp::NoPeers));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_becomes_a_trickle_of_retries() {
    let network = Network::of(&[&[Some(Disconnected)], &[None]]);
    // Everyone is asked at once, and the first peer fails them all.
    network.peers.lock().unwrap().get_mut(&peer(1)).unwrap().resize(100, Some(Refused));
    let settings = RecoverySettings { budget: 0.2, budget_per_second: 2.0, ..RecoverySettings::default() };
    let service = network.service(settings, true);
    let start = Instant::now();
    let requests = (0..100).map(|id| tokio::spawn(service.clone().oneshot(attempt(id))));
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().unwrap().1.peer, peer(2), "put off, but not lost");
    }
    // Twenty retries are earned by requests; the other eighty come two a second.
    let took = start.elapsed().as_secs_f64();
    assert!((39.0..=41.0).contains(&took), "{took} s");
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
    /// Whatever the peers do, every request ends, within a bound, with a reply or with all its failures; nobody is asked
    /// again who refused or lied.
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
