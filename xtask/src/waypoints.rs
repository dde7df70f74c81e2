//! The tables of waypoints in `spv-headers/data`: records of a height (four bytes, little-endian) and a block hash.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network, Target};

const RECORD: usize = 4 + 32;

/// The most blocks between two waypoints, if blocks between them are known: a message of headers.
const SPACING: u32 = 2_000;

type Blocks = BTreeMap<u32, BlockHash>;

#[derive(Args)]
pub(crate) struct Options {
    /// The network of the blocks: mainnet or testnet.
    network: Network,
    /// Does not change the table: checks that its blocks are those of the input, where both have a height.
    #[arg(long)]
    check: bool,
}

/// Adds blocks to the table of a network. They come on standard input, one a line: the height and the header in hex.
pub(crate) fn run(root: &Path, Options { network, check }: Options) -> Result<()> {
    let Some(start) = network.dip24_height() else { bail!("no table for {network}: its chain is not known ahead") };
    let (start, _) = network.checkpoint_below(start);
    let path = root.join(format!("spv-headers/data/waypoints-{network}.bin"));
    let mut table = if path.exists() { parse(&fs::read(&path)?)? } else { Blocks::new() };
    let known: Blocks =
        network.checkpoints().iter().map(|(height, hash)| Ok((*height, hash.parse()?))).collect::<Result<_>>()?;
    let (mut agree, mut checkpoints) = (0, 0);
    for (number, line) in (1..).zip(io::stdin().lines()) {
        let (height, hash) = block(network, &line?).with_context(|| format!("line {number}"))?;
        for (blocks, count) in [(&known, &mut checkpoints), (&table, &mut agree)] {
            let other = blocks.get(&height).is_some_and(|known| *known != hash);
            ensure!(
                !other,
                "line {number}: block {height} is {hash} here, and another one in the table or checkpoints"
            );
            *count += usize::from(blocks.contains_key(&height));
        }
        if !check && height >= start {
            table.insert(height, hash);
        }
    }
    let table = thin(&table);
    eprintln!("{agree} blocks agree with the table, {checkpoints} with checkpoints");
    if !check {
        fs::write(&path, table.iter().flat_map(record).collect::<Vec<_>>())?;
    }
    let (first, last) = (table.keys().next(), table.keys().next_back());
    eprintln!("{}: {} waypoints, {first:?} to {last:?}", path.display(), table.len());
    Ok(())
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
