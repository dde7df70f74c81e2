use qrinfo_core::{AttemptErrorKind, PeerEvent, PeerId, RecoveryEvent, SyncPhase, WhyGivenUp, retry::RecoveryStrategy};

use crate::run::SyncEvent;

/// An event of a sync that a [`MasternodeSyncManager`](crate::MasternodeSyncManager) runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncProgress {
    /// A sync begins.
    Started {
        /// The phase of the sync.
        phase: SyncPhase,
        /// The number of its requests.
        requests: usize,
    },
    /// A reply was delivered.
    Delivered {
        /// The request's position in the plan.
        index: usize,
        /// The peer that answered.
        peer: PeerId,
        /// Bytes of the reply.
        bytes: u64,
    },
    /// An attempt ended without a reply. The request goes on if another peer was asked already; otherwise
    /// [`Failed`](Self::Failed) follows.
    AttemptFailed {
        /// The peer that was asked.
        peer: PeerId,
        /// The kind of failure.
        error: AttemptErrorKind,
    },
    /// All attempts of a request that were made so far have failed, and this is done about it.
    Failed {
        /// The request's position in the plan.
        index: usize,
        /// The peer that was asked, unless none was.
        peer: Option<PeerId>,
        /// The kind of failure.
        error: AttemptErrorKind,
        /// The decision.
        strategy: RecoveryStrategy,
    },
    /// There are fewer requests at a time, because failures mount at several peers.
    SlowedDown {
        /// The decision.
        strategy: RecoveryStrategy,
    },
    /// A peer is not asked again: it is gone, or it sent something false or malformed.
    PeerLost {
        /// The peer.
        peer: PeerId,
        /// The kind of its fault, if it is banned.
        banned: Option<AttemptErrorKind>,
    },
    /// A reply is false. It comes again from another peer, or is missing in the end.
    #[cfg(feature = "verify")]
    Rejected {
        /// The request's position in the plan.
        index: usize,
        /// The peer that sent it.
        peer: PeerId,
        /// The check that it failed.
        why: String,
    },
    /// Our side lacks data to judge a reply, such as a header. The sync stops.
    #[cfg(feature = "verify")]
    Unverifiable {
        /// The request's position in the plan.
        index: usize,
        /// The data that is missing, in words.
        why: String,
    },
    /// A request has no reply. These come at the end, in the order of the plan.
    Missing {
        /// The request's position in the plan.
        index: usize,
        /// The reason.
        why: WhyGivenUp,
    },
    /// The sync has ended.
    Finished {
        /// True if nothing is missing.
        complete: bool,
    },
}

// === impl SyncProgress ===

impl SyncProgress {
    /// The progress that an event means, if it is one that users care for.
    pub(super) fn of(event: &SyncEvent) -> Option<Self> {
        Some(match event {
            SyncEvent::Recovery(RecoveryEvent::Decided { request, peer, error, strategy }) => Self::Failed {
                index: usize::try_from(request.0).ok()?,
                peer: *peer,
                error: *error,
                strategy: strategy.clone(),
            },
            SyncEvent::Recovery(RecoveryEvent::SlowedDown { strategy, .. }) => {
                Self::SlowedDown { strategy: strategy.clone() }
            }
            SyncEvent::Peer(PeerEvent::Ended { send, outcome: Err(error), .. }) => {
                Self::AttemptFailed { peer: send.peer, error: *error }
            }
            SyncEvent::Peer(PeerEvent::TimedOut { send, .. }) => {
                Self::AttemptFailed { peer: send.peer, error: AttemptErrorKind::Timeout }
            }
            SyncEvent::Peer(PeerEvent::Left { peer, .. }) => Self::PeerLost { peer: *peer, banned: None },
            SyncEvent::Peer(PeerEvent::Banned { peer, why }) => Self::PeerLost { peer: *peer, banned: Some(*why) },
            _ => return None,
        })
    }
}
