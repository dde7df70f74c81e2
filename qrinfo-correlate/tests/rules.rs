//! Each rule of the correlator by itself, and the field failures that the rules are there to prevent.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::{
    collections::HashMap,
    error::Error,
    num::{NonZeroU64, NonZeroUsize},
    time::{Duration, Instant},
};

use common::{attempt, diff_frame, diff_spec, reply_frame, spec};
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind as Kind, Mismatch, PeerId, Reply, Timing,
    message::NetworkMessage,
    wire::{
        DecodeError,
        frame::{Command, Frame, Partial},
    },
};
use qrinfo_correlate::{Action, Closed, Correlator, CorrelatorConfig, Event, Report, Ticket, TimeoutCause, Violation};

type Answer = Result<(Reply, Timing), AttemptError>;

/// A correlator, a clock, and everything it ever said.
struct Bench {
    correlator: Correlator,
    start: Instant,
    now: Instant,
    sent: Vec<Frame>,
    nonces: HashMap<u64, u64>,
    answers: HashMap<u64, Answer>,
    released: Vec<u64>,
    reports: Vec<Report>,
    closed: Option<Violation>,
}

impl Bench {
    fn new() -> Self {
        Self::with(CorrelatorConfig::default())
    }

    fn with(config: CorrelatorConfig) -> Self {
        let start = tokio::time::Instant::now().into_std();
        Self {
            correlator: Correlator::new(PeerId::Address(([127, 0, 0, 1], 19899).into()), config),
            start,
            now: start,
            sent: Vec::new(),
            nonces: HashMap::new(),
            answers: HashMap::new(),
            released: Vec::new(),
            reports: Vec::new(),
            closed: None,
        }
    }

    /// Requests 1, 2, ... `count`, all sent.
    fn asked(count: u64) -> Self {
        let mut bench = Self::new();
        (1..=count).for_each(|id| bench.submit(attempt(id)));
        bench.send();
        bench
    }

    fn submit(&mut self, attempt: Attempt) {
        self.correlator.submit(Ticket(attempt.id), attempt, self.now).unwrap();
        self.act();
    }

    fn send(&mut self) {
        let mut asked = None;
        while let Some(frame) = self.correlator.next_frame(self.now) {
            self.act();
            match NetworkMessage::from_frame(frame.clone()).unwrap() {
                NetworkMessage::Ping(nonce) => {
                    self.nonces.extend(asked.map(|attempt| (attempt, nonce)));
                }
                _ => {
                    asked = self.reports.iter().rev().find_map(|report| match report {
                        Report::Sent { attempt, .. } => Some(*attempt),
                        _ => None,
                    });
                }
            }
            self.sent.push(frame);
        }
    }

    fn handle(&mut self, event: Event) {
        self.correlator.handle(event, self.now);
        self.act();
    }

    fn frame(&mut self, frame: Frame) {
        self.handle(Event::Frame(frame));
    }

    fn pong(&mut self, id: u64) {
        let nonce = self.nonces[&id];
        self.frame(NetworkMessage::Pong(nonce).to_frame());
    }

    /// The peer answers request `id`.
    fn answer(&mut self, id: u64) {
        self.frame(reply_frame(id, id));
    }

    fn partial(&mut self, received: usize, length: usize) {
        self.handle(Event::Partial(Partial { command: Command::QR_INFO, received, length }));
    }

    fn cancel(&mut self, id: u64) {
        self.handle(Event::Cancelled(Ticket(id)));
    }

    fn disconnect(&mut self) {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        self.handle(Event::Disconnected(Closed::transport(reset)));
    }

