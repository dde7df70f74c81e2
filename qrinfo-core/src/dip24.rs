//! The arithmetic of DIP-24: cycles, work blocks, and which block to ask for.
//!
//! A *cycle* starts at every height that is a multiple of the DKG interval `C`. The masternode list that its quorums
//! are drawn from is the one of its *work block*, eight blocks earlier.

use crate::llmq::LlmqParams;

/// How far below a cycle's start its work block lies (Dash Core's `WORK_DIFF_DEPTH`).
pub const WORK_BLOCK_OFFSET: u32 = 8;

/// How many earlier cycles a `qrinfo` reaches back to when the extra share is asked for: `H-4C`.
pub const CYCLES_BACK: u32 = 4;

/// The cycles of one kind of rotated quorum.
///
/// ```
/// use qrinfo_core::Network;
///
/// let cycles = Network::Mainnet.cycles();
/// assert_eq!(cycles.start(2_240_504), 2_240_352);
/// assert_eq!(cycles.work_height(2_240_504), Some(2_240_344));
/// // A past cycle is asked for by its last block, the newest one by the tip.
/// assert_eq!(cycles.block_to_ask(2_240_064, 2_240_504), 2_240_351);
/// assert_eq!(cycles.block_to_ask(2_240_352, 2_240_504), 2_240_504);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycles {
    length: u32,
}

impl Cycles {
    /// The cycles of quorums with these parameters.
    pub const fn of(params: LlmqParams) -> Self {
        Self { length: params.interval }
    }

    /// The length of a cycle in blocks, DIP-24's `C`.
    pub const fn length(self) -> u32 {
        self.length
    }

    /// The first block of the cycle that `height` lies in.
    pub const fn start(self, height: u32) -> u32 {
        height - height % self.length
    }

    /// The last block of the cycle that `height` lies in.
    pub const fn end(self, height: u32) -> u32 {
        self.start(height).saturating_add(self.length - 1)
    }

    /// The work block of the cycle that `height` lies in, or `None` where it would lie before the first block.
    pub const fn work_height(self, height: u32) -> Option<u32> {
        self.start(height).checked_sub(WORK_BLOCK_OFFSET)
    }

    /// The work block of the cycle `back` cycles before the one that `height` lies in.
    pub const fn work_height_back(self, height: u32, back: u32) -> Option<u32> {
        match self.start(height).checked_sub(self.length.saturating_mul(back)) {
            Some(start) => start.checked_sub(WORK_BLOCK_OFFSET),
            None => None,
        }
    }

    /// Returns `true` for the height of a work block.
    pub const fn is_work_height(self, height: u32) -> bool {
        match height.checked_add(WORK_BLOCK_OFFSET) {
            Some(start) => start == self.start(start),
            None => false,
        }
    }

    /// The block whose `qrinfo` brings the quorums of the cycle that `height` lies in: that cycle's last block, or the
    /// tip while the cycle is under way.
    ///
    /// Asked for an earlier block of the cycle, a node answers with the commitments of the cycle before: the list of
    /// last commitments follows the requested block, not the work block.
    pub const fn block_to_ask(self, height: u32, tip: u32) -> u32 {
        let end = self.end(height);
        if end < tip { end } else { tip }
    }
}

#[cfg(test)]
mod tests {
    use crate::Network;

    #[test]
    fn work_blocks_before_the_chain_do_not_exist() {
        let cycles = Network::Regtest.cycles();
        assert_eq!(cycles.work_height(23), None);
        assert_eq!(cycles.work_height(24), Some(16));
        assert!(cycles.is_work_height(16) && !cycles.is_work_height(24) && !cycles.is_work_height(u32::MAX));
        assert_eq!(cycles.work_height_back(263, 4), Some(136));
        assert_eq!(cycles.work_height_back(100, 4), None);
        assert_eq!(cycles.work_height_back(u32::MAX, u32::MAX), None);
        assert_eq!(cycles.end(u32::MAX), u32::MAX);
    }
}
