use std::time::{Duration, Instant};

use qrinfo_core::{AttemptErrorKind, Timing};
use tokio::sync::mpsc;

/// A peer for the scheduler: a service that takes attempts, and how far away it is.
#[derive(Debug)]
pub struct Peer<S> {
    pub(super) service: S,
    pub(super) round_trip: Duration,
    pub(super) reports: Option<Reports>,
}

/// Tells the scheduler what happens at one peer. Clones report of the same peer.
///
/// Attempts are named by the [`Attempt::id`](qrinfo_core::Attempt::id) with which the peer's service was called.
#[derive(Debug, Clone)]
pub struct Reporter {
    reports: mpsc::UnboundedSender<Report>,
}

/// Where a [`Reporter`]'s reports arrive.
#[derive(Debug)]
pub struct Reports {
    received: mpsc::UnboundedReceiver<Report>,
}

#[derive(Debug)]
pub(super) enum Report {
    Progress { attempt: u64, bytes: u64, length: Option<u64>, at: Instant },
    Settled { attempt: u64, outcome: Result<Timing, AttemptErrorKind>, at: Instant },
}

/// A channel for the reports of one peer. Report in steps of 16 KiB or so; the scheduler takes them as they come.
pub fn reports() -> (Reporter, Reports) {
    let (reports, received) = mpsc::unbounded_channel();
    (Reporter { reports }, Reports { received })
}

// === impl Peer ===

impl<S> Peer<S> {
    /// A peer of which only ends are seen. `round_trip` is that of a ping.
    pub fn new(service: S, round_trip: Duration) -> Self {
        Self { service, round_trip, reports: None }
    }

    /// A peer that reports.
    ///
    /// A request that times out keeps its slot until the peer's [`settled`](Reporter::settled) says that the peer has
    /// dealt with it. Without reports the slot is free with the timeout. When all its [`Reporter`]s are dropped the
    /// service is asked whether it is still ready, so that an idle peer's end is seen.
    #[must_use]
    pub fn with_reports(self, reports: Reports) -> Self {
        Self { reports: Some(reports), ..self }
    }
}

// === impl Reporter ===

impl Reporter {
    /// So many bytes of the reply have come, of `length` by its header; none yet when only its header has.
    pub fn progress(&self, attempt: u64, bytes: u64, length: Option<u64>, at: Instant) {
        // Nobody to tell: the scheduler has given the peer up.
        let _ = self.reports.send(Report::Progress { attempt, bytes, length, at });
    }

    /// The peer has dealt with the request, whether or not somebody still waited.
    pub fn settled(&self, attempt: u64, outcome: Result<Timing, AttemptErrorKind>, at: Instant) {
        let _ = self.reports.send(Report::Settled { attempt, outcome, at });
    }
}

// === impl Reports ===

impl Reports {
    pub(super) fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Report>> {
        self.received.poll_recv(cx)
    }
}
