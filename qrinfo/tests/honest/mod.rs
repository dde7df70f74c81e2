//! A small made-up network: two branches of a chain, honest peers on them, and a client with some of the headers.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::fmt;

use qrinfo::plan::{PlanKind, Planner, anchor};
use qrinfo_core::{BlockHash, BlockHeader, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request};
use qrinfo_verify::{HeaderMap, KnownBlock};
use spv_testkit::{
    Chain, Fork, ServerSession, ServerVersion, SimulatedPeer, SimulatedPeerBuilder, SyntheticChain, SyntheticParams,
    builder, chain::Place,
};

/// Seeds that share a world, which takes longer to make than to use.
pub(crate) const SEEDS_PER_WORLD: u64 = 8;

/// The length of a cycle on regtest.
pub(crate) const CYCLE: u32 = 24;

/// The protocol versions that a client may announce.
const CLIENT_PROTOCOLS: [i32; 5] = [70230, 70235, 70236, 70237, 70240];

/// Two branches of one chain.
pub(crate) struct World {
    /// Each as a node on it knows it, which has seen the other one as well.
    branches: [Chain; 2],
}

/// A node that follows Dash Core's rules.
pub(crate) struct Peer {
    server: ServerVersion,
    client_protocol: i32,
    branch: usize,
    chain: Chain,
}

/// A client and the headers that it has: those of one branch from `lowest` to the tip.
pub(crate) struct Client {
    branch: usize,
    chain: Chain,
    lowest: u32,
    first_cycle: u32,
}

// === impl World ===

impl World {
    pub(crate) fn generate(number: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(!number);
        let tip = rng.u32(9 * CYCLE..=20 * CYCLE);
        let v19_height = [0, 100, rng.u32(0..tip)][rng.usize(0..3)];
        let failing_from = CYCLE * rng.u32(4..10);
        let params = SyntheticParams {
            tip,
            masternodes: rng.u32(5..=10),
            changes_per_cycle: [0.5, 2.0, 8.0][rng.usize(0..3)],
            failed_dkgs: [0.0, 0.1, 0.5][rng.usize(0..3)],
            failing_index: rng.bool().then(|| (rng.u16(0..2), failing_from..=failing_from + rng.u32(0..tip))),
            extended_addresses_height: rng.u32(0..tip),
            v19_height,
            v20_height: v19_height + rng.u32(0..tip),
            ..SyntheticParams::regtest()
        };
        let fork = Fork { height: tip - rng.u32(1..60), seed: !number };
        let first = SyntheticChain::generate(number, &params).chain;
        let second = SyntheticChain::generate_fork(number, &params, fork).chain;
        Self { branches: [first.knowing(&second), second.knowing(&first)] }
    }

    pub(crate) fn network(&self) -> Network {
        self.branches[0].network()
    }
}

// === impl Peer ===

impl Peer {
    pub(crate) fn random(world: &World, rng: &mut fastrand::Rng) -> Self {
        let branch = rng.usize(0..2);
        let behind = if rng.bool() { 0 } else { rng.u32(0..50) };
        let chain = &world.branches[branch];
        Self {
            server: ServerVersion::ALL[rng.usize(0..3)],
            client_protocol: CLIENT_PROTOCOLS[rng.usize(0..CLIENT_PROTOCOLS.len())],
            branch,
            chain: chain.until(chain.tip() - behind),
        }
    }

    /// The same node to connect to.
    pub(crate) fn simulated(&self) -> SimulatedPeerBuilder {
        SimulatedPeer::builder(self.chain.clone()).server(self.server)
    }

    /// The reply, or `None` where the peer refuses.
    pub(crate) fn answer(&self, request: &Request) -> Option<Reply> {
        let session = ServerSession::new(self.server, self.client_protocol);
        builder::answer(&self.chain, &request.to_message(), session)?.ok()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, client_protocol, branch, chain } = self;
        write!(f, "a node of {server:?} on branch {branch} with tip {} for {client_protocol}", chain.tip())
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn random(world: &World, rng: &mut fastrand::Rng) -> Self {
        let branch = rng.usize(0..2);
        let whole = &world.branches[branch];
        let chain = whole.until(whole.tip() - [0, 3, rng.u32(0..40)][rng.usize(0..3)]);
        let newest = chain.network().cycles().start_of(chain.tip()).height();
        let first_cycle = (newest - CYCLE * rng.u32(0..8)).max(5 * CYCLE);
        // What a plan names must be there.
        let oldest = first_cycle - 4 * CYCLE - 8;
        let lowest = if rng.bool() { 0 } else { rng.u32(0..=oldest) };
        Self { branch, chain, lowest, first_cycle }
    }

    pub(crate) fn tip(&self) -> u32 {
        self.chain.tip()
    }

    /// All that the client has.
    pub(crate) fn headers(&self) -> HeaderMap {
        let hashes = (self.lowest..=self.tip()).map(|height| self.chain.block(height).unwrap().hash);
        hashes.map(|hash| (hash, self.find(&hash).unwrap())).collect()
    }

    /// A block of the client's own best chain.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        match self.chain.find(hash)? {
            Place::Active(height) if height >= self.lowest => {
                let header = BlockHeader::from_bytes(self.chain.block(height)?.header);
                Some(KnownBlock { height, merkle_root: header.merkle_root() })
            }
            _ => None,
        }
    }

    /// The other branch becomes the best chain.
    pub(crate) fn reorganise(&mut self, world: &World) {
        self.branch = 1 - self.branch;
        self.chain = world.branches[self.branch].clone();
    }

    /// The height of a list to start from, if the client is to start from one.
    pub(crate) fn start_list(&self, rng: &mut fastrand::Rng) -> Option<u32> {
        rng.bool().then(|| rng.u32(self.lowest.max(1)..=self.first_cycle))
    }

    pub(crate) fn mn_list_diff(&self, base: u32, target: u32) -> MnListDiffRequestSpec {
        let hash = |height| self.chain.block(height).unwrap().hash;
        MnListDiffRequestSpec { base_block_hash: hash(base), block_hash: hash(target) }
    }

    /// Requests for the cycles from the first to the newest.
    pub(crate) fn plan(
        &self,
        peers: &[Peer],
        known_lists: Vec<u32>,
        rng: &mut fastrand::Rng,
    ) -> Vec<QRInfoRequestSpec> {
        let planner = Planner {
            kind: if rng.bool() { PlanKind::Chained } else { PlanKind::FiveStep },
            known_lists: known_lists.into_iter().collect(),
            anchor: anchor(peers.iter().map(|peer| peer.chain.tip()).chain([self.tip()])).filter(|_| rng.bool()),
            extra_share: rng.u32(0..4) > 0,
            ..Planner::new(self.chain.network(), self.tip())
        };
        let hash_at = |height| self.chain.block(height).filter(|_| height >= self.lowest).map(|block| block.hash);
        if rng.u32(0..4) > 0 {
            return planner.plan(self.first_cycle, self.tip(), hash_at).unwrap();
        }
        let plan = planner.plan_newest_first(self.first_cycle, self.tip(), hash_at).unwrap();
        plan.into_iter().map(|(spec, _)| spec).collect()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { branch, chain, lowest, first_cycle } = self;
        let tip = chain.tip();
        write!(f, "a client with headers {lowest} to {tip} of branch {branch}, whose plan starts at {first_cycle}")
    }
}
