//! The settings of a day, which follow from its seed.

use std::{collections::BTreeSet, time::Duration};

use crate::kind::Kind;

/// The settings of a day.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    pub(crate) seed: u64,
    /// The faults that occur.
    pub(crate) kinds: BTreeSet<Kind>,
    pub(crate) honest: usize,
    /// The faults of each faulty node, with the share of messages that they concern.
    pub(crate) faulty: Vec<Vec<(Kind, f64)>>,
    /// The time at which all faults end.
    pub(crate) calm: Duration,
    /// The time between two blocks, on average.
    pub(crate) spacing: Duration,
}

impl Day {
    /// The day of a seed, without some faults. The rest of it is the same.
    pub(crate) fn new(seed: u64, without: &BTreeSet<Kind>) -> Self {
        let mut rng = rng(seed, "day");
        let [of_nodes, of_world] = [[0.05, 0.15, 0.4][rng.usize(0..3)], [0.0, 0.1, 0.3][rng.usize(0..3)]];
        let mut kinds: BTreeSet<Kind> = Kind::OF_NODES.into_iter().filter(|_| rng.f64() < of_nodes).collect();
        kinds.extend(Kind::OF_WORLD.into_iter().filter(|_| rng.f64() < of_world));
        let honest = rng.usize(2..=4);
        let count = rng.usize(0..=4);
        let calm = Duration::from_secs(rng.u64(10..1_800));
        let spacing = Duration::from_secs([5, 40, 150][rng.usize(0..3)]);
        let is_there = |kind: &Kind| !without.contains(kind);
        let mut faulty: Vec<_> = (0..count).map(|index| faults(seed, index, &kinds)).collect();
        // The chain is that of most nodes, but for headers without end: these most nodes may have.
        limit(&mut faulty, Kind::WrongChain, honest - 1);
        if kinds.contains(&Kind::Hang) {
            faulty.iter_mut().for_each(hang_with_the_others);
        }
        // Two nodes that have a block decide, so one alone is ahead.
        if let Some(first) = faulty.first_mut().filter(|_| self::rng(seed, "ahead").u8(0..4) == 0) {
            kinds.insert(Kind::Ahead);
            first.push((Kind::Ahead, 1.0));
        }
        faulty.iter_mut().for_each(|faults| faults.retain(|(kind, _)| is_there(kind)));
        kinds.retain(is_there);
        Self { seed, kinds, honest, faulty, calm, spacing }
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The time for which nodes that hang stand still after a change of the chain, all of them or none.
    pub(crate) fn hang(&self, change: u32) -> Option<Duration> {
        let mut rng = self.rng(&format!("hang {change}"));
        (rng.u8(0..3) == 0).then(|| Duration::from_secs(rng.u64(30..400)))
    }

    /// Random numbers for one part of the day, which do not depend on the others.
    pub(crate) fn rng(&self, part: &str) -> fastrand::Rng {
        rng(self.seed, part)
    }
}

/// Leaves a fault to the first nodes that have it.
fn limit(faulty: &mut [Vec<(Kind, f64)>], kind: Kind, most: usize) {
    let has = |faults: &&mut Vec<(Kind, f64)>| faults.iter().any(|(other, _)| *other == kind);
    faulty.iter_mut().filter(has).skip(most).for_each(|faults| faults.retain(|(other, _)| *other != kind));
}

/// Adds the fault of nodes that stand in one place, where all hang at once.
fn hang_with_the_others(faults: &mut Vec<(Kind, f64)>) {
    faults.retain(|(kind, _)| *kind != Kind::Hang);
    faults.push((Kind::Hang, 1.0));
}

fn faults(seed: u64, index: usize, kinds: &BTreeSet<Kind>) -> Vec<(Kind, f64)> {
    let mut rng = rng(seed, &format!("node {index}"));
    let of_nodes: Vec<_> = kinds.iter().copied().filter(|kind| kind.is_of_nodes()).collect();
    let mut faults = Vec::new();
    for kind in of_nodes {
        let rate = [0.1, 0.5, 1.0][rng.usize(0..3)];
        if rng.bool() {
            faults.push((kind, rate));
        }
    }
    // Several faults of a node hide one another, so half of the nodes have one at most.
    if rng.bool() && !faults.is_empty() {
        faults = vec![faults.swap_remove(rng.usize(0..faults.len()))];
    }
    faults
}

pub(crate) fn rng(seed: u64, part: &str) -> fastrand::Rng {
    fastrand::Rng::with_seed(crate::log::hash(part.as_bytes()) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
