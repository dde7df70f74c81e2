//! What is known of one peer, and what it owes us.

mod estimate;
mod forecast;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptErrorKind, Timing};

use self::estimate::{Compute, LinkRate};
pub(crate) use self::{estimate::PRIOR_RATE, forecast::Forecast};
use crate::{DispatchId, Gcra, Rate, Ticket, aimd::Aimd, seconds, sizes::Sizes};

/// How many requests a peer may hold at most, however fast it is. The forecast asks for less at most peers; deeper
/// pipelines only mean more to fetch again when a peer stalls. It is also the default number of slots of a
/// `PeerService`.
pub const MAX_DEPTH: usize = 8;

/// Misbehaviour points that we may cause at a peer. Dash Core adds one for a request it refuses, and at 100 drops and
/// discourages the address; half leaves room for what else is counted against us there.
pub const MAX_POINTS: u32 = 50;

/// A peer that has refused this many in a row, and answered none, is asked for what others would refuse as well: it may
/// lack what we ask for.
const MAX_REFUSALS_IN_A_ROW: u32 = 4;

/// How long a peer rests after its first failure. Each failure in a row doubles it.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// The longest rest.
const MAX_COOL_DOWN: Duration = Duration::from_secs(300);

/// The record of one peer: how fast it is, how it behaves, and the requests it has not answered yet.
#[derive(Debug, Clone)]
pub struct PeerHealth {
    state: PeerState,
    round_trip: f64,
    rate: LinkRate,
    compute: Compute,
    /// The safety cap only: how deep a healthy pipeline is follows from the forecast.
    depth: Aimd,
    points: u32,
    failures_in_a_row: u32,
    refusals_in_a_row: u32,
    last_refusal: Option<Instant>,
    entries: VecDeque<Entry>,
    last_first_byte: Option<Instant>,
    last_done: Option<Instant>,
    bucket: Option<Gcra>,
    /// Whether its service takes a request.
    ready: bool,
}

/// Whether a peer is given requests.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum PeerState {
    /// As many as its pipeline takes.
    Open,
    /// None: what it sends has all but stopped. Its requests are sent elsewhere too. It is open again when a reply
    /// comes at half its former rate, and half open when it has answered everything.
    Stalled {
        /// Bytes per second before.
        former_rate: f64,
    },
    /// None until then: it timed out or failed.
    Cooling {
        /// The end of the rest.
        until: Instant,
    },
    /// One, whose outcome decides.
    HalfOpen {
        /// The one, once it is sent.
        probe: Option<DispatchId>,
    },
    /// None any more. It is dismissed when it has answered what it holds.
    Leaving,
}

/// A request that a peer holds: its slot is in use until the peer answers or goes.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: DispatchId,
    /// The request that this is a copy of; `None` once we have given this copy up.
    pub(crate) ticket: Option<Ticket>,
    sent: Instant,
    /// When the reply began, and how much of it came with its beginning.
    first: Option<(Instant, u64)>,
    latest: Instant,
    bytes: u64,
    length: Option<u64>,
}

// === impl PeerHealth ===

impl PeerHealth {
    /// Whether it is given requests.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// How many requests it has not answered yet, those that nobody waits for included.
    pub fn outstanding(&self) -> usize {
        self.entries.len()
    }

    /// How many of them it is taken to be working on. What it has let down is sent elsewhere: it must not keep the
    /// place of the others as well, or a peer that falls silent would stop them all until its connection is closed.
    pub fn under_way(&self) -> usize {
        match self.state {
            PeerState::Open | PeerState::Leaving => self.entries.iter().filter(|entry| entry.ticket.is_some()).count(),
            PeerState::HalfOpen { probe } => usize::from(probe.is_some()),
            PeerState::Stalled { .. } | PeerState::Cooling { .. } => 0,
        }
    }

    /// How many requests it may hold at most; never above [`MAX_DEPTH`].
    pub fn depth_limit(&self) -> usize {
        self.depth.limit()
    }

    /// How many requests a peer may hold at most, however fast it is. The forecast asks for less at most peers; deeper
    /// pipelines only mean more to fetch again when a peer stalls. It is also the default number of slots of a
    /// `PeerService`.
    pub const MAX_DEPTH: usize = 8;

    /// Misbehaviour points that we caused at it; never above [`MAX_POINTS`] and what it held when it reached that.
    pub fn points(&self) -> u32 {
        self.points
    }

