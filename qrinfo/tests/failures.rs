//! Failures of a sync, over simulated nodes in virtual time: each sync ends as it should, soon enough, with nothing
//! lost and nothing delivered twice.
#![cfg(all(feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use qrinfo::{
    AttemptService, Delivered, OrderedSync, ParallelOptions, ParallelSync, Peer, SequentialOptions, SequentialSync,
    SyncEvent, SyncOutcome, SyncReport, plan::anchor,
};
use qrinfo_core::{
    AttemptError, AttemptErrorKind, BlockHash, PeerEvent, PeerId, QRInfoRequestSpec, RecoveryEvent, WhyGivenUp,
    message::NetworkMessage, retry::RecoveryStrategy, wire::frame::Frame,
};
use spv_testkit::{Answers, Chain, Fault, NodeFacts, Response, ServerSession, SimulatedPeer, SimulatedPeerBuilder};
use support::{assert_true, chain, connect, plan, profile};
use tokio::{
    sync::{broadcast::error::TryRecvError, mpsc},
    time::{Instant, sleep},
};
use tower::{ServiceExt, discover::Change, service_fn};

/// The result of a sync.
struct Ended {
    delivered: Vec<Delivered>,
    report: SyncReport,
    events: Vec<SyncEvent>,
    took: Duration,
}

async fn run<S>(plan: &[QRInfoRequestSpec], peers: Vec<Peer<S>>) -> Ended
where
    S: AttemptService<Future: Send> + Send + 'static,
{
    finish(ParallelSync::new(plan.to_vec(), peers, options())).await
}

async fn finish(mut sync: ParallelSync) -> Ended {
    let started = Instant::now();
    let (mut events, mut delivered, mut told) = (sync.events(), Vec::new(), Vec::new());
    while let Some(next) = sync.next().await {
        delivered.push(next);
        drain(&mut events, &mut told);
    }
    drain(&mut events, &mut told);
    Ended { delivered, report: sync.into_report(), events: told, took: started.elapsed() }
}

