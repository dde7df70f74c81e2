use std::{
    collections::VecDeque,
    error::Error,
    mem,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, KnownPeer, LeaveReason, PeerEvent,
    PeerId, PeerTable, RecoveryEvent, Request, RequestId, SendId, Timing, WhyGivenUp,
    retry::{RecoveryStrategy, Rest, RetryPolicy, RetryState},
};
use tokio::{sync::broadcast, time::sleep_until};
use tracing::{Instrument, Span};

use super::{
    Delivered, LostPeer, Missing, OrderedSync, PlannedRequest, SyncEvent, SyncOutcome, SyncReport, SyncStats,
    event::Events,
    time::{by, now},
};
use crate::peer::{self, Peer};

/// Settings of a [`SequentialSync`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SequentialOptions {
    /// The rules for one request.
    pub retry: RetryPolicy,
    /// The time for the whole sync, from the first call of [`next`](super::OrderedSync::next) on; `None` for no limit.
    pub total_timeout: Option<Duration>,
}

/// Asks one peer at a time, one request at a time, in the order of the plan.
///
/// A [`RetryState`] decides after each failure, as in a parallel sync: after a peer that failed a request the next one
/// is asked, for that request and those after it; a peer that is gone, or that sent a false reply, is not asked again.
/// A sync that no peer answers ends with the first request that used up its attempts; one that peers answered before
/// ends with the next, which gets a single attempt.
///
/// ```
/// # use qrinfo::{OrderedSync, Peer, SequentialOptions, SequentialSync};
/// # use qrinfo_core::{AttemptService, QRInfoRequestSpec};
/// # async fn example<S: AttemptService<Future: Send + 'static> + Clone + Send + 'static>(
/// #     plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) {
/// let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
/// while let Some(delivered) = sync.next().await {
///     println!("request {} was answered by {}", delivered.index, delivered.timing.peer);
/// }
/// println!("{}", sync.into_report().outcome);
/// # }
/// ```
#[derive(derive_more::Debug)]
pub struct SequentialSync<S> {
    plan: Vec<Request>,
    /// The request to ask next.
    position: usize,
    /// The peer to ask is the first.
    peers: VecDeque<Turn<S>>,
    options: SequentialOptions,
    /// The failures of the request at `position`.
    state: Option<RetryState>,
    /// The end of a wait before the next attempt.
    resume_at: Option<Instant>,
    /// The attempt in flight.
    #[debug(skip)]
    asked: Option<BoxFuture<'static, AttemptResult>>,
    /// The reply that was delivered last.
    last: Option<Last>,
    missing: Vec<Missing>,
    stats: SyncStats,
    /// Replies and refusals before the request at `position`.
    signs_before: u64,
    signs_of_life: u64,
    /// The request at the position is a probe: no peer said anything about the one before it.
    is_probing: bool,
    deadline: Option<Instant>,
    /// The reason for which the sync ended before its plan.
    over: Option<WhyGivenUp>,
    span: Span,
    lost: Vec<LostPeer>,
    events: Events,
}

/// A reply that was delivered, and the failures of its request before.
#[derive(Debug)]
struct Last {
    index: usize,
    timing: Timing,
    state: RetryState,
}

#[derive(Debug)]
struct Turn<S> {
    peer: Peer<S>,
    rest: Rest,
    rests_until: Option<Instant>,
}

