use std::fmt;

use qrinfo_core::{BlockHash, LlmqType, Mismatch, QuorumHash, message::QuorumIndex};

use crate::{ApplyFault, ProofFault, QuorumFault, RootFault};

/// Why a reply does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The reply is proven false: its peer is to blame, and the same request can be asked elsewhere.
    #[error(transparent)]
    False(#[from] Falsehood),
    /// Something is missing on our side without which the reply cannot be judged. No peer is to blame.
    #[error(transparent)]
    Missing(#[from] Missing),
}

/// What our side lacks to judge a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A block that the request names is not among our headers; a reorganisation may have taken it away.
    #[error("block {0}, which the request names, is not among our headers")]
    Header(BlockHash),
    /// The block at this height, which the request names, is not among our headers.
    #[error("the block at height {0}, which the request names, is not among our headers")]
    HeaderAt(u32),
    /// The request names a base whose lists are not held: replies were not taken in the order of their plan.
    #[error("the lists at {0}, a base of the request, are not held")]
    Lists(BlockHash),
}

/// How a reply is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Falsehood {
    /// It does not answer the request.
    #[error("the reply does not answer the request")]
    Mismatch(#[from] Mismatch),
    /// One of its diffs is false.
    #[error("{diff} is false")]
    Diff {
        /// Which one.
        diff: DiffName,
        /// How.
        #[source]
        fault: DiffFault,
    },
    /// One of its snapshots is false.
    #[error("the snapshot that belongs to {diff} is false")]
    Snapshot {
        /// The diff to the list that the snapshot is of.
        diff: DiffName,
        /// How.
        #[source]
        fault: SnapshotFault,
    },
    /// One of the last commitments per index is false.
    #[error("commitment {place} of lastCommitmentPerIndex is false")]
    Commitment {
        /// Its position.
        place: usize,
        /// How.
        #[source]
        fault: CommitmentFault,
    },
    /// The signatures of a quorum, or what they are checked with.
    #[error("the commitment of quorum {quorum_hash} of type {llmq_type} is false")]
    Quorum {
        /// The quorum's type.
        llmq_type: LlmqType,
        /// The quorum's block.
        quorum_hash: QuorumHash,
        /// How. False members mean that a snapshot is false.
        #[source]
        fault: QuorumFault,
    },
    /// An index has no last commitment, and had one before the requested block.
    #[error("lastCommitmentPerIndex has nothing for index {index}, which has a quorum at height {height}")]
    NoCommitment {
        /// The index.
        index: QuorumIndex,
        /// The height of the lists that have the quorum.
        height: u32,
    },
    /// The trailing lists are not those that the last commitments call for (Dash Core's `BuildQuorumRotationInfo`).
    #[error("{snapshots} trailing snapshots and {diffs} trailing diffs, where the commitments call for {expected}")]
    TrailingCount {
        /// How many cycles the commitments reach back to beyond `H-C` to `H-4C`. For each commitment whose block is
        /// not in our headers there may be up to three more.
        expected: usize,
        /// How many diffs came.
        diffs: usize,
        /// How many snapshots came.
        snapshots: usize,
    },
}

/// Which diff of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiffName {
    /// The only one of an `mnlistdiff`.
    Requested,
    /// `mnListDiffTip`
    Tip,
    /// The one to the work block of the cycle this many before the requested one: `H`, `H-C` and so on.
    Cycle {
        /// 0 to 4.
        back: u8,
    },
    /// The one at this position of `mnListDiffList`.
    Trailing(usize),
}

