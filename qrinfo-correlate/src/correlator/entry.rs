//! One request in a peer's queue.

use std::time::Instant;

use qrinfo_core::{Attempt, PeerId, Request, SendId, Timing};

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) send: SendId,
    pub(crate) request: Request,
    pub(crate) deadline: Option<Instant>,
    /// The number in its fence; no other entry of the connection has it.
    pub(crate) nonce: u64,
    /// True while a caller waits for it. Otherwise, once sent, it is a tombstone.
    pub(crate) is_awaited: bool,
    pub(crate) stage: Stage,
}

/// The progress of a request on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is sent.
    Queued,
    /// The request is sent, its fence is not.
    Sent(Sent),
    /// Everything is sent.
    Fenced(Sent),
}

/// The instants of a request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    /// The instant at which the peer had dealt with everything before it.
    pub(crate) head: Option<Instant>,
}

/// The reply that is arriving, or has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) first_byte: Instant,
    pub(crate) bytes: u64,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(send: SendId, attempt: Attempt, nonce: u64) -> Self {
        Self {
            send,
            request: attempt.request,
            deadline: attempt.deadline,
            nonce,
            is_awaited: true,
            stage: Stage::Queued,
        }
    }

    /// The instants of sending, unless nothing is sent.
    pub(crate) fn sent(&self) -> Option<Sent> {
        match self.stage {
            Stage::Queued => None,
            Stage::Sent(sent) | Stage::Fenced(sent) => Some(sent),
        }
    }

    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self.stage, Stage::Fenced(_))
    }

    /// Notes that the peer has dealt with everything before it, unless that was noted before.
    pub(crate) fn becomes_head(&mut self, now: Instant) {
        if let Stage::Sent(sent) | Stage::Fenced(sent) = &mut self.stage {
            sent.head.get_or_insert(now);
        }
    }

    /// Its timing if it ends now, or `None` if it was not sent.
    pub(crate) fn timing(&self, arrival: Option<Arrival>, now: Instant) -> Option<Timing> {
        self.sent().map(|sent| sent.timing(self.send.peer, arrival, now))
    }
}

// === impl Sent ===

impl Sent {
    fn timing(&self, peer: PeerId, arrival: Option<Arrival>, now: Instant) -> Timing {
        Timing {
            peer,
            sent: self.at,
            head: self.head,
            first_byte: arrival.map(|arrival| arrival.first_byte),
            done: now,
            bytes: arrival.map_or(0, |arrival| arrival.bytes),
        }
    }
}
