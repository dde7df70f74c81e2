//! Random interleavings of requests to several peers at once and their replies, which do not name their senders.
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use qrinfo_core::{Answer, AttemptErrorKind as Kind, Reply, message::NetworkMessage};
use qrinfo_correlate::{Closed, QRInfoCorrelationManager, RegisterError, ReplyReceiver};
use tokio::sync::oneshot::error::TryRecvError;

use crate::support::{hash, reply, spec};

const TIMEOUT: Duration = Duration::from_secs(30);
const PEERS: usize = 3;
/// Few, so that requests of the same cycle meet.
const CYCLES: u64 = 3;
/// Different requests of a cycle.
const KINDS: u64 = 2;

#[derive(Debug, Clone)]
enum Step {
    Register {
        cycle: u64,
        kind: u64,
    },
    Drop(prop::sample::Index),
    /// A peer deals with its oldest request: it answers or refuses.
    Serve {
        peer: usize,
        refuse: bool,
    },
    Pass(u64),
    /// A reply to a cycle of which nothing is asked.
    Stray,
    Disconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (0..CYCLES, 0..KINDS).prop_map(|(cycle, kind)| Step::Register { cycle, kind }),
        20 => any::<prop::sample::Index>().prop_map(Step::Drop),
        120 => (0..PEERS, prop::bool::weighted(0.2)).prop_map(|(peer, refuse)| Step::Serve { peer, refuse }),
        40 => (1..20_000_u64).prop_map(Step::Pass),
        10 => Just(Step::Stray),
        1 => Just(Step::Disconnect),
    ]
}

/// A request at a peer: which, and when it was sent.
type Asked = (u64, Instant);

struct World {
    correlator: QRInfoCorrelationManager,
    now: Instant,
    peers: [VecDeque<Asked>; PEERS],
    /// Those whose end is not known yet, and what they asked.
    callers: Vec<(u64, ReplyReceiver)>,
    /// Copies of the reply to each request that may still come.
    to_come: BTreeMap<u64, usize>,
}

/// A number for each request; the reply to it is recognised by its tip.
fn tag(cycle: u64, kind: u64) -> u64 {
    cycle * KINDS + kind
}

fn cycle(tag: u64) -> u64 {
    tag / KINDS
}

impl World {
    fn new() -> Self {
        Self {
            correlator: QRInfoCorrelationManager::new(TIMEOUT),
            now: tokio::time::Instant::now().into_std(),
            peers: Default::default(),
            callers: Vec::new(),
            to_come: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Register { cycle, kind } => self.register(tag(cycle, kind)),
            Step::Drop(which) if !self.callers.is_empty() => {
                self.callers.swap_remove(which.index(self.callers.len()));
            }
            Step::Drop(_) => {}
            Step::Serve { peer, refuse } => self.serve(peer, refuse),
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                self.correlator.cleanup_expired_requests(self.now);
            }
            Step::Stray => {
                assert!(self.correlator.handle_qr_info_response(reply(CYCLES + 1, 0), self.now).is_err());
            }
            Step::Disconnect => {
                self.peers = Default::default();
                self.to_come.clear();
                self.correlator.disconnected(&Closed::ByPeer);
                for (_, mut receiver) in self.callers.drain(..) {
                    let ended = receiver.try_recv().unwrap();
                    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == Kind::Disconnected));
                }
            }
        }
        self.check();
    }

    fn register(&mut self, tag: u64) {
        let others = self.to_come.iter().any(|(other, left)| *other != tag && cycle(*other) == cycle(tag) && *left > 0);
        match self.correlator.register_request(spec(cycle(tag), tag), PEERS, self.now) {
            Ok(registered) => {
                if let Some(message) = registered.message {
                    let NetworkMessage::GetQRInfo(message) = message else { panic!("{message:?}") };
                    assert_eq!(message.block_hash, hash(tag));
                    *self.to_come.entry(tag).or_default() += PEERS;
                    for peer in &mut self.peers {
                        peer.push_back((tag, self.now));
                    }
                }
                self.callers.push((tag, registered.receiver));
            }
            Err(RegisterError::CycleBusy { .. }) => assert!(others, "{tag} is refused for no reason"),
            Err(other) => panic!("{other}"),
        }
    }

    /// A reply that comes a timeout after its request is not recognised, so honest peers here are not as late.
    fn serve(&mut self, peer: usize, refuse: bool) {
        let Some((tag, sent)) = self.peers[peer].pop_front() else { return };
        if refuse || self.now >= sent + TIMEOUT {
            return;
        }
        *self.to_come.get_mut(&tag).unwrap() -= 1;
        let known = self.correlator.handle_qr_info_response(reply(cycle(tag), tag), self.now);
        assert!(known.is_ok(), "a reply to {tag} is not recognised");
    }

    fn check(&mut self) {
        self.callers.retain_mut(|(tag, receiver)| match receiver.try_recv() {
            Ok(Ok(Answer { reply: Reply::QrInfo(answer), .. })) => {
                assert_eq!(*answer, reply(cycle(*tag), *tag), "a reply to another request");
                false
            }
            Ok(Ok(other)) => panic!("{other:?}"),
            Ok(Err(error)) => {
                assert_eq!(error.kind(), Kind::Timeout);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => panic!("{tag} was forgotten without a word"),
        });
        assert!(self.correlator.waiting() >= self.callers.len());
        assert!(self.correlator.remembered() <= (CYCLES * KINDS) as usize);
        if !self.callers.is_empty() {
            assert!(self.correlator.next_deadline().is_some_and(|at| at > self.now && at <= self.now + TIMEOUT));
        }
    }

    /// No further message comes: every request that is left ends by time alone.
    fn run_out(mut self) {
        let mut rounds = 0;
        while let Some(at) = self.correlator.next_deadline() {
            self.now = at;
            self.correlator.cleanup_expired_requests(at);
            self.check();
            rounds += 1;
            assert!(rounds < 100, "time goes on without an end");
        }
        assert!(self.callers.is_empty());
        assert_eq!((self.correlator.waiting(), self.correlator.remembered()), (0, 0));
    }
}

proptest! {
    #[test]
    fn every_caller_ends_once_with_the_reply_to_its_own_request(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.run_out();
    }
}
