use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};

use crate::{Gcra, Rate};

/// One bucket for all services of a layer.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bucket: Gcra,
    /// Who sleeps until the bucket conforms, to be told when its rate changes.
    sleepers: HashMap<u64, Waker>,
    last: u64,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self(Arc::new(Mutex::new(State { bucket: Gcra::new(rate), sleepers: HashMap::new(), last: 0 })))
    }

    pub(super) fn set_rate(&self, rate: Rate) {
        let mut state = self.lock();
        state.bucket.set_rate(rate);
        for (_, waker) in state.sleepers.drain() {
            waker.wake();
        }
    }

    /// A name for one that may sleep.
    pub(super) fn name(&self) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        state.last
    }

    /// Takes a turn, or says when to try again.
    pub(super) fn take(&self, sleeper: u64, waker: &Waker, now: Instant) -> Result<(), Instant> {
        let mut state = self.lock();
        let next = state.bucket.next(now);
        if next <= now {
            state.bucket.take(now);
            state.sleepers.remove(&sleeper);
            Ok(())
        } else {
            state.sleepers.insert(sleeper, waker.clone());
            Err(next)
        }
    }

    pub(super) fn forget(&self, sleeper: u64) {
        self.lock().sleepers.remove(&sleeper);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
