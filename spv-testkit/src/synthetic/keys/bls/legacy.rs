//! Signatures of the scheme before v19.

use blst::min_pk::SecretKey;
use dash_pkc::bls::{BlsScChia, BlsSecretKey, BlsSignature};

type LegacyKey = BlsSecretKey<BlsScChia>;

pub(super) fn sign(key: &SecretKey, message: &[u8; 32]) -> [u8; 96] {
    legacy(key).map_or([0; 96], |key| key.sign_digest(message).to_bytes())
}

pub(super) fn secure_aggregate(keys: &[&SecretKey], message: &[u8; 32]) -> [u8; 96] {
    let keys: Vec<LegacyKey> = keys.iter().filter_map(|key| legacy(key)).collect();
    let signatures: Vec<_> = keys.iter().map(|key| key.sign_digest(message)).collect();
    let public: Vec<_> = keys.iter().map(LegacyKey::public_key).collect();
    let (signatures, public): (Vec<_>, Vec<_>) = signatures.iter().zip(&public).unzip();
    BlsSignature::secure_aggregate(&signatures, &public).map_or([0; 96], |signature| signature.to_bytes())
}

/// The same scalar; it is never refused.
fn legacy(key: &SecretKey) -> Option<LegacyKey> {
    LegacyKey::from_bytes(&key.to_bytes()).ok()
}
