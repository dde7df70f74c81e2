use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind};
use tokio::time::{self, Instant, Sleep};

use super::gate::{Gate, MAX_WAITING, Turn};
use crate::{queue::Ticket, scheduler::SubmitError};

/// A place before a limit, then a permit. Dropping it gives back either.
#[derive(Debug)]
pub(super) struct Seat {
    gate: Gate,
    lane: u64,
    ticket: Ticket,
    passed: bool,
    /// It stands for a limit above.
    watches: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A question to the service below. A panic of the service ends it like an error.
struct Question<'a> {
    seat: &'a mut Seat,
    answer: Poll<bool>,
}

// === impl Seat ===

impl Seat {
    /// A place in the queue for an attempt, or a seat outside of it for a limit above.
    pub(super) fn new(gate: &Gate, lane: u64, attempt: Option<&Attempt>) -> Result<Self, AttemptError> {
        let rank = attempt.map(|attempt| (attempt.priority, attempt.id.0));
        let ticket = gate.change(|state, now| state.join(lane, rank, now)).ok_or_else(|| {
            let error = AttemptError::new(AttemptErrorKind::Overloaded);
            match attempt.cloned().map(Box::new) {
                Some(attempt) => error.because(SubmitError::QueueFull { attempt, capacity: MAX_WAITING }),
                None => error,
            }
        })?;
        Ok(Self { gate: gate.clone(), lane, ticket, passed: false, watches: attempt.is_none(), sleep: None })
    }

    pub(super) fn has_passed(&self) -> bool {
        self.passed
    }

    /// Polls the service below when it is this seat's turn. Ready with its answer, and with the permit and the turn
    /// taken if that is `Ok`.
    pub(super) fn poll(
        &mut self,
        waker: &Waker,
        below: impl FnOnce() -> Poll<Result<(), AttemptError>>,
    ) -> Poll<Result<(), AttemptError>> {
        loop {
            match self.gate.change(|state, now| state.ask(self.ticket, waker, now)) {
                Turn::Now => return Question { seat: self, answer: Poll::Ready(false) }.put(below),
                Turn::At(at) => ready!(self.poll_sleep(at.into(), waker)),
                Turn::Later => {
                    self.sleep = None;
                    return Poll::Pending;
                }
            }
        }
    }

    /// The request is made: other requests may use the service again.
    pub(super) fn release_service(&mut self) {
        if std::mem::take(&mut self.watches) {
            self.gate.change(|state, _| state.reserve(self.lane, false));
        }
    }

    /// Gives the permit back, and moves an adaptive limit by the end of the request.
    pub(super) fn finish(self, error: Option<&AttemptError>) {
        if self.passed {
            self.gate.change(|state, _| state.rule.learn(error));
        }
    }

    fn poll_sleep(&mut self, at: Instant, waker: &Waker) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(&mut Context::from_waker(waker))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.change(|state, _| {
            if self.passed {
                state.rule.give_back();
            } else {
                state.leave(self.ticket);
            }
            if self.passed && self.watches {
                state.reserve(self.lane, false);
            }
        });
    }
}

// === impl Question ===

impl Question<'_> {
    fn put(mut self, below: impl FnOnce() -> Poll<Result<(), AttemptError>>) -> Poll<Result<(), AttemptError>> {
        let answer = below();
        self.answer = match &answer {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => Poll::Pending,
        };
        self.seat.passed = self.answer == Poll::Ready(true);
        answer
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.seat.gate.change(|state, now| state.settle(self.seat.ticket, self.answer, now));
    }
}