    /// Time passes, second by second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.handle(Event::Tick);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.correlator.next_action() {
            assert!(self.closed.is_none(), "{action:?} after the end");
            match action {
                Action::Answer { ticket, result } => {
                    assert!(!self.released.contains(&ticket.0));
                    assert!(self.answers.insert(ticket.0, result).is_none(), "{ticket:?} was answered twice");
                }
                Action::Release { ticket } => {
                    assert!(!self.released.contains(&ticket.0), "{ticket:?} was released twice");
                    self.released.push(ticket.0);
                }
                Action::Report(report) => self.reports.push(report),
                Action::Close(violation) => self.closed = Some(violation),
            }
        }
    }

    fn kind(&self, id: u64) -> Option<Kind> {
        self.answers.get(&id).and_then(|answer| answer.as_ref().err()).map(AttemptError::kind)
    }

    fn source<E: Error + Clone + 'static>(&self, id: u64) -> E {
        let error = self.answers[&id].as_ref().unwrap_err();
        error.source().and_then(|source| source.downcast_ref::<E>()).cloned().unwrap()
    }

    fn is_answered(&self, id: u64) -> bool {
        matches!(self.answers.get(&id), Some(Ok((reply, _))) if *reply == expected(id))
    }

    fn is_waiting(&self, id: u64) -> bool {
        !self.answers.contains_key(&id) && !self.released.contains(&id)
    }

    fn timing(&self, id: u64) -> Timing {
        match &self.answers[&id] {
            Ok((_, timing)) => *timing,
            Err(error) => error.timing().unwrap(),
        }
    }

    /// Outcome and abandonment as the record of the peer sees them.
    fn done(&self, id: u64) -> Option<(Result<(), Kind>, bool)> {
        self.reports.iter().find_map(|report| match report {
            Report::Done { attempt, outcome, abandoned, .. } if *attempt == id => Some((*outcome, *abandoned)),
            _ => None,
        })
    }

    fn seconds(&self, instant: Instant) -> u64 {
        (instant - self.start).as_secs()
    }
}

fn expected(id: u64) -> Reply {
    Reply::QrInfo(Box::new(common::reply(id, id)))
}

fn commands(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.command.to_string()).collect()
}

// === matching ===

#[test]
fn a_recorded_request_is_sent_as_it_was_and_its_recorded_reply_is_matched() {
    let mut bench = Bench::new();
    bench.submit(Attempt::new(150, common::recorded_spec().into()));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping"]);
    assert_eq!(bench.sent[0].payload, common::RECORDED_REQUEST);
    bench.frame(Frame { command: Command::QR_INFO, payload: common::RECORDED_REPLY.into() });
    assert!(bench.answers[&150].is_ok());
    assert_eq!(bench.timing(150).bytes, common::RECORDED_REPLY.len() as u64);
}

#[test]
fn every_request_is_followed_at_once_by_a_ping_of_its_own() {
    let bench = Bench::asked(3);
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping", "getqrinfo", "ping", "getqrinfo", "ping"]);
    let mut nonces: Vec<_> = bench.nonces.values().collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3);
}

#[test]
fn replies_in_order_reach_their_requests() {
    let mut bench = Bench::asked(3);
    for id in 1..=3 {
        bench.answer(id);
        bench.pong(id);
        assert!(bench.is_answered(id));
        assert_eq!(bench.done(id), Some((Ok(()), false)));
    }
    assert_eq!(bench.released, [1, 2, 3]);
    assert!(bench.correlator.is_empty());
    assert_eq!(bench.correlator.next_deadline(), None);
}

#[test]
fn a_pong_before_the_reply_is_the_refusal() {
    let mut bench = Bench::asked(2);
    bench.pong(1);
    assert_eq!(bench.kind(1), Some(Kind::Refused));
    assert_eq!(bench.now, bench.start, "no timer is involved");
    assert!(bench.is_waiting(2));
    bench.answer(2);
    assert!(bench.is_answered(2));
}

#[test]
fn a_pong_refuses_everything_before_it_too() {
    let mut bench = Bench::asked(3);
    bench.pong(2);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::Refused), Some(Kind::Refused)));
    assert!(bench.is_waiting(3));
}

#[test]
fn a_later_reply_proves_that_earlier_requests_were_refused() {
    let mut bench = Bench::asked(3);
    bench.answer(3);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::Refused), Some(Kind::Refused)));
    assert!(bench.is_answered(3));
    assert!(bench.timing(3).head.is_some());
}

