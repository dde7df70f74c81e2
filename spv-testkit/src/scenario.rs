//! Peers, replies and their times as explicit numbers.
//!
//! A scenario is what a scheduler is measured by: a number of *runs*, each with a few peers and a list of *jobs* to
//! bring, and for every peer and job how long that peer takes. Nothing is random any more, so the same client gets the
//! same result each time.
//!
//! [`Scenario::peer`] makes a [`SimulatedPeer`] of a run's peer. A job is a `getqrinfo` for a block of its own
//! ([`request`]), and its reply a decodable [`QRInfo`](qrinfo_core::message::QRInfo) of exactly the length that the run
//! says, which answers that request and no other: the whole stack works on it unchanged. Its masternode lists and
//! quorums are empty and its coinbases prove nothing.

mod answers;
mod job;
mod timeline;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use qrinfo_core::{Network, wire::frame};
use serde::Deserialize;

pub use self::{
    job::{SHORTEST_REPLY, request},
    timeline::Timeline,
};
use crate::{
    PeerProfile,
    simulated_peer::{SimulatedPeer, SimulatedPeerBuilder},
};

/// A scenario file.
///
/// ```
/// use std::time::Duration;
///
/// use futures_util::{SinkExt, StreamExt};
/// use qrinfo_core::{PeerId, Request, wire::frame::{Command, FrameEvent}};
/// use spv_peer::{PeerConfig, handshake};
/// use spv_testkit::{Scenario, Timeline, scenario};
/// use tokio::time::{Instant, sleep_until};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scenario = Scenario::from_json(br#"{
///     "name": "one job", "send_buffer_bytes": 1000000,
///     "runs": [{
///         "seed": 1, "window": null, "floor_us": 1, "lower_bound_us": 1, "clairvoyant_us": 1,
///         "reply_bytes": [20000],
///         "peers": [{ "rtt_us": 80001, "compute_us": [4321], "transfer_us": [1234] }]
///     }]
/// }"#)?;
///
/// // The run begins ten of its seconds from now: until then there is time to shake hands.
/// let ten_seconds = Timeline::EXACT * Duration::from_secs(10);
/// let timeline = Timeline::exact(Instant::now() + ten_seconds);
/// let peer = scenario.peer(0, 0, timeline).ok_or("no such peer")?.build();
/// let config = PeerConfig { handshake_timeout: ten_seconds, ..PeerConfig::new(scenario::NETWORK, 7) };
/// let mut connection = handshake(peer.connect(), PeerId::Address(([203, 0, 113, 5], 9999).into()), &config).await?;
///
/// sleep_until(timeline.start()).await;
/// connection.send(Request::from(scenario::request(0)).to_message().to_frame()).await?;
/// while let Some(event) = connection.next().await {
///     if matches!(event?, FrameEvent::Frame(frame) if frame.command == Command::QR_INFO) {
///         break;
///     }
/// }
/// assert_eq!(timeline.micros(Instant::now()), 80001 + 4321 + 1234);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The number of unsent bytes of replies at which a peer stops reading.
    pub send_buffer_bytes: u64,
    /// Independent measurements.
    pub runs: Vec<Run>,
}

/// One measurement of a [`Scenario`]: bring every job from these peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The peers.
    pub peers: Vec<PeerNumbers>,
    /// The length of each job's reply, its payload, in bytes.
    pub reply_bytes: Vec<u64>,
    /// The number of jobs, from the first undelivered one on, that may be in flight; `None` for no limit.
    pub window: Option<usize>,
    /// For each peer the jobs that it always refuses. Empty if no peer refuses any.
    #[serde(default)]
    pub refused: Vec<Vec<usize>>,
    /// A peer that becomes slow.
    pub stall: Option<Stall>,
    /// The time that a client with nothing to learn would take: every useful peer busy at its own mean rate, no tail.
    pub floor_us: u64,
    /// A time that no client can beat.
    pub lower_bound_us: u64,
    /// The time that a greedy client takes that knows every number.
    pub clairvoyant_us: u64,
}

/// The times of one peer, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerNumbers {
    /// The round trip.
    pub rtt_us: u64,
    /// For each job the time to make the reply, or to refuse.
    pub compute_us: Vec<u64>,
    /// For each job the reply's time on the link.
    pub transfer_us: Vec<u64>,
}

/// One peer becomes slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The index of the peer.
    pub peer: usize,
    /// From when on, in microseconds from the start of the run.
    pub at_us: u64,
    /// The factor by which computing and sending then take longer.
    pub factor: u32,
}

