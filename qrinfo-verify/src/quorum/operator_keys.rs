//! The operator keys that the members' signatures of several quorums are verified with.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use blst::{MultiPoint, min_pk::PublicKey};
use qrinfo_core::message::SmlEntry;

use super::bls::basic_encoding;

/// The number of random halves whose sums are checked. A sum that a point outside the group is added to leaves the group,
/// unless it was outside already: whatever the others are, each half misses it with a chance of at most 1/2, and all miss
/// it with 2^-40. Even then no false signature passes: a pairing does not see what takes a point out of the group.
const HALVES: u32 = 40;

/// The number of keys from which on sums take less time than a check of each one.
const WORTH_ADDING: usize = 64;

/// Decoded operator keys by their standard encoding. A masternode is a member of several quorums, and decoding is dear.
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

/// Returns true if these points of the curve are in the group; false if they may not be, and each is to be checked.
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
