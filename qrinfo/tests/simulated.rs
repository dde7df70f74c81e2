//! Syncs from simulated nodes in virtual time.
#![cfg(all(feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{num::NonZeroUsize, time::Duration};

use qrinfo::{OrderedSync, ParallelOptions, ParallelSync, SequentialOptions, SequentialSync, plan::anchor};
use qrinfo_core::{Attempt, MnListDiffRequestSpec, Reply};
use spv_testkit::{Fault, SimulatedPeer};
use support::{assert_true, chain, connect, parallel, plan, profile, sequential};
use tokio::time::Instant;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn three_peers_take_less_than_a_third_of_the_time_of_one() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (_nodes, peers) = connect(vec![node()]).await;
    let (alone, report, sequential) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete());
    assert_true(&chain, &plan, &alone);
    let (_nodes, peers) = connect(vec![node(), node(), node()]).await;
    let (together, report, parallel) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete());
    assert_true(&chain, &plan, &together);
    assert!(parallel * 3 < sequential, "{parallel:?} of {sequential:?}");
}

/// One at a time costs what the wire and the node cost, in either mode: not a moment more.
#[tokio::test(start_paused = true)]
async fn one_at_a_time_takes_as_long_as_a_bare_loop() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));

    let (_nodes, peers) = connect(vec![node()]).await;
    let started = Instant::now();
    for (id, spec) in (0..).zip(&plan) {
        peers[0].service.clone().oneshot(Attempt::new(id, spec.clone().into())).await.unwrap();
    }
    let bare = started.elapsed();

    let (_nodes, peers) = connect(vec![node()]).await;
    let (.., took) = sequential(&plan, peers).await;
    assert_eq!(took, bare);

    let (_nodes, peers) = connect(vec![node()]).await;
    let started = Instant::now();
    let options = ParallelOptions { max_concurrent: NonZeroUsize::MIN, ..Default::default() };
    let mut sync = ParallelSync::new(plan.clone(), peers, options);
    while sync.next().await.is_some() {}
    assert_eq!(started.elapsed(), bare);
    assert!(sync.into_report().outcome.is_complete());
}

/// A consumer that is slow to take replies does not hold the peers up.
#[tokio::test(start_paused = true)]
async fn replies_arrive_while_the_one_before_is_worked_on() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (_nodes, peers) = connect(vec![node(), node()]).await;
    let started = Instant::now();
    let mut sync = ParallelSync::new(plan.clone(), peers, ParallelOptions::default());
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let work = Duration::from_millis(200) * plan.len() as u32;
    assert!(started.elapsed() < work + Duration::from_millis(500), "{:?}", started.elapsed());
    assert_true(&chain, &plan, &delivered);
}

/// Replies that wait for a slow consumer are bounded by the window, plus those in flight when it fills up.
#[tokio::test(start_paused = true)]
async fn a_slow_consumer_finds_no_more_than_the_window_waiting() {
    const WINDOW: u64 = 40_000;
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (nodes, peers) = connect(vec![node(), node(), node()]).await;
    let options = ParallelOptions { window_bytes: WINDOW, ..Default::default() };
    let mut sync = ParallelSync::new(plan.clone(), peers, options);
    let (mut taken, mut longest, mut most) = (0, 0, 0);
    while let Some(next) = sync.next().await {
        tokio::time::sleep(Duration::from_secs(1)).await;
        taken += next.timing.bytes;
        longest = longest.max(next.timing.bytes);
        let sent: u64 = nodes.iter().map(|node| node.stats().bytes).sum();
        most = most.max(sent - taken);
    }
    assert!(sync.into_report().outcome.is_complete());
    assert!(most > WINDOW / 2, "the window is used: {most}");
    assert!(most < WINDOW + 3 * longest, "{most}");
}

/// Dropping the run ends what it started: peers included.
#[tokio::test(start_paused = true)]
async fn a_dropped_run_hangs_up() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (nodes, peers) = connect(vec![node]).await;
    let mut sync = ParallelSync::new(plan.clone(), peers, ParallelOptions::default());
    sync.next().await.unwrap();
    drop(sync);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = nodes[0].stats().requests;
    assert!(asked < 10, "{asked}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(nodes[0].stats().requests, asked);
}

#[tokio::test(start_paused = true)]
async fn peers_that_die_in_the_middle_leave_the_rest_to_the_others() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let dying = || node().fault(5.., Fault::Close);
    let (_nodes, peers) = connect(vec![dying(), node(), dying(), node()]).await;
    let (delivered, report, _) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_eq!((delivered.len(), report.lost.len()), (plan.len(), 2));
    assert_true(&chain, &plan, &delivered);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_a_second_and_no_reply() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (_nodes, peers) = connect(vec![node().fault(3.., Fault::Silent), node(), node()]).await;
    let (delivered, report, took) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drips_does_not_stall_the_sync() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let drips = Fault::Drip { bytes: 3, every: Duration::from_millis(200) };
    let (_nodes, peers) = connect(vec![node().fault(3.., drips), node(), node()]).await;
    let (delivered, report, took) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
    assert!(took < Duration::from_secs(70), "{took:?}");
}

/// A refusal comes quickly. It must not make its peer look fast, nor use up a request's chances.
#[tokio::test(start_paused = true)]
async fn peers_that_refuse_everything_do_not_draw_the_load() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let refuses = || SimulatedPeer::builder(chain.clone()).profile(profile(20, 1)).fault(0.., Fault::Refuse);
    let honest = SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let nodes = vec![refuses(), refuses(), refuses(), refuses(), refuses(), honest.clone()];
    let (nodes, peers) = connect(nodes).await;
    let (delivered, report, _) = parallel(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
    for node in &nodes[..5] {
        assert!(node.stats().refusals <= 10, "{:?}", node.stats());
    }

    let (_nodes, peers) = connect(vec![refuses(), refuses(), refuses(), refuses(), refuses(), honest]).await;
    let (delivered, report, _) = sequential(&plan, peers).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
}

/// A caller that looks at a clock while it waits loses nothing by it.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_no_reply() {
    let chain = chain();
    let plan = plan(&chain, anchor([chain.tip()]));
    let node = SimulatedPeer::builder(chain.clone()).profile(profile(100, 50));
    let (nodes, peers) = connect(vec![node]).await;
    let mut sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::default());
    let mut delivered = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(40), sync.next()).await {
            Ok(Some(next)) => delivered.push(next),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_true(&chain, &plan, &delivered);
    assert!(sync.into_report().outcome.is_complete());
    assert_eq!(nodes[0].stats().requests, plan.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_mnlistdiff_is_asked_and_answered_like_a_qrinfo() {
    let chain = chain();
    let (_nodes, peers) = connect(vec![SimulatedPeer::builder(chain.clone())]).await;
    let (base, target) = (chain.block(1720).unwrap().hash, chain.block(1744).unwrap().hash);
    let request = MnListDiffRequestSpec { base_block_hash: base, block_hash: target };
    let reply = peers[0].service.clone().oneshot(Attempt::new(1, request.into())).await.unwrap().reply;
    let Reply::MnListDiff(diff) = reply else { panic!("another reply") };
    assert_eq!((diff.base_block_hash, diff.block_hash), (base, target));
}
