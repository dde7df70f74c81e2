//! `qrinfo plan`: the requests of a sync, and their size.

use std::io::{self, Write};

use anyhow::Result;
use qrinfo::plan::Planner;
use qrinfo_core::{BlockHash, Network, QRInfoRequestSpec};
use serde_json::{Value, json};

use crate::screen::{self, Table};

/// Bytes of a full masternode list of mainnet: the part of a plan's first reply that starts from nothing.
const FULL_LIST: u64 = 523_000;

/// Bytes of each reply of a chained plan on mainnet, the first one's full list aside.
const CHAINED_REPLY: u64 = 33_000;

/// Shows the requests that a sync would make, and about how many bytes they bring. No node is asked.
///
/// Sizes are those of mainnet; other networks have shorter lists.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// mainnet, testnet, devnet or regtest
    #[arg(long, default_value = "mainnet")]
    network: Network,
    /// Height of the newest block
    #[arg(long, value_name = "HEIGHT")]
    tip: u32,
    /// First cycle to sync, as the height of any of its blocks [default: the newest cycle]
    #[arg(long, value_name = "HEIGHT")]
    from_cycle: Option<u32>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// One request, by heights.
struct Row {
    cycle: u32,
    block: u32,
    bases: Vec<u32>,
    bytes: u64,
}

/// Runs the command.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let planner = Planner::new(options.network, options.tip);
    let specs =
        planner.plan(options.from_cycle.unwrap_or(options.tip), options.tip, |height| Some(stand_in(height)))?;
    let rows: Vec<_> = (0..).zip(&specs).map(|(index, spec)| row(index, spec)).collect();
    match options.json {
        true => write_json(out, &rows)?,
        false => write_text(out, screen::width(), &rows)?,
    }
    Ok(())
}

fn row(index: usize, spec: &QRInfoRequestSpec) -> Row {
    let is_genesis = |hash: &&BlockHash| spec.network.is_genesis(hash);
    let bases = spec.base_block_hashes.iter().filter(|hash| !is_genesis(hash)).map(height).collect();
    let full_list = if index == 0 { FULL_LIST } else { 0 };
    Row { cycle: spec.cycle.height(), block: height(&spec.block_hash), bases, bytes: full_list + CHAINED_REPLY }
}

/// A hash that stands for the block at a height: the plan needs hashes, and no headers are there.
fn stand_in(height: u32) -> BlockHash {
    let mut bytes = [0xff; 32];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

fn height(stand_in: &BlockHash) -> u32 {
    let [a, b, c, d, ..] = *stand_in.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn write_text(out: &mut impl Write, width: usize, rows: &[Row]) -> io::Result<()> {
    let mut table = Table::new(["block to ask for", "bases", "about bytes"]);
    for row in rows {
        let values = [row.block.to_string(), row.bases.len().to_string(), row.bytes.to_string()];
        table.row(&format!("cycle {}", row.cycle), values);
    }
    table.write_by_row(out, width)?;
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    screen::paragraph(out, width, &format!("requests: {}, bytes: about {bytes}", rows.len()))
}

fn write_json(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let requests = rows
        .iter()
        .map(|row| json!({ "cycle": row.cycle, "block": row.block, "bases": row.bases, "bytes": row.bytes }));
    serde_json::to_writer_pretty(&mut *out, &requests.collect::<Vec<Value>>())?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fits_80_and_40_columns_and_names_the_last_block_of_each_cycle() {
        let options = |json| Options { network: Network::Mainnet, tip: 2_240_504, from_cycle: Some(2_239_800), json };
        let planner = Planner::new(Network::Mainnet, 2_240_504);
        let specs = planner.plan(2_239_800, 2_240_504, |height| Some(stand_in(height))).unwrap();
        let rows: Vec<_> = (0..).zip(&specs).map(|(index, spec)| row(index, spec)).collect();
        let blocks: Vec<_> = rows.iter().map(|row| row.block).collect();
        assert_eq!(blocks, [2_240_063, 2_240_351, 2_240_504]);
        assert!(rows[1].bases.len() > rows[0].bases.len());
        for width in [80, 40] {
            let mut out = Vec::new();
            write_text(&mut out, width, &rows).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(screen::fits(&text, width), "{text}");
            // A package has no documents.
            if let Ok(screens) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/screens.md")) {
                assert!(screens.contains(&text), "docs/screens.md has another screen than\n{text}");
            }
        }
        let mut out = Vec::new();
        run(&options(true), &mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()[2]["block"], 2_240_504);
    }
}
