//! A chain and the branches that leave it.

use qrinfo_core::BlockHash;

use crate::{
    HeaderChain,
    chain::work,
    check::{CheckedHeader, Place},
    target::{Pace, WINDOW},
};

/// A trunk, and branches that leave it or each other. Blocks are told apart by hash, never by height.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) trunk: HeaderChain,
    branches: Vec<Branch>,
}

#[derive(Debug)]
struct Branch {
    /// The block that it leaves from.
    from: Spot,
    headers: Vec<CheckedHeader>,
}

/// A block in a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The index of its branch; `None` on the trunk.
    branch: Option<usize>,
    pub(crate) height: u32,
}

/// A chain that leaves the trunk.
#[derive(Debug)]
pub(crate) struct Path {
    /// The last height that it shares with the trunk.
    pub(crate) fork: u32,
    /// The headers above.
    pub(crate) headers: Vec<CheckedHeader>,
}

// === impl Spot ===

impl Spot {
    /// A block of the trunk.
    pub(crate) fn trunk(height: u32) -> Self {
        Self { branch: None, height }
    }
}

// === impl Tree ===

impl Tree {
    pub(crate) fn new(trunk: HeaderChain) -> Self {
        Self { trunk, branches: Vec::new() }
    }

    pub(crate) fn trunk_tip(&self) -> Spot {
        Spot::trunk(self.trunk.tip())
    }

    /// The number of branches.
    pub(crate) fn branches(&self) -> usize {
        self.branches.len()
    }

