//! The phases of a light client's sync.

/// A part of a light client's sync, in order. The names are dash-spv's.
///
/// This workspace implements [`MasternodeLists`](Self::MasternodeLists). The others allow a client that has them all to
/// key limits, strategies and reports by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
pub enum SyncPhase {
    /// Block headers.
    #[display("headers")]
    Headers,
    /// Masternode lists and quorums.
    #[display("masternode lists")]
    MasternodeLists,
    /// Headers of compact block filters.
    #[display("filter headers")]
    FilterHeaders,
    /// Compact block filters.
    #[display("filters")]
    Filters,
    /// Blocks that match a filter.
    #[display("blocks")]
    Blocks,
}

// === impl SyncPhase ===

impl SyncPhase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [Self::Headers, Self::MasternodeLists, Self::FilterHeaders, Self::Filters, Self::Blocks];
}
