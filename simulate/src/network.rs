//! The nodes of a day, and the chain that they follow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use qrinfo_core::{BlockHash, BlockHeader, PeerId};
use qrinfo_verify::KnownBlock;
use spv_peer::{Connection, LongReads, PeerConfig, PeerError, handshake};
use spv_testkit::{Chain, SimulatedPeer, chain::Place};
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep},
};

use crate::{
    chains::{BRANCH, History, START, history},
    day::Day,
    kind::Kind,
    log::Log,
    node::{AHEAD, Node},
};

/// The nodes of a day, and the chain that they follow. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    history: Arc<History>,
    nodes: Vec<Node>,
    running: Mutex<BTreeMap<PeerId, SimulatedPeer>>,
    restarted: Mutex<BTreeSet<PeerId>>,
    follower: Mutex<FollowerSeen>,
    /// The last attempt of the follower to connect to a node.
    dials: Mutex<BTreeMap<PeerId, Instant>>,
    chain: Mutex<Changing>,
    /// Changes of the chain so far.
    changes: AtomicU32,
    is_out: AtomicBool,
    /// No node restarts, and no clock jumps.
    is_steady: bool,
    /// The same, but the client may end at any time.
    is_reachable: bool,
    /// The follower may end.
    has_disk_faults: bool,
    reorganizes: bool,
    jumps: bool,
    goes_out: bool,
    /// Memory for long messages.
    long_reads: LongReads,
    rng: Mutex<fastrand::Rng>,
    log: Log,
}

#[derive(Debug)]
struct Changing {
    now: Chain,
    /// The branch that has taken over, and its last block.
    branch: Option<(Chain, u32)>,
    /// The greatest height so far.
    highest: u32,
}

/// Knowledge about the follower.
#[derive(Debug, Default)]
struct FollowerSeen {
    /// The instant of its start, while it runs.
    since: Option<Instant>,
    /// The greatest height of lists that it has proven.
    proven: u32,
}

// === impl Network ===

impl Network {
    pub(crate) fn new(day: &Day, log: &Log) -> Self {
        let history = history(day.seed);
        let honest = (0..day.honest).map(|_| Vec::new());
        // Honest nodes are not always the first.
        let mut all: Vec<_> = honest.chain(day.faulty.iter().cloned()).collect();
        day.rng("order").shuffle(&mut all);
        let nodes: Vec<_> =
            all.into_iter().enumerate().map(|(index, faults)| Node::new(day, index, faults, &history)).collect();
        nodes.iter().for_each(|node| log.event(format!("node {node:?}")));
        let running = nodes.iter().map(|node| (node.name(), node.start())).collect();
        let now = history.chain.until(START);
        Self(Arc::new(Inner {
            history,
            nodes,
            running: Mutex::new(running),
            restarted: Mutex::default(),
            follower: Mutex::default(),
            dials: Mutex::default(),
            chain: Mutex::new(Changing { now, branch: None, highest: START }),
            changes: AtomicU32::new(0),
            is_out: AtomicBool::new(false),
            reorganizes: day.has(Kind::Reorg),
            jumps: day.has(Kind::Jump),
            goes_out: day.has(Kind::Outage),
            is_steady: Kind::OF_WORLD.into_iter().all(|kind| kind == Kind::Reorg || !day.has(kind)),
            has_disk_faults: day.has(Kind::DiskError) || day.has(Kind::DiskFull),
            is_reachable: ![Kind::Restart, Kind::Jump, Kind::Outage].into_iter().any(|kind| day.has(kind)),
            long_reads: LongReads::new(8 << 20),
            rng: Mutex::new(day.rng("network")),
            log: log.clone(),
        }))
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.0.history
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// The nodes that never do anything that they may be banned for, the honest ones among them.
    pub(crate) fn blameless(&self) -> BTreeSet<PeerId> {
        self.0.nodes.iter().filter(|node| node.is_blameless()).map(Node::name).collect()
    }

    /// The nodes that answer or refuse every request at once, as far as the clock of the client can tell.
    pub(crate) fn prompt(&self) -> BTreeSet<PeerId> {
        let nodes = self.0.nodes.iter().filter(|node| node.is_prompt() && !self.0.jumps);
        nodes.map(Node::name).collect()
    }

    pub(crate) fn now(&self) -> Chain {
        self.chain().now.clone()
    }

    /// The height of the highest block so far.
    pub(crate) fn highest(&self) -> u32 {
        self.chain().highest
    }

    /// Mines a block, or has another branch take over, or ends that.
    pub(crate) fn mine(&self, may_fork: bool) {
        let history = &self.0.history;
        let mut chain = self.chain();
        let (now, height) = (chain.now.clone(), chain.now.tip() + 1);
        let next = match &chain.branch {
            Some((branch, last)) if height <= *last => Some(branch.until(height)),
            Some((branch, last)) => {
                let next = history.chain.until(height.max(last + 1)).knowing(branch);
                chain.branch = None;
                Some(next)
            }
            None => match history.branches.get(&now.tip()) {
                Some(branch) if may_fork && self.rng().bool() => {
                    let last = now.tip() + self.rng().u32(1..=BRANCH);
                    chain.branch = Some((branch.until(last), last));
                    Some(branch.until(height))
                }
                _ if height > history.chain.tip() => None,
                _ => Some(history.chain.until(height)),
            },
        };
        let Some(next) = next else { return };
        chain.now = next.clone();
        chain.highest = chain.highest.max(next.tip());
        drop(chain);
        self.0.log.event(format!("mined {} {}", next.tip(), short(&next)));
        self.spread(&next, Duration::from_secs(2));
        if let Some(bound) = self.start_bound().filter(|_| !self.0.reorganizes && !self.0.has_disk_faults) {
            tokio::spawn(self.clone().observe_block(next.tip(), bound));
        }
    }

    /// Checks that the follower proves the lists of a new block, or of one above it, in time.
    async fn observe_block(self, height: u32, bound: Duration) {
        let mined = Instant::now();
        sleep(bound).await;
        let follower = self.follower();
        let has_run = follower.since.is_some_and(|since| since <= mined);
        let proven = follower.proven;
        self.0.log.check(!has_run || proven >= height, || {
            format!("block {height} was mined {bound:?} ago, and the lists of {proven} are the newest")
        });
    }

    /// Notes the start of the follower, or its end.
    pub(crate) fn follower_runs(&self, runs: bool) {
        *self.follower() = FollowerSeen { since: runs.then(Instant::now), proven: 0 };
    }

    /// Notes that the follower has proven lists.
    pub(crate) fn proven(&self, height: u32) {
        let mut follower = self.follower();
        follower.proven = follower.proven.max(height);
    }

    /// Tells all nodes about the chain, each some time later. Those that hang at times are well connected, and have it first.
    pub(crate) fn spread(&self, chain: &Chain, within: Duration) {
        let number = self.0.changes.fetch_add(1, Ordering::Relaxed) + 1;
        for node in &self.0.nodes {
            let delay = within.mul_f64(self.rng().f64()) / if node.has(Kind::Hang) { 20 } else { 1 };
            let (node, chain) = (node.clone(), chain.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                node.follow(number, chain);
            });
        }
    }

