use qrinfo_core::{
    Hash256, PeerId,
    message::{ChainLock, InstantLock, Inventory, InventoryItem, InventoryKind},
};

use super::{
    Lock, LockEvent, Taken,
    seen::Seen,
    waiting::{Waiting, WaitingLocks},
};
use crate::book::{Lookup, QuorumBook};

/// The number of times that a lock is judged. It may wait for its cycle to begin, for the end of the mining window, and
/// for a reorganisation to be over.
const MAX_JUDGED: u32 = 4;

/// The number of cycles above the tip for which a lock may wait. The end of a mining window is up to a cycle above the
/// start of the next cycle.
const CYCLES_AHEAD: u32 = 2;

/// Takes locks and their announcements from peers. See the [module](super).
///
/// At most 1,024 locks of 1 MiB together wait, an eighth of both for each peer. The hashes of the 16,384 locks that were
/// judged last are kept, to drop copies.
#[derive(Debug, Default)]
pub struct LockIntake {
    seen: Seen,
    waiting: WaitingLocks,
}

// === impl LockIntake ===

impl LockIntake {
    /// Returns the locks of an announcement (`inv`) that were not taken before, to ask for by `getdata`.
    pub fn wanted(&self, announced: &Inventory) -> Inventory {
        let is_lock =
            |item: &InventoryItem| [InventoryKind::CHAIN_LOCK, InventoryKind::INSTANT_LOCK].contains(&item.kind);
        announced.0.iter().filter(|item| is_lock(item) && !self.is_known(&item.hash)).collect()
    }

    /// Takes a ChainLock (`clsig`).
    pub fn take_chain_lock(&mut self, lock: ChainLock, peer: PeerId, book: &QuorumBook) -> Taken {
        self.take(Lock::Chain(lock), peer, book)
    }

    /// Takes an InstantSend lock (`isdlock`).
    pub fn take_instant_lock(&mut self, lock: InstantLock, peer: PeerId, book: &QuorumBook) -> Taken {
        self.take(Lock::Instant(lock), peer, book)
    }

    /// Judges the locks that waited for a height which the book covers now. Call it after each change of the book.
    pub fn advance(&mut self, book: &QuorumBook) -> Vec<LockEvent> {
        let due = self.waiting.take_until(book.synced_to());
        let judged = due.into_iter().map(|(hash, waiting)| self.judge(hash, waiting, book));
        judged.filter_map(|taken| if let Taken::Event(event) = taken { Some(event) } else { None }).collect()
    }

    fn is_known(&self, hash: &Hash256) -> bool {
        self.seen.contains(hash) || self.waiting.contains(hash)
    }

    fn take(&mut self, lock: Lock, peer: PeerId, book: &QuorumBook) -> Taken {
        let hash = lock.hash();
        match self.is_known(&hash) {
            true => Taken::Duplicate,
            false => self.judge(hash, Waiting { lock, peer, wait_for: 0, judged: 0 }, book),
        }
    }

    fn judge(&mut self, hash: Hash256, waiting: Waiting, book: &QuorumBook) -> Taken {
        match waiting.lock.verify(book) {
            Ok(Lookup::Found(_)) => self.settle(hash, waiting.lock.into_event()),
            Ok(Lookup::NotYet { wait_for, .. }) => self.keep(hash, Waiting { wait_for, ..waiting }, book),
            Ok(Lookup::Unknown) => Taken::Dropped,
            Err(error) => self.settle(hash, LockEvent::False { peer: waiting.peer, error }),
        }
    }

    fn settle(&mut self, hash: Hash256, event: LockEvent) -> Taken {
        self.seen.insert(hash);
        Taken::Event(event)
    }

    /// Keeps a lock, unless it waits for something that is too far off or has not come.
    fn keep(&mut self, hash: Hash256, waiting: Waiting, book: &QuorumBook) -> Taken {
        let Waiting { wait_for, judged, .. } = waiting;
        let horizon = book.tip().saturating_add(CYCLES_AHEAD * book.network().cycles().length());
        let is_kept = judged + 1 < MAX_JUDGED
            && wait_for <= horizon
            && self.waiting.insert(hash, Waiting { judged: judged + 1, ..waiting });
        if is_kept { Taken::Waits { wait_for } } else { Taken::Dropped }
    }
}
