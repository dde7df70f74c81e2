//! One request to all peers, and its remainder after its end.

use std::time::{Duration, Instant};

use qrinfo_core::{
    Answer, AttemptError, AttemptErrorKind, PeerId, QRInfoRequestSpec, Reply, Request, SendId, Timing, wire::Wire,
};

use crate::{error::TimeoutCause, reply::ReplySender};

/// The destination of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correlated {
    /// It answered this request.
    Answered(SendId),
    /// It was dropped: a copy from another peer was accepted before, or no caller waits for it.
    Dropped(SendId),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SendId,
    pub(super) request: Request,
    sent: Instant,
    /// Everything asked before was settled.
    pub(super) head: Option<Instant>,
    /// Peers that may still answer it.
    pub(super) copies: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Vec<Caller>),
    /// Remembered until then.
    Settled {
        answered: bool,
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) respond: ReplySender,
    pub(super) deadline: Option<Instant>,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(id: SendId, request: Request, copies: usize, caller: Caller, now: Instant) -> Self {
        Self { id, request, sent: now, head: None, copies, state: State::Waiting(vec![caller]) }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Settled { answered: true, .. })
    }

    pub(super) fn remembered_until(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(_) => None,
            State::Settled { until, .. } => Some(until),
        }
    }

    /// Adds a caller to those that wait; gives it back if the request has ended.
    pub(super) fn join(&mut self, caller: Caller) -> Result<(), Caller> {
        match &mut self.state {
            State::Waiting(callers) => {
                callers.push(caller);
                Ok(())
            }
            State::Settled { .. } => Err(caller),
        }
    }

    pub(super) fn callers(&self) -> usize {
        match &self.state {
            State::Waiting(callers) => callers.len(),
            State::Settled { .. } => 0,
        }
    }

    /// True if a reply to this request could be mistaken for a reply to `spec`, a different request.
    pub(super) fn collides_with(&self, spec: &QRInfoRequestSpec) -> bool {
        match &self.request {
            Request::QrInfo(own) => own != spec && own.work_block_hashes.first() == spec.work_block_hashes.first(),
            Request::MnListDiff(_) => false,
        }
    }

    /// The next instant at which something becomes due, apart from the timeout of the oldest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(callers) => callers.iter().filter_map(|caller| caller.deadline).min(),
            State::Settled { until, .. } => Some(*until),
        }
    }

    /// Takes a reply that answers it.
    pub(super) fn answer(&mut self, reply: Reply, remember: Duration, now: Instant) -> Correlated {
        self.copies = self.copies.saturating_sub(1);
        let settled = State::Settled { answered: true, until: now + remember };
        let State::Waiting(mut callers) = std::mem::replace(&mut self.state, settled) else {
            return Correlated::Dropped(self.id);
        };
        callers.retain(|caller| !caller.respond.is_closed());
        let Some(last) = callers.pop() else { return Correlated::Dropped(self.id) };
        let timing = Timing {
            peer: PeerId::ALL,
            sent: self.sent,
            head: self.head,
            first_byte: Some(now),
            done: now,
            bytes: payload_length(&reply),
        };
        for caller in callers {
            // The caller may be gone.
            let _ = caller.respond.send(Ok(Answer { reply: reply.clone(), timing }));
        }
        let _ = last.respond.send(Ok(Answer { reply, timing }));
        Correlated::Answered(self.id)
    }

    /// Removes callers that hung up or passed their deadline. Returns true if a deadline ended the request.
    pub(super) fn drop_callers(&mut self, remember: Duration, now: Instant) -> bool {
        let timing = self.timing(now);
        let State::Waiting(callers) = &mut self.state else { return false };
        callers.retain(|caller| !caller.respond.is_closed());
        let due = |caller: &mut Caller| caller.deadline.is_some_and(|deadline| deadline <= now);
        let mut expired = false;
        for caller in callers.extract_if(.., due) {
            expired = true;
            let _ = caller.respond.send(Err(timed_out(TimeoutCause::Deadline, timing)));
        }
        if callers.is_empty() {
            self.settle(remember, now);
            return expired;
        }
        false
    }

    /// No peer has answered in time.
    pub(super) fn time_out(&mut self, timeout: Duration, now: Instant) {
        let timing = self.timing(now);
        if let State::Waiting(callers) = self.settle(timeout, now) {
            for caller in callers {
                let _ = caller.respond.send(Err(timed_out(TimeoutCause::Silent(timeout), timing)));
            }
        }
    }

    fn settle(&mut self, remember: Duration, now: Instant) -> State {
        std::mem::replace(&mut self.state, State::Settled { answered: false, until: now + remember })
    }

    pub(super) fn fail(self, error: impl Fn() -> AttemptError) {
        if let State::Waiting(callers) = self.state {
            for caller in callers {
                let _ = caller.respond.send(Err(error().at(PeerId::ALL)));
            }
        }
    }

    fn timing(&self, now: Instant) -> Timing {
        Timing { peer: PeerId::ALL, sent: self.sent, head: self.head, first_byte: None, done: now, bytes: 0 }
    }
}

fn timed_out(cause: TimeoutCause, timing: Timing) -> AttemptError {
    AttemptError::new(AttemptErrorKind::Timeout).at(PeerId::ALL).timed(timing).because(cause)
}

fn payload_length(reply: &Reply) -> u64 {
    let payload = match reply {
        Reply::QrInfo(reply) => reply.to_wire(),
        Reply::MnListDiff(diff) => diff.to_wire(),
    };
    payload.len() as u64
}
