//! `qrinfo sync`: rotated quorums from nodes over TCP.

mod headers;
mod output;

use std::{io::Write, net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use qrinfo::{
    Peer, connect, first_answerable_cycle,
    plan::{Planner, anchor},
};
use qrinfo_core::Network;
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_peer::PeerConfig;
use tokio::{net::lookup_host, time::Instant};

use self::headers::Headers;
use crate::{
    progress::Progress,
    run::{Run, default_concurrency},
};

/// Sync rotated quorums from nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// mainnet, testnet, devnet or regtest
    #[arg(long)]
    network: Network,
    /// A node to ask; give it several times to ask several
    #[arg(long = "peer", value_name = "HOST:PORT", required = true)]
    peers: Vec<String>,
    /// Block headers: 80 bytes each, from block 0 on
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The first cycle, by the height of any of its blocks; without it, the first that the peers can answer
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
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the sync and says whether it is complete.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let headers = Headers::read(&options.headers, options.network)
        .with_context(|| format!("headers of {}", options.headers.display()))?;
    let mut peers = connect_all(options).await?;
    let start_heights = peers.iter().map(|peer| peer.start_height);
    // A peer refuses to be asked for a block that it does not have.
    let tip = start_heights.clone().chain([headers.tip()]).min().unwrap_or_default();
    let planner = Planner { anchor: anchor(start_heights.chain([tip])), ..Planner::new(options.network, tip) };
    let hash_at = |height| headers.hash_at(height);
    let first = match (options.from_cycle, peers.first_mut()) {
        (Some(height), _) => height,
        (None, Some(peer)) => first_answerable_cycle(peer, &planner, hash_at).await?,
        (None, None) => bail!("no peer could be connected"),
    };
    let plan = planner.plan(first, options.to_cycle.unwrap_or(tip), hash_at)?;

    let label = match options.sequential {
        true => "one at a time".to_owned(),
        false => format!("{} peers in parallel", peers.len()),
    };
    let mut progress = Progress::new(label, plan.len());
    let started = Instant::now();
    let limit = options.parallel.unwrap_or(default_concurrency(peers.len()));
    let cycles: Vec<_> = plan.iter().map(|spec| spec.cycle_height).collect();
    let mut run = match options.sequential {
        true => Run::sequential(plan, peers),
        false => Run::parallel(plan, peers, limit),
    };
    let mut rows = Vec::with_capacity(cycles.len());
    while let Some(delivered) = run.next().await {
        rows.push(output::Row::of(&delivered, cycles[delivered.index]));
        progress.update(&run.stats());
    }
    progress.finish();
    let report = run.into_report();
    let result = output::Result { network: options.network, rows, report, wall_time: started.elapsed() };
    match options.json {
        true => result.write_json(out)?,
        false => result.write_text(out)?,
    }
    Ok(result.report.outcome.is_complete())
}

/// Connects to every peer at once and goes on with those that can be used.
async fn connect_all(options: &Options) -> Result<Vec<Peer<PeerService>>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for peer in &options.peers {
        let found = lookup_host(peer).await.with_context(|| format!("{peer} is no HOST:PORT that resolves"))?;
        addresses.extend(found.take(1).filter(|address| !addresses.contains(address)).collect::<Vec<_>>());
    }
    let config = PeerConfig::new(options.network);
    let connecting = addresses.iter().map(async |&address| {
        connect(address, &config, CorrelatorConfig::default())
            .await
            .map_err(|error| anyhow::Error::new(error).context(format!("cannot use {address}")))
    });
    let mut peers = Vec::new();
    for result in join_all(connecting).await {
        match result {
            Ok(peer) => peers.push(peer),
            Err(error) => eprintln!("qrinfo: {error:#}"),
        }
    }
    if peers.is_empty() {
        bail!("none of the {} peers can be used", addresses.len());
    }
    Ok(peers)
}
