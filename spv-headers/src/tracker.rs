//! The newest blocks of peers that stay connected, and the chain that they agree on.

use std::{cmp::Reverse, collections::BTreeMap};

use qrinfo_core::{BlockHash, BlockHeader, PeerId, message::MAX_HEADERS};

use crate::{
    HeaderBatch, HeaderChain, HeaderError, HeaderRules, Standing,
    check::{CheckedHeader, Place, Rules},
    tree::{Path, Spot, Tree},
};

/// The blocks below the agreed one that may still be replaced. Dash nodes follow ChainLocks, and do not replace more
/// than a few.
const DEPTH: u32 = 100;

/// The blocks below those of which the time and target are kept: the target of the next block needs 24 of them.
const BELOW: u32 = 64;

/// The greatest number of blocks above the agreed one that are taken: two messages of them.
const AHEAD: u32 = 2 * MAX_HEADERS as u32;

/// The blocks above the end of most peers that two peers decide about where headers cost nothing: as many as may still be
/// replaced when the others tell of their own.
const ABOVE_MOST: u32 = DEPTH;

/// Branches for each peer above which those that no peer is on are forgotten. Where headers cost no work, a peer could
/// send any number of them.
const BRANCHES_EACH: usize = 4;

/// The newest blocks of peers that stay connected, and the chain that they agree on: a plain struct without I/O.
///
/// [`sync_headers`](crate::sync_headers) fetches many headers once. This goes on from there: headers that a peer
/// announces, or sends because it was asked, tell its newest block, and [`agree`](Self::agree) moves the chain.
///
/// The chain is the one that the most peers are on, however far behind; ties go to the greater work, unless headers cost
/// nothing, then to the present one. Its tip is a block that two peers have, or that the only peer has: no peer decides
/// alone as soon as there is another one. Where headers cost nothing (regtest and devnets) the tip is besides at most 100
/// blocks above the block at which most of the known peers end, so that a few cannot add thousands. It knows at least 100
/// blocks below the tip. A reorganization that is deeper takes a new tracker from further below, and
/// [`below`](Self::below) tells which peers are on it.
///
/// ```
/// use qrinfo_core::Network;
/// use spv_headers::TipTracker;
///
/// let mut tracker = TipTracker::new(Network::Regtest, (0, Network::Regtest.genesis_hash()), &[]);
/// let peer = "203.0.113.5:19899".parse()?;
/// tracker.join(peer);
/// assert_eq!(tracker.locator(peer, 0), [Network::Regtest.genesis_hash()]);
/// assert_eq!(tracker.agreed().0, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TipTracker {
    rules: Rules,
    checkpoints: BTreeMap<u32, BlockHash>,
    /// Its trunk is a block that is not replaced any more, and some below.
    tree: Tree,
    agreed: Spot,
    /// The newest block of each peer, as far as it is known.
    peers: BTreeMap<PeerId, Option<View>>,
}

/// The newest block of a peer.
#[derive(Debug, Clone, Copy)]
struct View {
    spot: Spot,
    /// The peer has more that it was not asked for yet.
    has_more: bool,
}

/// Headers of a peer that fit to known blocks and are to be checked.
#[derive(Debug)]
#[must_use = "does nothing by itself"]
pub struct TipCheck {
    rules: Rules,
    checkpoints: BTreeMap<u32, BlockHash>,
    after: BlockHash,
    place: Place,
    headers: Vec<BlockHeader>,
    is_full: bool,
}

/// Checked headers, for [`TipTracker::take`].
#[derive(Debug)]
pub struct TipHeaders {
    after: BlockHash,
    headers: Vec<CheckedHeader>,
    is_full: bool,
}

/// The place of a peer whose headers follow an older block of our chain than a tracker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below {
    /// The height of the newest block that it is known to share with our chain.
    pub shared: u32,
    /// The header by which it leaves our chain behind that block. `None` if all that it sent is ours.
    pub next: Option<BlockHeader>,
}

/// Meaning of a peer's headers.
#[derive(Debug)]
pub enum Heard {
    /// They follow a known block: check them.
    Check(TipCheck),
    /// These follow a block that is not known. The peer is on a chain that left ours long ago, or on another one. That is
    /// no fault.
    Elsewhere(Vec<BlockHeader>),
    /// There are none: the peer has nothing above the newest block of the locator that it has.
    Nothing,
}

