//! The queue of requests at one peer.

mod clock;
mod entry;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, PeerEvent, PeerId, Reply, SendId, Timing,
    message::NetworkMessage,
    wire::frame::{Command, Frame, FrameEvent, Partial},
};

use self::{
    clock::HeadClock,
    entry::{Arrival, Entry, Sent, Stage},
};
use crate::{
    config::CorrelatorConfig,
    error::{Closed, SendIdInUse, TimeoutCause, Violation},
};

/// An input of a [`Correlator`].
#[derive(Debug)]
pub enum Event {
    /// A message arrived.
    Frame(Frame),
    /// A part of a message arrived.
    Partial(Partial),
    /// The caller has given this sending up. Nothing happens if it has ended.
    Cancelled(SendId),
    /// The connection ended.
    Disconnected(Closed),
    /// Time passed: [`Correlator::next_deadline`] is reached.
    Tick,
}

/// An output of a [`Correlator`].
#[derive(Debug)]
pub enum Action {
    /// The end of an attempt, for its caller: once for every sending that was not cancelled before. A request that
    /// timed out keeps its slot after this.
    Answer {
        /// The sending.
        send: SendId,
        /// Its end.
        result: AttemptResult,
    },
    /// The slot is free: once for every sending, after all its other actions.
    Release {
        /// The sending.
        send: SendId,
    },
    /// An event for the ledger of peers. Of each sending there is exactly one [`PeerEvent::Ended`], whether or not a
    /// caller still waited; the last event of the connection is [`PeerEvent::Left`] or [`PeerEvent::Banned`].
    Report(PeerEvent),
    /// The connection has to be closed. No action comes after this.
    Close(Violation),
}

/// The queue of requests at one peer. It matches replies to requests, and ends requests that take too long.
///
/// A plain state machine. **Pass it one event, then carry out all its actions, then wait:**
///
/// ```text
/// loop {
///     correlator.submit(..) or .handle(event, now)   Event::Tick at the deadline
///     while let Some(action) = correlator.next_action() { carry it out }
///     while the transport takes a frame: send correlator.next_frame(now)
///     wait for the next event, or until correlator.next_deadline()
/// }
/// ```
///
/// Instants must not run backwards.
///
/// It holds at most [`depth`](CorrelatorConfig::depth) requests and no part of a reply. `qrinfo` and `mnlistdiff` are
/// decoded once. Any other message but `pong` is ignored, so the transport has to answer the peer's own `ping`.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{Attempt, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, SendId};
/// use qrinfo_core::message::NetworkMessage;
/// use qrinfo_correlate::{Action, Correlator, CorrelatorConfig, Event};
///
/// let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
/// let mut correlator = Correlator::new(peer, CorrelatorConfig::default());
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let now = tokio::time::Instant::now().into_std();
/// correlator.submit(SendId { peer, seq: 1 }, Attempt::new(1, request.into()), now)?;
///
/// // The request goes out, and behind it a ping.
/// assert_eq!(correlator.next_frame(now).unwrap().command.to_string(), "getmnlistd");
/// let Ok(NetworkMessage::Ping(nonce)) = NetworkMessage::from_frame(correlator.next_frame(now).unwrap()) else { panic!() };
///
/// // The pong comes and no reply came before it: the peer refused.
/// let later = now + Duration::from_millis(50);
/// correlator.handle(Event::Frame(NetworkMessage::Pong(nonce).to_frame()), later);
/// let refused = std::iter::from_fn(|| correlator.next_action()).find_map(|action| match action {
///     Action::Answer { result, .. } => result.err(),
///     _ => None,
/// });
/// assert_eq!(refused.unwrap().kind(), AttemptErrorKind::Refused);
/// assert!(correlator.is_empty());
/// # Ok::<(), qrinfo_core::AttemptError>(())
/// ```
#[derive(Debug)]
pub struct Correlator {
    peer: PeerId,
    config: CorrelatorConfig,
    /// Requests in the order of submission. Those that were sent come first, and of those only the last can lack its
    /// fence.
    entries: VecDeque<Entry>,
    actions: VecDeque<Action>,
    submitted: u64,
    /// Runs for the first entry that a caller waits for, which it names by its nonce.
    clock: Option<(u64, HeadClock)>,
    arriving: Option<Arrival>,
    /// The longest reply seen arriving for the first entry.
    longest: u64,
    /// The longest true reply of this connection.
    longest_true: u64,
    closed: Option<Closed>,
}