#[test]
fn unknown_and_malformed_pongs_are_ignored() {
    let mut bench = Bench::asked(1);
    bench.frame(NetworkMessage::Pong(4).to_frame());
    bench.frame(Frame { command: Command::PONG, payload: vec![1, 2, 3].into() });
    assert!(bench.is_waiting(1));
    assert_eq!(bench.closed, None);
}

#[test]
fn a_pong_for_a_ping_that_is_not_sent_is_ignored() {
    let nonce = Bench::asked(1).nonces[&1];
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now);
    bench.frame(NetworkMessage::Pong(nonce).to_frame());
    assert!(bench.is_waiting(1));
}

#[test]
fn two_requests_of_one_cycle_are_told_apart_by_order() {
    let mut bench = Bench::new();
    for id in [1, 2, 3] {
        bench.submit(Attempt::new(id, spec(7, id).into()));
    }
    bench.send();
    let tip = |bench: &Bench, id| match &bench.answers[&id] {
        Ok((Reply::QrInfo(reply), _)) => reply.mn_list_diff_tip.block_hash,
        other => panic!("{other:?}"),
    };
    bench.frame(reply_frame(7, 1));
    bench.pong(1);
    bench.pong(2);
    bench.frame(reply_frame(7, 3));
    bench.pong(3);
    assert_eq!(tip(&bench, 1), common::hash(1));
    assert_eq!(bench.kind(2), Some(Kind::Refused));
    assert_eq!(tip(&bench, 3), common::hash(3));
}

#[test]
fn both_kinds_of_requests_share_a_queue() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.submit(Attempt::new(2, diff_spec(5, 6).into()));
    bench.send();
    bench.answer(1);
    bench.frame(diff_frame(5, 6));
    assert!(matches!(bench.answers[&2], Ok((Reply::MnListDiff(_), _))));
}

#[test]
fn without_the_fence_only_a_later_reply_refuses() {
    let mut bench = Bench::with(CorrelatorConfig { fence: false, ..CorrelatorConfig::default() });
    (1..=2).for_each(|id| bench.submit(attempt(id)));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "getqrinfo"]);
    bench.nonces = Bench::asked(2).nonces;
    bench.pong(2);
    assert!(bench.is_waiting(1), "a pong was never asked for");
    bench.answer(2);
    assert_eq!(bench.kind(1), Some(Kind::Refused));
    assert!(bench.is_answered(2));
}

// === misbehaviour ===

#[test]
fn a_reply_that_answers_nothing_fails_the_head_and_ends_the_connection() {
    let mut bench = Bench::asked(2);
    bench.answer(9);
    assert_eq!(bench.kind(1), Some(Kind::False));
    let mismatch: Mismatch = bench.source(1);
    assert!(matches!(mismatch, Mismatch::WorkBlock { cycles_back: 0, expected, got }
        if expected == common::reply(1, 1).work_block_hash() && got == common::reply(9, 9).work_block_hash()));
    assert_eq!(bench.kind(2), Some(Kind::Disconnected));
    assert!(matches!(bench.source(2), Closed::Violation(Violation::False(_))));
    assert_eq!(bench.closed, Some(Violation::False(mismatch)));
    assert_eq!(bench.released, [1, 2]);
}

#[test]
fn an_unsolicited_reply_ends_the_connection() {
    let mut bench = Bench::new();
    bench.answer(1);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
}

#[test]
fn the_head_of_an_unsolicited_reply_is_enough() {
    let mut bench = Bench::new();
    bench.partial(0, 30 << 20);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
}

#[test]
fn a_reply_cannot_answer_a_request_that_is_not_sent() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.answer(1);
    assert_eq!(bench.closed, Some(Violation::Unsolicited(Command::QR_INFO)));
    assert_eq!(bench.kind(1), Some(Kind::Disconnected));
    assert!(bench.answers[&1].as_ref().unwrap_err().timing().is_none());
}

