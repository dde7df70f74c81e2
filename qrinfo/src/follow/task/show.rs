//! The state and the events, as the outside sees them.

use std::time::Duration;

use qrinfo_core::Network;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Task, now, start::START};
use crate::follow::{Degradation, FollowEvent, FollowState};

/// The time without a block after which something is wrong, on networks with a block every 2.5 minutes: 24 of them.
pub(super) const NO_BLOCKS: Duration = Duration::from_secs(60 * 60);

/// Failures in a row after which a follower says that its peers do not answer.
const FAILURES: u32 = 3;

// === impl Task: what is shown ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    pub(super) fn tell(&self, event: FollowEvent) {
        #[cfg(feature = "metrics")]
        match event {
            FollowEvent::Reorganized { .. } => crate::metrics::reorganized(),
            FollowEvent::ChainLocked { .. } => crate::metrics::locked("chain"),
            FollowEvent::InstantLocked { .. } => crate::metrics::locked("instant"),
            FollowEvent::Tip { .. } | FollowEvent::Proven(_) => {}
        }
        // There need not be a listener.
        let _ = self.outputs.events.send(event);
    }

    /// Shows the state to the outside.
    pub(super) fn show(&self) {
        let state = self.state();
        #[cfg(feature = "metrics")]
        crate::metrics::followed(
            self.chain.headers.tip(),
            self.lists.keys().next_back().copied().unwrap_or(0),
            self.roster.len(),
            matches!(state, FollowState::Synced { .. }),
        );
        self.outputs.state.send_if_modified(|shown| {
            let is_same = match (&*shown, &state) {
                (FollowState::Degraded { reason: shown, .. }, FollowState::Degraded { reason, .. }) => shown == reason,
                (shown, state) => shown == state,
            };
            if !is_same {
                tracing::info!(?state, "follow");
                *shown = state;
            }
            !is_same
        });
    }

    fn state(&self) -> FollowState {
        let degraded = |reason| FollowState::Degraded { since: now(), reason };
        let tip = self.chain.headers.tip();
        let lists = self.lists.keys().next_back().copied().unwrap_or(0);
        let waits = self.moved.elapsed();
        let has_blocks_by_time = matches!(self.config.network, Network::Mainnet | Network::Testnet);
        match lists == tip && tip > 0 {
            _ if self.roster.len() == 0 && (self.has_had_peers || waits >= START) => degraded(Degradation::NoPeers),
            _ if has_blocks_by_time && waits >= NO_BLOCKS => degraded(Degradation::NoBlocks),
            true if self.is_heard() && self.tracker.agreed().0 == tip => FollowState::Synced { height: tip },
            false if self.decider.failures() >= FAILURES => degraded(Degradation::Unanswered),
            _ => FollowState::Syncing { lists, tip },
        }
    }
}