impl<S> SequentialSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    /// A sync of `plan` from `peers`, which are asked in this order.
    pub fn new(
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        peers: Vec<Peer<S>>,
        options: SequentialOptions,
    ) -> Self {
        let plan: Vec<_> = plan.into_iter().map(|planned| planned.into().request).collect();
        let span = tracing::debug_span!("sync", mode = "sequential", requests = plan.len());
        let peers = peers.into_iter().map(|peer| Turn { peer, rest: Rest::default(), rests_until: None }).collect();
        Self {
            plan,
            position: 0,
            peers,
            options,
            state: None,
            resume_at: None,
            asked: None,
            last: None,
            missing: Vec::new(),
            stats: SyncStats::default(),
            signs_before: 0,
            signs_of_life: 0,
            is_probing: false,
            deadline: None,
            over: None,
            span,
            lost: Vec::new(),
            events: Events::default(),
        }
    }

    async fn advance(&mut self) -> Option<Delivered> {
        if self.deadline.is_none() {
            self.deadline = self.options.total_timeout.and_then(|time| now().checked_add(time));
        }
        while self.over.is_none() && !self.peers.is_empty() && self.position < self.plan.len() {
            match by(self.deadline, self.ask()).await {
                Some(Some(delivered)) => return Some(delivered),
                Some(None) => {}
                None => self.over = Some(WhyGivenUp::SyncDeadlinePassed),
            }
        }
        None
    }

    fn go_back(&mut self, index: usize, state: RetryState) {
        // A call of `next` that was dropped may have gone further.
        self.asked = None;
        self.resume_at = None;
        self.missing.retain(|missing| missing.index < index);
        self.position = index;
        self.state = Some(state);
    }

    /// Asks for the request at the position until it is answered, or given up (`None`).
    async fn ask(&mut self) -> Option<Delivered> {
        let index = self.position;
        while self.position == index && self.over.is_none() {
            if let Some(until) = self.resume_at {
                sleep_until(until.into()).await;
                self.resume_at = None;
            }
            let deadline = self.state_mut()?.deadline();
            if self.asked.is_none() && !self.begin() {
                self.give_up(None);
                break;
            }
            // It stays here while it is awaited, so that a dropped call loses nothing.
            let result = by(deadline, self.asked.as_mut()?).await;
            self.asked = None;
            let Some(result) = result else {
                self.give_up(Some(WhyGivenUp::DeadlinePassed));
                break;
            };
            let peer = self.peers.front()?.peer.id;
            match result {
                Ok(answer) => return self.answered(answer),
                Err(error) => {
                    tracing::debug!(%peer, request = index, %error, "attempt failed");
                    self.stats.count_failure(&error);
                    self.signs_of_life += u64::from(error.kind() == AttemptErrorKind::Refused);
                    self.failed(error, peer);
                }
            }
        }
        None
    }

    /// Starts an attempt at the first peer that may be asked. Returns false if there is none.
    fn begin(&mut self) -> bool {
        let avoid = self.state.as_ref().map(RetryState::avoid).unwrap_or_default();
        let may_be_asked = |turn: &Turn<S>| !avoid.contains(&turn.peer.id);
        let now = now();
        let is_awake = |turn: &Turn<S>| turn.rests_until.is_none_or(|until| until <= now);
        let awake = self.peers.iter().position(|turn| may_be_asked(turn) && is_awake(turn));
        // Where every peer rests, waiting helps no one.
        let resting = || {
            let resting = self.peers.iter().enumerate().filter(|(_, turn)| may_be_asked(turn));
            resting.min_by_key(|(_, turn)| turn.rests_until).map(|(index, _)| index)
        };
        let Some(chosen) = awake.or_else(resting) else { return false };
        self.peers.rotate_left(chosen);
        let (Some(turn), Some(request)) = (self.peers.front(), self.plan.get(self.position)) else { return false };
        self.stats.attempts += 1;
        self.stats.retries += u64::from(self.state.as_ref().is_some_and(|state| !state.failures().is_empty()));
        let (id, mut service) = (turn.peer.id, turn.peer.service.clone());
        let send = SendId { peer: id, seq: self.stats.attempts };
        let sent = PeerEvent::Sent { send, request: RequestId(self.position as u64), is_copy: false, at: now };
        self.events.send(SyncEvent::Peer(sent));
        let attempt = Attempt::new(self.position as u64, request.clone());
        self.asked = Some(async move { peer::ask(id, &mut service, attempt).await }.boxed());
        true
    }

    fn answered(&mut self, Answer { reply, timing }: Answer) -> Option<Delivered> {
        if let Some(turn) = self.peers.front_mut() {
            turn.rest.answered();
            turn.rests_until = None;
        }
        self.stats.count_delivery(&timing);
        let send = SendId { peer: timing.peer, seq: self.stats.attempts };
        self.events.send(SyncEvent::Peer(PeerEvent::Ended { send, outcome: Ok(timing), at: timing.done }));
        self.signs_of_life += 1;
        let index = self.position;
        self.last = Some(Last { index, timing, state: self.state.take()? });
        self.pass();
        self.is_probing = false;
        Some(Delivered { index, reply, timing })
    }

    /// Decides about a failure, and carries the decision out as far as it needs no time.
    fn failed(&mut self, error: AttemptError, peer: PeerId) {
        let (kind, at) = (error.kind(), error.peer());
        let send = SendId { peer, seq: self.stats.attempts };
        self.events.send(SyncEvent::Peer(PeerEvent::Ended { send, outcome: Err(kind), at: now() }));
        self.note_at_peer(&error, peer);
        let table = self.table();
        let Some(state) = self.state_mut() else { return };
        let mut strategy = state.failed(error, Some(&table), now());
        if !matches!(strategy, RecoveryStrategy::Abort { .. }) && self.is_silent_enough() {
            strategy = RecoveryStrategy::Abort { why: WhyGivenUp::Exhausted };
        }
        let request = RequestId(self.position as u64);
        tracing::debug!(%request, %strategy);
        self.tell(RecoveryEvent::Decided { request, peer: at, error: kind, strategy: strategy.clone() });
        match strategy {
            RecoveryStrategy::Retry { delay } => self.resume_at = now().checked_add(delay),
            RecoveryStrategy::Abort { why } => self.give_up(Some(why)),
            _ => {}
        }
    }

    /// Moves a peer that failed to the end of the line, or out of it.
    fn note_at_peer(&mut self, error: &AttemptError, peer: PeerId) {
        let Some(index) = self.peers.iter().position(|turn| turn.peer.id == peer) else { return };
        let Some(mut turn) = self.peers.remove(index) else { return };
        let why = peer::classify(error);
        // Of peers without names it may have been any: the others answer as well.
        let is_fault = matches!(why, AttemptErrorKind::False | AttemptErrorKind::Malformed) && peer != PeerId::ALL;
        if is_fault || error.kind() == AttemptErrorKind::Disconnected {
            self.lost.push(LostPeer { peer, why });
            let left = PeerEvent::Left { peer, why: LeaveReason::Disconnected };
            let event = if is_fault { PeerEvent::Banned { peer, why } } else { left };
            self.events.send(SyncEvent::Peer(event));
            return;
        }
        if error.kind() == AttemptErrorKind::Timeout {
            turn.rests_until = Some(turn.rest.failed(now()));
        }
        self.peers.push_back(turn);
    }

    /// Gives the request at the position up; without a reason because no peer can be asked.
    fn give_up(&mut self, why: Option<WhyGivenUp>) {
        let table = self.table();
        let (Some(state), Some(request)) = (self.state.take(), self.plan.get(self.position)) else { return };
        let why = why.unwrap_or_else(|| state.why_no_peer(&table));
        let given_up = state.give_up(why);
        let is_silent = given_up.is_silence() && self.signs_of_life == self.signs_before;
        self.missing.push(Missing { index: self.position, request: request.clone(), why, attempts: given_up.attempts });
        self.tell(RecoveryEvent::GaveUp { request: RequestId(self.position as u64), why });
        self.pass();
        if is_silent && !self.probes_next() {
            self.over = Some(WhyGivenUp::Silence);
        }
        self.is_probing = is_silent;
    }

    /// Returns true if the request after a silent one gets a single attempt before the sync ends: peers that answered
    /// earlier may answer again, and over a network that does not name its peers a refusal is silent as well.
    fn probes_next(&self) -> bool {
        !self.is_probing && (self.signs_of_life > 0 || self.is_nameless()) && self.options.retry.max_attempts > 1
    }

    /// Returns true if a silent request is given up before its attempts are used up: it is a probe, or its last attempt
    /// is left to a probe, so that silence takes the time of one request.
    fn is_silent_enough(&self) -> bool {
        let enough = match self.options.retry.max_attempts.saturating_sub(1) {
            _ if self.is_probing => 1,
            all_but_one if self.is_nameless() => all_but_one.max(1),
            _ => return false,
        };
        self.state.as_ref().is_some_and(|state| state.is_silent() && state.failures().len() >= enough as usize)
    }

    fn is_nameless(&self) -> bool {
        self.peers.iter().any(|turn| turn.peer.id == PeerId::ALL)
    }

    fn pass(&mut self) {
        self.position += 1;
        self.state = None;
        self.resume_at = None;
        self.signs_before = self.signs_of_life;
    }

    /// The state of the request at the position.
    fn state_mut(&mut self) -> Option<&mut RetryState> {
        let policy = self.options.retry;
        let request = self.plan.get(self.position)?;
        let attempt = || Attempt::new(self.position as u64, request.clone());
        Some(self.state.get_or_insert_with(|| RetryState::new(&attempt(), policy)))
    }

    fn table(&self) -> PeerTable {
        let known = |turn: &Turn<S>| (turn.peer.id, KnownPeer { height: turn.peer.start_height, is_spent: false });
        let mut table = PeerTable::new(self.peers.iter().map(known));
        table.is_closed = true;
        table.had_peers |= !self.lost.is_empty();
        table
    }

    fn tell(&self, event: RecoveryEvent) {
        self.events.send(SyncEvent::Recovery(event));
    }
}

