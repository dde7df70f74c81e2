//! `qrinfo sync`: rotated quorums from nodes over TCP.

mod chain;
mod intake;
mod lists;
mod nodes;
mod output;
mod roster;
mod settings;

use std::{collections::BTreeMap, future::ready, io::Write, num::NonZeroUsize, path::PathBuf, sync::Arc};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use qrinfo::{
    AttemptService, OrderedSync, ParallelSync, Peer, ProbeError, SequentialSync, SyncEvent, SyncReport, adopt,
    first_answerable_cycle, is_answerable,
    nodes::{Ledger, on_one_line},
    plan::{PlanError, Planner, anchor},
};
use qrinfo_core::{AttemptErrorKind, BlockHash, Network, PeerEvent, QRInfoRequestSpec};
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
    report::Report,
    screen,
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
/// A devnet or a local network may have no rotated quorums. Then the masternode list and all active quorums at the tip
/// are synced instead. If its coinbase proves that no rotated quorum is active, nothing is missing.
///
/// With --json, one object is printed, also if the sync ends early: "complete" is false then, and "outcome" is the
/// reason. Nothing is printed if the command line or the configuration is wrong.
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
    /// Maximum number of requests in flight to all peers together [default: max_concurrent_qrinfo_requests or
    /// max_concurrent_filter_requests of the configuration if set there, else as many as suits the peers' speeds]
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,
    /// Level of verification: the checks that need headers alone, also the lists by their merkle roots, or also members
    /// and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Depth::Roots)]
    verify: Depth,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a page that shows every request of the sync to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
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

/// A run of the command.
struct Run<'a> {
    options: &'a Options,
    started: Instant,
    /// Records every request, if a report is wanted.
    page: Option<Report>,
}

/// The user has interrupted the sync.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; {kept}")]
struct Interrupted {
    kept: String,
}

/// Returns `true` if the error is an interruption by the user.
pub(crate) fn is_interrupted(error: &anyhow::Error) -> bool {
    error.is::<Interrupted>()
}

