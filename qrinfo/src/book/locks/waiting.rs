use std::collections::{BTreeMap, HashMap};

use qrinfo_core::{Hash256, PeerId};

use super::Lock;

/// The number of locks that wait at a time. Mainnet has a few hundred InstantSend locks an hour, and a mining window
/// behind which most waits end lasts 20 minutes.
const MAX_WAITING: usize = 1_024;

/// The bytes of all locks that wait.
const MAX_BYTES: usize = 1 << 20;

/// The share of one peer in both bounds is an eighth.
const SHARES: usize = 8;

/// A lock that cannot be judged yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) lock: Lock,
    pub(super) peer: PeerId,
    /// The height at which it is judged again.
    pub(super) wait_for: u32,
    /// The number of times that it was judged.
    pub(super) judged: u32,
}

/// The locks that wait: bounded in number and in bytes, together and for each peer.
#[derive(Debug, Default)]
pub(super) struct WaitingLocks {
    /// By the order in which they came.
    locks: BTreeMap<u64, (Hash256, Waiting)>,
    places: HashMap<Hash256, u64>,
    next: u64,
    loads: HashMap<PeerId, Load>,
    total: Load,
}

/// The locks of one peer or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    count: usize,
    bytes: usize,
}

// === impl WaitingLocks ===

impl WaitingLocks {
    pub(super) fn contains(&self, hash: &Hash256) -> bool {
        self.places.contains_key(hash)
    }

    /// Adds a lock that is not there. A peer with a full share loses its oldest lock for it, and where all are full the
    /// peer with the most loses its oldest. Returns true if the lock is kept; one that is longer than a share is not.
    pub(super) fn insert(&mut self, hash: Hash256, waiting: Waiting) -> bool {
        let (peer, bytes) = (waiting.peer, waiting.lock.bytes());
        if bytes > MAX_BYTES / SHARES {
            return false;
        }
        let load = self.loads.entry(peer).or_default();
        load.add(bytes);
        self.total.add(bytes);
        self.places.insert(hash, self.next);
        self.locks.insert(self.next, (hash, waiting));
        self.next += 1;
        while self.loads.get(&peer).is_some_and(|load| load.is_above(SHARES)) {
            self.remove_oldest_of(peer);
        }
        while self.total.is_above(1) {
            self.remove_oldest_of_heaviest();
        }
        self.contains(&hash)
    }

    /// Takes the locks that a book which covers this height can judge, in the order in which they came.
    pub(super) fn take_until(&mut self, height: u32) -> Vec<(Hash256, Waiting)> {
        let taken = self.locks.iter().filter(|(_, (_, waiting))| waiting.wait_for <= height);
        let places: Vec<_> = taken.map(|(place, _)| *place).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// Removes the oldest lock of the peer with the most; of several such peers, that of the one with the oldest lock.
    fn remove_oldest_of_heaviest(&mut self) {
        let most = self.loads.values().max().copied();
        let is_heaviest = |peer: &PeerId| self.loads.get(peer).copied() == most;
        let oldest = self.locks.iter().find(|(_, (_, waiting))| is_heaviest(&waiting.peer)).map(|(place, _)| *place);
        oldest.and_then(|place| self.remove(place));
    }

    fn remove_oldest_of(&mut self, peer: PeerId) {
        let oldest = self.locks.iter().find(|(_, (_, waiting))| waiting.peer == peer).map(|(place, _)| *place);
        oldest.and_then(|place| self.remove(place));
    }

    fn remove(&mut self, place: u64) -> Option<(Hash256, Waiting)> {
        let (hash, waiting) = self.locks.remove(&place)?;
        self.places.remove(&hash);
        let bytes = waiting.lock.bytes();
        self.total.remove(bytes);
        if let Some(load) = self.loads.get_mut(&waiting.peer) {
            load.remove(bytes);
        }
        self.loads.retain(|_, load| load.count > 0);
        Some((hash, waiting))
    }
}

// === impl Load ===

impl Load {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    /// Returns true if this is above one of so many equal shares.
    fn is_above(self, shares: usize) -> bool {
        self.count > MAX_WAITING / shares || self.bytes > MAX_BYTES / shares
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::message::{ChainLock, InstantLock, OutPoint};

    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from(([203, 0, 113, number], 9999))
    }

    fn waiting(from: u8, height: i32) -> Waiting {
        let lock = ChainLock { height, block_hash: Default::default(), signature: [from; 96] };
        Waiting { lock: Lock::Chain(lock), peer: peer(from), wait_for: height.unsigned_abs(), judged: 1 }
    }

    fn insert(locks: &mut WaitingLocks, waiting: Waiting) -> Hash256 {
        let hash = waiting.lock.hash();
        assert!(locks.insert(hash, waiting));
        hash
    }

    #[test]
    fn one_peer_cannot_crowd_out_another() {
        let mut locks = WaitingLocks::default();
        let honest = insert(&mut locks, waiting(1, 5));
        let first_of_many = insert(&mut locks, waiting(2, 0));
        for height in 1..5_000 {
            insert(&mut locks, waiting(2, height));
        }
        assert!(locks.contains(&honest) && !locks.contains(&first_of_many));
        assert_eq!(locks.loads[&peer(2)].count, MAX_WAITING / SHARES);
        // Twenty of them cannot either: all together have their bound, and those with the most lose first.
        for from in 3..23 {
            for height in 0..200 {
                insert(&mut locks, waiting(from, height));
            }
        }
        assert!(locks.contains(&honest));
        assert_eq!((locks.total.count, locks.locks.len(), locks.places.len()), (MAX_WAITING, MAX_WAITING, MAX_WAITING));
    }

    #[test]
    fn bytes_are_bounded_like_numbers() {
        let mut locks = WaitingLocks::default();
        let long = |number: u8, inputs| {
            let inputs = vec![OutPoint { txid: Hash256::from_bytes([number; 32]), vout: 0 }; inputs];
            let lock = InstantLock { inputs, txid: Hash256::ZERO, cycle_hash: Default::default(), signature: [0; 96] };
            Waiting { lock: Lock::Instant(lock), peer: peer(number % 20), wait_for: 1, judged: 1 }
        };
        for number in 0..100 {
            insert(&mut locks, long(number, 1_500));
            assert!(locks.total.bytes <= MAX_BYTES);
        }
        assert!(locks.locks.len() > 10);
        assert!(!locks.insert(Hash256::ZERO, long(1, 4_000)), "longer than a share");
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let mut locks = WaitingLocks::default();
        for height in 0..20 {
            insert(&mut locks, waiting(1 + (height % 3) as u8, height));
        }
        let taken: Vec<_> = locks.take_until(9).into_iter().map(|(_, waiting)| waiting.wait_for).collect();
        assert_eq!(taken, Vec::from_iter(0..=9));
        assert_eq!(locks.take_until(u32::MAX).len(), 10);
        assert_eq!(locks.total, Load::default());
        assert!(locks.loads.is_empty() && locks.places.is_empty());
    }
}