    /// Ends a branch that has taken over, so that the nodes go back to the true chain.
    pub(crate) fn end_branch(&self) {
        while self.chain().branch.is_some() {
            self.mine(false);
        }
    }

    /// Mines the blocks that a node has had before all others.
    pub(crate) fn catch_up(&self) {
        if self.0.nodes.iter().any(|node| node.had(Kind::Ahead)) {
            (0..AHEAD).for_each(|_| self.mine(false));
        }
    }

    /// Ends the connections of a node and starts it again.
    pub(crate) fn restart(&self, node: &Node) {
        self.0.log.event(format!("restart {}", node.name()));
        self.running().insert(node.name(), node.start());
        // Each further time the follower waits longer.
        let is_first = self.restarted().insert(node.name());
        let may_not_dial = self.0.jumps || self.0.goes_out || self.0.has_disk_faults;
        if node.is_honest() && is_first && !may_not_dial {
            tokio::spawn(self.clone().observe_restart(node.name()));
        }
    }

    /// Checks that the follower connects again to a node that has restarted.
    async fn observe_restart(self, node: PeerId) {
        let restart = Instant::now();
        sleep(AGAIN).await;
        let has_dialed = self.dials().get(&node).is_some_and(|dial| *dial >= restart);
        self.0.log.check(has_dialed, || format!("{node} restarted, and was not connected to in {AGAIN:?}"));
    }

    /// Ends or starts the connection of this machine to all others.
    pub(crate) fn set_out(&self, is_out: bool) {
        self.0.log.event(format!("outage {is_out}"));
        self.0.is_out.store(is_out, Ordering::Relaxed);
        if is_out {
            let nodes = self.0.nodes.iter();
            *self.running() = nodes.map(|node| (node.name(), node.start())).collect();
        }
    }

    /// Changes of the chain so far.
    pub(crate) fn changes(&self) -> u32 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// All nodes are honest from now on. Slow ones start again, and all faulty ones if `restarts`.
    pub(crate) fn set_calm(&self, restarts: bool) {
        self.0.is_out.store(false, Ordering::Relaxed);
        for node in self.0.nodes.iter().filter(|node| !node.is_honest()) {
            if restarts || node.had(Kind::Slow) {
                self.restart(node);
            }
        }
    }

