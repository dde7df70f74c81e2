//! One correlator at work.

use std::{
    collections::{HashMap, VecDeque},
    error::Error,
    time::{Duration, Instant},
};

use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind as Kind, AttemptResult, PeerEvent, PeerId, Reply, SendId, Timing,
    message::NetworkMessage,
    wire::frame::{Command, Frame, Partial},
};
use qrinfo_correlate::{Action, Closed, Correlator, CorrelatorConfig, Event, TimeoutCause, Violation};

use super::{attempt, reply, reply_frame};

/// A correlator, a clock, and everything it ever said.
pub(crate) struct Bench {
    pub(crate) correlator: Correlator,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<Frame>,
    pub(crate) nonces: HashMap<u64, u64>,
    pub(crate) answers: HashMap<u64, AttemptResult>,
    pub(crate) released: Vec<u64>,
    pub(crate) reports: Vec<PeerEvent>,
    pub(crate) closed: Option<Violation>,
    /// Requests that were submitted and not sent.
    queued: VecDeque<u64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(CorrelatorConfig::default())
    }

    pub(crate) fn with(config: CorrelatorConfig) -> Self {
        let start = tokio::time::Instant::now().into_std();
        Self {
            correlator: Correlator::new(peer(), config),
            start,
            now: start,
            sent: Vec::new(),
            nonces: HashMap::new(),
            answers: HashMap::new(),
            released: Vec::new(),
            reports: Vec::new(),
            closed: None,
            queued: VecDeque::new(),
        }
    }

    /// Requests 1, 2, ... `count`, all sent.
    pub(crate) fn asked(count: u64) -> Self {
        let mut bench = Self::new();
        (1..=count).for_each(|id| bench.submit(attempt(id)));
        bench.send();
        bench
    }

    pub(crate) fn submit(&mut self, attempt: Attempt) {
        self.queued.push_back(attempt.id.0);
        self.correlator.submit(send(attempt.id.0), attempt, self.now).unwrap();
        self.act();
    }

    pub(crate) fn send(&mut self) {
        let mut asked = None;
        while let Some(frame) = self.correlator.next_frame(self.now) {
            self.act();
            match NetworkMessage::from_frame(frame.clone()).unwrap() {
                NetworkMessage::Ping(nonce) => self.nonces.extend(asked.map(|id| (id, nonce))),
                _ => {
                    self.queued.retain(|id| !self.released.contains(id));
                    asked = self.queued.pop_front();
                }
            }
            self.sent.push(frame);
        }
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.correlator.handle(event, self.now);
        self.act();
    }

    pub(crate) fn frame(&mut self, frame: Frame) {
        self.handle(Event::Frame(frame));
    }

    pub(crate) fn pong(&mut self, id: u64) {
        let nonce = self.nonces[&id];
        self.frame(NetworkMessage::Pong(nonce).to_frame());
    }

    /// The peer answers request `id`.
    pub(crate) fn answer(&mut self, id: u64) {
        self.frame(reply_frame(id, id));
    }

    pub(crate) fn partial(&mut self, received: usize, length: usize) {
        self.handle(Event::Partial(Partial { command: Command::QR_INFO, received, length }));
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        self.handle(Event::Cancelled(send(id)));
    }

    pub(crate) fn disconnect(&mut self) {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        self.handle(Event::Disconnected(Closed::transport(reset)));
    }

    /// Time passes, second by second.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.handle(Event::Tick);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.correlator.next_action() {
            assert!(self.closed.is_none(), "{action:?} after the end");
            match action {
                Action::Answer { send, result } => {
                    assert!(!self.released.contains(&send.seq));
                    assert!(self.answers.insert(send.seq, result).is_none(), "{send} was answered twice");
                }
                Action::Release { send } => {
                    assert!(!self.released.contains(&send.seq), "{send} was released twice");
                    self.released.push(send.seq);
                }
                Action::Report(report) => self.reports.push(report),
                Action::Close(violation) => self.closed = Some(violation),
            }
        }
    }

    pub(crate) fn kind(&self, id: u64) -> Option<Kind> {
        self.answers.get(&id).and_then(|answer| answer.as_ref().err()).map(AttemptError::kind)
    }

    pub(crate) fn source<E: Error + Clone + 'static>(&self, id: u64) -> E {
        let error = self.answers[&id].as_ref().unwrap_err();
        error.source().and_then(|source| source.downcast_ref::<E>()).cloned().unwrap()
    }

    pub(crate) fn is_answered(&self, id: u64) -> bool {
        matches!(self.answers.get(&id), Some(Ok(answer)) if answer.reply == expected(id))
    }

    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        !self.answers.contains_key(&id) && !self.released.contains(&id)
    }

    pub(crate) fn timing(&self, id: u64) -> Timing {
        match &self.answers[&id] {
            Ok(answer) => answer.timing,
            Err(error) => error.timing().unwrap(),
        }
    }

    /// The outcome as the ledger of peers is told it.
    pub(crate) fn done(&self, id: u64) -> Option<Result<(), Kind>> {
        self.reports.iter().find_map(|report| match report {
            PeerEvent::Ended { send, outcome, .. } if send.seq == id => Some(outcome.map(|_| ())),
            _ => None,
        })
    }

    /// The next deadline, in seconds from the start, and its cause.
    pub(crate) fn deadline(&self) -> Option<(u64, TimeoutCause)> {
        self.correlator.next_deadline().map(|(at, cause)| (self.seconds(at), cause))
    }

    pub(crate) fn seconds(&self, instant: Instant) -> u64 {
        (instant - self.start).as_secs()
    }
}

pub(crate) fn peer() -> PeerId {
    PeerId::Address(([127, 0, 0, 1], 19899).into())
}

pub(crate) fn send(id: u64) -> SendId {
    SendId { peer: peer(), seq: id }
}

pub(crate) fn expected(id: u64) -> Reply {
    Reply::QrInfo(Box::new(reply(id, id)))
}

pub(crate) fn commands(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.command.to_string()).collect()
}
