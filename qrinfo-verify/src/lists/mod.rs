//! The masternode list and the active quorums at a block, and the proof of both.

mod fault;
mod masternodes;
pub(crate) mod merkle;
mod quorums;
mod snapshot;
mod sorted;
mod step;

use qrinfo_core::{
    BlockHash, Network,
    message::{CoinbasePayload, MnListDiff},
};

pub use self::{
    fault::{ApplyFault, RootFault},
    masternodes::MasternodeList,
    merkle::ProofFault,
    quorums::QuorumList,
    snapshot::{ListSnapshot, ListSnapshotError},
};
use crate::headers::is_genesis;

/// The masternode list and the active quorums at one block.
///
/// ```
/// use qrinfo_core::Network;
/// use qrinfo_verify::Lists;
///
/// let lists = Lists::at_genesis(Network::Mainnet);
/// assert_eq!((lists.height(), lists.masternodes().len(), lists.quorums().len()), (0, 0, 0));
/// ```
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
pub struct Lists {
    height: u32,
    block_hash: BlockHash,
    #[debug("{}", masternodes.len())]
    masternodes: MasternodeList,
    #[debug("{}", quorums.len())]
    quorums: QuorumList,
    /// The signature in the coinbase: null if the miner knew none, and absent before v20.
    chain_lock: Option<[u8; 96]>,
}

// === impl Lists ===

impl Lists {
    /// Creates the empty lists at genesis.
    pub fn at_genesis(network: Network) -> Self {
        Self {
            height: 0,
            block_hash: network.genesis_hash(),
            masternodes: MasternodeList::default(),
            quorums: QuorumList::default(),
            chain_lock: None,
        }
    }

    /// The block's height, by its own coinbase.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The block.
    pub fn block_hash(&self) -> BlockHash {
        self.block_hash
    }

    /// The masternodes.
    pub fn masternodes(&self) -> &MasternodeList {
        &self.masternodes
    }

    /// The active quorums.
    pub fn quorums(&self) -> &QuorumList {
        &self.quorums
    }

    /// Returns the ChainLock signature in the block's coinbase, which selects the quorum members of a cycle if this is
    /// its work block. `None` before v20, and if the miner knew none.
    pub fn chain_lock(&self) -> Option<&[u8; 96]> {
        self.chain_lock.as_ref().filter(|signature| **signature != [0; 96])
    }

    /// Returns true if coinbases contain ChainLock signatures at this height, which also select quorum members.
    pub(crate) fn is_v20(&self) -> bool {
        self.chain_lock.is_some()
    }

    /// Returns the lists after `diff`. Neither its coinbase nor its effect is checked: see [`check`](crate::check())
    /// and [`check_roots`](Self::check_roots).
    ///
    /// # Errors
    /// [`ApplyFault`] if the diff cannot be applied to these lists.
    pub fn apply(&self, diff: &MnListDiff) -> Result<Self, ApplyFault> {
        let base = diff.base_block_hash;
        if base != self.block_hash && !(self.height == 0 && is_genesis(&base)) {
            return Err(ApplyFault::Base { expected: self.block_hash, got: base });
        }
        let payload = diff.coinbase.payload().ok_or(ApplyFault::NoPayload)?;
        let height = u32::try_from(payload.height).map_err(|_| ApplyFault::NegativeHeight(payload.height))?;
        Ok(Self {
            height,
            block_hash: diff.block_hash,
            masternodes: self.masternodes.apply(diff)?,
            quorums: self.quorums.apply(diff)?,
            chain_lock: payload.credit_pool.as_ref().map(|pool| pool.best_cl_signature),
        })
    }

    /// Checks that these are the lists in a coinbase.
    ///
    /// # Errors
    /// [`RootFault`] names the list with another merkle root. A payload of version 1 has no root of the quorums; they
    /// are then not checked.
    pub fn check_roots(&self, payload: &CoinbasePayload) -> Result<(), RootFault> {
        let (expected, got) = (payload.merkle_root_mn_list, self.masternodes.merkle_root());
        if expected != got {
            return Err(RootFault::Masternodes { expected, got });
        }
        match (payload.merkle_root_quorums, self.quorums.merkle_root()) {
            (Some(expected), got) if expected != got => Err(RootFault::Quorums { expected, got }),
            _ => Ok(()),
        }
    }
}
