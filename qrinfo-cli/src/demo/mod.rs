//! `qrinfo demo`: a whole sync on recorded data, one peer at a time and from five at once.

mod bound;
mod table;

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use qrinfo::{Peer, SyncReport, connect, plan::Planner};
use qrinfo_core::{Network, QRInfoRequestSpec, Reply, message::PROTOCOL_VERSION, wire::Wire};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::PeerConfig;
use spv_testkit::{
    PeerProfile, RecordedPeer, Recording,
    recording::{Answer, CompleteSync, Plan},
};
use tokio::time::Instant;

use crate::{
    progress::Progress,
    run::{Run, default_concurrency},
};

/// The five peers, the fastest first: round trip and compute time in milliseconds, link in bytes per second. The spread
/// is that of nodes near and far, idle and busy.
const PROFILES: [PeerProfile; 5] = [
    profile(80, 80, 2_000_000),
    profile(120, 100, 1_000_000),
    profile(150, 130, 500_000),
    profile(220, 180, 250_000),
    profile(300, 260, 120_000),
];

const fn profile(round_trip: u64, compute: u64, rate: u64) -> PeerProfile {
    PeerProfile {
        round_trip: Duration::from_millis(round_trip),
        compute: Duration::from_millis(compute),
        rate: Some(rate),
    }
}

/// What one way of syncing did.
struct Measured {
    report: SyncReport,
    wall_time: Duration,
    /// Replies whose bytes are not the recorded ones.
    different: usize,
}

/// Runs the demo and says whether every reply arrived as recorded.
pub(crate) async fn run(out: &mut impl Write) -> Result<bool> {
    let recording = Arc::new(Recording::bundled().context("the recorded chain")?);
    let recorded = chained_sync(&recording)?;
    let expected: Vec<_> = recording.exchanges_of(recorded).collect();
    let plan = Planner { anchor: Some(recording.anchor()), ..Planner::new(recording.network(), recording.tip()) }
        .plan(recorded.first_cycle, recording.tip(), |height| recording.block_hash(height))?;
    ensure!(plan.len() == expected.len(), "the plan has {} requests, the recording {}", plan.len(), expected.len());
    let expected: Vec<_> = expected
        .into_iter()
        .map(|exchange| match &exchange.answer {
            Answer::Reply(bytes) => Ok(bytes.clone()),
            Answer::Refused => bail!("recorded exchange {} is a refusal", exchange.id),
        })
        .collect::<Result<_>>()?;

    let mut servers = Vec::new();
    for profile in PROFILES {
        servers.push(RecordedPeer::builder(recording.clone()).profile(profile).spawn().await?);
    }
    eprintln!(
        "{} cycles of a chain recorded from {}, {} recorded peers on this machine",
        plan.len(),
        recording.node(),
        servers.len()
    );

    let alone = measure("fastest peer, one at a time", &plan, &expected, &servers[..1], Run::sequential).await?;
    let limit = default_concurrency(servers.len());
    let label = format!("{} peers, up to {limit} at once", servers.len());
    let parallel = |plan, peers| Run::parallel(plan, peers, limit);
    let together = measure(&label, &plan, &expected, &servers, parallel).await?;

    let lengths: Vec<_> = expected.iter().map(|reply| reply.len()).collect();
    let bound = bound::best_time(&PROFILES, &lengths);
    table::print(out, limit, &alone, &together, bound)?;
    Ok([alone, together].iter().all(|measured| measured.report.outcome.is_complete() && measured.different == 0))
}

fn chained_sync(recording: &Recording) -> Result<&CompleteSync> {
    recording
        .complete_syncs()
        .iter()
        .find(|sync| sync.plan == Plan::Chained && sync.protocol == PROTOCOL_VERSION)
        .context("the recording holds no chained sync")
}

async fn measure(
    label: &str,
    plan: &[QRInfoRequestSpec],
    expected: &[Bytes],
    servers: &[RecordedPeer],
    start: impl FnOnce(Vec<QRInfoRequestSpec>, Vec<Peer<PeerService>>) -> Run,
) -> Result<Measured> {
    let mut peers = Vec::new();
    for server in servers {
        let config = PeerConfig::new(Network::Regtest, fastrand::u64(..));
        peers.push(connect(server.address(), &config, CorrelatorConfig::default()).await?);
    }
    let mut progress = Progress::new(label, plan.len());
    let mut different = 0;
    let started = Instant::now();
    let mut run = start(plan.to_vec(), peers);
    while let Some(delivered) = run.next().await {
        let Reply::QrInfo(reply) = &delivered.reply else { bail!("a reply is no qrinfo") };
        different += usize::from(expected.get(delivered.index) != Some(&reply.to_wire()));
        progress.update(&run.stats());
    }
    let wall_time = started.elapsed();
    progress.finish();
    Ok(Measured { report: run.into_report(), wall_time, different })
}
