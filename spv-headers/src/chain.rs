use std::{collections::VecDeque, iter};

use qrinfo_core::{BlockHash, Hash256, Target};

use crate::{
    HeaderBatch,
    check::{CheckedHeader, HeaderError, Place},
    chunked::Chunked,
    target::{Pace, WINDOW},
};

/// The newest blocks of which everything is kept: four days of them. Replies are built at the tip of their peer.
const RECENT: usize = 2304;

/// The hashes and merkle roots of one chain of headers, from a block that is taken on trust.
///
/// It grows by [`connect`](Self::connect), and changes to a branch that has done more work. Clones are cheap: they share
/// all but the newest 2,304 blocks.
///
/// ```
/// use qrinfo_core::Network;
/// use spv_headers::HeaderChain;
///
/// let (height, hash) = Network::Mainnet.checkpoint_below(2_200_000);
/// let chain = HeaderChain::new(height, hash);
/// assert_eq!((chain.start(), chain.tip()), (2_175_051, 2_175_051));
/// assert_eq!(chain.hash_at(2_175_051), Some(hash));
/// assert_eq!(chain.hash_at(2_175_050), None);
/// ```
#[derive(Debug, Clone)]
pub struct HeaderChain {
    start: u32,
    /// From `start` on; never empty.
    hashes: Chunked<BlockHash>,
    /// The target of each block in compact form. The first, of which only the hash is known, has none and counts for
    /// no work.
    bits: Chunked<u32>,
    /// The times and merkle roots of the newest blocks, no more than [`RECENT`].
    recent: VecDeque<(u32, Hash256)>,
    /// The merkle roots of older blocks, at the heights that `old_heights` gives.
    old_roots: Chunked<Hash256>,
}

/// The change that headers made to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The height of the first new header.
    pub first: u32,
    /// The number of new headers.
    pub count: usize,
    /// The number of headers of our chain that they replaced.
    pub replaced: usize,
}

impl HeaderChain {
    /// A chain of one block, which is taken on trust: genesis, or a checkpoint.
    pub fn new(height: u32, hash: BlockHash) -> Self {
        let (hashes, bits) = (Chunked::from_iter([hash]), Chunked::from_iter([0]));
        Self { start: height, hashes, bits, recent: VecDeque::new(), old_roots: Chunked::new() }
    }

    /// Goes on from headers that were checked before, such as stored ones. The first must follow the chain's tip.
    ///
    /// # Errors
    /// The same as those of [`connect`](Self::connect).
    pub fn restore(&mut self, headers: impl IntoIterator<Item = CheckedHeader>) -> Result<(), HeaderError> {
        headers.into_iter().try_for_each(|header| self.connect(&[header]).map(drop))
    }

