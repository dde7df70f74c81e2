//! A network of simulated nodes whose chain grows in virtual time, a follower of it, and an observer that knows the truth.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use qrinfo::{
    follow::{FollowConfig, FollowEvent, FollowState, Follower, follow},
    nodes::Ledger,
};
use qrinfo_core::{
    BlockHash, Hash256, LlmqType, Network, PeerId, QuorumHash, Reply,
    message::{ChainLock, GetMnListDiff, GetQRInfo, Headers, InstantLock, NetworkMessage},
    wire::{
        Wire,
        frame::{Command, Frame, HEADER_LEN},
    },
};
use qrinfo_verify::Level;
use spv_headers::HeaderRules;
use spv_peer::{PeerConfig, PeerError, handshake};
use spv_pool::{Plan, PlanConfig, PoolHandle, Source, start};
use spv_store::Store;
use spv_testkit::{
    Answers, Chain, Fork, LiveChain, NodeFacts, PeerProfile, Response, ServerSession, SimulatedPeer,
    SimulatedPeerBuilder, SyntheticChain, SyntheticParams, builder,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// The time between two blocks.
pub(crate) const SPACING: Duration = Duration::from_secs(150);

/// The time in which a follower hears of a block.
const HEARD: Duration = Duration::from_secs(20);

/// The time in which a state must come.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// The requests of the cycles, and the bytes of their replies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// By the height at which the cycle starts: replies to `getqrinfo` and to `getmnlistd`.
    pub(crate) cycles: BTreeMap<u32, (u32, u32)>,
    pub(crate) refused: u32,
    pub(crate) bytes: u64,
}

/// A chain that counts what it is asked for.
#[derive(Debug, Clone)]
struct Counted {
    live: LiveChain,
    traffic: Arc<Mutex<Traffic>>,
}

/// A change of the chain.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The time since the change before.
    pub(crate) after: Duration,
    pub(crate) chain: Chain,
}

/// A chain in time: it grows, and other branches take over.
pub(crate) struct History {
    pub(crate) network: Network,
    pub(crate) first: Chain,
    pub(crate) changes: Vec<Change>,
    /// The chain at the end.
    pub(crate) last: Chain,
}

/// Nodes of one chain, which come and go.
pub(crate) struct World {
    pub(crate) live: LiveChain,
    traffic: Arc<Mutex<Traffic>>,
    nodes: Nodes,
    pub(crate) round_trip: Duration,
    /// The number of nodes that a follower keeps connected.
    pub(crate) target: usize,
    pub(crate) level: Level,
    next_node: u32,
    /// Bytes sent by nodes that are gone.
    bytes_before: u64,
}

type Nodes = Arc<Mutex<BTreeMap<PeerId, SimulatedPeer>>>;

/// The record of an observer.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) quorums: BTreeSet<(LlmqType, QuorumHash)>,
    /// Blocks whose lists were proven.
    proven: BTreeSet<BlockHash>,
    /// Moments at which the state was not true.
    pub(crate) lies: Vec<String>,
    pub(crate) states: Vec<FollowState>,
    pub(crate) reorganizations: u32,
    /// Heights of ChainLocks.
    pub(crate) locked: BTreeSet<u32>,
    /// Transactions of InstantSend locks, in the order in which they were told.
    pub(crate) reserved: Vec<Hash256>,
}

/// A follower of a world, and its observer.
pub(crate) struct Watched {
    pub(crate) follower: Follower,
    pub(crate) pool: PoolHandle,
    pub(crate) ledger: Ledger,
    pub(crate) seen: Arc<Mutex<Seen>>,
    observers: Vec<JoinHandle<()>>,
}

// === impl History ===