/// How a diff is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffFault {
    /// It leads to another block of our chain than its place in the reply calls for.
    #[error("leads to height {got}, where {expected} is called for")]
    Height {
        /// The height of the work block that is called for.
        expected: u32,
        /// The target's height.
        got: u32,
    },
    /// It leads to a tip below a block that the reply has the list of.
    #[error("leads to a tip at height {tip}, below the work block at {work_height}")]
    TipBelowWork {
        /// The tip's height.
        tip: u32,
        /// The height of the work block of the requested cycle.
        work_height: u32,
    },
    /// It starts from the target of the tip diff, which is not in our headers: a block above its own target.
    #[error("starts from block {0}, which is not below its target")]
    UnknownBase(BlockHash),
    /// It starts above its target, or from a block at the same height that was not sent as a base.
    #[error("starts at height {base}, which is not below its target at {target}")]
    BaseAboveTarget {
        /// The base's height.
        base: u32,
        /// The target's height.
        target: u32,
    },
    /// It starts from its own target and says that something changed.
    #[error("starts from its own target and is not empty")]
    NotEmpty,
    /// Its coinbase is not that of the target.
    #[error("the coinbase is not proven by the header")]
    Proof(#[from] ProofFault),
    /// Its coinbase commits to no lists (before DIP-4).
    #[error("the coinbase has no payload")]
    NoPayload,
    /// Its coinbase names another height than the target's.
    #[error("the coinbase names height {got}, and the block's is {expected}")]
    CoinbaseHeight {
        /// The target's height.
        expected: u32,
        /// The coinbase's.
        got: i32,
    },
    /// `quorumsCLSigs` does not name each new quorum exactly once.
    #[error("quorumsCLSigs does not name each new quorum exactly once")]
    ChainLockIndexes,
    /// A signature in `quorumsCLSigs` is not the one in the coinbase of the quorum's work block.
    #[error("quorumsCLSigs has a signature for new quorum {place} that its work block at height {work_height} has not")]
    ChainLockSignature {
        /// The quorum's position among the diff's new quorums.
        place: usize,
        /// The height of its work block.
        work_height: u32,
    },
    /// It does not fit the lists that it starts from.
    #[error("does not fit the lists that it starts from")]
    Apply(#[from] ApplyFault),
    /// The lists that it leads to are not those that the coinbase commits to.
    #[error("leads to lists that the coinbase does not commit to")]
    Roots(#[from] RootFault),
}

/// How a snapshot is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// Nothing is skipped in its mode, and it lists something to skip; or the other way round.
    #[error("the skip list does not fit its mode")]
    SkipList,
    /// A position to skip lies outside the list of masternodes.
    #[error("position {0} to skip is outside the list")]
    SkipPosition(i64),
    /// It does not have one bit for each masternode of its list.
    #[error("{got} bits for {expected} masternodes")]
    BitCount {
        /// Masternodes in the list.
        expected: usize,
        /// Bits that came.
        got: usize,
    },
    /// A bit is set that stands for no masternode: only valid, confirmed ones are sorted by score.
    #[error("bit {place} is set, and only {scored} masternodes have a score")]
    BitBeyondScores {
        /// The bit.
        place: usize,
        /// Masternodes that are valid and confirmed.
        scored: usize,
    },
}

/// How a commitment among the last per index is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentFault {
    /// It is of another type than the network's rotated quorums.
    #[error("is of type {0}")]
    Type(LlmqType),
    /// Its version is not one of rotated quorums, or its index does not follow the one before or is out of range.
    #[error("has index {0:?} out of place")]
    Index(Option<QuorumIndex>),
    /// Its quorum's block is not the one that its index calls for, or lies after the requested cycle's start.
    #[error("names the block at height {height} for index {index}")]
    Height {
        /// The block's height.
        height: u32,
        /// The commitment's index.
        index: QuorumIndex,
    },
    /// It cannot have been mined by the requested block.
    #[error("cannot be mined before height {from}, and the requested block is at {requested}")]
    NotMinedYet {
        /// The first block that may have it.
        from: u32,
        /// The height of the requested block.
        requested: u32,
    },
    /// Signers or valid members are not as many bits as the quorum has members.
    #[error("has {got} bits for {expected} members")]
    BitCount {
        /// The size of the quorum.
        expected: usize,
        /// Bits that came.
        got: usize,
    },
    /// Fewer signers or valid members than a commitment needs.
    #[error("has {got} members, and {least} are needed")]
    TooFewMembers {
        /// The least of the quorum's type.
        least: usize,
        /// Members that signed or are valid.
        got: usize,
    },
    /// The same index has a newer quorum before the requested block.
    #[error("is older than the quorum of its index at height {height}")]
    Stale {
        /// The height of the lists that have the newer one.
        height: u32,
    },
    /// It is newer than the quorum of its index in a list of a block at or above the requested one.
    #[error("is newer than the quorum of its index at height {height}, which is not below the requested block")]
    NeverMined {
        /// The height of the lists.
        height: u32,
    },
    /// It is of the scheme before v19, and an older quorum is of the one since.
    #[error("has version {version}, and the lists at height {height} have an older quorum of the newer scheme")]
    OldScheme {
        /// The commitment's version.
        version: u16,
        /// The height of the lists that have the other quorum.
        height: u32,
    },
    /// It differs from the commitment of the same quorum that a coinbase proves.
    #[error("differs from the commitment that the coinbase at height {height} proves")]
    Differs {
        /// The height of the lists that have the other one.
        height: u32,
    },
}

