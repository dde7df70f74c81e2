//! One request in a peer's queue.

use std::time::Instant;

use qrinfo_core::{Attempt, PeerId, Request, Timing};

use crate::Ticket;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) attempt: u64,
    pub(crate) request: Request,
    pub(crate) deadline: Option<Instant>,
    /// The number in its fence; no other entry of the connection has it.
    pub(crate) nonce: u64,
    /// Whether somebody waits for it. If not, and it was sent, it is a tombstone.
    pub(crate) live: bool,
    pub(crate) sent: Option<Instant>,
    /// Whether everything is sent that belongs to it, the fence included.
    pub(crate) fenced: bool,
    pub(crate) head: Option<Instant>,
}

/// What is known of the reply that is arriving, or has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) first_byte: Instant,
    pub(crate) bytes: u64,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(ticket: Ticket, attempt: Attempt, nonce: u64) -> Self {
        Self {
            ticket,
            attempt: attempt.id,
            request: attempt.request,
            deadline: attempt.deadline,
            nonce,
            live: true,
            sent: None,
            fenced: false,
            head: None,
        }
    }

    /// What its end at `now` looks like, or `None` if it was not sent.
    pub(crate) fn timing(&self, peer: PeerId, arrival: Option<Arrival>, now: Instant) -> Option<Timing> {
        self.sent.map(|sent| self.timing_since(peer, sent, arrival, now))
    }

    pub(crate) fn timing_since(&self, peer: PeerId, sent: Instant, arrival: Option<Arrival>, now: Instant) -> Timing {
        Timing {
            peer,
            sent,
            head: self.head,
            first_byte: arrival.map(|arrival| arrival.first_byte),
            done: now,
            bytes: arrival.map_or(0, |arrival| arrival.bytes),
        }
    }
}
