use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    class::{Category, FailureClass},
    policy::RetryPolicy,
    strategy::RecoveryStrategy,
};
use crate::stack::{
    attempt::Attempt,
    error::{AttemptError, AttemptErrorKind},
    given_up::{GivenUp, WhyGivenUp},
    peer_id::PeerId,
    peers::PeerTable,
    request::Request,
};

/// Disconnects of a request that are followed by a short wait; after further ones another peer is asked at once.
const RECONNECTS: u32 = 2;

/// The wait after a disconnect where there is no ledger of peers, as in dash-spv.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// The number of latest failures that are kept.
const KEPT: usize = 256;

/// The time after the latest peer joined in which a request that all have refused waits for another one.
const GRACE: Duration = Duration::from_secs(2);

/// The failures of one request that has not ended, and the decision about each.
///
/// | failure | decision |
/// |---|---|
/// | refused | ask another peer; give up when all peers that have its blocks, and at least two, refused |
/// | malformed, false | ask another peer |
/// | timeout, disconnected | ask another peer; when every peer has failed it, wait within 1 s, 2 s, ... and ask again |
/// | overloaded | wait, then ask again |
/// | no peer | wait for a peer to join |
/// | cancelled, local | give up: another peer would not help |
///
/// A request ends within [`max_attempts`](RetryPolicy::max_attempts), within the limit of each
/// [category](Category::limit), and within its deadline. With a [`PeerTable`], the first refusal or false reply of each
/// named peer does not count as an attempt, because the peer is avoided afterwards, and congestion at named peers does
/// not count while failures mount at several. Without one every failure counts.
///
/// ```
/// use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec};
/// use qrinfo_core::retry::{RecoveryStrategy, RetryPolicy, RetryState};
///
/// # fn example(now: std::time::Instant) {
/// # let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
/// let attempt = Attempt::new(7, spec.into());
/// let mut state = RetryState::new(&attempt, RetryPolicy { max_attempts: 2, ..RetryPolicy::default() });
/// let timeout = || AttemptError::new(AttemptErrorKind::Timeout);
/// assert!(matches!(state.failed(timeout(), None, now), RecoveryStrategy::Retry { .. }));
/// assert!(matches!(state.failed(timeout(), None, now), RecoveryStrategy::Abort { .. }));
/// # }
/// ```
#[derive(Debug)]
pub struct RetryState {
    policy: RetryPolicy,
    /// The least height of a peer that has the request's blocks.
    height: u32,
    deadline: Option<Instant>,
    /// Attempts that count, by category.
    counted: BTreeMap<Category, u32>,
    /// Waits so far.
    waits: u32,
    failures: Vec<AttemptError>,
    refused: Vec<PeerId>,
    /// Peers that sent something false or malformed.
    faulty: Vec<PeerId>,
    /// Peers that failed otherwise, since every peer had its turn.
    failed: Vec<PeerId>,
    /// Peers that the caller excludes.
    avoid: Vec<PeerId>,
}

// === impl RetryState ===

impl RetryState {
    /// A request that has not failed.
    pub fn new(attempt: &Attempt, policy: RetryPolicy) -> Self {
        // A request may name a later block of its cycle. Asking too many peers is safe, giving up too early is not.
        let height = match &attempt.request {
            Request::QrInfo(spec) => spec.cycle.height(),
            Request::MnListDiff(_) => 0,
        };
        Self {
            policy,
            height,
            deadline: attempt.deadline,
            counted: BTreeMap::new(),
            waits: 0,
            failures: Vec::new(),
            refused: Vec::new(),
            faulty: Vec::new(),
            failed: Vec::new(),
            avoid: attempt.avoid.clone(),
        }
    }

    /// The peers that must not be asked now.
    pub fn avoid(&self) -> Vec<PeerId> {
        let lists = [&self.avoid, &self.refused, &self.faulty, &self.failed];
        let mut avoid: Vec<PeerId> = lists.into_iter().flatten().copied().collect();
        avoid.sort_unstable();
        avoid.dedup();
        avoid
    }

    /// The instant at which the request is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The failures so far, in order; at most the latest 256.
    pub fn failures(&self) -> &[AttemptError] {
        &self.failures
    }

