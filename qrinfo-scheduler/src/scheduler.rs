//! The scheduler: one plain struct, driven by what happens and when.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{Attempt, AttemptErrorKind, PeerId, Timing};

use crate::{
    Gcra, PeerHealth, PeerState, Rate,
    budget::CopyBudget,
    peer::PRIOR_RATE,
    policy::{Choice, Crew},
    queue::{Place, Queue},
    sizes::Sizes,
};

/// While a reply is outstanding, silence is looked at this often.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Progress alone is looked at this often. Ten times as fast as silence, and rare beside reports of every 16 KiB, each
/// of which would ask for a forecast of every peer.
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

/// Records of peers that left, kept because their servers remember us. Bounds memory where addresses come and go.
const REMEMBERED_PEERS: usize = 256;

/// Names a request from its submission to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Names one sending of a request to one peer. Never used twice, so that a straggler is not taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DispatchId {
    peer: PeerId,
    number: u64,
}

/// Send this now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// By which the peer's reports come back.
    pub id: DispatchId,
    /// The request that it serves.
    pub ticket: Ticket,
    /// What to ask.
    pub attempt: Attempt,
}

/// What the scheduler has decided beside what to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This copy's reply is the request's reply. Other copies may still come; nobody waits for them.
    Replied(Ticket, DispatchId),
    /// This copy failed, and there is no other.
    Failed(Ticket, DispatchId, AttemptErrorKind),
    /// The deadline passed.
    Expired(Ticket),
    /// Every peer that is left is one that the attempt avoids.
    NobodyLeft(Ticket),
    /// The peer is to be given up: it has had too many requests that it had to refuse, or it lied. It holds nothing
    /// any more, and the scheduler has forgotten it but for its points.
    Dismissed(PeerId),
}

/// The queue is full. The attempt comes back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{capacity} requests wait already")]
pub struct Overloaded {
    /// What was not taken.
    pub attempt: Box<Attempt>,
    /// How many may wait.
    pub capacity: usize,
}

/// The numbers that a [`Scheduler`] keeps to. All of them can be changed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may be [under way](PeerHealth::under_way) at a time, all peers together. One makes it
    /// sequential. Zero stops sending.
    pub cap: usize,
    /// How many requests may wait.
    pub capacity: usize,
    /// A request that has waited for this long is served whatever its priority: one of eight sends belongs to the one
    /// that has waited longest.
    pub ageing: Duration,
    /// How often anything is sent.
    pub rate: Option<Rate>,
    /// How often anything is sent to one peer.
    pub peer_rate: Option<Rate>,
}

/// Delivery in order: which attempts may be under way.
///
/// For those whose [`Attempt::id`]s number a plan without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The id of the first attempt that is not delivered.
    pub first: u64,
    /// How many attempts, from the first on, may be under way or wait for delivery. Zero counts as one.
    pub length: u64,
}

/// Which request goes to which peer, and when.
///
/// It is told what happens and the time, and does no I/O: [`next`](Self::next) says what to send, [`event`](Self::event)
/// what else was decided, [`next_wakeup`](Self::next_wakeup) when to ask again if nothing happens before.
///
/// Attempts wait by [`RequestPriority`](qrinfo_core::RequestPriority), and within one by [`Attempt::id`], so that a
/// retry, which keeps its number, goes before what is younger. A request is bound to a peer at the moment of sending.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, PeerId, Timing};
/// use qrinfo_scheduler::{Event, Scheduler, Settings};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut scheduler = Scheduler::new(Settings::default());
/// let peer = PeerId(([127, 0, 0, 1], 19899).into());
/// scheduler.peer_joined(peer, Duration::from_millis(50));
///
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let ticket = scheduler.submit(Attempt::new(1, request.into()), now)?;
/// let dispatch = scheduler.next(now).unwrap();
/// assert_eq!(dispatch.id.peer(), peer);
///
/// let done = now + Duration::from_millis(120);
/// let timing = Timing { peer, sent: now, head: Some(now), first_byte: Some(done), done, bytes: 19_000 };
/// scheduler.replied(dispatch.id, &timing);
/// assert_eq!(scheduler.event(), Some(Event::Replied(ticket, dispatch.id)));
/// # Ok::<(), qrinfo_scheduler::Overloaded>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    window: Option<Window>,
    bucket: Option<Gcra>,
    queue: Queue,
    jobs: BTreeMap<Ticket, Job>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    peers: BTreeMap<PeerId, PeerHealth>,
    remembered: VecDeque<(PeerId, u32)>,
    sizes: Sizes,
    copies: CopyBudget,
    events: VecDeque<Event>,
    /// There is nothing to send before, unless something happens that is more than progress.
    quiet_until: Option<Instant>,
    last_ticket: u64,
    last_dispatch: u64,
}

