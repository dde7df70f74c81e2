//! The real stack on the peers of a run.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use qrinfo_core::{Answer, Attempt, AttemptErrorKind, PeerId, Reply, wire::Wire};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{Scenario, Timeline, scenario};
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceExt};

use crate::arithmetic::{Seen, arithmetic};

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The end of each request, in microseconds of the run, peer by peer.
    pub(crate) done: Vec<u64>,
    /// The least difference from the arithmetic's time (rounded up to whole microseconds); negative if something came
    /// early.
    pub(crate) earliest: f64,
    /// The greatest difference.
    pub(crate) latest: f64,
    /// The number of times that the send buffer stopped a peer.
    pub(crate) gated: usize,
}

/// Asks every job of a run at a peer, in bursts, and compares what comes with the arithmetic.
pub(crate) async fn replay(scenario: &Scenario, run: usize, timeline: fn(Instant) -> Timeline) -> Replayed {
    let numbers = &scenario.runs[run];
    let scale = timeline(Instant::now()).scale();
    let timeline = timeline(Instant::now() + scale * Duration::from_secs(2));
    let mut peers = Vec::new();
    for (peer, asked) in schedule(run, numbers.peers.len(), numbers.jobs()).into_iter().enumerate() {
        let simulated = scenario.peer(run, peer, timeline).unwrap().build();
        let io = simulated.connect();
        let task = tokio::spawn(async move {
            let outcomes = ask(io, peer, &asked, timeline).await;
            (simulated, asked, outcomes)
        });
        peers.push(task);
    }

    let mut replayed = Replayed::default();
    for (peer, task) in peers.into_iter().enumerate() {
        let (simulated, asked, outcomes) = task.await.unwrap();
        let (expected, gated) = arithmetic(numbers, peer, scenario.send_buffer_bytes, &asked);
        replayed.gated += gated;
        let replies = expected.iter().filter(|seen| matches!(seen, Seen::Reply { .. })).count();
        assert_eq!(simulated.stats().requests, asked.len() as u64);
        assert_eq!(simulated.stats().replies, replies as u64);
        for ((outcome, expected), (sent, job)) in outcomes.into_iter().zip(expected).zip(asked) {
            assert_eq!(outcome.sent, sent, "peer {peer}, job {job}");
            let mut compare = |came: u64, expected: f64| {
                // A part of a nanosecond is the float's.
                let off = came as f64 - (expected - 1e-3).ceil();
                replayed.earliest = replayed.earliest.min(off);
                replayed.latest = replayed.latest.max(off);
            };
            match (outcome.reply_bytes, expected) {
                (Some(bytes), Seen::Reply { first, last }) => {
                    assert_eq!(bytes as u64, numbers.reply_bytes[job], "peer {peer}, job {job}");
                    compare(outcome.done, last);
                    // The first thing that is seen of a reply is its header: 24 bytes after the first one.
                    let header = (last - first) * 24.0 / (bytes + 24) as f64;
                    let off = outcome.first_byte as f64 - first;
                    let most = header + 1.0 + 1_000.0 / f64::from(scale);
                    assert!((-1e-3..most).contains(&off), "peer {peer}, job {job}: first byte off by {off}");
                }
                (None, Seen::Refusal { pong }) => compare(outcome.done, pong),
                (got, expected) => panic!("peer {peer}, job {job}: {got:?} instead of {expected:?}"),
            }
            replayed.done.push(outcome.done);
        }
    }
    replayed
}

/// The result of one request.
struct Outcome {
    sent: u64,
    first_byte: u64,
    done: u64,
    /// `None` for a refusal.
    reply_bytes: Option<usize>,
}

async fn ask(io: tokio::io::DuplexStream, peer: usize, asked: &[(u64, usize)], timeline: Timeline) -> Vec<Outcome> {
    let long = timeline.scale() * Duration::from_secs(1_000);
    let config = PeerConfig { handshake_timeout: long, ..PeerConfig::new(scenario::NETWORK, 9) };
    let id = PeerId::Address(([203, 0, 113, peer as u8], 9999).into());
    let connection = handshake(io, id, &config).await.unwrap();
    assert!(Instant::now() < timeline.start(), "the handshake takes the run's time");
    let config = CorrelatorConfig {
        depth: NonZeroUsize::new(1_000).unwrap(),
        head_timeout: 10 * long,
        min_rate: NonZeroU64::MIN,
        ..CorrelatorConfig::default()
    };
    let (mut service, driver) = PeerService::new(id, connection, config, |_| {});
    tokio::spawn(driver);

    let mut calls = Vec::new();
    for &(at, job) in asked {
        sleep_until(timeline.at(at)).await;
        let attempt = Attempt::new(job as u64, scenario::request(job).into());
        calls.push(tokio::spawn(service.ready().await.unwrap().call(attempt)));
    }
    let mut outcomes = Vec::new();
    for call in calls {
        let (reply_bytes, timing) = match call.await.unwrap() {
            Ok(Answer { reply: Reply::QrInfo(reply), timing }) => (Some(reply.to_wire().len()), timing),
            Ok(_) => panic!("a reply is no qrinfo"),
            Err(error) => {
                assert_eq!(error.kind(), AttemptErrorKind::Refused);
                (None, error.timing().unwrap())
            }
        };
        let micros = |instant| timeline.micros(Instant::from_std(instant));
        outcomes.push(Outcome {
            sent: micros(timing.sent),
            first_byte: timing.first_byte.map_or(0, micros),
            done: micros(timing.done),
            reply_bytes,
        });
    }
    outcomes
}

/// For each peer what it is asked and when: every job once, in bursts with pauses between them, on whole milliseconds,
/// which both scales can meet.
fn schedule(seed: usize, peers: usize, jobs: usize) -> Vec<Vec<(u64, usize)>> {
    let mut rng = fastrand::Rng::with_seed(seed as u64);
    let mut asked = vec![Vec::new(); peers];
    let mut now = vec![0; peers];
    for job in 0..jobs {
        let peer = rng.usize(..peers);
        if rng.f64() < 0.2 {
            now[peer] += 1_000 * rng.u64(..1_000);
        }
        asked[peer].push((now[peer], job));
    }
    asked
}
