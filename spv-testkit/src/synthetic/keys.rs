#[cfg(feature = "bls")]
mod bls;

use std::sync::Arc;

use qrinfo_core::{
    BlockHash, LlmqType,
    message::{Commitment, SmlEntry},
};

#[cfg(feature = "bls")]
use qrinfo_core::QuorumHash;

use super::{Keys, random_bytes};
use crate::chain::QuorumLog;

/// The keys that sign for masternodes and quorums.
#[derive(Debug)]
pub(super) enum KeyRing {
    /// No keys: random bytes that look like points.
    Random,
    #[cfg(feature = "bls")]
    Bls(bls::BlsKeys),
}

// === impl KeyRing ===

impl KeyRing {
    pub(super) fn new(keys: Keys) -> Self {
        match keys {
            Keys::Random => Self::Random,
            #[cfg(feature = "bls")]
            Keys::Bls => Self::Bls(bls::BlsKeys::default()),
        }
    }

    /// A new operator key, in the encoding of entries of this version.
    #[cfg_attr(not(feature = "bls"), expect(unused_variables))]
    pub(super) fn operator(&mut self, version: u16, rng: &mut fastrand::Rng) -> [u8; 48] {
        match self {
            Self::Random => like_a_point(rng),
            #[cfg(feature = "bls")]
            Self::Bls(keys) => keys.operator(version, rng),
        }
    }

    /// Gives the quorum a key, and signs the commitment with it and with those of its signers.
    #[cfg_attr(not(feature = "bls"), expect(unused_variables))]
    pub(super) fn commit(&mut self, commitment: &mut Commitment, members: &[Arc<SmlEntry>], rng: &mut fastrand::Rng) {
        match self {
            Self::Random => {
                commitment.quorum_public_key = like_a_point(rng);
                commitment.quorum_sig = like_a_point(rng);
                commitment.members_sig = like_a_point(rng);
            }
            #[cfg(feature = "bls")]
            Self::Bls(keys) => keys.commit(commitment, members, rng),
        }
    }

    /// The ChainLock of a block, if there is a quorum to sign it.
    #[cfg_attr(not(feature = "bls"), expect(unused_variables))]
    pub(super) fn chain_lock(
        &self,
        llmq_type: LlmqType,
        height: u32,
        hash: BlockHash,
        quorums: &QuorumLog,
        rng: &mut fastrand::Rng,
    ) -> Option<[u8; 96]> {
        match self {
            Self::Random => Some(like_a_point(rng)),
            #[cfg(feature = "bls")]
            Self::Bls(keys) => keys.chain_lock(llmq_type, height, hash, quorums),
        }
    }
}

#[cfg(feature = "bls")]
impl KeyRing {
    /// The signature of a quorum for a request, if it has a key.
    pub(super) fn sign(
        &self,
        llmq_type: LlmqType,
        quorum_hash: QuorumHash,
        request_id: &[u8; 32],
        message: &[u8; 32],
    ) -> Option<[u8; 96]> {
        match self {
            Self::Random => None,
            Self::Bls(keys) => keys.sign(llmq_type, quorum_hash, request_id, message),
        }
    }
}

/// Random bytes with the flag of a compressed point.
fn like_a_point<const N: usize>(rng: &mut fastrand::Rng) -> [u8; N] {
    let mut bytes: [u8; N] = random_bytes(rng);
    if let Some(first) = bytes.first_mut() {
        *first = 0x80 | *first & 0x3f;
    }
    bytes
}
