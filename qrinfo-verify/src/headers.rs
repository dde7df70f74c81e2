use std::collections::HashMap;

use qrinfo_core::{BlockHash, BlockHeader, Hash256, Network};

/// The facts about a block of our header chain that proofs need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBlock {
    /// The block's height.
    pub height: u32,
    /// The merkle root of its transactions, from its header.
    pub merkle_root: Hash256,
}

/// Headers in memory, by hash: one implementation of the lookup that [`check`](crate::check()) and
/// [`ListStage::apply`](crate::ListStage::apply) need.
///
/// Both take any `Fn(&BlockHash) -> Option<KnownBlock>` that answers for the blocks of the best chain only, so a store
/// can serve them as well. A store with async access fills a map with the [`blocks_named`](crate::blocks_named) by a
/// request and its reply.
///
/// ```
/// use qrinfo_core::{BlockHash, BlockHeader};
/// use qrinfo_verify::HeaderMap;
///
/// let mut headers = HeaderMap::default();
/// let hash = BlockHash::from_bytes([7; 32]);
/// headers.insert(1_000, hash, &BlockHeader::from_bytes([0; 80]));
/// assert_eq!(headers.find(&hash).map(|block| block.height), Some(1_000));
/// assert_eq!(headers.find(&BlockHash::ZERO), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct HeaderMap {
    blocks: HashMap<BlockHash, KnownBlock>,
}

// === impl HeaderMap ===

impl HeaderMap {
    /// Adds a block of the best chain. The hash must be the header's; it is not checked.
    pub fn insert(&mut self, height: u32, hash: BlockHash, header: &BlockHeader) {
        self.blocks.insert(hash, KnownBlock { height, merkle_root: header.merkle_root() });
    }

    /// Returns the block with this hash, if it was added.
    pub fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        self.blocks.get(hash).copied()
    }
}

impl FromIterator<(BlockHash, KnownBlock)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (BlockHash, KnownBlock)>>(blocks: I) -> Self {
        Self { blocks: blocks.into_iter().collect() }
    }
}

/// Returns true for genesis, which has no lists on any network. A client whose headers start at a checkpoint lacks its
/// header. `getmnlistd` also writes it as all zeros.
pub(crate) fn is_genesis(hash: &BlockHash) -> bool {
    Network::ALL.iter().any(|network| network.is_genesis(hash))
}
