use std::ops::RangeInclusive;

use bytes::{BufMut, BytesMut};
use qrinfo_core::{
    BlockHash, Hash256, Network,
    message::{Coinbase, CoinbasePayload, CreditPool},
    wire::{Wire, put_var_bytes},
};

use super::{SyntheticParams, random_bytes};
use crate::chain::{Block, BlockBody, CoinbaseProof};

/// Regtest's difficulty: about every second hash will do.
const BITS: u32 = 0x207f_ffff;

/// Seconds between blocks.
const SPACING: u32 = 150;

/// A ChainLock that miners know.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainLock {
    pub(super) height: u32,
    pub(super) signature: [u8; 96],
}

/// Makes blocks from what they commit to.
#[derive(Debug)]
pub(super) struct BlockMaker {
    transactions: RangeInclusive<u32>,
    v20_height: u32,
    genesis_time: u32,
}

/// The network's genesis block with its real header and hash. Its transactions are not kept.
pub(super) fn genesis(network: Network) -> Block {
    let (time, bits, nonce) = genesis_proof(network);
    // The same coinbase on every network, so the same merkle root.
    let merkle_root = [
        0xc7, 0x62, 0xa6, 0x56, 0x7f, 0x3c, 0xc0, 0x92, 0xf0, 0x68, 0x4b, 0xb6, 0x2b, 0x7e, 0x00, 0xa8, 0x48, 0x90,
        0xb9, 0x90, 0xf0, 0x7c, 0xc7, 0x1a, 0x6b, 0xb5, 0x8d, 0x64, 0xb9, 0x8e, 0x02, 0xe0,
    ];
    let header = header(1, BlockHash::ZERO, merkle_root, [time, bits, nonce]);
    Block { hash: network.genesis_hash(), header, body: None }
}

const fn genesis_proof(network: Network) -> (u32, u32, u32) {
    match network {
        Network::Mainnet => (1_390_095_618, 0x1e0f_fff0, 28_917_698),
        Network::Testnet => (1_390_666_206, 0x1e0f_fff0, 3_861_367_235),
        Network::Devnet(_) | Network::Regtest => (1_417_713_337, BITS, 1_096_447),
    }
}

fn header(version: u32, parent: BlockHash, merkle_root: [u8; 32], time_bits_nonce: [u32; 3]) -> [u8; 80] {
    let mut header = [0; 80];
    let mut out = &mut header[..];
    out.put_u32_le(version);
    out.put_slice(parent.as_bytes());
    out.put_slice(&merkle_root);
    time_bits_nonce.into_iter().for_each(|number| out.put_u32_le(number));
    header
}

// === impl BlockMaker ===

impl BlockMaker {
    pub(super) fn new(params: &SyntheticParams) -> Self {
        Self {
            transactions: params.transactions.clone(),
            v20_height: params.v20_height,
            genesis_time: genesis_proof(params.network).0,
        }
    }

    pub(super) fn make(
        &self,
        height: u32,
        parent: BlockHash,
        (list_root, quorum_root): ([u8; 32], [u8; 32]),
        chain_lock: Option<ChainLock>,
        rng: &mut fastrand::Rng,
    ) -> Block {
        let has_pool = height >= self.v20_height;
        let payload = CoinbasePayload {
            version: if has_pool { 3 } else { 2 },
            height: height as i32,
            merkle_root_mn_list: Hash256::from_bytes(list_root),
            merkle_root_quorums: Some(Hash256::from_bytes(quorum_root)),
            credit_pool: has_pool.then(|| CreditPool {
                best_cl_height_diff: chain_lock.map_or(0, |lock| height - 1 - lock.height),
                best_cl_signature: chain_lock.map_or([0; 96], |lock| lock.signature),
                balance: i64::from(height) * 67_000_000,
            }),
        };
        let coinbase = coinbase(payload, rng);
        let others = rng.u32(self.transactions.clone()).saturating_sub(1);
        let txids: Vec<_> =
            [*coinbase.txid().as_bytes()].into_iter().chain((0..others).map(|_| random_bytes(rng))).collect();
        let total_transactions = txids.len() as u32;
        let proof = CoinbaseProof::new(txids);
        let time = self.genesis_time.wrapping_add(height.wrapping_mul(SPACING));
        let (header, hash) = self.work(parent, proof.root, time);
        let body = BlockBody { total_transactions, merkle_hashes: proof.hashes, merkle_flags: proof.flags, coinbase };
        Block { hash, header, body: Some(body) }
    }

    fn work(&self, parent: BlockHash, merkle_root: [u8; 32], time: u32) -> ([u8; 80], BlockHash) {
        let mut nonce = 0;
        loop {
            let header = header(0x2000_0000, parent, merkle_root, [time, BITS, nonce]);
            let hash = BlockHash::from_bytes(spv_x11::x11(&header));
            // The hash is a little-endian number, and the target starts with 7f.
            if hash.as_bytes()[31] < 0x7f || nonce == u32::MAX {
                return (header, hash);
            }
            nonce += 1;
        }
    }
}

/// A coinbase as miners make it: an input that names the height, two or three outputs, and the payload.
fn coinbase(payload: CoinbasePayload, rng: &mut fastrand::Rng) -> Coinbase {
    let bare = Coinbase::new(payload.clone());
    let mut out = BytesMut::new();
    out.put_slice(&[3, 0, 5, 0, 1]);
    out.put_slice(&[0; 32]);
    out.put_u32_le(u32::MAX);
    put_var_bytes(&mut out, &[&[4], &payload.height.to_le_bytes()[..], &random_bytes::<8>(rng)].concat());
    out.put_u32_le(u32::MAX);
    let outputs = rng.u8(2..=3);
    out.put_u8(outputs);
    for _ in 0..outputs {
        out.put_u64_le(rng.u64(0..200_000_000));
        put_var_bytes(&mut out, &[&[0x76, 0xa9, 20][..], &random_bytes::<20>(rng), &[0x88, 0xac]].concat());
    }
    out.put_u32_le(0);
    put_var_bytes(&mut out, &payload.to_wire());
    Coinbase::from_wire(out.freeze()).unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;

    #[test]
    fn regtests_genesis_header_is_the_recorded_one() {
        let recording = Recording::bundled().unwrap();
        let genesis = genesis(Network::Regtest);
        assert_eq!(recording.headers()[0], genesis.header);
        assert_eq!(recording.block_hash(0), Some(genesis.hash));
    }
}
