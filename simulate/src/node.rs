//! The nodes of a day.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use qrinfo_core::{
    BlockHash, BlockHeader, PeerId,
    message::{Addr, Headers, KnownNode},
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};
use spv_testkit::{
    Answers, Chain, Cost, Fault, HeaderFault, LiveChain, NodeFacts, PeerProfile, Response, ServerSession,
    ServerVersion, SimulatedPeer,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    chains::{History, START},
    day::Day,
    kind::Kind,
    lie,
};

/// A node and what happened at it. Clones share it.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    name: PeerId,
    faults: Vec<(Kind, f64)>,
    /// The instant from which on it is honest.
    honest_from: Instant,
    seed: u64,
    server: ServerVersion,
    profile: PeerProfile,
    live: LiveChain,
    history: Arc<History>,
    day: Day,
    state: Mutex<State>,
    /// The number of the newest change of the chain that it was told.
    newest: AtomicU32,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    counts: Counts,
    /// The instant until which it stands still.
    hangs_until: Instant,
}

/// The questions that a node was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u32,
    pub(crate) refused: u32,
    pub(crate) headers: u32,
    pub(crate) addresses: u32,
}

/// Blocks that a node is ahead of all others.
pub(crate) const AHEAD: u32 = 2;

// === impl Node ===

impl Node {
    pub(crate) fn new(day: &Day, index: usize, faults: Vec<(Kind, f64)>, history: &Arc<History>) -> Self {
        let mut rng = day.rng(&format!("profile {index}"));
        let has = |kind| faults.iter().any(|(other, _)| *other == kind);
        let profile = PeerProfile {
            round_trip: Duration::from_millis(rng.u64(10..400)),
            compute: Duration::from_millis(rng.u64(0..100)),
            rate: Some(rng.u64(100_000..3_000_000)),
        };
        let chain = match (has(Kind::WrongChain), has(Kind::Behind)) {
            (true, _) => history.wrong.clone(),
            (_, true) => history.chain.until(START - rng.u32(1..60)),
            _ => history.chain.until(START),
        };
        let seed = rng.u64(..);
        Self(Arc::new(Inner {
            name: name(index),
            faults,
            honest_from: Instant::now() + day.calm,
            seed,
            server: ServerVersion::ALL[rng.usize(0..3)],
            profile,
            live: LiveChain::new(chain),
            history: history.clone(),
            day: day.clone(),
            state: Mutex::new(State {
                rng: fastrand::Rng::with_seed(seed),
                counts: Counts::default(),
                hangs_until: Instant::now(),
            }),
            newest: AtomicU32::new(0),
        }))
    }

    pub(crate) fn name(&self) -> PeerId {
        self.0.name
    }

    /// Returns `true` if it never does anything wrong.
    pub(crate) fn is_honest(&self) -> bool {
        self.0.faults.is_empty()
    }

    /// Returns `true` if it never does anything that it may be banned for.
    pub(crate) fn is_blameless(&self) -> bool {
        self.0.faults.iter().all(|(kind, _)| !kind.is_provable())
    }

    /// Returns `true` if it answers or refuses every request at once.
    pub(crate) fn is_prompt(&self) -> bool {
        self.0.faults.iter().all(|(kind, _)| kind.is_prompt())
    }

    /// Returns `true` if it has or had this fault.
    pub(crate) fn had(&self, kind: Kind) -> bool {
        self.0.faults.iter().any(|(other, _)| *other == kind)
    }

    /// Returns `true` if it has this fault at present.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.rate(kind) > 0.0
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Has it follow change number `number` of the chain, unless it follows a later one.
    pub(crate) fn follow(&self, number: u32, chain: Chain) {
        let has_other_chain = self.has(Kind::WrongChain) || self.has(Kind::Behind);
        if !has_other_chain && self.0.newest.fetch_max(number, Ordering::Relaxed) < number {
            if let Some(time) = self.0.day.hang(number).filter(|_| self.has(Kind::Hang)) {
                self.state().hangs_until = (Instant::now() + time).min(self.0.honest_from);
            }
            self.0.live.set(if self.has(Kind::Ahead) { self.ahead_of(chain) } else { chain });
        }
    }

    /// A chain with the blocks that will be mined next, unless it is a branch.
    fn ahead_of(&self, chain: Chain) -> Chain {
        let ours = &self.0.history.chain;
        let (tip, wanted) = (chain.tip(), chain.tip() + AHEAD);
        let is_branch = chain.block(tip).map(|block| block.hash) != ours.block(tip).map(|block| block.hash);
        if is_branch || wanted > ours.tip() { chain } else { ours.until(wanted) }
    }