/// A request that has not ended.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) attempt: Attempt,
    pub(crate) place: Place,
    /// Where it is.
    pub(crate) copies: Vec<DispatchId>,
    sent_once: bool,
}

// === impl Ticket ===

impl Ticket {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const LAST: Self = Self(u64::MAX);

    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }
}

// === impl DispatchId ===

impl DispatchId {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The peer it was sent to.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

// === impl Settings ===

impl Default for Settings {
    /// A cap of 3 (as `max_concurrent_qrinfo_requests`), 16,384 waiting, ageing after 30 s, and no rate limits.
    fn default() -> Self {
        Self { cap: 3, capacity: 16_384, ageing: Duration::from_secs(30), rate: None, peer_rate: None }
    }
}

// === impl Window ===

impl Window {
    /// The first id that has to wait.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.length.max(1))
    }
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler without peers or requests.
    pub fn new(settings: Settings) -> Self {
        Self {
            bucket: settings.rate.map(Gcra::new),
            settings,
            window: None,
            queue: Queue::default(),
            jobs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            peers: BTreeMap::new(),
            remembered: VecDeque::new(),
            sizes: Sizes::default(),
            copies: CopyBudget::default(),
            events: VecDeque::new(),
            quiet_until: None,
            last_ticket: 0,
            last_dispatch: 0,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Goes on with other settings. What is under way stays under way.
    pub fn set_settings(&mut self, settings: Settings) {
        self.quiet_until = None;
        match (&mut self.bucket, settings.rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(Gcra::new),
        }
        for peer in self.peers.values_mut() {
            peer.set_rate_limit(settings.peer_rate);
        }
        self.settings = settings;
    }

    /// Says which attempts may be under way; `None` means all.
    pub fn set_window(&mut self, window: Option<Window>) {
        self.quiet_until = None;
        self.window = window;
    }

    /// Takes an attempt.
    ///
    /// Its end comes as an [`Event`], unless it is [cancelled](Self::cancel). An attempt without a deadline waits for
    /// a peer as long as there is none. One that avoids every peer there is ends at once ([`Event::NobodyLeft`]):
    /// asking a peer again that failed it is for the caller to decide, by sending a shorter list.
    ///
    /// # Errors
    /// [`Overloaded`] when [`Settings::capacity`] attempts wait.
    pub fn submit(&mut self, attempt: Attempt, now: Instant) -> Result<Ticket, Overloaded> {
        let capacity = self.settings.capacity;
        if self.queue.len() >= capacity {
            return Err(Overloaded { attempt: Box::new(attempt), capacity });
        }
        self.quiet_until = None;
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let place = Place { priority: attempt.priority, order: attempt.id, again: false, since: now, ticket };
        if let Some(deadline) = attempt.deadline {
            self.deadlines.insert((deadline, ticket));
        }
        self.queue.insert(place);
        self.copies.earn();
        self.jobs.insert(ticket, Job { attempt, place, copies: Vec::new(), sent_once: false });
        self.end_if_nobody_left(ticket);
        Ok(ticket)
    }

    /// Nobody waits for this request any more. Copies that are sent keep their slots until their peers have answered.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.quiet_until = None;
        self.forget(ticket);
    }

    /// A peer is ready for requests; `round_trip` is that of a ping.
    pub fn peer_joined(&mut self, peer: PeerId, round_trip: Duration) {
        self.quiet_until = None;
        self.peer_left(peer);
        let mut health = PeerHealth::new(round_trip, self.settings.peer_rate);
        let index = self.remembered.iter().position(|&(remembered, _)| remembered == peer);
        if let Some((_, points)) = index.and_then(|index| self.remembered.remove(index)) {
            health.remember(points);
        }
        self.peers.insert(peer, health);
        self.end_those_with_nobody_left();
        self.dismiss_if_drained(peer);
    }

    /// A peer is gone, and with it what it held.
    pub fn peer_left(&mut self, peer: PeerId) {
        self.quiet_until = None;
        let Some(health) = self.peers.remove(&peer) else { return };
        self.remember(peer, &health);
        for entry in health.entries() {
            if let Some(ticket) = entry.ticket {
                self.copy_failed(ticket, entry.id, AttemptErrorKind::Disconnected);
            }
        }
        self.end_those_with_nobody_left();
    }

    /// What is known of a peer.
    pub fn peer(&self, peer: &PeerId) -> Option<&PeerHealth> {
        self.peers.get(peer)
    }

    /// The peers that have joined and not left.
    pub fn peers(&self) -> impl Iterator<Item = (&PeerId, &PeerHealth)> {
        self.peers.iter()
    }

    /// How many requests wait to be sent, for the first time or again.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many requests have not ended.
    pub fn unfinished(&self) -> usize {
        self.jobs.len()
    }

    /// How many slots are in use: requests at peers that have not answered them.
    pub fn in_flight(&self) -> usize {
        self.peers.values().map(PeerHealth::outstanding).sum()
    }

    /// How many requests count against [`Settings::cap`].
    pub fn under_way(&self) -> usize {
        self.peers.values().map(PeerHealth::under_way).sum()
    }

    /// What to send now. To be asked until there is nothing, after each call that tells the scheduler something; then
    /// ask for [`event`](Self::event)s.
    pub fn next(&mut self, now: Instant) -> Option<Dispatch> {
        self.expire(now);
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        let dispatch = self.decide(now).and_then(|choice| self.dispatch(choice, now));
        self.quiet_until = match dispatch {
            Some(_) => None,
            None => self.next_wakeup(now).into_iter().chain([now + PROGRESS_EVERY]).min(),
        };
        dispatch
    }

    fn decide(&mut self, now: Instant) -> Option<Choice> {
        if self.peers.is_empty() || self.in_flight() == 0 && self.queue.is_empty() {
            return None;
        }
        let common_rate = self.common_rate(now);
        self.notice_changes(now, common_rate);
        if self.under_way() >= self.settings.cap || self.bucket.as_ref().is_some_and(|bucket| !bucket.is_ready(now)) {
            return None;
        }
        let crew = Crew::new(&self.peers, &self.sizes, common_rate, now);
        self.overdue(&crew, now)
            .or_else(|| crew.second_copy(&self.queue, &self.jobs, &self.peers, self.window, &self.copies))
            .or_else(|| crew.first_copy(&self.queue, &self.jobs, self.window))
            .or_else(|| crew.last_resort(&self.queue, &self.jobs, self.window))
    }

    /// When to ask [`next`](Self::next) again if nothing happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let check = (self.in_flight() > 0).then(|| now + CHECK_EVERY);
        let deadline = self.deadlines.first().map(|&(deadline, _)| deadline);
        let mut wakeup = [check, deadline].into_iter().flatten().min();
        if !self.queue.is_empty() {
            let thaws = self.peers.values().filter_map(|peer| match peer.state() {
                PeerState::Cooling { until } => Some(until),
                _ => None,
            });
            let buckets = self.peers.values().map(|peer| peer.conforms_at(now)).filter(|&at| at > now);
            let bucket = self.bucket.as_ref().map(|bucket| bucket.next(now)).filter(|&at| at > now);
            wakeup = thaws.chain(buckets).chain(bucket).chain(wakeup).min();
        }
        wakeup.map(|at| at.max(now))
    }