impl History {
    /// A chain that grows by a block every 2.5 minutes from `first` on. At each of the forks a branch of that many
    /// blocks is mined first and then replaced.
    pub(crate) fn new(seed: u64, params: &SyntheticParams, first: u32, forks: &[(u32, u32)]) -> Self {
        let last = SyntheticChain::generate(seed, params).chain;
        let mut changes = Vec::new();
        let mut height = first + 1;
        while height <= params.tip {
            if let Some((fork, length)) = forks.iter().copied().find(|(fork, _)| fork + 1 == height) {
                let params = SyntheticParams { tip: fork + length, ..params.clone() };
                let branch = SyntheticChain::generate_fork(seed, &params, Fork { height: fork, seed: !seed }).chain;
                changes.extend((height..=branch.tip()).map(|tip| Change { after: SPACING, chain: branch.until(tip) }));
                height += length;
                // A node that has replaced a branch still knows it.
                changes.push(Change { after: SPACING, chain: last.until(height).knowing(&branch) });
            } else {
                changes.push(Change { after: SPACING, chain: last.until(height) });
            }
            height += 1;
        }
        Self { network: params.network, first: last.until(first), changes, last }
    }
}

// === impl World ===

impl World {
    pub(crate) fn new(chain: Chain, nodes: u32) -> Self {
        Self::of(LiveChain::new(chain), nodes)
    }

    pub(crate) fn of(live: LiveChain, nodes: u32) -> Self {
        let mut world = Self {
            live,
            traffic: Arc::default(),
            nodes: Arc::default(),
            round_trip: Duration::from_millis(100),
            target: 4,
            level: Level::Roots,
            next_node: 1,
            bytes_before: 0,
        };
        world.replace_nodes(nodes);
        world
    }

    /// Ends all nodes, and starts others. Returns their names.
    pub(crate) fn replace_nodes(&mut self, count: u32) -> Vec<PeerId> {
        let mut nodes = self.nodes.lock().unwrap();
        self.bytes_before += nodes.values().map(|node| node.stats().bytes).sum::<u64>();
        nodes.clear();
        let names = self.next_node..self.next_node + count;
        self.next_node += count;
        for number in names {
            nodes.insert(name(number), self.builder(&self.live, number).build());
        }
        nodes.keys().copied().collect()
    }

    /// Adds a node that serves a chain, with a fault. Returns its name.
    pub(crate) fn add(
        &mut self,
        live: &LiveChain,
        change: impl FnOnce(SimulatedPeerBuilder) -> SimulatedPeerBuilder,
    ) -> PeerId {
        let node = change(self.builder(live, self.next_node)).build();
        let name = name(self.next_node);
        self.nodes.lock().unwrap().insert(name, node);
        self.next_node += 1;
        name
    }

    /// Ends some nodes.
    pub(crate) fn remove(&mut self, names: &[PeerId]) {
        let mut nodes = self.nodes.lock().unwrap();
        self.bytes_before +=
            names.iter().filter_map(|name| nodes.remove(name)).map(|node| node.stats().bytes).sum::<u64>();
    }

    fn builder(&self, live: &LiveChain, number: u32) -> SimulatedPeerBuilder {
        let answers = Counted { live: live.clone(), traffic: self.traffic.clone() };
        let profile = PeerProfile {
            round_trip: self.round_trip + Duration::from_millis(u64::from(number % 7)),
            rate: Some(2_000_000),
            ..PeerProfile::default()
        };
        SimulatedPeer::builder(answers).profile(profile)
    }

    pub(crate) fn names(&self) -> Vec<PeerId> {
        self.nodes.lock().unwrap().keys().copied().collect()
    }

    /// Bytes sent by all nodes so far, with everything.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_before + self.nodes.lock().unwrap().values().map(|node| node.stats().bytes).sum::<u64>()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.lock().unwrap().clone()
    }

    /// A follower that connects to the nodes of now.
    pub(crate) fn follow(&self, store: Option<Store>) -> Watched {
        let network = self.live.now().network();
        let (pool, ledger, events) = self.pool(network, store.clone());
        let mut config = FollowConfig::new(network);
        // Made-up chains have the difficulty of regtest, and mostly random signatures.
        config.rules = HeaderRules::from(Network::Regtest);
        config.start = (0, network.genesis_hash());
        config.level = self.level;
        let follower = follow(events, ledger.clone(), store, config).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let observers = vec![
            tokio::spawn(observe_events(follower.events(), seen.clone())),
            tokio::spawn(observe_state(follower.state.clone(), self.live.clone(), seen.clone())),
        ];
        Watched { follower, pool, ledger, seen, observers }
    }

    fn pool(
        &self,
        network: Network,
        store: Option<Store>,
    ) -> (PoolHandle, Ledger, spv_pool::PoolEvents<spv_peer::Connection<tokio::io::DuplexStream>>) {
        let settings = PlanConfig { target: self.target, uses_gossip: false, ..PlanConfig::new(network, 7) };
        let mut plan = Plan::new(settings, Instant::now().into_std(), 1_800_000_000);
        for peer in self.names() {
            plan.add(peer, Source::Named, Instant::now().into_std());
        }
        let nodes = self.nodes.clone();
        let (pool, events) = start(plan, move |dial| {
            let end = nodes.lock().unwrap().get(&dial.peer).map(SimulatedPeer::connect);
            async move {
                let Some(end) = end else { return Err(PeerError::ConnectTimeout(Duration::ZERO)) };
                handshake(end, dial.peer, &PeerConfig { relay: true, ..PeerConfig::new(network, 7) }).await
            }
        });
        let ledger = Ledger::new(pool.clone(), store, |_| {});
        (pool, ledger, events)
    }

    /// Plays these changes.
    pub(crate) async fn play(&self, changes: &[Change]) {
        for change in changes {
            sleep(change.after).await;
            self.live.set(change.chain.clone());
        }
    }
}