// === impl Falsehood ===

impl Falsehood {
    pub(crate) fn diff(diff: DiffName, fault: impl Into<DiffFault>) -> Self {
        Self::Diff { diff, fault: fault.into() }
    }

    /// The check that found it: a stable name for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Mismatch(_) => "answers the request",
            Self::TrailingCount { .. } => "trailing count",
            Self::Quorum { fault, .. } => quorum_label(fault),
            Self::NoCommitment { .. } => "commitment in list",
            Self::Diff { fault, .. } => fault.label(),
            Self::Snapshot { fault, .. } => fault.label(),
            Self::Commitment { fault, .. } => fault.label(),
        }
    }
}

fn quorum_label(fault: &QuorumFault) -> &'static str {
    match fault {
        QuorumFault::QuorumKey | QuorumFault::QuorumSig => "quorum signature",
        QuorumFault::BitBeyondMembers { .. } | QuorumFault::OperatorKey { .. } | QuorumFault::MembersSig => {
            "members' signature"
        }
        _ => "commitment members",
    }
}

// === impl DiffFault ===

impl DiffFault {
    fn label(&self) -> &'static str {
        match self {
            Self::Height { .. } | Self::TipBelowWork { .. } => "target block",
            Self::UnknownBase(_) | Self::BaseAboveTarget { .. } => "base block",
            Self::NotEmpty => "empty diff",
            Self::Proof(_) => "coinbase proof",
            Self::NoPayload => "coinbase payload",
            Self::CoinbaseHeight { .. } => "coinbase height",
            Self::ChainLockIndexes => "chainlock indexes",
            Self::ChainLockSignature { .. } => "chainlock signature",
            Self::Apply(_) => "application",
            Self::Roots(RootFault::Masternodes { .. }) => "masternode root",
            Self::Roots(RootFault::Quorums { .. }) => "quorum root",
        }
    }
}

// === impl SnapshotFault ===

impl SnapshotFault {
    fn label(&self) -> &'static str {
        match self {
            Self::SkipList | Self::SkipPosition(_) => "snapshot skip list",
            Self::BitCount { .. } | Self::BitBeyondScores { .. } => "snapshot bits",
        }
    }
}

// === impl CommitmentFault ===

impl CommitmentFault {
    fn label(&self) -> &'static str {
        match self {
            Self::Type(_) => "commitment type",
            Self::OldScheme { .. } => "commitment version",
            Self::Index(_) => "commitment index",
            Self::Height { .. } | Self::NotMinedYet { .. } => "commitment block",
            Self::BitCount { .. } | Self::TooFewMembers { .. } => "commitment members",
            Self::Differs { .. } | Self::Stale { .. } | Self::NeverMined { .. } => "commitment in list",
        }
    }
}

// === impl DiffName ===

impl fmt::Display for DiffName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("the diff"),
            Self::Tip => f.write_str("the diff to the tip"),
            Self::Cycle { back: 0 } => f.write_str("the diff at H"),
            Self::Cycle { back: 1 } => f.write_str("the diff at H-C"),
            Self::Cycle { back } => write!(f, "the diff at H-{back}C"),
            Self::Trailing(place) => write!(f, "trailing diff {place}"),
        }
    }
}