/// Runs the sync; `per_cycle` prints a line for each cycle as well. Returns true if it is complete.
pub(crate) async fn run(options: &Options, per_cycle: bool, out: &mut impl Write) -> Result<bool> {
    let run = Run { options, started: Instant::now(), page: options.report.is_some().then(Report::default) };
    let started = run.started;
    let config = settings::load(options)?;
    let (network, level) = (config.network, options.verify.name());
    let (left, synced) = match begin(&config, options).await {
        Ok((nodes, store)) => {
            let ledger = nodes.ledger.clone();
            let synced = tokio::select! {
                synced = sync(&run, &config, nodes, store.as_ref()) => synced,
                _ = tokio::signal::ctrl_c() => Err(Interrupted { kept: kept(store.as_ref()) }.into()),
            };
            (ledger.all_left(), synced)
        }
        Err(error) => (BTreeMap::new(), Err(error)),
    };
    let result = match synced {
        Ok(result) => result,
        Err(error) if options.json => {
            output::Failure { network, level, left, wall_time: started.elapsed(), error: &error }.write_json(out)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    if let (Some(page), Some(path)) = (&run.page, &options.report) {
        result.facts().into_iter().for_each(|(name, value)| page.fact(name, value));
        page.write(path)?;
    }
    match options.json {
        true => result.write_json(out)?,
        false => result.write_text(out, screen::width(), per_cycle)?,
    }
    if !result.is_complete() {
        eprintln!("qrinfo: {}", result.outcome());
    }
    Ok(result.is_complete())
}

/// The data that an interrupted sync leaves behind, in words.
fn kept(store: Option<&Store>) -> String {
    let Some(store) = store else { return "nothing is stored; use --data-dir to go on later".to_owned() };
    match store.tip_height() {
        Ok(Some(tip)) => format!("headers up to block {tip} are stored; the same command goes on from there"),
        _ => "no header is stored yet".to_owned(),
    }
}

/// Opens the store and starts to connect to nodes.
async fn begin(config: &ClientConfig, options: &Options) -> Result<(Nodes, Option<Store>)> {
    let store = match &config.storage_path {
        Some(directory) => Some(Store::open(directory, config.network)?),
        None => None,
    };
    let nodes = nodes::connect(config, &options.nodes.peers, store.as_ref()).await?;
    Ok((nodes, store))
}

async fn sync(
    run: &Run<'_>,
    config: &ClientConfig,
    mut nodes: Nodes,
    store: Option<&Store>,
) -> Result<output::Outcome> {
    let &Run { options, started, .. } = run;
    let network = config.network;
    let source = chain::Source::open(config, options.range(), options.headers.as_deref(), store)?;
    let until = config.total_timeout.map(|time| started + time);
    let mut agreed = source.sync(&mut nodes, store, until).await?;
    let correlator = settings::correlator(config, options.sequential);
    let ledger = nodes.ledger.clone();
    let (tip, headers, ask, common, peers, planner) = loop {
        let tip = Tip { height: agreed.chain.tip(), hash: agreed.chain.tip_hash(), nodes: agreed.followers };
        let headers = Arc::new(agreed.known_blocks());
        let for_checks = headers.clone();
        let check = CheckLayer::new(move |hash| for_checks.find(hash));
        let (places, blocks) = (ledger.clone(), headers.clone());
        let ask = move |connection: Connection, height| {
            let id = connection.peer();
            let hold = |service| Held::new(check.layer(service), blocks.clone(), (id, height), places.used(id));
            let mut peer = adopt(connection, correlator).map(hold);
            peer.start_height = height;
            peer
        };
        let (common, others) = (agreed.common_height(), agreed.above_others());
        let peers: Vec<_> = agreed.nodes.drain(..).map(|(connection, height)| ask(connection, height)).collect();
        let planner = Planner { anchor: anchor([common]), ..Planner::new(network, common) };
        if let (Some(newest), [alone]) = (others, &peers[..])
            && !is_backed(is_answerable(&peers, &planner, common, |height| agreed.hash_at(height)).await)
        {
            let why = format!("is not asked: it alone has blocks above {newest}, and does not answer for them");
            ledger.left(alone.id, &why);
            agreed = agreed.by_others(&ledger, store, until).await?;
            continue;
        }
        agreed.leave_behind(&ledger);
        break (tip, headers, ask, common, peers, planner);
    };

    let plan = plan(options, &planner, &peers, |height| agreed.hash_at(height)).await?;
    // The blocks of one request at least.
    let needed = plan.first().and_then(|spec| agreed.chain.height_of(&spec.block_hash)).max(planner.anchor);
    let needed = needed.unwrap_or_default();
    let (peers, behind): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.start_height >= needed);
    behind.into_iter().for_each(|peer| ledger.left(peer.id, "is not asked: it is behind"));

    let for_lists: Vec<_> = match options.may_lack_rotation(network) {
        true => peers.iter().filter(|peer| peer.start_height >= common).map(roster::without_place).collect(),
        false => Vec::new(),
    };
    let tip_hash = agreed.hash_at(common);
    let (sender, late) = mpsc::channel(1);
    tokio::spawn(admit(nodes, agreed.admission(needed, ledger.clone()), ask, sender));
    let mut intake = Intake::new(network, options.verify.level(), &plan, store, headers.clone())?;
    let mut report = fetch(run, (config, until), &plan, (Roster::new(peers, late), &ledger), &mut intake).await?;
    let Intake { mut rows, unverified, .. } = intake;
    let mut lists = None;
    if let Some(tip_hash) = tip_hash
        && !for_lists.is_empty()
        && rows.is_empty()
        && (plan.is_empty() || report.stats.refusals > 0)
    {
        let (found, later) = lists::fetch(network, tip_hash, for_lists, headers).await?;
        note_lost(&later, &ledger);
        report = report.and_later(later, plan.len());
        lists = found;
    }
    rows.sort_by_key(Row::cycle);
    let good = rows.iter().filter_map(Row::sender).chain(lists.as_ref().map(|lists| lists.peer));
    ledger.remember(good).await?;
    let (wall_time, level) = (started.elapsed(), options.verify.name());
    let (used, left) = (ledger.count_used(), ledger.all_left());
    Ok(output::Outcome { network, tip, used, left, level, rows, lists, unverified, report, wall_time })
}

/// Returns `true` if a node answers for its newest blocks, or is too young a chain's to be asked.
fn is_backed(answer: Result<bool, ProbeError>) -> bool {
    matches!(answer, Ok(true) | Err(ProbeError::Plan(_)))
}

/// The requests of the cycles that the user wants; none on a chain that has no rotated quorums, if it may lack them.
async fn plan<S: AttemptService + Clone>(
    options: &Options,
    planner: &Planner,
    peers: &[Peer<S>],
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<Vec<QRInfoRequestSpec>> {
    let last = options.to_cycle.unwrap_or(planner.tip);
    let first = match options.range() {
        Range::Newest => Ok(last),
        Range::From(height) => Ok(height),
        Range::History => first_answerable_cycle(peers, planner, &hash_at).await,
    };
    match first.and_then(|first| Ok(planner.plan(first, last, &hash_at)?)) {
        Ok(plan) => Ok(plan),
        Err(error) if options.may_lack_rotation(planner.network) && says_no_cycle(&error) => {
            eprintln!("qrinfo: {}", on_one_line(&error));
            Ok(Vec::new())
        }
        Err(ProbeError::Plan(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

/// Returns `true` for the errors of a chain on which no cycle can be asked for.
fn says_no_cycle(error: &ProbeError) -> bool {
    matches!(error, ProbeError::NothingAnswerable(_) | ProbeError::Plan(PlanError::TooEarly { .. }))
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
    run: &Run<'_>,
    (config, until): (&ClientConfig, Option<Instant>),
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
        let config = settings::with_time_left(config, until);
        let round = ask(run, &config, (&plan[gap.clone()], gap.start), (&mut roster, ledger), intake).await?;
        report = report.and_later(round, gap.start);
        roster.after(&report);
    }
    note_lost(&report, ledger);
    Ok(report)
}

/// Notes the nodes that a sync has lost.
fn note_lost(report: &SyncReport, ledger: &Ledger) {
    for lost in &report.lost {
        let why = lost.why.to_string();
        match lost.why {
            AttemptErrorKind::Malformed | AttemptErrorKind::False => ledger.ban(lost.peer, &why),
            _ => ledger.left(lost.peer, &format!("is not asked any further: {why}")),
        }
    }
}

/// Asks for a part of the plan, which begins at position `first`.
async fn ask<S>(
    Run { options, page, .. }: &Run<'_>,
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
    let follow = |events| {
        if let Some(page) = page {
            page.follow("requests for quorums", events);
        }
    };
    if options.sequential {
        let run = SequentialSync::new(todo, roster.present(is_last), settings::sequential(config));
        tokio::spawn(ban_liars(run.events(), ledger.clone()));
        follow(run.events());
        take_in(run, first, intake, progress).await
    } else {
        let parallel = settings::parallel(config);
        // No node is asked before its ban would be heard.
        let (is_heard, wait) = oneshot::channel::<()>();
        let peers = stream::once(wait).filter_map(|_| ready(None)).chain(roster.all(is_last));
        let run = ParallelSync::with_changing_peers(todo, peers, parallel);
        tokio::spawn(ban_liars(run.events(), ledger.clone()));
        follow(run.events());
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

    /// Returns `true` if the chain may have no rotated quorums and no cycle was asked for by its height: then the lists
    /// that do exist are what the user wants.
    fn may_lack_rotation(&self, network: Network) -> bool {
        network.dip24_height().is_none() && self.from_cycle.is_none() && self.to_cycle.is_none()
    }
}