#[test]
fn a_reply_that_began_before_its_request_was_sent_does_not_answer_it() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 50_000);
    bench.pass(1);
    bench.submit(attempt(2));
    bench.send();
    bench.answer(2);
    assert_eq!((bench.kind(1), bench.kind(2)), (Some(Kind::False), Some(Kind::Disconnected)));
}

#[test]
fn a_reply_that_cannot_be_decoded_fails_the_head_and_ends_the_connection() {
    let mut bench = Bench::asked(2);
    let payload = common::RECORDED_REPLY[..1_000].into();
    bench.frame(Frame { command: Command::QR_INFO, payload });
    assert_eq!(bench.kind(1), Some(Kind::Malformed));
    let error: DecodeError = bench.source(1);
    assert_eq!(bench.kind(2), Some(Kind::Disconnected));
    assert_eq!(bench.closed, Some(Violation::Malformed { command: Command::QR_INFO, error }));
}

#[test]
fn a_repeated_reply_reaches_nobody_else() {
    let mut bench = Bench::asked(2);
    bench.answer(1);
    bench.answer(1);
    assert_eq!(bench.kind(2), Some(Kind::False));
    assert!(bench.closed.is_some());
}

#[test]
fn other_messages_are_ignored_without_decoding() {
    let mut bench = Bench::asked(1);
    for command in [Command::PING, Command::VERSION, Command::GET_QR_INFO, Command::new(b"inv")] {
        bench.frame(Frame { command, payload: vec![0xff; 3].into() });
    }
    assert!(bench.is_waiting(1));
    assert_eq!(bench.closed, None);
}

#[test]
fn after_the_end_nothing_is_emitted_and_nothing_is_taken() {
    let mut bench = Bench::new();
    bench.answer(1);
    let reports = bench.reports.len();
    assert!(matches!(bench.reports.last(), Some(Report::Closed { .. })));
    // `act` checks that nothing comes.
    bench.answer(1);
    bench.partial(0, 100);
    bench.pass(100);
    bench.disconnect();
    assert_eq!(bench.reports.len(), reports);
    let error = bench.correlator.submit(Ticket(1), attempt(1), bench.now).unwrap_err();
    assert_eq!(error.kind(), Kind::Disconnected);
    assert!(bench.correlator.next_frame(bench.now).is_none());
    assert_eq!(bench.correlator.next_deadline(), None);
}

// === time ===

#[test]
fn silence_at_the_head_times_out() {
    let mut bench = Bench::asked(1);
    bench.pass(29);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.correlator.next_deadline(), Some(bench.start + Duration::from_secs(30)));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!(bench.source::<TimeoutCause>(1), TimeoutCause::Silent(Duration::from_secs(30)));
    let held = Some(bench.start + Duration::from_secs(150));
    assert_eq!(bench.correlator.next_deadline(), held, "the peer still has the slot");
}

/// Field failure: timeouts counted from sending duplicate healthy work in a deep pipeline.
#[test]
fn a_deep_pipeline_is_not_timed_out_from_sending() {
    let mut bench = Bench::asked(8);
    for id in 1..=8 {
        bench.pass(25);
        bench.answer(id);
    }
    assert!((1..=8).all(|id| bench.is_answered(id)));
}

#[test]
fn what_arrives_starts_the_count_anew() {
    let mut bench = Bench::asked(1);
    for step in 0..4 {
        bench.pass(25);
        bench.partial(step * 16_384, 3 << 20);
    }
    assert!(bench.is_waiting(1));
    bench.pass(30);
    assert_eq!(bench.source::<TimeoutCause>(1), TimeoutCause::Silent(Duration::from_secs(30)));
    let Timing { first_byte, bytes, .. } = bench.timing(1);
    assert_eq!(first_byte.map(|instant| bench.seconds(instant)), Some(25));
    assert_eq!(bytes, 3 * 16_384);
}

