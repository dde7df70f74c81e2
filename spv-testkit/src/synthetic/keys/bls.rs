//! Real BLS keys and signatures.

mod legacy;

use std::{collections::HashMap, sync::Arc};

use blst::{
    MultiPoint,
    min_pk::{SecretKey, Signature},
};
use bytes::{BufMut, BytesMut};
use qrinfo_core::{
    BlockHash, LlmqType, QuorumHash,
    message::{Commitment, SmlEntry},
    sha256d,
    wire::{Wire, put_var_bytes},
};
use sha2::{Digest, Sha256};

use super::super::random_bytes;
use crate::chain::QuorumLog;

/// The domain of Dash's basic scheme.
const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// The distance from a height down to the height whose active quorums sign for it (Dash Core's `SIGN_HEIGHT_OFFSET`).
const SIGN_HEIGHT_OFFSET: u32 = 8;

/// The secret keys of masternodes and quorums. A quorum's key is held whole, not in shares.
#[derive(Debug, Default)]
pub(in super::super) struct BlsKeys {
    /// By the public key in the masternode's entry: after a change of keys the old one still signs for older quorums.
    operators: HashMap<[u8; 48], SecretKey>,
    quorums: HashMap<(LlmqType, QuorumHash), SecretKey>,
}

// === impl BlsKeys ===

impl BlsKeys {
    pub(super) fn operator(&mut self, version: u16, rng: &mut fastrand::Rng) -> [u8; 48] {
        let key = secret_key(rng);
        let public = key.sk_to_pk().compress();
        let public = if version < 2 { legacy_encoding(public) } else { public };
        self.operators.insert(public, key);
        public
    }

    pub(super) fn commit(&mut self, commitment: &mut Commitment, members: &[Arc<SmlEntry>], rng: &mut fastrand::Rng) {
        let key = secret_key(rng);
        let signers = members.iter().zip(commitment.signers.iter()).filter(|(_, signs)| *signs);
        let keys: Vec<_> = signers.filter_map(|(member, _)| self.operators.get(&member.pub_key_operator)).collect();
        let public = key.sk_to_pk().compress();
        if commitment.version < 3 {
            commitment.quorum_public_key = legacy_encoding(public);
            let hash = commitment_hash(commitment);
            commitment.quorum_sig = legacy::sign(&key, &hash);
            commitment.members_sig = legacy::secure_aggregate(&keys, &hash);
        } else {
            commitment.quorum_public_key = public;
            let hash = commitment_hash(commitment);
            commitment.quorum_sig = key.sign(&hash, DST, &[]).compress();
            commitment.members_sig = secure_aggregate(&keys, &hash);
        }
        self.quorums.insert((commitment.llmq_type, commitment.quorum_hash), key);
    }

    /// Signs a block as the quorum that Dash Core would choose for its height.
    pub(super) fn chain_lock(
        &self,
        llmq_type: LlmqType,
        height: u32,
        hash: BlockHash,
        quorums: &QuorumLog,
    ) -> Option<[u8; 96]> {
        let mut request = BytesMut::new();
        put_var_bytes(&mut request, b"clsig");
        request.put_u32_le(height);
        let request = sha256d(&request);
        let active = quorums.active_at(height.checked_sub(SIGN_HEIGHT_OFFSET)?).into_keys();
        let candidates = active.filter(|(active_type, _)| *active_type == llmq_type);
        let score = |quorum: &QuorumHash| sha256d(&[&[llmq_type.0], &quorum.as_bytes()[..], &request].concat());
        let (_, quorum) = candidates.min_by_key(|(_, quorum)| score(quorum))?;
        self.sign(llmq_type, quorum, &request, hash.as_bytes())
    }

    /// Signs a message for a request as one quorum.
    pub(super) fn sign(
        &self,
        llmq_type: LlmqType,
        quorum_hash: QuorumHash,
        request_id: &[u8; 32],
        message: &[u8; 32],
    ) -> Option<[u8; 96]> {
        let signed = [&[llmq_type.0], &quorum_hash.as_bytes()[..], request_id, message].concat();
        Some(self.quorums.get(&(llmq_type, quorum_hash))?.sign(&sha256d(&signed), DST, &[]).compress())
    }
}

fn secret_key(rng: &mut fastrand::Rng) -> SecretKey {
    loop {
        // It fails for short input only.
        if let Ok(key) = SecretKey::key_gen(&random_bytes::<32>(rng), &[]) {
            return key;
        }
    }
}

/// Returns the hash that a quorum and its members sign.
fn commitment_hash(commitment: &Commitment) -> [u8; 32] {
    let mut bytes = BytesMut::new();
    bytes.put_u8(commitment.llmq_type.0);
    commitment.quorum_hash.encode(&mut bytes);
    commitment.valid_members.encode(&mut bytes);
    bytes.put_slice(&commitment.quorum_public_key);
    commitment.quorum_vvec_hash.encode(&mut bytes);
    sha256d(&bytes)
}

/// The sum of all signatures, each times a factor that depends on all public keys, so that no signer can choose a key
/// that cancels another's.
fn secure_aggregate(keys: &[&SecretKey], message: &[u8]) -> [u8; 96] {
    let mut keys: Vec<_> = keys.iter().map(|key| (key.sk_to_pk().compress(), *key)).collect();
    keys.sort_unstable_by_key(|(public, _)| *public);
    let all = keys.iter().fold(Sha256::new(), |hash, (public, _)| hash.chain_update(public)).finalize();
    let mut signatures: Vec<Signature> = Vec::new();
    let mut factors = Vec::new();
    for (place, (_, key)) in (0_u32..).zip(&keys) {
        signatures.push(key.sign(message, DST, &[]));
        let factor = Sha256::new().chain_update(place.to_be_bytes()).chain_update(all).finalize();
        // The hash is a big-endian number; blst takes little-endian ones, and a multiple of the order changes nothing.
        factors.extend(factor.iter().rev());
    }
    if signatures.is_empty() {
        return [0; 96];
    }
    signatures.as_slice().mult(&factors, 256).to_signature().compress()
}

/// The encoding before v19: the same coordinate, with the sign in the highest bit and no other flag.
fn legacy_encoding(mut key: [u8; 48]) -> [u8; 48] {
    if let Some(first) = key.first_mut() {
        let sign = *first & 0x20 != 0;
        *first = *first & 0x1f | if sign { 0x80 } else { 0 };
    }
    key
}
