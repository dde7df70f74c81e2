//! The phases of a light client's sync.

use std::fmt;

/// A part of a light client's sync, in order. The names are dash-spv's.
///
/// This workspace implements [`MasternodeLists`](Self::MasternodeLists). The others allow a client that has them all to
/// key limits, strategies and reports by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncPhase {
    /// Block headers.
    Headers,
    /// Masternode lists and quorums.
    MasternodeLists,
    /// Headers of compact block filters.
    FilterHeaders,
    /// Compact block filters.
    Filters,
    /// Blocks that match a filter.
    Blocks,
}

// === impl SyncPhase ===

impl SyncPhase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [Self::Headers, Self::MasternodeLists, Self::FilterHeaders, Self::Filters, Self::Blocks];

    /// Returns its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::MasternodeLists => "masternode lists",
            Self::FilterHeaders => "filter headers",
            Self::Filters => "filters",
            Self::Blocks => "blocks",
        }
    }
}

impl fmt::Display for SyncPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
