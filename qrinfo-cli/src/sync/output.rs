//! The result of a sync, as text for people and as JSON for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use qrinfo::{Delivered, Missing, SyncReport, nodes::on_one_line};
use qrinfo_core::{BlockHash, Network, PeerId, QRInfoRequestSpec, Reply};
use qrinfo_verify::{Unproven, Verified, VerifyError};
use serde_json::{Value, json};

use super::lists::{TipLists, quorums_by_type};
use crate::screen::{self, Table};

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
    /// The active quorums of each type in the newest list of the reply that is proven.
    by_type: BTreeMap<u8, usize>,
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
        let lists = verified.lists.as_ref();
        let masternodes = lists.map(|lists| lists.masternodes().len());
        let by_type = verified.tip.as_ref().or(lists).map(quorums_by_type).unwrap_or_default();
        Self { cycle, work_block, quorums, bytes, source, masternodes, by_type, unproven: verified.unproven.clone() }
    }

    pub(super) fn cycle(&self) -> u32 {
        self.cycle
    }

    /// The reply in one line.
    fn text(&self) -> String {
        let source = match self.source {
            Some((peer, took)) => format!("{} ms from {peer}", took.as_millis()),
            None => "stored".to_owned(),
        };
        format!("cycle {}: {} quorums, {} bytes, {source}", self.cycle, self.quorums, self.bytes)
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
    /// The lists at the tip, where no node has rotated quorums.
    pub(super) lists: Option<TipLists>,
    pub(super) unverified: Vec<Unverified>,
    pub(super) report: SyncReport,
    pub(super) wall_time: Duration,
}

impl Outcome {
    /// Returns `true` if every request has a reply, and every reply is verified; or if the chain is proven to have no
    /// rotated quorums.
    pub(super) fn is_complete(&self) -> bool {
        let has_all = self.report.outcome.is_complete() && !self.rows.is_empty();
        (has_all || self.has_no_rotation()) && self.unverified.is_empty()
    }

    fn has_no_rotation(&self) -> bool {
        self.lists.as_ref().is_some_and(|lists| lists.prove_no_rotation(self.network))
    }

    pub(super) fn outcome(&self) -> String {
        match &self.report.outcome {
            _ if self.has_no_rotation() => "complete: the chain has no rotated quorums".to_owned(),
            outcome if outcome.is_complete() && self.rows.is_empty() && self.unverified.is_empty() => {
                "no cycle can be asked for, and no node sent the lists at the tip".to_owned()
            }
            outcome => outcome.to_string(),
        }
    }

    /// The requests without a reply. Where there are no rotated quorums, none of them is missing.
    fn missing(&self) -> &[Missing] {
        if self.has_no_rotation() { &[] } else { self.report.outcome.missing() }
    }

    /// Writes the result on one screen of `width` columns; with `per_cycle` also a line for each cycle.
    pub(super) fn write_text(&self, out: &mut impl Write, width: usize, per_cycle: bool) -> io::Result<()> {
        let verdict = format!("{}: {}", self.network, self.outcome());
        screen::paragraph(out, width, &verdict)?;
        let mut table = Table::new([""; 0]);
        self.facts()
            .into_iter()
            .for_each(|(name, value)| table.row(name, [screen::shortened(&value, width.max(40) - 20)]));
        table.write(out, width)?;
        if per_cycle {
            self.rows.iter().try_for_each(|row| screen::paragraph(out, width, &row.text()))?;
        }
        for unverified in &self.unverified {
            screen::paragraph(out, width, &format!("not verified: cycle {}: {}", unverified.cycle, unverified.why))?;
        }
        for missing in self.missing() {
            screen::paragraph(out, width, &format!("missing: {missing}"))?;
        }
        Ok(())
    }