// === impl TipTracker ===

impl TipTracker {
    /// A tracker that goes on from a chain. `below` is the height and hash of the block that the first of `newest`
    /// follows; these are the newest headers of the chain, at least 164 of them unless the chain has fewer.
    pub fn new(rules: impl Into<HeaderRules>, below: (u32, BlockHash), newest: &[CheckedHeader]) -> Self {
        let HeaderRules { rules, checkpoints, .. } = rules.into();
        let (tree, agreed) = rooted(below, newest, newest.len().saturating_sub(DEPTH as usize));
        Self { rules, checkpoints: checkpoints.into_iter().collect(), tree, agreed, peers: BTreeMap::new() }
    }

    /// The number of headers that [`new`](Self::new) wants.
    pub const WANTED: usize = (DEPTH + BELOW) as usize;

    /// The height and hash of the agreed tip.
    pub fn agreed(&self) -> (u32, BlockHash) {
        (self.agreed.height, self.tree.hash_at(self.agreed).unwrap_or(BlockHash::ZERO))
    }

    /// The height below which a peer cannot be followed: it has to catch up first.
    pub fn lowest(&self) -> u32 {
        self.tree.trunk.start()
    }

    /// Adds a peer. Its newest block is not known yet.
    pub fn join(&mut self, peer: PeerId) {
        self.peers.insert(peer, None);
    }

    /// Forgets the newest block of a peer: it may have gone back. The peer stays.
    pub fn forget(&mut self, peer: PeerId) {
        if let Some(view) = self.peers.get_mut(&peer) {
            *view = None;
        }
    }

