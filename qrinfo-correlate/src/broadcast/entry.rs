//! One request to all peers, and its remainder after its end.

use std::time::{Duration, Instant};

use qrinfo_core::{
    Answer, AttemptError, AttemptErrorKind, AttemptResult, PeerId, QRInfoRequestSpec, Reply, Request, SendId, Timing,
    wire::Wire,
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
    /// None after the end.
    pub(super) callers: Vec<Caller>,
    end: Option<End>,
}

/// The end of a request that is remembered.
#[derive(Debug, Clone, Copy)]
struct End {
    answered: bool,
    /// Remembered until then.
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) respond: ReplySender,
    pub(super) deadline: Option<Instant>,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(id: SendId, request: Request, copies: usize, caller: Caller, now: Instant) -> Self {
        Self { id, request, sent: now, head: None, copies, callers: vec![caller], end: None }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn is_answered(&self) -> bool {
        self.end.is_some_and(|end| end.answered)
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| end.until <= now)
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
        self.callers.iter().filter_map(|caller| caller.deadline).chain(self.end.map(|end| end.until)).min()
    }

    /// Takes a reply that answers it.
    pub(super) fn answer(&mut self, reply: Reply, remember: Duration, now: Instant) -> Correlated {
        self.copies = self.copies.saturating_sub(1);
        self.end = Some(End { answered: true, until: now + remember });
        self.callers.retain(|caller| !caller.respond.is_closed());
        if self.callers.is_empty() {
            return Correlated::Dropped(self.id);
        }
        let timing = Timing { first_byte: Some(now), bytes: payload_length(&reply), ..self.timing(now) };
        self.respond(|| Ok(Answer { reply: reply.clone(), timing }));
        Correlated::Answered(self.id)
    }

    /// Removes callers that hung up or passed their deadline. Returns true if a deadline ended the request.
    pub(super) fn drop_callers(&mut self, remember: Duration, now: Instant) -> bool {
        let timing = self.timing(now);
        self.callers.retain(|caller| !caller.respond.is_closed());
        let due = |caller: &mut Caller| caller.deadline.is_some_and(|deadline| deadline <= now);
        let mut expired = false;
        for caller in self.callers.extract_if(.., due) {
            expired = true;
            let _ = caller.respond.send(Err(timed_out(TimeoutCause::Deadline, timing)));
        }
        let ends = self.is_waiting() && self.callers.is_empty();
        if ends {
            self.end = Some(End { answered: false, until: now + remember });
        }
        ends && expired
    }

    /// No peer has answered in time.
    pub(super) fn time_out(&mut self, timeout: Duration, now: Instant) {
        let timing = self.timing(now);
        self.end = Some(End { answered: false, until: now + timeout });
        self.respond(|| Err(timed_out(TimeoutCause::Silent(timeout), timing)));
    }

    /// Tells all callers, which may be gone.
    pub(super) fn respond(&mut self, result: impl Fn() -> AttemptResult) {
        for caller in self.callers.drain(..) {
            let _ = caller.respond.send(result());
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
