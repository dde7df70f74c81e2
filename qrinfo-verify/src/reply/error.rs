use std::fmt;

use qrinfo_core::{BlockHash, LlmqType, Mismatch, QuorumHash, message::QuorumIndex};

use crate::{
    lists::{ApplyFault, ProofFault, RootFault},
    quorum::QuorumFault,
};

/// The reason why a reply is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The reply is proven false. Its peer is to blame, and the request can be sent to another peer.
    #[error(transparent)]
    False(#[from] Falsehood),
    /// Data is missing on our side, so that the reply cannot be judged. No peer is to blame.
    #[error(transparent)]
    Missing(#[from] Missing),
}

/// Data that our side lacks to judge a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A block that the request names is not among our headers; a reorganisation may have taken it away.
    #[error("block {0} of the request is not in our headers")]
    Header(BlockHash),
    /// The block at this height, which the request names, is not among our headers.
    #[error("the block of the request at height {0} is not in our headers")]
    HeaderAt(u32),
    /// The lists at a base of the request are not kept: replies were not applied in the order of their plan.
    #[error("the lists at {0}, a base of the request, are not kept; apply replies in the order of their plan")]
    Lists(BlockHash),
}

/// A proof that a reply is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Falsehood {
    /// It does not answer the request.
    #[error("the reply does not answer the request")]
    Mismatch(#[from] Mismatch),
    /// One of its diffs is false.
    #[error("{diff} is false")]
    Diff {
        /// The diff.
        diff: DiffName,
        /// The fault.
        #[source]
        fault: DiffFault,
    },
    /// One of its snapshots is false.
    #[error("the snapshot that belongs to {diff} is false")]
    Snapshot {
        /// The diff to the list that the snapshot is of.
        diff: DiffName,
        /// The fault.
        #[source]
        fault: SnapshotFault,
    },
    /// One of the last commitments per index is false.
    #[error("commitment {place} of lastCommitmentPerIndex is false")]
    Commitment {
        /// Its position.
        place: usize,
        /// The fault.
        #[source]
        fault: CommitmentFault,
    },
    /// A quorum's commitment or its signatures are false.
    #[error("the commitment of quorum {quorum_hash} of type {llmq_type} is false")]
    Quorum {
        /// The quorum's type.
        llmq_type: LlmqType,
        /// The quorum's block.
        quorum_hash: QuorumHash,
        /// The fault.
        #[source]
        fault: QuorumFault,
    },
    /// An index has no last commitment, although it had one before the requested block.
    #[error("lastCommitmentPerIndex lacks index {index}, which has a quorum at height {height}")]
    NoCommitment {
        /// The index.
        index: QuorumIndex,
        /// The height of the lists that have the quorum.
        height: u32,
    },
    /// The trailing lists are not those that the last commitments require (Dash Core's `BuildQuorumRotationInfo`).
    #[error("got {snapshots} trailing snapshots and {diffs} trailing diffs, expected {expected} of each")]
    TrailingCount {
        /// The number of trailing lists that the commitments require beyond `H-C` to `H-4C`. Each commitment whose
        /// block is not in our headers may require up to three more.
        expected: usize,
        /// The number of trailing diffs received.
        diffs: usize,
        /// The number of trailing snapshots received.
        snapshots: usize,
    },
}

/// The position of a diff in a reply.
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

