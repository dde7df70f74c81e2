//! Whole syncs over TCP from peers that answer as recorded.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use qrinfo::{
    Delivered, OrderedSync, Peer, SequentialOptions, SequentialSync, SyncReport, connect, first_answerable_cycle,
    plan::{PlanKind, Planner},
};
use qrinfo_core::{
    Attempt, AttemptErrorKind, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request, message::GetQRInfo,
    wire::Wire,
};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::PeerConfig;
use spv_testkit::{
    Fault, RecordedPeer, Recording,
    recording::{Answer, CompleteSync, Plan},
};
use tower::{Service, ServiceExt};

fn recording() -> Arc<Recording> {
    Arc::new(Recording::bundled().unwrap())
}

async fn peer_of(server: &RecordedPeer) -> Peer<PeerService> {
    let config = PeerConfig::new(Network::Regtest, 7);
    connect(server.address(), &config, CorrelatorConfig::default()).await.unwrap()
}

fn planner(recording: &Recording, kind: PlanKind) -> Planner {
    Planner { kind, anchor: Some(recording.anchor()), ..Planner::new(recording.network(), recording.tip()) }
}

fn plan_of(recording: &Recording, sync: &CompleteSync) -> Vec<QRInfoRequestSpec> {
    let kind = match sync.plan {
        Plan::Chained => PlanKind::Chained,
        Plan::FiveStep => PlanKind::FiveStep,
    };
    let hash_at = |height| recording.block_hash(height);
    planner(recording, kind).plan(sync.first_cycle, recording.tip(), hash_at).unwrap()
}

fn recorded_replies(recording: &Recording, sync: &CompleteSync) -> Vec<Bytes> {
    let reply = |answer: &Answer| match answer {
        Answer::Reply(bytes) => bytes.clone(),
        Answer::Refused => panic!("a complete sync has no refusals"),
    };
    recording.exchanges_of(sync).map(|exchange| reply(&exchange.answer)).collect()
}

fn bytes_of(reply: &Reply) -> Bytes {
    match reply {
        Reply::QrInfo(reply) => reply.to_wire(),
        Reply::MnListDiff(diff) => diff.to_wire(),
    }
}

/// The chained sync at the newest protocol.
fn chained(recording: &Recording) -> &CompleteSync {
    recording.complete_syncs().iter().find(|sync| sync.plan == Plan::Chained && sync.protocol >= 70236).unwrap()
}

fn assert_complete(recording: &Recording, delivered: &[Delivered], report: &SyncReport) {
    assert!(report.outcome.is_complete(), "{:?}", report.outcome);
    let expected = recorded_replies(recording, chained(recording));
    assert_eq!(delivered.iter().map(|d| d.index).collect::<Vec<_>>(), (0..expected.len()).collect::<Vec<_>>());
    for (delivered, expected) in delivered.iter().zip(&expected) {
        assert_eq!(&bytes_of(&delivered.reply), expected, "request {}", delivered.index);
    }
}

async fn sequential(recording: &Recording, servers: &[&RecordedPeer]) -> (Vec<Delivered>, SyncReport) {
    let peers = join_all(servers.iter().map(|server| peer_of(server))).await;
    let plan = plan_of(recording, chained(recording));
    let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
    }
    (delivered, sync.into_report())
}

/// Every recorded complete sync, sixteen requests in flight at one peer: each request gets its recorded reply.
#[tokio::test]
async fn sixteen_in_flight_each_get_their_recorded_reply() {
    let mut recordings = vec![recording()];
    recordings.extend(
        ["regtest", "regtest-churn", "regtest-v3"]
            .iter()
            .filter_map(|name| Recording::shared(name).unwrap())
            .map(Arc::new),
    );
    for recording in recordings {
        for sync in recording.complete_syncs() {
            let server = RecordedPeer::builder(recording.clone()).protocol(sync.protocol).spawn().await.unwrap();
            let config = PeerConfig::new(recording.network(), 7);
            let correlator = CorrelatorConfig { depth: NonZeroUsize::new(16).unwrap(), ..Default::default() };
            let peer = connect(server.address(), &config, correlator).await.unwrap();
            let plan = plan_of(&recording, sync);
            let asked = plan.into_iter().enumerate().map(|(index, spec)| {
                let attempt = Attempt::new(index as u64, Request::from(spec));
                peer.service.clone().oneshot(attempt)
            });
            let expected = recorded_replies(&recording, sync);
            let replies = join_all(asked).await;
            assert_eq!(replies.len(), expected.len());
            for (reply, expected) in replies.into_iter().zip(expected) {
                assert_eq!(bytes_of(&reply.unwrap().reply), expected, "{}", sync.name);
            }
        }
    }
}

