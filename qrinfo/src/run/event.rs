use std::sync::{Arc, OnceLock};

use qrinfo_core::{PeerEvent, RecoveryEvent};
use tokio::sync::broadcast;

/// The events that wait for a slow listener before it misses the oldest.
const CAPACITY: usize = 1024;

/// An event of a running sync, in either mode.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// An event at a peer.
    Peer(PeerEvent),
    /// A decision about a failure, as it is carried out.
    Recovery(RecoveryEvent),
}

/// The channel of a sync's events. It takes memory once there is a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Events(Arc<OnceLock<broadcast::Sender<SyncEvent>>>);

// === impl Events ===

impl Events {
    pub(super) fn subscribe(&self) -> broadcast::Receiver<SyncEvent> {
        self.0.get_or_init(|| broadcast::Sender::new(CAPACITY)).subscribe()
    }

    pub(super) fn send(&self, event: SyncEvent) {
        if let Some(sender) = self.0.get() {
            // The listeners may be gone.
            let _ = sender.send(event);
        }
    }
}
