//! `qrinfo sync`: rotated quorums from nodes over TCP.

mod chain;
mod intake;
mod output;
mod peers;
mod settings;

use std::{io::Write, num::NonZeroUsize, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use qrinfo::{
    AttemptService, OrderedSync, ParallelSync, Peer, SequentialOptions, SequentialSync, SyncReport, adopt,
    first_answerable_cycle,
    plan::{Planner, anchor},
};
use qrinfo_core::{AttemptErrorKind, Network, QRInfoRequestSpec};
use qrinfo_verify::CheckLayer;
use spv_config::ClientConfig;
use spv_store::Store;
use tokio::time::Instant;
use tower::Layer;

pub(crate) use self::settings::is_misconfigured;
use self::{intake::Intake, output::Row};
use crate::{
    depth::Depth,
    progress::{Progress, Stderr},
};

/// Syncs rotated quorums from nodes.
///
/// Headers come from the nodes as well, unless a file brings them. With --data-dir, headers and replies are kept: a
/// sync that was stopped goes on where it was, without asking again. Kept replies are verified again in each sync; one
/// that fails is deleted and asked for again.
///
/// Every reply is verified against the headers. One that is false is asked of another node, and who sent it is not
/// asked again.
///
/// Settings come from these options, then from environment variables whose names begin with QRINFO_, then from the file
/// of --config. The documentation of the crate spv-config lists them.
///
/// Exits with 0 if nothing is missing, 1 otherwise, 2 if the command line or the configuration is wrong.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Configuration file in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// mainnet, testnet, devnet or regtest [default: network of the configuration, or mainnet]
    #[arg(long)]
    network: Option<Network>,
    /// Nodes to ask [default: peers of the configuration, or nodes from the network's DNS seeds]
    #[arg(long = "peer", value_name = "HOST:PORT", num_args = 1..)]
    peers: Vec<String>,
    /// Block headers in a file, 80 bytes each, from block 0 on; without it they are asked from the nodes
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// Directory for headers and replies [default: storage_path of the configuration, or none]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The first cycle, by the height of any of its blocks; without it, the first that the nodes can answer
    #[arg(long, value_name = "HEIGHT")]
    from_cycle: Option<u32>,
    /// The last cycle, by the height of any of its blocks; without it, the newest
    #[arg(long, value_name = "HEIGHT")]
    to_cycle: Option<u32>,
    /// Ask one peer at a time, one request at a time
    #[arg(long, conflicts_with = "parallel")]
    sequential: bool,
    /// Maximum number of requests in flight to all peers together [default: max_concurrent_qrinfo_requests of the
    /// configuration, or four for each peer, up to its max_concurrent_filter_requests]
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,
    /// How far replies are verified: what headers alone can tell, also the lists by their merkle roots, or also members
    /// and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Depth::Roots)]
    verify: Depth,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the sync and says whether it is complete.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let config = settings::load(options)?;
    let network = config.network;
    let store = match &config.storage_path {
        Some(directory) => Some(Store::open(directory, network)?),
        None => None,
    };
    let mut chain = chain::Source::open(network, options.from_cycle, options.headers.as_deref(), store.as_ref())?;
    let candidates = peers::connect(&config, &options.peers, store.as_ref()).await?;
    let connections = chain.sync(candidates, store.as_ref()).await?;
    let correlator = settings::correlator(&config, options.sequential);
    let peers: Vec<_> = connections.into_iter().map(|connection| adopt(connection, correlator)).collect();

    let hash_at = |height| chain.hash_at(height);
    let tip = chain.tip();
    let anchor = anchor(peers.iter().map(|peer| peer.start_height).chain([tip]));
    let planner = Planner { anchor, ..Planner::new(network, tip) };
    let first = match options.from_cycle {
        Some(height) => height,
        None => first_answerable_cycle(&peers, &planner, hash_at).await?,
    };
    let plan = planner.plan(first, options.to_cycle.unwrap_or(tip), hash_at)?;

    let started = Instant::now();
    let headers = Arc::new(chain.known_blocks());
    let for_checks = headers.clone();
    let check = CheckLayer::new(move |hash| for_checks.find(hash));
    let peers = peers.into_iter().map(|peer| peer.map(|service| check.layer(service))).collect();
    let mut intake = Intake::new(network, options.verify.level(), &plan, store.as_ref(), headers)?;
    let report = fetch(options, &config, &plan, peers, store.as_ref(), &mut intake).await?;
    let Intake { mut rows, unverified, .. } = intake;
    rows.sort_by_key(Row::cycle);
    let level = options.verify.name();
    let result = output::Outcome { network, level, rows, unverified, report, wall_time: started.elapsed() };
    match options.json {
        true => result.write_json(out)?,
        false => result.write_text(out)?,
    }
    if !result.is_complete() {
        eprintln!("qrinfo: {}", result.report.outcome);
    }
    Ok(result.is_complete())
}