/// Each recorded refusal is resolved by its pong: the head-of-line timeout is an hour, and the test does not take it.
#[tokio::test]
async fn a_refusal_is_resolved_by_its_pong() {
    let mut recordings = vec![recording()];
    recordings.extend(
        ["regtest", "regtest-churn", "regtest-v3"]
            .iter()
            .filter_map(|name| Recording::shared(name).unwrap())
            .map(Arc::new),
    );
    for recording in recordings {
        for protocol in [70237, 70230] {
            let server = RecordedPeer::builder(recording.clone()).protocol(protocol).spawn().await.unwrap();
            let config = PeerConfig::new(recording.network(), 7);
            let correlator = CorrelatorConfig { head_timeout: Duration::from_secs(3600), ..Default::default() };
            let mut peer = connect(server.address(), &config, correlator).await.unwrap();
            let refused =
                recording.exchanges().iter().filter(|e| e.answer == Answer::Refused && e.protocol == protocol);
            let mut count = 0;
            for exchange in refused {
                let asked = GetQRInfo::from_wire(exchange.request.clone()).unwrap();
                let spec = QRInfoRequestSpec {
                    network: recording.network(),
                    cycle: recording.network().cycles().start_of(exchange.height),
                    base_block_hashes: asked.base_block_hashes,
                    block_hash: asked.block_hash,
                    extra_share: asked.extra_share,
                    work_block_hashes: [asked.block_hash; 5],
                };
                let service = peer.service.ready().await.unwrap();
                let error = service.call(Attempt::new(u64::from(exchange.id), spec.into())).await.unwrap_err();
                assert_eq!(error.kind(), AttemptErrorKind::Refused, "exchange {}", exchange.id);
                count += 1;
            }
            // Dash Core 23.1 was asked once more.
            let expected = if recording.node().contains("23.1") { 13 } else { 12 };
            assert_eq!(count, expected);
        }
    }
}

#[tokio::test]
async fn a_mnlistdiff_that_is_refused_says_so() {
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let peer = peer_of(&server).await;
    let spec = MnListDiffRequestSpec {
        base_block_hash: Network::Regtest.genesis_hash(),
        block_hash: Network::Regtest.genesis_hash(),
    };
    let error = peer.service.oneshot(Attempt::new(1, spec.into())).await.unwrap_err();
    assert_eq!(error.kind(), AttemptErrorKind::Refused);
}

#[tokio::test]
async fn one_at_a_time_brings_the_whole_chain_in_order() {
    let recording = recording();
    let server = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let (delivered, report) = sequential(&recording, &[&server]).await;
    assert_complete(&recording, &delivered, &report);
    assert_eq!((report.stats.attempts, report.stats.retries), (64, 0));
}

#[tokio::test]
async fn a_sequential_sync_goes_on_at_the_next_peer() {
    let recording = recording();
    let failing = RecordedPeer::builder(recording.clone()).fault(10.., Fault::Close).spawn().await.unwrap();
    let good = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let (delivered, report) = sequential(&recording, &[&failing, &good]).await;
    assert_complete(&recording, &delivered, &report);
    assert_eq!((report.stats.retries, report.lost.len()), (1, 1));
    assert_eq!(report.lost[0].peer, failing.address().into());
}

#[tokio::test]
async fn a_sync_without_a_peer_left_has_failed_and_says_what_is_missing() {
    let recording = recording();
    let failing = RecordedPeer::builder(recording.clone()).fault(10.., Fault::Close).spawn().await.unwrap();
    let (delivered, report) = sequential(&recording, &[&failing]).await;
    assert_eq!(delivered.len(), 10);
    assert!(matches!(report.outcome, qrinfo::SyncOutcome::Failed { .. }), "{}", report.outcome);
    assert_eq!(report.outcome.missing().len(), 54);
    assert_eq!(report.outcome.missing()[0].attempts[0].kind(), AttemptErrorKind::Disconnected);
}