    /// The round trip: as told, or the quickest answer if that was quicker.
    pub fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.round_trip)
    }

    /// Seconds it takes to compute a reply, by estimate.
    pub fn compute_seconds(&self) -> f64 {
        self.compute.seconds()
    }

    /// Bytes per second of its link, by its own replies; `None` before the first.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.rate.own()
    }

    pub(crate) fn new(round_trip: Duration, rate_limit: Option<Rate>) -> Self {
        Self {
            state: PeerState::Open,
            round_trip: round_trip.as_secs_f64(),
            rate: LinkRate::default(),
            compute: Compute::default(),
            depth: Aimd::new(MAX_DEPTH),
            points: 0,
            failures_in_a_row: 0,
            refusals_in_a_row: 0,
            last_refusal: None,
            entries: VecDeque::new(),
            last_first_byte: None,
            last_done: None,
            bucket: rate_limit.map(Gcra::new),
            ready: true,
        }
    }

    /// Points from an earlier connection: the server counts by address.
    pub(crate) fn remember(&mut self, points: u32) {
        self.points = points;
        if points >= MAX_POINTS {
            self.leave();
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether it may be given requests, now or when its pipeline has room.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, PeerState::Open | PeerState::HalfOpen { .. })
    }

    /// Whether it answers, as far as is known. Each refusal beyond the first few doubles the time for which it is left
    /// in peace.
    pub(crate) fn is_willing(&self, now: Instant) -> bool {
        let Some(more) = self.refusals_in_a_row.checked_sub(MAX_REFUSALS_IN_A_ROW) else { return true };
        let rest = COOL_DOWN.saturating_mul(1 << more.min(16)).min(MAX_COOL_DOWN);
        self.last_refusal.is_none_or(|last| now >= last + rest)
    }

    /// Whether a request that it holds is in good hands.
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

    /// Whether a request can be handed to it now.
    pub(crate) fn takes_one(&self, now: Instant) -> bool {
        self.ready && self.conforms_at(now) <= now
    }

    /// When its rate limit lets the next request pass.
    pub(crate) fn conforms_at(&self, now: Instant) -> Instant {
        self.bucket.as_ref().map_or(now, |bucket| bucket.next(now))
    }

    pub(crate) fn send(&mut self, id: DispatchId, ticket: Ticket, now: Instant) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if let PeerState::HalfOpen { probe } = &mut self.state {
            *probe = Some(id);
        }
        self.entries.push_back(Entry {
            id,
            ticket: Some(ticket),
            sent: now,
            first: None,
            latest: now,
            bytes: 0,
            length: None,
        });
    }

    /// `bytes` of the reply have come so far. Whether they are the first.
    pub(crate) fn progress(&mut self, id: DispatchId, bytes: u64, length: Option<u64>, now: Instant) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return false };
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

    pub(crate) fn replied(&mut self, id: DispatchId, timing: &Timing) -> Option<Entry> {
        let entry = self.remove(id)?;
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
        self.answered(id, |former_rate| bytes >= 0.5 * former_rate * took);
        Some(entry)
    }

    pub(crate) fn failed(&mut self, id: DispatchId, kind: AttemptErrorKind, now: Instant) -> Option<Entry> {
        let entry = self.remove(id)?;
        match kind {
            AttemptErrorKind::Refused => {
                self.points = self.points.saturating_add(1);
                self.refusals_in_a_row = self.refusals_in_a_row.saturating_add(1);
                self.last_refusal = Some(now);
                if entry.first.is_none() {
                    self.began(entry.sent, now);
                }
                self.last_done = Some(now);
                self.answered(id, |_| false);
                if self.points >= MAX_POINTS {
                    self.leave();
                }
            }
            AttemptErrorKind::Cancelled => self.answered(id, |_| false),
            AttemptErrorKind::Malformed | AttemptErrorKind::False => self.leave(),
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

    /// We wait no longer, while the peer still holds it.
    pub(crate) fn timed_out(&mut self, id: DispatchId, now: Instant) -> Option<Ticket> {
        let ticket = self.entries.iter_mut().find(|entry| entry.id == id)?.ticket.take();
        if self.cool(now) {
            self.depth.decrease();
        }
        ticket
    }

    pub(crate) fn leave(&mut self) {
        self.state = PeerState::Leaving;
    }

    /// Ends a rest that is over.
    pub(crate) fn thaw(&mut self, now: Instant) {
        if matches!(self.state, PeerState::Cooling { until } if until <= now) {
            self.state = PeerState::HalfOpen { probe: None };
        }
    }

    /// Takes the peer for stalled if what it owes has all but stopped coming. Whether it was taken so now.
    pub(crate) fn notice_stall(&mut self, now: Instant, common_rate: f64, sizes: &Sizes) -> bool {
        if !self.is_live() || !self.has_stalled(now, common_rate, sizes) {
            return false;
        }
        self.state = PeerState::Stalled { former_rate: self.rate.shrunk(common_rate) };
        true
    }

    fn remove(&mut self, id: DispatchId) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        self.entries.remove(index)
    }

    /// A reply, or the pong in its place, began.
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

    /// The peer answered one: a stall or a probe may be over.
    fn answered(&mut self, id: DispatchId, recovered: impl FnOnce(f64) -> bool) {
        match self.state {
            PeerState::Open => self.failures_in_a_row = 0,
            PeerState::Stalled { former_rate } if recovered(former_rate) => self.state = PeerState::Open,
            PeerState::Stalled { .. } if self.entries.is_empty() => self.state = PeerState::HalfOpen { probe: None },
            // A straggler from before the rest says nothing about now; only the probe does.
            PeerState::HalfOpen { probe } if probe == Some(id) => {
                self.state = PeerState::Open;
                self.failures_in_a_row = 0;
            }
            _ => {}
        }
    }

    /// Begins a rest. Several requests that fail together are one failure: whether this was the first.
    fn cool(&mut self, now: Instant) -> bool {
        if matches!(self.state, PeerState::Leaving | PeerState::Cooling { .. }) {
            return false;
        }
        let rest = COOL_DOWN.saturating_mul(1 << self.failures_in_a_row.min(16)).min(MAX_COOL_DOWN);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.state = PeerState::Cooling { until: now + rest };
        true
    }
}
