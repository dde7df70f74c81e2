//! The budget of copies that may be sent in addition to the requests themselves.

/// The number of requests for each of which one may be sent twice.
const REQUESTS_PER_COPY: i64 = 20;

/// The greatest number of copies that may be saved up.
const BURST: i64 = 16;

/// Copies that are still allowed: each request earns a twentieth, each copy costs one.
///
/// Copies of requests at a stalled peer are never denied. They are counted, so that fewer speculative copies follow.
#[derive(Debug, Default)]
pub(crate) struct CopyBudget {
    /// In twentieths of a copy.
    saved: i64,
}

// === impl CopyBudget ===

impl CopyBudget {
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(BURST * REQUESTS_PER_COPY);
    }

    /// Returns true if a speculative copy may be sent while `reserve` copies stay available for a stall.
    pub(crate) fn allows_one(&self, reserve: usize) -> bool {
        self.saved >= (1 + reserve as i64) * REQUESTS_PER_COPY
    }

    pub(crate) fn spend(&mut self) {
        self.saved -= REQUESTS_PER_COPY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty() {
        let mut budget = CopyBudget::default();
        let mut copies = 0;
        for _ in 0..200 {
            budget.earn();
            if budget.allows_one(0) {
                budget.spend();
                copies += 1;
            }
        }
        assert_eq!(copies, 10);
        budget.spend();
        for _ in 0..39 {
            budget.earn();
        }
        assert!(!budget.allows_one(0));
    }
}
