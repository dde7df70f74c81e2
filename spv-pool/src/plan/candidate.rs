use std::time::{Duration, Instant};

use super::{FIRST_BACKOFF, LONGEST_BACKOFF, PATIENCE, Source};

/// A node that can be connected to, and what became of it so far.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) source: Source,
    pub(super) state: State,
    /// Attempts and connections that ended since the peer was last useful.
    pub(super) failures: u32,
    /// A random number that orders candidates which are equal otherwise.
    pub(super) order: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected, and not to be tried before this instant.
    Idle(Instant),
    /// Being connected to since this instant.
    Attempt(Instant),
    /// Connected, in the session of this number.
    Connected(u64),
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(source: Source, after: Instant, order: u64) -> Self {
        Self { source, state: State::Idle(after), failures: 0, order }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    pub(super) fn is_attempt(&self) -> bool {
        matches!(self.state, State::Attempt(_))
    }

    pub(super) fn is_in_use(&self) -> bool {
        !matches!(self.state, State::Idle(_))
    }

    pub(super) fn can_be_tried(&self, now: Instant) -> bool {
        matches!(self.state, State::Idle(after) if after <= now)
    }

    /// Returns `true` while the candidate holds a place: it is connected, or is likely to be soon.
    pub(super) fn fills_a_place(&self, now: Instant) -> bool {
        match self.state {
            State::Idle(_) => false,
            State::Attempt(since) => now < since + PATIENCE,
            State::Connected(_) => true,
        }
    }

    /// The next instant after `now` at which the candidate changes by itself.
    pub(super) fn changes_at(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Idle(after) => Some(after),
            State::Attempt(since) => Some(since + PATIENCE),
            State::Connected(_) => None,
        }
        .filter(|at| *at > now)
    }

    /// Notes a failure or an end, and starts the backoff.
    pub(super) fn rest(&mut self, now: Instant) {
        let backoff = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACKOFF);
        self.rest_for(backoff, now);
    }

    pub(super) fn rest_for(&mut self, time: Duration, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Idle(now + time);
    }
}
