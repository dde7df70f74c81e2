//! Bounds that hold whatever peers do, in virtual time and with the default configuration.
#![cfg(all(feature = "config", feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use qrinfo::{
    AttemptService, Delivered, MasternodeSyncManager, OrderedSync, ParallelOptions, ParallelSync, Peer, PlannedRequest,
    SequentialOptions, SequentialSync, SyncEvent, SyncProgress, SyncReport,
};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, PeerEvent, PeerId, Request,
    RequestPriority, Timing, WhyGivenUp,
    message::{NetworkMessage, PROTOCOL_VERSION},
    wire::frame::{Command, Frame, max_payload},
};
use qrinfo_correlate::PeerService;
use spv_config::ClientConfig;
use spv_testkit::{
    Answers, Chain, Fault, NodeFacts, Response, ServerSession, SimulatedPeer, SimulatedPeerBuilder, builder,
};
use support::{chain, connect, network, plan, profile};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tower::service_fn;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The waits between five attempts: 1, 2, 4 and 8 seconds.
const BACKOFF: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sequential,
    Parallel,
}

const MODES: [Mode; 2] = [Mode::Sequential, Mode::Parallel];

/// The end of a sync.
struct Ended {
    delivered: Vec<usize>,
    report: SyncReport,
    /// Events, and when they came.
    events: Vec<(Duration, SyncEvent)>,
    took: Duration,
}

impl Ended {
    fn missing(&self) -> Vec<(usize, WhyGivenUp)> {
        self.report.outcome.missing().iter().map(|missing| (missing.index, missing.why)).collect()
    }

    /// The instants at which failures were told.
    fn failures(&self) -> Vec<Duration> {
        let is_failure = |(_, event): &&(Duration, SyncEvent)| {
            matches!(event, SyncEvent::Peer(PeerEvent::Ended { outcome: Err(_), .. }))
        };
        self.events.iter().filter(is_failure).map(|(at, _)| *at).collect()
    }
}

async fn drive(mut sync: impl OrderedSync) -> Ended {
    let started = Instant::now();
    let (mut events, mut told, mut delivered) = (sync.events(), Vec::new(), Vec::new());
    loop {
        tokio::select! {
            biased;
            Ok(event) = events.recv() => told.push((started.elapsed(), event)),
            next = sync.next() => match next {
                Some(Delivered { index, .. }) => delivered.push(index),
                None => break,
            },
        }
    }
    let took = started.elapsed();
    told.extend(std::iter::from_fn(|| events.try_recv().ok()).map(|event| (took, event)));
    Ended { delivered, report: sync.into_report(), events: told, took }
}

async fn run<S>(mode: Mode, plan: Vec<impl Into<PlannedRequest>>, peers: Vec<Peer<S>>) -> Ended
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    match mode {
        Mode::Sequential => drive(SequentialSync::new(plan, peers, SequentialOptions::default())).await,
        Mode::Parallel => drive(ParallelSync::new(plan, peers, ParallelOptions::default())).await,
    }
}

fn id(host: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, host], 19899).into())
}

/// A peer of a foreign stack: it reports nothing, and its errors do not name it. `behave` says how long an attempt takes
/// and how it fails.
fn foreign(
    host: u8,
    chain: &Chain,
    behave: impl Fn(&Request) -> (Duration, Option<AttemptErrorKind>) + Send + Sync + 'static,
) -> Peer<impl AttemptService<Future: Send + 'static> + Clone + Send + 'static> {
    let (for_answers, behave) = (chain.clone(), Arc::new(behave));
    let service = service_fn(move |attempt: Attempt| {
        let (chain, (delay, failure)) = (for_answers.clone(), behave(&attempt.request));
        async move {
            let sent = Instant::now().into_std();
            sleep(delay).await;
            match failure {
                Some(kind) => AttemptResult::Err(AttemptError::new(kind)),
                None => {
                    let message = attempt.request.to_message();
                    let reply = builder::answer(&chain, &message, PROTOCOL_VERSION).unwrap().unwrap();
                    let done = Instant::now().into_std();
                    let timing = Timing { peer: id(host), sent, head: None, first_byte: None, done, bytes: 5_000 };
                    Ok(Answer { reply, timing })
                }
            }
        }
    });
    Peer::new(id(host), service, chain.tip())
}