/// Tombstones keep their slots, so a peer that answers nothing any more would keep all of them.
#[test]
fn a_peer_that_is_silent_for_ever_loses_its_connection() {
    let mut bench = Bench::asked(2);
    bench.pass(30);
    assert!(!bench.is_waiting(1));
    bench.pass(119);
    assert!(bench.closed.is_none());
    bench.pass(1);
    assert_eq!(bench.closed, Some(Violation::Unanswered(Duration::from_secs(150))));
}

#[test]
fn no_peer_can_drip_for_ever() {
    let mut bench = Bench::asked(1);
    bench.pass(1);
    // 80,000 bytes at 8,000 a second.
    for _ in 0..39 {
        assert!(bench.is_waiting(1));
        bench.partial(0, 80_000);
        bench.pass(1);
    }
    assert_eq!(bench.source::<TimeoutCause>(1), TimeoutCause::TooSlow { length: 80_000 });
}

#[test]
fn a_reply_beside_others_is_bounded_by_the_longest() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 80_000);
    for _ in 0..39 {
        bench.handle(Event::Partial(Partial { command: Command::new(b"inv"), received: 0, length: 40 }));
        bench.pass(1);
    }
    assert!(bench.is_waiting(1));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
}

#[test]
fn the_next_one_is_given_its_own_time_behind_a_stalled_head() {
    let mut bench = Bench::asked(3);
    bench.pass(59);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert!(bench.is_waiting(2));
    bench.pass(1);
    assert_eq!(bench.kind(2), Some(Kind::Timeout));
    assert!(bench.is_waiting(3));
    bench.pass(10);
    bench.answer(1);
    bench.pass(29);
    assert!(bench.is_waiting(3), "its clock starts when the one before it is settled");
    bench.answer(2);
    bench.answer(3);
    assert!(bench.is_answered(3));
}

#[test]
fn a_big_cancelled_reply_does_not_make_the_next_one_time_out() {
    let mut bench = Bench::asked(2);
    bench.pass(20);
    bench.partial(0, 3 << 20);
    bench.cancel(1);
    for step in 1..=20 {
        bench.pass(10);
        bench.partial(step * 16_384, 3 << 20);
    }
    bench.answer(1);
    bench.pass(29);
    bench.answer(2);
    assert!(bench.is_answered(2));
    assert!(!bench.answers.contains_key(&1));
}

#[test]
fn a_cancelled_head_leaves_the_next_one_its_full_time() {
    let mut bench = Bench::asked(2);
    bench.pass(29);
    bench.cancel(1);
    bench.pass(29);
    assert!(bench.is_waiting(2));
    bench.pass(1);
    assert_eq!(bench.kind(2), Some(Kind::Timeout));
}

#[test]
fn an_attempts_own_deadline_comes_sooner() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.submit(Attempt { deadline: Some(bench.now + Duration::from_secs(5)), ..attempt(2) });
    bench.send();
    assert_eq!(bench.correlator.next_deadline(), Some(bench.start + Duration::from_secs(5)));
    bench.partial(16_384, 50_000);
    bench.pass(5);
    assert_eq!(bench.timing(2).bytes, 0, "what arrives is the first one's");
    assert_eq!(bench.source::<TimeoutCause>(2), TimeoutCause::Deadline);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.correlator.len(), 2);
}

#[test]
fn a_deadline_that_has_passed_is_not_sent() {
    let mut bench = Bench::new();
    bench.submit(Attempt { deadline: Some(bench.now), ..attempt(1) });
    bench.send();
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert!(bench.sent.is_empty() && bench.correlator.is_empty());
}

#[test]
fn what_arrives_counts_before_the_time_that_has_passed() {
    let mut bench = Bench::asked(1);
    bench.now += Duration::from_secs(60);
    bench.answer(1);
    assert!(bench.is_answered(1));
}

#[test]
fn a_transport_that_takes_nothing_does_not_stop_the_clock() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.pass(30);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!(bench.released, [1], "the peer knows nothing of it");
}

#[test]
fn the_clock_starts_anew_when_the_request_is_sent() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.pass(20);
    bench.send();
    bench.pass(29);
    assert!(bench.is_waiting(1));
    bench.pass(1);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
}

