//! The chain of headers, as a follower and the verification of replies need it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use qrinfo_core::{BlockHash, BlockHeader};
use qrinfo_verify::{HeaderMap, KnownBlock};
use spv_headers::{CheckedHeader, HeaderBatch, HeaderChain, TipTracker};
use spv_store::Store;

use super::{FollowConfig, FollowError};

/// The blocks of the chain by hash. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks(Arc<Mutex<Arc<HeaderMap>>>);

/// The chain, its newest headers, and its blocks by hash.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) headers: HeaderChain,
    pub(super) blocks: Blocks,
    /// The newest headers, for a tracker.
    newest: VecDeque<CheckedHeader>,
    /// The blocks of lists that are there: of most old blocks a chain keeps the hash alone.
    pinned: BTreeMap<BlockHash, KnownBlock>,
}

// === impl Blocks ===

impl Blocks {
    pub(super) fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).find(hash)
    }

    fn set(&self, blocks: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(blocks);
    }
}

// === impl Chain ===

impl Chain {
    /// The stored chain, or the start of a new one.
    pub(super) fn open(config: &FollowConfig, store: Option<&Store>) -> Result<Self, FollowError> {
        let (height, hash) = config.start;
        let headers = HeaderChain::new(height, hash);
        let mut chain = Self { headers, blocks: Blocks::default(), newest: VecDeque::new(), pinned: BTreeMap::new() };
        if let Some(store) = store {
            chain.restore(store)?;
            if chain.headers.hash_at(height).is_some_and(|stored| stored != hash) {
                return Err(FollowError::OtherChain { height });
            }
            for (height, _) in store.lists()? {
                if let (Some(hash), Some(header)) = (chain.headers.hash_at(height), store.header(height)?) {
                    chain.pinned.insert(hash, KnownBlock { height, merkle_root: header.merkle_root() });
                }
            }
        }
        chain.index();
        Ok(chain)
    }

    fn restore(&mut self, store: &Store) -> Result<(), FollowError> {
        let Some(first) = store.first_height()? else { return Ok(()) };
        let too_high = FollowError::StoreTooHigh { first };
        let (Some(below), Some(oldest)) = (first.checked_sub(1), store.header(first)?) else { return Err(too_high) };
        if below > self.headers.start() {
            return Err(too_high);
        }
        self.headers = HeaderChain::new(below, oldest.prev_block_hash());
        let mut restored = Ok(());
        store.visit_headers(|_, header, hash| {
            let checked = CheckedHeader { header, hash };
            restored = self.headers.restore([checked]);
            self.push_newest(checked);
            restored.is_ok()
        })?;
        restored.map_err(FollowError::StoredHeaders)
    }

    /// Takes a change that the peers agreed on. Returns `false`, and changes nothing, if it does not fit.
    pub(super) fn apply(&mut self, batch: &HeaderBatch) -> bool {
        let before = self.headers.tip();
        if !self.headers.replace(batch) {
            return false;
        }
        let left = (before + 1).saturating_sub(batch.first) as usize;
        self.newest.truncate(self.newest.len().saturating_sub(left));
        batch.headers.iter().for_each(|header| self.push_newest(*header));
        true
    }

    /// The part of a change that is not there yet. `None` if it is there already: peers tell again of known blocks after
    /// the tracker went back.
    pub(super) fn unknown(&self, mut batch: HeaderBatch) -> Option<HeaderBatch> {
        let heights = batch.first..;
        let known = batch.headers.iter().zip(heights);
        let known = known.take_while(|(header, height)| self.headers.hash_at(*height) == Some(header.hash)).count();
        batch.first = batch.first.saturating_add(u32::try_from(known).unwrap_or(u32::MAX));
        let is_there = known > 0 && known == batch.headers.len();
        batch.headers.drain(..known);
        (!is_there).then_some(batch)
    }

    /// Keeps these blocks, however old they get.
    pub(super) fn pin(&mut self, blocks: impl Iterator<Item = BlockHash>) {
        self.pinned = blocks.filter_map(|hash| Some((hash, self.blocks.find(&hash)?))).collect();
    }

    /// Makes the blocks known by hash, after changes.
    pub(super) fn index(&self) {
        let start = (self.headers.start(), self.headers.hash_at(self.headers.start()));
        let mut blocks: HeaderMap = self
            .headers
            .blocks()
            .map(|(height, hash, merkle_root)| (hash, KnownBlock { height, merkle_root }))
            .chain(self.pinned.iter().map(|(hash, block)| (*hash, *block)))
            .filter(|(hash, block)| self.headers.hash_at(block.height) == Some(*hash))
            .collect();
        // Of genesis nothing is looked up but its height.
        if let (0, Some(genesis)) = start {
            blocks.insert(0, genesis, &BlockHeader::from_bytes([0; 80]));
        }
        self.blocks.set(blocks);
    }

    /// A tracker that goes on from the tip.
    pub(super) fn tracker(&self, config: &FollowConfig) -> TipTracker {
        tracker(config, (self.headers.tip(), self.headers.tip_hash()), self.newest.iter().copied().collect())
    }

    /// A tracker that goes on from an older block, with the headers below it as far as they are stored. `None` if the chain
    /// does not have the block.
    pub(super) fn tracker_at(
        &self,
        config: &FollowConfig,
        height: u32,
        store: Option<&Store>,
    ) -> Result<Option<TipTracker>, FollowError> {
        let Some(hash) = self.headers.hash_at(height) else { return Ok(None) };
        let lowest = height.saturating_sub(TipTracker::WANTED as u32).max(self.headers.start());
        let mut below = Vec::new();
        for height in lowest.saturating_add(1)..=height {
            let header = store.map_or(Ok(None), |store| store.header(height))?;
            below.extend(header.zip(self.headers.hash_at(height)).map(|(header, hash)| CheckedHeader { header, hash }));
        }
        below = if below.len() == (height - lowest) as usize { below } else { Vec::new() };
        Ok(Some(tracker(config, (height, hash), below)))
    }

    /// Hashes of the chain from a height down to its start, in ever greater steps: the part of a locator below a tracker's
    /// blocks.
    pub(super) fn locator(&self, from: u32) -> impl Iterator<Item = BlockHash> {
        let start = self.headers.start();
        let steps = (0..u32::BITS).map(move |step| from.saturating_sub((1_u32 << step) - 1).max(start));
        let mut heights: Vec<_> = steps.collect();
        heights.dedup();
        heights.into_iter().filter_map(|height| self.headers.hash_at(height))
    }

    fn push_newest(&mut self, header: CheckedHeader) {
        self.newest.push_back(header);
        if self.newest.len() > TipTracker::WANTED {
            self.newest.pop_front();
        }
    }
}

/// A tracker whose agreed block is this one, above these headers.
fn tracker(config: &FollowConfig, (height, hash): (u32, BlockHash), newest: Vec<CheckedHeader>) -> TipTracker {
    let below = height.saturating_sub(u32::try_from(newest.len()).unwrap_or(u32::MAX));
    let hash = newest.first().map_or(hash, |first| first.header.prev_block_hash());
    TipTracker::new(config.rules.clone(), (below, hash), &newest)
}

/// A batch as the store takes it.
pub(super) fn entries(batch: &HeaderBatch) -> Vec<(BlockHeader, BlockHash)> {
    batch.headers.iter().map(|checked| (checked.header, checked.hash)).collect()
}