    /// Returns `true` if an attempt to connect fails now.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.happens(Kind::NoDial)
    }

    /// Starts it.
    pub(crate) fn start(&self) -> SimulatedPeer {
        let mut builder = SimulatedPeer::builder(self.clone())
            .server(self.0.server)
            .profile(self.profile())
            .faults_until(self.0.honest_from.into_std());
        let mut rng = fastrand::Rng::with_seed(self.0.seed);
        for (kind, rate) in &self.0.faults {
            if let Some(fault) = fault(*kind, &mut rng) {
                builder = builder.random_fault(*rate, rng.u64(..), fault);
            }
            match kind {
                Kind::SilentHeaders => builder = builder.header_fault(HeaderFault::Silence),
                Kind::TruncatedHeaders => builder = builder.header_fault(HeaderFault::Truncated),
                _ => {}
            }
        }
        builder.build()
    }

    fn profile(&self) -> PeerProfile {
        match self.has(Kind::Slow) || self.has(Kind::Flood) {
            // A flood of more costs real time, and shows nothing more.
            true => PeerProfile { rate: Some(1_000 + self.0.seed % 20_000), ..self.0.profile },
            false => self.0.profile,
        }
    }

    /// The share of messages that a fault concerns at present.
    fn rate(&self, kind: Kind) -> f64 {
        let is_over = Instant::now() >= self.0.honest_from;
        let rate = self.0.faults.iter().find(|(other, _)| *other == kind).map_or(0.0, |(_, rate)| *rate);
        if is_over { 0.0 } else { rate }
    }

    fn happens(&self, kind: Kind) -> bool {
        let rate = self.rate(kind);
        rate > 0.0 && self.state().rng.f64() < rate
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses that it tells.
    fn addresses(&self) -> Frame {
        self.state().counts.addresses += 1;
        let node = |address: SocketAddr| KnownNode { last_seen: 1_790_000_000, services: 0xc05, address };
        let poison = self.happens(Kind::Poison);
        let nodes = match poison {
            false => (0..8).map(|index| node(address(index))).collect(),
            true => (0..1_000).map(|_| node((self.state().rng.u32(..).to_be_bytes(), 19899).into())).collect(),
        };
        Frame { command: Command::ADDR, payload: Addr(nodes).to_wire() }
    }
}

impl Answers for Node {
    fn node(&self) -> NodeFacts {
        let mut node = self.0.live.node();
        if self.happens(Kind::Low) {
            node.start_height = self.state().rng.u32(0..START);
        }
        if self.happens(Kind::High) || self.has(Kind::EndlessHeaders) {
            node.start_height += [50, 4_500, 1_000_000_000][self.state().rng.usize(0..3)];
        }
        node
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match request.command {
            Command::GET_QR_INFO | Command::GET_MN_LIST_DIFF => {}
            Command::GET_ADDR => return Response::Reply(self.addresses()),
            _ => return Response::Ignore,
        }
        self.state().counts.requests += 1;
        let mut response = self.0.live.answer(request, session);
        if self.happens(Kind::Refuse) {
            response = Response::Refuse;
        }
        if let Response::Reply(reply) = &mut response {
            if self.happens(Kind::Lie) {
                let lie = lie::lie(reply, &mut self.state().rng);
                *reply = lie.unwrap_or_else(|| reply.clone());
            }
            if self.happens(Kind::Stuff) {
                let stuffed = lie::stuff(reply, &mut self.state().rng);
                *reply = stuffed.unwrap_or_else(|| reply.clone());
            }
        }
        if response == Response::Refuse {
            self.state().counts.refused += 1;
        }
        response
    }

    fn cost(&self, _request: &Frame) -> Option<Cost> {
        let left = self.state().hangs_until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(Cost { compute: left, transfer: Duration::ZERO })
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        self.state().counts.headers += 1;
        if self.has(Kind::EndlessHeaders) {
            return self.0.history.endless(locator);
        }
        let mut headers = self.0.live.headers(locator);
        if self.happens(Kind::BrokenHeaders) {
            break_one(&mut headers.0, &mut self.state().rng);
        }
        headers
    }

    fn live(&self) -> Option<watch::Receiver<Chain>> {
        if self.has(Kind::Mute) { None } else { self.0.live.live() }
    }

    fn other(&self, request: &Frame, session: ServerSession) -> Option<Frame> {
        self.0.live.other(request, session)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.name, self.0.faults)
    }
}

/// The address of a node. Each is in a network group of its own.
pub(crate) fn address(index: usize) -> SocketAddr {
    ([20 + index as u8, 7, 1, 1], 19899).into()
}

fn name(index: usize) -> PeerId {
    PeerId::Address(address(index))
}

/// The fault of replies that belongs to a kind.
fn fault(kind: Kind, rng: &mut fastrand::Rng) -> Option<Fault> {
    Some(match kind {
        Kind::Silent => Fault::Silent,
        Kind::Close => Fault::Close,
        Kind::Cut => Fault::CloseInFrame { at: [0, 1, 23, 24, 25, rng.usize(0..3_000)][rng.usize(0..6)] },
        Kind::Oversized => Fault::Oversized,
        Kind::BitFlip => Fault::BitFlip { bit: rng.usize(0..20_000) },
        Kind::Tamper => Fault::Tamper { bit: rng.usize(0..20_000) },
        Kind::Garbage => Fault::Garbage { seed: rng.u64(..) },
        Kind::Unknown => Fault::Unknown,
        Kind::WrongReply => Fault::WrongReply,
        Kind::Duplicate => Fault::Duplicate,
        Kind::Drip => Fault::Drip { bytes: rng.usize(1..200), every: Duration::from_millis(rng.u64(100..3_000)) },
        Kind::Late => Fault::Late { by: Duration::from_millis(rng.u64(100..100_000)) },
        Kind::Flood => Fault::Flood,
        _ => return None,
    })
}

fn break_one(headers: &mut [BlockHeader], rng: &mut fastrand::Rng) {
    let count = headers.len();
    if let Some(header) = headers.get_mut(rng.usize(0..count.max(1))) {
        let mut bytes = *header.as_bytes();
        match rng.u8(0..4) {
            0 => bytes[4..36].fill(0xab),
            1 => bytes[72..76].copy_from_slice(&0x2100_ffff_u32.to_le_bytes()),
            2 => bytes[72..76].copy_from_slice(&0x1d00_ffff_u32.to_le_bytes()),
            _ => bytes[rng.usize(0..80)] ^= 1 << rng.u8(0..8),
        }
        *header = BlockHeader::from_bytes(bytes);
    }
}