fn drain(events: &mut tokio::sync::broadcast::Receiver<SyncEvent>, told: &mut Vec<SyncEvent>) {
    loop {
        match events.try_recv() {
            Ok(event) => told.push(event),
            Err(TryRecvError::Lagged(_)) => panic!("more events than expected"),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn options() -> ParallelOptions {
    // A window that holds sixteen.
    ParallelOptions { max_concurrent: NonZeroUsize::new(16).unwrap(), window_bytes: 8 << 20, ..Default::default() }
}

impl Ended {
    /// Everything was delivered once, in order, and is what a true node answers.
    fn assert_complete(&self, chain: &Chain, plan: &[QRInfoRequestSpec]) {
        assert!(self.report.outcome.is_complete(), "{}", self.report.outcome);
        let order: Vec<usize> = self.delivered.iter().map(|delivered| delivered.index).collect();
        assert_eq!(order, (0..plan.len()).collect::<Vec<_>>());
        assert_true(chain, plan, &self.delivered);
    }

    fn slow_downs(&self) -> Vec<RecoveryStrategy> {
        let strategy = |event: &SyncEvent| match event {
            SyncEvent::Recovery(RecoveryEvent::SlowedDown { strategy, .. }) => Some(strategy.clone()),
            _ => None,
        };
        self.events.iter().filter_map(strategy).collect()
    }
}

/// A node that lacks a block.
#[derive(Debug)]
struct Lacks(Chain, BlockHash);

impl Answers for Lacks {
    fn node(&self) -> NodeFacts {
        self.0.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match NetworkMessage::from_frame(request.clone()) {
            Ok(NetworkMessage::GetQRInfo(asked)) if asked.block_hash == self.1 => Response::Refuse,
            _ => self.0.answer(request, session),
        }
    }
}

fn usual(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(chain.clone()).profile(profile(100, 50))
}

/// The number of requests in flight, and the instants at which it changed.
#[derive(Clone)]
struct Gauge {
    start: Instant,
    log: Arc<Mutex<Vec<(Duration, i32)>>>,
}

impl Gauge {
    fn new() -> Self {
        Self { start: Instant::now(), log: Arc::new(Mutex::new(vec![(Duration::ZERO, 0)])) }
    }

    fn add(&self, change: i32) {
        let mut log = self.log.lock().unwrap();
        let under_way = log.last().map_or(0, |(_, under_way)| *under_way);
        log.push((self.start.elapsed(), under_way + change));
    }

    /// The most at a time between two seconds.
    fn most(&self, seconds: std::ops::Range<f64>) -> i32 {
        let log = self.log.lock().unwrap();
        let at_first = log.iter().take_while(|(at, _)| at.as_secs_f64() <= seconds.start).last();
        let within = log.iter().filter(|(at, _)| seconds.contains(&at.as_secs_f64()));
        at_first.into_iter().chain(within).map(|(_, under_way)| *under_way).max().unwrap_or(0)
    }

    fn observe<S>(&self, peer: Peer<S>) -> Peer<impl AttemptService<Future: Send> + Send + 'static>
    where
        S: AttemptService<Future: Send> + Send + 'static,
    {
        let gauge = self.clone();
        let service = peer.service.map_future(move |answer| {
            let gauge = gauge.clone();
            gauge.add(1);
            async move {
                let answer = answer.await;
                gauge.add(-1);
                answer
            }
        });
        Peer::new(peer.id, service, peer.start_height).with_round_trip(Duration::from_millis(100))
    }
}

/// A peer behind a link on which three of five requests get lost, until it is mended. A foreign stack may not name the
/// peer in its errors.
fn lossy<S>(
    peer: Peer<S>,
    mut asked: u32,
    until: Instant,
    is_named: bool,
) -> Peer<impl AttemptService<Future: Send> + Send + 'static>
where
    S: AttemptService<Future: Send> + Clone + Send + 'static,
{
    let id = peer.id;
    let service = service_fn(move |attempt| {
        asked += 1;
        let lost = matches!(asked % 5, 0 | 1 | 3) && Instant::now() < until;
        let service = peer.service.clone();
        async move {
            if lost {
                sleep(Duration::from_secs(1)).await;
                let error = AttemptError::new(AttemptErrorKind::Timeout);
                return Err(if is_named { error.at(id) } else { error });
            }
            service.oneshot(attempt).await
        }
    });
    Peer::new(id, service, peer.start_height)
}

#[tokio::test(start_paused = true)]
async fn every_peer_refuses_one_block() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(Lacks(chain.clone(), plan[20].block_hash)).profile(profile(100, 50));
    let (nodes, peers) = connect(vec![node(), node(), node()]).await;
    let ended = run(&plan, peers).await;
    let SyncOutcome::Degraded { missing, why } = &ended.report.outcome else { panic!("{}", ended.report.outcome) };
    assert_eq!((missing.len(), missing[0].index, *why), (1, 20, WhyGivenUp::Unanswerable));
    let mut refused: Vec<_> = missing[0].attempts.iter().map(|error| (error.kind(), error.peer())).collect();
    refused.sort_by_key(|(_, peer)| *peer);
    let every: Vec<_> =
        (1..=3).map(|n| (AttemptErrorKind::Refused, Some(PeerId::Address(([203, 0, 113, n], 19899).into())))).collect();
    assert_eq!(refused, every, "with what each of them did");
    assert_eq!(ended.delivered.len(), plan.len() - 1);
    assert_true(&chain, &plan, &ended.delivered);
    assert_eq!(nodes.iter().map(|node| node.stats().refusals).sum::<u64>(), 3, "one point at each");
    assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn half_the_peers_die_mid_sync() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let dies = || usual(&chain).fault(5.., Fault::Close);
    let (_nodes, peers) = connect(vec![dies(), usual(&chain), dies(), usual(&chain)]).await;
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    assert_eq!(ended.report.lost.len(), 2);
    assert_eq!(ended.slow_downs(), [], "a connection that ends is no congestion");
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn no_network_for_two_minutes() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let dies = || usual(&chain).fault(5.., Fault::Close);
    let (_nodes, first) = connect(vec![dies(), dies()]).await;
    let (_nodes, later) = connect(vec![usual(&chain), usual(&chain)]).await;
    let (join, joining) = mpsc::unbounded_channel();
    for peer in first {
        join.send(Change::Insert(peer.id, peer)).unwrap();
    }
    tokio::spawn(async move {
        sleep(Duration::from_secs(120)).await;
        for peer in later {
            join.send(Change::Insert(peer.id, peer)).unwrap();
        }
        // They may stay.
        join.closed().await;
    });
    let peers = Box::pin(stream::unfold(joining, |mut joining| async { Some((joining.recv().await?, joining)) }));
    let ended = finish(ParallelSync::with_changing_peers(plan.clone(), peers, options())).await;
    ended.assert_complete(&chain, &plan);
    assert!((120.0..126.0).contains(&ended.took.as_secs_f64()), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn no_network_for_ever() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let (_nodes, peers) = connect(vec![usual(&chain).fault(5.., Fault::Close)]).await;
    let peers = peers.into_iter().map(|peer| Change::Insert(peer.id, peer));
    let peers = stream::StreamExt::chain(stream::iter(peers), stream::pending());
    let ended = finish(ParallelSync::with_changing_peers(plan.clone(), peers, options())).await;
    let SyncOutcome::Failed { missing, why } = &ended.report.outcome else { panic!("{}", ended.report.outcome) };
    assert_eq!((missing.len() + ended.delivered.len(), *why), (plan.len(), WhyGivenUp::AllPeersGone));
    // The time to wait for a peer, once.
    assert!((300.0..303.0).contains(&ended.took.as_secs_f64()), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn one_peer_lies() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let liar = usual(&chain).lie(3.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::from_bytes([7; 32]));
    let (nodes, peers) = connect(vec![liar, usual(&chain), usual(&chain)]).await;
    let liar = peers[0].id;
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    let lost: Vec<_> = ended.report.lost.iter().map(|lost| (lost.peer, lost.why)).collect();
    assert_eq!(lost, [(liar, AttemptErrorKind::False)], "the store bans it for a day by this");
    assert!(ended.events.contains(&SyncEvent::Peer(PeerEvent::Banned { peer: liar, why: AttemptErrorKind::False })));
    assert!(nodes[0].stats().requests <= 3 + 8, "nothing is asked of it any more: {:?}", nodes[0].stats());
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn all_slow_down_tenfold() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || usual(&chain).slow((Instant::now() + Duration::from_millis(500)).into_std(), 10);
    let (_nodes, peers) = connect(vec![node(), node(), node()]).await;
    let quick = {
        let (_nodes, peers) = connect(vec![usual(&chain), usual(&chain), usual(&chain)]).await;
        run(&plan, peers).await.took
    };
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    assert_eq!((ended.report.stats.timeouts, ended.report.lost.len()), (0, 0), "slow is not gone");
    assert!(ended.took < quick * 11, "{:?} of {quick:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn at_sixty_percent_failures_one_at_a_time_and_then_parallel_again() {
    at_sixty_percent_failures(true).await;
}

#[tokio::test(start_paused = true)]
async fn at_sixty_percent_failures_of_peers_that_errors_do_not_name_as_well() {
    at_sixty_percent_failures(false).await;
}

async fn at_sixty_percent_failures(is_named: bool) {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let (_nodes, peers) = connect((0..8).map(|_| usual(&chain).profile(profile(100, 3_000))).collect()).await;
    let gauge = Gauge::new();
    let bad_until = Instant::now() + Duration::from_secs(40);
    let peers = (0..).zip(peers).map(|(n, peer)| gauge.observe(lossy(peer, n, bad_until, is_named))).collect();
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    let slow_downs = ended.slow_downs();
    assert_eq!(slow_downs.first(), Some(&RecoveryStrategy::ReduceConcurrency { target: 1 }));
    let sequential = RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) };
    assert_eq!(slow_downs.last(), Some(&sequential), "{slow_downs:?}");
    assert!(gauge.most(0.0..5.0) >= 8, "in parallel before anything fails");
    // Failures go on until 40 s, so the fall-back of 60 s begins, or is repeated, before that.
    assert_eq!(gauge.most(25.0..74.0), 1, "sequential");
    assert!(gauge.most(74.0..98.0) <= 2, "recovering in steps");
    assert!(gauge.most(110.0..f64::MAX) >= 4, "parallel again");
    assert!(ended.took < Duration::from_secs(130), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn a_single_remaining_peer() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let dies = |at: u64| usual(&chain).fault(at.., Fault::Close);
    let (_nodes, peers) = connect(vec![dies(3), usual(&chain), dies(6)]).await;
    let last = peers[1].id;
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    assert!(ended.report.lost.iter().all(|lost| lost.peer != last));
    assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn peers_behind_the_tip() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip() - 400]));
    let behind = || SimulatedPeer::builder(chain.until(chain.tip() - 400)).profile(profile(50, 20));
    let (nodes, peers) = connect(vec![behind(), usual(&chain), behind()]).await;
    let ended = run(&plan, peers).await;
    ended.assert_complete(&chain, &plan);
    for node in [&nodes[0], &nodes[2]] {
        assert!(node.stats().refusals <= 50, "we leave long before a hundred: {:?}", node.stats());
    }
    assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
}

/// Another client cleared its mark of a request in flight before it looked at the reply, and rejected the reply.
#[tokio::test(start_paused = true)]
async fn a_rejected_reply_does_not_strand_the_sync() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let nodes = || {
        let liar = usual(&chain).lie(2.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::from_bytes([7; 32]));
        connect(vec![liar, usual(&chain)])
    };
    let (_nodes, peers) = nodes().await;
    run(&plan, peers).await.assert_complete(&chain, &plan);

    let (_nodes, peers) = nodes().await;
    let mut sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::default());
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    assert!(sync.into_report().outcome.is_complete());
    assert_true(&chain, &plan, &delivered);
    assert_eq!(delivered.len(), plan.len());
}

