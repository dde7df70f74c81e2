//! A ceiling that congestion lowers: additive increase, multiplicative decrease.

use qrinfo_core::AttemptErrorKind;

/// A limit that halves when a peer times out or disconnects, and grows by one after as many good replies as its value.
///
/// A refusal does not move it: a refusal means that the peer lacks a block, not that it is overloaded.
#[derive(Debug, Clone)]
pub(crate) struct Aimd {
    limit: f64,
    max: f64,
}

// === impl Aimd ===

impl Aimd {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { limit: max, max }
    }

    /// At least one, so that a request can show when the congestion is over.
    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(crate) fn increase(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.max);
    }

    pub(crate) fn decrease(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// Returns true if a failure is a sign of overload.
    pub(crate) fn is_congestion(kind: AttemptErrorKind) -> bool {
        matches!(kind, AttemptErrorKind::Timeout | AttemptErrorKind::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_to_one_and_comes_back_slowly() {
        let mut aimd = Aimd::new(8);
        for expected in [4, 2, 1, 1] {
            aimd.decrease();
            assert_eq!(aimd.limit(), expected);
        }
        for _ in 0..3 {
            aimd.increase();
        }
        assert_eq!(aimd.limit(), 2);
        for _ in 0..100 {
            aimd.increase();
        }
        assert_eq!(aimd.limit(), 8);
    }
}