#[tokio::test]
async fn the_first_answerable_cycle_is_found_by_asking() {
    let Some(recording) = Recording::shared("regtest").unwrap().map(Arc::new) else { return };
    let server = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let peers = [peer_of(&server).await];
    let planner = planner(&recording, PlanKind::Chained);
    let first = first_answerable_cycle(&peers, &planner, |height| recording.block_hash(height)).await.unwrap();
    assert_eq!(first, 240);
    assert!(server.stats().refusals <= 5, "{:?}", server.stats());
}

#[cfg(feature = "parallel-qrinfo")]
mod parallel {
    use qrinfo::{ParallelOptions, ParallelSync};

    use super::*;

    async fn parallel(
        recording: &Recording,
        servers: &[&RecordedPeer],
        head_timeout: Duration,
    ) -> (Vec<Delivered>, SyncReport) {
        let config = PeerConfig::new(Network::Regtest, 7);
        let correlator = CorrelatorConfig { head_timeout, ..Default::default() };
        let connecting = servers.iter().map(|server| connect(server.address(), &config, correlator));
        let peers = join_all(connecting).await.into_iter().map(Result::unwrap).collect();
        let options = ParallelOptions { max_concurrent: NonZeroUsize::new(16).unwrap(), ..Default::default() };
        let mut sync = ParallelSync::new(plan_of(recording, chained(recording)), peers, options);
        let mut delivered = Vec::new();
        while let Some(next) = sync.next().await {
            delivered.push(next);
        }
        (delivered, sync.into_report())
    }

    #[tokio::test]
    async fn several_peers_bring_the_whole_chain_in_order() {
        let recording = recording();
        let mut servers = Vec::new();
        for _ in 0..5 {
            servers.push(RecordedPeer::builder(recording.clone()).spawn().await.unwrap());
        }
        let servers: Vec<_> = servers.iter().collect();
        let (delivered, report) = parallel(&recording, &servers, Duration::from_secs(30)).await;
        assert_complete(&recording, &delivered, &report);
        assert_eq!((report.stats.attempts, report.stats.retries), (64, 0));
        assert!(servers.iter().all(|server| server.stats().requests > 0));
    }

    /// One of three peers does something wrong with its replies: it is dropped, or passed over for one request,
    /// and the sync completes from the others.
    #[tokio::test]
    async fn a_peer_that_does_wrong_does_not_spoil_the_sync() {
        let faults = [
            (Fault::Refuse, 0),
            (Fault::Close, 1),
            (Fault::CloseInFrame { at: 10 }, 1),
            (Fault::CloseInFrame { at: 1000 }, 1),
            (Fault::Oversized, 1),
            (Fault::BitFlip { bit: 4321 }, 1),
            (Fault::Garbage { seed: 1 }, 1),
            (Fault::WrongReply, 1),
            (Fault::Duplicate, 1),
            (Fault::Unknown, 0),
        ];
        let recording = recording();
        for (fault, peers_lost) in faults {
            let wrong = RecordedPeer::builder(recording.clone()).fault(0.., fault).spawn().await.unwrap();
            let second = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
            let third = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
            let servers = [&wrong, &second, &third];
            let (delivered, report) = parallel(&recording, &servers, Duration::from_secs(30)).await;
            assert_complete(&recording, &delivered, &report);
            assert!(wrong.stats().requests > 0, "{fault:?}: the peer was not asked");
            assert_eq!(report.lost.len(), peers_lost, "{fault:?}: {:?}", report.stats);
            let expected = match fault {
                Fault::WrongReply | Fault::Duplicate => AttemptErrorKind::False,
                Fault::Oversized | Fault::BitFlip { .. } | Fault::Garbage { .. } => AttemptErrorKind::Malformed,
                _ => AttemptErrorKind::Disconnected,
            };
            assert!(report.lost.iter().all(|lost| lost.why == expected), "{fault:?}: {:?}", report.lost);
        }
    }
}
