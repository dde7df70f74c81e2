//! The memory of a stage between replies.

use std::collections::{BTreeMap, BTreeSet};

use qrinfo_core::{BlockHash, Network, Request};

use super::{error::DiffName, signatures::CommitmentId};
use crate::{headers::KnownBlock, lists::Lists};

/// The number of cycles below the newest applied one whose lists are kept: the bases of the next request reach down to
/// its own `H-7C`, which is `H-6C` of the one before.
const CYCLES_KEPT: u32 = 6;

/// The maximum number of lists of a kind that are kept between replies: those of `qrinfo`, of which a plan needs seven,
/// and the targets of `mnlistdiff`.
const MAX_KEPT: usize = 32;

/// The maximum number of work blocks whose lists are kept out of `mnlistdiff` replies: those from `H` down to `H-7C`.
const WORK_BLOCKS_KEPT: usize = 8;

/// The maximum number of commitments that are remembered as verified. A cycle of mainnet brings about sixty.
const MAX_VERIFIED: usize = 1024;

/// Lists that later replies start from, and commitments that need no second verification.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    network: Network,
    /// Genesis, and the lists that the caller pinned.
    pinned: BTreeMap<u32, Lists>,
    /// The lists of replies to `getqrinfo`.
    cycles: BTreeMap<u32, Lists>,
    /// The lists at the work blocks of cycles of replies to `getmnlistd`: the next `qrinfo` starts from them, many blocks
    /// later.
    work_blocks: BTreeMap<u32, Lists>,
    /// The other lists of replies to `getmnlistd`.
    targets: BTreeMap<u32, Lists>,
    tip: Option<Lists>,
    /// Most commitments come twice: first as an index's last, then as new in a list.
    verified: BTreeSet<CommitmentId>,
}

// === impl Kept ===

impl Kept {
    pub(super) fn at_genesis(network: Network) -> Self {
        Self {
            network,
            pinned: BTreeMap::from([(0, Lists::at_genesis(network))]),
            cycles: BTreeMap::new(),
            work_blocks: BTreeMap::new(),
            targets: BTreeMap::new(),
            tip: None,
            verified: BTreeSet::new(),
        }
    }

    pub(super) fn pin(&mut self, lists: Lists) {
        self.pinned.insert(lists.height(), lists);
    }

    pub(super) fn at(&self, height: u32) -> Option<&Lists> {
        let tip = self.tip.as_ref().filter(|tip| tip.height() == height);
        let kept = [&self.cycles, &self.work_blocks, &self.targets].into_iter().find_map(|lists| lists.get(&height));
        kept.or_else(|| self.pinned.get(&height)).or(tip)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lists> {
        let targets = self.work_blocks.values().chain(self.targets.values());
        self.cycles.values().chain(targets).chain(self.pinned.values()).chain(&self.tip)
    }

    pub(super) fn is_verified(&self, commitment: &CommitmentId) -> bool {
        self.verified.contains(commitment)
    }

    /// Remembers commitments as verified. Those of the lowest quorums are forgotten first.
    pub(super) fn add_verified(&mut self, commitments: Vec<CommitmentId>) {
        self.verified.extend(commitments);
        while self.verified.len() > MAX_VERIFIED {
            self.verified.pop_first();
        }
    }

    /// Adds the lists of a reply, and drops those that are too old or not on our chain.
    pub(super) fn add(
        &mut self,
        request: &Request,
        fresh: Vec<(DiffName, Lists)>,
        headers: &impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) {
        for (name, lists) in fresh {
            match name {
                DiffName::Tip if self.tip.as_ref().is_some_and(|tip| tip.height() > lists.height()) => {}
                DiffName::Tip => self.tip = Some(lists),
                DiffName::Requested if self.network.cycles().is_work_height(lists.height()) => {
                    self.work_blocks.insert(lists.height(), lists);
                }
                DiffName::Requested => {
                    self.targets.insert(lists.height(), lists);
                }
                DiffName::Cycle { .. } | DiffName::Trailing(_) => {
                    self.cycles.insert(lists.height(), lists);
                }
            }
        }
        if let Request::QrInfo(spec) = request
            && let Some(lowest) = spec.network.cycles().work_height_back(spec.cycle, CYCLES_KEPT)
        {
            self.cycles = self.cycles.split_off(&lowest);
        }
        let is_ours = |lists: &Lists| headers(&lists.block_hash()).is_some_and(|block| block.height == lists.height());
        self.tip = self.tip.take().filter(is_ours);
        let most =
            [(&mut self.cycles, MAX_KEPT), (&mut self.work_blocks, WORK_BLOCKS_KEPT), (&mut self.targets, MAX_KEPT)];
        for (lists, most) in most {
            lists.retain(|_, lists| is_ours(lists));
            while lists.len() > most {
                lists.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{
        Hash256, MnListDiffRequestSpec,
        message::{Coinbase, CoinbasePayload, MnListDiff},
    };

    use super::*;

    /// Empty lists at a height, at a block of this number.
    fn lists(height: u8, number: u8) -> Lists {
        let payload = CoinbasePayload {
            version: 1,
            height: height.into(),
            merkle_root_mn_list: Hash256::ZERO,
            merkle_root_quorums: None,
            credit_pool: None,
        };
        let empty = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([number; 32]));
        let diff = MnListDiff { coinbase: Coinbase::new(payload), ..empty };
        Lists::at_genesis(Network::Regtest).apply(&diff).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_highest_tip_is_kept_and_of_two_at_a_height_the_later_one() {
        let mut kept = Kept::at_genesis(Network::Regtest);
        let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
        for (height, number, expected) in [(10, 1, 1), (8, 2, 1), (10, 3, 3), (12, 4, 4)] {
            let find = |_: &BlockHash| {
                let height = if expected == number { height } else { 10 };
                Some(KnownBlock { height: height.into(), merkle_root: Hash256::ZERO })
            };
            kept.add(&spec.clone().into(), vec![(DiffName::Tip, lists(height, number))], &find);
            let tip = kept.tip.as_ref().map(Lists::block_hash);
            assert_eq!(tip, Some(BlockHash::from_bytes([expected; 32])), "{number}");
        }
    }

    #[test]
    fn the_1024_commitments_of_the_highest_quorums_are_remembered() {
        let mut kept = Kept::at_genesis(Network::Regtest);
        kept.add_verified((0..1_000).map(|height| (height, [7; 32])).collect());
        kept.add_verified((1_000..1_030).map(|height| (height, [7; 32])).collect());
        let is_verified = |height| kept.is_verified(&(height, [7; 32]));
        assert!(!is_verified(5) && is_verified(6) && is_verified(1_029) && !is_verified(1_030));
        assert!(!kept.is_verified(&(6, [8; 32])));
    }
}