    /// So many bytes of a reply's payload have come; none yet when only its header has. `length` is the payload's
    /// length by the header, where it is known.
    pub fn progress(&mut self, id: DispatchId, bytes: u64, length: Option<u64>, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id.peer)
            && peer.progress(id, bytes, length, now)
        {
            self.quiet_until = None;
        }
    }

    /// The reply has come.
    pub fn replied(&mut self, id: DispatchId, timing: &Timing) {
        self.quiet_until = None;
        let Some(peer) = self.peers.get_mut(&id.peer) else { return };
        let trusted = peer.is_trusted();
        let Some(entry) = peer.replied(id, timing) else { return };
        self.sizes.add(timing.bytes);
        if let Some(ticket) = entry.ticket.filter(|ticket| self.jobs.contains_key(ticket)) {
            self.forget(ticket);
            self.events.push_back(Event::Replied(ticket, id));
        }
        self.after_answer(id.peer, trusted);
    }

    /// It failed: refused, timed out, and so on. Its slot is free.
    pub fn failed(&mut self, id: DispatchId, kind: AttemptErrorKind, now: Instant) {
        self.quiet_until = None;
        let Some(peer) = self.peers.get_mut(&id.peer) else { return };
        let trusted = peer.is_trusted();
        let Some(entry) = peer.failed(id, kind, now) else { return };
        if let Some(ticket) = entry.ticket {
            self.copy_failed(ticket, id, kind);
        }
        self.after_answer(id.peer, trusted);
    }

    /// We wait no longer, while the peer still holds the request: its slot stays in use until
    /// [`replied`](Self::replied) or [`failed`](Self::failed) tells what became of it, or the peer leaves.
    pub fn timed_out(&mut self, id: DispatchId, now: Instant) {
        self.quiet_until = None;
        let Some(peer) = self.peers.get_mut(&id.peer) else { return };
        let trusted = peer.is_trusted();
        if let Some(ticket) = peer.timed_out(id, now) {
            self.copy_failed(ticket, id, AttemptErrorKind::Timeout);
        }
        self.after_answer(id.peer, trusted);
    }

    /// Whether this copy has [timed out](Self::timed_out) and the peer still holds it.
    pub(crate) fn is_given_up(&self, id: DispatchId) -> bool {
        let held = self.peers.get(&id.peer).into_iter().flat_map(PeerHealth::entries).find(|entry| entry.id == id);
        held.is_some_and(|entry| entry.ticket.is_none())
    }

    /// Whether the peer's service takes a request now. One that has joined does until this says otherwise.
    pub fn set_ready(&mut self, peer: &PeerId, ready: bool) {
        self.quiet_until = None;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.set_ready(ready);
        }
    }

    /// The next decision that is not a sending.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn common_rate(&self, now: Instant) -> f64 {
        let rates = self.peers.values().filter(|peer| peer.is_trusted()).filter_map(|peer| peer.rate_so_far(now));
        let (sum, n) = rates.fold((0.0, 0.0), |(sum, n), rate| (sum + rate.max(1.0).ln(), n + 1.0));
        if n > 0.0 { (sum / n).exp() } else { PRIOR_RATE }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, ticket)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, ticket));
            self.forget(ticket);
            self.events.push_back(Event::Expired(ticket));
        }
    }

    /// Rests that end, and replies that have stopped coming.
    fn notice_changes(&mut self, now: Instant, common_rate: f64) {
        let mut changed = Vec::new();
        for (&id, peer) in &mut self.peers {
            let trusted = peer.is_trusted();
            peer.thaw(now);
            peer.notice_stall(now, common_rate, &self.sizes);
            if peer.is_trusted() != trusted {
                changed.push(id);
            }
        }
        for peer in changed {
            self.trust_changed(peer);
        }
    }

    fn after_answer(&mut self, peer: PeerId, was_trusted: bool) {
        let Some(health) = self.peers.get(&peer) else { return };
        let (state, trusted) = (health.state(), health.is_trusted());
        if trusted != was_trusted {
            self.trust_changed(peer);
        }
        if state == PeerState::Leaving {
            self.end_those_with_nobody_left();
            self.dismiss_if_drained(peer);
        }
    }

    /// What a peer holds goes back into the queue when the peer is no longer trusted with it, and out of it when it is
    /// again.
    fn trust_changed(&mut self, peer: PeerId) {
        let Some(health) = self.peers.get(&peer) else { return };
        let tickets: Vec<Ticket> = health.entries().filter_map(|entry| entry.ticket).collect();
        for ticket in tickets {
            self.queue_unless_in_good_hands(ticket);
        }
    }

    fn queue_unless_in_good_hands(&mut self, ticket: Ticket) {
        let Some(job) = self.jobs.get_mut(&ticket) else { return };
        self.queue.remove(&job.place);
        if job.trusted_copies(&self.peers) == 0 {
            // Under a window the others would soon wait for it.
            job.place.again = !job.copies.is_empty() && self.window.is_none();
            self.queue.insert(job.place);
        }
    }

    fn copy_failed(&mut self, ticket: Ticket, id: DispatchId, kind: AttemptErrorKind) {
        let Some(job) = self.jobs.get_mut(&ticket) else { return };
        job.copies.retain(|copy| *copy != id);
        job.attempt.avoid.push(id.peer);
        let (alone, place) = (job.copies.is_empty(), job.place);
        if alone && (!self.queue.contains(&place) || self.nobody_left(ticket)) {
            self.forget(ticket);
            self.events.push_back(Event::Failed(ticket, id, kind));
        } else {
            self.queue_unless_in_good_hands(ticket);
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        if let Some(job) = self.jobs.remove(&ticket) {
            self.queue.remove(&job.place);
            if let Some(deadline) = job.attempt.deadline {
                self.deadlines.remove(&(deadline, ticket));
            }
        }
    }

    fn end_those_with_nobody_left(&mut self) {
        let picky: Vec<Ticket> =
            self.jobs.iter().filter(|(_, job)| !job.attempt.avoid.is_empty()).map(|(&ticket, _)| ticket).collect();
        for ticket in picky {
            self.end_if_nobody_left(ticket);
        }
    }

    fn end_if_nobody_left(&mut self, ticket: Ticket) {
        if self.nobody_left(ticket) {
            self.forget(ticket);
            self.events.push_back(Event::NobodyLeft(ticket));
        }
    }

    /// Whether the request is nowhere, and avoids every peer that stays. Without any peer it waits for one.
    fn nobody_left(&self, ticket: Ticket) -> bool {
        let Some(job) = self.jobs.get(&ticket) else { return false };
        let mut staying = self.peers.iter().filter(|(_, peer)| peer.state() != PeerState::Leaving).peekable();
        job.copies.is_empty() && staying.peek().is_some() && staying.all(|(id, _)| job.attempt.avoid.contains(id))
    }

    fn remember(&mut self, peer: PeerId, health: &PeerHealth) {
        if health.points() > 0 {
            if self.remembered.len() == REMEMBERED_PEERS {
                self.remembered.pop_front();
            }
            self.remembered.push_back((peer, health.points()));
        }
    }

    fn dismiss_if_drained(&mut self, peer: PeerId) {
        let drained = self
            .peers
            .get(&peer)
            .is_some_and(|health| health.state() == PeerState::Leaving && health.outstanding() == 0);
        if drained {
            if let Some(health) = self.peers.remove(&peer) {
                self.remember(peer, &health);
            }
            self.events.push_back(Event::Dismissed(peer));
        }
    }

    fn overdue(&self, crew: &Crew, now: Instant) -> Option<Choice> {
        let ticket = self.queue.overdue(self.window.map(|window| window.end()), self.settings.ageing, now)?;
        crew.overdue(ticket, self.jobs.get(&ticket)?)
    }

    fn dispatch(&mut self, choice: Choice, now: Instant) -> Option<Dispatch> {
        let Choice { ticket, peer, aged } = choice;
        let (job, health) = (self.jobs.get_mut(&ticket)?, self.peers.get_mut(&peer)?);
        self.last_dispatch += 1;
        let id = DispatchId { peer, number: self.last_dispatch };
        health.send(id, ticket, now);
        if self.queue.remove(&job.place) {
            self.queue.count_send(aged);
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if job.sent_once {
            self.copies.spend();
        }
        job.sent_once = true;
        job.copies.push(id);
        Some(Dispatch { id, ticket, attempt: job.attempt.clone() })
    }
}
