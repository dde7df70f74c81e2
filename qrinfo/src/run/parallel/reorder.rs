use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use crate::run::Delivered;

/// The length assumed before any reply came, bytes: between mainnet's 33 KB of a chained plan and 300 KB from bases some
/// cycles back. With the default window six requests are in flight then: few bad peers do not hold all of them.
const EXPECTED_BYTES: u64 = 130_000;

/// Puts replies back into the order of the plan.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// The request whose turn it is.
    next: usize,
    /// The ends of requests at or after that: a reply, or `None` for a request that was given up.
    waiting: BTreeMap<usize, Option<Delivered>>,
    skipped: BTreeSet<usize>,
    /// Number of replies that wait.
    held: u64,
    held_bytes: u64,
    /// Number of all replies that came.
    replies: u64,
    bytes: u64,
}

impl Reorder {
    /// The first request that is neither delivered nor passed over.
    pub(super) fn next_index(&self) -> usize {
        self.next
    }

    /// Takes a reply. A second one for the same request is dropped.
    pub(super) fn put(&mut self, delivered: Delivered) {
        if delivered.index >= self.next
            && let Entry::Vacant(place) = self.waiting.entry(delivered.index)
        {
            let bytes = delivered.timing.bytes;
            self.held += 1;
            self.held_bytes += bytes;
            self.replies += 1;
            self.bytes += bytes;
            place.insert(Some(delivered));
        }
    }

    /// Gives up on a request.
    pub(super) fn skip(&mut self, index: usize) {
        if index >= self.next {
            self.waiting.entry(index).or_insert(None);
        }
    }

    /// The reply whose turn it is, once it is there.
    pub(super) fn pop(&mut self) -> Option<Delivered> {
        while let Some(entry) = self.waiting.remove(&self.next) {
            self.next += 1;
            match entry {
                Some(delivered) => {
                    self.held -= 1;
                    self.held_bytes -= delivered.timing.bytes;
                    return Some(delivered);
                }
                None => drop(self.skipped.insert(self.next - 1)),
            }
        }
        None
    }

    /// Drops the latest replies in the order of the plan until the rest take at most `budget` bytes, and returns their
    /// requests. The one whose turn it is stays.
    pub(super) fn evict(&mut self, budget: u64) -> Vec<usize> {
        let mut evicted = Vec::new();
        let candidates: Vec<usize> = self.waiting.range(self.next + 1..).rev().map(|(index, _)| *index).collect();
        for index in candidates {
            if self.held_bytes <= budget {
                break;
            }
            if let Entry::Occupied(place) = self.waiting.entry(index)
                && let Some(delivered) = place.get()
            {
                self.held -= 1;
                self.held_bytes -= delivered.timing.bytes;
                place.remove();
                evicted.push(index);
            }
        }
        evicted
    }

    /// Takes back a reply that came out: it is that request's turn again, and then those after it.
    pub(super) fn take_back(&mut self, index: usize) {
        if index < self.next {
            self.next = index;
            self.waiting.extend(self.skipped.split_off(&index).into_iter().map(|skipped| (skipped, None)));
        }
    }

    /// Requests, from the first that is neither delivered nor passed over, that may be in flight or wait, so that their
    /// replies take `budget` bytes together. The first always may.
    ///
    /// Replies that have come count by their length, those to come are expected to be of mean length.
    pub(super) fn window(&self, budget: u64) -> u64 {
        let expected = ((self.bytes + EXPECTED_BYTES) / (self.replies + 1)).max(1);
        let more = budget.saturating_sub(self.held_bytes) / expected;
        (self.held + more).max(1)
    }

    /// Returns true if the reply to this request was handed out.
    pub(super) fn was_delivered(&self, index: usize) -> bool {
        index < self.next && !self.skipped.contains(&index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use qrinfo_core::{BlockHash, PeerId, Reply, Timing, message::MnListDiff};

    use super::*;

    fn delivered(index: usize, now: Instant) -> Delivered {
        of_length(index, 0, now)
    }

    fn of_length(index: usize, bytes: u64, now: Instant) -> Delivered {
        Delivered {
            index,
            reply: Reply::MnListDiff(Box::new(MnListDiff::empty(BlockHash::ZERO, BlockHash::ZERO))),
            timing: Timing {
                peer: PeerId::Address(([127, 0, 0, 1], 1).into()),
                sent: now,
                head: None,
                first_byte: None,
                done: now,
                bytes,
            },
        }
    }

    proptest! {
        /// Every reply that was not given up comes out once and in order, for any order of arrival, with duplicates and
        /// with replies that are taken back.
        #[test]
        fn everything_comes_out_once_and_in_order(
            arrivals in proptest::collection::vec((0_usize..20, 0_u8..5), 0..300),
        ) {
            let now = tokio::time::Instant::now().into_std();
            let mut first = BTreeMap::new();
            let mut reorder = Reorder::default();
            let mut out = Vec::new();
            for (index, what) in arrivals {
                let is_reply = what > 1;
                if what == 0 {
                    if let Some(last) = out.pop() {
                        reorder.take_back(last);
                        first.remove(&last);
                    }
                    continue;
                }
                if reorder.next_index() <= index {
                    first.entry(index).or_insert(is_reply);
                }
                match is_reply {
                    true => reorder.put(delivered(index, now)),
                    false => reorder.skip(index),
                }
                out.extend(std::iter::from_fn(|| reorder.pop()).map(|delivered| delivered.index));
            }
            let settled = (0..20).take_while(|index| first.contains_key(index)).count();
            let expected: Vec<_> = (0..settled).filter(|index| first[index]).collect();
            prop_assert_eq!(&out, &expected);
            for index in 0..20 {
                prop_assert_eq!(reorder.was_delivered(index), expected.contains(&index));
            }
        }

        /// Replies of any length: those that wait never take more than the budget and one reply, and everything comes out
        /// in order when what was dropped is asked again.
        #[test]
        fn what_waits_is_bounded_in_bytes(
            mut lengths in proptest::collection::vec(1_u64..32 << 20, 1..40),
            order in any::<u64>(),
        ) {
            let now = tokio::time::Instant::now().into_std();
            let budget = 8 << 20;
            let longest = lengths.iter().copied().max().unwrap_or_default();
            let mut reorder = Reorder::default();
            let mut to_ask: Vec<usize> = (0..lengths.len()).collect();
            let (mut out, mut draw) = (Vec::new(), order);
            while out.len() < lengths.len() {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let index = to_ask.swap_remove((draw >> 33) as usize % to_ask.len());
                reorder.put(of_length(index, lengths[index], now));
                let evicted = reorder.evict(budget);
                // A true reply is short the second time.
                evicted.iter().for_each(|index| lengths[*index] = 5_000);
                to_ask.extend(evicted);
                prop_assert!(reorder.held_bytes <= budget + longest, "{} bytes", reorder.held_bytes);
                out.extend(std::iter::from_fn(|| reorder.pop()).map(|delivered| delivered.index));
            }
            prop_assert_eq!(out, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