    /// The height of the block taken on trust.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The height of the newest header.
    pub fn tip(&self) -> u32 {
        // `connect` refuses what would not fit.
        self.start.saturating_add(u32::try_from(self.hashes.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// The hash of the newest header.
    pub fn tip_hash(&self) -> BlockHash {
        self.hashes.last().copied().unwrap_or(BlockHash::ZERO)
    }

    /// The hash at a height between start and tip.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(height.checked_sub(self.start)? as usize).copied()
    }

    /// The height of a block of this chain. It is searched for from the tip down.
    pub fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        let index = self.hashes.last_index_of(|ours| ours == hash)?;
        self.start.checked_add(u32::try_from(index).ok()?)
    }

    /// Height, hash and merkle root of the blocks that a quorum can be named after, that a reply can end at, or that is
    /// asked for: those of the newest 2,304, and below them the first 32 of each 288 and, of each 24, the first two,
    /// the last, and the one 8 below the next (all DKG intervals are multiples of 24). So a header takes fewer than 60
    /// bytes of memory. Heights of all others are told by [`height_of`](Self::height_of).
    pub fn blocks(&self) -> impl Iterator<Item = (u32, BlockHash, Hash256)> {
        let recent = (self.first_recent()..).zip(&self.recent).map(|(height, &(_, root))| (height, root));
        let roots = self.old_heights().zip(self.old_roots.iter().copied()).chain(recent);
        roots.filter_map(|(height, root)| Some((height, self.hash_at(height)?, root)))
    }

    /// The work of the blocks above a height.
    pub(crate) fn work_above(&self, height: u32) -> u128 {
        let above = self.index_above(height).into_iter().flat_map(|index| self.bits.starting_at(index));
        above.fold(0, |sum, &bits| sum.saturating_add(work(bits)))
    }

    /// The place of a header that follows the block at `height`. Its window is empty deep below the tip.
    pub(crate) fn place_after(&self, height: u32) -> Place {
        let depth = self.tip().saturating_sub(height) as usize;
        let newest_first = self.recent.iter().rev().zip(self.bits.iter().rev()).skip(depth).take(WINDOW);
        let mut window: Vec<_> = newest_first.map(|(&(time, _), &bits)| Pace { time, bits }).collect();
        window.reverse();
        Place { height: height.saturating_add(1), window: window.into_iter().collect() }
    }

    /// The height of the oldest of the recent blocks.
    fn first_recent(&self) -> u32 {
        (self.tip() + 1).saturating_sub(self.recent.len() as u32)
    }

    /// The heights below the recent blocks whose merkle roots are kept.
    fn old_heights(&self) -> impl Iterator<Item = u32> {
        (self.start.saturating_add(1)..self.first_recent()).filter(|height| keeps_root(*height))
    }

    fn index_above(&self, height: u32) -> Option<usize> {
        Some(height.checked_sub(self.start)? as usize + 1)
    }

    /// Hashes by which a peer finds the newest block that it shares with us: the newest ten, then ever greater steps
    /// down to the start.
    pub fn locator(&self) -> Vec<BlockHash> {
        let steps = iter::successors(Some((0_usize, 1_usize)), |&(depth, step)| {
            Some((depth.checked_add(step)?, if depth < 9 { 1 } else { step.checked_mul(2)? }))
        });
        let newest_first = steps.map_while(|(depth, _)| self.hashes.len().checked_sub(depth + 1));
        let mut locator: Vec<_> = newest_first.filter_map(|at| self.hashes.get(at).copied()).collect();
        if let Some(start) = self.hashes.first()
            && locator.last() != Some(start)
        {
            locator.push(*start);
        }
        locator
    }

    /// Adds headers that follow a block of ours. Those that we have are passed over. Where the others leave our chain,
    /// they replace what is above the fork, if they have done more work.
    ///
    /// # Errors
    /// [`HeaderError`] if they do not fit; the chain is then as it was.
    pub fn connect(&mut self, headers: &[CheckedHeader]) -> Result<Extension, HeaderError> {
        let Some(first) = headers.first() else {
            return Ok(Extension { first: self.tip().saturating_add(1), count: 0, replaced: 0 });
        };
        let before = first.header.prev_block_hash();
        let Some(parent) = self.hashes.last_index_of(|hash| *hash == before) else {
            let is_start = self.hashes.first().is_some_and(|hash| *hash == first.hash);
            return Err(if is_start { HeaderError::BelowStart(self.start) } else { HeaderError::Unconnected(before) });
        };
        let ours = self.hashes.starting_at(parent + 1);
        let known = headers.iter().zip(ours).take_while(|(header, hash)| header.hash == **hash).count();
        let (fork, new) = (parent + known, headers.get(known..).unwrap_or_default());
        let replaced = if new.is_empty() { 0 } else { self.hashes.len() - (fork + 1) };
        let fork_height = self.start.saturating_add(u32::try_from(fork).unwrap_or(u32::MAX));
        if u32::try_from(new.len()).ok().and_then(|new| fork_height.checked_add(new)).is_none() {
            return Err(HeaderError::TooHigh);
        }
        let theirs = new.iter().fold(0_u128, |sum, header| sum.saturating_add(work(header.header.bits())));
        if replaced > 0 && theirs <= self.work_above(fork_height) {
            return Err(HeaderError::LessWork { fork: fork_height });
        }
        if replaced > 0 {
            self.truncate(fork_height);
        }
        self.extend(new);
        Ok(Extension { first: fork_height.saturating_add(1), count: new.len(), replaced })
    }

    /// Replaces the blocks from a batch's first height on by its headers, whatever work they have done: the chain that
    /// peers agreed on. Returns `false`, and changes nothing, if the batch does not follow a block of this chain.
    pub fn replace(&mut self, batch: &HeaderBatch) -> bool {
        let below = batch.first.checked_sub(1);
        let parent = below.and_then(|below| self.hash_at(below));
        let is_next = |parent| batch.headers.first().is_none_or(|first| first.header.prev_block_hash() == parent);
        let follows = parent.is_some_and(is_next);
        if let Some(below) = below.filter(|_| follows) {
            self.truncate(below);
            self.extend(&batch.headers);
        }
        follows
    }

    /// Takes away the blocks above a height.
    pub(crate) fn truncate(&mut self, height: u32) {
        let Some(length) = self.index_above(height).filter(|length| *length < self.hashes.len()) else { return };
        let removed = self.hashes.len() - length;
        self.hashes.truncate(length);
        self.bits.truncate(length);
        self.recent.truncate(self.recent.len().saturating_sub(removed));
        self.old_roots.truncate(self.old_heights().count());
    }

    /// The chain without its newest blocks, if too little is known of them: it left a longer one, and the merkle roots of
    /// the blocks below were those of too old ones.
    pub(crate) fn lower_start(&self) -> Option<Self> {
        let all = self.hashes.len() - 1;
        let is_known = self.recent.len() >= all.min(RECENT / 2);
        let mut lower = (!is_known).then(|| self.clone())?;
        lower.truncate(self.tip().saturating_sub(RECENT as u32).max(self.start));
        Some(lower)
    }

    /// Adds headers that follow the tip; the caller has made sure that they do.
    pub(crate) fn extend(&mut self, headers: &[CheckedHeader]) {
        for header in headers {
            self.hashes.push(header.hash);
            self.bits.push(header.header.bits());
            self.recent.push_back((header.header.time(), header.header.merkle_root()));
            if self.recent.len() > RECENT
                && let Some((_, root)) = self.recent.pop_front()
                && keeps_root(self.first_recent().saturating_sub(1))
            {
                self.old_roots.push(root);
            }
        }
    }
}

/// Returns `true` for the heights below the newest blocks whose merkle roots are kept.
fn keeps_root(height: u32) -> bool {
    height % 288 < 32 || matches!(height % 24, 0 | 1 | 16 | 23)
}

/// The work that a target in compact form stands for; none for what is no target.
pub(crate) fn work(bits: u32) -> u128 {
    Target::from_bits(bits).map_or(0, |target| target.work())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use qrinfo_core::BlockHeader;

    use super::*;

    /// A header on top of `prev` whose hash is made from `prev` and a branch number: no work is needed here.
    fn header(prev: BlockHash, branch: u8) -> CheckedHeader {
        let mut bytes = [branch; 80];
        bytes[4..36].copy_from_slice(prev.as_bytes());
        bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        let hash = BlockHash::from_bytes(qrinfo_core::sha256d(&bytes));
        CheckedHeader { header: BlockHeader::from_bytes(bytes), hash }
    }

    pub(crate) fn branch(from: BlockHash, branch: u8, count: usize) -> Vec<CheckedHeader> {
        let mut prev = from;
        std::iter::repeat_with(|| {
            let next = header(prev, branch);
            prev = next.hash;
            next
        })
        .take(count)
        .collect()
    }

    #[test]
    fn a_branch_takes_over_only_with_more_work() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut chain = HeaderChain::new(100, start);
        let ours = branch(start, 1, 10);
        assert_eq!(chain.connect(&ours), Ok(Extension { first: 101, count: 10, replaced: 0 }));
        let fork = ours[4].hash;
        assert_eq!(chain.connect(&branch(fork, 2, 5)), Err(HeaderError::LessWork { fork: 105 }));
        assert_eq!((chain.tip(), chain.hash_at(110)), (110, Some(ours[9].hash)));
        let expected = |(height, header): (u32, &CheckedHeader)| (height, header.hash, header.header.merkle_root());
        assert!(chain.blocks().eq((101..).zip(&ours).map(expected)));
        let theirs = branch(fork, 2, 6);
        assert_eq!(chain.connect(&theirs), Ok(Extension { first: 106, count: 6, replaced: 5 }));
        assert_eq!((chain.tip(), chain.hash_at(111)), (111, Some(theirs[5].hash)));
        assert_eq!(chain.hash_at(105), Some(fork));
    }

