use std::{collections::VecDeque, error::Error, fmt, future::Future, mem, pin::Pin};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Request, Timing, WhyGivenUp};

use qrinfo_correlate::ALL_PEERS;

use crate::{
    Delivered, LostPeer, Missing, Peer, SyncReport, SyncStats,
    peer::{self, AttemptService, MAX_TIMEOUTS, blame, ends_peer},
};

/// Settings of a [`SequentialSync`].
#[derive(Debug, Clone, Copy)]
pub struct SequentialOptions {
    /// How often one request is asked before it is given up; at least once. Refusals do not count, nor false replies of
    /// peers that are left for them.
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
/// or that sent something false, is not asked again. A failure on our side is nobody's, and ends that request.
///
/// ```
/// # use qrinfo::{AttemptService, Peer, SequentialOptions, SequentialSync};
/// # use qrinfo_core::QRInfoRequestSpec;
/// # async fn example<S: AttemptService<Future: Send + 'static> + Clone + Send + 'static>(
/// #     plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) {
/// let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
/// while let Some(delivered) = sync.next().await {
///     println!("request {} was answered by {}", delivered.index, delivered.timing.peer);
/// }
/// println!("{}", sync.into_report().outcome);
/// # }
/// ```
#[derive(Debug)]
pub struct SequentialSync<S> {
    plan: Vec<Request>,
    /// The request to ask next.
    position: usize,
    /// The peer to ask is the first.
    peers: VecDeque<Turn<S>>,
    options: SequentialOptions,
    /// How the request at `position` has failed so far.
    failures: Vec<AttemptError>,
    /// The attempt under way.
    asked: Option<Asked>,
    /// The reply that was delivered last.
    last: Option<Last>,
    missing: Vec<Missing>,
    stats: SyncStats,
    lost: Vec<LostPeer>,
}

/// A reply that was delivered, and how its request had failed before.
#[derive(Debug)]
struct Last {
    index: usize,
    timing: Timing,
    failures: Vec<AttemptError>,
}

/// An attempt under way.
struct Asked(Pin<Box<dyn Future<Output = Answered> + Send>>);

type Answered = Result<(Reply, Timing), AttemptError>;

#[derive(Debug)]
struct Turn<S> {
    peer: Peer<S>,
    /// Timeouts in a row.
    timeouts: u32,
}

impl<S> SequentialSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    /// A sync of `plan` from `peers`, which are asked in this order.
    pub fn new(plan: impl IntoIterator<Item: Into<Request>>, peers: Vec<Peer<S>>, options: SequentialOptions) -> Self {
        let plan = plan.into_iter().map(Into::into).collect();
        let peers = peers.into_iter().map(|peer| Turn { peer, timeouts: 0 }).collect();
        Self {
            plan,
            position: 0,
            peers,
            options,
            failures: Vec::new(),
            asked: None,
            last: None,
            missing: Vec::new(),
            stats: SyncStats::default(),
            lost: Vec::new(),
        }
    }

    /// The next reply in the order of the plan, or `None` when the sync has ended. A request that was given up is
    /// passed over; [`into_report`](Self::into_report) names it.
    ///
    /// Safe to cancel: a dropped call loses neither the request under way nor its reply.
    pub async fn next(&mut self) -> Option<Delivered> {
        while let Some(request) = self.plan.get(self.position).filter(|_| !self.peers.is_empty()) {
            let request = request.clone();
            let delivered = self.ask(&request).await;
            self.position += 1;
            if delivered.is_some() {
                return delivered;
            }
        }
        None
    }

