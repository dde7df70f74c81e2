//! The lists of a client, by height, while it applies replies.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use qrinfo_core::{
    BlockHash, LlmqType, ProTxHash, QuorumHash,
    message::{Commitment, MnListDiff, QRInfo, SmlEntry},
};
use spv_testkit::Chain;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct List {
    masternodes: BTreeMap<ProTxHash, SmlEntry>,
    quorums: BTreeMap<(LlmqType, QuorumHash), Commitment>,
}

/// Lists that a client holds. Every one that it takes in is compared with the chain's own.
pub struct Lists<'a> {
    chain: &'a Chain,
    heights: HashMap<BlockHash, u32>,
    lists: BTreeMap<u32, List>,
    /// The number of diffs that started from nothing, and the number that led to a list that was there already.
    pub from_genesis: usize,
    pub known_already: usize,
}

impl List {
    fn at(chain: &Chain, height: u32) -> Self {
        let masternodes = chain.masternodes().at(height).map(|entry| (entry.pro_reg_tx_hash, SmlEntry::clone(entry)));
        let quorums = chain.quorums().active_at(height).into_iter();
        let quorums = quorums.map(|(key, quorum)| (key, quorum.commitment.clone()));
        Self { masternodes: masternodes.collect(), quorums: quorums.collect() }
    }

    pub fn apply(&mut self, diff: &MnListDiff) {
        for gone in &diff.deleted_masternodes {
            self.masternodes.remove(&gone).expect("a masternode that is there");
        }
        for entry in &diff.new_masternodes {
            self.masternodes.insert(entry.pro_reg_tx_hash, entry);
        }
        for gone in &diff.deleted_quorums {
            self.quorums.remove(&(gone.llmq_type, gone.quorum_hash)).expect("a quorum that is there");
        }
        for quorum in &diff.new_quorums {
            self.quorums.insert((quorum.llmq_type, quorum.quorum_hash), quorum);
        }
    }

    pub fn quorums(&self) -> Vec<(LlmqType, QuorumHash)> {
        self.quorums.keys().copied().collect()
    }
}

impl<'a> Lists<'a> {
    pub fn new(chain: &'a Chain, known: &BTreeSet<u32>) -> Self {
        let heights = (0..=chain.tip()).map(|height| (chain.block(height).unwrap().hash, height)).collect();
        let lists = known.iter().map(|&height| (height, List::at(chain, height))).chain([(0, List::default())]);
        Self { chain, heights, lists: lists.collect(), from_genesis: 0, known_already: 0 }
    }

    pub fn heights(&self) -> BTreeSet<u32> {
        self.lists.keys().copied().collect()
    }

    /// Applies what a reply brings, in the order of height. Of a tip diff, what starts from a list that is there.
    pub fn take(&mut self, reply: &QRInfo) {
        let tip = &reply.mn_list_diff_tip;
        let mut diffs: Vec<_> = reply.diffs().filter(|diff| !std::ptr::eq(*diff, tip)).collect();
        diffs.sort_by_key(|diff| self.heights[&diff.block_hash]);
        diffs.into_iter().for_each(|diff| self.apply(diff));
        if self.lists.contains_key(&self.heights[&tip.base_block_hash]) {
            self.apply(tip);
        }
    }

    pub fn apply(&mut self, diff: &MnListDiff) {
        let (base, target) = (self.heights[&diff.base_block_hash], self.heights[&diff.block_hash]);
        let mut list = self.lists.get(&base).unwrap_or_else(|| panic!("no list at {base} to lead to {target}")).clone();
        list.apply(diff);
        assert_eq!(list, List::at(self.chain, target), "the list at {target}");
        self.from_genesis += usize::from(base == 0);
        self.known_already += usize::from(self.lists.insert(target, list).is_some());
    }
}
