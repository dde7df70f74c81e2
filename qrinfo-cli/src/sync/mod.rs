//! `qrinfo sync`: rotated quorums from nodes over TCP.

mod chain;
mod intake;
mod output;
mod peers;

use std::{io::Write, num::NonZeroUsize, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use qrinfo::{
    AttemptService, OrderedSync, Peer, SyncReport, adopt, first_answerable_cycle,
    plan::{Planner, anchor},
    storage::Store,
};
use qrinfo_core::{AttemptErrorKind, Network, QRInfoRequestSpec};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{CheckLayer, Level};
use tokio::time::Instant;
use tower::Layer;

use self::{intake::Intake, output::Row};
use crate::{
    progress::Progress,
    run::{default_concurrency, parallel, sequential},
};

/// Syncs rotated quorums from nodes.
///
/// Headers come from the nodes as well, unless a file brings them. With --data-dir, headers and replies are kept: a
/// sync that was stopped goes on where it was, without asking again.
///
/// Every reply is verified against the headers. One that is false is asked of another node, and who sent it is not
/// asked again.
///
/// Exits with 0 if nothing is missing, 1 otherwise, 2 if the command line is wrong.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// mainnet, testnet, devnet or regtest
    #[arg(long)]
    network: Network,
    /// Nodes to ask. Without it, nodes are found by the network's DNS seeds
    #[arg(long = "peer", value_name = "HOST:PORT", num_args = 1..)]
    peers: Vec<String>,
    /// Block headers in a file, 80 bytes each, from block 0 on; without it they are asked from the nodes
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// Where headers and replies are kept
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
    /// Requests under way at all peers together; without it four for each peer, at most 32
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,
    /// How far replies are verified: what headers alone can tell, also the lists by their merkle roots, or also members
    /// and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Verify::Roots)]
    verify: Verify,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Verify {
    Structure,
    Roots,
    Full,
}

impl Verify {
    fn level(self) -> Level {
        match self {
            Self::Structure => Level::Structure,
            Self::Roots => Level::Roots,
            Self::Full => Level::Full,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Roots => "roots",
            Self::Full => "full",
        }
    }
}

/// Runs the sync and says whether it is complete.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let network = options.network;
    let store = match &options.data_dir {
        Some(directory) => Some(Store::open(directory, network)?),
        None => None,
    };
    let mut chain = chain::Source::open(network, options.from_cycle, options.headers.as_deref(), store.as_ref())?;
    let candidates = peers::connect(network, &options.peers, store.as_ref()).await?;
    let connections = chain.sync(candidates, store.as_ref()).await?;
    let mut peers: Vec<_> =
        connections.into_iter().map(|connection| adopt(connection, CorrelatorConfig::default())).collect();

    let hash_at = |height| chain.hash_at(height);
    let tip = chain.tip();
    let anchor = anchor(peers.iter().map(|peer| peer.start_height).chain([tip]));
    let planner = Planner { anchor, ..Planner::new(network, tip) };
    let first = match (options.from_cycle, peers.first_mut()) {
        (Some(height), _) => height,
        (None, Some(peer)) => first_answerable_cycle(peer, &planner, hash_at).await?,
        (None, None) => anyhow::bail!("no peer is left"),
    };
    let plan = planner.plan(first, options.to_cycle.unwrap_or(tip), hash_at)?;

    let started = Instant::now();
    let headers = Arc::new(chain.known_blocks());
    let for_checks = headers.clone();
    let check = CheckLayer::new(move |hash| for_checks.find(hash));
    let peers = peers.into_iter().map(|peer| peer.map(|service| check.layer(service))).collect();
    let mut intake = Intake::new(network, options.verify.level(), &plan, store.as_ref(), headers)?;
    let report = fetch(options, &plan, peers, store.as_ref(), &mut intake).await?;
    let Intake { mut rows, unverified, .. } = intake;
    rows.sort_by_key(Row::cycle);
    let level = options.verify.name();
    let result = output::Outcome { network, level, rows, unverified, report, wall_time: started.elapsed() };
    match options.json {
        true => result.write_json(out)?,
        false => result.write_text(out)?,
    }
    Ok(result.is_complete())
}

/// Asks for what is not there yet, and takes each reply in as it is delivered.
async fn fetch<S>(
    options: &Options,
    plan: &[QRInfoRequestSpec],
    peers: Vec<Peer<S>>,
    store: Option<&Store>,
    intake: &mut Intake<'_>,
) -> Result<SyncReport>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    let label = match options.sequential {
        true => "one at a time".to_owned(),
        false => format!("{} peers in parallel", peers.len()),
    };
    let places = intake.to_ask();
    let todo: Vec<_> = places.iter().map(|place| plan[*place].clone()).collect();
    let progress = Progress::new(label, todo.len());
    let limit = options.parallel.unwrap_or(default_concurrency(peers.len()));
    let report = match options.sequential {
        true => take_in(sequential(todo, peers), &places, intake, progress).await?,
        false => take_in(parallel(todo, peers, limit), &places, intake, progress).await?,
    };
    intake.take_stored(plan.len()).await?;
    for lost in &report.lost {
        eprintln!("qrinfo: {} was given up: {}", lost.peer, lost.why);
        if let (Some(store), AttemptErrorKind::Malformed | AttemptErrorKind::False) = (store, lost.why) {
            peers::ban(store, lost.peer, &lost.why.to_string()).context("cannot keep a ban")?;
        }
    }
    Ok(report)
}

async fn take_in(
    mut run: impl OrderedSync,
    places: &[usize],
    intake: &mut Intake<'_>,
    mut progress: Progress,
) -> Result<SyncReport> {
    while let Some(delivered) = run.next().await {
        match intake.take(places[delivered.index], &delivered).await? {
            Ok(()) => progress.update(&run.stats()),
            Err(falsehood) => {
                eprintln!(
                    "qrinfo: {} sent a false reply: {:#}",
                    delivered.timing.peer,
                    anyhow::Error::new(falsehood.clone())
                );
                run.reject_last(falsehood);
            }
        }
    }
    progress.finish();
    Ok(run.into_report())
}
