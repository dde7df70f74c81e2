use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Network,
    message::{MnListDiff, QuorumClSig},
    wire::{
        DecodeError, Seq, Wire,
        frame::{Command, max_payload},
    },
};

use super::{
    Lists,
    fault::{ApplyFault, RootFault},
    merkle::ProofFault,
};
use crate::headers::{KnownBlock, is_genesis};

/// The lists at a block with the proof that ties them to its header, as bytes: for a store, or a file that ships with an
/// application.
///
/// The bytes are an `mnlistdiff` from genesis, as a node sends it: one that was requested from genesis is a snapshot too.
/// Nothing in it is trusted: [`verify`](Self::verify) proves all of it by the header of its block, the ChainLock
/// signature in its coinbase included.
///
/// ```
/// use bytes::Bytes;
/// use qrinfo_core::{BlockHash, message::MnListDiff, wire::Wire};
/// use qrinfo_verify::{HeaderMap, ListSnapshot, ListSnapshotError};
///
/// # let file = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([7; 32])).to_wire();
/// # let headers = HeaderMap::default();
/// let snapshot = ListSnapshot::decode(file)?;
/// match snapshot.verify(|hash| headers.find(hash)) {
///     Ok(lists) => println!("go on from height {}", lists.height()),
///     Err(ListSnapshotError::UnknownBlock { block, .. }) => println!("{block} is on another branch"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), ListSnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSnapshot {
    /// From genesis.
    diff: MnListDiff,
}

/// The reason why a snapshot cannot be made, read or proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListSnapshotError {
    /// The diff that is to prove the lists leads to another block.
    #[error("the proof is of block {got}, but the lists are those of block {expected}")]
    OtherBlock {
        /// The block of the lists.
        expected: BlockHash,
        /// The target of the diff.
        got: BlockHash,
    },
    /// The bytes are more than an `mnlistdiff` may have.
    #[error("the snapshot has {length} bytes, more than {limit}; export it again")]
    TooLong {
        /// The number of bytes.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The bytes are no `mnlistdiff`.
    #[error("the snapshot is damaged, or no snapshot; export it again")]
    Malformed(#[from] DecodeError),
    /// The diff does not start from genesis.
    #[error("the snapshot starts from block {0}; it must contain the whole lists")]
    NotFromGenesis(BlockHash),
    /// The block is not on our chain: it is newer than our headers, on another branch, or of another network.
    #[error("block {block} of the snapshot, at height {height} by its own statement, is not in our headers")]
    UnknownBlock {
        /// The block.
        block: BlockHash,
        /// The height that the snapshot states.
        height: i32,
    },
    /// The coinbase has no payload, or one from before DIP-8, which commits to no quorums.
    #[error("the block of the snapshot does not commit to both lists; use a newer block")]
    NoCommitment,
    /// The coinbase is not that of the block.
    #[error("the coinbase of the snapshot is not proven by the header of its block")]
    Proof(#[from] ProofFault),
    /// The coinbase names another height than the header's.
    #[error("the snapshot names height {got}, but its block is at height {expected}")]
    Height {
        /// The header's.
        expected: u32,
        /// The coinbase's.
        got: i32,
    },
    /// An item is there twice, or deleted.
    #[error("the lists of the snapshot contradict themselves")]
    Lists(#[from] ApplyFault),
    /// The lists are not those in the coinbase.
    #[error("the lists of the snapshot are not those of its block")]
    Roots(#[from] RootFault),
}

// === impl ListSnapshot ===

impl ListSnapshot {
    /// Creates a snapshot of proven lists. The coinbase and its proof are those of any diff to the same block, such as
    /// the one that led to the lists.
    ///
    /// # Errors
    /// [`ListSnapshotError::OtherBlock`] if the diff leads to another block.
    pub fn new(lists: &Lists, diff: &MnListDiff) -> Result<Self, ListSnapshotError> {
        if diff.block_hash != lists.block_hash() {
            return Err(ListSnapshotError::OtherBlock { expected: lists.block_hash(), got: diff.block_hash });
        }
        let diff = MnListDiff {
            base_block_hash: BlockHash::ZERO,
            deleted_masternodes: Seq::default(),
            new_masternodes: lists.masternodes().iter().cloned().collect(),
            deleted_quorums: Seq::default(),
            new_quorums: lists.quorums().iter().cloned().collect(),
            quorums_cl_sigs: unknown_signatures(lists.quorums().len()),
            ..diff.clone()
        };
        // A copy of its own: the parts of the diff are slices of a received frame.
        Ok(Self { diff: MnListDiff::from_wire(diff.to_wire())? })
    }

    /// Returns the bytes, about 0.5 MB on mainnet.
    pub fn encode(&self) -> Bytes {
        self.diff.to_wire()
    }

    /// Reads a snapshot. At most 4 MiB are accepted, as from a peer.
    ///
    /// # Errors
    /// [`TooLong`](ListSnapshotError::TooLong), [`Malformed`](ListSnapshotError::Malformed) and
    /// [`NotFromGenesis`](ListSnapshotError::NotFromGenesis).
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, ListSnapshotError> {
        let bytes = bytes.into();
        let (length, limit) = (bytes.len(), max_payload(Command::MN_LIST_DIFF));
        if length > limit {
            return Err(ListSnapshotError::TooLong { length, limit });
        }
        let diff = MnListDiff::from_wire(bytes)?;
        match is_genesis(&diff.base_block_hash) {
            true => Ok(Self { diff }),
            false => Err(ListSnapshotError::NotFromGenesis(diff.base_block_hash)),
        }
    }

    /// Returns the block.
    pub fn block_hash(&self) -> BlockHash {
        self.diff.block_hash
    }

    /// Returns the height that the coinbase names. It tells which headers to fetch, and proves nothing.
    pub fn claimed_height(&self) -> Option<u32> {
        self.diff.coinbase.payload()?.height.try_into().ok()
    }

    /// Proves the lists. `headers` answers for the blocks of our best chain.
    ///
    /// # Errors
    /// [`UnknownBlock`](ListSnapshotError::UnknownBlock) if our headers do not have the block, which is no fault of the
    /// snapshot; every other error means that it is false.
    pub fn verify(&self, headers: impl Fn(&BlockHash) -> Option<KnownBlock>) -> Result<Lists, ListSnapshotError> {
        // Genesis is empty on every network.
        Lists::at_genesis(Network::Mainnet).prove_step(&self.diff, headers)
    }
}

/// One group that names each new quorum, as the form requires, without a signature. No header proves any.
pub(super) fn unknown_signatures(quorums: usize) -> Seq<QuorumClSig> {
    let indexes: Vec<_> = (0..quorums).map_while(|index| u16::try_from(index).ok()).collect();
    let is_any = !indexes.is_empty();
    is_any.then_some(QuorumClSig { signature: [0; 96], indexes }).into_iter().collect()
}
