use qrinfo_core::{BlockHash, Hash256, ProTxHash, message::DeletedQuorum, wire::DecodeError};

/// The reason why a diff cannot be applied to lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyFault {
    /// The diff's base is not the block of the lists.
    #[error("starts from {got}, but the lists are at {expected}")]
    Base {
        /// The block of the lists.
        expected: BlockHash,
        /// The diff's base.
        got: BlockHash,
    },
    /// The coinbase has no payload.
    #[error("the coinbase has no payload")]
    NoPayload,
    /// The coinbase names a height below zero.
    #[error("the coinbase names height {0}")]
    NegativeHeight(i32),
    /// A deleted masternode is not in the list.
    #[error("deletes masternode {0}, which is not in the list")]
    AbsentMasternode(ProTxHash),
    /// A masternode is named twice, as deleted or as updated.
    #[error("names masternode {0} twice")]
    MasternodeTwice(ProTxHash),
    /// A deleted quorum is not in the list.
    #[error("deletes quorum {} of type {}, which is not in the list", .0.quorum_hash, .0.llmq_type)]
    AbsentQuorum(DeletedQuorum),
    /// A new quorum is already in the list.
    #[error("adds quorum {} of type {}, which is already in the list", .0.quorum_hash, .0.llmq_type)]
    PresentQuorum(DeletedQuorum),
    /// A quorum is named twice, as deleted or as new.
    #[error("names quorum {} of type {} twice", .0.quorum_hash, .0.llmq_type)]
    QuorumTwice(DeletedQuorum),
    /// An item was built by hand and has no valid wire form.
    #[error("an item has no valid wire form")]
    Malformed(#[from] DecodeError),
}

/// The list whose root differs from the one in the coinbase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootFault {
    /// The masternode list.
    #[error("the list's merkle root is {got}, expected {expected} from the coinbase")]
    Masternodes {
        /// By the coinbase.
        expected: Hash256,
        /// By the list.
        got: Hash256,
    },
    /// The quorums.
    #[error("the quorums' merkle root is {got}, expected {expected} from the coinbase")]
    Quorums {
        /// By the coinbase.
        expected: Hash256,
        /// By the quorums.
        got: Hash256,
    },
}
