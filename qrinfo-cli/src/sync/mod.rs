//! `qrinfo sync`: rotated quorums from nodes over TCP.

mod chain;
mod intake;
mod nodes;
mod output;
mod roster;
mod settings;

use std::{future::ready, io::Write, num::NonZeroUsize, path::PathBuf, sync::Arc};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use qrinfo::{
    AttemptService, OrderedSync, ParallelSync, Peer, SequentialOptions, SequentialSync, SyncEvent, SyncReport, adopt,
    first_answerable_cycle,
    nodes::Ledger,
    plan::{Planner, anchor},
};
use qrinfo_core::{AttemptErrorKind, PeerEvent, QRInfoRequestSpec};
use qrinfo_verify::CheckLayer;
use spv_config::ClientConfig;
use spv_peer::Connection;
use spv_store::Store;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};
use tower::Layer;

pub(crate) use self::settings::is_misconfigured;
use self::{
    chain::Admission,
    intake::Intake,
    nodes::Nodes,
    output::{Row, Tip},
    roster::{Held, Roster},
};
use crate::{
    depth::Depth,
    progress::{Progress, Stderr},
};

/// Syncs the rotated quorums of the newest cycle and the masternode list at the tip from Dash nodes.
///
/// With --history, also syncs every earlier cycle that the nodes can answer. With --from-cycle, syncs the cycles from a
/// height on.
///
/// Block headers come from the nodes, or from the file of --headers. The sync works with the chain that the most nodes
/// are on.
///
/// Every reply is verified against the headers. If a reply is false, another node is asked for it, and its sender is
/// not asked again.
///
/// With --data-dir, headers and replies are stored, and a later run asks only for what is missing. Stored replies are
/// verified again in each run. A stored reply that fails is deleted and asked for again.
///
/// With --proxy, all connections go through a SOCKS5 proxy, which also resolves host names.
///
/// Settings come from these options, then from environment variables whose names begin with QRINFO_, then from the file
/// of --config. The documentation of the crate spv-config lists them.
///
/// Exits with 0 if nothing is missing, 1 otherwise, 2 if the command line or the configuration is wrong.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(flatten)]
    nodes: crate::nodes::NodeOptions,
    /// File of block headers, 80 bytes each, from block 0 on [default: headers from the nodes]
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// Sync all cycles, from the first one that the nodes can answer
    #[arg(long, conflicts_with = "from_cycle")]
    history: bool,
    /// First cycle to sync, as the height of any of its blocks [default: the last cycle to sync]
    #[arg(long, value_name = "HEIGHT")]
    from_cycle: Option<u32>,
    /// Last cycle to sync, as the height of any of its blocks [default: the newest cycle]
    #[arg(long, value_name = "HEIGHT")]
    to_cycle: Option<u32>,
    /// Ask one peer at a time, one request at a time
    #[arg(long, conflicts_with = "parallel")]
    sequential: bool,
    /// Maximum number of requests in flight to all peers together [default: max_concurrent_qrinfo_requests of the
    /// configuration, or four for each peer, up to its max_concurrent_filter_requests]
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,
    /// Level of verification: the checks that need headers alone, also the lists by their merkle roots, or also members
    /// and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Depth::Roots)]
    verify: Depth,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The cycles to sync.
#[derive(Debug, Clone, Copy)]
enum Range {
    /// The last cycle alone.
    Newest,
    /// From a height on.
    From(u32),
    /// From the first that the nodes can answer.
    History,
}

/// Runs the sync. Returns true if it is complete.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let started = Instant::now();
    let config = settings::load(options)?;
    let network = config.network;
    let store = match &config.storage_path {
        Some(directory) => Some(Store::open(directory, network)?),
        None => None,
    };
    let mut nodes = nodes::connect(&config, &options.nodes.peers, store.as_ref()).await?;
    let source = chain::Source::open(network, options.range(), options.headers.as_deref(), store.as_ref())?;
    let mut agreed = source.sync(&mut nodes, store.as_ref()).await?;
    let tip = Tip { height: agreed.chain.tip(), hash: agreed.chain.tip_hash(), nodes: agreed.followers };

    let headers = Arc::new(agreed.known_blocks());
    let for_checks = headers.clone();
    let check = CheckLayer::new(move |hash| for_checks.find(hash));
    let correlator = settings::correlator(&config, options.sequential);
    let ledger = nodes.ledger.clone();
    let (places, blocks) = (ledger.clone(), headers.clone());
    let ask = move |connection: Connection, height| {
        let id = connection.peer();
        let hold = |service| Held::new(check.layer(service), blocks.clone(), (id, height), places.used(id));
        let peer = adopt(connection, correlator).map(hold);
        peer.with_start_height(height)
    };
    let common = agreed.common_height();
    let peers: Vec<_> = agreed.nodes.drain(..).map(|(connection, height)| ask(connection, height)).collect();

    let hash_at = |height| agreed.hash_at(height);
    let planner = Planner { anchor: anchor([common]), ..Planner::new(network, common) };
    let last = options.to_cycle.unwrap_or(common);
    let first = match options.range() {
        Range::Newest => last,
        Range::From(height) => height,
        Range::History => first_answerable_cycle(&peers, &planner, hash_at).await?,
    };
    let plan = planner.plan(first, last, hash_at)?;
    // The blocks of one request at least.
    let needed = plan.first().and_then(|spec| agreed.chain.height_of(&spec.block_hash)).max(planner.anchor);
    let needed = needed.unwrap_or_default();
    let (peers, behind): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.start_height >= needed);
    behind.into_iter().for_each(|peer| ledger.left(peer.id, "is not asked: it is behind"));

    let (sender, late) = mpsc::channel(1);
    tokio::spawn(admit(nodes, agreed.admission(needed, ledger.clone()), ask, sender));
    let mut intake = Intake::new(network, options.verify.level(), &plan, store.as_ref(), headers)?;
    let report = fetch(options, &config, &plan, (Roster::new(peers, late), &ledger), &mut intake).await?;
    let Intake { mut rows, unverified, .. } = intake;
    rows.sort_by_key(Row::cycle);
    ledger.remember(rows.iter().filter_map(Row::sender)).await?;
    let (wall_time, level) = (started.elapsed(), options.verify.name());
    let (used, left) = (ledger.count_used(), ledger.all_left());
    let result = output::Outcome { network, tip, used, left, level, rows, unverified, report, wall_time };
    match options.json {
        true => result.write_json(out)?,
        false => result.write_text(out)?,
    }
    if !result.is_complete() {
        eprintln!("qrinfo: {}", result.report.outcome);
    }
    Ok(result.is_complete())
}

