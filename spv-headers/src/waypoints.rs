//! The blocks of mainnet and testnet that are thought to be on the chain.

use qrinfo_core::{BlockHash, Network};

/// A height, little-endian, and a hash.
const RECORD: usize = 4 + 32;

/// The waypoints of a network in ascending order, from just below its first rotated quorums on, at most 2,000 blocks
/// apart. `cargo xtask waypoints` makes the tables.
pub(crate) fn waypoints(network: Network) -> impl Iterator<Item = (u32, BlockHash)> {
    let table: &'static [u8] = match network {
        Network::Mainnet => include_bytes!("../data/waypoints-mainnet.bin"),
        Network::Testnet => include_bytes!("../data/waypoints-testnet.bin"),
        Network::Devnet(_) | Network::Regtest => &[],
    };
    let (records, _) = table.as_chunks::<RECORD>();
    records.iter().filter_map(|record| {
        let (height, hash) = record.split_first_chunk()?;
        Some((u32::from_le_bytes(*height), BlockHash::from_bytes(*hash.first_chunk()?)))
    })
}
