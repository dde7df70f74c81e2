//! A chain of made-up headers.

use std::ops::Range;

use qrinfo_core::{BlockHash, BlockHeader};

pub(crate) type Entry = (BlockHeader, BlockHash);

pub(crate) fn hash(height: u32, branch: u8) -> BlockHash {
    let mut bytes = [branch; 32];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

/// Headers of a branch. Each names the one before it, the first one a block of branch `from`.
pub(crate) fn fork(heights: Range<u32>, branch: u8, from: u8) -> Vec<Entry> {
    let first = heights.start;
    let parent = |height: u32| hash(height.wrapping_sub(1), if height == first { from } else { branch });
    heights.map(|height| (header(parent(height), height), hash(height, branch))).collect()
}

/// Headers of one branch.
pub(crate) fn headers(heights: Range<u32>, branch: u8) -> Vec<Entry> {
    fork(heights, branch, branch)
}

fn header(parent: BlockHash, height: u32) -> BlockHeader {
    let mut bytes = [height as u8; 80];
    bytes[4..36].copy_from_slice(parent.as_bytes());
    BlockHeader::from_bytes(bytes)
}
