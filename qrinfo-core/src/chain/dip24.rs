//! The arithmetic of DIP-24: cycles, work blocks, and the block to request.
//!
//! A *cycle* starts at every height that is a multiple of the DKG interval `C`. The members of its quorums are selected
//! from the masternode list at its *work block*, eight blocks earlier.

use crate::chain::LlmqParams;

/// The distance from a work block to the start of its cycle, in blocks (Dash Core's `WORK_DIFF_DEPTH`).
pub const WORK_BLOCK_OFFSET: u32 = 8;

/// The number of earlier cycles that a `qrinfo` reaches back to if the extra share is requested: `H-4C`.
pub const CYCLES_BACK: u32 = 4;

/// The height of the first block of a cycle.
///
/// ```
/// use qrinfo_core::{CycleStart, Network};
///
/// let cycles = Network::Mainnet.cycles();
/// let start = CycleStart::new(2_240_352, cycles.length()).ok_or("not a multiple of 288")?;
/// assert_eq!(start, cycles.start_of(2_240_504));
/// assert_eq!(start.height(), 2_240_352);
/// assert_eq!(CycleStart::new(2_240_353, cycles.length()), None);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
pub struct CycleStart(u32);

/// The cycles of one kind of rotated quorum.
///
/// ```
/// use qrinfo_core::Network;
///
/// let cycles = Network::Mainnet.cycles();
/// let newest = cycles.start_of(2_240_504);
/// assert_eq!(newest.height(), 2_240_352);
/// assert_eq!(cycles.work_height(newest), Some(2_240_344));
/// // A past cycle is requested by its last block, the newest one by the tip.
/// assert_eq!(cycles.block_to_ask(cycles.start_of(2_240_064), 2_240_504), 2_240_351);
/// assert_eq!(cycles.block_to_ask(newest, 2_240_504), 2_240_504);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycles {
    length: u32,
}

// === impl CycleStart ===

impl CycleStart {
    /// Returns the start at this height, or `None` if no cycle of this length starts there.
    pub const fn new(height: u32, length: u32) -> Option<Self> {
        match height.checked_rem(length) {
            Some(0) => Some(Self(height)),
            _ => None,
        }
    }

    /// Returns the height of the block.
    pub const fn height(self) -> u32 {
        self.0
    }
}

// === impl Cycles ===

impl Cycles {
    /// Returns the cycles of quorums with these parameters.
    pub const fn of(params: LlmqParams) -> Self {
        Self { length: params.interval }
    }

    /// Returns the length of a cycle in blocks, DIP-24's `C`.
    pub const fn length(self) -> u32 {
        self.length
    }

    /// Returns the start of the cycle that contains `height`.
    pub const fn start_of(self, height: u32) -> CycleStart {
        CycleStart(height - height % self.length)
    }

    /// Returns the start of the cycle `back` cycles earlier, or `None` before the first cycle.
    pub const fn back(self, start: CycleStart, back: u32) -> Option<CycleStart> {
        match start.0.checked_sub(self.length.saturating_mul(back)) {
            Some(start) => Some(CycleStart(start)),
            None => None,
        }
    }

    /// Returns the height of the last block of a cycle.
    pub const fn end(self, start: CycleStart) -> u32 {
        start.0.saturating_add(self.length - 1)
    }

    /// Returns the height of a cycle's work block, or `None` if it would lie before the first block.
    pub const fn work_height(self, start: CycleStart) -> Option<u32> {
        start.0.checked_sub(WORK_BLOCK_OFFSET)
    }

    /// Returns the height of the work block of the cycle `back` cycles earlier, or `None` if there is no such block.
    pub const fn work_height_back(self, start: CycleStart, back: u32) -> Option<u32> {
        match self.back(start, back) {
            Some(start) => self.work_height(start),
            None => None,
        }
    }

    /// Returns true for the height of a work block.
    pub const fn is_work_height(self, height: u32) -> bool {
        match height.checked_add(WORK_BLOCK_OFFSET) {
            Some(start) => CycleStart::new(start, self.length).is_some(),
            None => false,
        }
    }

    /// Returns the height of the block whose `qrinfo` brings the quorums of a cycle: the cycle's last block, or the tip
    /// if the cycle is not complete.
    ///
    /// For an earlier block of the cycle a node answers with the commitments of the cycle before, because the list of
    /// last commitments depends on the requested block, not on the work block.
    pub const fn block_to_ask(self, start: CycleStart, tip: u32) -> u32 {
        let end = self.end(start);
        if end < tip { end } else { tip }
    }
}

#[cfg(test)]
mod tests {
    use super::CycleStart;
    use crate::chain::Network;

    #[test]
    fn work_blocks_before_the_chain_do_not_exist() {
        let cycles = Network::Regtest.cycles();
        let start = |height| cycles.start_of(height);
        assert_eq!(cycles.work_height(start(23)), None);
        assert_eq!(cycles.work_height(start(24)), Some(16));
        assert!(cycles.is_work_height(16) && !cycles.is_work_height(24) && !cycles.is_work_height(u32::MAX));
        assert_eq!(cycles.work_height_back(start(263), 4), Some(136));
        assert_eq!(cycles.work_height_back(start(100), 4), None);
        assert_eq!(cycles.work_height_back(start(u32::MAX), u32::MAX), None);
        assert_eq!(cycles.end(start(u32::MAX)), u32::MAX);
    }

    #[test]
    fn a_cycle_is_asked_for_at_its_last_block_or_at_the_tip() {
        let cycles = Network::Mainnet.cycles();
        assert_eq!(cycles.length(), 288);
        let start = cycles.start_of(1_000);
        assert_eq!((start.height(), cycles.end(start)), (864, 1_151));
        assert_eq!(
            [1_000, 1_150, 1_151, 1_152, 9_999].map(|tip| cycles.block_to_ask(start, tip)),
            [1_000, 1_150, 1_151, 1_151, 1_151]
        );
    }

    #[test]
    fn a_cycle_starts_at_multiples_of_its_length_alone() {
        let starts: Vec<_> = (0..60).filter_map(|height| CycleStart::new(height, 24)).map(CycleStart::height).collect();
        assert_eq!(starts, [0, 24, 48]);
        assert_eq!(CycleStart::new(24, 0), None);
    }
}
