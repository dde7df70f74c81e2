use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

/// The settings of a [`Correlator`](crate::Correlator).
///
/// ```
/// use std::time::Duration;
/// use qrinfo_correlate::CorrelatorConfig;
///
/// let config = CorrelatorConfig { head_timeout: Duration::from_secs(10), ..CorrelatorConfig::default() };
/// assert_eq!(config.depth.get(), 64);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorrelatorConfig {
    /// Slots: requests that the peer may hold at once, tombstones included. Default 64: on a long link to a fast peer so
    /// many hide the round trip. A scheduler asks for as many as the peer's speed calls for.
    pub depth: NonZeroUsize,
    /// The longest silence of the peer while a caller waits for it. Default 30 s. A peer that leaves a request
    /// unanswered for five times as long loses its connection, because the slot of the request would never be free
    /// again.
    pub head_timeout: Duration,
    /// The slowest rate, in bytes per second, at which a reply may arrive: a reply of `n` bytes ends at
    /// `head_timeout + n / min_rate`, however steadily it drips. Default 8,000.
    pub min_rate: NonZeroU64,
    /// The longest reply, in bytes, for which that bound counts in full before the peer has sent a true reply. After
    /// one it is four times the longest true reply, if that is more. A length announced beyond it earns no time.
    /// Default 1 MiB, above a full list of mainnet (0.6 MB).
    pub plausible_bytes: u64,
    /// Every request is followed by a ping of its own. Default true. Without pings a refusal is seen only by the reply
    /// to a later request or by a timeout, and a tombstone waits for such a reply. Switch it off only where a ping
    /// would reach more than one peer.
    pub fence: bool,
}

// === impl CorrelatorConfig ===

impl CorrelatorConfig {
    /// The longest time for a reply of this many bytes.
    pub(crate) fn transfer_time(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1_000) / self.min_rate)
    }
}

impl Default for CorrelatorConfig {
    fn default() -> Self {
        Self {
            depth: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            head_timeout: Duration::from_secs(30),
            min_rate: NonZeroU64::new(8_000).unwrap_or(NonZeroU64::MIN),
            plausible_bytes: 1 << 20,
            fence: true,
        }
    }
}
