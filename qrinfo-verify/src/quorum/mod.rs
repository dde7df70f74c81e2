//! Quorums: their members, their commitments, and the locks that they sign.

mod active;
mod batch;
mod bls;
mod commitment;
mod key_encoding;
#[cfg(feature = "legacy-bls")]
mod legacy;
mod locks;
mod members;
mod mined;
mod modifier;
mod operator_keys;
mod selector;
mod succession;
mod unique;

pub use self::{
    active::{ActiveQuorums, Quorums, SIGN_HEIGHT_OFFSET},
    commitment::{Proof, QuorumCheck, QuorumFault, QuorumProof, Unverified, commitment_hash, verify_quorums},
    locks::{LockError, SignedBy},
    members::{Deregistered, Quarters, rotated_members, top_members},
    mined::MinedQuorum,
    modifier::Modifier,
};
pub(crate) use self::{
    bls::is_legacy,
    commitment::{quorum_block, work_height},
    selector::MemberSelector,
};
