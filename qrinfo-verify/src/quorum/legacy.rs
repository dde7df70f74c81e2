//! Signatures of the scheme before v19: another hash to the curve, and another encoding.
//!
//! `dash-pkc` decodes, hashes to the curve and pairs. Like Dash Core's legacy ones, its decoders accept points outside
//! of the right group. They are rejected here: such a point is no sum of valid signatures.

use blst::min_pk::PublicKey;
use dash_pkc::bls::{BlsPublicKey, BlsScChia, BlsScIetf, BlsSignature};

use super::key_encoding::to_legacy_encoding;

/// A signature: a point of the right group, and not infinity.
pub(crate) fn signature(bytes: &[u8; 96]) -> Option<BlsSignature<BlsScChia>> {
    let signature = BlsSignature::<BlsScChia>::from_bytes(bytes).ok()?;
    // The basic scheme takes points of the group alone.
    signature.to_scheme::<BlsScIetf>().ok()?;
    Some(signature)
}

/// Returns true if this is the signature of `message` under a key that was checked when it was decoded.
pub(crate) fn is_signed(signature: &BlsSignature<BlsScChia>, message: &[u8; 32], key: &PublicKey) -> bool {
    let key = BlsPublicKey::<BlsScChia>::from_bytes(&to_legacy_encoding(key.compress()));
    key.is_ok_and(|key| key.verify_digest(message, signature).is_ok())
}
