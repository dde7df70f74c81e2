//! BLS signatures over BLS12-381 with keys in G1: Dash's basic scheme (since v19), and the old encoding of keys.

use blst::{
    BLST_ERROR, MultiPoint,
    min_pk::{PublicKey, Signature},
};
use qrinfo_core::message::SmlEntry;
use sha2::{Digest, Sha256};

/// The domain of the basic scheme's hash to the curve.
const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// Of a key's first byte: what belongs to the coordinate.
const COORDINATE: u8 = 0x1f;
/// The two flags of the standard encoding (Zcash's) that matter here: compressed, and the greater of the two points.
const COMPRESSED: u8 = 0x80;
const GREATER: u8 = 0x20;
/// The one flag of the legacy encoding: the greater of the two points.
const LEGACY_GREATER: u8 = 0x80;

/// A public key in the standard encoding: a point of the right group, and not infinity.
pub(crate) fn public_key(bytes: &[u8; 48]) -> Option<PublicKey> {
    PublicKey::key_validate(bytes).ok()
}

/// A signature: a point of the right group, and not infinity.
pub(crate) fn signature(bytes: &[u8; 96]) -> Option<Signature> {
    Signature::sig_validate(bytes, true).ok()
}

/// Whether a decoded signature is good.
pub(crate) fn is_signed(signature: &Signature, message: &[u8; 32], key: &PublicKey) -> bool {
    // Both were checked for their groups when they were decoded.
    signature.verify(false, message, DST, &[], key, false) == BLST_ERROR::BLST_SUCCESS
}

/// A key of the legacy encoding in the standard one: the same coordinate behind other flags. As Dash Core reads it, the
/// two bits below the flag mean nothing.
pub(crate) fn from_legacy_encoding(mut key: [u8; 48]) -> [u8; 48] {
    let [first, ..] = &mut key;
    let sign = if *first & LEGACY_GREATER != 0 { GREATER } else { 0 };
    *first = *first & COORDINATE | COMPRESSED | sign;
    key
}

/// A masternode's operator key in the standard encoding. Only the encoding hangs on the entry's version, the key does
/// not.
pub(crate) fn basic_encoding(entry: &SmlEntry) -> [u8; 48] {
    match entry.version {
        1 => from_legacy_encoding(entry.pub_key_operator),
        _ => entry.pub_key_operator,
    }
}

/// The key under which the secure aggregate of one signature per key is good: `sum of t_i pk_i`.
///
/// The factors hang on all keys, so that nobody can choose a key which cancels another's. `t_i` is
/// SHA-256(be32(i), SHA-256(all keys)), the keys sorted by their encoding. `None` without keys.
pub(crate) fn aggregate_key(keys: &[PublicKey]) -> Option<PublicKey> {
    if keys.is_empty() {
        return None;
    }
    let mut keys: Vec<([u8; 48], PublicKey)> = keys.iter().map(|key| (key.compress(), *key)).collect();
    keys.sort_unstable_by_key(|(encoded, _)| *encoded);
    let all = keys.iter().fold(Sha256::new(), |hash, (encoded, _)| hash.chain_update(encoded)).finalize();
    let factor = |place: u32| Sha256::new().chain_update(place.to_be_bytes()).chain_update(all).finalize();
    // The hashes are big-endian numbers, blst takes little-endian ones. A multiple of the group's order changes nothing.
    let factors: Vec<u8> = (0..).zip(&keys).flat_map(|(place, _)| factor(place).into_iter().rev()).collect();
    let keys: Vec<PublicKey> = keys.into_iter().map(|(_, key)| key).collect();
    Some(keys.as_slice().mult(&factors, 256).to_public_key())
}
