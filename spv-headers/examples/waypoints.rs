//! Adds blocks to a table of waypoints in `spv-headers/data`: `cargo xtask waypoints NETWORK [--check]`.
//!
//! The blocks come on standard input, one a line: the height and the header in hex. With `--check` the table stays as it is:
//! its blocks have to be those of the input, where both have a height.
//!
//! A table has records of a height (four bytes, little-endian) and a block hash.
#![allow(clippy::print_stdout, reason = "a tool")]

use std::{collections::BTreeMap, env, fs, io, path::Path};

use anyhow::{Context, Result, bail, ensure};
use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network, Target};

const RECORD: usize = 4 + 32;

/// The most blocks between two waypoints, if blocks between them are known: a message of headers.
const SPACING: u32 = 2_000;

type Blocks = BTreeMap<u32, BlockHash>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (network, is_check) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [network] => (network, false),
        [network, "--check"] | ["--check", network] => (network, true),
        _ => bail!("usage: cargo xtask waypoints mainnet|testnet [--check] < FILE"),
    };
    let network: Network = network.parse()?;
    let Some(dip24) = network.dip24_height() else { bail!("{network} has no table: its chain is not known ahead") };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/waypoints-{network}.bin"));
    let mut table = parse(&fs::read(&path)?)?;
    let blocks = read(network)?;
    println!("{} agree with the table", compare(&blocks, &table)?);
    println!("{} agree with checkpoints", compare(&blocks, &checkpoints(network)?)?);
    if !is_check {
        let (start, _) = network.checkpoint_below(dip24);
        table.extend(blocks.range(start..));
        table = thin(&table);
        fs::write(&path, table.iter().flat_map(record).collect::<Vec<_>>())?;
    }
    let [first, last] =
        [table.keys().next(), table.keys().next_back()].map(|height| height.copied().unwrap_or_default());
    println!("{} waypoints from block {first} to {last}", table.len());
    Ok(())
}

/// The blocks on standard input.
fn read(network: Network) -> Result<Blocks> {
    let block =
        |(number, line): (usize, io::Result<String>)| block(network, &line?).with_context(|| format!("line {number}"));
    (1..).zip(io::stdin().lines()).map(block).collect()
}

fn checkpoints(network: Network) -> Result<Blocks> {
    network.checkpoints().iter().map(|(height, hash)| Ok((*height, hash.parse()?))).collect()
}

/// The number of blocks that both have.
fn compare(blocks: &Blocks, known: &Blocks) -> Result<usize> {
    let both: Vec<_> = blocks.iter().filter_map(|(height, hash)| Some((height, hash, known.get(height)?))).collect();
    for (height, hash, known) in &both {
        ensure!(hash == known, "block {height} is {hash} in the input, and {known} here; find out which one is right");
    }
    Ok(both.len())
}

/// The height and hash of a block that is written as height and header.
fn block(network: Network, line: &str) -> Result<(u32, BlockHash)> {
    let (height, header) = line.split_once(' ').context("no height and header with a space between them")?;
    let mut bytes = [0; HEADER_LEN];
    ensure!(header.len() == 2 * HEADER_LEN && header.is_ascii(), "the header does not have {HEADER_LEN} bytes in hex");
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&header[2 * index..2 * index + 2], 16).context("the header is no hex")?;
    }
    let hash = BlockHash::from_bytes(spv_x11::x11(&bytes));
    let target = Target::from_bits(BlockHeader::from_bytes(bytes).bits());
    let is_met = target.is_some_and(|target| target <= network.easiest_target() && target.is_met_by(&hash));
    ensure!(is_met, "the header does not meet its target");
    Ok((height.parse().context("the height is no number")?, hash))
}

/// Leaves out blocks that are not needed: those that the next one is near enough without.
fn thin(blocks: &Blocks) -> Blocks {
    let mut thinned = Blocks::new();
    let mut blocks = blocks.iter().peekable();
    while let Some((height, hash)) = blocks.next() {
        let below = thinned.keys().next_back().copied();
        let next = blocks.peek().map(|(height, _)| **height);
        let is_needed = below.zip(next).is_none_or(|(below, next)| next - below > SPACING);
        if is_needed {
            thinned.insert(*height, *hash);
        }
    }
    thinned
}

fn parse(bytes: &[u8]) -> Result<Blocks> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    ensure!(rest.is_empty(), "the table has {} bytes more than its records", rest.len());
    let parts = |record: &[u8; RECORD]| {
        let (height, hash) = record.split_first_chunk()?;
        Some((u32::from_le_bytes(*height), BlockHash::from_bytes(*hash.first_chunk()?)))
    };
    Ok(records.iter().filter_map(parts).collect())
}

fn record((height, hash): (&u32, &BlockHash)) -> Vec<u8> {
    [&height.to_le_bytes()[..], hash.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(heights: impl IntoIterator<Item = u32>) -> Blocks {
        heights.into_iter().map(|height| (height, BlockHash::from_bytes([height as u8; 32]))).collect()
    }

    #[test]
    fn no_more_blocks_are_kept_than_a_message_of_headers_needs() {
        let kept = |heights: &[u32]| thin(&blocks(heights.iter().copied())).into_keys().collect::<Vec<_>>();
        assert_eq!(kept(&[0, 576, 1_152, 1_728, 2_304, 2_880, 3_456]), [0, 1_728, 3_456]);
        assert_eq!(kept(&[0, 3_000, 3_001, 9_000]), [0, 3_000, 3_001, 9_000]);
        assert_eq!((kept(&[]), kept(&[7])), (vec![], vec![7]));
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let blocks = blocks([1, 300, 70_000]);
        let bytes: Vec<u8> = blocks.iter().flat_map(record).collect();
        assert_eq!(parse(&bytes).unwrap(), blocks);
        assert!(parse(&bytes[1..]).is_err());
    }

    #[test]
    fn a_header_without_work_is_no_block() {
        let error = |line: &str| format!("{:#}", block(Network::Mainnet, line).unwrap_err());
        assert_eq!(error(&format!("5 {}", "00".repeat(80))), "the header does not meet its target");
        assert!(error("5 00").contains("80 bytes"));
        assert!(error("5").contains("no height"));
    }
}
