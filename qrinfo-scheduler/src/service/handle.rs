use std::sync::{Arc, Mutex, PoisonError};

use qrinfo_core::{AttemptErrorKind, PeerEvent, PeerId, PeerTable};
use tokio::sync::{broadcast, mpsc, watch};

use super::{SendStats, command::Command};
use crate::{Event, Rate, Window};

/// A handle that changes a running scheduler and shows its ledger of peers. Clones belong to the same scheduler. A
/// change reaches the driver when it is polled next; after the driver's end it has no effect.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) peers: watch::Receiver<PeerTable>,
    pub(super) events: broadcast::WeakSender<Event>,
    pub(super) stats: Arc<Mutex<SendStats>>,
}

// === impl SchedulerHandle ===

impl SchedulerHandle {
    /// Sets the number of requests [in flight](crate::PeerHealth::counted_in_flight) at a time. `1` means sequential: a
    /// request starts when the one before has completed or its peer has stalled. Zero pauses. Requests in flight stay in
    /// flight.
    pub fn set_cap(&self, cap: usize) {
        self.send(Command::SetCap(cap));
    }

    /// Sets the rate of all sends; `None` for no limit.
    pub fn set_rate(&self, rate: Option<Rate>) {
        self.send(Command::SetRate(rate));
    }

    /// Sets the rate of sends to one peer; `None` for no limit.
    pub fn set_peer_rate(&self, rate: Option<Rate>) {
        self.send(Command::SetPeerRate(rate));
    }

    /// Sets the attempts that may be in flight; `None` for all. The stage that delivers in order moves it on.
    pub fn set_window(&self, window: Option<Window>) {
        self.send(Command::SetWindow(window));
    }

    /// Bans a peer because one of its replies was found to be false after delivery. Its service is dropped, the
    /// requests that it holds fail at once as [`Disconnected`](AttemptErrorKind::Disconnected) unless another peer
    /// holds a copy, and the peer is not added again.
    pub fn ban(&self, peer: PeerId, why: AttemptErrorKind) {
        self.send(Command::Ban(peer, why));
    }

    /// Stops the driver. Callers that wait get [`ScheduleError::Stopped`](super::ScheduleError::Stopped).
    pub fn shutdown(&self) {
        self.send(Command::Shutdown);
    }

    /// The ledger of peers, with those that can be asked now. For a `RecoveryLayer` around this scheduler.
    pub fn peers(&self) -> watch::Receiver<PeerTable> {
        self.peers.clone()
    }

    /// The events from now on: of peers ([`Event::Peer`]), and [`Event::SlowedDown`]. A listener that is slow misses the
    /// oldest of more than 256. After the driver's end there are none.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// The sendings so far, and the peers that were lost.
    pub fn stats(&self) -> SendStats {
        // Counts are of use whatever panicked.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    pub(super) fn send(&self, command: Command) {
        // Without a driver there is nothing to change.
        let _ = self.commands.send(command);
    }
}

/// The reason of a loss in the terms of attempts.
pub(super) fn loss(event: &PeerEvent) -> Option<(PeerId, AttemptErrorKind)> {
    use qrinfo_core::LeaveReason;
    match event {
        PeerEvent::Banned { peer, why } => Some((*peer, *why)),
        PeerEvent::Left { peer, why: LeaveReason::Unanswered } => Some((*peer, AttemptErrorKind::Timeout)),
        PeerEvent::Left { peer, why: LeaveReason::Panicked } => Some((*peer, AttemptErrorKind::Local)),
        PeerEvent::Left { peer, .. } => Some((*peer, AttemptErrorKind::Disconnected)),
        _ => None,
    }
}
