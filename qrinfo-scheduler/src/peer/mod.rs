//! The record of one peer: its speed, its behaviour, and the requests that it holds.

mod estimate;
mod forecast;
mod sizes;
mod stall;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptErrorKind, RequestId, SendId, Timing, retry::Rest};

use self::estimate::{Compute, LinkRate};
pub(crate) use self::{
    estimate::Rates,
    forecast::{Forecast, Held},
    sizes::Sizes,
};
use crate::{
    aimd::Aimd,
    gcra::{Gcra, Rate},
    seconds,
};

/// Requests that a peer may hold at most, however fast it is. The forecast asks for less: this many take a round trip of
/// 0.6 s and replies of 10 ms. It is also the default number of slots of a `PeerService`.
pub const MAX_DEPTH: usize = 64;

/// Misbehaviour points that we may cause at a peer, on one connection. Dash Core adds one for each request that it
/// refuses, and at 100 drops the connection and discourages the address; the rest is room for other faults. A peer never
/// holds more requests than it has points left.
pub const MAX_POINTS: u32 = 90;

/// Points beyond which a peer is only asked for requests that all others have refused. Below [`MAX_POINTS`], so that
/// some are left for requests that only this peer can answer.
const SPECULATIVE_POINTS: u32 = 75;

/// Refusals in a row after which a peer that has answered nothing is asked last: it may lack everything we ask for. A
/// peer that refuses every second request begins with so many once in 256 times.
const REFUSALS_OF_A_STRANGER: u32 = 8;

/// The same for a peer that has answered before. Of a peer that refuses every second request twelve in a row are rare.
const REFUSALS_IN_A_ROW: u32 = 12;

/// The weight, in requests, of the assumption that a peer answers everything.
const UNASKED: f64 = 2.0;

/// The time for which a peer that refuses everything is asked last. Each further refusal doubles it.
const UNWILLING_FOR: Duration = Duration::from_secs(5);

/// The longest such time.
const UNWILLING_AT_MOST: Duration = Duration::from_secs(300);

/// The record of one peer: how fast it is, how it behaves, and the requests it has not answered yet.
#[derive(Debug, Clone)]
pub struct PeerHealth {
    height: u32,
    state: PeerState,
    round_trip: f64,
    rate: LinkRate,
    compute: Compute,
    /// The safety cap only: how deep a healthy pipeline is follows from the forecast.
    depth: Aimd,
    points: u32,
    /// The replies that it sent.
    answers: u32,
    rest: Rest,
    refusals_in_a_row: u32,
    last_refusal: Option<Instant>,
    entries: VecDeque<Entry>,
    last_first_byte: Option<Instant>,
    last_done: Option<Instant>,
    bucket: Option<Gcra>,
    /// Its service takes a request.
    ready: bool,
}

/// The readiness of a peer for requests.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum PeerState {
    /// It gets as many requests as its pipeline takes.
    Open,
    /// It gets none: its current reply has nearly stopped. Its requests are sent to other peers too. It is open again
    /// when a reply comes at half its former rate, and half open when it has answered everything.
    Stalled {
        /// Bytes per second before the stall.
        former_rate: f64,
    },
    /// It gets none for a while: it timed out or failed.
    Cooling {
        /// The end of the rest.
        until: Instant,
    },
    /// It gets one request, whose outcome decides.
    HalfOpen {
        /// That request, once it is sent.
        probe: Option<SendId>,
    },
}

/// A request that a peer holds: its slot is in use until the peer answers or goes.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) send: SendId,
    /// The request that this is a copy of; `None` once the copy timed out.
    pub(crate) request: Option<RequestId>,
    sent: Instant,
    /// The beginning of the reply, and the bytes that came with it.
    first: Option<(Instant, u64)>,
    pub(crate) latest: Instant,
    bytes: u64,
    pub(crate) length: Option<u64>,
}

// === impl PeerHealth ===

impl PeerHealth {
    /// The height of its tip when it joined.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Its readiness for requests.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// Requests that it has not answered, including those that no caller waits for.
    pub fn outstanding(&self) -> usize {
        self.entries.len()
    }

    /// Requests that count against the global cap. Requests at a stalled or cooling peer do not count, because they are
    /// sent to other peers; otherwise one silent peer could block all others.
    pub fn counted_in_flight(&self) -> usize {
        match self.state {
            PeerState::Open => self.entries.iter().filter(|entry| entry.request.is_some()).count(),
            PeerState::HalfOpen { probe } => usize::from(probe.is_some()),
            PeerState::Stalled { .. } | PeerState::Cooling { .. } => 0,
        }
    }

    /// The number of requests that it may hold; never above [`MAX_DEPTH`].
    pub fn depth_limit(&self) -> usize {
        self.depth.limit()
    }

