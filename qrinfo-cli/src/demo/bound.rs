//! The best time that given peers allow.

use std::time::Duration;

use spv_testkit::PeerProfile;

/// A time below which no schedule can bring replies of these lengths (in bytes) from these peers.
///
/// By a time `T` a peer has computed at most as many replies as fit between the request's arrival and the last reply's
/// departure, and has sent at most the bytes that its link carries meanwhile. The least `T` at which all peers together
/// reach the number of replies *and* the number of bytes is a bound; a real schedule also has to make both fit reply by
/// reply.
pub(crate) fn best_time(profiles: &[PeerProfile], replies: &[usize]) -> Duration {
    let bytes: usize = replies.iter().sum();
    let Some(&shortest) = replies.iter().min() else { return Duration::ZERO };
    let enough = |time: Duration| {
        let (mut count, mut carried) = (0_u64, 0.0);
        for profile in profiles {
            let available = time.saturating_sub(profile.round_trip);
            let first = profile.compute + transfer(profile, shortest);
            if available < first {
                continue;
            }
            count += match profile.compute.as_nanos() {
                0 => replies.len() as u64,
                compute => 1 + ((available - first).as_nanos() / compute) as u64,
            };
            carried += match profile.rate {
                None => bytes as f64,
                Some(rate) => (available - profile.compute).as_secs_f64() * rate as f64,
            };
        }
        count >= replies.len() as u64 && carried >= bytes as f64
    };
    // Halving down to a microsecond from a time that is surely enough.
    let mut high = Duration::from_secs(1);
    while !enough(high) && high < Duration::from_secs(1 << 20) {
        high *= 2;
    }
    let mut low = Duration::ZERO;
    while high - low > Duration::from_micros(1) {
        let middle = (low + high) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

fn transfer(profile: &PeerProfile, bytes: usize) -> Duration {
    profile.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn close(a: Duration, b: Duration) -> bool {
        a.abs_diff(b) <= Duration::from_micros(2)
    }

    #[test]
    fn one_peer_is_bound_by_its_slower_stage() {
        let computing = PeerProfile { round_trip: ms(100), compute: ms(50), rate: Some(1_000_000) };
        assert!(close(best_time(&[computing], &[1000; 10]), ms(100 + 10 * 50 + 1)));
        let sending = PeerProfile { round_trip: ms(100), compute: ms(50), rate: Some(10_000) };
        assert!(close(best_time(&[sending], &[1000; 10]), ms(100 + 50 + 10 * 100)));
    }

    #[test]
    fn equal_peers_share_the_work() {
        let peer = PeerProfile { round_trip: ms(100), compute: ms(50), rate: None };
        assert!(close(best_time(&[peer; 5], &[1000; 10]), ms(100 + 2 * 50)));
    }
}
