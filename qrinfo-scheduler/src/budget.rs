//! How many copies may be sent beside the requests themselves.

/// Share of requests that may be sent twice.
const SHARE: f64 = 0.05;

/// The most that quiet times save up.
const BURST: f64 = 16.0;

/// Copies that are still allowed: each request earns a twentieth, each copy costs one.
///
/// Fetching again what a stalled peer holds is never denied, but it is counted, so that it takes from what speculation
/// may spend.
#[derive(Debug, Default)]
pub(crate) struct CopyBudget {
    saved: f64,
}

// === impl CopyBudget ===

impl CopyBudget {
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + SHARE).min(BURST);
    }

    pub(crate) fn allows_one(&self) -> bool {
        self.saved >= 1.0
    }

    pub(crate) fn spend(&mut self) {
        self.saved -= 1.0;
    }
}