    /// Removes a peer.
    pub fn leave(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// The number of peers whose newest block is known.
    pub fn known(&self) -> usize {
        self.peers.values().flatten().count()
    }

    /// Block hashes for the next `getheaders` to a peer that announced a height. They begin below the newest block that
    /// the peer is known or said to have, so that it answers with one header at least.
    pub fn locator(&self, peer: PeerId, announced: u32) -> Vec<BlockHash> {
        let spot = self.spot(peer).unwrap_or_else(|| {
            let best = self.best();
            self.tree.ancestor(best, announced.min(best.height))
        });
        let below = spot.height.saturating_sub(1).max(self.tree.trunk.start());
        self.tree.locator(self.tree.ancestor(spot, below)).into_iter().map(|(_, hash)| hash).collect()
    }

    /// Takes note that a peer has announced a block. Returns `false` for an unknown block: ask the peer for headers.
    pub fn announced(&mut self, peer: PeerId, hash: &BlockHash) -> bool {
        let spot = self.tree.find(hash);
        if let (Some(view), Some(spot)) = (self.peers.get_mut(&peer), spot) {
            *view = Some(View { spot, has_more: false });
        }
        spot.is_some()
    }

    /// Finds the place of headers that a peer sent. Those beyond 4,000 blocks above the agreed tip are left out.
    pub fn hear(&self, mut headers: Vec<BlockHeader>) -> Heard {
        let Some(first) = headers.first() else { return Heard::Nothing };
        let after = first.prev_block_hash();
        let Some(spot) = self.tree.find(&after) else { return Heard::Elsewhere(headers) };
        let room = self.agreed.height.saturating_add(AHEAD).saturating_sub(spot.height) as usize;
        let is_full = headers.len() >= MAX_HEADERS || headers.len() > room;
        headers.truncate(room);
        let (rules, checkpoints) = (self.rules, self.checkpoints.clone());
        Heard::Check(TipCheck { rules, checkpoints, after, place: self.tree.place_after(spot), headers, is_full })
    }

    /// The place of headers that are [`Elsewhere`](Heard::Elsewhere) on a chain of ours that goes further down. `None` if
    /// they do not follow it, or leave it below a checkpoint that it has.
    ///
    /// # Errors
    /// [`HeaderError`] if the first header that is not ours cannot be right: the peer that sent it is at fault.
    pub fn below(&self, chain: &HeaderChain, headers: &[BlockHeader]) -> Result<Option<Below>, HeaderError> {
        let parent = headers.first().and_then(|first| chain.height_of(&first.prev_block_hash()));
        let Some(parent) = parent else { return Ok(None) };
        // Each header names the hash of the one before it.
        let hash = |index: usize, header| match headers.get(index + 1) {
            Some(next) => next.prev_block_hash(),
            None => self.rules.hash(header),
        };
        let mut ours = headers.iter().enumerate().zip(parent.saturating_add(1)..);
        let left = ours.find(|((index, header), height)| chain.hash_at(*height) != Some(hash(*index, header)));
        let Some(((_, next), height)) = left else {
            let shared = parent.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
            return Ok(Some(Below { shared, next: None }));
        };
        if self.checkpoints.range(height..=chain.tip().max(height)).next().is_some() {
            return Ok(None);
        }
        let shared = height - 1;
        self.rules.check(chain.place_after(shared), &[*next])?;
        Ok(Some(Below { shared, next: Some(*next) }))
    }

    /// Takes a peer's checked headers: the last is its newest block. Returns `true` if the peer has to be asked for
    /// more.
    pub fn take(&mut self, peer: PeerId, taken: &TipHeaders) -> bool {
        // The blocks that they follow may have been left in the meantime.
        let Some(from) = self.tree.find(&taken.after) else { return false };
        let Some(view) = self.peers.get_mut(&peer) else { return false };
        *view = Some(View { spot: self.tree.add(from, &taken.headers), has_more: taken.is_full });
        if self.tree.branches() > BRANCHES_EACH * (self.peers.len() + 1) {
            self.prune();
        }
        taken.is_full
    }

    /// Returns `true` for a peer that is so far ahead of the agreed tip that more of its headers are not taken yet.
    pub fn is_far_ahead(&self, peer: PeerId) -> bool {
        self.spot(peer).is_some_and(|spot| spot.height >= self.agreed.height.saturating_add(AHEAD))
    }

    /// The place of a peer in relation to the agreed chain, if its newest block is known.
    pub fn standing(&self, peer: PeerId) -> Option<Standing> {
        let spot = self.spot(peer)?;
        let shared = self.tree.shared(spot, self.agreed).height;
        Some(Standing { shared, tip: (spot.height, self.tree.hash_at(spot)?) })
    }

    /// The newest block of a peer, if it is known.
    fn spot(&self, peer: PeerId) -> Option<Spot> {
        self.peers.get(&peer).copied().flatten().map(|view| view.spot)
    }

    fn spots(&self) -> impl Iterator<Item = Spot> {
        self.peers.values().flatten().map(|view| view.spot)
    }

    /// Moves to the tip that the peers agree on now. Returns the change of the chain, if there is one.
    pub fn agree(&mut self) -> Option<HeaderBatch> {
        let agreed = self.choose()?;
        let fork = self.tree.shared(self.agreed, agreed);
        let Path { fork: base, headers } = self.tree.path(agreed);
        let headers = headers.get(fork.height.saturating_sub(base) as usize..).unwrap_or_default().to_vec();
        self.agreed = agreed;
        self.settle();
        Some(HeaderBatch { first: fork.height.saturating_add(1), headers })
    }

    /// The new tip: the newest block of the chosen chain that two peers have. `None` if the tip stays.
    fn choose(&self) -> Option<Spot> {
        let views: Vec<Spot> = self.spots().collect();
        let on = |end: Spot| views.iter().filter(move |view| self.tree.is_on(**view, end));
        let shared = views.iter().map(|view| self.tree.shared(*view, self.agreed).height).min()?;
        let rank = |end: &Spot| {
            let (is_present, work) = (self.tree.is_on(self.agreed, *end), self.tree.work(*end, shared));
            let done = if self.rules.cost_work() { work } else { 0 };
            (on(*end).count(), done, is_present, work, Reverse(self.tree.hash_at(*end)))
        };
        let end = views.iter().copied().max_by_key(rank)?;
        let mut heights: Vec<_> = on(end).map(|view| view.height).collect();
        heights.sort_unstable_by_key(|height| Reverse(*height));
        let (enough, highest) = (self.peers.len().min(2), self.highest(end));
        let height = heights.into_iter().skip(enough - 1).find(|height| *height <= highest)?;
        let agreed = self.tree.ancestor(end, height);
        // Blocks that were agreed on stay until others take their place.
        (!self.tree.is_on(agreed, self.agreed)).then_some(agreed)
    }

    /// The greatest height to which a few peers may move the tip on this chain: where headers cost nothing, not far above
    /// the blocks of it that most peers end at. A peer that may have more ends nowhere yet: in a long sync one after the
    /// other is asked.
    fn highest(&self, end: Spot) -> u32 {
        let last = |view: &View| if view.has_more { u32::MAX } else { self.tree.shared(view.spot, end).height };
        let mut last: Vec<_> = self.peers.values().flatten().map(last).collect();
        last.sort_unstable();
        match last.get(last.len() / 2) {
            Some(most) if !self.rules.cost_work() => most.saturating_add(ABOVE_MOST),
            _ => u32::MAX,
        }
    }

    /// The block below which the most is known.
    fn best(&self) -> Spot {
        self.spots().chain([self.agreed]).max_by_key(|spot| spot.height).unwrap_or(self.agreed)
    }

    /// Moves the trunk up when it is far below the agreed tip, and forgets branches that leave below it.
    fn settle(&mut self) {
        if self.agreed.height.saturating_sub(self.tree.trunk.tip()) <= 2 * DEPTH {
            return;
        }
        let before = self.tree.trunk.tip();
        let path = self.tree.path(self.agreed);
        let settled = path.headers.len().saturating_sub(DEPTH as usize);
        let first = settled.saturating_sub(BELOW as usize);
        let Some(below) = first.checked_sub(1).and_then(|last| path.headers.get(last)) else { return };
        let below = (before.saturating_add(first as u32), below.hash);
        let newest = path.headers.get(first..).unwrap_or_default();
        let (tree, agreed) = rooted(below, newest, settled - first);
        let root = tree.trunk.tip_hash();
        self.move_views(tree, agreed, |own| {
            let is_settled = |header: &CheckedHeader| header.hash == root;
            Some(own.headers.iter().position(is_settled).filter(|_| own.fork == before)? + 1)
        });
    }

    /// Forgets branches that no peer is on.
    fn prune(&mut self) {
        let mut tree = Tree::new(self.tree.trunk.clone());
        let path = self.tree.path(self.agreed);
        let agreed = tree.add(Spot::trunk(path.fork), &path.headers);
        self.move_views(tree, agreed, |_| Some(0));
    }

    /// Takes the views of the peers over into another tree. `skip` gives the number of headers of a path that are in its
    /// trunk, or `None` for a path that leaves below.
    fn move_views(&mut self, mut tree: Tree, agreed: Spot, skip: impl Fn(&Path) -> Option<usize>) {
        for view in self.peers.values_mut() {
            *view = view.and_then(|View { spot, has_more }| {
                let own = self.tree.path(spot);
                let skipped = skip(&own)?;
                let from = if skipped == 0 { Spot::trunk(own.fork) } else { tree.trunk_tip() };
                Some(View { spot: tree.add(from, own.headers.get(skipped..)?), has_more })
            });
        }
        (self.tree, self.agreed) = (tree, agreed);
    }
}

/// A tree whose trunk are the first `settled` headers, and the newest block.
fn rooted((height, hash): (u32, BlockHash), newest: &[CheckedHeader], settled: usize) -> (Tree, Spot) {
    let (settled, open) = newest.split_at(settled.min(newest.len()));
    let mut trunk = HeaderChain::new(height, hash);
    trunk.extend(settled);
    let mut tree = Tree::new(trunk);
    let spot = tree.add(tree.trunk_tip(), open);
    (tree, spot)
}

// === impl TipCheck ===

impl TipCheck {
    /// The number of headers to check, about ten microseconds each.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Returns `true` if there are no headers to check.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Checks links, work, and on mainnet and testnet the targets.
    ///
    /// # Errors
    /// [`HeaderError`] if they cannot be right: the peer that sent them is at fault.
    pub fn run(self) -> Result<TipHeaders, HeaderError> {
        let first = self.place.height;
        let headers = self.rules.check(self.place, &self.headers)?;
        let last = first.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        for (&height, expected) in self.checkpoints.range(first..last) {
            if let Some(header) = headers.get((height - first) as usize).filter(|header| header.hash != *expected) {
                return Err(HeaderError::NotCheckpoint { height, hash: header.hash });
            }
        }
        Ok(TipHeaders { after: self.after, headers, is_full: self.is_full })
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::Network;

    use super::*;
    use crate::chain::tests::branch;

    const START: BlockHash = BlockHash::from_bytes([9; 32]);

    fn peer(number: u64) -> PeerId {
        format!("203.0.113.{number}:9999").parse().unwrap()
    }

    fn tracker(chain: &[CheckedHeader], peers: u64) -> TipTracker {
        let mut tracker = TipTracker::new(Network::Regtest, (100, START), chain);
        (1..=peers).for_each(|number| tracker.join(peer(number)));
        tracker
    }

    /// The peer's newest block is the last of these.
    fn has(tracker: &mut TipTracker, number: u64, after: BlockHash, headers: &[CheckedHeader]) {
        tracker.take(peer(number), &TipHeaders { after, headers: headers.to_vec(), is_full: false });
    }

    #[test]
    fn the_tip_is_a_block_that_two_peers_have() {
        let chain = branch(START, 1, 10);
        let mut tracker = tracker(&chain[..8], 3);
        has(&mut tracker, 1, START, &chain[..8]);
        assert!(tracker.agree().is_none());
        // Two peers, and one alone is ahead.
        has(&mut tracker, 2, START, &chain);
        assert!(tracker.agree().is_none());
        has(&mut tracker, 3, START, &chain[..9]);
        let batch = tracker.agree().unwrap();
        assert_eq!((batch.first, batch.headers), (109, chain[8..9].to_vec()));
        assert_eq!(tracker.agreed(), (109, chain[8].hash));
        assert!(tracker.announced(peer(1), &chain[9].hash));
        assert_eq!(tracker.agree().unwrap().first, 110);
        // Peers that leave or fall behind take no block away.
        tracker.leave(peer(1));
        tracker.leave(peer(2));
        assert!(tracker.agree().is_none());
        assert_eq!(tracker.standing(peer(3)).unwrap().shared, 109);
    }

    #[test]
    fn a_single_peer_is_followed() {
        let chain = branch(START, 1, 3);
        let mut tracker = tracker(&[], 1);
        assert_eq!(tracker.locator(peer(1), 103), [START]);
        has(&mut tracker, 1, START, &chain);
        assert_eq!(tracker.agree().unwrap().headers, chain);
        assert_eq!(tracker.locator(peer(1), 0)[0], chain[1].hash, "it answers with its tip at least");
    }

    /// Two of five peers have headers without end above the tip of the others, as on regtest anyone can.
    #[test]
    fn a_few_peers_do_not_add_thousands_of_blocks_where_headers_cost_nothing() {
        let chain = branch(START, 1, 4_010);
        let with = |network, far: usize| {
            let mut tracker = TipTracker::new(network, (100, START), &chain[..10]);
            (1..=5).for_each(|number| tracker.join(peer(number)));
            (1..=3).for_each(|number| has(&mut tracker, number, START, &chain[..10]));
            for number in 4..=5 {
                let check = TipHeaders { after: START, headers: chain[..far].to_vec(), is_full: true };
                tracker.take(peer(number), &check);
            }
            tracker
        };
        assert!(with(Network::Regtest, 4_000).agree().is_none());
        assert_eq!(with(Network::Mainnet, 4_000).agree().unwrap().headers.len(), 3_990);
        // A new block that two of them have first.
        assert_eq!(with(Network::Regtest, 11).agree().unwrap().headers, chain[10..11]);
        // Most of them have it.
        let mut tracker = with(Network::Regtest, 4_000);
        has(&mut tracker, 3, START, &chain[..3_950]);
        assert_eq!(tracker.agree().unwrap().headers.len(), 3_990);
        // One that has the next block of the others beside two with a thousand.
        let mut tracker = with(Network::Regtest, 1_000);
        has(&mut tracker, 3, START, &chain[..11]);
        assert_eq!(tracker.agree().unwrap().headers, chain[10..11]);
        // Peers that are still asked for more do not hold up a long sync.
        let mut tracker = with(Network::Regtest, 4_000);
        for number in 1..=3 {
            let check = TipHeaders { after: START, headers: chain[..2_000].to_vec(), is_full: true };
            tracker.take(peer(number), &check);
        }
        assert_eq!(tracker.agree().unwrap().headers.len(), 3_990);
    }

    /// Two peers against two, on a longer branch.
    #[test]
    fn a_tie_is_decided_by_work_only_where_it_costs_some() {
        let old = branch(START, 1, 10);
        let longer = branch(old[5].hash, 2, 50);
        for (network, moves) in [(Network::Mainnet, true), (Network::Regtest, false)] {
            let mut tracker = TipTracker::new(network, (100, START), &old);
            (1..=4).for_each(|number| tracker.join(peer(number)));
            (1..=2).for_each(|number| has(&mut tracker, number, START, &old));
            (3..=4).for_each(|number| has(&mut tracker, number, old[5].hash, &longer));
            assert_eq!(tracker.agree().is_some(), moves, "{network}");
            has(&mut tracker, 2, old[5].hash, &longer[..1]);
            assert_eq!(tracker.agree().is_some(), !moves, "{network}: one more");
        }
    }

    #[test]
    fn a_reorganization_follows_the_majority_and_gives_the_new_blocks() {
        let old = branch(START, 1, 10);
        let new = branch(old[5].hash, 2, 6);
        let mut tracker = tracker(&old, 3);
        (1..=3).for_each(|number| has(&mut tracker, number, START, &old));
        assert!(tracker.agree().is_none());
        has(&mut tracker, 1, old[5].hash, &new);
        assert!(tracker.agree().is_none(), "one peer alone decides nothing");
        has(&mut tracker, 2, old[5].hash, &new[..5]);
        let batch = tracker.agree().unwrap();
        assert_eq!((batch.first, batch.headers), (107, new[..5].to_vec()));
        assert_eq!(tracker.standing(peer(3)).unwrap().shared, 106);
        has(&mut tracker, 3, old[5].hash, &new);
        assert_eq!(tracker.agree().unwrap().headers, new[5..]);
    }

    #[test]
    fn a_reorganization_does_not_shorten_the_chain_to_what_is_shared() {
        let old = branch(START, 1, 5);
        let new = branch(old[3].hash, 2, 2);
        let mut tracker = tracker(&old, 3);
        has(&mut tracker, 1, START, &old);
        has(&mut tracker, 2, old[3].hash, &new);
        // Behind, on both.
        has(&mut tracker, 3, START, &old[..4]);
        assert!(tracker.agree().is_none());
        assert_eq!(tracker.agreed().0, 105);
    }

    #[test]
    fn old_blocks_are_settled_and_memory_stays() {
        let chain = branch(START, 1, 2_000);
        let mut tracker = tracker(&[], 3);
        let behind = 1_950;
        for end in (10..=2_000).step_by(10) {
            for number in 1..=2 {
                let after = if end > 10 { chain[end - 11].hash } else { START };
                has(&mut tracker, number, after, &chain[end - 10..end]);
            }
            if end == behind {
                has(&mut tracker, 3, chain[behind - 11].hash, &chain[behind - 10..behind]);
            }
            let batch = tracker.agree().unwrap();
            assert_eq!((batch.first, batch.headers), (91 + end as u32, chain[end - 10..end].to_vec()));
        }
        assert!(tracker.lowest() > 1_700, "{}", tracker.lowest());
        assert_eq!(tracker.standing(peer(3)).unwrap().shared, 100 + behind as u32);
        let fork = branch(chain[1_990].hash, 2, 12);
        (1..=2).for_each(|number| has(&mut tracker, number, chain[1_990].hash, &fork));
        assert_eq!(tracker.agree().unwrap().first, 2_092);
        // One that left long ago cannot be told from another chain, and is at no fault.
        let elsewhere = branch(chain[1_000].hash, 3, 5);
        let headers = elsewhere.iter().map(|header| header.header).collect();
        assert!(matches!(tracker.hear(headers), Heard::Elsewhere(_)));
    }

    /// Headers of regtest, with a hash that has done their work.
    fn headers(after: BlockHash, branch: u8, count: usize) -> (HeaderRules, Vec<CheckedHeader>) {
        fn low(bytes: &[u8]) -> [u8; 32] {
            let mut hash = qrinfo_core::sha256d(bytes);
            hash[31] = 0;
            hash
        }
        let mut before = after;
        let next = |_| {
            let mut bytes = [branch; 80];
            bytes[4..36].copy_from_slice(before.as_bytes());
            bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
            before = BlockHash::from_bytes(low(&bytes));
            CheckedHeader { header: BlockHeader::from_bytes(bytes), hash: before }
        };
        let headers = (0..count).map(next).collect();
        (HeaderRules::from(Network::Regtest).hash(low), headers)
    }

    #[test]
    fn a_peer_that_left_far_below_has_its_place_on_the_whole_chain() {
        let (rules, ours) = headers(START, 1, 5_000);
        let mut chain = HeaderChain::new(100, START);
        chain.extend(&ours);
        let tracker = TipTracker::new(rules.clone(), (4_936, ours[4_835].hash), &ours[4_836..]);
        let raw = |headers: &[CheckedHeader]| headers.iter().map(|header| header.header).collect::<Vec<_>>();
        let (_, theirs) = headers(ours[2_999].hash, 2, 10);
        let below = |headers: &[CheckedHeader]| tracker.below(&chain, &raw(headers));
        let left = Below { shared: 3_100, next: Some(theirs[0].header) };
        // From the fork, from far below it, and with the fork behind the last of ours.
        assert_eq!(below(&theirs), Ok(Some(left)));
        assert_eq!(below(&[&ours[1_000..3_000], &theirs[..3]].concat()), Ok(Some(left)));
        assert_eq!(below(&[&ours[2_000..3_000], &theirs[..1]].concat()), Ok(Some(left)));
        // A peer that is behind, and one of another chain.
        assert_eq!(below(&ours[1_000..1_500]), Ok(Some(Below { shared: 1_600, next: None })));
        assert_eq!(below(&headers(BlockHash::from_bytes([8; 32]), 2, 3).1), Ok(None));
        // A header without work, and a branch below a checkpoint.
        let mut idle = raw(&theirs[..1]);
        let mut bytes = *idle[0].as_bytes();
        bytes[72..76].copy_from_slice(&0x1d00_ffff_u32.to_le_bytes());
        idle[0] = BlockHeader::from_bytes(bytes);
        assert!(tracker.below(&chain, &idle).is_err());
        let rules = rules.checkpoints([(4_000, ours[3_899].hash)]);
        let tracker = TipTracker::new(rules, (4_936, ours[4_835].hash), &ours[4_836..]);
        assert_eq!(tracker.below(&chain, &raw(&theirs)), Ok(None));
    }

    #[test]
    fn a_peer_cannot_fill_the_memory() {
        let mut tracker = tracker(&[], 2);
        let long = branch(START, 1, 5_000);
        let headers = long.iter().map(|header| header.header).collect();
        let Heard::Check(check) = tracker.hear(headers) else { panic!("they follow the start") };
        assert_eq!(check.len(), AHEAD as usize);
        for number in 0..200 {
            has(&mut tracker, 1, START, &branch(START, 3, 1 + number));
            has(&mut tracker, 1, START, &branch(START, 4 + number as u8, 10));
        }
        assert!(tracker.tree.branches() <= BRANCHES_EACH * 3, "{}", tracker.tree.branches());
        let check = TipHeaders { after: START, headers: long[..4_000].to_vec(), is_full: true };
        assert!(tracker.take(peer(1), &check) && tracker.is_far_ahead(peer(1)));
        let headers = long[4_000..].iter().map(|header| header.header).collect();
        let Heard::Check(check) = tracker.hear(headers) else { panic!("they follow") };
        assert!(check.is_empty() && check.is_full, "it is asked again when others have caught up");
        has(&mut tracker, 2, START, &long[..1]);
        assert_eq!(tracker.agree().unwrap().headers.len(), 1);
    }
}
