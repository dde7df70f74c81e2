//! Replayed scenarios against the arithmetic of the peer model, worked out step by step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arithmetic;
mod files;
mod replay;

use std::time::Duration;

use spv_testkit::{
    Scenario, Timeline,
    scenario::{PeerNumbers, Run, Stall},
};
use tokio::time::Instant;

use self::replay::replay;

/// A scenario that is always there: replies that fill the send buffer, refusals, a stall.
fn small() -> Scenario {
    let mut rng = fastrand::Rng::with_seed(11);
    let jobs = 60;
    let mut run = |refused: bool, stall: Option<Stall>| {
        let reply_bytes: Vec<_> = (0..jobs).map(|_| [900, 20_000, 313_209, 1_500_000][rng.usize(..4)]).collect();
        let mut peers = Vec::new();
        for bytes_per_us in [2, 3, 1] {
            peers.push(PeerNumbers {
                rtt_us: rng.u64(20_000..300_000),
                compute_us: (0..jobs).map(|_| rng.u64(4_000..300_000)).collect(),
                transfer_us: reply_bytes.iter().map(|bytes| bytes / bytes_per_us + rng.u64(..2_000)).collect(),
            });
        }
        let refused = (0..if refused { peers.len() } else { 0 })
            .map(|_| (0..jobs).filter(|_| rng.f64() < 0.2).collect())
            .collect();
        let (floor_us, lower_bound_us, clairvoyant_us) = (0, 0, 0);
        Run { seed: 11, peers, reply_bytes, window: None, refused, stall, floor_us, lower_bound_us, clairvoyant_us }
    };
    let stall = Stall { peer: 1, at_us: 1_234_567, factor: 30 };
    let runs = vec![run(false, None), run(true, None), run(true, Some(stall))];
    Scenario { name: "small".into(), send_buffer_bytes: 1_000_000, runs }
}

#[tokio::test(start_paused = true)]
async fn a_small_scenario_takes_the_arithmetic_times_to_the_microsecond() {
    let scenario = small();
    let mut gated = 0;
    for run in 0..scenario.runs.len() {
        let replayed = replay(&scenario, run, Timeline::exact).await;
        assert_eq!((replayed.earliest, replayed.latest), (0.0, 0.0), "run {run}: off by so much");
        gated += replayed.gated;
    }
    assert!(gated > 20, "the send buffer stopped a peer only {gated} times");
}

#[tokio::test(start_paused = true)]
async fn in_real_time_everything_comes_up_to_a_millisecond_late() {
    let scenario = small();
    let replayed = replay(&scenario, 0, Timeline::real).await;
    assert!(replayed.earliest >= 0.0 && replayed.latest < 1_000.0, "{replayed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_the_same_each_time() {
    let scenario = small();
    let first = replay(&scenario, 2, Timeline::exact).await.done;
    tokio::time::sleep(Duration::from_micros(777)).await;
    assert_eq!(replay(&scenario, 2, Timeline::exact).await.done, first);
}

#[test]
fn a_timeline_tells_microseconds_and_instants_apart() {
    let start = Instant::now();
    for timeline in [Timeline::real(start), Timeline::exact(start)] {
        assert_eq!(timeline.at(0), start);
        assert_eq!(timeline.micros(timeline.at(4_567)), 4_567);
        assert_eq!(timeline.micros(timeline.at(4_567) - Duration::from_nanos(1)), 4_566);
        assert_eq!(timeline.micros(start - Duration::from_secs(1)), 0);
        assert!(timeline.at(u64::MAX) > timeline.at(1 << 40));
    }
    assert_eq!(Timeline::exact(start).duration(1), Duration::from_millis(1));
}
