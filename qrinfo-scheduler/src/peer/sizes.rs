//! The lengths of replies.

use std::collections::VecDeque;

/// The number of latest replies that are kept: enough for a distribution, small enough to follow a plan whose
/// replies grow.
const REMEMBERED: usize = 128;

/// The length assumed before any reply came, bytes: a mainnet `qrinfo` from bases some cycles back.
const PRIOR: f64 = 300_000.0;

/// The lengths of the latest replies, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    latest: VecDeque<f64>,
    sum: f64,
    longest: u64,
}

// === impl Sizes ===

impl Sizes {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.longest = self.longest.max(bytes);
        let bytes = bytes as f64;
        if self.latest.len() == REMEMBERED {
            self.sum -= self.latest.pop_front().unwrap_or_default();
        }
        self.latest.push_back(bytes);
        self.sum += bytes;
    }

    pub(crate) fn mean(&self) -> f64 {
        (self.sum + PRIOR) / (self.latest.len() + 1) as f64
    }

    /// The length of the longest reply so far; 0 before any.
    pub(crate) fn longest(&self) -> u64 {
        self.longest
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
            sizes.add(100_000);
        }
        assert!(sizes.residual(0.0) > 99_000.0);
        assert!(sizes.residual(90_000.0) < 11_000.0);
        assert!(sizes.residual(2_000_000.0) >= 1_600_000.0);
        assert_eq!(sizes.latest.len(), REMEMBERED);
    }
}
