use std::iter;

use qrinfo_core::{BlockHash, Hash256, Target};

use crate::check::{CheckedHeader, HeaderError};

/// The hashes and merkle roots of one chain of headers, from a block that is taken on trust.
///
/// It grows by [`connect`](Self::connect), and changes to a branch that has done more work.
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
    /// From `start` on; never empty. The work of the first is not counted.
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    hash: BlockHash,
    work: u128,
    /// Zero for the block taken on trust, whose header is not there.
    merkle_root: Hash256,
}

/// How headers changed a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The height of the first new header.
    pub first: u32,
    /// How many there are.
    pub count: usize,
    /// How many headers of our chain they replaced.
    pub replaced: usize,
}

impl HeaderChain {
    /// A chain of one block, which is taken on trust: genesis, or a checkpoint.
    pub fn new(height: u32, hash: BlockHash) -> Self {
        Self { start: height, blocks: vec![Block { hash, work: 0, merkle_root: Hash256::ZERO }] }
    }

    /// Goes on from headers that were checked before, such as stored ones. The first must follow the chain's tip.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
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
        self.start.saturating_add(u32::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// The hash at a height between start and tip.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.blocks.get(height.checked_sub(self.start)? as usize).map(|block| block.hash)
    }

    /// Height, hash and merkle root of every block above the one taken on trust.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, BlockHash, Hash256)> {
        (self.start..).zip(&self.blocks).skip(1).map(|(height, block)| (height, block.hash, block.merkle_root))
    }

    /// Hashes by which a peer finds the newest block that it shares with us: the newest ten, then ever greater steps
    /// down to the start.
    pub fn locator(&self) -> Vec<BlockHash> {
        let steps = iter::successors(Some((0_usize, 1_usize)), |&(depth, step)| {
            Some((depth.checked_add(step)?, if depth < 9 { 1 } else { step.checked_mul(2)? }))
        });
        let newest_first = steps.map_while(|(depth, _)| self.blocks.len().checked_sub(depth + 1));
        let mut locator: Vec<_> = newest_first.filter_map(|at| Some(self.blocks.get(at)?.hash)).collect();
        if let Some(start) = self.blocks.first()
            && locator.last() != Some(&start.hash)
        {
            locator.push(start.hash);
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
        let Some(parent) = self.blocks.iter().rposition(|block| block.hash == before) else {
            let is_start = self.blocks.first().is_some_and(|block| block.hash == first.hash);
            return Err(if is_start { HeaderError::BelowStart(self.start) } else { HeaderError::Unconnected(before) });
        };
        let ours = self.blocks.iter().skip(parent + 1);
        let known = headers.iter().zip(ours).take_while(|(header, block)| header.hash == block.hash).count();
        let (fork, new) = (parent + known, headers.get(known..).unwrap_or_default());
        let replaced = if new.is_empty() { 0 } else { self.blocks.len() - (fork + 1) };
        let fork_height = self.start.saturating_add(u32::try_from(fork).unwrap_or(u32::MAX));
        if u32::try_from(new.len()).ok().and_then(|new| fork_height.checked_add(new)).is_none() {
            return Err(HeaderError::TooHigh);
        }
        let blocks: Vec<_> = new.iter().map(Block::of).collect();
        let work = |blocks: &[Block]| blocks.iter().fold(0_u128, |sum, block| sum.saturating_add(block.work));
        if replaced > 0 && work(&blocks) <= work(self.blocks.get(fork + 1..).unwrap_or_default()) {
            return Err(HeaderError::LessWork { fork: fork_height });
        }
        if !blocks.is_empty() {
            self.blocks.truncate(fork + 1);
            self.blocks.extend_from_slice(&blocks);
        }
        Ok(Extension { first: fork_height.saturating_add(1), count: blocks.len(), replaced })
    }
}

impl Block {
    fn of(header: &CheckedHeader) -> Self {
        let work = Target::from_bits(header.header.bits()).map_or(0, |target| target.work());
        Self { hash: header.hash, work, merkle_root: header.header.merkle_root() }
    }
}

#[cfg(test)]
mod tests {
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

    fn branch(from: BlockHash, branch: u8, count: usize) -> Vec<CheckedHeader> {
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