    /// Returns true if no peer answered the request: every attempt timed out or was disconnected.
    pub fn is_silent(&self) -> bool {
        self.failures.iter().all(AttemptError::is_silence)
    }

    /// Counts a failure, and decides. `peers` is the ledger of peers, where there is one.
    ///
    /// The decision is one of [`SwitchPeer`](RecoveryStrategy::SwitchPeer), [`Retry`](RecoveryStrategy::Retry),
    /// [`WaitForNetwork`](RecoveryStrategy::WaitForNetwork) and [`Abort`](RecoveryStrategy::Abort).
    pub fn failed(&mut self, error: AttemptError, peers: Option<&PeerTable>, now: Instant) -> RecoveryStrategy {
        let kind = error.kind();
        if self.failures.is_empty() {
            let latest = now.checked_add(self.policy.deadline);
            self.deadline = [self.deadline, latest].into_iter().flatten().min();
        }
        self.note(error, peers);
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return abort(WhyGivenUp::DeadlinePassed);
        }
        let class = FailureClass::of(kind);
        if !class.ask_elsewhere && kind != AttemptErrorKind::NoPeer {
            return abort(WhyGivenUp::LocalFailure);
        }
        if let Some(peers) = peers.filter(|peers| peers.all_refused(self.height, &self.refused)) {
            // Others may be about to join.
            let grace =
                peers.last_joined.filter(|_| !self.is_exhausted()).map(|_| GRACE.min(self.policy.network_timeout));
            let timeout = grace.and_then(|grace| time_to_join(peers, grace, now));
            return timeout
                .map_or(abort(WhyGivenUp::Unanswerable), |timeout| RecoveryStrategy::WaitForNetwork { timeout });
        }
        if self.is_exhausted() {
            let is_asked = !self.failures.is_empty();
            return abort(if is_asked { WhyGivenUp::Exhausted } else { WhyGivenUp::NoPeers });
        }
        match peers {
            Some(peers) if kind == AttemptErrorKind::Overloaded => self.after_overload(peers),
            None if kind == AttemptErrorKind::Overloaded => self.wait(),
            Some(peers) => self.among(peers, kind, now),
            None => self.without_ledger(kind),
        }
    }

    /// Ends the request for this reason.
    pub fn give_up(self, why: WhyGivenUp) -> GivenUp {
        GivenUp { why, attempts: self.failures }
    }

    /// Keeps a failure, counts it if it counts, and remembers its peer.
    fn note(&mut self, mut error: AttemptError, peers: Option<&PeerTable>) {
        for earlier in error.take_earlier() {
            self.note(earlier, peers);
        }
        let kind = error.kind();
        let peer = error.peer().filter(|peer| *peer != PeerId::ALL);
        let is_repeated = peer.map(|peer| !self.exclude(peer, kind));
        if self.counts(kind, is_repeated, peers) {
            *self.counted.entry(FailureClass::of(kind).category).or_default() += 1;
        }
        // That there was no peer to ask is no attempt.
        if kind != AttemptErrorKind::NoPeer {
            if self.failures.len() == KEPT {
                self.failures.remove(0);
            }
            self.failures.push(error);
        }
    }

    /// Remembers a peer that failed. Returns false if it failed so before.
    fn exclude(&mut self, peer: PeerId, kind: AttemptErrorKind) -> bool {
        let list = match kind {
            AttemptErrorKind::Refused | AttemptErrorKind::NotSent => &mut self.refused,
            _ if FailureClass::of(kind).peers_fault => &mut self.faulty,
            _ => &mut self.failed,
        };
        let is_new = !list.contains(&peer);
        if is_new {
            list.push(peer);
        }
        is_new
    }

    /// Returns true if a failure uses up an attempt. `is_repeated` is `None` for a failure that names no peer, and
    /// tells of a named one that it failed so before.
    fn counts(&self, kind: AttemptErrorKind, is_repeated: Option<bool>, peers: Option<&PeerTable>) -> bool {
        let Some(peers) = peers else { return true };
        match kind {
            // The peer is not asked again, so as many such failures as peers end them.
            AttemptErrorKind::Refused
            | AttemptErrorKind::NotSent
            | AttemptErrorKind::Malformed
            | AttemptErrorKind::False => is_repeated.unwrap_or(true),
            // The ledger says how long to wait for a peer, unless the service below contradicts it.
            AttemptErrorKind::NoPeer => peers.has_other_than(&self.avoid()),
            // Of many requests some would use up their attempts by mere chance. The deadline bounds such a request.
            _ => is_repeated.is_none() || !(FailureClass::of(kind).congestion && peers.failures_mount),
        }
    }

    fn is_exhausted(&self) -> bool {
        let over = |(category, count): (&Category, &u32)| category.limit().is_some_and(|limit| *count > limit);
        self.counted.values().sum::<u32>() >= self.policy.max_attempts.max(1) || self.counted.iter().any(over)
    }

    /// The decision where there is a ledger of peers.
    fn among(&mut self, peers: &PeerTable, kind: AttemptErrorKind, now: Instant) -> RecoveryStrategy {
        if peers.has_other_than(&self.avoid()) {
            // The service below could not ask that peer a moment ago. Without a wait this would go round and round.
            if kind == AttemptErrorKind::NoPeer {
                return self.wait();
            }
            // A wait spares a peer that failed. This one has not.
            return RecoveryStrategy::SwitchPeer;
        }
        // Every peer has failed it. Those that did not refuse are asked again.
        if !self.failed.is_empty() {
            self.failed.clear();
            if peers.has_other_than(&self.avoid()) {
                return self.wait();
            }
        }
        match time_to_join(peers, self.policy.network_timeout, now) {
            Some(timeout) => RecoveryStrategy::WaitForNetwork { timeout },
            None => abort(self.why_no_peer(peers)),
        }
    }

    /// Waits for room. Peers that had none are asked again if there is no other.
    fn after_overload(&mut self, peers: &PeerTable) -> RecoveryStrategy {
        if !peers.has_other_than(&self.avoid()) {
            self.failed.clear();
        }
        self.wait()
    }

    /// Returns true if there is a peer that can be asked, and that the refusals of the others do not speak against.
    pub fn has_peer(&self, peers: &PeerTable) -> bool {
        peers.has_other_than(&self.avoid()) && !peers.all_refused(self.height, &self.refused)
    }

    /// The reason of a request for which no peer is left.
    pub fn why_no_peer(&self, peers: &PeerTable) -> WhyGivenUp {
        match (peers.is_empty(), peers.had_peers || !self.failures.is_empty()) {
            (true, false) => WhyGivenUp::NoPeers,
            (true, true) => WhyGivenUp::AllPeersGone,
            (false, _) if peers.all_refused(self.height, &self.refused) => WhyGivenUp::Unanswerable,
            (false, _) => WhyGivenUp::NoOtherPeer,
        }
    }

    /// The decision where the peers are not known: the service below chooses among them.
    fn without_ledger(&mut self, kind: AttemptErrorKind) -> RecoveryStrategy {
        let disconnects = self.counted.get(&Category::Network).copied().unwrap_or_default();
        match kind {
            AttemptErrorKind::Timeout => self.wait(),
            AttemptErrorKind::Disconnected if disconnects <= RECONNECTS => {
                RecoveryStrategy::Retry { delay: RECONNECT_AFTER.min(self.policy.longest_backoff) }
            }
            AttemptErrorKind::NoPeer => {
                // The service keeps to `avoid`: those that failed before get another turn.
                self.failed.clear();
                self.wait()
            }
            _ => RecoveryStrategy::SwitchPeer,
        }
    }

    fn wait(&mut self) -> RecoveryStrategy {
        let delay = self.policy.backoff(self.waits);
        self.waits = self.waits.saturating_add(1);
        RecoveryStrategy::Retry { delay }
    }
}

/// The time for which another peer is waited for, if it is: so long after the latest one joined, so that many requests
/// wait no longer than one. When all have left, it begins anew.
fn time_to_join(peers: &PeerTable, within: Duration, now: Instant) -> Option<Duration> {
    let since =
        peers.last_joined.filter(|_| !peers.is_empty()).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
    within.checked_sub(since).filter(|left| !left.is_zero() && !peers.is_closed)
}

fn abort(why: WhyGivenUp) -> RecoveryStrategy {
    RecoveryStrategy::Abort { why }
}