fn name(number: u32) -> PeerId {
    let [_, a, b, c] = number.to_be_bytes();
    PeerId::Address(([10 + c, b, a, 1], 9999).into())
}

// === impl Watched ===

impl Watched {
    /// Waits for a state.
    pub(crate) async fn until(&mut self, is_it: impl FnMut(&FollowState) -> bool) {
        let is_there = timeout(PATIENCE, self.follower.state.wait_for(is_it)).await.is_ok();
        assert!(is_there, "it is still {} after {PATIENCE:?}", self.state());
    }

    pub(crate) async fn until_synced(&mut self, height: u32) {
        self.until(|state| *state == FollowState::Synced { height }).await;
    }

    pub(crate) fn state(&self) -> FollowState {
        self.follower.state.borrow().clone()
    }

    pub(crate) fn lies(&self) -> Vec<String> {
        self.seen.lock().unwrap().lies.clone()
    }

    /// Quorums that were mined in these blocks of a chain and that no proven lists had.
    pub(crate) fn unseen(&self, chain: &Chain, mined: std::ops::RangeInclusive<u32>) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let quorums = chain.quorums().iter().filter(|quorum| mined.contains(&quorum.mined_height));
        let unseen = quorums
            .filter(|quorum| !seen.quorums.contains(&(quorum.commitment.llmq_type, quorum.commitment.quorum_hash)));
        unseen.map(|quorum| format!("type {} at {}", quorum.commitment.llmq_type, quorum.height)).collect()
    }

    /// Ends the follower as a crash does: nothing more is done, and only what is stored stays.
    pub(crate) fn kill(self) -> Arc<Mutex<Seen>> {
        self.observers.iter().for_each(JoinHandle::abort);
        self.seen
    }
}

