//! The stored lists: steps from one to the next, each with the proof that ties it to its header.

use std::collections::BTreeMap;

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Network, Reply,
    message::MnListDiff,
    wire::{Seq, Wire},
};
use qrinfo_verify::{KnownBlock, ListSnapshot, Lists};
use spv_store::{Store, StoreError};

/// The cycles whose lists are stored: the bases of the next `qrinfo`.
const CYCLES: usize = 7;

/// The steps that are stored, and the proofs for the next ones.
///
/// The first step is a whole list. The others lead to the work blocks of the cycles above it and to the newest block, so
/// that with each block only the last of them is written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// Height of a step's block to that block, and to the one that it starts from.
    stored: BTreeMap<u32, (BlockHash, BlockHash)>,
    /// Diffs without changes: the coinbase of a block and its proof.
    proofs: BTreeMap<BlockHash, MnListDiff>,
}

/// A change of the stored steps.
#[derive(Debug)]
pub(super) struct Change {
    steps: Vec<(u32, Bytes)>,
    keep: Vec<u32>,
}

// === impl Archive ===

impl Archive {
    /// Takes the proofs out of a reply that was proven.
    pub(super) fn learn(&mut self, reply: &Reply) {
        match reply {
            Reply::QrInfo(reply) => reply.diffs().for_each(|diff| self.learn_diff(diff)),
            Reply::MnListDiff(diff) => self.learn_diff(diff),
        }
    }

    fn learn_diff(&mut self, diff: &MnListDiff) {
        let bare = MnListDiff {
            deleted_masternodes: Seq::default(),
            new_masternodes: Seq::default(),
            deleted_quorums: Seq::default(),
            new_quorums: Seq::default(),
            quorums_cl_sigs: Seq::default(),
            ..diff.clone()
        };
        // A copy of its own, which keeps no frame in memory.
        if let Ok(bare) = MnListDiff::from_wire(bare.to_wire()) {
            self.proofs.insert(bare.block_hash, bare);
        }
    }

    /// The change that stores these lists, which are all that are there. `None` if nothing changes.
    pub(super) fn change(&mut self, network: Network, lists: &BTreeMap<u32, Lists>) -> Option<Change> {
        self.proofs.retain(|block, _| lists.values().any(|lists| lists.block_hash() == *block));
        let mut wanted: Vec<&Lists> = lists.values().filter(|lists| self.can_store(lists)).collect();
        let newest = wanted.pop();
        wanted.retain(|lists| network.cycles().is_work_height(lists.height()));
        wanted.drain(..wanted.len().saturating_sub(CYCLES));
        wanted.extend(newest);
        let (mut steps, mut stored) = (Vec::new(), BTreeMap::new());
        let genesis = Lists::at_genesis(network);
        let mut base = &genesis;
        for lists in wanted {
            let entry = (lists.block_hash(), base.block_hash());
            if self.stored.get(&lists.height()) != Some(&entry) {
                steps.push((lists.height(), self.step(base, lists)?));
            }
            stored.insert(lists.height(), entry);
            base = lists;
        }
        let change = Change { steps, keep: stored.keys().copied().collect() };
        let is_change = stored != self.stored;
        self.stored = stored;
        is_change.then_some(change)
    }

    /// Proves stored steps, lowest first, up to the first one that does not fit: its block may have left the chain, or the
    /// file may be damaged. What follows it comes from the peers again.
    pub(super) fn restore(
        &mut self,
        network: Network,
        steps: Vec<(u32, Bytes)>,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) -> Vec<Lists> {
        let mut restored: Vec<Lists> = Vec::new();
        for (height, bytes) in steps {
            let Ok(diff) = MnListDiff::from_wire(bytes.clone()) else { break };
            let proven = match restored.last() {
                None => ListSnapshot::decode(bytes).and_then(|snapshot| snapshot.verify(&headers)),
                Some(base) => base.prove_step(&diff, &headers),
            };
            let lists = match proven {
                Ok(lists) if lists.height() == height => lists,
                Ok(_) => break,
                Err(error) => {
                    tracing::info!(height, %error, "stored lists are passed over");
                    break;
                }
            };
            self.learn_diff(&diff);
            let base = restored.last().map_or(network.genesis_hash(), Lists::block_hash);
            self.stored.insert(height, (lists.block_hash(), base));
            restored.push(lists);
        }
        restored
    }

    /// The newest lists with their proof, out of those that were restored.
    pub(super) fn snapshot(&self, lists: &Lists) -> Option<ListSnapshot> {
        ListSnapshot::new(lists, self.proofs.get(&lists.block_hash())?).ok()
    }

    fn can_store(&self, lists: &Lists) -> bool {
        lists.height() > 0 && self.proofs.contains_key(&lists.block_hash())
    }

    fn step(&self, base: &Lists, lists: &Lists) -> Option<Bytes> {
        let proof = self.proofs.get(&lists.block_hash())?;
        match base.height() {
            0 => Some(ListSnapshot::new(lists, proof).ok()?.encode()),
            _ => Some(base.step_to(lists, proof)?.to_wire()),
        }
    }
}

// === impl Change ===

impl Change {
    pub(super) fn store(&self, store: &Store) -> Result<(), StoreError> {
        store.store_lists(&self.steps, |height| self.keep.contains(&height))
    }
}