/// A fault of a diff.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffFault {
    /// Its target is a block of our chain other than the one for its place in the reply.
    #[error("leads to height {got}, expected {expected}")]
    Height {
        /// The height of the expected work block.
        expected: u32,
        /// The target's height.
        got: u32,
    },
    /// Its target, the tip, is below a block whose list the reply contains.
    #[error("leads to a tip at height {tip}, which is below the work block at {work_height}")]
    TipBelowWork {
        /// The tip's height.
        tip: u32,
        /// The height of the work block of the requested cycle.
        work_height: u32,
    },
    /// It starts from the target of another diff, which is not in our headers and whose coinbase names no height.
    #[error("starts from block {0}, whose height is unknown")]
    UnknownBase(BlockHash),
    /// Its base is above its target, or is a block at the same height that was not sent as a base.
    #[error("starts at height {base}, which is not below its target at {target}")]
    BaseAboveTarget {
        /// The base's height.
        base: u32,
        /// The target's height.
        target: u32,
    },
    /// Its base is its target, and it contains changes.
    #[error("starts from its own target and contains changes")]
    NotEmpty,
    /// Its coinbase is not proven by the target's header.
    #[error("the coinbase is not proven by the header")]
    Proof(#[from] ProofFault),
    /// Its coinbase commits to no lists (before DIP-4).
    #[error("the coinbase has no payload")]
    NoPayload,
    /// Its coinbase names another height than the target's.
    #[error("the coinbase names height {got}, expected {expected}")]
    CoinbaseHeight {
        /// The target's height.
        expected: u32,
        /// The coinbase's.
        got: i32,
    },
    /// `quorumsCLSigs` does not name each new quorum exactly once.
    #[error("quorumsCLSigs does not name each new quorum exactly once")]
    ChainLockIndexes,
    /// A signature in `quorumsCLSigs` differs from the one in the coinbase of the quorum's work block.
    #[error(
        "the signature in quorumsCLSigs for new quorum {place} differs from the one in its work block at height {work_height}"
    )]
    ChainLockSignature {
        /// The quorum's position among the diff's new quorums.
        place: usize,
        /// The height of its work block.
        work_height: u32,
    },
    /// It cannot be applied to the lists at its base.
    #[error("cannot be applied to the lists at its base")]
    Apply(#[from] ApplyFault),
    /// The resulting lists differ from those in the coinbase.
    #[error("leads to lists that differ from those in the coinbase")]
    Roots(#[from] RootFault),
}

/// A fault of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// It lists positions to skip in a mode without skipping, or none in a mode with it.
    #[error("the skip list does not fit the mode")]
    SkipList,
    /// A position to skip lies outside the list of masternodes.
    #[error("position {0} to skip is outside the list")]
    SkipPosition(i64),
    /// The number of bits differs from the number of masternodes in its list.
    #[error("has {got} bits, expected {expected} (one per masternode)")]
    BitCount {
        /// Masternodes in the list.
        expected: usize,
        /// Bits that came.
        got: usize,
    },
    /// A bit is set that belongs to no masternode: only valid, confirmed ones are sorted by score.
    #[error("bit {place} is set, but only {scored} masternodes have a score")]
    BitBeyondScores {
        /// The bit.
        place: usize,
        /// Masternodes that are valid and confirmed.
        scored: usize,
    },
}

/// A fault of one of the last commitments per index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentFault {
    /// It is of another type than the network's rotated quorums.
    #[error("is of type {0}")]
    Type(LlmqType),
    /// Its version has no index, or its index is out of order or out of range.
    #[error("index {0:?} is out of order or out of range")]
    Index(Option<QuorumIndex>),
    /// Its quorum's block is not the one for its index, or lies after the requested cycle's start.
    #[error("its block at height {height} is not the one for index {index}")]
    Height {
        /// The block's height.
        height: u32,
        /// The commitment's index.
        index: QuorumIndex,
    },
    /// It cannot have been mined by the requested block.
    #[error("cannot be mined before height {from}, but the requested block is at {requested}")]
    NotMinedYet {
        /// The first block that may have it.
        from: u32,
        /// The height of the requested block.
        requested: u32,
    },
    /// The number of bits of signers or valid members differs from the quorum's size.
    #[error("has {got} bits, expected {expected}")]
    BitCount {
        /// The size of the quorum.
        expected: usize,
        /// Bits that came.
        got: usize,
    },
    /// Fewer members signed or are valid than a commitment needs.
    #[error("has {got} members, at least {least} are required")]
    TooFewMembers {
        /// The least of the quorum's type.
        least: usize,
        /// Members that signed or are valid.
        got: usize,
    },
    /// The same index has a newer quorum that was mined by the requested block.
    #[error("is older than the quorum of its index at height {height}")]
    Stale {
        /// The height of the lists that have the newer one.
        height: u32,
    },
    /// It is newer than the quorum of its index in a list at or above the requested block.
    #[error("is newer than the quorum of its index at height {height}, which is not below the requested block")]
    NeverMined {
        /// The height of the lists.
        height: u32,
    },
    /// It is of the scheme before v19, although an older quorum is of the newer scheme.
    #[error("has version {version}, but the lists at height {height} contain an older quorum of the newer scheme")]
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

    /// Returns the name of the check that found it, stable for logs and metrics.
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
