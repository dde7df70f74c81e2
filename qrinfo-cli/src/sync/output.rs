//! The result of a sync, as text for people and as JSON for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use qrinfo::{Delivered, SyncReport, nodes::on_one_line};
use qrinfo_core::{BlockHash, Network, PeerId, QRInfoRequestSpec, Reply};
use qrinfo_verify::{Unproven, Verified, VerifyError};
use serde_json::json;

/// One delivered reply.
pub(super) struct Row {
    cycle: u32,
    work_block: BlockHash,
    quorums: usize,
    bytes: u64,
    /// The node that sent it and the time that it took; `None` if the reply was stored.
    source: Option<(PeerId, Duration)>,
    /// The number of masternodes at the work block, if it is proven.
    masternodes: Option<usize>,
    unproven: Vec<Unproven>,
}

/// A reply that could not be verified.
pub(super) struct Unverified {
    cycle: u32,
    why: String,
}

impl Row {
    pub(super) fn fresh(cycle: u32, delivered: &Delivered, verified: &Verified) -> Self {
        let timing = &delivered.timing;
        let took = timing.done.saturating_duration_since(timing.sent);
        Self::of(cycle, &delivered.reply, timing.bytes, Some((timing.peer, took)), verified)
    }

    pub(super) fn stored(spec: &QRInfoRequestSpec, reply: &Reply, bytes: usize, verified: &Verified) -> Self {
        Self::of(spec.cycle.height(), reply, bytes as u64, None, verified)
    }

    fn of(cycle: u32, reply: &Reply, bytes: u64, source: Option<(PeerId, Duration)>, verified: &Verified) -> Self {
        let (work_block, quorums) = match reply {
            Reply::QrInfo(reply) => (reply.work_block_hash(), reply.last_commitment_per_index.len()),
            Reply::MnListDiff(diff) => (diff.block_hash, diff.new_quorums.len()),
        };
        let masternodes = verified.lists.as_ref().map(|lists| lists.masternodes().len());
        Self { cycle, work_block, quorums, bytes, source, masternodes, unproven: verified.unproven.clone() }
    }

    pub(super) fn cycle(&self) -> u32 {
        self.cycle
    }

    /// The node that sent it, unless it was stored.
    pub(super) fn sender(&self) -> Option<PeerId> {
        self.source.map(|(peer, _)| peer)
    }
}

impl Unverified {
    pub(super) fn new(cycle: u32, error: &VerifyError) -> Self {
        Self { cycle, why: on_one_line(error) }
    }
}

/// The newest block of the chain that the sync works with.
pub(super) struct Tip {
    pub(super) height: u32,
    pub(super) hash: BlockHash,
    /// The number of nodes whose newest block is on the chain.
    pub(super) nodes: usize,
}

/// A whole sync.
pub(super) struct Outcome {
    pub(super) network: Network,
    pub(super) tip: Tip,
    /// The number of nodes that were asked for quorums.
    pub(super) used: usize,
    /// Nodes that were not asked, or are not asked any further, each with the reason.
    pub(super) left: BTreeMap<PeerId, String>,
    pub(super) level: &'static str,
    pub(super) rows: Vec<Row>,
    pub(super) unverified: Vec<Unverified>,
    pub(super) report: SyncReport,
    pub(super) wall_time: Duration,
}

impl Outcome {
    /// Returns `true` if every request has a reply, and every reply is verified.
    pub(super) fn is_complete(&self) -> bool {
        self.report.outcome.is_complete() && self.unverified.is_empty()
    }

    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            let source = match row.source {
                Some((peer, took)) => format!("{:>6} ms  {peer}", took.as_millis()),
                None => "stored".to_owned(),
            };
            let masternodes = row.masternodes.map_or_else(String::new, |count| format!("  {count:>4} masternodes"));
            writeln!(
                out,
                "cycle {:>8}  work block {}  {:>2} quorums{masternodes}  {:>9} bytes  {source}",
                row.cycle, row.work_block, row.quorums, row.bytes
            )?;
        }
        for unverified in &self.unverified {
            writeln!(out, "not verified: cycle {}: {}", unverified.cycle, unverified.why)?;
        }
        for missing in self.report.outcome.missing() {
            writeln!(out, "missing: {missing}")?;
        }
        writeln!(
            out,
            "tip {:>10}  {}  {} of {} nodes on it",
            self.tip.height,
            self.tip.hash,
            self.tip.nodes,
            self.used.max(self.tip.nodes)
        )?;
        let stats = &self.report.stats;
        writeln!(
            out,
            "{}: {}; {} verified ({}), {} stored, {} asked, {} answered, {} bytes, {:.2} s, {} retries, {} refusals, {} timeouts, {} peers lost",
            self.network,
            self.report.outcome,
            self.rows.len(),
            self.level,
            self.rows.iter().filter(|row| row.source.is_none()).count(),
            stats.attempts,
            stats.delivered,
            stats.bytes,
            self.wall_time.as_secs_f64(),
            stats.retries,
            stats.refusals,
            stats.timeouts,
            self.report.lost.len()
        )
    }

    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let stats = &self.report.stats;
        let cycles = self.rows.iter().map(|row| {
            json!({
                "cycle": row.cycle,
                "workBlock": row.work_block.to_string(),
                "quorums": row.quorums,
                "bytes": row.bytes,
                "milliseconds": row.source.map(|(_, took)| took.as_millis() as u64),
                "peer": row.source.map(|(peer, _)| peer.to_string()),
                "masternodes": row.masternodes,
                "unproven": row.unproven.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        let missing = self.report.outcome.missing().iter();
        let missing =
            missing.map(|missing| json!({ "request": missing.request.to_string(), "why": missing.to_string() }));
        let left = self.left.iter().map(|(peer, why)| json!({ "peer": peer.to_string(), "why": why }));
        let unverified =
            self.unverified.iter().map(|unverified| json!({ "cycle": unverified.cycle, "why": unverified.why }));
        let value = json!({
            "network": self.network.to_string(),
            "complete": self.is_complete(),
            "verified": self.level,
            "outcome": self.report.outcome.to_string(),
            "tip": {
                "height": self.tip.height,
                "hash": self.tip.hash.to_string(),
                "peers": self.tip.nodes,
            },
            "peersUsed": self.used,
            "peersLeft": left.collect::<Vec<_>>(),
            "replies": stats.delivered,
            "bytes": stats.bytes,
            "milliseconds": self.wall_time.as_millis() as u64,
            "attempts": stats.attempts,
            "retries": stats.retries,
            "refusals": stats.refusals,
            "timeouts": stats.timeouts,
            "peersLost": self.report.lost.len(),
            "cycles": cycles.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "unverified": unverified.collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)
    }
}
