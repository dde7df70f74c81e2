use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256,
    message::{Coinbase, CoinbasePayload},
    wire::Seq,
};

/// A block of the active chain.
#[derive(Debug, Clone)]
pub struct Block {
    /// The block's hash.
    pub hash: BlockHash,
    /// The 80-byte header.
    pub header: [u8; 80],
    /// The contents of the block; `None` where a recording does not show them.
    pub body: Option<BlockBody>,
}

/// A block's coinbase, and the proof that it is in the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBody {
    /// The number of transactions of the block.
    pub total_transactions: u32,
    /// The partial merkle tree's hashes.
    pub merkle_hashes: Seq<Hash256>,
    /// The partial merkle tree's flag bits.
    pub merkle_flags: Bytes,
    /// The coinbase transaction.
    pub coinbase: Coinbase,
}

// === impl BlockBody ===

impl BlockBody {
    /// The newest ChainLock signature that the block's miner knew; `None` before v20 and where it is null.
    pub fn chain_lock_signature(&self) -> Option<[u8; 96]> {
        let signature = self.coinbase.payload()?.credit_pool.as_ref()?.best_cl_signature;
        (signature != [0; 96]).then_some(signature)
    }

    /// Returns the commitments of the coinbase.
    pub fn payload(&self) -> Option<&CoinbasePayload> {
        self.coinbase.payload()
    }
}