impl<S> OrderedSync for SequentialSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    async fn next(&mut self) -> Option<Delivered> {
        let span = self.span.clone();
        self.advance().instrument(span).await
    }

    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        let Some(Last { index, timing, state }) = self.last.take() else { return };
        let error = self.stats.count_rejection(index, &timing, why);
        self.go_back(index, state);
        self.failed(error, timing.peer);
    }

    fn return_last(&mut self) {
        let Some(Last { index, timing, state }) = self.last.take() else { return };
        self.stats.count_return(&timing);
        self.go_back(index, state);
    }

    fn stats(&self) -> SyncStats {
        self.stats
    }

    fn events(&self) -> broadcast::Receiver<SyncEvent> {
        self.events.subscribe()
    }

    fn into_report(mut self) -> SyncReport {
        let why = match self.over {
            Some(why) => why,
            None if !self.peers.is_empty() => WhyGivenUp::Stopped,
            None if self.lost.is_empty() => WhyGivenUp::NoPeers,
            None => WhyGivenUp::AllPeersGone,
        };
        // The failures are those of the first one.
        let mut failures = self.state.take().map(|state| state.give_up(why).attempts).unwrap_or_default();
        let rest = self.plan.iter().enumerate().skip(self.position);
        self.missing.extend(rest.map(|(index, request)| {
            let attempts = mem::take(&mut failures);
            Missing { index, request: request.clone(), why, attempts }
        }));
        SyncReport { outcome: SyncOutcome::of(self.missing), stats: self.stats, lost: self.lost }
    }
}
