use std::{collections::VecDeque, time::Instant};

use qrinfo_core::{AttemptErrorKind, PeerId, RequestId, SyncPhase, retry::RecoveryStrategy};

/// The number of decisions that are kept.
const KEPT: usize = 256;

/// The latest decisions about failures, as they were carried out; at most 256.
#[derive(Debug, Clone, Default)]
pub struct History {
    records: VecDeque<RecoveryRecord>,
}

/// A decision of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryRecord {
    /// The time of the decision.
    pub at: Instant,
    /// The phase of the sync.
    pub phase: SyncPhase,
    /// The request; `None` for all of them together.
    pub request: Option<RequestId>,
    /// The peer that failed, where it is named.
    pub peer: Option<PeerId>,
    /// The kind of failure; the last one where there are several.
    pub error: AttemptErrorKind,
    /// The decision.
    pub strategy: RecoveryStrategy,
}

// === impl History ===

impl History {
    /// The decisions, the oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &RecoveryRecord> {
        self.records.iter()
    }

    pub(crate) fn push(&mut self, record: RecoveryRecord) {
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}
