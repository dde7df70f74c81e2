//! What a sync brought, for people and for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use qrinfo::{Delivered, SyncReport};
use qrinfo_core::{BlockHash, Network, PeerId, Reply, message::QRInfo};
use serde_json::json;

/// One delivered reply.
pub(super) struct Row {
    cycle: u32,
    work_block: BlockHash,
    quorums: usize,
    bytes: u64,
    /// Who sent it and how long it took; nobody if it was stored.
    source: Option<(PeerId, Duration)>,
}

impl Row {
    pub(super) fn of(delivered: &Delivered, cycle: u32) -> Self {
        let (work_block, quorums) = match &delivered.reply {
            Reply::QrInfo(reply) => (reply.work_block_hash(), reply.last_commitment_per_index.len()),
            Reply::MnListDiff(diff) => (diff.block_hash, diff.new_quorums.len()),
        };
        let timing = &delivered.timing;
        let took = timing.done.saturating_duration_since(timing.sent);
        Self { cycle, work_block, quorums, bytes: timing.bytes, source: Some((timing.peer, took)) }
    }

    pub(super) fn stored(reply: &QRInfo, cycle: u32, bytes: usize) -> Self {
        let quorums = reply.last_commitment_per_index.len();
        Self { cycle, work_block: reply.work_block_hash(), quorums, bytes: bytes as u64, source: None }
    }

    pub(super) fn cycle(&self) -> u32 {
        self.cycle
    }
}

/// A whole sync.
pub(super) struct Outcome {
    pub(super) network: Network,
    pub(super) rows: Vec<Row>,
    pub(super) report: SyncReport,
    pub(super) wall_time: Duration,
}

impl Outcome {
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            let source = match row.source {
                Some((peer, took)) => format!("{:>6} ms  {peer}", took.as_millis()),
                None => "stored".to_owned(),
            };
            writeln!(
                out,
                "cycle {:>8}  work block {}  {:>2} quorums  {:>9} bytes  {source}",
                row.cycle, row.work_block, row.quorums, row.bytes
            )?;
        }
        for missing in self.report.outcome.missing() {
            writeln!(out, "missing: {missing}")?;
        }
        let stats = &self.report.stats;
        writeln!(
            out,
            "{}: {}; {} stored, {} asked, {} bytes, {:.2} s, {} retries, {} refusals, {} timeouts, {} peers lost",
            self.network,
            self.report.outcome,
            self.rows.iter().filter(|row| row.source.is_none()).count(),
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
            })
        });
        let missing = self.report.outcome.missing().iter();
        let missing =
            missing.map(|missing| json!({ "request": missing.request.to_string(), "why": missing.to_string() }));
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
            "peersLost": self.report.lost.len(),
            "cycles": cycles.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)
    }
}
