use qrinfo_core::{PeerId, SyncPhase, WhyGivenUp};

/// What a [`MasternodeSyncManager`](crate::MasternodeSyncManager) tells its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncProgress {
    /// A sync begins.
    Started {
        /// What is synced.
        phase: SyncPhase,
        /// How many requests it has.
        requests: usize,
    },
    /// A reply was delivered.
    Delivered {
        /// The request's position in the plan.
        index: usize,
        /// Who answered.
        peer: PeerId,
        /// Bytes of the reply.
        bytes: u64,
    },
    /// A reply is false. It comes again from another peer, or is missing in the end.
    #[cfg(feature = "verify")]
    Rejected {
        /// The request's position in the plan.
        index: usize,
        /// Who sent it.
        peer: PeerId,
        /// The check that it failed.
        why: String,
    },
    /// Our side lacks what it takes to judge a reply, such as a header. The sync stops.
    #[cfg(feature = "verify")]
    Unverifiable {
        /// The request's position in the plan.
        index: usize,
        /// What is missing.
        why: String,
    },
    /// A request has no reply. These come at the end, in the order of the plan.
    Missing {
        /// The request's position in the plan.
        index: usize,
        /// Why.
        why: WhyGivenUp,
    },
    /// The sync has ended.
    Finished {
        /// Whether nothing is missing.
        complete: bool,
    },
}