/// Another client went on to its next phase when it had asked often enough.
#[tokio::test(start_paused = true)]
async fn exhausted_retries_are_not_reported_as_synced() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]))[..20].to_vec();
    let nodes = || connect((0..3).map(|_| usual(&chain).fault(2.., Fault::Silent)).collect());
    let (_nodes, peers) = nodes().await;
    let parallel = run(&plan, peers).await.report;

    let (_nodes, peers) = nodes().await;
    let mut sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::default());
    while sync.next().await.is_some() {}
    let sequential = sync.into_report();

    for report in [parallel, sequential] {
        assert!(!report.outcome.is_complete());
        let named = report.outcome.missing().len() as u64;
        assert_eq!(named + report.stats.delivered, plan.len() as u64, "each is delivered or missing");
        assert!(named > 0 && report.outcome.missing().iter().any(|missing| !missing.attempts.is_empty()));
    }
}

/// The slot of the request stays in use at the only peer, so it cannot use up its attempts there.
#[tokio::test(start_paused = true)]
async fn a_single_request_at_a_single_silent_peer_takes_the_time_of_its_attempts() {
    let chain = chain();
    let plan = plan(&chain, None);
    for requests in [1, 3] {
        let (_nodes, peers) = connect(vec![usual(&chain).fault(.., Fault::Silent)]).await;
        // Others may join.
        let peers = stream::iter(peers.into_iter().map(|peer| Change::Insert(peer.id, peer))).chain(stream::pending());
        let sync = ParallelSync::with_changing_peers(plan[..requests].to_vec(), peers, options());
        let Ended { report, took, .. } = finish(sync).await;
        assert_eq!(report.outcome.missing().len(), requests);
        assert!(took <= Duration::from_secs(30 * 5 + 1), "{requests}: {took:?}");
    }
}
