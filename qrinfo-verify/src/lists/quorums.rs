use qrinfo_core::{
    Hash256, LlmqType, QuorumHash,
    message::{Commitment, DeletedQuorum, MnListDiff},
    sha256d,
    wire::{DecodeError, Wire},
};

use super::{
    fault::ApplyFault,
    sorted::{Conflict, Item, Sorted},
};

/// The active quorums of every type at one block, in ascending order of type and of the bytes of their hash.
///
/// Versions of the list share their commitments, as those of a [`MasternodeList`](crate::MasternodeList) share entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuorumList(Sorted<Commitment>);

// === impl QuorumList ===

impl QuorumList {
    /// Returns the number of active quorums, of all types.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Returns true if there are no quorums.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The commitments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Commitment> + Clone {
        self.0.iter()
    }

    /// The commitment of one quorum.
    pub fn get(&self, llmq_type: LlmqType, quorum_hash: QuorumHash) -> Option<&Commitment> {
        self.0.get(&(llmq_type, quorum_hash))
    }

    /// Returns the value of `merkleRootQuorums` in the block's coinbase: the merkle root over the hashes of all
    /// commitments, these in ascending order of their bytes (Dash Core's `CalcCbTxMerkleRootQuorums`). Zero without
    /// quorums.
    pub fn merkle_root(&self) -> Hash256 {
        self.0.merkle_root()
    }

    /// Returns the list after `diff`.
    ///
    /// # Errors
    /// [`ApplyFault::AbsentQuorum`], [`ApplyFault::PresentQuorum`] (a commitment is mined once) and [`ApplyFault::QuorumTwice`].
    pub fn apply(&self, diff: &MnListDiff) -> Result<Self, ApplyFault> {
        let deleted = diff.deleted_quorums.iter().map(|quorum| (quorum.llmq_type, quorum.quorum_hash));
        self.0.changed(deleted, diff.new_quorums.iter()).map(Self)
    }
}

// === impl Commitment ===

impl Item for Commitment {
    type Key = (LlmqType, QuorumHash);

    const REPLACEABLE: bool = false;

    const SORTED_LEAVES: bool = true;

    fn key(&self) -> Self::Key {
        (self.llmq_type, self.quorum_hash)
    }

    fn leaf(&self) -> [u8; 32] {
        sha256d(&self.to_wire())
    }

    fn detached(self) -> Result<Self, DecodeError> {
        Self::from_wire(self.to_wire())
    }

    fn fault(conflict: Conflict<Self::Key>) -> ApplyFault {
        let named = |(llmq_type, quorum_hash)| DeletedQuorum { llmq_type, quorum_hash };
        match conflict {
            Conflict::Absent(key) => ApplyFault::AbsentQuorum(named(key)),
            Conflict::Present(key) => ApplyFault::PresentQuorum(named(key)),
            Conflict::Twice(key) => ApplyFault::QuorumTwice(named(key)),
        }
    }
}
