use std::time::{Duration, Instant};

/// Beyond any test, and far from what an [`Instant`] can hold.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The speed of a peer: its usual speed, and from some instants on a lower one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    /// From when on everything takes how many times as long, in the order of time.
    steps: Vec<(Instant, u32)>,
}

// === impl Pace ===

impl Pace {
    /// From this instant on everything takes `factor` times as long, until another step.
    pub(crate) fn slow(&mut self, from: Instant, factor: u32) {
        let place = self.steps.partition_point(|(at, _)| *at <= from);
        self.steps.insert(place, (from, factor.max(1)));
    }

    /// Returns the instant at which `work` that begins at `start` is done. Work in progress when the speed changes goes
    /// on at the new speed.
    pub(crate) fn after(&self, start: Instant, work: Duration) -> Instant {
        let (mut at, mut left, mut factor) = (start, work, 1);
        for &(from, next) in &self.steps {
            let span = from.saturating_duration_since(at);
            if !span.is_zero() {
                if left.saturating_mul(factor) <= span {
                    break;
                }
                left -= span / factor;
                at = from;
            }
            factor = next;
        }
        later(at, left.saturating_mul(factor))
    }
}

/// `at + by`, or decades later if that is more than an [`Instant`] can hold.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at + FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_at_the_speed_of_the_moment() {
        let ms = Duration::from_millis;
        let start = tokio::time::Instant::now().into_std();
        let mut pace = Pace::default();
        pace.slow(start + ms(100), 1);
        pace.slow(start + ms(50), 10);
        let done = |at, work| (pace.after(start + ms(at), ms(work)) - start).as_millis();
        assert_eq!(done(0, 50), 50);
        assert_eq!(done(0, 51), 60);
        // Half of the work by 50 ms, another 5 ms of it by 100 ms, the rest as usual.
        assert_eq!(done(0, 100), 145);
        assert_eq!(done(50, 1), 60);
        assert_eq!(done(60, 4), 100);
        assert_eq!(done(60, 5), 101);
        assert_eq!(done(100, 7), 107);
    }

    #[test]
    fn a_peer_can_stand_still_for_ever() {
        let start = tokio::time::Instant::now().into_std();
        let mut pace = Pace::default();
        pace.slow(start, u32::MAX);
        assert!(pace.after(start, Duration::MAX) - start > Duration::from_secs(1 << 29));
    }
}
