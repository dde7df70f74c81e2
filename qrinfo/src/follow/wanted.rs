//! Locks that peers have announced, and the peer that each is asked of.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{
    Hash256, PeerId,
    message::{Inventory, InventoryItem, InventoryKind},
};

/// The time after which a lock that was asked for is asked of another peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Locks that one peer may be asked for at a time. What it announces beyond is left to the others, so that a peer with
/// made-up locks keeps none of theirs out.
const SHARE: usize = 512;

/// Peers that are remembered for each lock, beside the one that is asked: about all that a client has.
const OTHERS: usize = 8;

/// The locks that are asked for, each of one peer at a time.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    locks: HashMap<Hash256, Want>,
    /// Questions, the oldest first. Those that were answered are passed over.
    asked: VecDeque<(Instant, PeerId, Hash256)>,
    loads: BTreeMap<PeerId, usize>,
}

#[derive(Debug)]
struct Want {
    kind: InventoryKind,
    asked: PeerId,
    /// Peers that have announced it as well.
    others: VecDeque<PeerId>,
}

// === impl Wanted ===

impl Wanted {
    /// Takes note of locks that a peer has announced. Returns those to ask it for.
    pub(super) fn announced(&mut self, peer: PeerId, locks: &Inventory, now: Instant) -> Inventory {
        locks.0.iter().filter(|item| self.is_first(peer, item, now)).collect()
    }

    fn is_first(&mut self, peer: PeerId, item: &InventoryItem, now: Instant) -> bool {
        if let Some(want) = self.locks.get_mut(&item.hash) {
            let is_new = want.asked != peer && want.others.len() < OTHERS && !want.others.contains(&peer);
            want.others.extend(is_new.then_some(peer));
            return false;
        }
        let has_room = self.loads.get(&peer).is_none_or(|load| *load < SHARE);
        if has_room {
            self.ask(item.hash, Want { kind: item.kind, asked: peer, others: VecDeque::new() }, now);
        }
        has_room
    }

    /// Takes note of a lock that a peer has sent.
    pub(super) fn received(&mut self, lock: &Hash256) {
        self.remove(lock);
    }

    /// Takes note that a peer is gone. Returns the locks to ask other peers for.
    pub(super) fn leave(&mut self, peer: PeerId, now: Instant) -> BTreeMap<PeerId, Inventory> {
        self.locks.values_mut().for_each(|want| want.others.retain(|other| *other != peer));
        let asked = self.locks.iter().filter(|(_, want)| want.asked == peer);
        let unanswered: Vec<_> = asked.map(|(hash, _)| *hash).collect();
        self.ask_others(unanswered, now)
    }

    /// Returns the locks to ask other peers for, because those that were asked have not sent them in time.
    pub(super) fn due(&mut self, now: Instant) -> BTreeMap<PeerId, Inventory> {
        let mut unanswered = Vec::new();
        while let Some((at, peer, hash)) = self.asked.front().copied() {
            let is_open = self.locks.get(&hash).is_some_and(|want| want.asked == peer);
            if is_open && now < at + PATIENCE {
                break;
            }
            self.asked.pop_front();
            unanswered.extend(is_open.then_some(hash));
        }
        self.ask_others(unanswered, now)
    }

    /// The instant of the next question that may have gone unanswered.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.asked.front().map(|(at, ..)| *at + PATIENCE)
    }

    /// Asks the next peers that have announced these locks. A lock without one is given up until it is announced again.
    fn ask_others(&mut self, locks: Vec<Hash256>, now: Instant) -> BTreeMap<PeerId, Inventory> {
        let mut questions: BTreeMap<PeerId, Vec<InventoryItem>> = BTreeMap::new();
        for hash in locks {
            let Some(mut want) = self.remove(&hash) else { continue };
            let Some(next) = want.others.pop_front() else { continue };
            questions.entry(next).or_default().push(InventoryItem { kind: want.kind, hash });
            self.ask(hash, Want { asked: next, ..want }, now);
        }
        questions.into_iter().map(|(peer, items)| (peer, items.into_iter().collect())).collect()
    }

    fn ask(&mut self, hash: Hash256, want: Want, now: Instant) {
        self.asked.push_back((now, want.asked, hash));
        *self.loads.entry(want.asked).or_default() += 1;
        self.locks.insert(hash, want);
    }

    fn remove(&mut self, lock: &Hash256) -> Option<Want> {
        let want = self.locks.remove(lock)?;
        if let Some(load) = self.loads.get_mut(&want.asked) {
            *load -= 1;
        }
        self.loads.retain(|_, load| *load > 0);
        Some(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from(([203, 0, 113, number], 9999))
    }

    fn locks(numbers: std::ops::Range<u32>) -> Inventory {
        let hash = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            Hash256::from_bytes(bytes)
        };
        numbers.map(|number| InventoryItem { kind: InventoryKind::INSTANT_LOCK, hash: hash(number) }).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_lock_that_does_not_come_is_asked_of_the_next_peer() {
        let (mut wanted, start) = (Wanted::default(), now());
        assert_eq!(wanted.announced(peer(1), &locks(0..3), start), locks(0..3));
        assert_eq!(wanted.announced(peer(2), &locks(0..3), start), locks(0..0));
        assert_eq!(wanted.announced(peer(3), &locks(0..2), start), locks(0..0));
        wanted.received(&locks(2..3).0.iter().next().unwrap().hash);
        assert_eq!(wanted.wake(), Some(start + PATIENCE));
        assert!(wanted.due(start + PATIENCE / 2).is_empty());
        assert_eq!(wanted.due(start + PATIENCE), BTreeMap::from([(peer(2), locks(0..2))]));
        // A peer that leaves is not waited for.
        let asked = wanted.leave(peer(2), start + PATIENCE);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[&peer(3)].0.iter().count(), 2);
        // At last they are given up, and may be announced again.
        assert!(wanted.due(start + 2 * PATIENCE).is_empty());
        assert_eq!((wanted.locks.len(), wanted.asked.len(), wanted.loads.len(), wanted.wake()), (0, 0, 0, None));
        assert_eq!(wanted.announced(peer(2), &locks(0..1), start), locks(0..1));
    }

    #[test]
    fn a_peer_with_made_up_locks_keeps_out_no_others() {
        let (mut wanted, now) = (Wanted::default(), now());
        let asked = wanted.announced(peer(1), &locks(0..50_000), now);
        assert_eq!(asked.0.iter().count(), SHARE);
        assert_eq!(wanted.announced(peer(2), &locks(60_000..60_010), now), locks(60_000..60_010));
        // Nor those that it has named as well, beyond its share.
        assert_eq!(wanted.announced(peer(2), &locks(40_000..40_001), now), locks(40_000..40_001));
        assert!(wanted.leave(peer(1), now).is_empty());
        assert_eq!(wanted.locks.len(), 11);
    }
}
