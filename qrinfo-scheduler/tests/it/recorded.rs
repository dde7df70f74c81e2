//! The schedules of some made-up plans, as they were when `recorded.txt` was written: a rule that decides otherwise is
//! seen at once. `SPV_WRITE_RECORDED=1` writes the file anew after a change on purpose; its differences show what the
//! change costs and brings.

use std::{env, fmt::Write, fs, path::Path};

use fastrand::Rng;
use spv_testkit::{
    Scenario,
    scenario::{PeerNumbers, Run, Stall},
};

use crate::support::run::{View, simulate};

/// A kind of plan.
struct Kind {
    name: &'static str,
    jobs: usize,
    peers: usize,
    /// Mean length of a reply, bytes, and the exponent of its spread.
    bytes: (f64, f64),
    /// The share of replies of 3 MB.
    huge: f64,
    /// Mean round trip, microseconds.
    round_trip: f64,
    window: Option<usize>,
    /// The share of the requests that each peer refuses.
    refuses: f64,
    stalls: bool,
    view: View,
}

const PLAIN: Kind = Kind {
    name: "plain",
    jobs: 100,
    peers: 4,
    bytes: (200e3, 1.5),
    huge: 0.0,
    round_trip: 100e3,
    window: None,
    refuses: 0.0,
    stalls: false,
    view: View { lengths: true, cap: 64 },
};

const KINDS: [Kind; 11] = [
    PLAIN,
    Kind { name: "window of 16", window: Some(16), ..PLAIN },
    Kind { name: "window of 64, stall", window: Some(64), stalls: true, ..PLAIN },
    Kind { name: "stall", stalls: true, ..PLAIN },
    Kind { name: "refusals", refuses: 0.1, ..PLAIN },
    Kind { name: "half refused", peers: 5, refuses: 0.5, ..PLAIN },
    Kind { name: "far and small", bytes: (5e3, 0.2), round_trip: 600e3, ..PLAIN },
    Kind { name: "few of 3 MB", bytes: (5e3, 0.2), huge: 0.05, ..PLAIN },
    Kind { name: "short", jobs: 12, peers: 8, ..PLAIN },
    Kind { name: "lengths unknown", view: View { lengths: false, cap: 64 }, ..PLAIN },
    Kind { name: "at most 3 at a time", view: View { lengths: true, cap: 3 }, stalls: true, ..PLAIN },
];

impl Kind {
    fn scenario(&self, seed: u64) -> Scenario {
        let mut rng = Rng::with_seed(seed);
        let spread = |rng: &mut Rng, factor: f64| ((rng.f64() + rng.f64() - 1.0) * factor).exp();
        let bytes = |rng: &mut Rng| match rng.f64() < self.huge {
            true => 3_000_000,
            false => (self.bytes.0 * spread(rng, self.bytes.1)) as u64 + 500,
        };
        let reply_bytes: Vec<u64> = (0..self.jobs).map(|_| bytes(&mut rng)).collect();
        let peer = |rng: &mut Rng| {
            let (rate, compute) = (1.2 * spread(rng, 1.2), 30e3 * spread(rng, 1.0));
            PeerNumbers {
                transfer_us: reply_bytes.iter().map(|&bytes| (bytes as f64 / rate * spread(rng, 0.5)) as u64).collect(),
                rtt_us: (self.round_trip * spread(rng, 1.0)) as u64,
                compute_us: (0..self.jobs).map(|_| (compute * spread(rng, 0.8)) as u64).collect(),
            }
        };
        let peers: Vec<_> = (0..self.peers).map(|_| peer(&mut rng)).collect();
        // The last one answers everything.
        let refuses = |peer| if peer + 1 < self.peers { self.refuses } else { 0.0 };
        let refused = (0..self.peers).map(|peer| (0..self.jobs).filter(|_| rng.f64() < refuses(peer)).collect());
        let refused = refused.collect();
        let stall = self.stalls.then_some(Stall { peer: 1, at_us: 2_000_000, factor: 30 });
        let (window, floor_us, lower_bound_us, clairvoyant_us) = (self.window, 1, 1, 1);
        let run = Run { seed, peers, reply_bytes, window, refused, stall, floor_us, lower_bound_us, clairvoyant_us };
        Scenario { name: self.name.into(), send_buffer_bytes: 1_000_000, runs: vec![run] }
    }
}

#[test]
fn schedules_are_those_recorded() {
    let mut table = String::from("plan                  seed   seconds    mean  replies  in flight  depth  points\n");
    for kind in &KINDS {
        for seed in 0..6 {
            let scenario = kind.scenario(seed);
            let outcome = simulate(&scenario, &scenario.runs[0], kind.view, crate::support::now());
            let seconds = outcome.makespan.as_secs_f64();
            let mean = outcome.arrivals.as_secs_f64() / kind.jobs as f64;
            let (replies, in_flight, depth) = (outcome.replies, outcome.highest_in_flight, outcome.highest_depth);
            let points = outcome.points;
            let name = kind.name;
            writeln!(table, "{name:22}{seed:4}{seconds:10.3}{mean:8.4}{replies:9}{in_flight:11}{depth:7}{points:8}")
                .expect("a string takes everything");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorded.txt");
    if env::var_os("SPV_WRITE_RECORDED").is_some() {
        fs::write(&path, &table).expect("the file can be written");
    }
    let recorded = fs::read_to_string(&path).expect("the file is there");
    assert!(table == recorded, "not as recorded; with SPV_WRITE_RECORDED=1 it is written anew:\n{table}");
}
