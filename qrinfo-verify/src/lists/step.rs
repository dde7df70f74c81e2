use qrinfo_core::{
    BlockHash,
    message::{DeletedQuorum, MnListDiff},
    wire::{DecodeError, Wire},
};

use super::{
    Lists, merkle,
    snapshot::{ListSnapshotError, unknown_signatures},
};
use crate::headers::KnownBlock;

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

    /// Returns the lists after a stored step from these, proven by the header of its block. `quorumsCLSigs` is not looked
    /// at. `headers` answers for the blocks of our best chain.
    ///
    /// # Errors
    /// [`UnknownBlock`](ListSnapshotError::UnknownBlock) if our headers do not have the block, which is no fault of the
    /// step; every other error means that it is false.
    pub fn prove_step(
        &self,
        diff: &MnListDiff,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) -> Result<Self, ListSnapshotError> {
        let payload = diff.coinbase.payload().ok_or(ListSnapshotError::NoCommitment)?;
        let unknown = ListSnapshotError::UnknownBlock { block: diff.block_hash, height: payload.height };
        let block = headers(&diff.block_hash).ok_or(unknown)?;
        merkle::check_coinbase(diff, block.merkle_root)?;
        if i64::from(payload.height) != i64::from(block.height) {
            return Err(ListSnapshotError::Height { expected: block.height, got: payload.height });
        }
        if payload.merkle_root_quorums.is_none() {
            return Err(ListSnapshotError::NoCommitment);
        }
        let lists = self.apply(diff)?;
        lists.check_roots(payload)?;
        Ok(lists)
    }
}

/// A copy that keeps no received frame in memory.
fn detached(diff: &MnListDiff) -> Result<MnListDiff, DecodeError> {
    MnListDiff::from_wire(diff.to_wire())
}
