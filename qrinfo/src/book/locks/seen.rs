use std::collections::{HashSet, VecDeque};

use qrinfo_core::Hash256;

/// The number of judged locks that are remembered: more than mainnet makes in half a day.
const MAX_SEEN: usize = 16_384;

/// The locks that were judged last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: HashSet<Hash256>,
    /// The oldest first.
    order: VecDeque<Hash256>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn contains(&self, hash: &Hash256) -> bool {
        self.hashes.contains(hash)
    }

    pub(super) fn insert(&mut self, hash: Hash256) {
        if !self.hashes.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let hash = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Hash256::from_bytes(bytes)
        };
        let mut seen = Seen::default();
        (0..=MAX_SEEN).for_each(|number| seen.insert(hash(number)));
        assert!(!seen.contains(&hash(0)) && seen.contains(&hash(1)) && seen.contains(&hash(MAX_SEEN)));
        seen.insert(hash(1));
        assert_eq!((seen.hashes.len(), seen.order.len()), (MAX_SEEN, MAX_SEEN));
    }
}
