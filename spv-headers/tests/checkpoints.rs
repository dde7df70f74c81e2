//! The checkpoints and waypoints of the networks are blocks of their chains.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../src/waypoints.rs"]
mod waypoints;

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network, Target};
use waypoints::waypoints;

/// A network in ASCII, a height, and a header.
const RECORD: usize = 4 + 4 + HEADER_LEN;

type Headers = BTreeMap<(Network4, u32), BlockHeader>;
type Network4 = [u8; 4];

fn name(network: Network) -> Network4 {
    *network.to_string().as_bytes().first_chunk().unwrap()
}

/// Headers of mainnet and testnet, one of 576. `None` where the vectors are not present.
fn headers() -> Option<Headers> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/vectors/testnet/checkpoints_net4_height4_header80.bin.xz");
    let Ok(file) = File::open(&path) else {
        eprintln!("{} is missing: the headers of checkpoints are not tested", path.display());
        return None;
    };
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).unwrap();
    let (records, rest) = bytes.as_chunks::<RECORD>();
    assert_eq!((records.len(), rest.len()), (6_227, 0));
    let header = |record: &[u8; RECORD]| {
        let (network, rest) = record.split_first_chunk().unwrap();
        let (height, header) = rest.split_first_chunk().unwrap();
        ((*network, u32::from_le_bytes(*height)), BlockHeader::from_bytes(*header.first_chunk().unwrap()))
    };
    Some(records.iter().map(header).collect())
}

fn checkpoints(network: Network) -> impl Iterator<Item = (u32, BlockHash)> {
    network.checkpoints().iter().map(|(height, hash)| (*height, hash.parse().unwrap()))
}

/// Returns `true` if a header has this hash, and its hash meets its target, which the network allows.
fn is_block(network: Network, header: &BlockHeader, hash: BlockHash) -> bool {
    let target = Target::from_bits(header.bits()).filter(|target| *target <= network.easiest_target());
    BlockHash::from_bytes(spv_x11::x11(header.as_bytes())) == hash && target.unwrap().is_met_by(&hash)
}

#[test]
fn the_hash_of_each_checkpoint_and_waypoint_has_done_work() {
    for network in Network::ALL {
        // On mainnet at least 52 zero bits since 2019.
        let mainnet = Target::from_bits(0x1a0f_ffff).unwrap();
        let easiest = if network == Network::Mainnet { mainnet } else { network.easiest_target() };
        for (height, hash) in checkpoints(network).chain(waypoints(network)) {
            assert!(easiest.is_met_by(&hash), "{network} {height}");
        }
    }
}

#[test]
fn the_header_of_each_checkpoint_that_is_recorded_has_its_hash_and_meets_its_target() {
    let Some(headers) = headers() else { return };
    for network in [Network::Mainnet, Network::Testnet] {
        let mut tested = 0;
        for (height, hash) in checkpoints(network) {
            let Some(header) = headers.get(&(name(network), height)) else { continue };
            assert!(is_block(network, header, hash), "{network} {height}");
            tested += 1;
        }
        assert!(tested > 0, "{network}");
    }
}

#[test]
fn each_waypoint_that_is_recorded_is_the_hash_of_its_header() {
    let Some(headers) = headers() else { return };
    for (network, recorded) in [(Network::Mainnet, 329), (Network::Testnet, 300)] {
        let header = |(height, hash)| Some((height, headers.get(&(name(network), height))?, hash));
        let found: Vec<_> = waypoints(network).filter_map(header).collect();
        assert_eq!(found.len(), recorded, "{network}");
        for (height, header, hash) in found {
            assert!(is_block(network, header, hash), "{network} {height}");
        }
    }
}

#[test]
fn waypoints_ascend_and_are_near_enough_for_one_message_of_headers() {
    for network in [Network::Mainnet, Network::Testnet] {
        let heights: Vec<_> = waypoints(network).map(|(height, _)| height).collect();
        let (start, _) = network.checkpoint_below(network.dip24_height().unwrap());
        assert_eq!(heights[0], start, "{network}");
        let (newest, _) = *network.checkpoints().last().unwrap();
        assert!(*heights.last().unwrap() > newest, "{network}");
        for pair in heights.windows(2) {
            assert!((1..=2_000).contains(&(pair[1] - pair[0])), "{network} {pair:?}");
        }
    }
    assert_eq!(waypoints(Network::DEVNET).chain(waypoints(Network::Regtest)).count(), 0);
}

#[test]
fn a_checkpoint_that_is_a_waypoint_agrees() {
    for network in [Network::Mainnet, Network::Testnet] {
        let known: BTreeMap<_, _> = checkpoints(network).collect();
        let both: Vec<_> = waypoints(network).filter(|(height, _)| known.contains_key(height)).collect();
        assert!(!both.is_empty(), "{network}");
        for (height, hash) in both {
            assert_eq!(known[&height], hash, "{network} {height}");
        }
    }
}

#[test]
fn a_sync_from_the_first_rotated_quorums_starts_less_than_a_thousand_blocks_below_what_it_needs() {
    for network in [Network::Mainnet, Network::Testnet] {
        // Ten cycles: the oldest quorum of an index that fails again and again, and the three cycles it is built from.
        let cycles = network.cycles();
        let first = cycles.start_of(network.dip24_height().unwrap());
        let needed = cycles.work_height_back(first, 10).unwrap();
        let (height, _) = network.checkpoint_below(needed);
        assert!(needed - height < 1_000, "{network}: {height} for {needed}");
    }
}
