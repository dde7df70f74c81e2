//! The members of a reply's quorums.

use std::collections::BTreeMap;

use qrinfo_core::{
    CycleStart, LlmqParams, LlmqType, Network, WORK_BLOCK_OFFSET,
    message::{Commitment, QuorumSnapshot, SmlEntry},
};

use super::{
    bls::is_legacy,
    members::{Deregistered, Quarters, rotated_members, top_members},
    modifier::Modifier,
};
use crate::lists::Lists;

/// The lists and snapshots from which members are selected, and the selections made so far.
pub(crate) struct MemberSelector<'a, L> {
    network: Network,
    lists_at: L,
    /// By work height.
    snapshots: BTreeMap<u32, &'a QuorumSnapshot>,
    past: BTreeMap<u32, Option<Quarters<'a>>>,
    members: BTreeMap<(CycleStart, bool), Option<Vec<Vec<&'a SmlEntry>>>>,
}

// === impl MemberSelector ===

impl<'a, L: Fn(u32) -> Option<&'a Lists>> MemberSelector<'a, L> {
    pub(crate) fn new(network: Network, snapshots: BTreeMap<u32, &'a QuorumSnapshot>, lists_at: L) -> Self {
        Self { network, lists_at, snapshots, past: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// Returns the parameters of a commitment's type, or `None` for an unknown type.
    ///
    /// Regtest chains and devnets choose the size and the threshold of quorums that are not rotated (Dash Core's
    /// `-llmqtestparams` and `-llmqdevnetparams`). So there the size is the one in the commitment, and one member that
    /// signed is enough: the block's coinbase and the signatures prove the rest.
    pub(crate) fn params(&self, commitment: &Commitment) -> Option<LlmqParams> {
        let params = self.network.llmq_params(commitment.llmq_type)?;
        match self.network {
            Network::Regtest | Network::Devnet(_) if !params.rotated => {
                let size = u16::try_from(commitment.signers.len()).ok()?;
                Some(LlmqParams { size, min_size: 1, ..params })
            }
            _ => Some(params),
        }
    }

    /// Returns the members of a quorum whose block is at `height`, or `None` if a list or snapshot is missing.
    pub(crate) fn members(
        &mut self,
        params: &LlmqParams,
        commitment: &Commitment,
        height: u32,
    ) -> Option<Vec<&'a SmlEntry>> {
        if params.rotated {
            let index = u16::try_from(commitment.quorum_index?).ok()?;
            let cycle = self.network.cycles().start_of(height.checked_sub(u32::from(index))?);
            return self.rotated(cycle, is_legacy(commitment))?.get(usize::from(index)).cloned();
        }
        // A devnet or regtest chain's settings determine the masternodes from which Platform's quorums are selected.
        let evo_only = match (self.network, commitment.llmq_type) {
            (Network::Mainnet, LlmqType(4)) | (Network::Testnet, LlmqType(6)) => !is_legacy(commitment),
            (Network::Devnet(_) | Network::Regtest, LlmqType(106 | 107)) => return None,
            _ => false,
        };
        // Before v20 the quorum's own block takes the work block's place.
        let at_work = height.checked_sub(WORK_BLOCK_OFFSET).and_then(&self.lists_at).filter(|lists| lists.is_v20());
        let lists = at_work.or_else(|| (self.lists_at)(height).filter(|lists| !lists.is_v20()))?;
        Some(top_members(params, lists.masternodes().iter(), &modifier(lists, commitment.llmq_type), evo_only))
    }

    fn rotated(&mut self, cycle: CycleStart, is_legacy: bool) -> Option<&Vec<Vec<&'a SmlEntry>>> {
        let key = (cycle, is_legacy);
        if !self.members.contains_key(&key) {
            let members = self.select_rotated(cycle, is_legacy);
            self.members.insert(key, members);
        }
        self.members.get(&key)?.as_ref()
    }

    fn select_rotated(&mut self, cycle: CycleStart, is_legacy: bool) -> Option<Vec<Vec<&'a SmlEntry>>> {
        let params = self.network.rotated_params();
        let works = [1, 2, 3].map(|back| self.network.cycles().work_height_back(cycle, back));
        for work in works {
            let work = work?;
            if !self.past.contains_key(&work) {
                let quarters = self.select_past(&params, work);
                self.past.insert(work, quarters);
            }
        }
        let past = |work: Option<u32>| self.past.get(&work?)?.as_ref();
        let [h_c, h_2c, h_3c] = works.map(past);
        let past = [h_c?, h_2c?, h_3c?];
        let lists = (self.lists_at)(self.network.cycles().work_height(cycle)?)?;
        let modifier = modifier(lists, params.llmq_type);
        let deregistered = match self.network {
            // Devnets and regtest chains choose their height of v19. The version of the commitments shows it.
            Network::Devnet(_) | Network::Regtest if is_legacy => Deregistered::Used,
            network => Deregistered::at(network, cycle),
        };
        let new = Quarters::new(&params, lists.masternodes().iter(), &modifier, past, deregistered);
        Some(rotated_members(past, &new))
    }

    fn select_past(&self, params: &LlmqParams, work_height: u32) -> Option<Quarters<'a>> {
        let snapshot = self.snapshots.get(&work_height)?;
        let lists = (self.lists_at)(work_height)?;
        Some(Quarters::past(params, lists.masternodes().iter(), &modifier(lists, params.llmq_type), snapshot))
    }
}

fn modifier(lists: &Lists, llmq_type: LlmqType) -> Modifier {
    Modifier::new(llmq_type, lists.height(), &lists.block_hash(), lists.chain_lock())
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{Hash256, QuorumHash, wire::Bits};

    use super::*;

    fn commitment(llmq_type: LlmqType, size: usize) -> Commitment {
        Commitment {
            version: 3,
            llmq_type,
            quorum_hash: QuorumHash::from_bytes([1; 32]),
            quorum_index: None,
            signers: Bits::from_iter(vec![true; size]),
            valid_members: Bits::from_iter(vec![true; size]),
            quorum_public_key: [0; 48],
            quorum_vvec_hash: Hash256::ZERO,
            quorum_sig: [0; 96],
            members_sig: [0; 96],
        }
    }

    /// 5:3 of `-llmqtestparams` where the default is 3:2. The rotated type has no such option.
    #[test]
    fn a_regtest_chain_chooses_the_size_and_threshold_of_quorums_that_are_not_rotated() {
        let params = |network, llmq_type| {
            let selector = MemberSelector::new(network, BTreeMap::new(), |_| None);
            selector.params(&commitment(llmq_type, 5)).map(|params| (params.size, params.min_size))
        };
        assert_eq!(params(Network::Regtest, LlmqType(100)), Some((5, 1)));
        let own =
            |network: Network, llmq_type| network.llmq_params(llmq_type).map(|params| (params.size, params.min_size));
        for (network, llmq_type) in [(Network::Regtest, LlmqType(103)), (Network::Mainnet, LlmqType(1))] {
            assert_eq!(params(network, llmq_type), own(network, llmq_type), "type {llmq_type}");
        }
        assert_eq!(params(Network::Regtest, LlmqType(99)), None);
    }
}