    /// Misbehaviour points that we caused at it; never above [`MAX_POINTS`].
    pub fn points(&self) -> u32 {
        self.points
    }

    /// The round trip: as told, or the time of the quickest answer if that was quicker.
    pub fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.round_trip)
    }

    /// The estimated time to compute a reply, seconds.
    pub fn compute_seconds(&self) -> f64 {
        self.compute.seconds()
    }

    /// The rate of its link by its own replies, bytes per second; `None` before the first.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.rate.own()
    }

    pub(crate) fn new(height: u32, round_trip: Duration, rate_limit: Option<Rate>) -> Self {
        Self {
            height,
            state: PeerState::Open,
            round_trip: round_trip.as_secs_f64(),
            rate: LinkRate::default(),
            compute: Compute::default(),
            depth: Aimd::new(MAX_DEPTH),
            points: 0,
            answers: 0,
            rest: Rest::default(),
            refusals_in_a_row: 0,
            last_refusal: None,
            entries: VecDeque::new(),
            last_first_byte: None,
            last_done: None,
            bucket: rate_limit.map(Gcra::new),
            ready: true,
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Returns true if the peer gets requests, now or when its pipeline has room.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, PeerState::Open | PeerState::HalfOpen { .. }) && !self.is_spent()
    }

    /// The share of requests that it answers, 0 to 1; a peer that has been asked little is expected to answer.
    pub(crate) fn answering(&self) -> f64 {
        1.0 - f64::from(self.points) / (f64::from(self.points) + f64::from(self.answers) + UNASKED)
    }

    /// The refusals that it may still cost.
    fn points_left(&self) -> usize {
        MAX_POINTS.saturating_sub(self.points) as usize
    }

    /// Returns true if it has reached [`MAX_POINTS`].
    pub(crate) fn is_spent(&self) -> bool {
        self.points >= MAX_POINTS
    }

    /// The end of its rest, if it rests.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        match self.state {
            PeerState::Cooling { until } if !self.is_spent() => Some(until),
            _ => None,
        }
    }

    /// Returns true if it may get a request that others can answer as well: it has few points, or points enough for all
    /// that is `unfinished`, and no recent run of refusals. Each refusal beyond the first few of a run doubles the time
    /// for which this is false.
    pub(crate) fn is_willing(&self, unfinished: usize, now: Instant) -> bool {
        let few = if self.answers > 0 { REFUSALS_IN_A_ROW } else { REFUSALS_OF_A_STRANGER };
        let unwilling = self
            .refusals_in_a_row
            .checked_sub(few)
            .map(|more| UNWILLING_FOR.saturating_mul(1 << more.min(16)).min(UNWILLING_AT_MOST));
        (self.points < SPECULATIVE_POINTS || unfinished <= self.points_left())
            && unwilling.is_none_or(|time| self.last_refusal.is_none_or(|last| now >= last + time))
    }

    /// Returns true if the requests that it holds are expected to be answered.
    pub(crate) fn is_trusted(&self) -> bool {
        !matches!(self.state, PeerState::Stalled { .. } | PeerState::Cooling { .. })
    }

    pub(crate) fn set_rate_limit(&mut self, rate: Option<Rate>) {
        match (&mut self.bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(Gcra::new),
        }
    }

    pub(crate) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// Returns true if its service and its rate limit let a request pass now.
    pub(crate) fn takes_one(&self, now: Instant) -> bool {
        self.ready && self.conforms_at(now) <= now
    }

    /// The instant at which its rate limit lets the next request pass.
    pub(crate) fn conforms_at(&self, now: Instant) -> Instant {
        self.bucket.as_ref().map_or(now, |bucket| bucket.next(now))
    }

    pub(crate) fn send(&mut self, send: SendId, request: RequestId, now: Instant) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if let PeerState::HalfOpen { probe } = &mut self.state {
            *probe = Some(send);
        }
        self.entries.push_back(Entry {
            send,
            request: Some(request),
            sent: now,
            first: None,
            latest: now,
            bytes: 0,
            length: None,
        });
    }

    /// Records that `bytes` of the reply have come so far. Returns true if they are the first.
    pub(crate) fn progress(&mut self, send: SendId, bytes: u64, length: Option<u64>, now: Instant) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.send == send) else { return false };
        entry.bytes = entry.bytes.max(bytes);
        entry.length = length.or(entry.length);
        entry.latest = now;
        let begins = entry.first.is_none();
        if begins {
            entry.first = Some((now, bytes));
            let sent = entry.sent;
            self.began(sent, now);
        }
        begins
    }

    pub(crate) fn replied(&mut self, send: SendId, timing: &Timing) -> Option<Entry> {
        let entry = self.remove(send)?;
        let (first, early) = match (entry.first, timing.first_byte) {
            (Some(first), _) => first,
            (None, Some(first)) => {
                self.began(entry.sent, first);
                (first, 0)
            }
            // A service that says no more than "done": the link was busy from when the reply could begin.
            (None, None) => {
                let computed = entry.sent + Duration::from_secs_f64(self.round_trip + self.compute.seconds());
                (self.last_done.map_or(computed, |last| last.max(computed)).min(timing.done), 0)
            }
        };
        let (bytes, took) = (timing.bytes.saturating_sub(early) as f64, seconds(first, timing.done));
        self.rate.add(bytes, took);
        self.depth.increase();
        self.last_done = Some(timing.done);
        self.refusals_in_a_row = 0;
        self.answers = self.answers.saturating_add(1);
        self.answered(send, |former_rate| bytes >= 0.5 * former_rate * took);
        Some(entry)
    }

    pub(crate) fn failed(&mut self, send: SendId, kind: AttemptErrorKind, now: Instant) -> Option<Entry> {
        let entry = self.remove(send)?;
        match kind {
            AttemptErrorKind::Refused => {
                self.points = self.points.saturating_add(1);
                self.refusals_in_a_row = self.refusals_in_a_row.saturating_add(1);
                self.last_refusal = Some(now);
                if entry.first.is_none() {
                    self.began(entry.sent, now);
                }
                self.last_done = Some(now);
                self.answered(send, |_| false);
            }
            // The peer was not asked.
            AttemptErrorKind::Cancelled | AttemptErrorKind::NotSent => self.answered(send, |_| false),
            AttemptErrorKind::Timeout | AttemptErrorKind::Disconnected => {
                if self.cool(now) {
                    self.depth.decrease();
                }
            }
            // Whatever else fails: a peer that fails at once would look fastest and draw all load.
            _ => {
                self.cool(now);
            }
        }
        Some(entry)
    }

    /// Records that the caller waits no longer, while the peer still holds the request.
    pub(crate) fn timed_out(&mut self, send: SendId, now: Instant) -> Option<RequestId> {
        let request = self.entries.iter_mut().find(|entry| entry.send == send)?.request.take();
        if self.cool(now) {
            self.depth.decrease();
        }
        request
    }

    /// Ends a rest that is over.
    pub(crate) fn thaw(&mut self, now: Instant) {
        if matches!(self.state, PeerState::Cooling { until } if until <= now) {
            self.state = PeerState::HalfOpen { probe: None };
        }
    }

    fn remove(&mut self, send: SendId) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.send == send)?;
        self.entries.remove(index)
    }

    /// Records the beginning of a reply, or of the pong in its place.
    fn began(&mut self, sent: Instant, first: Instant) {
        // The round trip we were told may be a guess. An answer that comes sooner proves it too long.
        self.round_trip = self.round_trip.min(seconds(sent, first));
        // Behind another reply the beginning says when the link was free, not how long the computing took.
        let idle = self.last_done.is_none_or(|done| seconds(done, first) > 0.001);
        if idle {
            let arrived = seconds(sent, first) - self.round_trip;
            let since_last = self.last_first_byte.map_or(arrived, |last| seconds(last, first).min(arrived));
            self.compute.add(since_last);
        }
        self.last_first_byte = Some(self.last_first_byte.map_or(first, |last| last.max(first)));
    }

    /// Records an answer of the peer: a stall or a probe may be over.
    fn answered(&mut self, send: SendId, recovered: impl FnOnce(f64) -> bool) {
        match self.state {
            PeerState::Open => self.rest.answered(),
            PeerState::Stalled { former_rate } if recovered(former_rate) => self.state = PeerState::Open,
            PeerState::Stalled { .. } if self.entries.is_empty() => self.state = PeerState::HalfOpen { probe: None },
            // A straggler from before the rest says nothing about now; only the probe does.
            PeerState::HalfOpen { probe } if probe == Some(send) => {
                self.state = PeerState::Open;
                self.rest.answered();
            }
            _ => {}
        }
    }

    /// The failures so far, for when it comes back.
    pub(crate) fn rest(&self) -> Rest {
        self.rest
    }

    /// Begins with a rest: its last connection ended while it held requests, and others may be more reliable.
    pub(crate) fn comes_back(&mut self, rest: Rest, now: Instant) {
        self.rest = rest;
        self.cool(now);
    }

    /// Begins a rest. Several requests that fail together are one failure: returns true for the first of them.
    fn cool(&mut self, now: Instant) -> bool {
        if matches!(self.state, PeerState::Cooling { .. }) {
            return false;
        }
        self.state = PeerState::Cooling { until: self.rest.failed(now) };
        true
    }
}
