use qrinfo_core::BlockHash;

/// The reasons for which a node does not answer. On the wire each is the same silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A base is no block that the node knows. All zero is no block in a `getqrinfo`; in a `getmnlistd` it is genesis.
    #[error("base {0} is not found")]
    UnknownBase(BlockHash),
    /// A base is on a branch that is not active.
    #[error("base {0} is not in the active chain")]
    StaleBase(BlockHash),
    /// The requested block is none that the node knows.
    #[error("block {0} is not found")]
    UnknownBlock(BlockHash),
    /// The requested block, or one that the reply would lead to, is on a branch that is not active.
    #[error("block {0} is not in the active chain")]
    StaleBlock(BlockHash),
    /// The base of a `getmnlistd` is above its block.
    #[error("the base at height {base} is above the block at height {target}")]
    BaseAboveBlock {
        /// The base's height.
        base: u32,
        /// The block's height.
        target: u32,
    },
    /// A cycle that the reply needs, or its work block, would lie before genesis.
    #[error("a cycle that is needed lies before genesis")]
    BeforeGenesis,
    /// No snapshot is stored for the cycle that starts at this height.
    #[error("there is no quorum snapshot at height {0}")]
    NoSnapshot(u32),
    /// The node does not have the block at this height on disk.
    #[error("the block at height {0} cannot be read")]
    Unreadable(u32),
}