    /// Takes back the reply that was delivered last, because it is false. Its peer is not asked again; the others are
    /// asked for it before anything else, so that the order of the plan is kept. Peers without names are all asked again,
    /// as often as a request may fail. Without such a reply, or when it was
    /// taken back before, nothing happens.
    ///
    /// This is for what only the reply's place in the plan shows, such as a list that does not follow from the one
    /// before; see the crate `qrinfo-verify`.
    pub fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        let Some(Last { index, timing, mut failures }) = self.last.take() else { return };
        let error = AttemptError::new(AttemptErrorKind::False).at(timing.peer).timed(timing).because(why);
        tracing::debug!(index, %error, "rejected");
        self.stats.count_rejection(&error, &timing);
        // Of peers without names it may have been any: the others answer as well.
        if timing.peer != ALL_PEERS {
            self.peers.retain(|turn| turn.peer.id != timing.peer);
            self.lost.retain(|lost| lost.peer != timing.peer);
            self.lost.push(LostPeer { peer: timing.peer, why: AttemptErrorKind::False });
        }
        failures.push(error);
        self.go_back(index, failures);
    }

    /// The reply that was delivered last was not taken: it counts as missing if the sync ends here, and is asked for
    /// again if it goes on. Nobody is blamed.
    pub fn return_last(&mut self) {
        let Some(Last { index, timing, failures }) = self.last.take() else { return };
        self.stats.count_return(&timing);
        self.go_back(index, failures);
    }

    fn go_back(&mut self, index: usize, failures: Vec<AttemptError>) {
        // A call of `next` that was dropped may have gone further.
        self.asked = None;
        self.missing.retain(|missing| missing.index < index);
        self.position = index;
        self.failures = failures;
    }

    /// What the sync did so far.
    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// How the sync ended. Requests that were not asked yet count as missing.
    pub fn into_report(mut self) -> SyncReport {
        let rest = self.plan.iter().enumerate().skip(self.position);
        let mut failures = self.failures;
        self.missing.extend(rest.map(|(index, request)| Missing {
            index,
            request: request.clone(),
            why: if self.peers.is_empty() { WhyGivenUp::NoPeers } else { WhyGivenUp::Stopped },
            // Those of the first one.
            attempts: mem::take(&mut failures),
        }));
        SyncReport::new(self.missing, self.stats, self.lost)
    }

    async fn ask(&mut self, request: &Request) -> Option<Delivered> {
        while self.may_ask_again() {
            if self.asked.is_none()
                && let Some(willing) = self.peers.iter().position(|turn| !self.has_refused(turn.peer.id))
            {
                self.peers.rotate_left(willing);
            }
            let Some(turn) = self.peers.front() else { break };
            let id = turn.peer.id;
            if self.asked.is_none() {
                self.stats.attempts += 1;
                self.stats.retries += u64::from(!self.failures.is_empty());
                let mut service = turn.peer.service.clone();
                let attempt = Attempt::new(self.position as u64, request.clone());
                self.asked = Some(Asked(Box::pin(async move { peer::ask(id, &mut service, attempt).await })));
            }
            // It stays here while it is awaited, so that a dropped call loses nothing.
            let Some(asked) = self.asked.as_mut() else { break };
            let result = asked.0.as_mut().await;
            self.asked = None;
            match result {
                Ok((reply, timing)) => {
                    if let Some(turn) = self.peers.front_mut() {
                        turn.timeouts = 0;
                    }
                    self.stats.count_delivery(&timing);
                    let failures = mem::take(&mut self.failures);
                    self.last = Some(Last { index: self.position, timing, failures });
                    return Some(Delivered { index: self.position, reply, timing });
                }
                Err(error) => {
                    tracing::debug!(peer = %id, %request, %error, "attempt failed");
                    self.stats.count_failure(&error);
                    self.pass_on(&error);
                    self.failures.push(error);
                }
            }
        }
        let why = self.why_not_again();
        let attempts = mem::take(&mut self.failures);
        self.missing.push(Missing { index: self.position, request: request.clone(), why, attempts });
        None
    }

    /// Whether the request has chances left: attempts, and a peer that has not refused it. Asking again what a peer
    /// refused would only be held against us.
    fn may_ask_again(&self) -> bool {
        let others = self.failures.iter().filter(|error| counts(error)).count();
        self.asked.is_some()
            || (!self.is_our_failure()
                && others < self.options.max_attempts.max(1) as usize
                && self.peers.iter().any(|turn| !self.has_refused(turn.peer.id)))
    }

    fn has_refused(&self, peer: PeerId) -> bool {
        let mut failures = self.failures.iter();
        failures.any(|error| error.kind() == AttemptErrorKind::Refused && error.peer() == Some(peer))
    }

    /// Whether the request failed on our side, such as by a header that we lack: another peer would not help.
    fn is_our_failure(&self) -> bool {
        self.failures.last().is_some_and(|error| error.kind() == AttemptErrorKind::Local)
    }

    /// Why a request that has no chances left has none.
    fn why_not_again(&self) -> WhyGivenUp {
        let refusals = self.failures.iter().filter(|error| error.kind() == AttemptErrorKind::Refused).count();
        let others = self.failures.iter().filter(|error| counts(error)).count();
        if self.is_our_failure() {
            WhyGivenUp::NotThePeers
        } else if self.peers.is_empty() {
            WhyGivenUp::NoPeers
        } else if others >= self.options.max_attempts.max(1) as usize {
            WhyGivenUp::Exhausted
        } else if refusals >= 2 {
            WhyGivenUp::Unanswerable
        } else {
            WhyGivenUp::NobodyElse
        }
    }

    /// Moves on from the peer that failed to the next one.
    fn pass_on(&mut self, error: &AttemptError) {
        let Some(mut turn) = self.peers.pop_front() else { return };
        turn.timeouts = if error.kind() == AttemptErrorKind::Timeout { turn.timeouts + 1 } else { 0 };
        // Of peers without names silence is how they refuse.
        let is_silent = turn.timeouts >= MAX_TIMEOUTS && turn.peer.id != ALL_PEERS;
        if ends_peer(error) || is_silent {
            self.lost.push(LostPeer { peer: turn.peer.id, why: blame(error) });
        } else {
            self.peers.push_back(turn);
        }
    }
}

/// Whether a failure uses up a chance of its request. One that costs its peer its place does not, or a few liars would
/// end a request that others can answer; nor does a refusal: no peer is asked twice for what it refused.
fn counts(error: &AttemptError) -> bool {
    match error.kind() {
        AttemptErrorKind::Refused => false,
        AttemptErrorKind::False | AttemptErrorKind::Malformed => error.peer() == Some(ALL_PEERS),
        _ => true,
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}
