//! BLS signatures over BLS12-381 with keys in G1: Dash's basic scheme (since v19), and the old encoding of keys.

use blst::{
    BLST_ERROR, MultiPoint,
    min_pk::{PublicKey, Signature},
};
#[cfg(feature = "legacy-bls")]
use dash_pkc::bls::{BlsScChia, BlsSignature};
use qrinfo_core::message::{Commitment, SmlEntry};
use sha2::{Digest, Sha256};

use super::key_encoding::from_legacy_encoding;
#[cfg(feature = "legacy-bls")]
use super::{key_encoding::to_legacy_encoding, legacy};

/// The domain of the basic scheme's hash to the curve.
pub(super) const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// A signature scheme that this build verifies: how signatures are encoded, and how a message is hashed to the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Since v19.
    Basic,
    /// Before v19.
    #[cfg(feature = "legacy-bls")]
    Legacy,
}

/// A signature that was decoded, and may be false.
#[derive(Debug, Clone)]
pub(crate) enum AnySignature {
    /// Since v19.
    Basic(Signature),
    /// Before v19.
    #[cfg(feature = "legacy-bls")]
    Legacy(BlsSignature<BlsScChia>),
}

/// The claim that a message is signed with a key. Key and signature were checked when they were decoded.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(super) message: [u8; 32],
    pub(super) key: PublicKey,
    pub(super) signature: AnySignature,
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

    /// Returns the claim that these bytes are the signature of `message` under `key`; `None` if they are no signature: a
    /// point of the right group, and not infinity.
    pub(crate) fn claim(self, bytes: &[u8; 96], message: [u8; 32], key: PublicKey) -> Option<Claim> {
        let signature = self.signature(bytes)?;
        Some(Claim { message, key, signature })
    }

    /// Returns a signature: a point of the right group, and not infinity.
    pub(crate) fn signature(self, bytes: &[u8; 96]) -> Option<AnySignature> {
        match self {
            Self::Basic => Signature::sig_validate(bytes, true).ok().map(AnySignature::Basic),
            #[cfg(feature = "legacy-bls")]
            Self::Legacy => legacy::signature(bytes).map(AnySignature::Legacy),
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

// === impl Claim ===

impl Claim {
    /// Returns true for a claim of the scheme since v19.
    pub(crate) fn is_basic(&self) -> bool {
        matches!(self.signature, AnySignature::Basic(_))
    }

    /// Returns true if the signature is valid. It is verified by itself.
    pub(crate) fn is_signed(&self) -> bool {
        match &self.signature {
            AnySignature::Basic(signature) => {
                signature.verify(false, &self.message, DST, &[], &self.key, false) == BLST_ERROR::BLST_SUCCESS
            }
            #[cfg(feature = "legacy-bls")]
            AnySignature::Legacy(signature) => legacy::is_signed(signature, &self.message, &self.key),
        }
    }
}

/// Returns true for a commitment of the scheme before v19: its key in the legacy encoding, its signatures legacy ones.
pub(crate) fn is_legacy(commitment: &Commitment) -> bool {
    matches!(commitment.version, 1 | 2)
}

/// A quorum's key: a point of the right group, and not infinity.
pub(crate) fn quorum_key(commitment: &Commitment) -> Option<PublicKey> {
    let key = match is_legacy(commitment) {
        true => from_legacy_encoding(commitment.quorum_public_key),
        false => commitment.quorum_public_key,
    };
    PublicKey::key_validate(&key).ok()
}

/// Returns a masternode's operator key in the standard encoding. The entry's version determines only the encoding.
pub(crate) fn basic_encoding(entry: &SmlEntry) -> [u8; 48] {
    match entry.version {
        1 => from_legacy_encoding(entry.pub_key_operator),
        _ => entry.pub_key_operator,
    }
}