    /// The block with this hash.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<Spot> {
        let in_branch = |(index, branch): (usize, &Branch)| {
            let position = branch.headers.iter().rposition(|header| header.hash == *hash)?;
            Some(Spot { branch: Some(index), height: branch.height(position) })
        };
        let in_branches = self.branches.iter().enumerate().rev().find_map(in_branch);
        in_branches.or_else(|| self.trunk.height_of(hash).map(Spot::trunk))
    }

    pub(crate) fn hash_at(&self, spot: Spot) -> Option<BlockHash> {
        match spot.branch {
            None => self.trunk.hash_at(spot.height),
            Some(_) => self.header(spot).map(|header| header.hash),
        }
    }

    /// The block at a height, at or below that of `spot`, on the way down from it.
    pub(crate) fn ancestor(&self, mut spot: Spot, height: u32) -> Spot {
        while let Some(branch) = spot.branch.and_then(|index| self.branches.get(index))
            && height <= branch.from.height
        {
            spot = branch.from;
        }
        Spot { height: height.min(spot.height), ..spot }
    }

    /// Returns `true` if `spot` is on the chain that ends at `tip`.
    pub(crate) fn is_on(&self, spot: Spot, tip: Spot) -> bool {
        spot.height <= tip.height && self.ancestor(tip, spot.height) == spot
    }

    /// The newest block that the chains ending at these share.
    pub(crate) fn shared(&self, mut spot: Spot, tip: Spot) -> Spot {
        loop {
            spot = Spot { height: spot.height.min(tip.height), ..spot };
            if self.is_on(spot, tip) {
                return spot;
            }
            let branch = |spot: Spot| spot.branch.and_then(|index| self.branches.get(index));
            // Where `tip` leaves the branch of `spot`, or the trunk, is the newest that both can share.
            let mut below = tip;
            while below.branch != spot.branch {
                match branch(below) {
                    Some(branch) => below = branch.from,
                    None => break,
                }
            }
            if below.branch == spot.branch {
                return Spot { height: below.height.min(spot.height), ..spot };
            }
            match branch(spot) {
                Some(branch) => spot = branch.from,
                None => return spot,
            }
        }
    }

    /// Adds headers that follow `spot`. Those that are there are passed over. Returns the last of them.
    pub(crate) fn add(&mut self, mut spot: Spot, headers: &[CheckedHeader]) -> Spot {
        let mut new = headers;
        while let Some((first, rest)) = new.split_first()
            && let Some(child) = self.child(spot, &first.hash)
        {
            (spot, new) = (child, rest);
        }
        if new.is_empty() {
            return spot;
        }
        let extended = spot.branch.filter(|_| self.is_branch_tip(spot));
        let index = extended.unwrap_or_else(|| {
            self.branches.push(Branch { from: spot, headers: Vec::new() });
            self.branches.len() - 1
        });
        if let Some(branch) = self.branches.get_mut(index) {
            branch.headers.extend_from_slice(new);
        }
        Spot { branch: Some(index), height: spot.height.saturating_add(u32::try_from(new.len()).unwrap_or(u32::MAX)) }
    }

    /// Removes the trunk above a height, and all branches: they may leave it above.
    pub(crate) fn cut(&mut self, height: u32) {
        self.trunk.truncate(height);
        self.branches.clear();
    }

    /// Removes from branches the blocks that have come to the trunk since. [`Self::ancestor`] finds them there.
    pub(crate) fn rejoin(&mut self) {
        for index in 0..self.branches.len() {
            let Some(from) = self.branches.get(index).map(|branch| branch.from) else { continue };
            let mut from = self.ancestor(from, from.height);
            let Some(branch) = self.branches.get_mut(index) else { continue };
            if from.branch.is_none() {
                let blocks = (from.height.saturating_add(1)..).zip(&branch.headers);
                let is_known =
                    |(height, header): &(u32, &CheckedHeader)| self.trunk.hash_at(*height) == Some(header.hash);
                let known = blocks.take_while(is_known).count();
                branch.headers.drain(..known);
                from.height = from.height.saturating_add(u32::try_from(known).unwrap_or(u32::MAX));
            }
            branch.from = from;
        }
    }

    /// The newest blocks of the trunk and of each branch.
    pub(crate) fn tips(&self) -> Vec<Spot> {
        let tip = |(index, branch): (usize, &Branch)| {
            let last = branch.headers.len().checked_sub(1)?;
            Some(Spot { branch: Some(index), height: branch.height(last) })
        };
        [self.trunk_tip()].into_iter().chain(self.branches.iter().enumerate().filter_map(tip)).collect()
    }

    /// The place of a header that follows `spot`.
    pub(crate) fn place_after(&self, spot: Spot) -> Place {
        let lowest = spot.height.saturating_sub(WINDOW as u32 - 1).max(self.trunk.start());
        let path = self.path(spot);
        let mut place = self.trunk.place_after(path.fork);
        let above = path.headers.iter().skip((lowest.saturating_sub(path.fork + 1)) as usize);
        above.for_each(|header| place.window.push(Pace::from(&header.header)));
        place.height = spot.height.saturating_add(1);
        place
    }

    /// The work of the chain that ends at `spot`, above a height of the trunk.
    pub(crate) fn work(&self, spot: Spot, above: u32) -> u128 {
        let path = self.path(spot);
        let trunk = self.trunk.work_above(above).saturating_sub(self.trunk.work_above(path.fork.max(above)));
        path.headers.iter().fold(trunk, |sum, header| sum.saturating_add(work(header.header.bits())))
    }

    /// The path from the trunk to a block.
    pub(crate) fn path(&self, spot: Spot) -> Path {
        let (mut parts, mut spot) = (Vec::new(), spot);
        while let Some(branch) = spot.branch.and_then(|index| self.branches.get(index)) {
            parts.push(
                branch.headers.get(..spot.height.saturating_sub(branch.from.height) as usize).unwrap_or_default(),
            );
            spot = branch.from;
        }
        Path { fork: spot.height, headers: parts.into_iter().rev().flatten().copied().collect() }
    }

    /// Hashes by which a peer finds the newest block that it shares with the chain that ends at `spot`: the newest ten,
    /// then ever greater steps down to the start. Each with its place.
    pub(crate) fn locator(&self, spot: Spot) -> Vec<(Spot, BlockHash)> {
        let start = self.trunk.start();
        let mut heights = Vec::new();
        let (mut height, mut step) = (spot.height, 1);
        while height > start {
            heights.push(height);
            step = if heights.len() < 10 { 1 } else { step * 2 };
            height = height.saturating_sub(step);
        }
        heights.push(start);
        let entry = |height| {
            let spot = self.ancestor(spot, height);
            Some((spot, self.hash_at(spot)?))
        };
        heights.into_iter().filter_map(entry).collect()
    }

    /// The shortest locator: a block and the start. A peer without the block answers from the start on, so a question with
    /// it is to stop soon above the start.
    pub(crate) fn ends(&self, spot: Spot) -> Vec<(Spot, BlockHash)> {
        let start = Spot::trunk(self.trunk.start());
        [spot, start].into_iter().filter_map(|spot| Some((spot, self.hash_at(spot)?))).collect()
    }

    fn header(&self, spot: Spot) -> Option<&CheckedHeader> {
        let branch = self.branches.get(spot.branch?)?;
        branch.headers.get(spot.height.checked_sub(branch.from.height)?.checked_sub(1)? as usize)
    }

    fn is_branch_tip(&self, spot: Spot) -> bool {
        self.header(Spot { height: spot.height.saturating_add(1), ..spot }).is_none()
    }

    /// The block after `spot` with this hash.
    fn child(&self, spot: Spot, hash: &BlockHash) -> Option<Spot> {
        let next = Spot { height: spot.height.checked_add(1)?, ..spot };
        if self.hash_at(next).is_some_and(|next| next == *hash) {
            return Some(next);
        }
        let leaves =
            |branch: &Branch| branch.from == spot && branch.headers.first().is_some_and(|first| first.hash == *hash);
        let index = self.branches.iter().position(leaves)?;
        Some(Spot { branch: Some(index), height: next.height })
    }
}

