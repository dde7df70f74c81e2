use std::sync::{Arc, OnceLock};

use qrinfo_core::{
    Hash256, LlmqType, QuorumHash,
    message::{Commitment, DeletedQuorum, MnListDiff},
    sha256d,
    wire::{DecodeError, Wire},
};

use super::{
    fault::ApplyFault,
    merkle,
    sorted::{Change, Conflict, Item, Sorted},
};

/// The active quorums of every type at one block, in ascending order of type and of the bytes of their hash.
///
/// Versions of the list share their commitments, as those of a [`MasternodeList`](crate::MasternodeList) share entries.
#[derive(Debug, Clone, Default)]
pub struct QuorumList {
    quorums: Sorted<Quorum>,
    root: Arc<OnceLock<Hash256>>,
}

#[derive(Debug)]
struct Quorum {
    commitment: Commitment,
    leaf: [u8; 32],
}

// === impl QuorumList ===

impl QuorumList {
    /// Returns the number of active quorums, of all types.
    pub fn len(&self) -> usize {
        self.quorums.len()
    }

    /// Returns true if there are no quorums.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The commitments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Commitment> + Clone {
        self.quorums.iter().map(|quorum| &quorum.commitment)
    }

    /// The commitment of one quorum.
    pub fn get(&self, llmq_type: LlmqType, quorum_hash: QuorumHash) -> Option<&Commitment> {
        self.quorums.get(&(llmq_type, quorum_hash)).map(|quorum| &quorum.commitment)
    }

    /// Returns the value of `merkleRootQuorums` in the block's coinbase: the merkle root over the hashes of all
    /// commitments, these in ascending order of their bytes (Dash Core's `CalcCbTxMerkleRootQuorums`). Zero without
    /// quorums.
    pub fn merkle_root(&self) -> Hash256 {
        *self.root.get_or_init(|| {
            let mut leaves: Vec<_> = self.quorums.iter().map(|quorum| quorum.leaf).collect();
            leaves.sort_unstable();
            merkle::root(leaves)
        })
    }

    /// Returns the list after `diff`.
    ///
    /// # Errors
    /// [`ApplyFault::AbsentQuorum`], [`ApplyFault::PresentQuorum`] (a commitment is mined once) and [`ApplyFault::QuorumTwice`].
    pub fn apply(&self, diff: &MnListDiff) -> Result<Self, ApplyFault> {
        if diff.deleted_quorums.is_empty() && diff.new_quorums.is_empty() {
            return Ok(self.clone());
        }
        let deleted = diff.deleted_quorums.iter().map(|quorum| {
            let key = (quorum.llmq_type, quorum.quorum_hash);
            Ok(Change { key, item: None })
        });
        let new = diff.new_quorums.iter().map(|commitment| {
            // A copy of its own, which keeps no frame in memory.
            let wire = commitment.to_wire();
            let leaf = sha256d(&wire);
            let item = Quorum { commitment: Commitment::from_wire(wire)?, leaf };
            Ok(Change { key: item.key(), item: Some(item) })
        });
        let changes = deleted.chain(new).collect::<Result<_, DecodeError>>()?;
        let quorums = self.quorums.changed(changes).map_err(|conflict| match conflict {
            Conflict::Absent(key) => ApplyFault::AbsentQuorum(named(key)),
            Conflict::Present(key) => ApplyFault::PresentQuorum(named(key)),
            Conflict::Twice(key) => ApplyFault::QuorumTwice(named(key)),
        })?;
        Ok(Self { quorums, root: Arc::default() })
    }
}

impl PartialEq for QuorumList {
    /// Returns true if both have the same commitments.
    fn eq(&self, other: &Self) -> bool {
        self.quorums.is_same(&other.quorums) || self.iter().eq(other.iter())
    }
}

impl Eq for QuorumList {}

// === impl Quorum ===

impl Item for Quorum {
    type Key = (LlmqType, QuorumHash);

    const REPLACEABLE: bool = false;

    fn key(&self) -> Self::Key {
        (self.commitment.llmq_type, self.commitment.quorum_hash)
    }
}

fn named((llmq_type, quorum_hash): (LlmqType, QuorumHash)) -> DeletedQuorum {
    DeletedQuorum { llmq_type, quorum_hash }
}
