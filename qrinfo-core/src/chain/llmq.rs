//! Long-living masternode quorums (LLMQ): their types and parameters.
//!
//! The figures are those of Dash Core 23's `llmq/params.h`.

use std::ops::RangeInclusive;

/// The number of a kind of quorum on the wire. A number without parameters here is kept as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
pub struct LlmqType(pub u8);

impl LlmqType {
    /// 60 members, rotated: InstantSend on mainnet and testnet.
    pub const LLMQ_60_75: Self = Self(5);
    /// Rotated quorums of regtest.
    pub const LLMQ_TEST_DIP0024: Self = Self(103);
    /// Rotated quorums of devnets.
    pub const LLMQ_DEVNET_DIP0024: Self = Self(105);

    /// This type's parameters, or `None` for a number that Dash Core 23 does not know.
    ///
    /// ```
    /// use qrinfo_core::LlmqType;
    ///
    /// let params = LlmqType::LLMQ_60_75.params().ok_or("unknown type")?;
    /// assert_eq!((params.size, params.threshold, params.interval), (60, 45, 288));
    /// assert_eq!(LlmqType(200).params(), None);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn params(self) -> Option<LlmqParams> {
        LlmqParams::ALL.into_iter().find(|params| params.llmq_type == self)
    }
}

/// The consensus parameters of one kind of quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LlmqParams {
    /// The kind these parameters belong to.
    pub llmq_type: LlmqType,
    /// Members of a quorum.
    pub size: u16,
    /// Members that must take part for a commitment to count.
    pub min_size: u16,
    /// Members whose signature shares make a signature.
    pub threshold: u16,
    /// Blocks from one DKG to the next; for rotated quorums the length of a cycle.
    pub interval: u32,
    /// Quorums that are active at a time; for rotated quorums also the number of quorum indexes.
    pub active: u16,
    /// True if members are selected by rotation (DIP-24).
    pub rotated: bool,
    /// First block of the window in which a commitment may be mined, counted from the DKG's (or cycle's) start.
    pub mining_window_start: u32,
    /// Last block of that window.
    pub mining_window_end: u32,
}

impl LlmqParams {
    /// Rotated quorums of mainnet and testnet.
    pub const LLMQ_60_75: Self = params(5, [60, 50, 45], 288, 32, true, (42, 50));
    /// Rotated quorums of regtest.
    pub const LLMQ_TEST_DIP0024: Self = params(103, [4, 4, 3], 24, 2, true, (12, 20));
    /// Rotated quorums of devnets.
    pub const LLMQ_DEVNET_DIP0024: Self = params(105, [8, 6, 4], 48, 2, true, (12, 20));

    /// Every kind that Dash Core 23 knows.
    pub const ALL: [Self; 14] = [
        params(1, [50, 40, 30], 24, 24, false, (10, 18)),
        params(2, [400, 300, 240], 288, 4, false, (20, 28)),
        params(3, [400, 350, 340], 576, 4, false, (20, 48)),
        params(4, [100, 80, 67], 24, 24, false, (10, 18)),
        Self::LLMQ_60_75,
        params(6, [25, 22, 17], 24, 24, false, (10, 18)),
        params(100, [3, 2, 2], 24, 2, false, (10, 18)),
        params(101, [12, 7, 6], 24, 4, false, (10, 18)),
        params(102, [3, 2, 2], 24, 2, false, (10, 18)),
        Self::LLMQ_TEST_DIP0024,
        params(104, [3, 2, 2], 24, 2, false, (10, 18)),
        Self::LLMQ_DEVNET_DIP0024,
        params(106, [3, 2, 2], 24, 2, false, (10, 18)),
        params(107, [12, 9, 8], 24, 4, false, (10, 18)),
    ];

    /// The heights at which a commitment of the DKG (or cycle) that started at `start` may be mined.
    ///
    /// ```
    /// use qrinfo_core::LlmqParams;
    ///
    /// assert_eq!(LlmqParams::LLMQ_60_75.mining_window(2_240_352), 2_240_394..=2_240_402);
    /// ```
    pub fn mining_window(&self, start: u32) -> RangeInclusive<u32> {
        start.saturating_add(self.mining_window_start)..=start.saturating_add(self.mining_window_end)
    }
}

const fn params(
    llmq_type: u8,
    [size, min_size, threshold]: [u16; 3],
    interval: u32,
    active: u16,
    rotated: bool,
    (mining_window_start, mining_window_end): (u32, u32),
) -> LlmqParams {
    LlmqParams {
        llmq_type: LlmqType(llmq_type),
        size,
        min_size,
        threshold,
        interval,
        active,
        rotated,
        mining_window_start,
        mining_window_end,
    }
}
