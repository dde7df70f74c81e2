//! `qrinfo demo`: a whole sync, one peer at a time and from five at once.

mod bound;
mod stage;
mod table;

use std::{io::Write, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use qrinfo::{
    OrderedSync, ParallelOptions, ParallelSync, SequentialOptions, SequentialSync, SyncReport, connect,
    verify::Verifier,
};
use qrinfo_core::{Reply, wire::Wire};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{CheckLayer, Level, ListStage, VerifyError};
use spv_peer::PeerConfig;
use tokio::time::Instant;
use tower::Layer;

use self::stage::{PROFILES, Stage};
use crate::{progress::Progress, report::Report, run::default_concurrency, screen};

/// Syncs from peers on this machine: from the fastest alone, then from five at once.
///
/// The peers answer as recorded from a node, with delays and link rates of their own. Every reply is verified against
/// the headers, and compared with the recording. Exits with 0 only if nothing is missing or different.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// 48 cycles of a made-up chain of mainnet's size, instead of 64 recorded ones
    #[arg(long)]
    mainnet_size: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a page that shows every request of both syncs to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Both ways of syncing, and the best time that the peers allow.
struct Outcome {
    /// The requests that five peers had in flight at most.
    limit: NonZeroUsize,
    alone: Measured,
    together: Measured,
    bound: Duration,
    /// The requests of the plan.
    requests: usize,
}

/// The result of one way of syncing.
struct Measured {
    report: SyncReport,
    wall_time: Duration,
    /// Replies whose lists have the roots that the headers prove.
    verified: usize,
    /// Replies whose bytes are not the expected ones.
    different: usize,
}

/// Runs the demo. Returns `true` if every reply arrived as expected.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let stage = if options.mainnet_size { Stage::mainnet_size().await? } else { Stage::recorded().await? };
    eprintln!("{}, {} peers on this machine", stage.what, stage.peers.len());
    let addresses: Vec<_> = stage.peers.iter().map(|(_, address)| *address).collect();

    let page = options.report.is_some().then(Report::default);
    let alone = measure("fastest peer, one at a time", &stage, &addresses[..1], None, page.as_ref()).await?;
    let limit = default_concurrency(addresses.len());
    let label = format!("{} peers, up to {limit} at once", addresses.len());
    let together = measure(&label, &stage, &addresses, Some(limit), page.as_ref()).await?;

    let lengths: Vec<_> = stage.expected.iter().map(|reply| reply.len()).collect();
    let bound = bound::best_time(&PROFILES, &lengths);
    let outcome = Outcome { limit, alone, together, bound, requests: stage.plan.len() };
    if let (Some(page), Some(path)) = (page, &options.report) {
        page.fact("chain", &stage.what);
        page.fact("one peer", format!("{:.2} s", outcome.alone.wall_time.as_secs_f64()));
        page.fact("five peers", format!("{:.2} s", outcome.together.wall_time.as_secs_f64()));
        page.fact("best possible", format!("{:.2} s", bound.as_secs_f64()));
        page.write(path)?;
    }
    match options.json {
        true => table::write_json(out, &outcome)?,
        false => table::write_text(out, &outcome, screen::width())?,
    }
    Ok(outcome.is_complete())
}

// === impl Outcome ===

impl Outcome {
    /// True if every reply of both syncs arrived as expected.
    fn is_complete(&self) -> bool {
        [&self.alone, &self.together].iter().all(|measured| {
            measured.report.outcome.is_complete() && measured.different == 0 && measured.verified == self.requests
        })
    }
}

async fn measure(
    label: &str,
    stage: &Stage,
    addresses: &[SocketAddr],
    limit: Option<NonZeroUsize>,
    page: Option<&Report>,
) -> Result<Measured> {
    let headers = stage.headers.clone();
    let check = CheckLayer::new(move |hash| headers.find(hash));
    let mut peers = Vec::new();
    for address in addresses {
        let config = PeerConfig::new(stage.network, fastrand::u64(..));
        let peer = connect(*address, &config, CorrelatorConfig::default()).await?;
        peers.push(peer.map(|service| check.layer(service)));
    }
    let progress = Progress::new(label, stage.plan.len());
    let plan = stage.plan.clone();
    let follow = |events| page.inspect(|page| page.follow(label, events));
    match limit {
        None => {
            let run = SequentialSync::new(plan, peers, SequentialOptions::default());
            follow(run.events());
            take_in(run, stage, progress).await
        }
        Some(max_concurrent) => {
            let options = ParallelOptions { max_concurrent, ..Default::default() };
            let run = ParallelSync::new(plan, peers, options);
            follow(run.events());
            take_in(run, stage, progress).await
        }
    }
}

async fn take_in(mut run: impl OrderedSync, stage: &Stage, mut progress: Progress) -> Result<Measured> {
    let headers = stage.headers.clone();
    let mut verifier = Verifier::new(ListStage::new(stage.network, Level::Roots), move |hash| headers.find(hash));
    let (mut verified, mut different) = (0, 0);
    let started = Instant::now();
    while let Some(delivered) = run.next().await {
        match verifier.take(stage.plan[delivered.index].clone(), &delivered.reply).await {
            Ok(_) => verified += 1,
            Err(VerifyError::False(falsehood)) => {
                run.reject_last(falsehood);
                continue;
            }
            Err(missing) => return Err(missing.into()),
        }
        let Reply::QrInfo(reply) = &delivered.reply else { bail!("a reply is no qrinfo") };
        different += usize::from(stage.expected.get(delivered.index) != Some(&reply.to_wire()));
        progress.update(&run.stats());
    }
    let wall_time = started.elapsed();
    progress.finish();
    Ok(Measured { report: run.into_report(), wall_time, verified, different })
}
