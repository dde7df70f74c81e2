use std::time::Duration;

use crate::link_model::share;

/// The times of a peer. All are zero by default: it answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerProfile {
    /// From us to the peer and back, with nothing to do there.
    pub round_trip: Duration,
    /// To make an answer, a refusal included.
    pub compute: Duration,
    /// Bytes a second from the peer to us, at least one; `None` for no limit.
    pub rate: Option<u64>,
}

// === impl PeerProfile ===

impl PeerProfile {
    /// Returns the time that `bytes` take on the link.
    ///
    /// ```
    /// use std::time::Duration;
    /// use spv_testkit::PeerProfile;
    ///
    /// let profile = PeerProfile { rate: Some(500_000), ..PeerProfile::default() };
    /// assert_eq!(profile.transfer(5_000), Duration::from_millis(10));
    /// assert_eq!(PeerProfile::default().transfer(5_000), Duration::ZERO);
    /// ```
    pub fn transfer(&self, bytes: u64) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| share(Duration::from_secs(1), bytes, rate.max(1)))
    }
}
