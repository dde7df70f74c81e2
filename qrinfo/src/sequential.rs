use std::collections::VecDeque;

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, QRInfoRequestSpec, Request};

use crate::{
    Delivered, LostPeer, Missing, Peer, SyncOutcome, SyncReport, SyncStats,
    peer::{AttemptService, MAX_TIMEOUTS, blame, ends_peer},
};

/// Settings of a [`SequentialSync`].
#[derive(Debug, Clone, Copy)]
pub struct SequentialOptions {
    /// How often one request is asked before it is given up; at least once.
    pub max_attempts: u32,
}

impl Default for SequentialOptions {
    /// Five attempts.
    fn default() -> Self {
        Self { max_attempts: 5 }
    }
}

/// Asks one peer at a time, one request at a time, in the order of the plan.
///
/// A peer that fails a request is followed by the next one, for that request and those after it. A peer that is gone,
/// or that sent something false, is not asked again.
///
/// ```
/// # use qrinfo::{AttemptService, Peer, SequentialOptions, SequentialSync};
/// # use qrinfo_core::QRInfoRequestSpec;
/// # async fn example<S: AttemptService>(plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) {
/// let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
/// while let Some(delivered) = sync.next().await {
///     println!("request {} was answered by {}", delivered.index, delivered.peer);
/// }
/// println!("{}", sync.into_report().outcome);
/// # }
/// ```
#[derive(Debug)]
pub struct SequentialSync<S> {
    plan: Vec<QRInfoRequestSpec>,
    /// The request to ask next.
    position: usize,
    /// The peer to ask is the first.
    peers: VecDeque<Turn<S>>,
    options: SequentialOptions,
    missing: Vec<Missing>,
    stats: SyncStats,
    lost: Vec<LostPeer>,
}

#[derive(Debug)]
struct Turn<S> {
    peer: Peer<S>,
    /// Timeouts in a row.
    timeouts: u32,
}

impl<S: AttemptService> SequentialSync<S> {
    /// A sync of `plan` from `peers`, which are asked in this order.
    pub fn new(plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>, options: SequentialOptions) -> Self {
        let peers = peers.into_iter().map(|peer| Turn { peer, timeouts: 0 }).collect();
        Self { plan, position: 0, peers, options, missing: Vec::new(), stats: SyncStats::default(), lost: Vec::new() }
    }

    /// The next reply in the order of the plan, or `None` when the sync has ended. A request that was given up is
    /// passed over; [`into_report`](Self::into_report) names it.
    ///
    /// Dropping the future cancels the request under way; the next call asks it again.
    pub async fn next(&mut self) -> Option<Delivered> {
        while let Some(spec) = self.plan.get(self.position).filter(|_| !self.peers.is_empty()) {
            let spec = spec.clone();
            let delivered = self.ask(&spec).await;
            self.position += 1;
            if delivered.is_some() {
                return delivered;
            }
        }
        None
    }

    /// What the sync did so far.
    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// How the sync ended. Requests that were not asked yet count as missing.
    pub fn into_report(mut self) -> SyncReport {
        let rest = self.plan.iter().enumerate().skip(self.position);
        self.missing.extend(rest.map(|(index, spec)| Missing::new(index, spec, Vec::new())));
        let reached_the_end = self.position == self.plan.len();
        SyncReport {
            outcome: SyncOutcome::of(self.missing, reached_the_end && !self.peers.is_empty()),
            stats: self.stats,
            lost: self.lost,
        }
    }

    async fn ask(&mut self, spec: &QRInfoRequestSpec) -> Option<Delivered> {
        let mut failures = Vec::new();
        for attempt in 0..self.options.max_attempts.max(1) {
            let Some(Turn { peer, timeouts }) = self.peers.front_mut() else { break };
            self.stats.attempts += 1;
            self.stats.retries += u64::from(attempt > 0);
            let id = peer.id;
            match peer.ask(Attempt::new(self.position as u64, Request::from(spec.clone()))).await {
                Ok((reply, timing)) => {
                    *timeouts = 0;
                    self.stats.count_delivery(&timing);
                    return Some(Delivered { index: self.position, reply, timing, peer: id });
                }
                Err(error) => {
                    tracing::debug!(peer = %id, cycle = spec.cycle_height, %error, "attempt failed");
                    self.stats.count_failure(&error);
                    self.pass_on(&error);
                    let refused = error.kind() == AttemptErrorKind::Refused;
                    failures.push(error);
                    if refused && self.all_refused(&failures) {
                        break;
                    }
                }
            }
        }
        self.missing.push(Missing::new(self.position, spec, failures));
        None
    }

    /// Moves on from the peer that failed to the next one.
    fn pass_on(&mut self, error: &AttemptError) {
        let Some(mut turn) = self.peers.pop_front() else { return };
        turn.timeouts = if error.kind() == AttemptErrorKind::Timeout { turn.timeouts + 1 } else { 0 };
        if ends_peer(error) || turn.timeouts >= MAX_TIMEOUTS {
            self.lost.push(LostPeer { peer: turn.peer.id, why: blame(error) });
        } else {
            self.peers.push_back(turn);
        }
    }

    /// Whether every peer that is left has refused the request: asking again would only be held against us.
    fn all_refused(&self, failures: &[AttemptError]) -> bool {
        let refused = |id| failures.iter().any(|e| e.peer() == Some(id) && e.kind() == AttemptErrorKind::Refused);
        self.peers.iter().all(|turn| refused(turn.peer.id))
    }
}
