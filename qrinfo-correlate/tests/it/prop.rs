//! Random interleavings of everything that can happen, against a server that answers by the real rules, and against
//! one that does not.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use qrinfo_core::{
    Answer, Attempt, AttemptErrorKind as Kind, AttemptResult, PeerEvent, PeerId, Reply, SendId, Timing,
    message::NetworkMessage,
    wire::frame::{Command, Frame, PROGRESS_STEP, Partial},
};
use qrinfo_correlate::{Action, Closed, Correlator, CorrelatorConfig, Event, Violation};

use crate::support::{self, hash, reply_frame, spec};

/// Few, so that requests of the same cycle meet.
const CYCLES: u64 = 3;
const DEPTH: usize = 5;

fn peer() -> PeerId {
    PeerId::Address(([127, 0, 0, 1], 19899).into())
}

fn send(seq: u64) -> SendId {
    SendId { peer: peer(), seq }
}

#[derive(Debug, Clone)]
enum Step {
    Submit {
        cycle: u64,
        deadline: Option<u64>,
    },
    Cancel(prop::sample::Index),
    /// The transport takes this many frames.
    Take(usize),
    /// The server deals with its next message; a request is refused or not.
    Serve {
        refuse: bool,
    },
    /// A part of the next message from the server arrives.
    Part,
    /// The next message from the server arrives whole.
    Deliver,
    Pass(u64),
    Misbehave(Fault),
    Disconnect,
}

#[derive(Debug, Clone)]
enum Fault {
    Reply {
        cycle: u64,
    },
    Malformed,
    Pong(u64),
    /// A pong for a ping before the server got to it.
    EarlyPong(prop::sample::Index),
    Partial {
        received: usize,
        length: usize,
    },
    Other,
}

fn honest_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..CYCLES, prop::option::weighted(0.2, 0..60_u64))
            .prop_map(|(cycle, deadline)| Step::Submit { cycle, deadline }),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        5 => (1..4_usize).prop_map(Step::Take),
        8 => prop::bool::weighted(0.3).prop_map(|refuse| Step::Serve { refuse }),
        3 => Just(Step::Part),
        8 => Just(Step::Deliver),
        3 => (1..20_000_u64).prop_map(Step::Pass),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (0..CYCLES + 1).prop_map(|cycle| Fault::Reply { cycle }),
        Just(Fault::Malformed),
        any::<u64>().prop_map(Fault::Pong),
        any::<prop::sample::Index>().prop_map(Fault::EarlyPong),
        (any::<usize>(), any::<usize>()).prop_map(|(received, length)| Fault::Partial { received, length }),
        Just(Fault::Other),
    ];
    prop_oneof![
        40 => honest_step(),
        2 => fault.prop_map(Step::Misbehave),
        1 => Just(Step::Disconnect),
    ]
}

/// Answers in order, one message at a time; refuses by silence; a pong for every ping.
#[derive(Default)]
struct Server {
    inbox: VecDeque<NetworkMessage>,
    outbox: VecDeque<Frame>,
    /// Bytes of the first of the outbox that have arrived.
    arrived: Option<usize>,
    refused: BTreeSet<u64>,
    pings: Vec<u64>,
}

