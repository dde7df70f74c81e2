//! CPU time of the scheduler per request, compared with a bare tower stack. Both are measured in turns in one run.
//!
//! Peers answer from memory after 20 to 60 ms of virtual time. The figures therefore contain no wire, no decoding and
//! no waiting.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Result;
use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, Reply, RequestId,
    Timing, message::MnListDiff,
};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings};
use qrinfo_scheduler::{Peer, SchedulerService, Settings, Window};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, discover::Change};

const REQUESTS: u64 = 20_000;
const ROUNDS: usize = 7;
const PEERS: u8 = 5;
/// Requests in flight, and those with the waiting ones.
const CAP: usize = 20;
const SUBMITTED: usize = 64;
/// Requests that wait at the same time while four of five peers refuse everything.
const REFUSED: [u64; 2] = [3_000, 6_000];

pub(super) fn run() -> Result<()> {
    let (mut bare, mut scheduled, mut windowed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(measure(through_tower())?);
        scheduled.push(measure(through_the_scheduler(None))?);
        windowed.push(measure(through_the_scheduler(Some(Window { first: RequestId(0), length: REQUESTS })))?);
    }
    let (bare, scheduled, windowed) = (median(bare), median(scheduled), median(windowed));
    eprintln!("CPU time per request, median of {ROUNDS} rounds of {REQUESTS} requests, {PEERS} peers, {CAP} in flight");
    eprintln!("bare tower stack (buffer, concurrency limit, timeout)  {bare:>6.2} us");
    for requests in REFUSED {
        let micros = measure(through_refusals(requests))? * REQUESTS as f64 / requests as f64;
        eprintln!("{:<54} {micros:>6.2} us", format!("four of five peers refuse, {requests} requests waiting"));
    }
    for (name, micros) in [("SchedulerService", scheduled), ("SchedulerService, under a window", windowed)] {
        eprintln!("{name:<54} {micros:>6.2} us: {:.2} us more (at most 5)", micros - bare);
    }
    Ok(())
}

/// Microseconds of CPU time per request.
fn measure(run: impl Future<Output = Result<()>>) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let before = cpu_time();
    runtime.block_on(run)?;
    Ok((cpu_time() - before).as_secs_f64() * 1e6 / REQUESTS as f64)
}

async fn through_tower() -> Result<()> {
    let stack = ServiceBuilder::new()
        .buffer(SUBMITTED)
        .concurrency_limit(CAP)
        .timeout(Duration::from_secs(30))
        .service(Instantly { peer: peer_id(0), refuses: false });
    ask_all(stack, SUBMITTED as u64, REQUESTS).await
}

async fn through_the_scheduler(window: Option<Window>) -> Result<()> {
    let service = scheduler(|_| false);
    service.handle().set_window(window);
    ask_all(service, SUBMITTED as u64, REQUESTS).await
}

/// Only the last peer answers. Requests that the others refused are asked of it.
async fn through_refusals(requests: u64) -> Result<()> {
    let service = scheduler(|number| number + 1 < PEERS);
    let layer = RecoveryLayer::new(RecoverySettings::default()).with_peers(service.handle().peers());
    ask_all(layer.layer(service), requests, requests).await
}

fn scheduler(refuses: impl Fn(u8) -> bool) -> SchedulerService {
    let peer = |number| {
        let service = Instantly { peer: peer_id(number), refuses: refuses(number) };
        Ok::<_, Infallible>(Change::Insert(service.peer, Peer::new(service, 0, Duration::from_millis(20))))
    };
    let peers: Vec<_> = (0..PEERS).map(peer).collect();
    let settings = Settings { cap: CAP, ..Settings::default() };
    let (service, driver) = SchedulerService::new(stream::iter(peers).chain(stream::pending()), settings);
    tokio::spawn(driver);
    service
}

async fn ask_all<S>(service: S, submitted: u64, requests: u64) -> Result<()>
where
    S: Service<Attempt, Response = Answer, Error: Into<BoxError>> + Clone,
{
    let ask = |id| service.clone().oneshot(Attempt::new(id, request(id).into()));
    let mut asked: FuturesUnordered<_> = (0..submitted).map(ask).collect();
    let mut next = submitted;
    while let Some(result) = asked.next().await {
        result.map_err(|error| anyhow::Error::from_boxed(error.into()))?;
        if next < requests {
            asked.push(ask(next));
            next += 1;
        }
    }
    Ok(())
}

/// A peer that answers from memory.
#[derive(Debug, Clone, Copy)]
struct Instantly {
    peer: PeerId,
    refuses: bool,
}

impl Service<Attempt> for Instantly {
    type Response = Answer;
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, AttemptError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let Self { peer, refuses } = *self;
        Box::pin(async move {
            let sent = Instant::now().into_std();
            sleep(Duration::from_millis(20 + attempt.id.0 % 41)).await;
            if refuses {
                return Err(AttemptError::new(AttemptErrorKind::Refused).at(peer));
            }
            let done = Instant::now().into_std();
            let qrinfo_core::Request::MnListDiff(spec) = attempt.request else {
                return Err(AttemptError::new(AttemptErrorKind::Local));
            };
            let timing = Timing { peer, sent, head: Some(sent), first_byte: Some(done), done, bytes: 19_000 };
            Ok(Answer {
                reply: Reply::MnListDiff(Box::new(MnListDiff::empty(spec.base_block_hash, spec.block_hash))),
                timing,
            })
        })
    }
}

fn request(id: u64) -> MnListDiffRequestSpec {
    let mut block = [0; 32];
    block[..8].copy_from_slice(&id.to_le_bytes());
    MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes(block) }
}

fn peer_id(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number + 1], 9999).into())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
