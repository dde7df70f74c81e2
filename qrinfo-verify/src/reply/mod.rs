//! Replies: the checks of one reply, and the state that a client keeps between replies.

mod application;
mod check;
mod error;
mod inferred;
mod kept;
mod level;
mod signatures;
mod stage;

pub use self::{
    check::{Checked, ProvenDiff, blocks_named, check},
    error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError},
    inferred::infer_request,
    level::{Level, Unproven},
    signatures::VerifiedQuorum,
    stage::{ListStage, Verified},
};