/// A peer that holds a request for this many times the head timeout is given up: a pong would have been enough to free
/// the slot.
const STUCK_AFTER: u32 = 5;

/// The longest true reply of the connection times this is plausible: so long a reply earns time for all of its length.
const PLAUSIBLE_GROWTH: u64 = 4;

// === impl Correlator ===

impl Correlator {
    /// An empty queue for a fresh connection to `peer`.
    pub fn new(peer: PeerId, config: CorrelatorConfig) -> Self {
        Self {
            peer,
            config,
            entries: VecDeque::new(),
            actions: VecDeque::new(),
            submitted: 0,
            clock: None,
            arriving: None,
            longest: 0,
            longest_true: 0,
            closed: None,
        }
    }

    /// Puts an attempt at the end of the queue.
    ///
    /// # Errors
    /// [`Overloaded`](AttemptErrorKind::Overloaded) while every slot is held,
    /// [`Disconnected`](AttemptErrorKind::Disconnected) after the connection ended, and
    /// [`Local`](AttemptErrorKind::Local) with [`SendIdInUse`] as its source for the id of a sending that has not
    /// ended. No action follows for it.
    pub fn submit(&mut self, send: SendId, attempt: Attempt, now: Instant) -> Result<(), AttemptError> {
        if let Some(closed) = &self.closed {
            return Err(AttemptError::new(AttemptErrorKind::Disconnected).at(self.peer).because(closed.clone()));
        }
        if self.entries.len() >= self.config.depth.get() {
            return Err(AttemptError::new(AttemptErrorKind::Overloaded).at(self.peer));
        }
        if self.entries.iter().any(|entry| entry.send == send) {
            return Err(AttemptError::new(AttemptErrorKind::Local).at(self.peer).because(SendIdInUse { send }));
        }
        self.entries.push_back(Entry::new(send, attempt, fence_nonce(self.submitted)));
        self.submitted += 1;
        self.keep_time(now);
        Ok(())
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        match event {
            Event::Frame(frame) => self.received(frame, now),
            Event::Partial(partial) => self.progressed(partial, now),
            Event::Cancelled(send) => self.cancelled(send, now),
            Event::Disconnected(closed) => self.end_all(closed, now),
            Event::Tick => {}
        }
        // Whatever the event, so that a peer that keeps us busy does not hold up the time.
        self.keep_time(now);
    }

    /// The next action; `None` when all are carried out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns true if [`next_frame`](Self::next_frame) has a frame to send.
    pub fn has_frame(&self) -> bool {
        self.entries.back().is_some_and(|entry| !entry.is_fenced())
    }