    /// Connects the follower to a node.
    pub(crate) async fn dial(&self, peer: PeerId) -> Result<Connection<DuplexStream>, PeerError> {
        self.dials().insert(peer, Instant::now());
        self.connect(peer).await
    }

    /// A block of the present chain.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        let chain = self.chain();
        let Some(Place::Active(height)) = chain.now.find(hash) else { return None };
        let header = BlockHeader::from_bytes(chain.now.block(height)?.header);
        Some(KnownBlock { height, merkle_root: header.merkle_root() })
    }

    /// Connects to a node.
    pub(crate) async fn connect(&self, peer: PeerId) -> Result<Connection<DuplexStream>, PeerError> {
        let node = self.0.nodes.iter().find(|node| node.name() == peer);
        let is_there = node.is_some_and(|node| !node.is_unreachable()) && !self.0.is_out.load(Ordering::Relaxed);
        let end = self.running().get(&peer).filter(|_| is_there).map(SimulatedPeer::connect);
        let Some(end) = end else {
            sleep(TIMEOUT).await;
            return Err(PeerError::ConnectTimeout(TIMEOUT));
        };
        let long_reads = self.0.long_reads.clone();
        let config = PeerConfig { long_reads, ..PeerConfig::new(self.0.history.network(), 7) };
        handshake(end, peer, &config).await
    }

    /// Logs what the nodes did.
    pub(crate) fn log_counts(&self) {
        for node in &self.0.nodes {
            let stats = self.running().get(&node.name()).map(SimulatedPeer::stats);
            self.0.log.event(format!("{} {:?} {stats:?}", node.name(), node.counts()));
        }
    }

    /// Returns `true` while it may be that the client follows another chain, or blocks that others do not have: some nodes
    /// do, and the day is one on which the honest ones are not always there.
    pub(crate) fn may_lie(&self) -> bool {
        let kinds = [Kind::WrongChain, Kind::EndlessHeaders, Kind::Ahead];
        let is_liar = |node: &&Node| kinds.into_iter().any(|kind| node.had(kind));
        let liars = self.0.nodes.iter().filter(is_liar).count();
        let has_majority = self.0.nodes.iter().filter(|node| node.is_honest()).count() > liars;
        let is_settled = self.0.is_steady && self.0.log.elapsed() >= SETTLED;
        liars > 0 && !(has_majority && is_settled)
    }

    /// The time in which a follower is synced after its start or a block: a timeout of headers and one of a request, and both again for
    /// each faulty node. `None` on days on which honest nodes cannot always be reached, or some are on another chain.
    pub(crate) fn start_bound(&self) -> Option<Duration> {
        let has_liars = self.0.nodes.iter().any(|node| node.had(Kind::WrongChain) || node.had(Kind::EndlessHeaders));
        let faulty = self.0.nodes.iter().filter(|node| !node.is_honest()).count() as u32;
        (self.0.is_reachable && !has_liars).then(|| START_BOUND + FAULTY_BOUND * faulty)
    }

    /// Returns `true` if the clock may jump.
    pub(crate) fn may_jump(&self) -> bool {
        self.0.jumps
    }

    /// Returns `true` if blocks may leave the chain that the client follows.
    pub(crate) fn may_go_back(&self) -> bool {
        let is_liar = |node: &Node| node.had(Kind::WrongChain) || node.had(Kind::EndlessHeaders);
        self.0.reorganizes || self.0.nodes.iter().any(is_liar)
    }

    fn chain(&self) -> MutexGuard<'_, Changing> {
        self.0.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follower(&self) -> MutexGuard<'_, FollowerSeen> {
        self.0.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restarted(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        self.0.restarted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dials(&self) -> MutexGuard<'_, BTreeMap<PeerId, Instant>> {
        self.0.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<PeerId, SimulatedPeer>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rng(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.0.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time after which every honest node has told its newest block.
const SETTLED: Duration = Duration::from_secs(30);

/// The time in which a follower of honest nodes is synced.
const START_BOUND: Duration = Duration::from_secs(45);

/// The time that a faulty node costs at the start.
const FAULTY_BOUND: Duration = Duration::from_secs(35);

/// The time in which the follower connects again to a node that has restarted, or is itself started again.
const AGAIN: Duration = Duration::from_secs(100);

/// The time in which an attempt to connect fails.
const TIMEOUT: Duration = Duration::from_secs(10);

fn short(chain: &Chain) -> String {
    chain.block(chain.tip()).map_or_else(String::new, |block| block.hash.to_string().chars().take(12).collect())
}
