//! The times at which a peer will be done with the requests that it holds.
//!
//! A peer is two queues in a row: one request computes at a time, then one reply is on the link at a time. All times
//! here are seconds from now, so that an instant in the past is negative.

use std::time::Instant;

use qrinfo_core::RequestId;

use super::{PeerHealth, PeerState, estimate::LinkRate, sizes::Sizes};
use crate::seconds;

/// The progress of a reply is reported in steps. Silence of less than this, seconds, is the time between two steps.
const BETWEEN_REPORTS: f64 = 0.1;

/// The estimated future of a peer.
#[derive(Debug, Clone)]
pub(crate) struct Forecast {
    /// Seconds to compute a reply.
    pub(crate) compute: f64,
    /// Seconds to transfer a reply of mean size.
    pub(crate) transfer: f64,
    /// The time at which a request that is sent now would be done.
    pub(crate) done: f64,
    /// Its pipeline has room for one more now.
    pub(crate) has_slot: bool,
    /// Bytes per second.
    rate: f64,
    /// The requests that it holds.
    pub(crate) held: Vec<Held>,
}

/// A request that a peer holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) request: Option<RequestId>,
    /// The time at which it will be done.
    pub(crate) done: f64,
    /// The length of its reply, bytes.
    pub(crate) size: f64,
}

// === impl Forecast ===

impl Forecast {
    /// The time at which a request that is sent now, and a second one, would be done: the risk of being late by one reply.
    pub(crate) fn done_at_risk(&self) -> f64 {
        self.done + self.transfer
    }

    /// The time at which a request that is sent now would be done if its reply has this many bytes.
    pub(crate) fn done_with(&self, size: f64) -> f64 {
        self.done - self.transfer + size / self.rate
    }

    /// Seconds between two replies of a full pipeline.
    pub(crate) fn service(&self) -> f64 {
        // Never zero: it divides.
        self.compute.max(self.transfer).max(0.001)
    }

    /// Requests sent from now on that the peer will have done before `time`, seconds from now.
    pub(crate) fn completions_before(&self, time: f64) -> f64 {
        ((time - self.done_at_risk()) / self.service()).ceil().max(0.0)
    }
}

// === impl PeerHealth ===

impl PeerHealth {
    /// The rate by everything that has come, the reply in transfer included.
    pub(crate) fn rate_so_far(&self, now: Instant) -> Option<f64> {
        self.rate_with_head(now).own()
    }

    /// `trial` is the number of requests that it may hold before it has shown data.
    pub(crate) fn forecast(&self, now: Instant, common_rate: f64, sizes: &Sizes, trial: usize) -> Forecast {
        let round_trip = self.round_trip;
        let compute = self.compute.seconds();
        let rate = self.rate_with_head(now).shrunk(common_rate);
        let transfer = sizes.mean() / rate;
        // A refusal has no bytes.
        let expected = self.answering() * transfer;

        let past = |instant: Option<Instant>| instant.map_or(f64::NEG_INFINITY, |instant| -seconds(instant, now));
        let mut compute_free = past(self.last_first_byte);
        let mut link_free = past(self.last_done);
        let mut held = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let mut size = sizes.mean();
            link_free = match entry.first {
                Some(_) => {
                    let seen = entry.bytes as f64;
                    let left = match entry.length {
                        Some(length) => (length as f64 - seen).max(0.0),
                        None => sizes.residual(seen),
                    };
                    size = seen + left;
                    left / rate
                }
                None => {
                    compute_free = (round_trip - seconds(entry.sent, now)).max(compute_free) + compute;
                    let mut first_byte = compute_free.max(link_free);
                    if first_byte < 0.0 {
                        // It is late. The longer it has been, the longer it is expected to take.
                        first_byte *= -0.5;
                        compute_free = first_byte;
                    }
                    first_byte + expected
                }
            };
            let done = match entry.first {
                Some(_) => link_free,
                // If it is answered.
                None => link_free - expected + transfer,
            };
            held.push(Held { request: entry.request, done, size });
        }

        let done = (round_trip.max(compute_free) + compute).max(link_free) + transfer;
        let has_slot = held.is_empty()
            || held.len() < self.ceiling(trial) && {
                // One more is sent when, on its arrival, the slower stage would have little left to do: about one
                // reply, more where a round trip is long beside it, because news of the pipeline is that much older.
                let (ahead, stage, lead) = if compute > expected {
                    (compute_free - round_trip, compute, round_trip)
                } else {
                    (link_free - round_trip - compute, expected, round_trip + compute)
                };
                ahead < 1.3 * stage + 0.5 * (lead * stage).sqrt() + 0.1
            };
        Forecast { compute, transfer, done, has_slot, rate, held }
    }

    /// Requests that it may hold now.
    fn ceiling(&self, trial: usize) -> usize {
        // Each may be refused, and costs a point then.
        let most = self.depth.limit().min(self.points_left());
        match self.state {
            PeerState::Open if self.rate.own().is_none() => most.min(trial),
            PeerState::Open => most,
            // A half open one gets its probe when it holds nothing.
            _ => 0,
        }
    }

    fn rate_with_head(&self, now: Instant) -> LinkRate {
        let head = self.entries.front().and_then(|entry| entry.first.map(|first| (entry, first)));
        match head {
            Some((entry, (first, early))) => {
                let took = seconds(first, entry.latest).max(seconds(first, now) - BETWEEN_REPORTS);
                self.rate.with(entry.bytes.saturating_sub(early) as f64, took)
            }
            None => self.rate.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qrinfo_core::{PeerId, SendId};

    use super::*;

    #[test]
    fn of_a_peer_that_refuses_half_half_of_the_bytes_are_expected() {
        let now = crate::now();
        let sizes = Sizes::default();
        let done = |points, answers| {
            let mut peer = PeerHealth::new(1, Duration::from_millis(50), None);
            (peer.points, peer.answers) = (points, answers);
            peer.rate.add(500_000.0, 1.0);
            for seq in 0..4 {
                peer.send(SendId { peer: PeerId::ALL, seq }, RequestId(seq), now);
            }
            let forecast = peer.forecast(now, 500_000.0, &sizes, 8);
            (forecast.done, forecast.transfer)
        };
        let ((all, transfer), (half, _)) = (done(0, 40), done(21, 19));
        assert!((1.5..2.5).contains(&((all - half) / transfer)), "{all} {half} {transfer}");
    }
}