/// Asks for what is not there yet, and takes each reply in as it is delivered.
async fn fetch<S>(
    options: &Options,
    config: &ClientConfig,
    plan: &[QRInfoRequestSpec],
    mut peers: Vec<Peer<S>>,
    store: Option<&Store>,
    intake: &mut Intake<'_>,
) -> Result<SyncReport>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    let mut report = SyncReport::default();
    loop {
        let gap = intake.next_to_ask().await?;
        if gap.is_empty() {
            break;
        }
        // Only where stored replies follow is there another round, and only for that are connections kept.
        let kept = if intake.has_stored() { peers.iter().map(copy).collect() } else { Vec::new() };
        let round = ask(options, config, (&plan[gap.clone()], gap.start), peers, intake).await?;
        report = report.and_later(round, gap.start);
        peers = kept;
        peers.retain(|peer| report.lost.iter().all(|lost| lost.peer != peer.id));
    }
    for lost in &report.lost {
        eprintln!("qrinfo: {} was given up: {}", lost.peer, lost.why);
        if let (Some(store), AttemptErrorKind::Malformed | AttemptErrorKind::False) = (store, lost.why) {
            peers::ban(store, lost.peer, &lost.why.to_string()).context("cannot keep a ban")?;
        }
    }
    Ok(report)
}

/// The same peer for a later round. Progress is reported to the first alone.
fn copy<S: Clone>(peer: &Peer<S>) -> Peer<S> {
    Peer::new(peer.id, peer.service.clone(), peer.start_height).with_round_trip(peer.round_trip)
}

/// Asks for a part of the plan, which begins at position `first`.
async fn ask<S>(
    options: &Options,
    config: &ClientConfig,
    (todo, first): (&[QRInfoRequestSpec], usize),
    peers: Vec<Peer<S>>,
    intake: &mut Intake<'_>,
) -> Result<SyncReport>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    let label = match options.sequential {
        true => "one at a time".to_owned(),
        false => format!("{} peers in parallel", peers.len()),
    };
    let progress = Progress::new(label, todo.len());
    let todo = todo.to_vec();
    if options.sequential {
        take_in(SequentialSync::new(todo, peers, SequentialOptions::default()), first, intake, progress).await
    } else {
        let parallel = settings::parallel(config, peers.len());
        take_in(ParallelSync::new(todo, peers, parallel), first, intake, progress).await
    }
}

async fn take_in(
    mut run: impl OrderedSync,
    first: usize,
    intake: &mut Intake<'_>,
    mut progress: Progress,
) -> Result<SyncReport> {
    while let Some(delivered) = run.next().await {
        match intake.take(first + delivered.index, &delivered).await? {
            Ok(()) => progress.update(&run.stats()),
            Err(falsehood) => {
                let error = anyhow::Error::new(falsehood.clone());
                let line = format!("qrinfo: {} sent a false reply: {error:#}\n", delivered.timing.peer);
                let _ = Stderr.write_all(line.as_bytes());
                run.reject_last(falsehood);
            }
        }
    }
    progress.finish();
    Ok(run.into_report())
}
