//! Scenario files: explicit numbers, no randomness left.

use std::{fs, io, path::Path};

use serde::Deserialize;

use super::model::{Cost, ModelPeer, Stall};

#[derive(Debug, Deserialize)]
pub struct Scenario {
    pub name: String,
    pub send_buffer_bytes: f64,
    pub runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
pub struct Run {
    pub peers: Vec<PeerNumbers>,
    pub reply_bytes: Vec<f64>,
    pub window: Option<u64>,
    #[serde(default)]
    pub refused: Vec<Vec<usize>>,
    pub stall: Option<StallNumbers>,
    pub floor_us: f64,
}

#[derive(Debug, Deserialize)]
pub struct PeerNumbers {
    pub rtt_us: f64,
    pub compute_us: Vec<f64>,
    pub transfer_us: Vec<f64>,
}

#[derive(Debug, Deserialize)]
pub struct StallNumbers {
    pub peer: usize,
    pub at_us: f64,
    pub factor: f64,
}

impl Scenario {
    /// All `*.json` files of a directory, by name.
    pub fn load_all(directory: &Path) -> io::Result<Vec<Self>> {
        let mut paths: Vec<_> = fs::read_dir(directory)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Ok(serde_json::from_slice(&fs::read(path)?)?)).collect()
    }

    pub fn peer(&self, run: &Run, peer: usize) -> ModelPeer {
        let stall = run
            .stall
            .as_ref()
            .filter(|stall| stall.peer == peer)
            .map(|stall| Stall { at: stall.at_us, factor: stall.factor });
        ModelPeer::new(run.peers[peer].rtt_us, self.send_buffer_bytes, stall)
    }

    /// The makespan over the floor of one request at a time at the best peer; a refused one goes to the next best.
    pub fn one_at_a_time(&self, run: &Run) -> f64 {
        let mut by_mean: Vec<usize> = (0..run.peers.len()).collect();
        by_mean.sort_by(|&a, &b| run.mean_service(a).total_cmp(&run.mean_service(b)));
        let makespan = |best: usize| {
            let mut peers: Vec<ModelPeer> = (0..run.peers.len()).map(|peer| self.peer(run, peer)).collect();
            let order: Vec<usize> =
                std::iter::once(best).chain(by_mean.iter().copied().filter(|&peer| peer != best)).collect();
            (0..run.reply_bytes.len()).fold(0.0, |mut now, job| {
                for &peer in &order {
                    let cost = run.cost(peer, job);
                    now = peers[peer].serve(cost, now).done;
                    if !cost.refused {
                        break;
                    }
                }
                now
            })
        };
        by_mean.iter().map(|&best| makespan(best)).fold(f64::INFINITY, f64::min) / run.floor_us
    }
}

impl Run {
    pub fn cost(&self, peer: usize, job: usize) -> Cost {
        Cost {
            compute: self.peers[peer].compute_us[job],
            transfer: self.peers[peer].transfer_us[job],
            bytes: self.reply_bytes[job],
            refused: self.refused.get(peer).is_some_and(|refused| refused.contains(&job)),
        }
    }

    fn mean_service(&self, peer: usize) -> f64 {
        let PeerNumbers { rtt_us, compute_us, transfer_us } = &self.peers[peer];
        let jobs = compute_us.len() as f64;
        rtt_us + (compute_us.iter().sum::<f64>() + transfer_us.iter().sum::<f64>()) / jobs
    }
}
