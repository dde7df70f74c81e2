use std::time::{Duration, Instant};

use qrinfo_core::AttemptError;

use crate::{Gcra, Rate, aimd::Aimd};

/// The two layers differ in this alone: one bounds the requests in flight, the other the time between two calls.
#[derive(Debug)]
pub(super) struct Rule {
    limit: usize,
    adaptive: Option<Aimd>,
    /// Requests that hold a permit.
    pub(super) in_use: usize,
    pub(super) bucket: Gcra,
}

// === impl Rule ===

impl Rule {
    pub(super) fn concurrency(limit: usize, adaptive: bool) -> Self {
        let unlimited = Rate { interval: Duration::ZERO, burst: 1 };
        Self { limit, adaptive: adaptive.then(|| Aimd::new(limit)), in_use: 0, bucket: Gcra::new(unlimited) }
    }

    pub(super) fn rate(rate: Rate) -> Self {
        Self { bucket: Gcra::new(rate), ..Self::concurrency(usize::MAX, false) }
    }

    /// The earliest instant at which a request may pass, `now` or later; `None` until a permit is free.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        (self.in_use < self.limit()).then(|| self.bucket.next(now))
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.in_use += 1;
        self.bucket.take(now);
    }

    /// Frees the permit. A turn of the rate stays used.
    pub(super) fn give_back(&mut self) {
        self.in_use -= 1;
    }

    /// Moves an adaptive limit by the end of a request.
    pub(super) fn learn(&mut self, error: Option<&AttemptError>) {
        match (&mut self.adaptive, error) {
            (Some(aimd), None) => aimd.increase(),
            (Some(aimd), Some(error)) if Aimd::is_congestion(error.kind()) => aimd.decrease(),
            _ => {}
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.adaptive = self.adaptive.take().map(|_| Aimd::new(limit));
    }

    pub(super) fn limit(&self) -> usize {
        self.adaptive.as_ref().map_or(self.limit, |aimd| aimd.limit().min(self.limit))
    }
}