// === impl Branch ===

impl Branch {
    fn height(&self, position: usize) -> u32 {
        self.from.height.saturating_add(1).saturating_add(u32::try_from(position).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::branch;

    #[test]
    fn branches_of_branches_share_what_they_share() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut tree = Tree::new(HeaderChain::new(100, start));
        let trunk = branch(start, 1, 10);
        tree.trunk.connect(&trunk).unwrap();
        let first = branch(trunk[4].hash, 2, 8);
        let a = tree.add(Spot::trunk(105), &first);
        let second = branch(first[3].hash, 3, 2);
        let b = tree.add(tree.find(&first[3].hash).unwrap(), &second);
        assert_eq!((a.height, b.height), (113, 111));
        // What is there is passed over, also along a branch.
        let known: Vec<_> = trunk[2..5].iter().chain(&first[..2]).copied().collect();
        assert_eq!(tree.add(Spot::trunk(102), &known), tree.ancestor(a, 107));
        assert_eq!(tree.tips().len(), 3);
        assert_eq!(tree.shared(a, b).height, 109);
        assert_eq!(tree.shared(b, a), tree.shared(a, b));
        assert_eq!(tree.shared(a, tree.trunk_tip()), Spot::trunk(105));
        assert_eq!(tree.shared(tree.trunk_tip(), b), Spot::trunk(105));
        assert!(tree.is_on(Spot::trunk(105), b) && tree.is_on(tree.ancestor(b, 109), a));
        assert!(!tree.is_on(Spot::trunk(106), b) && !tree.is_on(a, b));
        let path = tree.path(b);
        assert_eq!(path.fork, 105);
        let expected: Vec<_> = first[..4].iter().chain(&second).map(|header| header.hash).collect();
        assert_eq!(path.headers.iter().map(|header| header.hash).collect::<Vec<_>>(), expected);
        // Each header stands for two hashes.
        assert_eq!((tree.work(b, 102), tree.work(tree.trunk_tip(), 102)), (2 * 9, 2 * 8));
        let locator = tree.locator(b);
        assert_eq!(locator.first().map(|(spot, _)| *spot), Some(b));
        assert_eq!(locator.last().map(|(_, hash)| *hash), Some(start));
        for (spot, hash) in locator {
            assert_eq!(tree.find(&hash), Some(spot));
        }
        assert_eq!(tree.place_after(b).height, 112);
    }

    /// Peers tell their tips while the trunk is still short.
    #[test]
    fn blocks_of_a_branch_that_come_to_the_trunk_are_there_once() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut tree = Tree::new(HeaderChain::new(100, start));
        let trunk = branch(start, 1, 10);
        let whole = tree.add(Spot::trunk(100), &trunk);
        let fork = branch(trunk[4].hash, 2, 3);
        let forked = tree.add(tree.ancestor(whole, 105), &fork);
        tree.trunk.connect(&trunk[..8]).unwrap();
        tree.rejoin();
        assert_eq!(tree.ancestor(whole, 108), Spot::trunk(108));
        assert_eq!(
            (tree.shared(forked, whole), tree.shared(whole, tree.trunk_tip())),
            (Spot::trunk(105), Spot::trunk(108))
        );
        assert_eq!((tree.hash_at(whole), tree.hash_at(forked)), (Some(trunk[9].hash), Some(fork[2].hash)));
        tree.trunk.connect(&trunk[8..]).unwrap();
        tree.rejoin();
        assert_eq!(
            (tree.ancestor(whole, whole.height), tree.find(&trunk[9].hash)),
            (Spot::trunk(110), Some(Spot::trunk(110)))
        );
        assert_eq!(tree.tips(), [Spot::trunk(110), forked]);
        tree.cut(102);
        assert_eq!((tree.tips(), tree.hash_at(forked)), (vec![Spot::trunk(102)], None));
    }
}
