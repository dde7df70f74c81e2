//! The tower service, driven by tokio's clock and its peers' reports, is as fast as the plain scheduler driven by a
//! loop: what the simulation shows of the one holds for the other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, future::BoxFuture, stream};
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, Reply, Request, Timing};
use qrinfo_scheduler::{Peer, Reporter, SchedulerService, Settings, reports};
use support::{
    model::ModelPeer,
    run::{View, attempt, job_of, peer_id, simulate},
    scenario::{PeerNumbers, Run, Scenario, StallNumbers},
};
use tokio::time::{self, Instant};
use tower::{Service, ServiceExt, discover::Change};

const JOBS: usize = 120;

/// Four unequal peers, sizes that differ 60-fold, refusals, a stall.
fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let spread = |rng: &mut Rng, factor: f64| ((rng.f64() + rng.f64() - 1.0) * factor).exp();
    let reply_bytes: Vec<f64> = (0..JOBS).map(|_| (300e3 * spread(&mut rng, 2.0)).round()).collect();
    let peers = (0..4)
        .map(|_| {
            let (rate, compute) = (1.2 * spread(&mut rng, 1.0), 50e3 * spread(&mut rng, 1.0));
            PeerNumbers {
                rtt_us: (30e3 + rng.f64() * 250e3).round(),
                compute_us: (0..JOBS).map(|_| (compute * spread(&mut rng, 0.8)).round()).collect(),
                transfer_us: reply_bytes.iter().map(|bytes| (bytes / rate * spread(&mut rng, 0.5)).round()).collect(),
            }
        })
        .collect();
    let refused = (0..4).map(|_| (0..JOBS).filter(|_| rng.f64() < 0.03).collect()).collect();
    let stall = Some(StallNumbers { peer: 1, at_us: 3e6, factor: 30.0 });
    let run = Run { peers, reply_bytes, window: None, refused, stall, floor_us: 1e6 };
    Scenario { name: "unequal".into(), send_buffer_bytes: 1e6, runs: vec![run] }
}

struct ReportingPeer {
    index: usize,
    scenario: Arc<Scenario>,
    model: ModelPeer,
    reporter: Reporter,
    start: Instant,
}

impl Service<Attempt> for ReportingPeer {
    type Response = (Reply, Timing);
    type Error = AttemptError;
    type Future = BoxFuture<'static, Result<(Reply, Timing), AttemptError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let sent = Instant::now();
        let Request::MnListDiff(spec) = &attempt.request else { panic!("{attempt:?}") };
        let cost = self.scenario.runs[0].cost(self.index, job_of(&spec.block_hash));
        let seen = self.model.serve(cost, sent.duration_since(self.start).as_micros() as f64);
        let start = self.start;
        let at = move |us: f64| start + Duration::from_micros(us.round() as u64);
        let (id, reporter, length) = (peer_id(self.index), self.reporter.clone(), cost.bytes as u64);
        Box::pin(async move {
            if cost.refused {
                time::sleep_until(at(seen.done)).await;
                return Err(AttemptError::new(AttemptErrorKind::Refused));
            }
            for bytes in (0..length).step_by(16_384) {
                time::sleep_until(at(seen.when(bytes as f64))).await;
                reporter.progress(attempt.id, bytes, Some(length), Instant::now().into_std());
            }
            time::sleep_until(at(seen.done)).await;
            let first_byte = Some(at(seen.first_byte).into_std());
            let done = Instant::now().into_std();
            let timing = Timing { peer: id, sent: sent.into_std(), head: None, first_byte, done, bytes: length };
            Ok((support::run::reply(spec_hash(&attempt)), timing))
        })
    }
}

fn spec_hash(attempt: &Attempt) -> qrinfo_core::BlockHash {
    match &attempt.request {
        Request::MnListDiff(spec) => spec.block_hash,
        Request::QrInfo(spec) => spec.block_hash,
    }
}

async fn through_the_service(scenario: Scenario) -> Duration {
    let start = Instant::now();
    let scenario = Arc::new(scenario);
    let peers: Vec<_> = (0..4)
        .map(|index| {
            let (reporter, reports) = reports();
            let model = scenario.peer(&scenario.runs[0], index);
            let service = ReportingPeer { index, scenario: scenario.clone(), model, reporter, start };
            let round_trip = Duration::from_micros(scenario.runs[0].peers[index].rtt_us as u64);
            let peer = Peer::new(service, round_trip).with_reports(reports);
            Ok::<_, AttemptError>(Change::Insert(peer_id(index), peer))
        })
        .collect();
    let settings = Settings { cap: 64, ..Settings::default() };
    let (service, driver) = SchedulerService::new(stream::iter(peers).chain(stream::pending()), settings);
    tokio::spawn(driver);
    let last = Arc::new(Mutex::new(start));
    let jobs = (0..JOBS as u64).map(|id| {
        let (service, last) = (service.clone(), last.clone());
        async move {
            let mut attempt = attempt(id);
            while let Err(error) = service.clone().oneshot(attempt.clone()).await {
                assert_eq!(error.kind(), AttemptErrorKind::Refused);
                attempt.avoid.extend(error.peer());
            }
            *last.lock().expect("nobody panics") = Instant::now();
        }
    });
    futures_util::future::join_all(jobs).await;
    let last = *last.lock().expect("nobody panics");
    last.duration_since(start)
}

#[tokio::test(start_paused = true)]
async fn the_service_is_as_fast_as_the_plain_scheduler() {
    let (mut plain, mut service) = (0.0, 0.0);
    for seed in 0..6 {
        let scenario = scenario(seed);
        let base = Instant::now().into_std();
        let view = View { lengths: true, cap: 64 };
        plain += simulate(&scenario, &scenario.runs[0], view, base).score;
        service += through_the_service(scenario).await.as_secs_f64();
    }
    // Timers that round up to the next millisecond change a schedule here and there.
    assert!((0.95..1.05).contains(&(service / plain)), "{service} s through the service, {plain} s without");
}
