use std::{collections::BTreeMap, time::Instant};

use qrinfo_core::{Attempt, PeerId, RequestId, SendId};

use crate::{
    peer::PeerHealth,
    queue::{Place, Ticket},
};

/// The requests that have not ended.
pub(crate) type Jobs = BTreeMap<RequestId, Job>;

/// A request that has not ended.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) attempt: Attempt,
    pub(crate) place: Place,
    /// The sendings that may still be answered.
    pub(crate) copies: Vec<SendId>,
    pub(crate) was_sent: bool,
}

// === impl Job ===

impl Job {
    pub(crate) fn new(attempt: Attempt, now: Instant) -> Self {
        let (priority, order) = (attempt.priority, attempt.id.0);
        let failed = !attempt.avoid.is_empty();
        let place = Place { priority, order, again: false, failed, since: now, ticket: Ticket(order) };
        Self { attempt, place, copies: Vec::new(), was_sent: false }
    }

    /// Returns true if this peer may be asked: it has not failed the request and does not hold it.
    pub(crate) fn allows(&self, peer: PeerId) -> bool {
        !self.attempt.avoid.contains(&peer) && self.copies.iter().all(|copy| copy.peer != peer)
    }

    /// Returns true if no peer has failed the request or holds it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.attempt.avoid.is_empty() && self.copies.is_empty()
    }

    /// Copies at peers that are expected to answer.
    pub(crate) fn trusted_copies(&self, peers: &BTreeMap<PeerId, PeerHealth>) -> usize {
        let is_trusted = |copy: &&SendId| peers.get(&copy.peer).is_some_and(PeerHealth::is_trusted);
        self.copies.iter().filter(is_trusted).count()
    }
}