/// Adds nodes that connect after the start, if they are on our chain.
async fn admit<S: Send + 'static>(
    mut nodes: Nodes,
    admission: Admission,
    ask: impl Fn(Connection, u32) -> Peer<S> + Clone + Send + 'static,
    joined: mpsc::Sender<Peer<S>>,
) {
    loop {
        let connection = tokio::select! {
            connection = nodes.next() => connection,
            () = joined.closed() => None,
        };
        let Some(connection) = connection else { return };
        let (admission, ask, joined) = (admission.clone(), ask.clone(), joined.clone());
        tokio::spawn(async move {
            if let Some((connection, height)) = admission.admit(connection).await {
                // After the end of the sync the receiver is gone; the node is not needed then.
                let _ = joined.send(ask(connection, height)).await;
            }
        });
    }
}

/// Asks for the replies that are not there yet, and takes in each reply as it is delivered.
async fn fetch<S>(
    options: &Options,
    config: &ClientConfig,
    plan: &[QRInfoRequestSpec],
    (mut roster, ledger): (Roster<S>, &Ledger),
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
        let round = ask(options, config, (&plan[gap.clone()], gap.start), (&mut roster, ledger), intake).await?;
        report = report.and_later(round, gap.start);
        roster.after(&report);
    }
    for lost in &report.lost {
        let why = lost.why.to_string();
        match lost.why {
            AttemptErrorKind::Malformed | AttemptErrorKind::False => ledger.ban(lost.peer, &why),
            _ => ledger.left(lost.peer, &format!("is not asked any further: {why}")),
        }
    }
    Ok(report)
}

/// Asks for a part of the plan, which begins at position `first`.
async fn ask<S>(
    options: &Options,
    config: &ClientConfig,
    (todo, first): (&[QRInfoRequestSpec], usize),
    (roster, ledger): (&mut Roster<S>, &Ledger),
    intake: &mut Intake<'_>,
) -> Result<SyncReport>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    // Another round follows only if stored replies come after this part.
    let is_last = !intake.has_stored();
    let label = match options.sequential {
        true => "one at a time".to_owned(),
        false => format!("{} peers in parallel", roster.len()),
    };
    let progress = Progress::new(label, todo.len());
    let todo = todo.to_vec();
    if options.sequential {
        let run = SequentialSync::new(todo, roster.present(is_last), SequentialOptions::default());
        tokio::spawn(ban_liars(run.events(), ledger.clone()));
        take_in(run, first, intake, progress).await
    } else {
        let parallel = settings::parallel(config, roster.len());
        // No node is asked before its ban would be heard.
        let (is_heard, wait) = oneshot::channel::<()>();
        let peers = stream::once(wait).filter_map(|_| ready(None)).chain(roster.all(is_last));
        let run = ParallelSync::with_changing_peers(todo, peers, parallel);
        tokio::spawn(ban_liars(run.events(), ledger.clone()));
        drop(is_heard);
        take_in(run, first, intake, progress).await
    }
}

/// Bans nodes that sent something false at once, so that others take their places.
async fn ban_liars(mut events: broadcast::Receiver<SyncEvent>, ledger: Ledger) {
    loop {
        match events.recv().await {
            Ok(SyncEvent::Peer(PeerEvent::Banned { peer, why })) => ledger.ban(peer, &why.to_string()),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
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

// === impl Options ===

impl Options {
    fn range(&self) -> Range {
        match (self.from_cycle, self.history) {
            (Some(height), _) => Range::From(height),
            (None, true) => Range::History,
            (None, false) => Range::Newest,
        }
    }
}