async fn observe_events(mut events: broadcast::Receiver<FollowEvent>, seen: Arc<Mutex<Seen>>) {
    loop {
        match events.recv().await {
            Ok(FollowEvent::Proven(lists)) => {
                let mut seen = seen.lock().unwrap();
                seen.proven.insert(lists.block_hash());
                seen.quorums.extend(lists.quorums().iter().map(|quorum| (quorum.llmq_type, quorum.quorum_hash)));
            }
            Ok(FollowEvent::Reorganized { .. }) => seen.lock().unwrap().reorganizations += 1,
            Ok(FollowEvent::ChainLocked { height, .. }) => _ = seen.lock().unwrap().locked.insert(height),
            Ok(FollowEvent::InstantLocked { txid, .. }) => seen.lock().unwrap().reserved.push(txid),
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(count)) => panic!("the observer missed {count} events"),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Compares each state with the chain, at once and again when every block must have been heard of.
async fn observe_state(mut state: watch::Receiver<FollowState>, live: LiveChain, seen: Arc<Mutex<Seen>>) {
    let mut changes = live.live().unwrap();
    loop {
        let shown = state.borrow_and_update().clone();
        let chain = changes.borrow_and_update().clone();
        seen.lock().unwrap().states.push(shown.clone());
        if let FollowState::Synced { height } = shown
            && height > chain.tip()
        {
            seen.lock().unwrap().lies.push(format!("synced to {height}, and the tip is at {}", chain.tip()));
        }
        // Every block must be heard of some time after it was mined.
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            _ = changes.changed() => {
                let (live, state, seen) = (live.clone(), state.clone(), seen.clone());
                let mined = changes.borrow_and_update().tip();
                tokio::spawn(async move {
                    sleep(HEARD).await;
                    let shown = state.borrow().clone();
                    if let FollowState::Synced { height } = shown && height < mined && live.now().tip() >= mined {
                        seen.lock().unwrap().lies.push(format!("synced to {height}, and {mined} is old"));
                    }
                });
            }
        }
    }
}

// === impl Counted ===

impl Answers for Counted {
    fn node(&self) -> NodeFacts {
        self.live.node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        let response = self.live.answer(request, session);
        let mut traffic = self.traffic.lock().unwrap();
        let tip = self.live.now().tip();
        let cycle = self.live.now().network().cycles().start_of(tip).height();
        match &response {
            Response::Reply(reply) => {
                traffic.bytes += (reply.payload.len() + HEADER_LEN) as u64;
                let (qr_infos, diffs) = traffic.cycles.entry(cycle).or_default();
                match request.command {
                    Command::GET_QR_INFO => *qr_infos += 1,
                    _ => *diffs += 1,
                }
            }
            Response::Refuse => traffic.refused += 1,
            Response::Ignore => {}
        }
        response
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        self.live.headers(locator)
    }

    fn live(&self) -> Option<watch::Receiver<Chain>> {
        self.live.live()
    }

    fn chain_lock(&self) -> Option<ChainLock> {
        self.live.chain_lock()
    }

    fn instant_locks(&self) -> Vec<InstantLock> {
        self.live.instant_locks()
    }

    fn instant_lock(&self, hash: &Hash256) -> Option<InstantLock> {
        self.live.instant_lock(hash)
    }
}

// === the smallest number of bytes ===

/// The bytes of the smallest way to follow a chain from one height to another that is known to this file: the header of
/// each block, announced once; the step to its lists; and once a cycle, instead of one of these steps, a `qrinfo` with
/// every base.
pub(crate) fn smallest(chain: &Chain, heights: std::ops::Range<u32>) -> u64 {
    let network = chain.network();
    let end = |height: u32| *network.rotated_params().mining_window(network.cycles().start_of(height).height()).end();
    let header = (HEADER_LEN + 1 + 81) as u64;
    heights
        .map(|height| {
            header + if end(height + 1) == height + 1 { cycle(chain, height) } else { step(chain, height, height + 1) }
        })
        .sum()
}

/// The bytes of the step between two lists.
pub(crate) fn step(chain: &Chain, base: u32, target: u32) -> u64 {
    let hash = |height| chain.block(height).unwrap().hash;
    let message = NetworkMessage::GetMnListD(GetMnListDiff { base_block_hash: hash(base), block_hash: hash(target) });
    reply(chain, &message)
}

/// The bytes of the `qrinfo` of the cycle of the block above `height`, from that block's lists on.
fn cycle(chain: &Chain, height: u32) -> u64 {
    let cycles = chain.network().cycles();
    let start = cycles.start_of(height + 1);
    let hash = |height| chain.block(height).unwrap().hash;
    let mut bases: Vec<_> = (0..8).filter_map(|back| cycles.work_height_back(start, back)).map(hash).collect();
    bases.reverse();
    bases.push(hash(height));
    let message = NetworkMessage::GetQRInfo(GetQRInfo {
        base_block_hashes: bases,
        block_hash: hash(height + 1),
        extra_share: true,
    });
    reply(&chain.until(height + 1), &message)
}

pub(crate) fn reply(chain: &Chain, message: &NetworkMessage) -> u64 {
    let session = ServerSession::new(spv_testkit::ServerVersion::NEWEST, qrinfo_core::message::PROTOCOL_VERSION);
    let payload = match builder::answer(chain, message, session) {
        Some(Ok(Reply::QrInfo(reply))) => reply.to_wire(),
        Some(Ok(Reply::MnListDiff(diff))) => diff.to_wire(),
        refused => panic!("{refused:?}"),
    };
    (payload.len() + HEADER_LEN) as u64
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("tip", &self.live.now().tip()).finish_non_exhaustive()
    }
}
