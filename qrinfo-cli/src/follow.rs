//! `qrinfo follow`: headers, lists and quorums at the tip, until it is stopped.

use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use qrinfo::{
    follow::{FollowConfig, FollowEvent, FollowState, Follower, follow},
    nodes::{Announcements, OpenNodes, open_nodes},
};
use serde_json::{Value, json};
use spv_store::Store;
use tokio::{
    signal,
    sync::broadcast::{Receiver, error::RecvError},
};

use crate::{depth::Depth, nodes::NodeOptions, progress};

/// Keeps block headers, the masternode list and the quorums at the tip of the chain, until it is stopped.
///
/// New blocks are heard of from several nodes, and a tip is a block that two of them have. The lists of each block are
/// proven against its header. Nodes that fall behind, fall silent or lie are replaced. When blocks are replaced, their
/// lists and quorums are forgotten.
///
/// With --data-dir, headers and lists are stored, and the next start asks only for what is new.
///
/// Ctrl-C and SIGTERM end it with everything stored, and with exit code 0.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(flatten)]
    nodes: NodeOptions,
    /// File of export-list to start from, if nothing is stored. It is proven like a reply of a node
    #[arg(long, value_name = "FILE")]
    from_list: Option<PathBuf>,
    /// Level of verification: the lists by their merkle roots, or also members and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Depth::Full)]
    verify: Depth,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
}

/// The place for events.
enum Output<'a, W> {
    Json(&'a mut W),
    Lines(&'a mut W),
    Status(ProgressBar),
}

/// Follows until a signal ends it.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let config = options.nodes.completed(options.nodes.load()?)?;
    let store = match &config.storage_path {
        Some(directory) => Some(Store::open(directory, config.network)?),
        None => None,
    };
    let mut settings = FollowConfig::from(&config);
    settings.level = options.verify.level();
    if let Some(file) = &options.from_list {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        settings.lists = Some(bytes.into());
    }
    let OpenNodes { ledger, events, .. } =
        open_nodes(&config, &options.nodes.peers, Announcements::Locks, store.as_ref(), log).await?;
    let follower = follow(events, ledger, store, settings)?;
    let mut output = match options.json {
        true => Output::Json(out),
        false if stderr().is_terminal() => Output::Status(status_line()),
        false => Output::Lines(out),
    };
    let shown = tokio::select! {
        shown = show(&follower, &mut output) => shown,
        signal = stop_signal() => signal,
    };
    if let Output::Status(bar) = &output {
        bar.finish_and_clear();
    }
    follower.stop().await?;
    shown
}

/// Shows states and events until the follower ends.
async fn show(follower: &Follower, output: &mut Output<'_, impl Write>) -> Result<()> {
    let (mut state, mut events) = (follower.state.clone(), follower.events());
    output.state(&state.borrow_and_update().clone())?;
    loop {
        tokio::select! {
            changed = state.changed() => match changed {
                Ok(()) => output.state(&state.borrow_and_update().clone())?,
                Err(_) => return Ok(()),
            },
            event = next(&mut events) => match event {
                Some(event) => output.event(&event)?,
                None => return Ok(()),
            },
        }
    }
}

async fn next(events: &mut Receiver<FollowEvent>) -> Option<FollowEvent> {
    loop {
        match events.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events were missed"),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() -> Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    signal::ctrl_c().await?;
    Ok(())
}

fn log(line: &str) {
    tracing::info!("{line}");
}

fn status_line() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = progress::add(ProgressBar::new_spinner().with_style(style));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

// === impl Output ===

impl<W: Write> Output<'_, W> {
    fn state(&mut self, state: &FollowState) -> Result<()> {
        match self {
            Self::Json(out) => line(out, &state_as_json(state)),
            Self::Lines(out) => Ok(writeln!(out, "{state}")?),
            Self::Status(bar) => {
                bar.set_message(state.to_string());
                Ok(())
            }
        }
    }

    fn event(&mut self, event: &FollowEvent) -> Result<()> {
        let Self::Json(out) = self else { return Ok(()) };
        match event_as_json(event) {
            Some(event) => line(out, &event),
            None => Ok(()),
        }
    }
}

fn line(out: &mut impl Write, value: &Value) -> Result<()> {
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

fn state_as_json(state: &FollowState) -> Value {
    match state {
        FollowState::Syncing { lists, tip } => {
            json!({ "event": "state", "state": "syncing", "lists": lists, "tip": tip })
        }
        FollowState::Synced { height } => json!({ "event": "state", "state": "synced", "height": height }),
        FollowState::Degraded { reason, .. } => {
            json!({ "event": "state", "state": "degraded", "reason": reason.to_string() })
        }
    }
}

fn event_as_json(event: &FollowEvent) -> Option<Value> {
    Some(match event {
        FollowEvent::Tip { height, hash } => json!({ "event": "tip", "height": height, "hash": hash.to_string() }),
        FollowEvent::Reorganized { fork, left } => json!({ "event": "reorganized", "fork": fork, "left": left }),
        FollowEvent::Proven(lists) => json!({
            "event": "proven",
            "height": lists.height(),
            "hash": lists.block_hash().to_string(),
            "masternodes": lists.masternodes().len(),
            "quorums": lists.quorums().len(),
        }),
        FollowEvent::ChainLocked { height, hash } => {
            json!({ "event": "chainlocked", "height": height, "hash": hash.to_string() })
        }
        FollowEvent::InstantLocked { txid, inputs } => {
            json!({ "event": "instantlocked", "txid": txid.to_string(), "inputs": inputs.len() })
        }
        _ => return None,
    })
}
