//! Quorums that replace each other in order of age.

use std::collections::BTreeMap;

use qrinfo_core::QuorumHash;

use super::mined::MinedQuorum;

/// The quorums of one type, of a rotated type those of one index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Succession {
    /// By the height of the quorum's block.
    known: BTreeMap<u32, MinedQuorum>,
    /// Quorums whose blocks lie below our headers. They are older than all others.
    below: BTreeMap<QuorumHash, Below>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Below {
    quorum: MinedQuorum,
    /// The height of the first list without it. The sooner it is gone, the older it is.
    gone: Option<u32>,
}

/// A quorum of a succession, with its place by age.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) quorum: &'a MinedQuorum,
    /// Quorums with the same tie are of an age that is not known: any of them may be the oldest.
    tie: Option<u32>,
}

// === impl Succession ===

impl Succession {
    /// Adds a quorum, or learns more about when one was mined.
    pub(crate) fn insert(&mut self, quorum: MinedQuorum) {
        let hash = quorum.commitment.quorum_hash;
        let below = self.below.remove(&hash).map(|below| below.quorum);
        match quorum.height {
            Some(height) => {
                let quorum = quorum.informed_by(below).informed_by(self.known.remove(&height));
                self.known.insert(height, quorum);
            }
            None => {
                let quorum = quorum.informed_by(below);
                self.below.insert(hash, Below { quorum, gone: None });
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &MinedQuorum> {
        self.below.values().map(|below| &below.quorum).chain(self.known.values())
    }

    /// Learns that the lists at a height have only these.
    pub(crate) fn seen(&mut self, height: u32, is_there: impl Fn(&QuorumHash) -> bool) {
        // A quorum that was learned from later lists, which left the chain, is not there yet.
        for quorum in self.known.values_mut() {
            if *quorum.mined.end() > height && !is_there(&quorum.commitment.quorum_hash) {
                *quorum = quorum.clone().after(height);
            }
        }
        for (hash, below) in &mut self.below {
            if !is_there(hash) {
                below.gone.get_or_insert(height);
            }
        }
    }

    /// Forgets quorums that were replaced before a height at which `active_count` are active.
    pub(crate) fn forget_below(&mut self, height: u32, active_count: usize) {
        self.below.retain(|_, below| below.gone.is_none_or(|gone| gone > height));
        let settled = self.known.values().rev().filter(|quorum| *quorum.mined.end() <= height);
        if let Some(oldest) = settled.filter_map(|quorum| quorum.height).nth(active_count.saturating_sub(1)) {
            self.known = self.known.split_off(&oldest);
        }
    }

    /// Forgets everything learned from blocks above a height. Returns the lowest height at which a forgotten quorum may
    /// have been mined.
    pub(crate) fn forget_above(&mut self, height: u32) -> Option<u32> {
        let mut lowest = None;
        let mut is_certain = |quorum: &MinedQuorum| {
            let is_certain = *quorum.mined.end() <= height;
            if !is_certain {
                lowest = lowest.into_iter().chain([*quorum.mined.start()]).min();
            }
            is_certain
        };
        self.known.retain(|_, quorum| is_certain(quorum));
        self.below.retain(|_, below| is_certain(&below.quorum));
        for below in self.below.values_mut() {
            below.gone = below.gone.filter(|gone| *gone <= height);
        }
        lowest
    }

    /// Returns the quorums that were mined by a height, and those that may have been, the oldest first. Quorums with
    /// blocks below our headers that were replaced by then are left out.
    pub(crate) fn split(&self, height: u32) -> (Vec<Placed<'_>>, Vec<Placed<'_>>) {
        let mut below: Vec<_> =
            self.below.values().filter(|below| below.gone.is_none_or(|gone| height < gone)).collect();
        below.sort_by_key(|below| below.gone.unwrap_or(u32::MAX));
        let below =
            below.into_iter().map(|below| Placed { quorum: &below.quorum, tie: Some(below.gone.unwrap_or(u32::MAX)) });
        let known = self.known.values().map(|quorum| Placed { quorum, tie: None });
        let by_then = |placed: &Placed<'_>| *placed.quorum.mined.start() <= height;
        below.chain(known).filter(by_then).partition(|placed| *placed.quorum.mined.end() <= height)
    }
}

/// Returns the `active_count` newest quorums.
pub(crate) fn newest<'a>(quorums: &[Placed<'a>], active_count: usize) -> Vec<&'a MinedQuorum> {
    let surplus = quorums.len().saturating_sub(active_count);
    quorums.iter().skip(surplus).map(|placed| placed.quorum).collect()
}

