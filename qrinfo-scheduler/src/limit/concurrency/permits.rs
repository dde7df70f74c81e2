use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use qrinfo_core::RequestPriority;

use crate::{
    aimd::Aimd,
    queue::{Place, Queue, Ticket},
};

/// As the scheduler's default.
const AGEING: Duration = Duration::from_secs(30);

/// Permits that go to the most urgent of those that wait.
#[derive(Debug)]
pub(super) struct Permits {
    limit: usize,
    adaptive: Option<Aimd>,
    in_use: usize,
    queue: Queue,
    wakers: HashMap<Ticket, Waker>,
    last: u64,
}

/// Shared by all services of a layer.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Permits>>);

/// A place in the queue; then, with [`poll`](Self::poll), a permit. Given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    shared: Shared,
    place: Place,
    held: bool,
}

// === impl Permits ===

impl Permits {
    fn limit(&self) -> usize {
        self.adaptive.as_ref().map_or(self.limit, |aimd| aimd.limit().min(self.limit))
    }

    /// Whose turn it is, if there is a permit.
    fn turn(&self, now: Instant) -> Option<(Ticket, bool)> {
        if self.in_use >= self.limit() {
            return None;
        }
        match self.queue.overdue(None, AGEING, now) {
            Some(ticket) => Some((ticket, true)),
            None => self.queue.below(None).next().map(|place| (place.ticket, false)),
        }
    }

    /// Wakes whoever is to have the next permit.
    fn wake_next(&mut self, now: Instant) {
        if let Some(waker) = self.turn(now).and_then(|(ticket, _)| self.wakers.get(&ticket)) {
            waker.wake_by_ref();
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(limit: usize, adaptive: bool) -> Self {
        Self(Arc::new(Mutex::new(Permits {
            limit,
            adaptive: adaptive.then(|| Aimd::new(limit)),
            in_use: 0,
            queue: Queue::default(),
            wakers: HashMap::new(),
            last: 0,
        })))
    }

    pub(super) fn set_limit(&self, limit: usize, now: Instant) {
        let mut permits = self.lock();
        permits.limit = limit;
        if permits.adaptive.is_some() {
            permits.adaptive = Some(Aimd::new(limit));
        }
        permits.wake_next(now);
    }

    pub(super) fn limit(&self) -> usize {
        self.lock().limit()
    }

    pub(super) fn in_use(&self) -> usize {
        self.lock().in_use
    }

    /// Moves an adaptive limit.
    pub(super) fn learn(&self, congested: bool) {
        if let Some(aimd) = &mut self.lock().adaptive {
            if congested { aimd.decrease() } else { aimd.increase() }
        }
    }

    pub(super) fn claim(&self, priority: RequestPriority, order: u64, now: Instant) -> Claim {
        let mut permits = self.lock();
        permits.last += 1;
        let place = Place { priority, order, again: false, since: now, ticket: Ticket(permits.last) };
        permits.queue.insert(place);
        drop(permits);
        Claim { shared: self.clone(), place, held: false }
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Claim ===

impl Claim {
    /// Ready with the permit.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.held {
            return Poll::Ready(());
        }
        let mut permits = self.shared.lock();
        match permits.turn(now) {
            Some((ticket, aged)) if ticket == self.place.ticket => {
                permits.queue.remove(&self.place);
                permits.queue.count_send(aged);
                permits.wakers.remove(&ticket);
                permits.in_use += 1;
                permits.wake_next(now);
                self.held = true;
                Poll::Ready(())
            }
            next => {
                permits.wakers.insert(self.place.ticket, cx.waker().clone());
                // It is somebody else's turn: whoever it is may not know.
                if next.is_some() {
                    permits.wake_next(now);
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut permits = self.shared.lock();
        if self.held {
            permits.in_use -= 1;
        } else {
            permits.queue.remove(&self.place);
            permits.wakers.remove(&self.place.ticket);
        }
        permits.wake_next(tokio::time::Instant::now().into_std());
    }
}
