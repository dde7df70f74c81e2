//! The queue before a limit: the choice of the next request and of the waker to wake.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use qrinfo_core::RequestPriority;

use super::rule::Rule;
use crate::queue::{Place, Queue, Ticket};

/// The wait after which age decides; the same as the scheduler's default.
const AGEING: Duration = Duration::from_secs(30);

/// Requests that may wait at one layer, about 5 MB of them. It is above every window of requests that this project
/// plans, and the scheduler's default capacity.
pub(super) const MAX_WAITING: usize = 16_384;

/// Shared by all services of a layer.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) rule: Rule,
    /// The first and the oldest of each open lane: the first and the oldest of all are among them.
    front: Queue,
    lanes: HashMap<u64, Lane>,
    waiters: HashMap<Ticket, Waiter>,
    /// Waiters without a place, the one that asked last at the end.
    watchers: Vec<Ticket>,
    /// The waiter that asks its service for readiness now, and whether ageing chose it. One at a time, so that what the
    /// rule allowed before the question is still allowed after it.
    asking: Option<(Ticket, bool)>,
    last: u64,
}

/// The requests that wait for one service below. Closed lanes do not hold up the others.
#[derive(Debug, Default)]
struct Lane {
    queue: Queue,
    /// Copies in [`State::front`].
    shown: Vec<Place>,
    /// The service is not ready, and will wake the lane.
    asked: bool,
    /// The service is ready for a request that has passed and is about to be made.
    reserved: bool,
}

#[derive(Debug)]
struct Waiter {
    lane: u64,
    /// `None` for a limit above that asks for readiness: it has its own queue. It never keeps others waiting.
    place: Option<Place>,
    /// Taken when woken, until it asks again.
    waker: Option<Waker>,
    /// The instant for which it has set a timer.
    until: Option<Instant>,
}

/// An answer to a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the service below, then [settle](State::settle).
    Now,
    /// Ask again then, or when woken.
    At(Instant),
    /// Ask again when woken.
    Later,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(rule: Rule) -> Self {
        Self(Arc::new(Mutex::new(State {
            rule,
            front: Queue::default(),
            lanes: HashMap::new(),
            waiters: HashMap::new(),
            watchers: Vec::new(),
            asking: None,
            last: 0,
        })))
    }

    /// Reads or changes the state, then wakes the waiter that may pass now and does not know it. Every access goes
    /// through here, so that no change can forget to wake.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state, now);
        let wakers = state.wakers(now);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }
}

// === impl State ===

impl State {
    pub(super) fn open_lane(&mut self) -> u64 {
        self.last += 1;
        self.lanes.insert(self.last, Lane::default());
        self.last
    }

    pub(super) fn remove_lane(&mut self, lane: u64) {
        self.lanes.remove(&lane);
    }

    /// Adds a waiter: a request with its priority and order, or a limit above. `None` if too many wait.
    pub(super) fn join(&mut self, lane: u64, rank: Option<(RequestPriority, u64)>, now: Instant) -> Option<Ticket> {
        if rank.is_some() && self.waiters.len() >= MAX_WAITING {
            return None;
        }
        self.last += 1;
        let ticket = Ticket(self.last);
        let place =
            rank.map(|(priority, order)| Place { priority, order, again: false, failed: false, since: now, ticket });
        self.waiters.insert(ticket, Waiter { lane, place, waker: None, until: None });
        self.update(lane, |lane| place.into_iter().for_each(|place| lane.queue.insert(place)));
        Some(ticket)
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        let Some(waiter) = self.waiters.remove(&ticket) else { return };
        match waiter.place {
            Some(place) => self.update(waiter.lane, |lane| _ = lane.queue.remove(&place)),
            None => self.watchers.retain(|&watcher| watcher != ticket),
        }
    }

