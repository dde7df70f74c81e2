//! The scheduler: one plain struct, driven by events and instants.

mod budget;
mod job;
mod policy;
mod throttle;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{
    Attempt, AttemptErrorKind, KnownPeer, LeaveReason, PeerEvent, PeerId, PeerTable, RequestId, SendId, Timing,
    retry::{Congestion, RecoveryStrategy, Rest},
};

pub use self::types::{Dispatch, Event, Settings, SubmitError, Window};
use self::{
    budget::CopyBudget,
    job::{Job, Jobs},
    policy::{Candidates, Choice, Work},
    throttle::Throttle,
};
use crate::{
    gcra::Gcra,
    peer::{Entry, PeerHealth, PeerState, Rates, Sizes},
    queue::Queue,
};

/// The distance between two looks at silent peers while a reply is outstanding.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// The distance between two looks at progress. It must stay well below [`CHECK_EVERY`], and well above the distance of
/// reports of 16 KiB, each of which would ask for a forecast of every peer.
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

/// Banned peers that are remembered. It bounds memory where addresses come and go.
const MOST_BANNED: usize = 4_096;

/// Requests whose refusals are remembered. Beyond it those with the smallest ids are forgotten.
const MOST_REFUSED: usize = 16_384;

/// Binds each request to a peer at the moment of sending, and keeps the one ledger of peers.
///
/// Events and instants go in; it does no I/O. **Pass one event, then take all its decisions, then wait:**
///
/// ```text
/// loop {
///     tell it what happened                          submit, cancel, peer_joined, progress, replied, failed, ...
///     while let Some(dispatch) = scheduler.next(now) { send it }
///     while let Some(event) = scheduler.event() { act on it }
///     wait for the next event, or until scheduler.next_wakeup(now)
/// }
/// ```
///
/// Attempts wait by [`RequestPriority`](qrinfo_core::RequestPriority), and within one by [`Attempt::id`], so that a
/// retry, which keeps its id, goes before younger requests.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, PeerId, RequestId, Timing};
/// use qrinfo_scheduler::{Event, Scheduler, Settings};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut scheduler = Scheduler::new(Settings::default());
/// let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
/// scheduler.peer_joined(peer, 1_772, Duration::from_millis(50), now);
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// scheduler.submit(Attempt::new(RequestId(1), request.into()), now)?;
/// let dispatch = scheduler.next(now).unwrap();
/// assert_eq!(dispatch.send.peer, peer);
///
/// let done = now + Duration::from_millis(120);
/// let timing = Timing { peer, sent: now, head: Some(now), first_byte: Some(done), done, bytes: 19_000 };
/// scheduler.replied(dispatch.send, &timing);
/// let is_reply = |event: &Event| *event == Event::Replied(RequestId(1), dispatch.send);
/// assert!(std::iter::from_fn(|| scheduler.event()).any(|event| is_reply(&event)));
/// # Ok::<(), qrinfo_scheduler::SubmitError>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    window: Option<Window>,
    bucket: Option<Gcra>,
    queue: Queue,
    jobs: Jobs,
    deadlines: BTreeSet<(Instant, RequestId)>,
    peers: BTreeMap<PeerId, PeerHealth>,
    banned: VecDeque<PeerId>,
    /// Peers that left with requests, and their rests: they rest when they come back. As many as there are bans.
    lost: VecDeque<(PeerId, Rest)>,
    /// The connected peers that refused a request, also after the request's end: it may be submitted again.
    refused: BTreeMap<RequestId, Vec<PeerId>>,
    /// True if no further peer will join.
    is_closed: bool,
    had_peers: bool,
    last_joined: Option<Instant>,
    sizes: Sizes,
    copies: CopyBudget,
    congestion: Congestion,
    failures_mount: bool,
    throttle: Throttle,
    is_table_new: bool,
    events: VecDeque<Event>,
    /// Until then [`next`](Self::next) returns `None` without a new evaluation, unless an event other than progress
    /// resets it.
    quiet_until: Option<Instant>,
    next_seq: u64,
    /// The request with the smallest id so far. A plan begins with lists that the client does not have yet, so its first
    /// reply is many times as long as the others and says nothing about their lengths.
    first: Option<RequestId>,
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler without peers or requests, whose first sending has the number 1.
    pub fn new(settings: Settings) -> Self {
        Self::numbered_from(1, settings)
    }

    /// The same, with another number for the first sending: schedulers that ask the same peers one after the other must
    /// not share numbers.
    pub fn numbered_from(first_send: u64, settings: Settings) -> Self {
        Self {
            bucket: settings.rate.map(Gcra::new),
            congestion: Congestion::new(settings.sequential_for),
            throttle: Throttle::new(settings.cap),
            failures_mount: false,
            is_table_new: false,
            settings,
            window: None,
            queue: Queue::default(),
            jobs: Jobs::new(),
            deadlines: BTreeSet::new(),
            peers: BTreeMap::new(),
            banned: VecDeque::new(),
            lost: VecDeque::new(),
            refused: BTreeMap::new(),
            is_closed: false,
            had_peers: false,
            last_joined: None,
            sizes: Sizes::default(),
            copies: CopyBudget::default(),
            events: VecDeque::new(),
            quiet_until: None,
            next_seq: first_send,
            first: None,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings. Requests in flight stay in flight.
    pub fn set_settings(&mut self, settings: Settings) {
        self.touch();
        match (&mut self.bucket, settings.rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(Gcra::new),
        }
        for peer in self.peers.values_mut() {
            peer.set_rate_limit(settings.peer_rate);
        }
        if settings.cap != self.settings.cap {
            self.throttle.set_full(settings.cap);
        }
        self.settings = settings;
    }

    /// Sets the attempts that may be in flight; `None` means all.
    pub fn set_window(&mut self, window: Option<Window>) {
        self.touch();
        self.window = window;
    }

    /// Takes an attempt.
    ///
    /// Its end comes as an [`Event`], unless it is [cancelled](Self::cancel). An attempt without a deadline waits for
    /// a peer as long as there is none. One that avoids every peer that can be asked ends at once
    /// ([`Event::NoPeerLeft`]).
    ///
    /// # Errors
    /// [`SubmitError`] when the queue is full, or when a request with this id has not ended.
    pub fn submit(&mut self, mut attempt: Attempt, now: Instant) -> Result<(), SubmitError> {
        let capacity = self.settings.capacity;
        if self.queue.len() >= capacity {
            return Err(SubmitError::QueueFull { attempt: Box::new(attempt), capacity });
        }
        let id = attempt.id;
        if self.jobs.contains_key(&id) {
            return Err(SubmitError::IdInUse { attempt: Box::new(attempt) });
        }
        self.touch();
        self.first = Some(self.first.map_or(id, |first| first.min(id)));
        if let Some(deadline) = attempt.deadline {
            self.deadlines.insert((deadline, id));
        }
        attempt.avoid.extend(self.refused.get(&id).into_iter().flatten());
        let job = Job::new(attempt, now);
        self.queue.insert(job.place);
        self.copies.earn();
        self.jobs.insert(id, job);
        self.end_if_no_peer_left(id);
        Ok(())
    }

    /// Drops a request that its caller gave up. Copies that were sent keep their slots until their peers have answered.
    pub fn cancel(&mut self, id: RequestId) {
        self.touch();
        self.forget(id);
    }

    /// Adds a peer. `height` is that of its tip, `round_trip` the time of a ping. Returns false for a banned peer,
    /// which is not added.
    pub fn peer_joined(&mut self, peer: PeerId, height: u32, round_trip: Duration, now: Instant) -> bool {
        self.touch();
        if self.banned.contains(&peer) {
            return false;
        }
        self.peer_left(peer, LeaveReason::Disconnected, now);
        self.had_peers = true;
        self.last_joined = Some(now);
        let mut health = PeerHealth::new(height, round_trip, self.settings.peer_rate);
        if let Some((_, rest)) =
            self.lost.iter().position(|(lost, _)| *lost == peer).and_then(|at| self.lost.remove(at))
        {
            health.comes_back(rest, now);
        }
        self.peers.insert(peer, health);
        self.is_table_new = true;
        self.events.push_back(Event::Peer(PeerEvent::Joined { peer, height, round_trip }));
        // Requests that avoid it have waited for any peer, and it is not one for them.
        self.end_those_without_peer();
        true
    }

    /// Removes a peer whose connection ended, and fails every request that it held.
    pub fn peer_left(&mut self, peer: PeerId, why: LeaveReason, now: Instant) {
        if self.remove(peer, PeerEvent::Left { peer, why }, now) {
            self.end_those_without_peer();
        }
    }

    /// Bans a peer that sent something false or malformed: it is removed, and not added again.
    pub fn ban(&mut self, peer: PeerId, why: AttemptErrorKind, now: Instant) {
        self.touch();
        if !self.banned.contains(&peer) {
            if self.banned.len() == MOST_BANNED {
                self.banned.pop_front();
            }
            self.banned.push_back(peer);
            if !self.remove(peer, PeerEvent::Banned { peer, why }, now) {
                self.events.push_back(Event::Peer(PeerEvent::Banned { peer, why }));
            }
            self.end_those_without_peer();
        }
    }

    /// True if no further peer will join.
    pub fn no_more_peers(&mut self) {
        self.touch();
        self.is_closed = true;
        self.is_table_new = true;
    }

    /// The record of a peer.
    pub fn peer(&self, peer: &PeerId) -> Option<&PeerHealth> {
        self.peers.get(peer)
    }

    /// The peers that have joined and not left.
    pub fn peers(&self) -> impl Iterator<Item = (&PeerId, &PeerHealth)> {
        self.peers.iter()
    }

    /// The ledger as the layers above see it.
    pub fn table(&self) -> PeerTable {
        let known = |health: &PeerHealth| KnownPeer { height: health.height(), is_spent: health.is_spent() };
        let mut table = PeerTable::new(self.peers.iter().map(|(&peer, health)| (peer, known(health))));
        table.is_closed = self.is_closed;
        table.had_peers = self.had_peers;
        table.last_joined = self.last_joined;
        table.failures_mount = self.failures_mount;
        table
    }

    /// The [table](Self::table), if it has changed since this was called last.
    pub fn changed_table(&mut self) -> Option<PeerTable> {
        std::mem::take(&mut self.is_table_new).then(|| self.table())
    }

    /// Requests that wait to be sent, for the first time or again.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Requests that have not ended.
    pub fn unfinished(&self) -> usize {
        self.jobs.len()
    }

    /// Slots in use: sendings that their peers have not dealt with.
    pub fn slots_in_use(&self) -> usize {
        self.peers.values().map(PeerHealth::outstanding).sum()
    }

    /// Requests that count against the [cap](Settings::cap).
    pub fn counted_in_flight(&self) -> usize {
        self.peers.values().map(PeerHealth::counted_in_flight).sum()
    }

    /// The cap in force: that of the settings, or less for a while after failures.
    pub fn cap(&self) -> usize {
        self.throttle.limit()
    }

    /// The next sending, until `None`.
    pub fn next(&mut self, now: Instant) -> Option<Dispatch> {
        self.expire(now);
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.throttle.pass(now);
        let dispatch = self.decide(now).and_then(|choice| self.dispatch(choice, now));
        self.quiet_until = match dispatch {
            Some(_) => None,
            None => self.next_wakeup(now).into_iter().chain([now + PROGRESS_EVERY]).min(),
        };
        dispatch
    }

    /// Returns the instant at which to call [`next`](Self::next) again unless an event comes first.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let check = (self.slots_in_use() > 0).then(|| now + CHECK_EVERY);
        let deadline = self.deadlines.first().map(|&(deadline, _)| deadline);
        let mut wakeup = [check, deadline].into_iter().flatten().min();
        if !self.queue.is_empty() {
            let thaws = self.peers.values().filter_map(|peer| match peer.state() {
                PeerState::Cooling { until } => Some(until),
                _ => None,
            });
            let buckets = self.peers.values().map(|peer| peer.conforms_at(now)).filter(|&at| at > now);
            let bucket = self.bucket.as_ref().map(|bucket| bucket.next(now)).filter(|&at| at > now);
            wakeup = thaws.chain(buckets).chain(bucket).chain(self.throttle.next_change()).chain(wakeup).min();
        }
        wakeup.map(|at| at.max(now))
    }

    /// Records a part of a reply: `bytes` of its payload so far, 0 for the header alone. `length` is that of the whole
    /// payload, if the header is known.
    pub fn progress(&mut self, send: SendId, bytes: u64, length: Option<u64>, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&send.peer)
            && peer.progress(send, bytes, length, now)
        {
            if let Some(length) = length
                && !self.is_first(send)
            {
                self.sizes.announced(length);
            }
            self.touch();
        }
    }

    /// Records the reply to a sending.
    pub fn replied(&mut self, send: SendId, timing: &Timing) {
        self.touch();
        let Some(peer) = self.peers.get_mut(&send.peer) else { return };
        let was_trusted = peer.is_trusted();
        let Some(entry) = peer.replied(send, timing) else { return };
        let says_nothing = entry.request.is_some() && entry.request == self.first;
        self.sizes.completed(timing.bytes, entry.length.is_some() || says_nothing);
        self.ended(&entry, Ok(*timing), timing.done);
        if let Some(id) = entry.request.filter(|id| self.jobs.contains_key(id)) {
            self.forget(id);
            self.events.push_back(Event::Replied(id, send));
        }
        self.after_answer(send.peer, was_trusted);
    }

    /// Records the failure of a sending: refused, disconnected, and so on. Its slot is free. A peer whose reply is
    /// false or malformed is [banned](Self::ban).
    pub fn failed(&mut self, send: SendId, kind: AttemptErrorKind, now: Instant) {
        self.touch();
        let Some(peer) = self.peers.get_mut(&send.peer) else { return };
        let was_trusted = peer.is_trusted();
        let Some(entry) = peer.failed(send, kind, now) else { return };
        self.ended(&entry, Err(kind), now);
        if let Some(id) = entry.request {
            if matches!(kind, AttemptErrorKind::Refused | AttemptErrorKind::NotSent) {
                self.note_refusal(id, send.peer);
            }
            self.copy_failed(id, send, kind);
        }
        if matches!(kind, AttemptErrorKind::False | AttemptErrorKind::Malformed) && send.peer != PeerId::ALL {
            self.ban(send.peer, kind, now);
        } else {
            self.after_answer(send.peer, was_trusted);
        }
    }

    /// Records that a sending timed out while the peer still holds it: its slot stays in use until
    /// [`replied`](Self::replied) or [`failed`](Self::failed), or until the peer leaves.
    pub fn timed_out(&mut self, send: SendId, now: Instant) {
        self.touch();
        let Some(peer) = self.peers.get_mut(&send.peer) else { return };
        let was_trusted = peer.is_trusted();
        if let Some(id) = peer.timed_out(send, now) {
            self.events.push_back(Event::Peer(PeerEvent::TimedOut { send, at: now }));
            self.count_end(send, Err(AttemptErrorKind::Timeout), now);
            self.copy_failed(id, send, AttemptErrorKind::Timeout);
        }
        self.after_answer(send.peer, was_trusted);
    }

    /// Returns true if the peer still holds this sending.
    pub(crate) fn holds(&self, send: SendId) -> bool {
        self.entry(send).is_some()
    }

    /// Returns true if the peer still holds this sending, which has [timed out](Self::timed_out).
    pub(crate) fn is_given_up(&self, send: SendId) -> bool {
        self.entry(send).is_some_and(|entry| entry.request.is_none())
    }

    /// Records the readiness of the peer's service for a request. A peer is ready when it joins.
    pub fn set_ready(&mut self, peer: &PeerId, ready: bool) {
        self.touch();
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.set_ready(ready);
        }
    }

    /// The next decision that is not a sending, until `None`.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns true for a sending of the request with the smallest id.
    fn is_first(&self, send: SendId) -> bool {
        self.entry(send).is_some_and(|entry| entry.request.is_some() && entry.request == self.first)
    }

    fn entry(&self, send: SendId) -> Option<&Entry> {
        self.peers.get(&send.peer)?.entries().find(|entry| entry.send == send)
    }

    /// Every event but progress calls for a new evaluation.
    fn touch(&mut self) {
        self.quiet_until = None;
    }

    fn decide(&mut self, now: Instant) -> Option<Choice> {
        if self.peers.is_empty() || self.slots_in_use() == 0 && self.queue.is_empty() {
            return None;
        }
        let rates = Rates::of(self.peers.values(), now);
        self.notice_changes(now, &rates);
        if self.counted_in_flight() >= self.cap() || self.bucket.as_ref().is_some_and(|bucket| !bucket.is_ready(now)) {
            return None;
        }
        let work = Work { queue: &self.queue, jobs: &self.jobs, window: self.window };
        let candidates = Candidates::new(work, &self.peers, &self.sizes, rates.common, now);
        candidates
            .overdue(self.settings.ageing)
            .or_else(|| candidates.second_copy(&self.copies))
            .or_else(|| candidates.first_copy())
            .or_else(|| candidates.last_resort())
    }

    fn dispatch(&mut self, choice: Choice, now: Instant) -> Option<Dispatch> {
        let Choice { request, peer, aged } = choice;
        let (job, health) = (self.jobs.get_mut(&request)?, self.peers.get_mut(&peer)?);
        let send = SendId { peer, seq: self.next_seq };
        self.next_seq += 1;
        health.send(send, request, now);
        if self.queue.remove(&job.place) {
            self.queue.count_send(aged);
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if job.was_sent {
            self.copies.spend();
        }
        tracing::debug!(%request, %send, copy = job.was_sent, "sending");
        self.events.push_back(Event::Peer(PeerEvent::Sent { send, request, is_copy: job.was_sent, at: now }));
        job.was_sent = true;
        job.copies.push(send);
        Some(Dispatch { send, attempt: Attempt { send: Some(send), ..job.attempt.clone() } })
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, id));
            self.forget(id);
            self.events.push_back(Event::Expired(id));
        }
    }

    /// Ends rests that are over, and notices replies that have stopped coming.
    fn notice_changes(&mut self, now: Instant, rates: &Rates) {
        let mut changed = Vec::new();
        for (&id, peer) in &mut self.peers {
            let was_trusted = peer.is_trusted();
            peer.thaw(now);
            if peer.notice_stall(now, rates, &self.sizes) {
                tracing::debug!(peer = %id, "stalled: its requests are sent to other peers");
                self.events.push_back(Event::Peer(PeerEvent::Stalled { peer: id, at: now }));
            }
            if peer.is_trusted() != was_trusted {
                changed.push(id);
            }
        }
        changed.extend(self.thaw_the_last(now));
        for peer in changed {
            self.trust_changed(peer);
        }
    }

    /// Ends the rest of the peer whose rest ends first, if every peer rests or has stalled: waiting would gain nothing.
    fn thaw_the_last(&mut self, now: Instant) -> Option<PeerId> {
        if self.queue.is_empty() || self.peers.values().any(|peer| peer.is_live()) {
            return None;
        }
        let rests = self.peers.iter_mut().filter(|(_, peer)| peer.outstanding() == 0);
        let rests = rests.filter_map(|(&id, peer)| Some((peer.rests_until()?, id, peer)));
        let (until, id, peer) = rests.min_by_key(|(until, ..)| *until)?;
        peer.thaw(until.max(now));
        Some(id)
    }

    fn after_answer(&mut self, peer: PeerId, was_trusted: bool) {
        let Some(health) = self.peers.get(&peer) else { return };
        let (is_trusted, is_spent) = (health.is_trusted(), health.is_spent());
        if is_trusted != was_trusted {
            self.trust_changed(peer);
        }
        if is_spent {
            self.is_table_new = true;
            self.end_those_without_peer();
        }
    }

    /// Requests that a peer holds go back into the queue when the peer is no longer trusted with them, and out of it
    /// when it is again.
    fn trust_changed(&mut self, peer: PeerId) {
        let Some(health) = self.peers.get(&peer) else { return };
        let held: Vec<RequestId> = health.entries().filter_map(|entry| entry.request).collect();
        for id in held {
            self.queue_unless_trusted(id);
        }
    }

    fn queue_unless_trusted(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.queue.remove(&job.place);
        if job.trusted_copies(&self.peers) == 0 {
            // Under a window the others would soon wait for it.
            job.place.again = !job.copies.is_empty() && self.window.is_none();
            job.place.failed = !job.attempt.avoid.is_empty();
            self.queue.insert(job.place);
        }
    }

    fn copy_failed(&mut self, id: RequestId, send: SendId, kind: AttemptErrorKind) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.copies.retain(|copy| *copy != send);
        job.attempt.avoid.push(send.peer);
        let (is_alone, place) = (job.copies.is_empty(), job.place);
        // After a failure of our own another peer would not help.
        let is_final = kind == AttemptErrorKind::Local || !self.queue.contains(&place);
        if is_alone && (is_final || self.has_no_peer_left(id)) {
            self.forget(id);
            self.events.push_back(Event::Failed(id, send, kind));
        } else {
            self.queue_unless_trusted(id);
        }
    }

    fn note_refusal(&mut self, id: RequestId, peer: PeerId) {
        self.refused.entry(id).or_default().push(peer);
        if self.refused.len() > MOST_REFUSED {
            self.refused.pop_first();
        }
    }

    fn forget(&mut self, id: RequestId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.queue.remove(&job.place);
            if let Some(deadline) = job.attempt.deadline {
                self.deadlines.remove(&(deadline, id));
            }
        }
    }

    /// Ends the requests that no peer may be asked for, after the set of peers has changed.
    fn end_those_without_peer(&mut self) {
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.end_if_no_peer_left(id);
        }
    }

    fn end_if_no_peer_left(&mut self, id: RequestId) {
        if self.has_no_peer_left(id) {
            self.forget(id);
            self.events.push_back(Event::NoPeerLeft(id));
        }
    }

    /// Returns true if no peer holds the request and it avoids every peer that can be asked. Without any peer it waits.
    fn has_no_peer_left(&self, id: RequestId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let can_be_asked = |(peer, health): (&PeerId, &PeerHealth)| !health.is_spent() && job.allows(*peer);
        job.copies.is_empty() && !self.peers.is_empty() && !self.peers.iter().any(can_be_asked)
    }

    /// Removes a peer, fails everything that it held, and tells `event`. Returns whether it was there.
    fn remove(&mut self, peer: PeerId, event: PeerEvent, now: Instant) -> bool {
        self.touch();
        let Some(health) = self.peers.remove(&peer) else { return false };
        self.is_table_new = true;
        tracing::debug!(%peer, ?event);
        self.events.push_back(Event::Peer(event.clone()));
        // On another connection it may have other blocks.
        self.refused.retain(|_, peers| {
            peers.retain(|refused| *refused != peer);
            !peers.is_empty()
        });
        // Our own removal of a peer says nothing about the load.
        let is_ban = matches!(event, PeerEvent::Banned { .. });
        if !is_ban && health.entries().any(|entry| entry.request.is_some()) {
            if self.lost.len() == MOST_BANNED {
                self.lost.pop_front();
            }
            self.lost.push_back((peer, health.rest()));
        }
        for entry in health.entries() {
            let outcome = Err(AttemptErrorKind::Disconnected);
            self.events.push_back(Event::Peer(PeerEvent::Ended { send: entry.send, outcome, at: now }));
            if entry.request.is_some() && !is_ban {
                self.count_end(entry.send, outcome, now);
            }
            if let Some(id) = entry.request {
                self.copy_failed(id, entry.send, AttemptErrorKind::Disconnected);
            }
        }
        true
    }

    /// A sending has ended at its peer.
    fn ended(&mut self, entry: &Entry, outcome: Result<Timing, AttemptErrorKind>, at: Instant) {
        self.events.push_back(Event::Peer(PeerEvent::Ended { send: entry.send, outcome, at }));
        // A sending that timed out was counted then.
        if entry.request.is_some() {
            self.count_end(entry.send, outcome, at);
        }
    }

    /// Counts the end of a sending, and slows down if failures mount.
    fn count_end(&mut self, send: SendId, outcome: Result<Timing, AttemptErrorKind>, at: Instant) {
        // A refusal is no answer: it says nothing about the others.
        if matches!(outcome, Err(AttemptErrorKind::Refused | AttemptErrorKind::NotSent)) {
            return;
        }
        self.congestion.ended(outcome.err().map(|kind| (kind, Some(send.peer))));
        let failures_mount = self.congestion.failures_mount();
        self.is_table_new |= failures_mount != self.failures_mount;
        self.failures_mount = failures_mount;
        if !self.settings.adaptive {
            return;
        }
        let (failures, attempts) = self.congestion.counts();
        // A cap above all that is sent is no limit: half of it would not be less.
        let concurrent = self.settings.cap.min(self.counted_in_flight() + 1);
        if let Some(strategy) = self.congestion.decide(concurrent, at) {
            let before = self.cap();
            self.throttle.apply(&strategy, at);
            // A decision that lowers nothing only holds the present limit for longer.
            if self.cap() < before || matches!(strategy, RecoveryStrategy::FallbackToSequential { .. }) {
                tracing::info!(%strategy, failures, attempts, cap = self.cap(), "failures mount");
                self.events.push_back(Event::SlowedDown { strategy, failures, attempts });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{BlockHash, MnListDiffRequestSpec};

    use super::*;

    /// A plan begins with a whole list. If its length counted, the rest of a short plan would seem so long that a copy of
    /// the first request at a faster peer comes too late.
    #[test]
    fn the_length_of_the_first_reply_says_nothing_about_the_others() {
        let now = crate::now();
        let mut scheduler = Scheduler::new(Settings { cap: 8, ..Settings::default() });
        scheduler.peer_joined(PeerId::Address(([127, 0, 0, 1], 1).into()), 1, Duration::from_millis(50), now);
        let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
        for id in 0..2 {
            scheduler.submit(Attempt::new(RequestId(id), request.clone().into()), now).unwrap();
        }
        let before = scheduler.sizes.mean();
        let done = now + Duration::from_millis(200);
        for (length, counts) in [(586_000, false), (33_000, true)] {
            let send = scheduler.next(now).unwrap().send;
            scheduler.progress(send, 0, Some(length), now);
            let timing = Timing { peer: send.peer, sent: now, head: None, first_byte: None, done, bytes: length };
            scheduler.replied(send, &timing);
            assert_eq!(scheduler.sizes.mean() != before, counts, "{length}");
        }
    }

    fn asked(peers: u16, requests: u64) -> (Scheduler, Instant, Vec<SendId>) {
        let now = crate::now();
        let mut scheduler = Scheduler::new(Settings { cap: 8, ..Settings::default() });
        for port in 1..=peers {
            scheduler.peer_joined(PeerId::from(([127, 0, 0, 1], port)), 1, Duration::from_millis(50), now);
        }
        let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
        for id in 0..requests {
            scheduler.submit(Attempt::new(RequestId(id), request.clone().into()), now).unwrap();
        }
        let sends = std::iter::from_fn(|| scheduler.next(now)).map(|dispatch| dispatch.send).collect();
        (scheduler, now, sends)
    }

    #[test]
    fn a_sending_is_held_until_its_peer_has_dealt_with_it() {
        let (mut scheduler, now, sends) = asked(1, 1);
        let (send, other) = (sends[0], SendId { seq: 99, ..sends[0] });
        let is_held = |scheduler: &Scheduler, send| (scheduler.holds(send), scheduler.is_given_up(send));
        assert_eq!((is_held(&scheduler, send), is_held(&scheduler, other)), ((true, false), (false, false)));
        scheduler.timed_out(send, now);
        assert_eq!(is_held(&scheduler, send), (true, true));
        scheduler.failed(send, AttemptErrorKind::Refused, now);
        assert_eq!(is_held(&scheduler, send), (false, false));
    }

    #[test]
    fn requests_at_a_stalled_peer_wait_for_another_until_it_answers_quickly() {
        let (mut scheduler, now, sends) = asked(1, 2);
        assert_eq!((sends.len(), scheduler.waiting()), (2, 0));
        let at = |ms| now + Duration::from_millis(ms);
        assert!(scheduler.next(at(60_000)).is_none());
        assert!(matches!(scheduler.peer(&sends[0].peer).unwrap().state(), PeerState::Stalled { .. }));
        assert_eq!((scheduler.waiting(), scheduler.counted_in_flight(), scheduler.slots_in_use()), (2, 0, 2));
        assert_eq!(scheduler.queue.failed_below(None).count(), 0, "no peer has failed them");
        let first_byte = Some(at(60_001));
        let timing =
            Timing { peer: sends[0].peer, sent: now, head: None, first_byte, done: at(60_101), bytes: 1_000_000 };
        scheduler.replied(sends[0], &timing);
        assert_eq!((scheduler.waiting(), scheduler.counted_in_flight(), scheduler.slots_in_use()), (0, 1, 1));
    }

    /// A budget that was spent earlier must not keep every peer waiting for the last reply.
    #[test]
    fn the_last_requests_are_copied_without_a_budget() {
        let start = crate::now();
        let mut scheduler = Scheduler::new(Settings { cap: 8, ..Settings::default() });
        for (port, round_trip) in [(1, 20), (2, 50)] {
            let peer = PeerId::Address(([127, 0, 0, 1], port).into());
            scheduler.peer_joined(peer, 1, Duration::from_millis(round_trip), start);
        }
        let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
        for id in 0..2 {
            scheduler.submit(Attempt::new(RequestId(id), request.clone().into()), start).unwrap();
        }
        let (slow, fast) = (scheduler.next(start).unwrap().send, scheduler.next(start).unwrap().send);
        assert_ne!(slow.peer, fast.peer);
        let (first_byte, done) = (start + Duration::from_millis(100), start + Duration::from_millis(200));
        let timing =
            Timing { peer: fast.peer, sent: start, head: None, first_byte: Some(first_byte), done, bytes: 300_000 };
        scheduler.replied(fast, &timing);
        (0..64).for_each(|_| scheduler.copies.spend());
        // So late that the gain is small beside the wait.
        let late = start + Duration::from_secs(1_000);
        scheduler.progress(slow, 0, Some(3_000_000), late);
        let now = late + Duration::from_secs(1);
        scheduler.progress(slow, 50_000, Some(3_000_000), now);
        let copy = scheduler.next(now).unwrap();
        assert_eq!((copy.attempt.id, copy.send.peer), (RequestId(0), fast.peer));
    }
}
