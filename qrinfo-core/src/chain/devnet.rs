use std::ops::RangeInclusive;

use crate::chain::{LlmqParams, LlmqType, WORK_BLOCK_OFFSET};

/// The parameters that the makers of a devnet choose. The default is Dash Core's.
///
/// ```
/// use qrinfo_core::{Devnet, LlmqParams, Network};
///
/// // dashd -devnet=NAME -llmqinstantsenddip0024=llmq_60_75
/// let devnet = Network::Devnet(Devnet::default().with_rotated(LlmqParams::LLMQ_60_75)?);
/// assert_eq!(devnet.cycles().length(), 288);
/// assert_eq!(Network::DEVNET.cycles().length(), 48);
/// # Ok::<(), qrinfo_core::DevnetError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Devnet {
    pub(super) rotated: LlmqParams,
    /// The type of the quorums that sign ChainLocks, Dash Core's `-llmqchainlocks`. Default: 101.
    pub chain_locks: LlmqType,
}

/// Error of parameters that rotated quorums cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DevnetError {
    /// The type is not one of the rotated ones.
    #[error("quorums of type {0} are not rotated; use 5, 103 or 105")]
    Type(LlmqType),
    /// The size is out of range, or the quorum has no four equal quarters.
    #[error("{0} members are no rotated quorum; use a multiple of 4, at least 4, at most 400")]
    Size(u16),
    /// The three numbers of members are not in order.
    #[error("the threshold must be at least 1 and at most the least size, and that at most the size")]
    Threshold,
    /// The number of quorums is out of range.
    #[error("{0} active quorums are out of range; use {first} to {last}", first = ACTIVE.start(), last = ACTIVE.end())]
    Active(u16),
    /// The cycle has no room for its work block and its mining window.
    #[error("a cycle of {0} blocks has no room; the mining window must begin in it and end before its last block")]
    Interval(u32),
}

/// Numbers of quorums that are active at a time. A reply has room for 32 indexes.
const ACTIVE: RangeInclusive<u16> = 1..=32;

/// The most members of a quorum, those of Dash Core's largest type.
const LARGEST: u16 = 400;

// === impl Devnet ===

impl Devnet {
    pub(super) const DEFAULT: Self = Self { rotated: LlmqParams::LLMQ_DEVNET_DIP0024, chain_locks: LlmqType(101) };

    /// The parameters of the rotated quorums.
    pub const fn rotated(&self) -> LlmqParams {
        self.rotated
    }

    /// Sets the rotated quorums: their type (Dash Core's `-llmqinstantsenddip0024`) and its parameters.
    ///
    /// # Errors
    /// [`DevnetError`].
    pub fn with_rotated(self, rotated: LlmqParams) -> Result<Self, DevnetError> {
        let LlmqParams { size, min_size, threshold, active, interval, .. } = rotated;
        if !rotated.llmq_type.params().is_some_and(|known| known.rotated) {
            return Err(DevnetError::Type(rotated.llmq_type));
        }
        if !(4..=LARGEST).contains(&size) || !size.is_multiple_of(4) {
            return Err(DevnetError::Size(size));
        }
        if threshold == 0 || threshold > min_size || min_size > size {
            return Err(DevnetError::Threshold);
        }
        if !ACTIVE.contains(&active) {
            return Err(DevnetError::Active(active));
        }
        let (first, last) = (rotated.mining_window_start, rotated.mining_window_end);
        if interval <= WORK_BLOCK_OFFSET || first > last || last >= interval - 1 {
            return Err(DevnetError::Interval(interval));
        }
        Ok(Self { rotated: LlmqParams { rotated: true, ..rotated }, ..self })
    }
}

impl Default for Devnet {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_no_quorum_can_have_are_refused() {
        let rotated = LlmqParams::LLMQ_DEVNET_DIP0024;
        let refused = |change: fn(&mut LlmqParams)| {
            let mut rotated = rotated;
            change(&mut rotated);
            Devnet::default().with_rotated(rotated).unwrap_err()
        };
        assert_eq!(refused(|params| params.llmq_type = LlmqType(101)), DevnetError::Type(LlmqType(101)));
        assert_eq!(refused(|params| params.size = 0), DevnetError::Size(0));
        assert_eq!(refused(|params| params.size = 10), DevnetError::Size(10));
        assert_eq!(refused(|params| params.size = 404), DevnetError::Size(404));
        assert_eq!(refused(|params| params.threshold = 0), DevnetError::Threshold);
        assert_eq!(refused(|params| params.threshold = 7), DevnetError::Threshold);
        assert_eq!(refused(|params| params.min_size = 9), DevnetError::Threshold);
        assert_eq!(refused(|params| params.active = 33), DevnetError::Active(33));
        assert_eq!(refused(|params| params.interval = 0), DevnetError::Interval(0));
        assert_eq!(refused(|params| params.interval = 21), DevnetError::Interval(21));
        assert_eq!(refused(|params| params.mining_window_start = 21), DevnetError::Interval(48));
    }

    #[test]
    fn the_least_of_each_parameter_is_taken() {
        let least = LlmqParams {
            size: 4,
            min_size: 4,
            threshold: 4,
            active: 1,
            interval: 9,
            mining_window_start: 7,
            mining_window_end: 7,
            ..LlmqParams::LLMQ_DEVNET_DIP0024
        };
        assert_eq!(Devnet::default().with_rotated(least).map(|devnet| devnet.rotated()), Ok(least));
        let most = LlmqParams { size: 400, active: 32, mining_window_end: 46, ..LlmqParams::LLMQ_DEVNET_DIP0024 };
        assert_eq!(Devnet::default().with_rotated(most).map(|devnet| devnet.rotated()), Ok(most));
        let refused = LlmqParams { mining_window_end: 47, ..most };
        assert_eq!(Devnet::default().with_rotated(refused), Err(DevnetError::Interval(48)));
    }

    #[test]
    fn the_parameters_of_each_rotated_type_are_taken() {
        for params in LlmqParams::ALL.into_iter().filter(|params| params.rotated) {
            assert_eq!(Devnet::default().with_rotated(params).map(|devnet| devnet.rotated()), Ok(params));
            let unmarked = LlmqParams { rotated: false, ..params };
            assert_eq!(Devnet::default().with_rotated(unmarked).map(|devnet| devnet.rotated()), Ok(params));
        }
    }
}
