use std::time::Duration;

use qrinfo_core::PeerEvent;
use tokio::sync::mpsc;

/// A peer for the scheduler: a service that takes attempts, and the facts about the peer.
#[derive(Debug)]
pub struct Peer<S> {
    pub(super) service: S,
    pub(super) height: u32,
    pub(super) round_trip: Duration,
    pub(super) events: Option<mpsc::UnboundedReceiver<PeerEvent>>,
}

// === impl Peer ===

impl<S> Peer<S> {
    /// A peer of which only the ends of sendings are seen. `height` is that of its tip, `round_trip` the time of a ping.
    pub fn new(service: S, height: u32, round_trip: Duration) -> Self {
        Self { service, height, round_trip, events: None }
    }

    /// A peer that reports [`Progress`](PeerEvent::Progress), [`Ended`](PeerEvent::Ended), [`Left`](PeerEvent::Left) and
    /// [`Banned`](PeerEvent::Banned) of its connection, as a `PeerService` does. Sendings are named by
    /// [`Attempt::send`](qrinfo_core::Attempt::send).
    ///
    /// A stall is then seen as it happens, and a request that times out keeps its slot until
    /// [`Ended`](PeerEvent::Ended) says that the peer has dealt with it. Without reports the slot is free with the
    /// timeout. When all senders are dropped the service is asked whether it is still ready, so that the end of an idle
    /// peer is seen.
    #[must_use]
    pub fn with_events(self, events: mpsc::UnboundedReceiver<PeerEvent>) -> Self {
        Self { events: Some(events), ..self }
    }
}