#[test]
fn limits_beyond_the_clock_are_no_limits() {
    let config = CorrelatorConfig { head_timeout: Duration::MAX, min_rate: NonZeroU64::MIN, ..Default::default() };
    let mut bench = Bench::with(config);
    bench.submit(attempt(1));
    bench.send();
    bench.partial(0, usize::MAX);
    bench.pass(1);
    assert!(bench.is_waiting(1));
    assert_eq!(bench.correlator.next_deadline(), None);
}

#[test]
fn timing_tells_when_the_peer_could_begin() {
    let mut bench = Bench::asked(2);
    bench.pass(3);
    bench.answer(1);
    bench.pass(1);
    bench.partial(0, 50_000);
    bench.pass(1);
    bench.answer(2);
    let seconds = |timing: Timing| {
        let [sent, done] = [timing.sent, timing.done].map(|instant| bench.seconds(instant));
        let [head, first_byte] = [timing.head, timing.first_byte].map(|instant| instant.map(|at| bench.seconds(at)));
        (sent, head, first_byte, done)
    };
    assert_eq!(seconds(bench.timing(1)), (0, Some(0), Some(3), 3));
    assert_eq!(seconds(bench.timing(2)), (0, Some(3), Some(4), 5));
    assert_eq!(bench.timing(2).bytes, reply_frame(2, 2).payload.len() as u64);
}

#[test]
fn the_record_hears_of_sending_progress_and_the_end() {
    let mut bench = Bench::asked(1);
    bench.partial(0, 50_000);
    bench.partial(16_384, 50_000);
    bench.answer(1);
    let words: Vec<_> = bench
        .reports
        .iter()
        .map(|report| match report {
            Report::Sent { attempt: 1, .. } => "sent",
            Report::FirstByte { attempt: 1, .. } => "first byte",
            Report::Progress { attempt: 1, received: 0, length: 50_000, .. } => "header",
            Report::Progress { attempt: 1, received: 16_384, length: 50_000, .. } => "progress",
            Report::Done { attempt: 1, outcome: Ok(()), abandoned: false, .. } => "done",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["sent", "first byte", "header", "progress", "done"]);
}

// === slots ===

#[test]
fn submissions_beyond_the_depth_are_refused() {
    let mut bench = Bench::with(CorrelatorConfig { depth: NonZeroUsize::MIN, ..Default::default() });
    bench.submit(attempt(1));
    let error = bench.correlator.submit(Ticket(2), attempt(2), bench.now).unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    bench.send();
    bench.answer(1);
    bench.submit(attempt(3));
    assert_eq!(bench.correlator.len(), 1);
}

#[test]
fn a_timed_out_request_keeps_its_slot_until_the_peer_has_dealt_with_it() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    assert_eq!(bench.kind(1), Some(Kind::Timeout));
    assert_eq!((bench.correlator.len(), bench.done(1)), (1, None));
    bench.pass(100);
    assert_eq!(bench.correlator.len(), 1);
    bench.pong(1);
    assert_eq!(bench.done(1), Some((Err(Kind::Refused), true)));
    assert_eq!(bench.released, [1]);
    assert!(bench.correlator.is_empty());
}

/// Field failure: a late reply was taken for the next request's.
#[test]
fn a_late_reply_is_not_taken_for_the_next_requests() {
    let mut bench = Bench::new();
    // The same request again, as a retry at the same peer would have it.
    bench.submit(Attempt::new(1, spec(7, 1).into()));
    bench.send();
    bench.pass(30);
    bench.submit(Attempt::new(2, spec(7, 1).into()));
    bench.send();
    bench.frame(reply_frame(7, 1));
    assert_eq!(bench.done(1), Some((Ok(()), true)));
    assert_eq!(bench.kind(1), Some(Kind::Timeout), "the caller was told once");
    assert!(bench.is_waiting(2));
    bench.pong(1);
    assert!(bench.is_waiting(2));
    bench.frame(reply_frame(7, 2));
    assert!(bench.answers[&2].is_ok());
}

