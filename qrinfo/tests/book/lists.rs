//! The lists of a made-up chain, as a client that follows it gets them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use qrinfo::book::BookWriter;
use qrinfo_core::{BlockHash, BlockHeader, message::GetMnListDiff};
use qrinfo_verify::{KnownBlock, Lists};
use spv_testkit::{Chain, builder};

/// The lists of one chain, made when they are needed.
pub(crate) struct ListsByHeight<'a> {
    pub(crate) chain: &'a Chain,
    heights: HashMap<BlockHash, KnownBlock>,
    made: RefCell<BTreeMap<u32, Lists>>,
}

impl<'a> ListsByHeight<'a> {
    pub(crate) fn new(chain: &'a Chain) -> Self {
        let known = |height| {
            let block = chain.block(height).unwrap();
            let merkle_root = BlockHeader::from_bytes(block.header).merkle_root();
            (block.hash, KnownBlock { height, merkle_root })
        };
        Self { chain, heights: (0..=chain.tip()).map(known).collect(), made: RefCell::default() }
    }

    pub(crate) fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        self.heights.get(hash).copied()
    }

    pub(crate) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.chain.block(height).map(|block| block.hash)
    }

    /// The proven lists at a height.
    pub(crate) fn at(&self, height: u32) -> Lists {
        let mut made = self.made.borrow_mut();
        if let Some(lists) = made.get(&height) {
            return lists.clone();
        }
        let base = made.range(..height).next_back().map(|(_, lists)| lists.clone());
        let base = base.unwrap_or_else(|| Lists::at_genesis(self.chain.network()));
        let request = GetMnListDiff { base_block_hash: base.block_hash(), block_hash: self.hash_at(height).unwrap() };
        let diff = builder::mn_list_diff(self.chain, &request).unwrap();
        let lists = base.apply(&diff).unwrap();
        lists.check_roots(diff.coinbase.payload().unwrap()).unwrap();
        made.insert(height, lists.clone());
        lists
    }

    pub(crate) fn advance(&self, writer: &mut BookWriter, height: u32) -> bool {
        writer.advance(&self.at(height), |hash| self.find(hash), |height| self.hash_at(height))
    }
}
