//! The operator keys that the members' signatures of several quorums are verified with.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use blst::{MultiPoint, min_pk::PublicKey};
use qrinfo_core::message::SmlEntry;

use super::bls::basic_encoding;

/// The number of random halves of the keys whose sums are checked.
///
/// A sum that is in the group leaves it when a point outside of the group is added. So each half misses such a point with
/// a probability of at most 1/2, whatever the other points are, and all halves with 2^-40. Even then no false signature
/// passes, because a pairing ignores the part of a point that is outside of the group.
const HALVES: u32 = 40;

/// The number of keys from which on sums take less time than a check of each one.
const WORTH_ADDING: usize = 64;

/// Decoded operator keys by their standard encoding. A masternode can be a member of several quorums of a reply, and its
/// key is decoded once.
#[derive(Debug, Default)]
pub(crate) struct OperatorKeys(HashMap<[u8; 48], PublicKey>);

// === impl OperatorKeys ===

impl OperatorKeys {
    /// Decodes the keys of masternodes, each once. Those that are no keys are left out: not a point of the right group,
    /// or infinity.
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a SmlEntry>) -> Self {
        let mut keys = HashMap::new();
        for encoding in entries.into_iter().map(basic_encoding) {
            keys.entry(encoding).or_insert_with(|| decode(&encoding));
        }
        let mut keys: HashMap<_, _> = keys.into_iter().filter_map(|(encoding, key)| Some((encoding, key?))).collect();
        if !are_in_group(&keys.values().copied().collect::<Vec<_>>()) {
            keys.retain(|_, key| key.validate().is_ok());
        }
        Self(keys)
    }

    /// Returns a masternode's key, if it is one of those that were decoded.
    pub(crate) fn get(&self, entry: &SmlEntry) -> Option<PublicKey> {
        self.0.get(&basic_encoding(entry)).copied()
    }
}

/// A point of the curve that is not infinity, and may be outside of the group.
fn decode(encoding: &[u8; 48]) -> Option<PublicKey> {
    /// The flag of infinity in the standard encoding.
    const INFINITY: u8 = 0x40;
    let [first, ..] = encoding;
    PublicKey::uncompress(encoding).ok().filter(|_| first & INFINITY == 0)
}

/// Returns true if these points of the curve are in the group. False means that each is to be checked by itself.
fn are_in_group(points: &[PublicKey]) -> bool {
    if points.len() < WORTH_ADDING {
        return points.validate().is_ok();
    }
    // For each point the halves that it is in. The source is secure: a peer must not foresee them.
    let mut choices = vec![0; points.len() * size_of::<u64>()];
    if getrandom::fill(&mut choices).is_err() {
        return false;
    }
    let choices: Vec<u64> = choices.as_chunks().0.iter().map(|choice| u64::from_le_bytes(*choice)).collect();
    (0..HALVES).all(|half| {
        let is_in_half = |choice: &u64| choice >> half & 1 == 1;
        let chosen = points.iter().zip(&choices).filter(|(_, choice)| is_in_half(choice));
        let chosen: Vec<_> = chosen.map(|(point, _)| *point).collect();
        !chosen.is_empty() && chosen.add().to_public_key().validate().is_ok()
    })
}
