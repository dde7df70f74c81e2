use qrinfo_core::{
    message::{DeletedQuorum, MnListDiff},
    wire::{DecodeError, Wire},
};

use super::{Lists, snapshot::unknown_signatures};

// === impl Lists: steps ===

impl Lists {
    /// Returns the diff from these lists to other ones, as a node would send it. The coinbase and its proof are those of
    /// `proof`, a diff to the block of the other lists. `None` if it is of another block.
    ///
    /// The signatures of `quorumsCLSigs` are zero: no header proves any.
    pub fn step_to(&self, next: &Self, proof: &MnListDiff) -> Option<MnListDiff> {
        if proof.block_hash != next.block_hash {
            return None;
        }
        let (old, new) = (&self.masternodes, &next.masternodes);
        let deleted = old.iter().map(|entry| entry.pro_reg_tx_hash).filter(|hash| new.get(hash).is_none());
        let changed = new.iter().filter(|entry| old.get(&entry.pro_reg_tx_hash) != Some(entry));
        let named = |quorum: &qrinfo_core::message::Commitment| (quorum.llmq_type, quorum.quorum_hash);
        let gone = self.quorums.iter().map(named).filter(|(kind, hash)| next.quorums.get(*kind, *hash).is_none());
        let mined: Vec<_> = next
            .quorums
            .iter()
            .filter(|quorum| self.quorums.get(quorum.llmq_type, quorum.quorum_hash).is_none())
            .cloned()
            .collect();
        let diff = MnListDiff {
            base_block_hash: self.block_hash,
            deleted_masternodes: deleted.collect(),
            new_masternodes: changed.cloned().collect(),
            deleted_quorums: gone.map(|(llmq_type, quorum_hash)| DeletedQuorum { llmq_type, quorum_hash }).collect(),
            quorums_cl_sigs: unknown_signatures(mined.len()),
            new_quorums: mined.into_iter().collect(),
            ..proof.clone()
        };
        detached(&diff).ok()
    }
}

/// A copy that keeps no received frame in memory.
fn detached(diff: &MnListDiff) -> Result<MnListDiff, DecodeError> {
    MnListDiff::from_wire(diff.to_wire())
}
