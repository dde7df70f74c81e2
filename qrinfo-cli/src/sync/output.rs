//! What a sync brought, for people and for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use qrinfo::{Delivered, SyncReport};
use qrinfo_core::{BlockHash, Network, PeerId, Reply};
use serde_json::json;

/// One delivered reply.
pub(super) struct Row {
    cycle: u32,
    work_block: BlockHash,
    quorums: usize,
    peer: PeerId,
    bytes: u64,
    took: Duration,
}

impl Row {
    pub(super) fn of(delivered: &Delivered, cycle: u32) -> Self {
        let (work_block, quorums) = match &delivered.reply {
            Reply::QrInfo(reply) => (reply.work_block_hash(), reply.last_commitment_per_index.len()),
            Reply::MnListDiff(diff) => (diff.block_hash, diff.new_quorums.len()),
        };
        let timing = &delivered.timing;
        let took = timing.done.saturating_duration_since(timing.sent);
        Self { cycle, work_block, quorums, peer: delivered.peer, bytes: timing.bytes, took }
    }
}

/// A whole sync.
pub(super) struct Result {
    pub(super) network: Network,
    pub(super) rows: Vec<Row>,
    pub(super) report: SyncReport,
    pub(super) wall_time: Duration,
}

impl Result {
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            writeln!(
                out,
                "cycle {:>8}  work block {}  {:>2} quorums  {:>9} bytes  {:>6} ms  {}",
                row.cycle,
                row.work_block,
                row.quorums,
                row.bytes,
                row.took.as_millis(),
                row.peer
            )?;
        }
        for missing in self.report.outcome.missing() {
            writeln!(out, "missing: {missing}")?;
        }
        let stats = &self.report.stats;
        writeln!(
            out,
            "{}: {}; {} replies, {} bytes, {:.2} s, {} retries, {} refusals, {} timeouts, {} peers lost",
            self.network,
            self.report.outcome,
            stats.delivered,
            stats.bytes,
            self.wall_time.as_secs_f64(),
            stats.retries,
            stats.refusals,
            stats.timeouts,
            stats.peers_lost
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
                "milliseconds": row.took.as_millis() as u64,
                "peer": row.peer.to_string(),
            })
        });
        let missing = self.report.outcome.missing().iter();
        let missing = missing.map(|missing| json!({ "cycle": missing.cycle_height, "why": missing.to_string() }));
        let value = json!({
            "network": self.network.to_string(),
            "complete": self.report.outcome.is_complete(),
            "outcome": self.report.outcome.to_string(),
            "replies": stats.delivered,
            "bytes": stats.bytes,
            "milliseconds": self.wall_time.as_millis() as u64,
            "attempts": stats.attempts,
            "retries": stats.retries,
            "refusals": stats.refusals,
            "timeouts": stats.timeouts,
            "peersLost": stats.peers_lost,
            "cycles": cycles.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)
    }
}