    /// The next frame to send; it counts as sent now. Call it only when the transport has room: before that, a
    /// cancelled request leaves no trace at the peer.
    pub fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        let index = self.entries.partition_point(Entry::is_fenced);
        let entry = self.entries.get_mut(index)?;
        if let Stage::Sent(sent) = entry.stage {
            entry.stage = Stage::Fenced(sent);
            return Some(NetworkMessage::Ping(entry.nonce).to_frame());
        }
        let sent = Sent { at: now, head: (index == 0).then_some(now) };
        entry.stage = if self.config.fence { Stage::Sent(sent) } else { Stage::Fenced(sent) };
        // The peer could not begin before this.
        if let Some((nonce, clock)) = &mut self.clock
            && *nonce == entry.nonce
        {
            *clock = HeadClock::start(now);
        }
        tracing::trace!(send = %entry.send, request = %entry.request, "sending");
        Some(entry.request.to_message().to_frame())
    }

    /// The instant of the next [`Tick`](Event::Tick), unless another event comes before, and its cause. There is one as
    /// long as a caller waits, and with fences as long as a slot is held.
    pub fn next_deadline(&self) -> Option<(Instant, TimeoutCause)> {
        let head = self.clock.and_then(|(_, clock)| clock.deadline(&self.config, self.plausible()));
        let own = self.entries.iter().filter(|entry| entry.is_awaited).filter_map(|entry| entry.deadline);
        let own = own.map(|deadline| (deadline, TimeoutCause::Deadline));
        let stuck = self.stuck_at().map(|at| (at, TimeoutCause::Unanswered(self.stuck_after())));
        own.chain(head).chain(stuck).min_by_key(|(deadline, _)| *deadline)
    }

    /// Slots held, tombstones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if no slot is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The reason of the connection's end, once it has ended.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    fn received(&mut self, frame: Frame, now: Instant) {
        let arriving = self.arriving.take();
        let (command, length) = (frame.command, frame.payload.len());
        let arrival =
            Arrival { first_byte: arriving.map_or(now, |arriving| arriving.first_byte), bytes: length as u64 };
        match command {
            Command::PONG => {
                // One that cannot be decoded answers no ping of ours.
                if let Ok(NetworkMessage::Pong(nonce)) = NetworkMessage::from_frame(frame) {
                    self.fence_returned(nonce, now);
                }
            }
            Command::QR_INFO | Command::MN_LIST_DIFF if !self.is_asked() => {
                self.violated(Violation::Unsolicited(command), now);
            }
            Command::QR_INFO | Command::MN_LIST_DIFF => match NetworkMessage::from_frame(frame).map(Reply::try_from) {
                Ok(Ok(reply)) => self.replied(reply, arrival, now),
                Ok(Err(_)) => {}
                Err(error) => {
                    let failure = AttemptError::new(AttemptErrorKind::Malformed).because(error.clone());
                    self.end_first(failure, arrival, now);
                    self.violated(Violation::Malformed { command, error }, now);
                }
            },
            _ => {}
        }
    }

    fn replied(&mut self, reply: Reply, arrival: Arrival, now: Instant) {
        let (mut answered, mut first_mismatch) = (None, None);
        for (index, entry) in self.entries.iter().enumerate() {
            // What began to arrive before a request was sent cannot answer it.
            if entry.sent().is_none_or(|sent| sent.at > arrival.first_byte) {
                break;
            }
            match entry.request.check_reply(&reply) {
                Ok(()) => {
                    answered = Some(index);
                    break;
                }
                Err(mismatch) => {
                    first_mismatch.get_or_insert(mismatch);
                }
            }
        }
        if let Some(index) = answered {
            // In order: a request before it that is not answered now never will be.
            self.refuse_first(index, now);
            if let Some(mut entry) = self.entries.pop_front() {
                entry.becomes_head(arrival.first_byte);
                self.longest_true = self.longest_true.max(arrival.bytes);
                match entry.timing(Some(arrival), now) {
                    Some(timing) => self.end(entry, Ok(Answer { reply, timing }), now),
                    // It was sent, or it could not be answered.
                    None => self.end(entry, Err((AttemptError::new(AttemptErrorKind::Local), None)), now),
                }
                self.settled(now);
            }
        } else if let Some(mismatch) = first_mismatch {
            self.end_first(AttemptError::new(AttemptErrorKind::False).because(mismatch.clone()), arrival, now);
            self.violated(Violation::False(mismatch), now);
        }
    }

    fn fence_returned(&mut self, nonce: u64, now: Instant) {
        // A fence that is not out cannot have come back: the number is a guess.
        if self.config.fence
            && let Some(index) = self.entries.iter().position(|entry| entry.nonce == nonce && entry.is_fenced())
        {
            self.refuse_first(index + 1, now);
            self.settled(now);
        }
    }

    fn progressed(&mut self, Partial { command, received, length }: Partial, now: Instant) {
        let (received, length) = (received as u64, length as u64);
        if let Some((_, clock)) = &mut self.clock {
            clock.progressed(length, now);
        }
        if command != Command::QR_INFO && command != Command::MN_LIST_DIFF {
            return;
        }
        let Some(first) = self.entries.front().filter(|entry| entry.sent().is_some()) else {
            return self.violated(Violation::Unsolicited(command), now);
        };
        // A peer answers in order, so the reply counts as the oldest request's until it is decoded.
        let progress = |received| {
            let length = Some(length);
            Action::Report(PeerEvent::Progress { send: first.send, received, length, at: now })
        };
        self.longest = self.longest.max(length);
        if self.arriving.is_none() && received > 0 {
            self.actions.push_back(progress(0));
        }
        self.actions.push_back(progress(received));
        let first_byte = self.arriving.map_or(now, |arriving| arriving.first_byte);
        self.arriving = Some(Arrival { first_byte, bytes: received });
    }

    fn cancelled(&mut self, send: SendId, now: Instant) {
        let Some(index) = self.entries.iter().position(|entry| entry.send == send) else { return };
        if let Some(entry) = self.entries.get_mut(index) {
            entry.is_awaited = false;
        }
        self.drop_unsent(index, AttemptErrorKind::Cancelled, now);
    }

    /// Ends requests whose time is over, and keeps the clock with the first one that a caller waits for.
    fn keep_time(&mut self, now: Instant) {
        loop {
            let head = self.entries.iter().position(|entry| entry.is_awaited);
            let nonce = head.and_then(|index| self.entries.get(index)).map(|entry| entry.nonce);
            self.clock = match (nonce, self.clock) {
                (None, _) => None,
                (Some(nonce), Some((running, clock))) if running == nonce => Some((nonce, clock)),
                (Some(nonce), _) => Some((nonce, HeadClock::start(now))),
            };
            let due = |(deadline, cause): (Instant, _)| (deadline <= now).then_some(cause);
            let late = |entry: &Entry| entry.is_awaited && entry.deadline.is_some_and(|deadline| deadline <= now);
            let head_cause =
                self.clock.and_then(|(_, clock)| clock.deadline(&self.config, self.plausible())).and_then(due);
            let (index, cause) = if let Some(index) = self.entries.iter().position(late) {
                (index, TimeoutCause::Deadline)
            } else if let (Some(index), Some(cause)) = (head, head_cause) {
                (index, cause)
            } else {
                break;
            };
            self.time_out(index, cause, now);
        }
        if self.stuck_at().is_some_and(|at| at <= now) {
            self.violated(Violation::Unanswered(self.stuck_after()), now);
        }
    }

    /// The instant at which a peer that answers nothing is given up, because its slots would never be free again.
    /// `None` without fences, where a refusal looks the same.
    fn stuck_at(&self) -> Option<Instant> {
        let head = self.entries.front().filter(|_| self.config.fence)?.sent()?.head?;
        head.checked_add(self.stuck_after())?.checked_add(self.config.transfer_time(self.longest.min(self.plausible())))
    }

    fn stuck_after(&self) -> Duration {
        self.config.head_timeout.saturating_mul(STUCK_AFTER)
    }

    /// The length up to which an announcement earns time.
    fn plausible(&self) -> u64 {
        self.config.plausible_bytes.max(self.longest_true.saturating_mul(PLAUSIBLE_GROWTH))
    }

    /// Fails an entry for its caller. A request that was sent stays as a tombstone.
    fn time_out(&mut self, index: usize, cause: TimeoutCause, now: Instant) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        entry.is_awaited = false;
        let arrival = self.arriving.filter(|_| index == 0);
        let failure = AttemptError::new(AttemptErrorKind::Timeout).because(cause);
        let (send, timing) = (entry.send, entry.timing(arrival, now));
        tracing::debug!(%send, %cause, "timed out");
        self.answer_failure(send, failure, timing);
        self.drop_unsent(index, AttemptErrorKind::Timeout, now);
    }

    /// Removes an entry that no caller waits for and that the peer does not know of.
    fn drop_unsent(&mut self, index: usize, kind: AttemptErrorKind, now: Instant) {
        if self.entries.get(index).is_some_and(|entry| entry.sent().is_none())
            && let Some(entry) = self.entries.remove(index)
        {
            self.end_failed(entry, AttemptError::new(kind), None, now);
        }
    }

    fn refuse_first(&mut self, count: usize, now: Instant) {
        for _ in 0..count {
            if let Some(entry) = self.entries.pop_front() {
                self.end_failed(entry, AttemptError::new(AttemptErrorKind::Refused), None, now);
            }
        }
    }

    fn end_first(&mut self, failure: AttemptError, arrival: Arrival, now: Instant) {
        if let Some(entry) = self.entries.pop_front() {
            self.end_failed(entry, failure, Some(arrival), now);
        }
    }

    fn violated(&mut self, violation: Violation, now: Instant) {
        tracing::debug!(peer = %self.peer, error = %violation, "closing the connection");
        self.end_all(Closed::Violation(violation.clone()), now);
        self.actions.push_back(Action::Close(violation));
    }

    fn end_all(&mut self, closed: Closed, now: Instant) {
        self.clock = None;
        let mut arrival = self.arriving.take();
        while let Some(entry) = self.entries.pop_front() {
            let failure = AttemptError::new(AttemptErrorKind::Disconnected).because(closed.clone());
            self.end_failed(entry, failure, arrival.take(), now);
        }
        self.actions.push_back(Action::Report(closed.event(self.peer)));
        self.closed = Some(closed);
    }

    fn end_failed(&mut self, entry: Entry, failure: AttemptError, arrival: Option<Arrival>, now: Instant) {
        let timing = entry.timing(arrival, now);
        self.end(entry, Err((failure, timing)), now);
    }

    /// Ends an entry. No other function gives a slot back.
    fn end(&mut self, entry: Entry, result: Result<Answer, (AttemptError, Option<Timing>)>, at: Instant) {
        let Entry { send, is_awaited, .. } = entry;
        let outcome = match &result {
            Ok(answer) => Ok(answer.timing),
            Err((failure, _)) => Err(failure.kind()),
        };
        match result {
            Ok(answer) if is_awaited => self.actions.push_back(Action::Answer { send, result: Ok(answer) }),
            Err((failure, timing)) if is_awaited => self.answer_failure(send, failure, timing),
            _ => tracing::debug!(%send, ?outcome, "the peer has dealt with an abandoned request"),
        }
        self.actions.push_back(Action::Report(PeerEvent::Ended { send, outcome, at }));
        self.actions.push_back(Action::Release { send });
    }

    fn answer_failure(&mut self, send: SendId, failure: AttemptError, timing: Option<Timing>) {
        let failure = failure.at(self.peer);
        let failure = match timing {
            Some(timing) => failure.timed(timing),
            None => failure,
        };
        self.actions.push_back(Action::Answer { send, result: Err(failure) });
    }

    /// Starts the time of the first entry: the peer has dealt with everything before it.
    fn settled(&mut self, now: Instant) {
        self.clock = None;
        self.longest = 0;
        if let Some(first) = self.entries.front_mut() {
            first.becomes_head(now);
        }
    }

    fn is_asked(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.sent().is_some())
    }
}

impl From<FrameEvent> for Event {
    fn from(event: FrameEvent) -> Self {
        match event {
            FrameEvent::Frame(frame) => Self::Frame(frame),
            FrameEvent::Partial(partial) => Self::Partial(partial),
        }
    }
}

/// The number in a fence: different for every request of a connection, and spread over 64 bits (SplitMix64) so that it
/// does not collide with the transport's own pings. It is not secret: a peer that answers a fence early only refuses
/// its own request.
fn fence_nonce(count: u64) -> u64 {
    let mut z = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
