//! Whether a `qrinfo` reply is true.
//!
//! # Members and signatures
//!
//! [`Quarters`] and [`rotated_members`] draw the members of rotated quorums as Dash Core does, [`top_members`] those of
//! the others; [`verify_quorums`] checks commitments against them on as many threads as it is given.
//! [`Quorums`] knows which ones are active at a height and which of them signs, and verifies their InstantSend locks and
//! ChainLocks.

mod active;
mod bls;
mod check;
mod commitment;
mod error;
mod full;
mod headers;
#[cfg(feature = "tower")]
mod layer;
mod level;
mod lists;
mod locks;
mod masternodes;
mod members;
mod merkle;
mod modifier;
mod namesakes;
mod quorums;
mod sorted;
mod stage;

pub use active::{ActiveQuorums, MinedQuorum, Quorums, SIGN_HEIGHT_OFFSET};
pub use check::{Checked, ProvenDiff, blocks_named, check};
pub use commitment::{Proof, QuorumCheck, QuorumFault, QuorumProof, Unverified, commitment_hash, verify_quorums};
pub use error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError};
pub use full::VerifiedQuorum;
pub use headers::{HeaderMap, KnownBlock};
#[cfg(feature = "tower")]
pub use layer::{CheckFuture, CheckLayer, CheckReplies};
pub use level::{Level, Unproven};
pub use lists::{ApplyFault, Lists, RootFault};
pub use locks::{LockError, SignedBy};
pub use masternodes::MasternodeList;
pub use members::{Deregistered, Quarters, rotated_members, top_members};
pub use merkle::ProofFault;
pub use modifier::Modifier;
pub use quorums::QuorumList;
pub use stage::{ListStage, Verified};