/// Returns the first of the `active_count` newest quorums in an order; several if it is unknown which of them are the
/// newest.
pub(crate) fn firsts<'a, K: Ord>(
    quorums: &[Placed<'a>],
    active_count: usize,
    order: impl Fn(&MinedQuorum) -> K,
) -> Vec<&'a MinedQuorum> {
    let surplus = quorums.len().saturating_sub(active_count);
    let oldest = quorums.get(surplus).and_then(|placed| placed.tie);
    let is_tied = |placed: &Placed<'_>| placed.tie.is_some() && placed.tie == oldest;
    // The number of quorums with the oldest's tie that are replaced. They can be any of them.
    let replaced = quorums.iter().take(surplus).filter(|placed| is_tied(placed)).count();
    let mut candidates: Vec<_> = quorums.iter().skip(surplus - replaced).collect();
    candidates.sort_by_key(|placed| order(placed.quorum));
    let certain = candidates.iter().position(|placed| !is_tied(placed)).unwrap_or(usize::MAX);
    candidates.into_iter().take(certain.min(replaced).saturating_add(1)).map(|placed| placed.quorum).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use qrinfo_core::{Hash256, LlmqType, message::Commitment, wire::Bits};

    use super::*;

    fn quorum(seed: u8, height: Option<u32>, mined: RangeInclusive<u32>) -> MinedQuorum {
        let commitment = Commitment {
            version: 3,
            llmq_type: LlmqType(100),
            quorum_hash: QuorumHash::from_bytes([seed; 32]),
            quorum_index: None,
            signers: Bits::default(),
            valid_members: Bits::default(),
            quorum_public_key: [0; 48],
            quorum_vvec_hash: Hash256::ZERO,
            quorum_sig: [0; 96],
            members_sig: [0; 96],
        };
        MinedQuorum { commitment, height, mined }
    }

    fn succession(quorums: &[MinedQuorum]) -> Succession {
        let mut succession = Succession::default();
        quorums.iter().for_each(|quorum| succession.insert(quorum.clone()));
        succession
    }

    fn seeds<'q>(quorums: impl IntoIterator<Item = &'q MinedQuorum>) -> Vec<u8> {
        quorums.into_iter().map(|quorum| quorum.commitment.quorum_hash.as_bytes()[0]).collect()
    }

    fn placed(placed: &[Placed<'_>]) -> Vec<u8> {
        seeds(placed.iter().map(|placed| placed.quorum))
    }

    #[test]
    fn a_list_without_a_quorum_says_that_it_is_not_mined_yet() {
        let mined = |height, is_there| {
            let mut succession = succession(&[quorum(1, Some(216), 226..=234)]);
            succession.seen(height, |_| is_there);
            succession.iter().next().map(|quorum| quorum.mined.clone())
        };
        assert_eq!(mined(230, false), Some(231..=234));
        assert_eq!(mined(230, true), Some(226..=234));
        // It has been mined and replaced by then.
        for height in [234, 240] {
            assert_eq!(mined(height, false), Some(226..=234));
        }
    }

    /// The first list without it counts.
    #[test]
    fn a_quorum_below_the_headers_is_replaced_by_the_first_list_without_it() {
        let mut succession = succession(&[quorum(1, None, 0..=200), quorum(2, None, 0..=200)]);
        let is_second = |hash: &QuorumHash| hash.as_bytes()[0] == 2;
        succession.seen(200, |_| true);
        succession.seen(240, is_second);
        succession.seen(260, is_second);
        let settled = |height| placed(&succession.split(height).0);
        assert_eq!((settled(239), settled(240), settled(260)), (vec![1, 2], vec![2], vec![2]));
        let after = |forgotten: fn(&mut Succession)| {
            let mut succession = succession.clone();
            forgotten(&mut succession);
            (placed(&succession.split(239).0), placed(&succession.split(240).0))
        };
        assert_eq!(after(|succession| succession.forget_below(239, 9)), (vec![1, 2], vec![2]));
        assert_eq!(after(|succession| succession.forget_below(240, 9)), (vec![2], vec![2]));
        // Where the list without it leaves the chain, it may be there still.
        assert_eq!(after(|succession| _ = succession.forget_above(240)), (vec![1, 2], vec![2]));
        assert_eq!(after(|succession| _ = succession.forget_above(239)), (vec![1, 2], vec![1, 2]));
    }

    #[test]
    fn what_is_known_of_a_quorum_says_nothing_about_another_at_its_height() {
        let known = quorum(1, Some(216), 226..=230);
        let mined = |quorum: MinedQuorum| {
            let succession = succession(&[known.clone(), quorum]);
            succession.iter().map(|quorum| quorum.mined.clone()).collect::<Vec<_>>()
        };
        assert_eq!(mined(quorum(1, Some(216), 226..=234)), [226..=230]);
        assert_eq!(mined(quorum(2, Some(216), 226..=234)), [226..=234], "after a reorganisation");
    }

    #[test]
    fn as_many_as_are_active_are_left() {
        let three =
            [(1, 100), (2, 200), (3, 300)].map(|(seed, height)| quorum(seed, Some(height), height..=height + 10));
        let left = |height, active_count| {
            let mut succession = succession(&three);
            succession.forget_below(height, active_count);
            seeds(succession.iter())
        };
        assert_eq!(left(310, 2), [2, 3]);
        assert_eq!(left(309, 2), [1, 2, 3], "the third may not be mined yet");
        assert_eq!(left(309, 1), [2, 3]);
        assert_eq!((left(310, 1), left(1_000, 4)), (vec![3], vec![1, 2, 3]));
        assert_eq!(left(310, 0), [3], "as if one were active");
    }

    /// Quorums 1 and 2 went at once, and one of the two is replaced.
    #[test]
    fn the_first_may_be_any_of_those_of_unknown_age() {
        let gone = [1, 2].map(|seed| quorum(seed, None, 0..=200));
        let known = [3, 4, 5].map(|seed| quorum(seed, Some(u32::from(seed) * 10), 0..=200));
        let tied = |quorum| Placed { quorum, tie: Some(240) };
        let placed = |quorum| Placed { quorum, tie: None };
        let first = |quorums: &[Placed<'_>], order: [u8; 3]| {
            let place = |quorum: &MinedQuorum| order.iter().position(|seed| seeds([quorum]) == [*seed]);
            seeds(firsts(quorums, 2, place))
        };
        let quorums = [tied(&gone[0]), tied(&gone[1]), placed(&known[0])];
        assert_eq!(first(&quorums, [3, 1, 2]), [3], "whichever is replaced");
        assert_eq!(first(&quorums, [1, 3, 2]), [1, 3]);
        assert_eq!(first(&quorums, [1, 2, 3]), [1, 2]);
        // The oldest of those of known age is replaced.
        let quorums = [placed(&known[0]), placed(&known[1]), placed(&known[2])];
        assert_eq!(first(&quorums, [3, 5, 4]), [5]);
        assert_eq!(first(&quorums[1..], [5, 4, 3]), [5]);
    }
}