impl Server {
    fn serve(&mut self, refuse: bool, cycles: &BTreeMap<u64, u64>) {
        match self.inbox.pop_front() {
            Some(NetworkMessage::Ping(nonce)) => self.outbox.push_back(NetworkMessage::Pong(nonce).to_frame()),
            Some(NetworkMessage::GetQRInfo(request)) => {
                let (&id, &cycle) = cycles.iter().find(|(id, _)| hash(**id) == request.block_hash).unwrap();
                match refuse {
                    true => drop(self.refused.insert(id)),
                    false => self.outbox.push_back(reply_frame(cycle, id)),
                }
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }

    fn part(&mut self) -> Option<Partial> {
        let Frame { command, payload } = self.outbox.front()?;
        // The messages are small: as if they were sixteen times as long.
        let (length, received) = (payload.len() * 16, self.arrived.map_or(0, |arrived| arrived + PROGRESS_STEP));
        (received < length).then(|| {
            self.arrived = Some(received);
            Partial { command: *command, received, length }
        })
    }

    fn deliver(&mut self) -> Option<Frame> {
        self.arrived = None;
        self.outbox.pop_front()
    }
}

/// A correlator and its server, and the rules that every action has to keep.
struct World {
    correlator: Correlator,
    now: Instant,
    server: Server,
    honest: bool,
    cycles: BTreeMap<u64, u64>,
    alive: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    answers: BTreeMap<u64, AttemptResult>,
    ended: BTreeSet<u64>,
    /// The last event has come.
    left: bool,
    closed: bool,
    disconnected: bool,
    next_id: u64,
}

impl World {
    fn new(honest: bool) -> Self {
        let config = CorrelatorConfig { depth: NonZeroUsize::new(DEPTH).unwrap(), ..CorrelatorConfig::default() };
        Self {
            correlator: Correlator::new(peer(), config),
            now: tokio::time::Instant::now().into_std(),
            server: Server::default(),
            honest,
            cycles: BTreeMap::new(),
            alive: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            answers: BTreeMap::new(),
            ended: BTreeSet::new(),
            left: false,
            closed: false,
            disconnected: false,
            next_id: 0,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Submit { cycle, deadline } => self.submit(cycle, deadline),
            Step::Cancel(index) => {
                if self.next_id > 0 {
                    let id = index.index(self.next_id as usize) as u64;
                    if self.alive.contains(&id) && !self.answers.contains_key(&id) {
                        self.cancelled.insert(id);
                    }
                    self.handle(Event::Cancelled(send(id)));
                }
            }
            Step::Take(count) => self.take(count),
            Step::Serve { refuse } => self.server.serve(refuse, &self.cycles),
            Step::Part => {
                if let Some(partial) = self.server.part() {
                    self.handle(Event::Partial(partial));
                }
            }
            Step::Deliver => self.deliver(),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.handle(Event::Tick);
            }
            Step::Misbehave(fault) => self.misbehave(fault),
            Step::Disconnect => {
                self.handle(Event::Disconnected(Closed::ByPeer));
                self.disconnected = true;
            }
        }
        self.check();
    }

    fn submit(&mut self, cycle: u64, deadline: Option<u64>) {
        let id = self.next_id;
        self.next_id += 1;
        let deadline = deadline.map(|seconds| self.now + Duration::from_secs(seconds));
        let attempt = Attempt { deadline, ..Attempt::new(id, spec(cycle, id).into()) };
        let held = self.alive.len();
        match self.correlator.submit(send(id), attempt, self.now) {
            Ok(()) => {
                assert!(held < DEPTH && !self.closed && !self.disconnected);
                self.alive.insert(id);
                self.cycles.insert(id, cycle);
            }
            Err(error) if self.closed || self.disconnected => assert_eq!(error.kind(), Kind::Disconnected),
            Err(error) => assert_eq!((error.kind(), held), (Kind::Overloaded, DEPTH)),
        }
        self.act();
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(
                self.correlator.has_frame(),
                self.correlator.next_frame(self.now).is_some_and(|frame| {
                    let message = NetworkMessage::from_frame(frame).unwrap();
                    if let NetworkMessage::Ping(nonce) = message {
                        assert!(!self.server.pings.contains(&nonce));
                        self.server.pings.push(nonce);
                    }
                    self.server.inbox.push_back(message);
                    true
                })
            );
            self.act();
        }
    }

    fn deliver(&mut self) {
        if let Some(frame) = self.server.deliver() {
            self.handle(Event::Frame(frame));
        }
    }

