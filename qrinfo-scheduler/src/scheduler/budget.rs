//! How many copies may be sent beside the requests themselves.

/// The number of requests for each of which one may be sent twice.
const REQUESTS_PER_COPY: i64 = 20;

/// The most copies that quiet times save up.
const BURST: i64 = 16;

/// Copies that are still allowed: each request earns a twentieth, each copy costs one.
///
/// Fetching again what a stalled peer holds is never denied, but it is counted, so that it takes from what speculation
/// may spend.
#[derive(Debug, Default)]
pub(crate) struct CopyBudget {
    /// In twentieths, so that twenty of them are one.
    saved: i64,
}

// === impl CopyBudget ===

impl CopyBudget {
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(BURST * REQUESTS_PER_COPY);
    }

    /// Whether one may be sent on a guess, with `reserve` left for a stall.
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
