//! The queue before a limit: the choice of the next request and of the waker to wake.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use qrinfo_core::RequestPriority;

use super::rule::Rule;
use crate::{now, queue::AGED_SHARE};

/// The wait after which age decides; the same as the scheduler's default.
const AGEING: Duration = Duration::from_secs(30);

/// Requests that may wait at one layer, about 5 MB of them. It is above every window of requests that this project
/// plans, and the scheduler's default capacity.
pub(super) const MAX_WAITING: usize = 16_384;

/// The order of service: by priority, then by order, then by arrival. A limit above that asks for readiness has no
/// priority, because it has its own queue: it comes last, and never keeps others waiting.
pub(super) type Rank = (Reverse<Option<RequestPriority>>, u64, u64);

/// Shared by all services of a layer.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

/// The way to one service below. It wakes the lane when that service is ready, whatever became of the request that
/// asked.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) gate: Gate,
    pub(super) lane: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rule: Rule,
    lanes: BTreeMap<u64, Lane>,
    /// A waiter asks its service for readiness now. One at a time, so that what the rule allowed before the question is
    /// still allowed after it.
    pub(super) asking: bool,
    /// Calls since the last one that ageing could decide.
    calls: u32,
    last: u64,
}

/// The requests that wait for one service below.
#[derive(Debug, Default)]
struct Lane {
    /// The service is not ready, or is reserved; it will wake the lane. A closed lane does not hold up the others.
    closed: bool,
    waiters: BTreeMap<Rank, Waiter>,
    /// Requests alone, by arrival.
    by_age: BTreeMap<u64, (Instant, Rank)>,
}

#[derive(Debug, Default)]
struct Waiter {
    /// Taken when woken, until it asks again.
    waker: Option<Waker>,
    /// The instant for which it has set a timer.
    until: Option<Instant>,
}

/// An answer to a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the service below, [pass](State::pass) if it is ready, and then end the [question](State::asking).
    Now,
    /// Ask again then, or when woken.
    At(Instant),
    /// Ask again when woken.
    Later,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(rule: Rule) -> Self {
        Self(Arc::new(Mutex::new(State { rule, lanes: BTreeMap::new(), asking: false, calls: 0, last: 0 })))
    }

    /// Reads or changes the state, then wakes the waiter that may pass now and does not know it. Every access goes
    /// through here, so that no change can forget to wake.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state, now);
        let wakers = state.wakers(now);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn open_door(&self) -> Arc<Door> {
        let lane = self.change(|state, _| {
            state.last += 1;
            state.lanes.insert(state.last, Lane::default());
            state.last
        });
        Arc::new(Door { gate: self.clone(), lane })
    }
}

// === impl Door ===

impl Wake for Door {
    fn wake(self: Arc<Self>) {
        self.gate.change(|state, _| state.lanes.get_mut(&self.lane).into_iter().for_each(|lane| lane.closed = false));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.gate.change(|state, _| state.lanes.remove(&self.lane));
    }
}

// === impl State ===

impl State {
    /// Adds a waiter: a request with its priority and order, or a limit above. `None` if too many wait.
    pub(super) fn join(&mut self, lane: u64, request: Option<(RequestPriority, u64)>, now: Instant) -> Option<Rank> {
        let waiting: usize = self.lanes.values().map(|lane| lane.by_age.len()).sum();
        if request.is_some() && waiting >= MAX_WAITING {
            return None;
        }
        self.last += 1;
        let rank = (Reverse(request.map(|(priority, _)| priority)), request.map_or(0, |(_, order)| order), self.last);
        let lane = self.lanes.get_mut(&lane)?;
        lane.waiters.insert(rank, Waiter::default());
        if request.is_some() {
            lane.by_age.insert(self.last, (now, rank));
        }
        Some(rank)
    }