    /// The result, as names and values.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(newest) = self.rows.last() {
            facts.push(("newest cycle", format!("{}, {} rotated quorums", newest.cycle, newest.quorums)));
        }
        if let Some((masternodes, quorums)) = self.newest_lists() {
            let quorums: Vec<_> = quorums.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
            facts.push(("masternodes", masternodes.to_string()));
            facts.push(("quorums by type", quorums.join(", ")));
        }
        let stored = self.rows.iter().filter(|row| row.source.is_none()).count();
        let stats = &self.report.stats;
        facts.extend([
            ("cycles verified", format!("{} ({}), {stored} of them stored", self.rows.len(), self.level)),
            ("tip", self.tip.height.to_string()),
            ("hash of the tip", self.tip.hash.to_string()),
            ("peers on the tip", format!("{} of {}", self.tip.nodes, self.used.max(self.tip.nodes))),
            ("peers asked", self.used.to_string()),
            ("peers left", self.left.len().to_string()),
            ("requests", format!("{} asked, {} answered", stats.attempts, stats.delivered)),
            ("repeated", format!("{}, {} refusals, {} timeouts", stats.retries, stats.refusals, stats.timeouts)),
            ("bytes", stats.bytes.to_string()),
            ("time", format!("{:.2} s", self.wall_time.as_secs_f64())),
        ]);
        facts
    }

    /// The number of masternodes and the active quorums of each type in the newest proven lists.
    fn newest_lists(&self) -> Option<(usize, BTreeMap<u8, usize>)> {
        let of_row = || self.rows.last().and_then(|row| Some((row.masternodes?, row.by_type.clone())));
        let of_tip = self.lists.as_ref().map(|found| (found.lists.masternodes().len(), quorums_by_type(&found.lists)));
        of_tip.or_else(of_row)
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
        let missing = self
            .missing()
            .iter()
            .map(|missing| json!({ "request": missing.request.to_string(), "why": missing.to_string() }));
        let unverified =
            self.unverified.iter().map(|unverified| json!({ "cycle": unverified.cycle, "why": unverified.why }));
        let lists = self.lists.as_ref().map(|found| {
            json!({
                "height": found.lists.height(),
                "block": found.lists.block_hash().to_string(),
                "masternodes": found.lists.masternodes().len(),
                "quorums": quorums_by_type(&found.lists),
                "bytes": found.bytes,
                "peer": found.peer.to_string(),
            })
        });
        let value = json!({
            "network": self.network.to_string(),
            "complete": self.is_complete(),
            "verified": self.level,
            "outcome": self.outcome(),
            "tip": {
                "height": self.tip.height,
                "hash": self.tip.hash.to_string(),
                "peers": self.tip.nodes,
            },
            "peersUsed": self.used,
            "peersLeft": left(&self.left),
            "replies": stats.delivered,
            "bytes": stats.bytes,
            "milliseconds": self.wall_time.as_millis() as u64,
            "attempts": stats.attempts,
            "retries": stats.retries,
            "refusals": stats.refusals,
            "timeouts": stats.timeouts,
            "peersLost": self.report.lost.len(),
            "cycles": cycles.collect::<Vec<_>>(),
            "lists": lists,
            "missing": missing.collect::<Vec<_>>(),
            "unverified": unverified.collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)
    }
}

/// A sync that ended before its plan.
pub(super) struct Failure<'a> {
    pub(super) network: Network,
    pub(super) level: &'static str,
    pub(super) left: BTreeMap<PeerId, String>,
    pub(super) wall_time: Duration,
    pub(super) error: &'a anyhow::Error,
}

impl Failure<'_> {
    /// Writes the object of [`Outcome::write_json`], as far as it is known.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let none: [(); 0] = [];
        let value = json!({
            "network": self.network.to_string(),
            "complete": false,
            "verified": self.level,
            "outcome": on_one_line(self.error.as_ref()),
            "tip": null,
            "peersLeft": left(&self.left),
            "milliseconds": self.wall_time.as_millis() as u64,
            "cycles": none,
            "lists": null,
            "missing": none,
            "unverified": none,
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)
    }
}

fn left(left: &BTreeMap<PeerId, String>) -> Vec<Value> {
    left.iter().map(|(peer, why)| json!({ "peer": peer.to_string(), "why": why })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::fits;

    #[test]
    fn the_screen_fits_80_and_40_columns() {
        let peer = PeerId::Address(([203, 0, 113, 205], 19999).into());
        let row = Row {
            cycle: 2_240_352,
            work_block: BlockHash::ZERO,
            quorums: 32,
            bytes: 601_234,
            source: Some((peer, Duration::from_millis(1_234))),
            masternodes: Some(3_143),
            by_type: [(1, 24), (2, 4), (3, 4), (4, 24), (5, 32)].into(),
            unproven: Vec::new(),
        };
        let outcome = Outcome {
            network: Network::Mainnet,
            tip: Tip { height: 2_240_504, hash: BlockHash::ZERO, nodes: 7 },
            used: 8,
            left: BTreeMap::from([(peer, "is behind".to_owned())]),
            level: "full",
            rows: vec![row],
            lists: None,
            unverified: vec![Unverified { cycle: 2_240_064, why: "block 00000000 is not in our headers".to_owned() }],
            report: SyncReport::default(),
            wall_time: Duration::from_millis(4_321),
        };
        for width in [80, 40] {
            let mut out = Vec::new();
            outcome.write_text(&mut out, width, true).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(fits(&text, width), "{text}");
            assert!(text.contains("5: 32") && text.contains("3143"), "{text}");
        }
    }
}