    /// Clones share what they have in common, and neither changes the other.
    #[test]
    fn a_clone_is_cheap_and_goes_its_own_way() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut chain = HeaderChain::new(100, start);
        let ours = branch(start, 1, 20_000);
        chain.connect(&ours).unwrap();
        let (mut longer, mut other) = (chain.clone(), chain.clone());
        longer.connect(&branch(chain.tip_hash(), 2, 30)).unwrap();
        other.connect(&branch(ours[9_999].hash, 3, 10_001)).unwrap();
        assert_eq!((chain.tip(), longer.tip(), other.tip()), (20_100, 20_130, 20_101));
        assert!((101..=20_100).zip(&ours).all(|(height, header)| chain.hash_at(height) == Some(header.hash)));
        assert_eq!(longer.hash_at(20_100), chain.hash_at(20_100));
        assert_eq!((other.hash_at(10_100), chain.height_of(&other.tip_hash())), (chain.hash_at(10_100), None));
        for chain in [&chain, &other] {
            assert!(chain.blocks().all(|(height, hash, _)| chain.hash_at(height) == Some(hash)));
        }
        let below: Vec<_> = chain.blocks().take_while(|(height, ..)| *height <= 10_100).collect();
        assert!(below.len() > 2_000 && other.blocks().take(below.len()).eq(below));
        let taken = allocation_counter::measure(|| drop(chain.clone()));
        assert!(taken.bytes_max < 200_000, "{taken:?}");
    }

    #[test]
    fn a_batch_replaces_what_is_above_its_first_height() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut chain = HeaderChain::new(100, start);
        let ours = branch(start, 1, 10);
        assert!(chain.replace(&HeaderBatch { first: 101, headers: ours.clone() }));
        // With less work: the peers have agreed on it.
        let theirs = branch(ours[4].hash, 2, 2);
        assert!(!chain.replace(&HeaderBatch { first: 107, headers: theirs.clone() }));
        assert!(!chain.replace(&HeaderBatch { first: 112, headers: Vec::new() }));
        assert_eq!(chain.tip(), 110);
        assert!(chain.replace(&HeaderBatch { first: 106, headers: theirs.clone() }));
        assert_eq!((chain.tip(), chain.tip_hash()), (107, theirs[1].hash));
        assert_eq!(chain.blocks().count(), 7);
    }

    #[test]
    fn headers_that_we_have_are_passed_over() {
        let start = BlockHash::from_bytes([9; 32]);
        let mut chain = HeaderChain::new(0, start);
        let all = branch(start, 1, 10);
        chain.connect(&all[..6]).unwrap();
        assert_eq!(chain.connect(&all[2..]), Ok(Extension { first: 7, count: 4, replaced: 0 }));
        assert_eq!(chain.connect(&all[2..5]), Ok(Extension { first: 6, count: 0, replaced: 0 }));
        assert_eq!(chain.tip(), 10);
    }

    #[test]
    fn headers_from_elsewhere_are_refused() {
        let start = header(BlockHash::ZERO, 1);
        let mut chain = HeaderChain::new(50, start.hash);
        let unknown = BlockHash::from_bytes([7; 32]);
        assert_eq!(chain.connect(&branch(unknown, 1, 3)), Err(HeaderError::Unconnected(unknown)));
        assert_eq!(chain.connect(&[start]), Err(HeaderError::BelowStart(50)));
        assert_eq!(chain.tip(), 50);
        assert_eq!(chain.blocks().count(), 0);
        let mut high = HeaderChain::new(u32::MAX - 1, start.hash);
        assert_eq!(high.connect(&branch(start.hash, 1, 2)), Err(HeaderError::TooHigh));
        assert!(high.connect(&branch(start.hash, 1, 1)).is_ok());
    }

    proptest! {
        #[test]
        fn a_locator_is_short_starts_at_the_tip_and_ends_at_the_start(length in 0_usize..1500) {
            let start = BlockHash::from_bytes([9; 32]);
            let mut chain = HeaderChain::new(3, start);
            chain.connect(&branch(start, 1, length)).unwrap();
            let locator = chain.locator();
            prop_assert!(locator.len() <= 10 + 14);
            prop_assert_eq!(locator.first().copied(), chain.hash_at(chain.tip()));
            prop_assert_eq!(locator.last(), Some(&start));
            let mut unique = locator.clone();
            unique.dedup();
            prop_assert_eq!(unique, locator);
        }
    }
}