#[test]
fn a_timed_out_request_does_not_starve_new_work() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    bench.submit(attempt(2));
    bench.send();
    bench.pong(1);
    bench.answer(2);
    assert!(bench.is_answered(2));
    assert!(bench.correlator.is_empty());
}

/// Field failure: a leaked in-flight slot silenced a peer for good.
#[test]
fn no_request_leaks_its_slot_however_it_ends() {
    let mut bench = Bench::new();
    for round in 0..50 {
        let first = round * 8 + 1;
        (first..first + 8).for_each(|id| bench.submit(attempt(id)));
        bench.cancel(first + 7);
        bench.send();
        bench.answer(first);
        bench.pong(first + 1);
        bench.cancel(first + 2);
        bench.pass(30);
        bench.cancel(first + 3);
        bench.answer(first + 2);
        bench.answer(first + 5);
        bench.pass(60);
        bench.pong(first + 6);
        assert!(bench.correlator.is_empty());
        bench.released.sort();
        assert!(bench.released.iter().copied().eq(1..first + 8));
    }
}

#[test]
fn a_cancelled_request_keeps_its_slot_and_its_reply_reaches_nobody() {
    let mut bench = Bench::asked(2);
    bench.cancel(1);
    assert_eq!(bench.correlator.len(), 2);
    bench.answer(1);
    assert_eq!(bench.done(1), Some((Ok(()), true)));
    assert!(bench.answers.is_empty());
    assert!(bench.is_waiting(2));
}

#[test]
fn a_request_cancelled_before_it_is_sent_leaves_no_trace() {
    let mut bench = Bench::new();
    (1..=3).for_each(|id| bench.submit(attempt(id)));
    bench.cancel(2);
    assert_eq!(bench.released, [2]);
    bench.send();
    assert_eq!(bench.sent.len(), 4);
    bench.answer(1);
    bench.answer(3);
    assert!(bench.is_answered(1) && bench.is_answered(3));
    assert_eq!(bench.done(2), Some((Err(Kind::Cancelled), true)));
}

#[test]
fn a_cancelled_request_that_was_sent_still_gets_its_fence() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now).unwrap();
    bench.cancel(1);
    assert!(bench.correlator.has_frame());
    bench.send();
    assert_eq!(commands(&bench.sent), ["ping"]);
}

#[test]
fn a_settled_request_needs_no_fence() {
    let mut bench = Bench::new();
    bench.submit(attempt(1));
    bench.correlator.next_frame(bench.now).unwrap();
    bench.answer(1);
    assert!(!bench.correlator.has_frame());
    bench.submit(attempt(2));
    bench.send();
    assert_eq!(commands(&bench.sent), ["getqrinfo", "ping"]);
}

#[test]
fn cancelling_what_has_ended_does_nothing() {
    let mut bench = Bench::asked(1);
    bench.pass(30);
    bench.cancel(1);
    bench.cancel(77);
    bench.answer(1);
    bench.cancel(1);
    assert_eq!(bench.released, [1]);
}

/// Field failure: a peer's disconnect stranded its requests until a timeout.
#[test]
fn a_disconnect_does_not_strand_requests_until_a_timeout() {
    let mut bench = Bench::asked(3);
    bench.cancel(2);
    bench.submit(attempt(4));
    bench.partial(16_384, 50_000);
    bench.disconnect();
    for id in [1, 3, 4] {
        assert_eq!(bench.kind(id), Some(Kind::Disconnected));
        let closed: Closed = bench.source(id);
        let reset = closed.source().and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(bench.timing(1).bytes, 16_384);
    assert_eq!(bench.timing(3).bytes, 0);
    assert_eq!(bench.done(2), Some((Err(Kind::Disconnected), true)));
    assert_eq!(bench.released, [1, 2, 3, 4]);
    assert!(matches!(bench.reports.last(), Some(Report::Closed { reason: Closed::Transport(_), .. })));
    assert_eq!(bench.closed, None, "it is closed already");
}
