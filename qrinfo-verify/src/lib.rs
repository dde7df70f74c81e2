//! Whether a `qrinfo` reply is true.

mod check;
mod error;
mod headers;
#[cfg(feature = "tower")]
mod layer;
mod level;
mod lists;
mod masternodes;
mod merkle;
mod quorums;
mod sorted;
mod stage;

pub use check::{Checked, ProvenDiff, blocks_named, check};
pub use error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError};
pub use headers::{HeaderMap, KnownBlock};
#[cfg(feature = "tower")]
pub use layer::{CheckFuture, CheckLayer, CheckReplies};
pub use level::{Level, Unproven};
pub use lists::{ApplyFault, Lists, RootFault};
pub use masternodes::MasternodeList;
pub use merkle::ProofFault;
pub use quorums::QuorumList;
pub use stage::{ListStage, Verified};
