//! Detection of replies that have nearly stopped.

use std::time::Instant;

use super::{PeerHealth, PeerState, estimate::Rates, sizes::Sizes};
use crate::seconds;

/// The time on the link, seconds, before which a reply is not judged.
const STALL_AFTER: f64 = 0.1;

/// Bytes that may have come beyond the last report, because progress is reported in steps.
const REPORT_STEP: f64 = 16_384.0;

/// The share of the expected bytes below which a reply is stalled. Healthy links vary by a factor of two.
const STALL_SHARE: f64 = 0.3;

/// The same for a peer that has not shown its rate yet, measured against the peers that have, or against the rate that
/// is assumed before any has. Peers differ ten-fold; this is well below.
const STALL_SHARE_OF_A_STRANGER: f64 = 0.04;

/// The same time for a reply of a peer that has not shown its rate yet, seconds.
const STALL_AFTER_OF_A_STRANGER: f64 = 1.0;

/// The delay of a reply's first byte, in service times, beyond which it is a stall. Computing times vary ten-fold.
const LATE_BY: f64 = 4.0;

// === impl PeerHealth ===

impl PeerHealth {
    /// Marks the peer as stalled if its current reply has nearly stopped. Returns true if it did.
    pub(crate) fn notice_stall(&mut self, now: Instant, rates: &Rates, sizes: &Sizes) -> bool {
        if !self.is_live() || !self.has_stalled(now, rates, sizes) {
            return false;
        }
        self.state = PeerState::Stalled { former_rate: self.rate.shrunk(rates.common) };
        true
    }

    fn has_stalled(&self, now: Instant, rates: &Rates, sizes: &Sizes) -> bool {
        let Some(head) = self.entries.front() else { return false };
        match head.first {
            Some((first, early)) => {
                let elapsed = seconds(first, now);
                let came = head.bytes.saturating_sub(early) as f64 + REPORT_STEP;
                let (after, least) = match self.rate.own() {
                    Some(_) => (STALL_AFTER, STALL_SHARE * self.rate.shrunk(rates.common)),
                    None => (STALL_AFTER_OF_A_STRANGER, STALL_SHARE_OF_A_STRANGER * rates.shown),
                };
                elapsed > after && came < least * elapsed
                    || elapsed > STALL_AFTER && head.length.is_some_and(|length| sizes.is_implausible(length))
            }
            None => {
                let past =
                    |instant: Option<Instant>| instant.map_or(f64::NEG_INFINITY, |instant| -seconds(instant, now));
                let computed = (self.round_trip - seconds(head.sent, now)).max(past(self.last_first_byte))
                    + self.compute.seconds();
                let late = -computed.max(past(self.last_done));
                late > LATE_BY * (self.compute.seconds() + sizes.mean() / self.rate.shrunk(rates.common)) + STALL_AFTER
            }
        }
    }
}
