//! Whether a `qrinfo` reply is true.
//!
//! # Members and signatures
//!
//! [`Quarters`] and [`rotated_members`] draw the members of rotated quorums as Dash Core does, [`top_members`] those of
//! the others; [`verify_quorums`] checks commitments against them on as many threads as it is given.

mod bls;
mod commitment;
mod members;
mod modifier;
mod namesakes;

pub use commitment::{Proof, QuorumCheck, QuorumFault, QuorumProof, Unverified, commitment_hash, verify_quorums};
pub use members::{Deregistered, Quarters, rotated_members, top_members};
pub use modifier::Modifier;
