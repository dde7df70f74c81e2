use bytes::Bytes;
use qrinfo_core::{
    Hash256, sha256d,
    wire::{Bits, Seq},
};

/// The root of Bitcoin's merkle tree: of an odd level the last hash counts twice, and of nothing the root is zero.
pub(crate) fn merkle_root(leaves: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut level: Vec<_> = leaves.into_iter().collect();
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// The partial merkle tree that shows a block's first transaction, and the tree's root.
#[derive(Debug, Clone)]
pub(crate) struct CoinbaseProof {
    pub(crate) root: [u8; 32],
    pub(crate) hashes: Seq<Hash256>,
    pub(crate) flags: Bytes,
}

// === impl CoinbaseProof ===

impl CoinbaseProof {
    /// The proof in a block with these transaction ids, the coinbase's first.
    pub(crate) fn new(txids: Vec<[u8; 32]>) -> Self {
        let mut siblings = Vec::new();
        let mut levels = 1;
        let mut level = txids;
        let coinbase = level.first().copied().unwrap_or_default();
        while level.len() > 1 {
            // A level of more than one node always has a second: only its last can lack a sibling.
            siblings.extend(level.get(1).copied());
            level = parents(&level);
            levels += 1;
        }
        // Depth first: set bits from the root down to the coinbase, then a clear bit for each sibling on the way up.
        let flags: Bits = (0..levels).map(|_| true).chain(siblings.iter().map(|_| false)).collect();
        let hashes = [coinbase].into_iter().chain(siblings).map(Hash256::from_bytes).collect();
        Self { root: level.first().copied().unwrap_or_default(), hashes, flags: flags.as_bytes().clone() }
    }
}

fn parents(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let parent = |pair: &[[u8; 32]]| match pair {
        [left, right] => sha256d(&[*left, *right].concat()),
        [alone] => sha256d(&[*alone, *alone].concat()),
        _ => [0; 32],
    };
    level.chunks(2).map(parent).collect()
}
