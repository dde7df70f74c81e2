//! Estimates of a peer's link and of its computing time, from few and unequal samples.

use std::time::Instant;

use super::PeerHealth;

/// The share of its weight that a sample keeps when another comes. The tenth sample back counts a third: the estimate
/// follows a change within a few replies, while sizes that differ 60-fold still average out.
const DECAY: f64 = 0.9;

/// Weight, in bytes, of the peers' common rate in each peer's own: about a packet burst, so that one tiny reply does
/// not speak for a link.
const SHRINK: f64 = 20_000.0;

/// The rate assumed before any peer has shown one, bytes per second.
const PRIOR_RATE: f64 = 500_000.0;

/// Compute time taken before a peer has shown its own, seconds: the geometric mean of 10 and 67 ms, which recorded servers
/// took for a request.
const PRIOR_COMPUTE: f64 = 0.026;

/// The rates of all peers together, bytes per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// The geometric mean, replies in transfer included; the prior where nothing came yet.
    pub(crate) common: f64,
    /// The geometric mean by complete replies alone, which a peer that only drips does not lower; the prior before any.
    pub(crate) shown: f64,
}

/// Bytes per second of a link: the sum of bytes over the sum of time, which weighs a sample by its length.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkRate {
    bytes: f64,
    seconds: f64,
}

/// Seconds a peer computes for a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compute {
    seconds: f64,
    weight: f64,
}

// === impl Rates ===

impl Rates {
    pub(crate) fn of<'p>(peers: impl Iterator<Item = &'p PeerHealth> + Clone, now: Instant) -> Self {
        let trusted = peers.clone().filter(|peer| peer.is_trusted());
        let common = geometric_mean(trusted.filter_map(|peer| peer.rate_so_far(now))).unwrap_or(PRIOR_RATE);
        let shown = geometric_mean(peers.filter_map(PeerHealth::bytes_per_second)).unwrap_or(PRIOR_RATE);
        Self { common, shown }
    }
}

fn geometric_mean(rates: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = rates.fold((0.0, 0.0), |(sum, n), rate| (sum + rate.max(1.0).ln(), n + 1.0));
    (n > 0.0).then(|| (sum / n).exp())
}

// === impl LinkRate ===

impl LinkRate {
    pub(crate) fn add(&mut self, bytes: f64, seconds: f64) {
        self.bytes = self.bytes * DECAY + bytes;
        self.seconds = self.seconds * DECAY + seconds.max(0.0);
    }

    /// The same rate with the part of a reply that has come so far.
    pub(crate) fn with(&self, bytes: f64, seconds: f64) -> Self {
        Self { bytes: self.bytes + bytes, seconds: self.seconds + seconds.max(0.0) }
    }

    /// The rate by this peer's own samples; `None` without any.
    pub(crate) fn own(&self) -> Option<f64> {
        (self.bytes > 0.0 && self.seconds > 0.0).then(|| self.bytes / self.seconds)
    }

    /// The rate, drawn towards `common`, the rate of all peers.
    pub(crate) fn shrunk(&self, common: f64) -> f64 {
        // One byte a second keeps every quotient finite.
        ((self.bytes + SHRINK) / (self.seconds + SHRINK / common)).max(1.0)
    }
}

// === impl Compute ===

impl Compute {
    pub(crate) fn add(&mut self, seconds: f64) {
        self.seconds = self.seconds * DECAY + seconds.max(0.0);
        self.weight = self.weight * DECAY + 1.0;
    }

    pub(crate) fn seconds(&self) -> f64 {
        (self.seconds + PRIOR_COMPUTE) / (self.weight + 1.0)
    }
}