    /// Says when a waiter may pass, and keeps its waker.
    pub(super) fn ask(&mut self, ticket: Ticket, waker: &Waker, now: Instant) -> Turn {
        let next = self.first(now);
        let at = self.rule.next(now).filter(|_| self.asking.is_none());
        let Some(waiter) = self.waiters.get_mut(&ticket) else { return Turn::Later };
        let is_next = match (waiter.place, next) {
            (Some(_), Some((first, _))) => first == ticket,
            (None, None) => self.lanes.get(&waiter.lane).is_some_and(Lane::is_open),
            _ => false,
        };
        let turn = match at {
            Some(at) if is_next && at <= now => Turn::Now,
            Some(at) if is_next => Turn::At(at),
            _ => Turn::Later,
        };
        waiter.waker = Some(waker.clone());
        waiter.until = if let Turn::At(at) = turn { Some(at) } else { None };
        let lane = waiter.lane;
        if waiter.place.is_none() {
            self.watchers.retain(|&watcher| watcher != ticket);
            self.watchers.push(ticket);
        }
        if turn == Turn::Now {
            self.asking = Some((ticket, next.is_some_and(|(_, aged)| aged)));
            // Closed before the service is asked: it may wake the lane before it has answered.
            self.update(lane, |lane| lane.asked = true);
        }
        turn
    }

    /// Takes the permit and the turn if the service below is ready: `true`. It is open again if it has failed: `false`.
    pub(super) fn settle(&mut self, ticket: Ticket, answer: Poll<bool>, now: Instant) {
        let Some((_, aged)) = self.asking.take() else { return };
        let Some(&Waiter { lane, place, .. }) = self.waiters.get(&ticket) else { return };
        if answer.is_ready() {
            self.wake_lane(lane);
        }
        if answer == Poll::Ready(true) {
            self.rule.take(now);
            self.front.count_send(aged);
            self.leave(ticket);
            self.reserve(lane, place.is_none());
        }
    }

    /// The service below may have become ready.
    pub(super) fn wake_lane(&mut self, lane: u64) {
        self.update(lane, |lane| lane.asked = false);
    }

    /// Keeps the service below for a request that has passed, or opens it again.
    pub(super) fn reserve(&mut self, lane: u64, reserved: bool) {
        self.update(lane, |lane| lane.reserved = reserved);
    }

    /// The waiter that passes next, and whether ageing chose it.
    fn first(&self, now: Instant) -> Option<(Ticket, bool)> {
        match self.front.overdue(None, AGEING, now) {
            Some(ticket) => Some((ticket, true)),
            None => self.front.below(None).next().map(|place| (place.ticket, false)),
        }
    }

    /// The waker of the next request; if none waits, those of all limits above whose service may be ready.
    fn wakers(&mut self, now: Instant) -> Vec<Waker> {
        let Some(at) = self.rule.next(now).filter(|_| self.asking.is_none()) else { return Vec::new() };
        let first = self.first(now).map(|(ticket, _)| ticket);
        let watchers = if first.is_none() { self.watchers.as_slice() } else { &[] };
        let mut wakers = Vec::new();
        for ticket in first.iter().chain(watchers) {
            let Some(waiter) = self.waiters.get_mut(ticket) else { continue };
            let is_open = self.lanes.get(&waiter.lane).is_some_and(Lane::is_open);
            if is_open && waiter.until != Some(at) {
                wakers.extend(waiter.waker.take());
            }
        }
        wakers
    }

    /// Changes a lane and what the front holds of it.
    fn update(&mut self, lane: u64, change: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(&lane) else { return };
        change(lane);
        for place in lane.shown.drain(..) {
            self.front.remove(&place);
        }
        if lane.is_open() {
            let oldest = lane.queue.oldest().and_then(|ticket| self.waiters.get(&ticket)?.place);
            lane.shown.extend(lane.queue.below(None).next().copied().into_iter().chain(oldest));
            lane.shown.iter().for_each(|place| self.front.insert(*place));
        }
    }
}

// === impl Lane ===

impl Lane {
    fn is_open(&self) -> bool {
        !self.asked && !self.reserved
    }
}