    pub(super) fn leave(&mut self, lane: u64, rank: Rank) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.waiters.remove(&rank);
            lane.by_age.remove(&rank.2);
        }
    }

    /// Says when a waiter may pass, and keeps its waker.
    pub(super) fn ask(&mut self, lane: u64, rank: Rank, waker: &Waker, now: Instant) -> Turn {
        let (first, at) = (self.first(now), self.next(now));
        let Some(lane) = self.lanes.get_mut(&lane) else { return Turn::Later };
        let is_next =
            first.is_some_and(|(first, _)| first == rank || is_limit(first) && is_limit(rank) && !lane.closed);
        let turn = match at.filter(|_| is_next) {
            Some(at) if at <= now => Turn::Now,
            Some(at) => Turn::At(at),
            None => Turn::Later,
        };
        if let Some(waiter) = lane.waiters.get_mut(&rank) {
            waiter.waker = Some(waker.clone());
            waiter.until = if let Turn::At(at) = turn { Some(at) } else { None };
        }
        if turn == Turn::Now {
            // Closed before the service is asked: it may wake the lane before it has answered.
            lane.closed = true;
            self.asking = true;
        }
        turn
    }

    /// Takes the permit and the turn for a waiter whose service is ready.
    pub(super) fn pass(&mut self, lane: u64, rank: Rank, now: Instant) {
        self.rule.take(now);
        self.leave(lane, rank);
        self.calls = (self.calls + 1) % AGED_SHARE;
    }

    /// The earliest instant at which a waiter may pass; `None` until another change.
    fn next(&self, now: Instant) -> Option<Instant> {
        self.rule.next(now).filter(|_| !self.asking)
    }

    /// The waiter that passes next, with its lane.
    fn first(&self, now: Instant) -> Option<(Rank, u64)> {
        let open = || self.lanes.iter().filter(|(_, lane)| !lane.closed);
        let oldest = open().filter_map(|(&id, lane)| Some((lane.by_age.first_key_value()?, id))).min();
        oldest
            .filter(|((_, (since, _)), _)| self.calls + 1 == AGED_SHARE && now.duration_since(*since) >= AGEING)
            .map(|((_, (_, rank)), lane)| (*rank, lane))
            .or_else(|| open().filter_map(|(&id, lane)| Some((*lane.waiters.first_key_value()?.0, id))).min())
    }

    /// The waker of the next request; if none waits, those of all limits above whose service may be ready.
    fn wakers(&mut self, now: Instant) -> Vec<Waker> {
        let (Some(at), Some((first, lane))) = (self.next(now), self.first(now)) else { return Vec::new() };
        let wake = |waiter: &mut Waiter| waiter.waker.take_if(|_| waiter.until != Some(at));
        if is_limit(first) {
            let open = self.lanes.values_mut().filter(|lane| !lane.closed);
            return open.flat_map(|lane| lane.waiters.values_mut()).filter_map(wake).collect();
        }
        let waiter = self.lanes.get_mut(&lane).and_then(|lane| lane.waiters.get_mut(&first));
        waiter.and_then(wake).into_iter().collect()
    }
}

/// Returns true if it is not a request that waits, but a limit above.
fn is_limit((Reverse(priority), ..): Rank) -> bool {
    priority.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(priority: RequestPriority, order: u64) -> Option<(RequestPriority, u64)> {
        Some((priority, order))
    }

    #[test]
    fn what_waits_for_a_service_is_forgotten_with_it() {
        let gate = Gate::new(Rule::concurrency(1, false));
        let (kept, dropped) = (gate.open_door(), gate.open_door());
        gate.change(|state, now| state.join(dropped.lane, request(RequestPriority::Low, 0), now));
        drop(dropped);
        assert_eq!(gate.change(|state, _| state.lanes.keys().copied().collect::<Vec<_>>()), [kept.lane]);
    }

    /// A limit above has no request yet: it would take the turn of one that has waited.
    #[test]
    fn a_limit_above_waits_while_a_request_waits_at_another_service() {
        let gate = Gate::new(Rule::concurrency(8, false));
        let (one, other) = (gate.open_door(), gate.open_door());
        gate.change(|state, now| {
            let limit = state.join(one.lane, None, now).unwrap();
            let waiting = state.join(other.lane, request(RequestPriority::Low, 0), now).unwrap();
            assert_eq!(state.ask(one.lane, limit, Waker::noop(), now), Turn::Later);
            assert_eq!(state.ask(other.lane, waiting, Waker::noop(), now), Turn::Now);
        });
    }

    /// Ageing has one turn of eight, not more and not fewer.
    #[test]
    fn each_eighth_call_is_that_of_the_oldest() {
        let gate = Gate::new(Rule::concurrency(100, false));
        let door = gate.open_door();
        gate.change(|state, start| {
            let mut join = |priority, order| state.join(door.lane, request(priority, order), start).unwrap();
            let aged: Vec<_> = (0..2).map(|order| join(RequestPriority::Low, order)).collect();
            (0..20).for_each(|order| _ = join(RequestPriority::High, order));
            let now = start + AGEING;
            let pass = |_| {
                let (rank, lane) = state.first(now).unwrap();
                state.pass(lane, rank, now);
                rank
            };
            let passed: Vec<_> = (0..16).map(pass).collect();
            let places: Vec<_> = passed.iter().enumerate().filter(|(_, rank)| aged.contains(rank)).collect();
            assert_eq!(places, [(7, &aged[0]), (15, &aged[1])]);
        });
    }
}
