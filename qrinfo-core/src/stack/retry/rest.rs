use std::time::{Duration, Instant};

/// The rest of a peer after its first failure. Each further one in a row doubles it.
const FIRST: Duration = Duration::from_secs(5);

/// The longest rest.
const LONGEST: Duration = Duration::from_secs(300);

/// The time for which a peer that failed is not asked, unless no other peer can be.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::retry::Rest;
///
/// # fn example(now: std::time::Instant) {
/// let mut rest = Rest::default();
/// assert_eq!(rest.failed(now), now + Duration::from_secs(5));
/// assert_eq!(rest.failed(now), now + Duration::from_secs(10));
/// rest.answered();
/// assert_eq!(rest.failed(now), now + Duration::from_secs(5));
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    failures_in_a_row: u32,
}

// === impl Rest ===

impl Rest {
    /// Counts a failure, and returns the end of the rest that begins now: 5 s after the first, 300 s at most.
    pub fn failed(&mut self, now: Instant) -> Instant {
        let rest = FIRST.saturating_mul(2_u32.saturating_pow(self.failures_in_a_row)).min(LONGEST);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        now + rest
    }

    /// Notes that the peer has answered: its next failure is a first one again.
    pub fn answered(&mut self) {
        self.failures_in_a_row = 0;
    }
}
