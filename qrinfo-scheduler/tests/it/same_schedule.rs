//! The tower service, driven by tokio's clock and its peers' reports, is as fast as the plain scheduler driven by a
//! loop: what the simulation shows of the one holds for the other.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, PeerEvent, Timing};
use qrinfo_scheduler::{Peer, SchedulerService, Settings};
use spv_testkit::{
    LinkModel, Scenario,
    scenario::{PeerNumbers, Run, Stall},
};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tower::{Service, ServiceExt, discover::Change};

use crate::support::{
    HEIGHT, attempt, block, peer_id, reply,
    run::{View, cost, link, simulate},
};

const JOBS: usize = 120;

/// Four unequal peers, sizes that differ 60-fold, refusals, a stall.
fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let spread = |rng: &mut Rng, factor: f64| ((rng.f64() + rng.f64() - 1.0) * factor).exp();
    let reply_bytes: Vec<u64> = (0..JOBS).map(|_| (300e3 * spread(&mut rng, 2.0)) as u64).collect();
    let peers = (0..4)
        .map(|_| {
            let (rate, compute) = (1.2 * spread(&mut rng, 1.0), 50e3 * spread(&mut rng, 1.0));
            let transfer = |bytes: &u64| (*bytes as f64 / rate * spread(&mut rng, 0.5)) as u64;
            PeerNumbers {
                transfer_us: reply_bytes.iter().map(transfer).collect(),
                rtt_us: 30_000 + rng.u64(..250_000),
                compute_us: (0..JOBS).map(|_| (compute * spread(&mut rng, 0.8)) as u64).collect(),
            }
        })
        .collect();
    let refused = (0..4).map(|_| (0..JOBS).filter(|_| rng.f64() < 0.03).collect()).collect();
    let stall = Some(Stall { peer: 1, at_us: 3_000_000, factor: 30 });
    let (floor_us, lower_bound_us, clairvoyant_us) = (1, 1, 1);
    let run = Run { seed, peers, reply_bytes, window: None, refused, stall, floor_us, lower_bound_us, clairvoyant_us };
    Scenario { name: "unequal".into(), send_buffer_bytes: 1_000_000, runs: vec![run] }
}

struct ReportingPeer {
    index: usize,
    scenario: Arc<Scenario>,
    link: LinkModel,
    events: mpsc::UnboundedSender<PeerEvent>,
}

impl Service<Attempt> for ReportingPeer {
    type Response = Answer;
    type Error = AttemptError;
    type Future = BoxFuture<'static, AttemptResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let sent = Instant::now();
        let cost = cost(&self.scenario.runs[0], self.index, attempt.id.0 as usize);
        let transit = cost.serve(&mut self.link, sent.into_std());
        let (link, events) = (self.link.clone(), self.events.clone());
        let (peer, send) = (peer_id(self.index), attempt.send.unwrap());
        async move {
            if cost.refused {
                time::sleep_until(Instant::from_std(transit.last_byte)).await;
                return Err(AttemptError::new(AttemptErrorKind::Refused));
            }
            for received in (0..cost.bytes).step_by(16_384) {
                let at = link.arrival(transit, cost.transfer, received, cost.bytes);
                time::sleep_until(Instant::from_std(at)).await;
                let (length, at) = (Some(cost.bytes), Instant::now().into_std());
                events.send(PeerEvent::Progress { send, received, length, at }).unwrap();
            }
            time::sleep_until(Instant::from_std(transit.last_byte)).await;
            let (first_byte, done) = (Some(transit.first_byte), Instant::now().into_std());
            let timing = Timing { peer, sent: sent.into_std(), head: None, first_byte, done, bytes: cost.bytes };
            Ok(Answer { reply: reply(block(&attempt.request)), timing })
        }
        .boxed()
    }
}

async fn through_the_service(scenario: Scenario) -> Duration {
    let start = Instant::now();
    let scenario = Arc::new(scenario);
    let peers: Vec<_> = (0..4)
        .map(|index| {
            let (sender, events) = mpsc::unbounded_channel();
            let run = &scenario.runs[0];
            let link = link(&scenario, run, index, start.into_std());
            let service = ReportingPeer { index, scenario: scenario.clone(), link, events: sender };
            let round_trip = Duration::from_micros(run.peers[index].rtt_us);
            let peer = Peer::new(service, HEIGHT, round_trip).with_events(events);
            Ok::<_, AttemptError>(Change::Insert(peer_id(index), peer))
        })
        .collect();
    let settings = Settings { cap: 64, ..Settings::default() };
    let (service, driver) = SchedulerService::new(stream::iter(peers).chain(stream::pending()), settings);
    tokio::spawn(driver);
    let jobs = (0..JOBS as u64).map(|id| {
        let service = service.clone();
        async move {
            let mut attempt = attempt(id);
            while let Err(error) = service.clone().oneshot(attempt.clone()).await {
                assert_eq!(error.kind(), AttemptErrorKind::Refused);
                attempt.avoid.extend(error.peer());
            }
        }
    });
    futures_util::future::join_all(jobs).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_service_is_as_fast_as_the_plain_scheduler() {
    let (mut plain, mut service) = (0.0, 0.0);
    for seed in 0..6 {
        let scenario = scenario(seed);
        let base = Instant::now().into_std();
        let view = View { lengths: true, cap: 64 };
        plain += simulate(&scenario, &scenario.runs[0], view, base).makespan.as_secs_f64();
        service += through_the_service(scenario).await.as_secs_f64();
    }
    // Timers that round up to the next millisecond change a schedule here and there.
    assert!((0.95..1.05).contains(&(service / plain)), "{service} s through the service, {plain} s without");
}
