use std::collections::{BTreeSet, VecDeque};

use qrinfo_core::{AttemptErrorKind, PeerId};

use crate::{FailureClass, manager::HALF};

/// How many attempts are looked back on.
const LENGTH: usize = 20;

/// From fewer nothing is concluded.
const ENOUGH: usize = 10;

/// How the latest attempts ended, as far as it speaks of congestion.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestAttempts {
    /// `None` for an attempt that did not fail of congestion.
    ended: VecDeque<Option<Congested>>,
}

type Congested = (AttemptErrorKind, Option<PeerId>);

// === impl LatestAttempts ===

impl LatestAttempts {
    /// Adds the end of an attempt: how it failed, and at whom, unless it was answered.
    pub(crate) fn push(&mut self, failure: Option<Congested>) {
        let failure = failure.filter(|(kind, _)| FailureClass::of(*kind).congestion);
        // A connection that ends fails all that was asked over it. That is one failure.
        let repeated = matches!(failure, Some((AttemptErrorKind::Disconnected, _))) && self.ended.contains(&failure);
        if repeated {
            return;
        }
        if self.ended.len() == LENGTH {
            self.ended.pop_front();
        }
        self.ended.push_back(failure);
    }

    /// The failures and the number of attempts, if those are enough to conclude from.
    pub(crate) fn failures(&self) -> Option<(Vec<Congested>, usize)> {
        let attempts = self.ended.len();
        (attempts >= ENOUGH).then(|| (self.ended.iter().flatten().copied().collect(), attempts))
    }

    /// Whether failures mount while some attempts are answered: more than 0.3 of the attempts fail, at two or more peers.
    /// A failure then says little about the request that had it.
    pub(crate) fn failures_mount(&self) -> bool {
        let Some((failures, attempts)) = self.failures() else { return false };
        let peers: BTreeSet<_> = failures.iter().filter_map(|(_, peer)| *peer).collect();
        peers.len() >= 2 && failures.len() < attempts && failures.len() as f64 > HALF * attempts as f64
    }

    /// Forgets them: what was concluded from them is not concluded again.
    pub(crate) fn clear(&mut self) {
        self.ended.clear();
    }
}
