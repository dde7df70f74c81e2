//! The lengths of replies.

use std::collections::VecDeque;

/// The number of latest replies that are kept: enough for a distribution, small enough to follow a plan whose
/// replies grow.
const REMEMBERED: usize = 128;

/// The length assumed before any reply came, bytes: a mainnet `qrinfo` from bases some cycles back.
const PRIOR: f64 = 300_000.0;

/// The weight of [`PRIOR`] in replies. A whole reply would still count a third above the truth after twenty of mainnet's.
const PRIOR_WEIGHT: f64 = 0.25;

/// A reply is implausibly long when it is announced to be longer than this many times the longest reply so far, and
/// than [`PLAUSIBLE_ANYWAY`].
const PLAUSIBLE_GROWTH: u64 = 8;

/// The length that is always plausible, bytes: a full list of mainnet is 0.6 MB, and a reply of an old server has six.
const PLAUSIBLE_ANYWAY: u64 = 4 << 20;

/// The lengths of the latest replies, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    latest: VecDeque<f64>,
    sum: f64,
    /// The longest complete reply.
    longest: u64,
}

// === impl Sizes ===

impl Sizes {
    /// Takes the length that the header of a reply announces, unless no true reply is likely to be so long.
    pub(crate) fn announced(&mut self, bytes: u64) {
        if !self.is_implausible(bytes) {
            self.add(bytes as f64);
        }
    }

    /// Takes the length of a reply that is complete. `is_counted` says that its header was taken, or that it is unlike all
    /// others.
    pub(crate) fn completed(&mut self, bytes: u64, is_counted: bool) {
        self.longest = self.longest.max(bytes);
        if !is_counted {
            self.add(bytes as f64);
        }
    }

    /// Returns true if no true reply of this plan is likely to be so long.
    pub(crate) fn is_implausible(&self, bytes: u64) -> bool {
        bytes > PLAUSIBLE_ANYWAY.max(self.longest.saturating_mul(PLAUSIBLE_GROWTH))
    }

    fn add(&mut self, bytes: f64) {
        if self.latest.len() == REMEMBERED {
            self.sum -= self.latest.pop_front().unwrap_or_default();
        }
        self.latest.push_back(bytes);
        self.sum += bytes;
    }

    pub(crate) fn mean(&self) -> f64 {
        (self.sum + PRIOR_WEIGHT * PRIOR) / (self.latest.len() as f64 + PRIOR_WEIGHT)
    }

    /// The expected rest of a reply of unknown length of which `seen` bytes have come.
    ///
    /// The mean over the longer replies so far, and one more that stands for the lengths not met yet: a reply that
    /// has grown beyond all others is expected to go on, for otherwise it would always be "nearly done".
    pub(crate) fn residual(&self, seen: f64) -> f64 {
        let unknown = (0.8 * seen).max(0.3 * self.mean());
        let (sum, n) = self
            .latest
            .iter()
            .filter(|&&size| size > seen)
            .fold((unknown, 1.0), |(sum, n), size| (sum + (size - seen), n + 1.0));
        sum / n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_longer_than_all_others_is_not_nearly_done() {
        let mut sizes = Sizes::default();
        for _ in 0..200 {
            sizes.completed(100_000, false);
        }
        assert_eq!(sizes.mean(), (128.0 * 100_000.0 + 75_000.0) / 128.25, "the latest 128");
        assert!(sizes.residual(0.0) > 99_000.0);
        assert!(sizes.residual(90_000.0) < 11_000.0);
        assert!(sizes.residual(2_000_000.0) >= 1_600_000.0);
        assert_eq!(sizes.latest.len(), REMEMBERED);
    }
}