fn node(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(chain.clone()).profile(profile(100, 50))
}

#[tokio::test(start_paused = true)]
async fn silence_of_foreign_peers_takes_the_time_of_one_request() {
    let chain = chain();
    let mut times = Vec::new();
    for mode in MODES {
        let silent = |host| foreign(host, &chain, |_| (TIMEOUT, Some(AttemptErrorKind::Timeout)));
        let ended = run(mode, plan(&chain, None), (1..=4).map(silent).collect()).await;
        assert!(ended.missing().iter().all(|(_, why)| *why != WhyGivenUp::Stopped), "{mode:?}");
        assert_eq!(ended.missing().len(), plan(&chain, None).len(), "{mode:?}");
        assert!(ended.took <= TIMEOUT * 5 + BACKOFF, "{mode:?}: {:?}", ended.took);
        // Each failure is told when it happens.
        let failures = ended.failures();
        assert!(failures.len() >= 5, "{mode:?}: {failures:?}");
        assert_eq!(failures[0], TIMEOUT, "{mode:?}");
        times.push(ended.took);
    }
    assert!(times[1] <= times[0], "{times:?}");
}

/// A sync of a manager over silent nodes, with or without names.
async fn silent_nodes(mode: Mode, by_name: bool, config: &ClientConfig) -> (SyncReport, Vec<SyncProgress>, Duration) {
    let chain = chain();
    let silent = || node(&chain).fault(.., Fault::Silent);
    let mut network = network(vec![silent(), silent(), silent()]).await;
    let mut manager = MasternodeSyncManager::new(config);
    let (mut progress, started) = (manager.progress(), Instant::now());
    let (deliver, _replies) = mpsc::channel(1);
    let (plan, three) = (plan(&chain, None), NonZeroUsize::new(3).unwrap());
    let report = match (mode, by_name) {
        (Mode::Sequential, false) => manager.sync(&mut network, plan, deliver, |_| {}).await.unwrap(),
        (Mode::Sequential, true) => manager.sync_by_name(&mut network, plan, deliver, |_| {}).await,
        (Mode::Parallel, false) => {
            manager.request_qrinfo_parallel(&mut network, plan, three, deliver, |_| {}).await.unwrap()
        }
        (Mode::Parallel, true) => {
            manager.request_qrinfo_parallel_by_name(&mut network, plan, three, deliver, |_| {}).await
        }
    };
    let told = std::iter::from_fn(|| progress.try_recv().ok()).collect();
    (report, told, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn silence_of_a_clients_network_takes_the_time_of_one_request() {
    let config = ClientConfig::regtest();
    for by_name in [false, true] {
        let mut times = Vec::new();
        for mode in MODES {
            let (report, told, took) = silent_nodes(mode, by_name, &config).await;
            assert!(!report.outcome.is_complete());
            let timeout = match mode {
                Mode::Sequential => config.message_timeout,
                Mode::Parallel => config.qrinfo_parallel_timeout(),
            };
            assert!(took <= timeout * 5 + BACKOFF, "{mode:?}, names: {by_name}: {took:?}");
            let is_failure = |progress: &&SyncProgress| match progress {
                SyncProgress::Event(SyncEvent::Peer(event)) => {
                    matches!(event, PeerEvent::TimedOut { .. } | PeerEvent::Ended { outcome: Err(_), .. })
                }
                _ => false,
            };
            let failures = told.iter().filter(is_failure).count();
            assert!(failures >= 3, "{mode:?}, names: {by_name}: {told:?}");
            times.push(took);
        }
        assert!(times[1] <= times[0], "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_that_outlasts_the_time_of_a_request_ends_the_sync_as_well() {
    let config = ClientConfig::regtest().with_sync_timeout(Duration::from_secs(70));
    for mode in MODES {
        for by_name in [false, true] {
            let (_, _, took) = silent_nodes(mode, by_name, &config).await;
            // The first timeout, the time after it, and a probe.
            assert!(took <= Duration::from_secs(60 + 70 + 60), "{mode:?}, names: {by_name}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_whole_sync_is_bounded() {
    let mut config = ClientConfig::regtest();
    config.total_timeout = Some(Duration::from_secs(50));
    for mode in MODES {
        for by_name in [false, true] {
            let (report, _, took) = silent_nodes(mode, by_name, &config).await;
            assert_eq!(took, Duration::from_secs(50), "{mode:?}, names: {by_name}");
            let missing = report.outcome.missing();
            assert!(missing.iter().all(|missing| missing.why == WhyGivenUp::SyncDeadlinePassed), "{}", report.outcome);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_one_request_is_bounded() {
    let chain = chain();
    for mode in MODES {
        let plan = plan(&chain, None)[..8].to_vec();
        let hard = Request::from(plan[2].clone());
        let peer = |host| {
            let hard = hard.clone();
            foreign(host, &chain, move |request| match *request == hard {
                true => (TIMEOUT, Some(AttemptErrorKind::Timeout)),
                false => (Duration::from_millis(100), None),
            })
        };
        let config = ClientConfig::regtest().with_sync_timeout(Duration::from_secs(65));
        let peers = (1..=3).map(peer).collect();
        let ended = match mode {
            Mode::Sequential => drive(SequentialSync::new(plan, peers, SequentialOptions::from(&config))).await,
            Mode::Parallel => drive(ParallelSync::new(plan, peers, ParallelOptions::from(&config))).await,
        };
        assert_eq!(ended.missing(), [(2, WhyGivenUp::DeadlinePassed)], "{mode:?}");
        assert_eq!(ended.delivered.len(), 7, "{mode:?}");
        // The first failure, and the time after it.
        assert!(ended.took <= Duration::from_secs(97), "{mode:?}: {:?}", ended.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_without_names_syncs_all_but_its_first_request() {
    let chain = chain();
    for mode in MODES {
        let mut plan = plan(&chain, None)[..10].to_vec();
        plan[0].block_hash = BlockHash::from_bytes([9; 32]);
        let mut network = network(vec![node(&chain), node(&chain), node(&chain)]).await;
        let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
        let (deliver, mut replies) = mpsc::channel(plan.len());
        let report = match mode {
            Mode::Sequential => manager.sync(&mut network, plan, deliver, |_| {}).await,
            Mode::Parallel => {
                let three = NonZeroUsize::new(3).unwrap();
                manager.request_qrinfo_parallel(&mut network, plan, three, deliver, |_| {}).await
            }
        };
        let report = report.unwrap();
        let missing: Vec<_> = report.outcome.missing().iter().map(|missing| missing.index).collect();
        assert_eq!(missing, [0], "{mode:?}: {}", report.outcome);
        assert_eq!(std::iter::from_fn(|| replies.try_recv().ok()).count(), 9, "{mode:?}");
    }
}

/// A node whose every reply announces as much as a frame may hold.
#[derive(Debug)]
struct Announces(Chain);

impl Answers for Announces {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match self.0.answer(request, session) {
            Response::Reply(_) => {
                let payload = Bytes::from(vec![0; max_payload(Command::QR_INFO)]);
                Response::Reply(Frame { command: Command::QR_INFO, payload })
            }
            other => other,
        }
    }
}

async fn drippers_and_an_honest_node(chain: &Chain) -> (Vec<SimulatedPeer>, Vec<Peer<PeerService>>) {
    let drip = Fault::Drip { bytes: 16 << 10, every: Duration::from_secs(2) };
    let dripper = || SimulatedPeer::builder(Announces(chain.clone())).profile(profile(20, 1)).fault(.., drip);
    connect(vec![dripper(), dripper(), node(chain)]).await
}

#[tokio::test(start_paused = true)]
async fn peers_that_drip_hold_nothing_up() {
    let chain = chain();
    for (mode, bound) in [(Mode::Parallel, 15), (Mode::Sequential, 500)] {
        let (_nodes, peers) = drippers_and_an_honest_node(&chain).await;
        let ended = run(mode, plan(&chain, None), peers).await;
        assert!(ended.report.outcome.is_complete(), "{mode:?}: {}", ended.report.outcome);
        println!("{mode:?}: {:?}", ended.took);
        assert!(ended.took < Duration::from_secs(bound), "{mode:?}: {:?}", ended.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_peer_only() {
    let chain = chain();
    let panics = foreign(1, &chain, |_| panic!("a peer's service may panic"));
    let later = {
        let asked = Mutex::new(0);
        foreign(2, &chain, move |_| {
            *asked.lock().unwrap() += 1;
            assert!(*asked.lock().unwrap() < 5, "a peer's service may panic later");
            (Duration::from_millis(50), None)
        })
    };
    let honest = foreign(3, &chain, |_| (Duration::from_millis(100), None));
    let plan = plan(&chain, None);
    let peers = vec![panics.map(boxed_service), later.map(boxed_service), honest.map(boxed_service)];
    let ended = drive(ParallelSync::new(plan.clone(), peers, ParallelOptions::default())).await;
    assert!(ended.report.outcome.is_complete(), "{}", ended.report.outcome);
    assert_eq!(ended.delivered.len(), plan.len());
    let mut lost: Vec<_> = ended.report.lost.iter().map(|lost| (lost.peer, lost.why)).collect();
    lost.sort_by_key(|(peer, _)| *peer);
    assert_eq!(lost, [(id(1), AttemptErrorKind::Local), (id(2), AttemptErrorKind::Local)]);
}

fn boxed_service<S>(service: S) -> tower::util::BoxService<Attempt, Answer, AttemptError>
where
    S: AttemptService<Future: Send + 'static> + Send + 'static,
{
    tower::util::BoxService::new(service)
}

/// A node that refuses what is asked for some blocks.
#[derive(Debug)]
struct Refuses(Chain, BTreeSet<BlockHash>);

impl Answers for Refuses {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match NetworkMessage::from_frame(request.clone()) {
            Ok(NetworkMessage::GetQRInfo(asked)) if self.1.contains(&asked.block_hash) => Response::Refuse,
            _ => self.0.answer(request, session),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_refuses_half_is_asked_for_the_other_half() {
    let chain = chain();
    let cycles = plan(&chain, None);
    let plan: Vec<_> = cycles.iter().cycle().take(200).cloned().collect();
    for mode in MODES {
        let refuses_half = |host: usize| {
            let refused = cycles.iter().skip(host % 2).step_by(2).map(|spec| spec.block_hash).collect();
            SimulatedPeer::builder(Refuses(chain.clone(), refused)).profile(profile(100, 10))
        };
        let (nodes, peers) = connect((0..5).map(refuses_half).collect()).await;
        let ended = run(mode, plan.clone(), peers).await;
        assert!(ended.report.outcome.is_complete(), "{mode:?}: {}", ended.report.outcome);
        assert!(ended.report.lost.is_empty(), "{mode:?}: {:?}", ended.report.lost);
        assert!(nodes.iter().all(|node| node.stats().refusals < 100), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_priority_of_a_request_reaches_the_scheduler() {
    let chain = chain();
    let plan = plan(&chain, None)[..6].to_vec();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let peer = foreign(1, &chain, move |request| {
        log.lock().unwrap().push(request.clone());
        (Duration::from_millis(100), None)
    });
    let priorities = [RequestPriority::Low, RequestPriority::Normal, RequestPriority::Critical];
    let planned = plan.iter().cloned().zip(priorities.into_iter().cycle());
    let options =
        ParallelOptions { max_concurrent: NonZeroUsize::MIN, window_bytes: 8 << 20, ..ParallelOptions::default() };
    let ended = drive(ParallelSync::new(planned, vec![peer], options)).await;
    assert_eq!(ended.delivered, [0, 1, 2, 3, 4, 5]);
    let order: Vec<_> = [2, 5, 1, 4, 0, 3].map(|index: usize| Request::from(plan[index].clone())).to_vec();
    assert_eq!(*asked.lock().unwrap(), order);
}
