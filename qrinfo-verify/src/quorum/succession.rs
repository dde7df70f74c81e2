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
