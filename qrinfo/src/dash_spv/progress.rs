use qrinfo_core::{PeerId, SyncPhase, WhyGivenUp};

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
    /// An event at a peer, or a decision about a failure, as it happens. The parts of a reply are not reported.
    Event(SyncEvent),
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