    fn misbehave(&mut self, fault: Fault) {
        self.honest = false;
        let event = match fault {
            Fault::Reply { cycle } => Event::Frame(reply_frame(cycle, u64::MAX)),
            Fault::Malformed => Event::Frame(Frame { command: Command::QR_INFO, payload: vec![0; 50].into() }),
            Fault::Pong(nonce) => Event::Frame(NetworkMessage::Pong(nonce).to_frame()),
            Fault::EarlyPong(index) if self.server.pings.is_empty() => {
                Event::Frame(NetworkMessage::Pong(index.index(9) as u64).to_frame())
            }
            Fault::EarlyPong(index) => {
                let nonce = self.server.pings[index.index(self.server.pings.len())];
                Event::Frame(NetworkMessage::Pong(nonce).to_frame())
            }
            Fault::Partial { received, length } => {
                Event::Partial(Partial { command: Command::QR_INFO, received, length })
            }
            Fault::Other => Event::Frame(Frame { command: Command::new(b"inv"), payload: vec![1; 9].into() }),
        };
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        self.correlator.handle(event, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.correlator.next_action() {
            assert!(!self.closed && !self.disconnected, "{action:?} after the end");
            match action {
                Action::Answer { send, result } => self.answered(send.seq, result),
                Action::Release { send: SendId { seq: id, .. } } => {
                    assert!(self.ended.contains(&id), "the slot of {id} is given back before its end");
                    assert!(self.alive.remove(&id), "{id} was released twice");
                    assert!(
                        self.answers.contains_key(&id) || self.cancelled.contains(&id),
                        "{id} went without an answer"
                    );
                }
                Action::Report(event) => self.reported(event),
                Action::Close(violation) => {
                    let stuck = matches!(violation, Violation::Unanswered(_));
                    assert!(!self.honest || stuck, "an honest server was sent away: {violation:?}");
                    self.closed = true;
                }
            }
        }
    }

    fn reported(&mut self, event: PeerEvent) {
        assert!(!self.left, "{event:?} after the last event");
        match event {
            PeerEvent::Ended { send, outcome, at } => {
                assert!(self.alive.contains(&send.seq));
                assert!(self.ended.insert(send.seq), "{send} ended twice");
                if let Ok(Timing { sent, head, first_byte, done, .. }) = outcome {
                    let order = [Some(sent), head, first_byte, Some(done), Some(at)];
                    assert!(order.into_iter().flatten().is_sorted(), "{order:?}");
                }
            }
            PeerEvent::Progress { send, .. } => assert!(self.alive.contains(&send.seq)),
            PeerEvent::Left { .. } | PeerEvent::Banned { .. } => self.left = true,
            other => panic!("{other:?}"),
        }
    }

    fn answered(&mut self, id: u64, result: AttemptResult) {
        assert!(self.alive.contains(&id) && !self.cancelled.contains(&id));
        match &result {
            Ok(Answer { reply: Reply::QrInfo(reply), .. }) => {
                let cycle = self.cycles[&id];
                assert_eq!(reply.work_block_hash(), support::reply(cycle, id).work_block_hash());
                if self.honest {
                    assert_eq!(reply.mn_list_diff_tip.block_hash, hash(id), "{id} got another's reply");
                }
            }
            Err(error) if self.honest => match error.kind() {
                Kind::Refused => assert!(self.server.refused.contains(&id), "{id} was not refused"),
                Kind::Timeout | Kind::Disconnected => {}
                kind => panic!("{id} failed at an honest server: {kind:?}"),
            },
            _ => {}
        }
        assert!(self.answers.insert(id, result).is_none(), "{id} was answered twice");
    }

    fn check(&self) {
        assert_eq!(self.correlator.len(), self.alive.len());
        assert!(self.alive.len() <= DEPTH);
        let waiting = self.alive.iter().filter(|id| !self.answers.contains_key(id) && !self.cancelled.contains(id));
        match self.correlator.next_deadline() {
            Some((deadline, _)) => assert!(deadline > self.now && !self.alive.is_empty()),
            None => assert_eq!(waiting.count(), 0, "nothing would end these"),
        }
        assert_eq!(self.left, self.closed || self.disconnected);
        if self.left {
            assert!(self.correlator.is_empty() && !self.correlator.has_frame());
        }
    }

    /// Every accepted request has ended exactly once.
    fn check_end(&self) {
        assert!(self.alive.is_empty());
        for id in self.cycles.keys() {
            assert!(self.answers.contains_key(id) != self.cancelled.contains(id), "{id}");
        }
        assert!(self.ended.iter().eq(self.cycles.keys()), "each sending has one end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn at_an_honest_server_every_request_ends_as_the_server_ended_it(
        steps in prop::collection::vec(honest_step(), 1..150),
        refusals in any::<u64>(),
    ) {
        let mut world = World::new(true);
        steps.into_iter().for_each(|step| world.run(step));
        // Now the server catches up.
        for turn in 0..4 * DEPTH {
            world.run(Step::Take(2));
            world.run(Step::Serve { refuse: refusals >> turn & 1 == 1 });
        }
        while !world.server.inbox.is_empty() || !world.server.outbox.is_empty() {
            world.run(Step::Serve { refuse: false });
            world.run(Step::Deliver);
        }
        prop_assert!(world.correlator.is_empty(), "a slot leaked");
        world.check_end();
    }

    #[test]
    fn whatever_a_server_does_every_request_ends_once(steps in prop::collection::vec(any_step(), 1..150)) {
        let mut world = World::new(true);
        steps.into_iter().for_each(|step| world.run(step));
        world.run(Step::Disconnect);
        world.check_end();
    }

    #[test]
    fn time_alone_ends_every_wait(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut world = World::new(true);
        steps.into_iter().for_each(|step| world.run(step));
        for _ in 0..=DEPTH + 1 {
            if let Some((deadline, _)) = world.correlator.next_deadline() {
                world.now = deadline;
                world.run(Step::Pass(0));
            }
        }
        prop_assert_eq!(world.correlator.next_deadline(), None);
    }
}
