//! The budget of copies that may be sent in addition to the requests themselves.

/// The number of requests for each of which one may be sent twice.
const REQUESTS_PER_COPY: i64 = 20;

/// The greatest number of copies that may be saved up.
const BURST: i64 = 32;

/// The copies that may be sent before any is earned: in a short plan one slow peer may hold up everything.
const ADVANCE: i64 = 4;

/// Copies that are still allowed: each request earns a part of one, each copy costs one.
///
/// Copies of requests at a stalled peer, and copies that save much, are never denied. They are counted, so that fewer
/// others follow.
#[derive(Debug)]
pub(crate) struct CopyBudget {
    /// In parts of a copy, [`REQUESTS_PER_COPY`] each.
    saved: i64,
}

// === impl CopyBudget ===

impl CopyBudget {
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(BURST * REQUESTS_PER_COPY);
    }

    /// Returns true if a speculative copy may be sent.
    pub(crate) fn allows_one(&self) -> bool {
        self.saved >= REQUESTS_PER_COPY
    }

    pub(crate) fn spend(&mut self) {
        self.saved -= REQUESTS_PER_COPY;
    }
}

impl Default for CopyBudget {
    fn default() -> Self {
        Self { saved: ADVANCE * REQUESTS_PER_COPY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_at_first_and_then_one_in_twenty() {
        let mut budget = CopyBudget::default();
        let mut copies = 0;
        for _ in 0..200 {
            budget.earn();
            if budget.allows_one() {
                budget.spend();
                copies += 1;
            }
        }
        assert_eq!(copies, 14);
        budget.spend();
        for _ in 0..39 {
            budget.earn();
        }
        assert!(!budget.allows_one());
    }
}
