//! BLS signatures over BLS12-381 with keys in G1: Dash's basic scheme (since v19), and the old encoding of keys.

use blst::{
    BLST_ERROR, MultiPoint,
    min_pk::{PublicKey, Signature},
};
use qrinfo_core::message::{Commitment, SmlEntry};
use sha2::{Digest, Sha256};

use super::key_encoding::from_legacy_encoding;
#[cfg(feature = "legacy-bls")]
use super::{key_encoding::to_legacy_encoding, legacy};

/// The domain of the basic scheme's hash to the curve.
const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// A signature scheme that this build verifies: how signatures are encoded, and how a message is hashed to the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Since v19.
    Basic,
    /// Before v19.
    #[cfg(feature = "legacy-bls")]
    Legacy,
}

// === impl Scheme ===

impl Scheme {
    /// The scheme of a commitment's signatures; `None` if this build does not verify it.
    pub(crate) fn of(commitment: &Commitment) -> Option<Self> {
        match is_legacy(commitment) {
            #[cfg(feature = "legacy-bls")]
            true => Some(Self::Legacy),
            #[cfg(not(feature = "legacy-bls"))]
            true => None,
            false => Some(Self::Basic),
        }
    }

    /// Returns true for a signature: a point of the right group, and not infinity.
    pub(crate) fn is_signature(self, bytes: &[u8; 96]) -> bool {
        match self {
            Self::Basic => signature(bytes).is_some(),
            #[cfg(feature = "legacy-bls")]
            Self::Legacy => legacy::signature(bytes).is_some(),
        }
    }

    /// Returns true if this is the signature of `message` under a key that was checked when it was decoded.
    pub(crate) fn is_signed(self, bytes: &[u8; 96], message: &[u8; 32], key: &PublicKey) -> bool {
        match self {
            Self::Basic => signature(bytes).is_some_and(|signature| {
                signature.verify(false, message, DST, &[], key, false) == BLST_ERROR::BLST_SUCCESS
            }),
            #[cfg(feature = "legacy-bls")]
            Self::Legacy => legacy::is_signed(bytes, message, key),
        }
    }

    /// Returns the key under which the secure aggregate of one signature per key is valid: `sum of t_i pk_i`.
    ///
    /// The factors depend on all keys, so that no key can be chosen to cancel another one. `t_i` is SHA-256(be32(i),
    /// SHA-256(all keys)), the keys sorted by their encoding in this scheme. `None` without keys.
    pub(crate) fn aggregate_key(self, keys: &[PublicKey]) -> Option<PublicKey> {
        if keys.is_empty() {
            return None;
        }
        let mut keys: Vec<([u8; 48], PublicKey)> = keys.iter().map(|key| (self.encode(key), *key)).collect();
        keys.sort_unstable_by_key(|(encoded, _)| *encoded);
        let all = keys.iter().fold(Sha256::new(), |hash, (encoded, _)| hash.chain_update(encoded)).finalize();
        let factor = |place: u32| Sha256::new().chain_update(place.to_be_bytes()).chain_update(all).finalize();
        // The hashes are big-endian numbers, blst takes little-endian ones. A multiple of the group's order changes
        // nothing.
        let factors: Vec<u8> = (0..).zip(&keys).flat_map(|(place, _)| factor(place).into_iter().rev()).collect();
        let keys: Vec<PublicKey> = keys.into_iter().map(|(_, key)| key).collect();
        Some(keys.as_slice().mult(&factors, 256).to_public_key())
    }

    fn encode(self, key: &PublicKey) -> [u8; 48] {
        match self {
            Self::Basic => key.compress(),
            #[cfg(feature = "legacy-bls")]
            Self::Legacy => to_legacy_encoding(key.compress()),
        }
    }
}

/// Returns true for a commitment of the scheme before v19: its key in the legacy encoding, its signatures legacy ones.
pub(crate) fn is_legacy(commitment: &Commitment) -> bool {
    matches!(commitment.version, 1 | 2)
}

/// A quorum's key: a point of the right group, and not infinity.
pub(crate) fn quorum_key(commitment: &Commitment) -> Option<PublicKey> {
    public_key(&match is_legacy(commitment) {
        true => from_legacy_encoding(commitment.quorum_public_key),
        false => commitment.quorum_public_key,
    })
}

/// A masternode's operator key: a point of the right group, and not infinity.
pub(crate) fn operator_key(entry: &SmlEntry) -> Option<PublicKey> {
    public_key(&basic_encoding(entry))
}

fn public_key(bytes: &[u8; 48]) -> Option<PublicKey> {
    PublicKey::key_validate(bytes).ok()
}

fn signature(bytes: &[u8; 96]) -> Option<Signature> {
    Signature::sig_validate(bytes, true).ok()
}

/// Returns a masternode's operator key in the standard encoding. The entry's version determines only the encoding.
pub(crate) fn basic_encoding(entry: &SmlEntry) -> [u8; 48] {
    match entry.version {
        1 => from_legacy_encoding(entry.pub_key_operator),
        _ => entry.pub_key_operator,
    }
}
