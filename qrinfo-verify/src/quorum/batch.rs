//! The verification of many signatures at once.
//!
//! Each signature and its key are multiplied by a random weight, and the sums are compared: `e(g, sum of w_i s_i) =
//! product of e(w_i k_i, H(m_i))`. That takes one pairing per message and one final exponentiation. A false signature
//! passes only if its weight is the one number that cancels the error, with a probability of 2^-128: the weights are
//! drawn after the signatures have arrived.

#[cfg(test)]
mod tests;

use blst::{
    BLST_ERROR, MultiPoint, Pairing, blst_fp12, blst_p1_affine, blst_p2_affine,
    min_pk::{PublicKey, Signature},
};

use super::bls::{AnySignature, Claim, DST};

/// The length of a weight. A false signature passes with a probability of one in 2^128.
const WEIGHT_BITS: usize = 128;
const WEIGHT_BYTES: usize = WEIGHT_BITS / 8;

/// Weights that a peer cannot foresee, one after the other. [`Self::random`] is the only constructor.
struct Weights(Vec<u8>);

// === impl Weights ===

impl Weights {
    /// Takes weights from the operating system's secure source; `None` if that fails.
    fn random(count: usize) -> Option<Self> {
        let mut bytes = vec![0; count * WEIGHT_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    fn weigh_keys(&self, from: usize, keys: &[PublicKey]) -> Option<PublicKey> {
        let weights = self.0.get(from * WEIGHT_BYTES..)?;
        (!keys.is_empty()).then(|| keys.mult(weights, WEIGHT_BITS).to_public_key())
    }

    fn weigh_signatures(&self, signatures: &[Signature]) -> Option<Signature> {
        (!signatures.is_empty()).then(|| signatures.mult(&self.0, WEIGHT_BITS).to_signature())
    }
}

/// Returns true if every claim of the basic scheme is true. Returns false if one is not, if there is none, or if the
/// system's random source fails. Consecutive claims about the same message share a pairing.
///
/// Claims of the scheme before v19 are left out: each is to be verified by itself.
pub(crate) fn are_signed<'c>(claims: impl IntoIterator<Item = &'c Claim>) -> bool {
    let basic = |claim: &'c Claim| match &claim.signature {
        AnySignature::Basic(signature) => Some((claim.message, (claim.key, *signature))),
        #[cfg(feature = "legacy-bls")]
        AnySignature::Legacy(_) => None,
    };
    let (messages, (keys, signatures)): (Vec<_>, (Vec<_>, Vec<_>)) = claims.into_iter().filter_map(basic).unzip();
    Weights::random(keys.len()).is_some_and(|weights| are_equal(&weights, &messages, &keys, &signatures) == Some(true))
}

/// Compares the two sides of the equation; `None` if a sum of keys is infinity, or if there is nothing to compare.
fn are_equal(weights: &Weights, messages: &[[u8; 32]], keys: &[PublicKey], signatures: &[Signature]) -> Option<bool> {
    let mut pairing = Pairing::new(true, DST);
    let mut from = 0;
    for same in messages.chunk_by(|message, next| message == next) {
        let keys = keys.get(from..from + same.len())?;
        let key = blst_p1_affine::from(weights.weigh_keys(from, keys)?);
        // The sum of the signatures has a pairing of its own.
        let no_signature = ();
        let result = pairing.aggregate(&key, false, &no_signature, false, same.first()?, &[]);
        (result == BLST_ERROR::BLST_SUCCESS).then_some(())?;
        from += same.len();
    }
    pairing.commit();
    let mut left = blst_fp12::default();
    Pairing::aggregated(&mut left, &blst_p2_affine::from(weights.weigh_signatures(signatures)?));
    Some(pairing.finalverify(Some(&left)))
}
