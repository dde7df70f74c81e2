use std::collections::BTreeSet;

use qrinfo_core::BlockHash;

/// Heights by the first four bytes of their hashes, for part of a chain.
///
/// A height may be out of date, or belong to another hash with the same bytes: compare with the hash that is stored.
#[derive(Debug, Default)]
pub(crate) struct Index {
    heights: BTreeSet<(u32, u32)>,
    /// All stored heights below this one are in the index.
    end: u32,
}

// === impl Index ===

impl Index {
    /// The height at which the index ends: the first one that may be missing.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Adds the hash at the next height.
    pub(crate) fn add(&mut self, height: u32, hash: &BlockHash) {
        self.heights.insert((prefix(hash), height));
        self.end = height.saturating_add(1);
    }

    /// Notes that hashes from this height on have changed.
    pub(crate) fn cut(&mut self, height: u32) {
        if height < self.end {
            self.end = height;
            self.heights.retain(|(_, stored)| *stored < height);
        }
    }

    /// Heights that may have this hash.
    pub(crate) fn candidates(&self, hash: &BlockHash) -> Vec<u32> {
        let prefix = prefix(hash);
        self.heights.range((prefix, 0)..=(prefix, u32::MAX)).map(|(_, height)| *height).collect()
    }
}

/// The last bytes of a hash are zero by its work, the first ones are random.
fn prefix(hash: &BlockHash) -> u32 {
    hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
