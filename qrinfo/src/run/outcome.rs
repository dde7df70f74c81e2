use std::{error::Error, fmt};

use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId, Reply, Request, Timing, WhyGivenUp};

use crate::peer;

/// A reply, at its place in the plan.
#[derive(Debug)]
pub struct Delivered {
    /// The request's position in the plan.
    pub index: usize,
    /// The reply of the peer.
    pub reply: Reply,
    /// The peer, and the instants of the exchange.
    pub timing: Timing,
}

/// The outcome and the figures of a sync.
///
/// The default is the report of a sync with nothing to ask.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// The outcome.
    pub outcome: SyncOutcome,
    /// The figures.
    pub stats: SyncStats,
    /// Peers that could not be asked any more, in the order in which they were lost.
    pub lost: Vec<LostPeer>,
}

/// A peer that could not be asked any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostPeer {
    /// The peer.
    pub peer: PeerId,
    /// The reason. [`Malformed`](AttemptErrorKind::Malformed) and [`False`](AttemptErrorKind::False) are reasons not to
    /// connect to it again soon.
    pub why: AttemptErrorKind,
}

impl SyncReport {
    /// Adds the report of a later sync, of those requests of one plan that begin at position `first`.
    #[must_use]
    pub fn and_later(self, later: Self, first: usize) -> Self {
        let Self { outcome, mut stats, mut lost } = self;
        let mut missing = outcome.into_missing();
        let more = later.outcome.into_missing().into_iter();
        missing.extend(more.map(|missing| Missing { index: first + missing.index, ..missing }));
        stats += later.stats;
        lost.extend(later.lost);
        Self { outcome: SyncOutcome::of(missing), stats, lost }
    }
}

/// The outcome of a sync.
#[derive(Debug, Default, derive_more::Display)]
pub enum SyncOutcome {
    /// Every request of the plan was answered and delivered.
    #[default]
    #[display("complete")]
    Complete,
    /// Some requests were given up; all others were delivered, in order.
    #[display("degraded: {} replies are missing; {why}", missing.len())]
    Degraded {
        /// The requests without a reply, in the order of the plan.
        missing: Vec<Missing>,
        /// The reason for which the first of them has none.
        why: WhyGivenUp,
    },
    /// The sync ended before every request had its chance.
    #[display("failed: {} replies are missing; {why}", missing.len())]
    Failed {
        /// The requests without a reply, in the order of the plan.
        missing: Vec<Missing>,
        /// The reason of its end, such as that no peer was left, or that it was stopped.
        why: WhyGivenUp,
    },
}

impl SyncOutcome {
    pub(crate) fn of(missing: Vec<Missing>) -> Self {
        let reasons = || missing.iter().map(|missing| missing.why);
        match (reasons().find(|why| ends_a_sync(*why)), reasons().next()) {
            (Some(why), _) => Self::Failed { missing, why },
            (None, Some(why)) => Self::Degraded { missing, why },
            (None, None) => Self::Complete,
        }
    }

    fn into_missing(self) -> Vec<Missing> {
        match self {
            Self::Complete => Vec::new(),
            Self::Degraded { missing, .. } | Self::Failed { missing, .. } => missing,
        }
    }

    /// Returns true if nothing is missing.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// The requests without a reply.
    pub fn missing(&self) -> &[Missing] {
        match self {
            Self::Complete => &[],
            Self::Degraded { missing, .. } | Self::Failed { missing, .. } => missing,
        }
    }
}

/// A request that ended without a reply.
#[derive(Debug)]
pub struct Missing {
    /// Its position in the plan.
    pub index: usize,
    /// The request.
    pub request: Request,
    /// The reason for which it was given up.
    pub why: WhyGivenUp,
    /// The failure of each peer that was asked, in order; rejected replies come first. Empty if no attempt had ended
    /// when the sync did.
    pub attempts: Vec<AttemptError>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        match self.attempts.as_slice() {
            [] => write!(f, "no attempt has ended; {}", self.why),
            attempts => f.write_str(&attempts.iter().map(|e| peer::chain(e)).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// Counts of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, derive_more::AddAssign)]
#[non_exhaustive]
pub struct SyncStats {
    /// Attempts that were made.
    pub attempts: u64,
    /// Replies that were delivered and not rejected.
    pub delivered: u64,
    /// Bytes of payload of those replies.
    pub bytes: u64,
    /// Attempts beyond a request's first.
    pub retries: u64,
    /// Attempts that a peer refused.
    pub refusals: u64,
    /// Attempts that timed out.
    pub timeouts: u64,
}

impl SyncStats {
    pub(crate) fn count_failure(&mut self, error: &AttemptError) {
        #[cfg(feature = "metrics")]
        crate::metrics::failed(error.kind());
        match error.kind() {
            AttemptErrorKind::Refused => self.refusals += 1,
            AttemptErrorKind::Timeout => self.timeouts += 1,
            _ => {}
        }
    }

    pub(crate) fn count_delivery(&mut self, timing: &Timing) {
        #[cfg(feature = "metrics")]
        crate::metrics::delivered(timing);
        self.delivered += 1;
        self.bytes += timing.bytes;
    }

    /// A reply that was delivered turned out to be false.
    pub(crate) fn count_rejection(
        &mut self,
        index: usize,
        timing: &Timing,
        why: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> AttemptError {
        let error = AttemptError::new(AttemptErrorKind::False).at(timing.peer).timed(*timing).because(why);
        tracing::debug!(index, %error, "rejected");
        self.count_failure(&error);
        self.count_return(timing);
        error
    }

    /// A reply that was delivered was not taken.
    pub(crate) fn count_return(&mut self, timing: &Timing) {
        self.delivered -= 1;
        self.bytes -= timing.bytes;
    }
}

/// Returns true if a request is missing because the whole sync ended.
fn ends_a_sync(why: WhyGivenUp) -> bool {
    matches!(
        why,
        WhyGivenUp::NoPeers
            | WhyGivenUp::AllPeersGone
            | WhyGivenUp::Silence
            | WhyGivenUp::SyncDeadlinePassed
            | WhyGivenUp::Stopped
    )
}
