//! The order in which Dash Core walks a masternode list.
//!
//! Core keeps the list in a hash trie (`immer::map`) of 32-way nodes, keyed by the first eight bytes of the proTxHash
//! as a little-endian number, five bits a level from the lowest up. A node holds the entries that are alone in their
//! slot, and nodes for the slots that several share; it is walked entries first, in slot order. So the order follows
//! from the set alone. Nothing else depends on it, but the bytes of a diff do.

use qrinfo_core::ProTxHash;

const BITS: u32 = 5;
const LEVELS: u32 = u64::BITS.div_ceil(BITS);

/// The slots of an entry from the root down; compares as the trie is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrieKey {
    /// The slot of the root in the highest bits, that of the last level in the lowest.
    slots: u128,
    hash: ProTxHash,
}

// === impl TrieKey ===

impl TrieKey {
    pub(super) fn of(hash: ProTxHash) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let slot = |level: u32| u128::from(key >> (BITS * level) & 31);
        Self { slots: (0..LEVELS).fold(0, |slots, level| slots << BITS | slot(level)), hash }
    }

    fn slot(&self, level: u32) -> u128 {
        self.slots >> (BITS * (LEVELS - 1 - level)) & 31
    }
}

/// Visits `sorted`, which is in ascending order of its keys, in the order of the trie's walk.
pub(super) fn walk<T>(sorted: &[(TrieKey, T)], visit: &mut impl FnMut(&T)) {
    walk_node(sorted, 0, visit);
}

fn walk_node<T>(node: &[(TrieKey, T)], level: u32, visit: &mut impl FnMut(&T)) {
    if level == LEVELS {
        node.iter().for_each(|(_, entry)| visit(entry));
        return;
    }
    let slots = || node.chunk_by(|(a, _), (b, _)| a.slot(level) == b.slot(level));
    for slot in slots() {
        if let [(_, entry)] = slot {
            visit(entry);
        }
    }
    for slot in slots().filter(|slot| slot.len() > 1) {
        walk_node(slot, level + 1, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_entries_of_a_node_come_before_the_nodes_below_it() {
        let key = |first: u8, second: u8| {
            let mut hash = [0; 32];
            (hash[0], hash[1]) = (first, second);
            TrieKey::of(ProTxHash::from_bytes(hash))
        };
        // In the root: 2 and 5, which are alone, and 1 and 3, which several share.
        let mut entries = [
            (key(3, 4), "3 0 1"),
            (key(1, 0), "1 0"),
            (key(0b10_0001, 0), "1 1"),
            (key(2, 0), "2"),
            (key(5, 9), "5"),
            (key(1, 4), "1 0 1"),
            (key(3, 0), "3 0"),
        ];
        entries.sort();
        let mut order = Vec::new();
        walk(&entries, &mut |name| order.push(*name));
        // In slot 1 is a node whose slot 1 holds one entry alone and whose slot 0 a node again.
        assert_eq!(order, ["2", "5", "1 1", "1 0", "1 0 1", "3 0", "3 0 1"]);
    }
}
