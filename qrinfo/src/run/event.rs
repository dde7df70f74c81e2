use qrinfo_core::stack::{PeerEvent, RecoveryEvent};

/// An event of a running sync, in either mode.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// An event at a peer.
    Peer(PeerEvent),
    /// A decision about a failure, as it is carried out.
    Recovery(RecoveryEvent),
}