/// The reasons for which a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The text is no scenario.
    #[error("the scenario is malformed")]
    Malformed(#[from] serde_json::Error),
    /// A peer does not have one number for each job, or a reference leads nowhere.
    #[error("run {run}: {what}")]
    Inconsistent {
        /// The run, from 0.
        run: usize,
        /// The numbers that do not fit together.
        what: &'static str,
    },
    /// No `qrinfo` has this length.
    #[error("run {run}: the reply to job {job} has {bytes} bytes; {SHORTEST_REPLY} to 32 MiB are possible")]
    ReplyLength {
        /// The run, from 0.
        run: usize,
        /// The job.
        job: usize,
        /// The length.
        bytes: u64,
    },
}

/// The network of every scenario.
pub const NETWORK: Network = Network::Mainnet;

// === impl Scenario ===

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and [`ScenarioError::File`].
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let json = fs::read(path).map_err(|source| ScenarioError::File { path: path.into(), source })?;
        Self::from_json(&json)
    }

    /// Reads a scenario from the text of its file.
    ///
    /// # Errors
    /// [`ScenarioError`] says what is wrong with it.
    pub fn from_json(json: &[u8]) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_json::from_slice(json)?;
        for (number, run) in scenario.runs.iter().enumerate() {
            run.check(number)?;
        }
        Ok(scenario)
    }

    /// One of the scenarios that lie beside the repository, `../shared/bench/scenarios/<name>.json`. Tells on standard
    /// error what is not tested where it is missing.
    ///
    /// # Errors
    /// As [`load`](Self::load), if it is there and cannot be loaded.
    pub fn shared(name: &str) -> Result<Option<Self>, ScenarioError> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/bench/scenarios");
        let path = directory.join(name).with_extension("json");
        if path.is_file() {
            return Self::load(&path).map(Some);
        }
        eprintln!("{} is missing: nothing is tested on the scenario {name:?}", path.display());
        Ok(None)
    }

    /// A peer of a run, or `None` if there is no such peer. Its jobs take the times of the run; everything else takes
    /// half a round trip each way and no more. It refuses what the run says and any request that is not one of the
    /// run's jobs.
    pub fn peer(&self, run: usize, peer: usize, timeline: Timeline) -> Option<SimulatedPeerBuilder> {
        let run = self.runs.get(run)?;
        let numbers = run.peers.get(peer)?;
        let answers = answers::JobAnswers::new(run, numbers, peer, timeline);
        let profile = PeerProfile { round_trip: timeline.duration(numbers.rtt_us), ..PeerProfile::default() };
        let mut builder = SimulatedPeer::builder(answers)
            .profile(profile)
            .send_buffer(self.send_buffer_bytes)
            .progress(timeline.duration(Duration::from_millis(5).as_micros() as u64));
        if let Some(stall) = run.stall.filter(|stall| stall.peer == peer) {
            builder = builder.slow(timeline.at(stall.at_us).into_std(), stall.factor);
        }
        Some(builder)
    }
}

// === impl Run ===

impl Run {
    /// The number of jobs.
    pub fn jobs(&self) -> usize {
        self.reply_bytes.len()
    }

    fn check(&self, run: usize) -> Result<(), ScenarioError> {
        let jobs = self.jobs();
        let inconsistent = |what| Err(ScenarioError::Inconsistent { run, what });
        if self.peers.iter().any(|peer| peer.compute_us.len() != jobs || peer.transfer_us.len() != jobs) {
            return inconsistent("a peer does not have one compute and one transfer time for each reply");
        }
        if !self.refused.is_empty() && self.refused.len() != self.peers.len() {
            return inconsistent("there is not one list of refused jobs for each peer");
        }
        if self.refused.iter().flatten().any(|job| *job >= jobs) {
            return inconsistent("a job is refused that does not exist");
        }
        if self.stall.is_some_and(|stall| stall.peer >= self.peers.len() || stall.factor == 0) {
            return inconsistent("the stall's peer does not exist, or its factor is 0");
        }
        let possible = SHORTEST_REPLY..=frame::max_payload(frame::Command::QR_INFO) as u64;
        match self.reply_bytes.iter().enumerate().find(|(_, bytes)| !possible.contains(bytes)) {
            Some((job, &bytes)) => Err(ScenarioError::ReplyLength { run, job, bytes }),
            None => Ok(()),
        }
    }
}
