//! The chain to work with, by agreement of the peers.

use std::cmp::Reverse;

use qrinfo_core::BlockHash;

/// A chain that a sync may work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The hash of its newest block.
    pub(crate) tip: BlockHash,
    /// `true` if a verified ChainLock is on the chain.
    pub(crate) is_locked: bool,
    /// The number of peers whose tip lies on it, however far behind.
    pub(crate) peers: usize,
    /// The work above the block that all candidates share.
    pub(crate) work: u128,
}

/// The position of the chain to work with: the one with a verified ChainLock; else the one that the most peers are on,
/// because nodes follow ChainLocks and not work; else the one with the most work; else the one with the lowest hash, so
/// that each client that sees the same chooses the same. A chain that no peer is on is not chosen unless it is locked.
pub(crate) fn agree(candidates: &[Candidate]) -> Option<usize> {
    let eligible = candidates.iter().enumerate().filter(|(_, chain)| chain.is_locked || chain.peers > 0);
    eligible
        .max_by_key(|(_, chain)| (chain.is_locked, chain.peers, chain.work, Reverse(chain.tip)))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(tip: u8, is_locked: bool, peers: usize, work: u128) -> Candidate {
        Candidate { tip: BlockHash::from_bytes([tip; 32]), is_locked, peers, work }
    }

    #[test]
    fn locks_come_before_peers_before_work_before_the_hash() {
        let one = candidate(1, false, 1, 5_000);
        let two = candidate(2, false, 2, 10);
        let locked = candidate(3, true, 0, 1);
        assert_eq!(agree(&[one, two]), Some(1));
        assert_eq!(agree(&[one, two, locked]), Some(2));
        assert_eq!(agree(&[candidate(1, false, 2, 9), two]), Some(1));
        assert_eq!(agree(&[two, candidate(1, false, 2, 10)]), Some(1));
        assert_eq!(agree(&[candidate(1, false, 0, 10)]), None);
        assert_eq!(agree(&[]), None);
    }

    prop_compose! {
        fn any_candidate()(tip: u8, is_locked in prop::bool::weighted(0.1), peers in 0_usize..4, work in 0_u128..4) -> Candidate {
            candidate(tip, is_locked, peers, work)
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_decides_nothing(candidates in prop::collection::vec(any_candidate(), 1..6), turn in 0_usize..6) {
            let mut turned = candidates.clone();
            turned.rotate_left(turn % candidates.len());
            let chosen = |candidates: &[Candidate]| agree(candidates).map(|index| candidates[index]);
            prop_assert_eq!(chosen(&candidates), chosen(&turned));
        }

        /// One peer, whatever its work, decides nothing against two.
        #[test]
        fn a_lone_peer_is_outvoted(candidates in prop::collection::vec(any_candidate(), 0..5), work: u128) {
            let mut candidates: Vec<_> = candidates.into_iter().map(|chain| Candidate { is_locked: false, ..chain }).collect();
            candidates.push(candidate(200, false, 2, 0));
            candidates.push(candidate(201, false, 1, work));
            let chosen = agree(&candidates).map(|index| candidates[index]).unwrap();
            prop_assert!(chosen.peers >= 2);
        }
    }
}
