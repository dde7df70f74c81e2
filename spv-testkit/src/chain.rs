//! A chain as a Dash node stores it: blocks, masternode lists, mined quorums and snapshots, all by height.
//!
//! [`builder`](crate::builder) answers requests from it. It is loaded from a recording
//! ([`Chain::from_recording`]) or made up ([`SyntheticChain`](crate::SyntheticChain)).

mod answers;
mod block;
mod masternodes;
mod merkle;
mod modifier;
mod quorums;
mod recorded;
mod rotation;
#[cfg(test)]
mod tests;
mod trie_order;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use qrinfo_core::{
    BlockHash, Network,
    message::{QuorumSnapshot, SmlEntry},
};

pub use block::{Block, BlockBody};
pub use masternodes::{ListChange, MasternodeLog};
pub(crate) use merkle::{CoinbaseProof, merkle_root};
pub(crate) use modifier::{Modifier, by_score};
pub use quorums::{MinedQuorum, QuorumLog};
pub use recorded::LoadError;
pub(crate) use rotation::Quarters;

/// The part of a chain that one node knows, up to the node's tip.
///
/// A clone shares everything. [`until`](Self::until) gives the chain of a node that has fewer blocks, and
/// [`knowing`](Self::knowing) that of a node that has seen another branch.
///
/// ```
/// use spv_testkit::{Chain, Recording};
///
/// let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
/// assert_eq!(chain.tip(), 1772);
/// assert_eq!(chain.masternodes().at(1744).count(), 8);
/// let behind = chain.until(1700);
/// assert_eq!((behind.tip(), behind.find(&chain.block(1701).ok_or("no block")?.hash)), (1700, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chain {
    data: Arc<ChainData>,
    tip: u32,
    stale: Arc<HashMap<BlockHash, StaleBlock>>,
}

/// The data of a chain, without the view of any node.
#[derive(Debug)]
pub(crate) struct ChainData {
    pub(crate) network: Network,
    pub(crate) v19_height: u32,
    pub(crate) v20_height: u32,
    pub(crate) blocks: Vec<Block>,
    pub(crate) heights: HashMap<BlockHash, u32>,
    pub(crate) masternodes: MasternodeLog,
    pub(crate) quorums: QuorumLog,
    /// By the height at which a cycle starts.
    pub(crate) snapshots: BTreeMap<u32, QuorumSnapshot>,
}

/// The position of a block that a node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the active chain, at this height.
    Active(u32),
    /// On a branch that is not active.
    Stale(StaleBlock),
}

/// A block of a branch that is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleBlock {
    /// The block's own height.
    pub height: u32,
    /// The height of the last block that its branch shares with the active chain.
    pub fork_height: u32,
}

// === impl Chain ===

impl Chain {
    pub(crate) fn new(data: ChainData) -> Self {
        let tip = data.blocks.len().saturating_sub(1) as u32;
        Self { data: Arc::new(data), tip, stale: Arc::default() }
    }

    /// The same chain for a node whose newest block is at `tip`, at most the present one.
    #[must_use]
    pub fn until(&self, tip: u32) -> Self {
        Self { tip: tip.min(self.tip), ..self.clone() }
    }

    /// The same chain for a node that has also seen the blocks of `other`, on which it does not build.
    #[must_use]
    pub fn knowing(&self, other: &Self) -> Self {
        let is_shared = |height: &u32| self.block(*height).map(|b| b.hash) == other.block(*height).map(|b| b.hash);
        let first_own = (0..=other.tip).find(|height| !is_shared(height));
        let Some(fork_height) = first_own.and_then(|first| first.checked_sub(1)) else { return self.clone() };
        let mut stale = HashMap::clone(&self.stale);
        for height in fork_height + 1..=other.tip {
            if let Some(block) = other.block(height) {
                stale.insert(block.hash, StaleBlock { height, fork_height });
            }
        }
        Self { stale: Arc::new(stale), ..self.clone() }
    }

    /// The chain's network.
    pub fn network(&self) -> Network {
        self.data.network
    }

    /// The height of the newest block.
    pub fn tip(&self) -> u32 {
        self.tip
    }

    /// The height from which basic BLS is used (v19); from it on removed masternodes no longer count as used.
    pub fn v19_height(&self) -> u32 {
        self.data.v19_height
    }

    /// The height from which coinbases carry ChainLock signatures (v20).
    pub fn v20_height(&self) -> u32 {
        self.data.v20_height
    }

    /// The block at `height`, or `None` beyond the tip.
    pub fn block(&self, height: u32) -> Option<&Block> {
        self.data.blocks.get(usize::try_from(height).ok()?).filter(|_| height <= self.tip)
    }

    /// The headers from height 0 to the tip.
    pub fn headers(&self) -> impl Iterator<Item = &[u8; 80]> {
        (0..=self.tip).filter_map(|height| self.block(height)).map(|block| &block.header)
    }

    /// Returns the position of the block with this hash, or `None` for one that the node never saw.
    pub fn find(&self, hash: &BlockHash) -> Option<Place> {
        let active = self.data.heights.get(hash).filter(|height| **height <= self.tip);
        let stale = || self.stale.get(hash).map(|stale| Place::Stale(*stale));
        active.map(|height| Place::Active(*height)).or_else(stale)
    }

    /// The masternode lists. Ask for heights up to the tip only.
    pub fn masternodes(&self) -> &MasternodeLog {
        &self.data.masternodes
    }

    /// The mined quorums. Ask for heights up to the tip only.
    pub fn quorums(&self) -> &QuorumLog {
        &self.data.quorums
    }

    /// The snapshot of the cycle that starts at `cycle`, if one was stored.
    pub fn snapshot(&self, cycle: u32) -> Option<&QuorumSnapshot> {
        self.data.snapshots.get(&cycle).filter(|_| cycle <= self.tip)
    }

    /// The members of each rotated quorum of the cycle that starts at `cycle`, in order; an index that could not be
    /// filled has fewer. `None` if the chain does not know what the rules need: the lists, coinbases and snapshots of
    /// the three cycles before, or the list and coinbase of this one.
    pub fn rotated_members(&self, cycle: u32) -> Option<Vec<Vec<Arc<SmlEntry>>>> {
        let params = self.network().rotated_params();
        let past = |back: u32| {
            let start = cycle.checked_sub(back * params.interval)?;
            let modifier = Modifier::of_block(self, params.llmq_type, start)?;
            let list = self.masternodes().core_order(start.checked_sub(qrinfo_core::WORK_BLOCK_OFFSET)?);
            Some(Quarters::from_snapshot(&params, &list, modifier, self.snapshot(start)?))
        };
        let past = [past(1)?, past(2)?, past(3)?];
        let modifier = Modifier::of_block(self, params.llmq_type, cycle)?;
        let list = self.masternodes().core_order(cycle.checked_sub(qrinfo_core::WORK_BLOCK_OFFSET)?);
        let (new, _) = Quarters::new(&params, &list, modifier, &past, cycle >= self.v19_height())?;
        Some(Quarters::members(&past, &new))
    }
}
