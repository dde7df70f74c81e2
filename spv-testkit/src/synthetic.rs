//! A made-up chain: everything that a node serves, from a seed.

mod block;
mod dkg;
mod keys;
mod params;
mod population;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use qrinfo_core::{
    BlockHash, LlmqParams, LlmqType, QuorumHash, WORK_BLOCK_OFFSET,
    message::{QuorumSnapshot, SmlEntry},
    sha256d,
    wire::Wire,
};
#[cfg(feature = "bls")]
use qrinfo_core::{
    Hash256,
    message::{InstantLock, OutPoint},
};

pub use params::{Keys, SyntheticParams};

use crate::chain::{Block, Chain, ChainData, MinedQuorum, Modifier, Quarters, QuorumLog, by_score, merkle_root};
use block::{BlockMaker, ChainLock};
use dkg::{Dkg, DkgSchedule};
use keys::KeyRing;
use population::Population;

/// A chain that a seed and [`SyntheticParams`] make up, the same each time.
///
/// Masternodes are registered, confirmed, updated, banned, revived and removed; quorums of every type of the network
/// are drawn by Dash Core's rules and their commitments mined in their windows, but for those whose DKG fails; the
/// coinbases carry the right roots and the headers the right merkle roots.
///
/// ```
/// use spv_testkit::{SyntheticChain, SyntheticParams};
///
/// let synthetic = SyntheticChain::generate(7, &SyntheticParams::regtest());
/// let chain = &synthetic.chain;
/// assert_eq!(chain.tip(), SyntheticParams::regtest().tip);
/// ```
#[derive(Debug, Clone)]
pub struct SyntheticChain {
    /// The chain, as a node that has all of it stores it.
    pub chain: Chain,
    members: HashMap<(LlmqType, QuorumHash), Vec<Arc<SmlEntry>>>,
    #[cfg_attr(not(feature = "bls"), expect(dead_code))]
    keys: Arc<KeyRing>,
}

/// The point at which a made-up chain branches off from another of the same seed and parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The height of the last block that both have.
    pub height: u32,
    /// The seed of what comes after.
    pub seed: u64,
}

/// The chain while it grows.
#[derive(Debug)]
struct World<'a> {
    params: &'a SyntheticParams,
    keys: KeyRing,
    maker: BlockMaker,
    blocks: Vec<Block>,
    population: Population,
    schedule: DkgSchedule,
    quorums: QuorumLog,
    quorum_root: [u8; 32],
    chain_lock: Option<ChainLock>,
    /// The quarters that each cycle's snapshot leads to.
    quarters: BTreeMap<u32, Quarters>,
    snapshots: BTreeMap<u32, QuorumSnapshot>,
    members: HashMap<(LlmqType, QuorumHash), Vec<Arc<SmlEntry>>>,
    cycles: BTreeMap<u32, Vec<Vec<Arc<SmlEntry>>>>,
}

// === impl SyntheticChain ===

impl SyntheticChain {
    /// Makes up the chain of this seed.
    pub fn generate(seed: u64, params: &SyntheticParams) -> Self {
        World::new(params).run(|_| seed)
    }

    /// Makes up a chain that is that of this seed up to the fork, and another one after it.
    pub fn generate_fork(seed: u64, params: &SyntheticParams, fork: Fork) -> Self {
        World::new(params).run(|height| if height > fork.height { fork.seed } else { seed })
    }

    /// The members of the quorum with this mined commitment, in order.
    pub fn members(&self, llmq_type: LlmqType, quorum_hash: QuorumHash) -> Option<&[Arc<SmlEntry>]> {
        self.members.get(&(llmq_type, quorum_hash)).map(Vec::as_slice)
    }

    /// Signs a message for a request as the quorum with this hash does, in the basic scheme. `None` if the chain has no
    /// such quorum, or no [real keys](Keys::Bls).
    #[cfg(feature = "bls")]
    pub fn sign(
        &self,
        llmq_type: LlmqType,
        quorum_hash: QuorumHash,
        request_id: &Hash256,
        message: &[u8; 32],
    ) -> Option<[u8; 96]> {
        self.keys.sign(llmq_type, quorum_hash, request_id.as_bytes(), message)
    }

    /// Makes the InstantSend lock of a transaction with this number, as Dash Core makes it when the newest block is at
    /// `height`: the index of the quorum is in the highest bits of the request's id but the first one, and the quorum is the
    /// newest of that index eight blocks below. `None` without such a quorum, or without [real keys](Keys::Bls).
    #[cfg(feature = "bls")]
    pub fn instant_lock(&self, height: u32, number: u32) -> Option<InstantLock> {
        let rotated = self.chain.network().rotated_params();
        let txid = Hash256::from_bytes(sha256d(&number.to_le_bytes()));
        let inputs = vec![OutPoint { txid: Hash256::from_bytes(sha256d(txid.as_bytes())), vout: number % 3 }];
        let lock = InstantLock { inputs, txid, cycle_hash: BlockHash::ZERO, signature: [0; 96] };
        let bits = u16::BITS - (rotated.active - 1).leading_zeros();
        let [.., low, high] = *lock.request_id().as_bytes();
        let index = u16::from_le_bytes([low, high]) >> (u16::BITS - 1 - bits) & ((1 << bits) - 1);
        let active = self.chain.quorums().active_at(height.checked_sub(8)?);
        let signer = active.values().find(|quorum| {
            let of_index = quorum.commitment.quorum_index.and_then(|at| u16::try_from(at).ok());
            (quorum.commitment.llmq_type, of_index) == (rotated.llmq_type, Some(index))
        })?;
        let cycle = self.chain.network().cycles().start_of(signer.height).height();
        let quorum_hash = signer.commitment.quorum_hash;
        let signature = self.sign(rotated.llmq_type, quorum_hash, &lock.request_id(), txid.as_bytes())?;
        Some(InstantLock { cycle_hash: self.chain.block(cycle)?.hash, signature, ..lock })
    }
}

// === impl World ===

impl<'a> World<'a> {
    fn new(params: &'a SyntheticParams) -> Self {
        Self {
            params,
            keys: KeyRing::new(params.keys),
            maker: BlockMaker::new(params),
            blocks: vec![block::genesis(params.network)],
            population: Population::default(),
            schedule: DkgSchedule::default(),
            quorums: QuorumLog::default(),
            quorum_root: [0; 32],
            chain_lock: None,
            quarters: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            members: HashMap::new(),
            cycles: BTreeMap::new(),
        }
    }

    fn run(mut self, seed: impl Fn(u32) -> u64) -> SyntheticChain {
        for height in 1..=self.params.tip {
            self.grow(height, &mut rng(seed(height), height));
        }
        let heights = self.blocks.iter().map(|block| block.hash).zip(0..).collect();
        let chain = Chain::new(ChainData {
            network: self.params.network,
            v19_height: self.params.v19_height,
            v20_height: self.params.v20_height,
            blocks: self.blocks,
            heights,
            masternodes: self.population.into_log(),
            quorums: self.quorums,
            snapshots: self.snapshots,
        });
        SyntheticChain { chain, members: self.members, keys: Arc::new(self.keys) }
    }

    fn grow(&mut self, height: u32, rng: &mut fastrand::Rng) {
        self.population.step(height, self.hash_at(height - 1), self.params, &mut self.keys, rng);
        self.schedule.step(height, self.params, rng);
        if height.is_multiple_of(self.params.network.cycles().length()) {
            self.draw_cycle(height);
        }
        self.mine_commitments(height, rng);
        self.update_chain_lock(height, rng);
        let roots = (self.population.root(), self.quorum_root);
        let parent = self.hash_at(height - 1);
        self.blocks.push(self.maker.make(height, parent, roots, self.chain_lock, rng));
    }

    fn hash_at(&self, height: u32) -> BlockHash {
        self.blocks.get(height as usize).map(|block| block.hash).unwrap_or_default()
    }

    fn is_v19(&self, height: u32) -> bool {
        height >= self.params.v19_height
    }

    /// The ChainLock signature in the coinbase of the work block of a DKG that starts at `start`.
    fn signature_for(&self, start: u32) -> Option<[u8; 96]> {
        let work = start.checked_sub(WORK_BLOCK_OFFSET)?;
        self.blocks.get(work as usize)?.body.as_ref()?.chain_lock_signature()
    }

    fn modifier(&self, llmq_type: LlmqType, start: u32) -> Option<Modifier> {
        let work = start.checked_sub(WORK_BLOCK_OFFSET)?;
        Some(Modifier::new(llmq_type, work, &self.hash_at(work), self.signature_for(start)))
    }

    /// Draws the members of the rotated quorums of the cycle that starts at `cycle`, and stores its snapshot.
    fn draw_cycle(&mut self, cycle: u32) {
        let params = self.params.network.rotated_params();
        let Some(work) = cycle.checked_sub(WORK_BLOCK_OFFSET) else { return };
        let Some(modifier) = self.modifier(params.llmq_type, cycle) else { return };
        let list = self.population.log().core_order(work);
        let past = [1, 2, 3].map(|back| {
            let start = cycle.checked_sub(back * params.interval);
            let known = start.and_then(|start| self.quarters.get(&start));
            known.cloned().unwrap_or_else(|| Quarters::empty(&params))
        });
        let Some((new, snapshot)) = Quarters::new(&params, &list, modifier, &past, self.is_v19(cycle)) else { return };
        // The first three cycles only lay quarters for the later ones.
        if cycle.checked_sub(3 * params.interval).is_some_and(|oldest| self.quarters.contains_key(&oldest)) {
            self.cycles.insert(cycle, Quarters::members(&past, &new));
        }
        self.quarters.insert(cycle, Quarters::from_snapshot(&params, &list, modifier, &snapshot));
        self.snapshots.insert(cycle, snapshot);
    }

    /// The members of a quorum that is not rotated: the masternodes with the highest scores.
    fn draw_plain(&self, params: &LlmqParams, start: u32) -> Vec<Arc<SmlEntry>> {
        let is_v20 = start >= self.params.v20_height;
        let (list_height, modifier) = if is_v20 {
            (start.saturating_sub(WORK_BLOCK_OFFSET), self.modifier(params.llmq_type, start))
        } else {
            // Before v20 the DKG's own block takes the work block's place.
            (start, Some(Modifier::new(params.llmq_type, start, &self.hash_at(start), None)))
        };
        let Some(modifier) = modifier else { return Vec::new() };
        let only_evo = params.llmq_type == self.params.platform_llmq() && self.is_v19(start);
        let list = self.population.log().at(list_height).filter(|entry| !only_evo || population::is_evo(entry));
        let mut members = by_score(list, modifier);
        members.truncate(usize::from(params.size));
        members
    }

    fn mine_commitments(&mut self, height: u32, rng: &mut fastrand::Rng) {
        let due = self.schedule.due(height);
        if due.is_empty() {
            return;
        }
        for dkg in due {
            let members = match dkg.index {
                Some(index) => self.cycles.get(&dkg.start).and_then(|cycle| cycle.get(usize::from(index))).cloned(),
                None => Some(self.draw_plain(&dkg.params, dkg.start)),
            };
            // A quorum that cannot be filled makes no commitment.
            let Some(members) = members.filter(|members| members.len() >= usize::from(dkg.params.min_size)) else {
                continue;
            };
            self.mine(height, &dkg, members, rng);
        }
        let active = self.quorums.active_at(height).into_values();
        let mut leaves: Vec<_> = active.map(|quorum| sha256d(&quorum.commitment.to_wire())).collect();
        leaves.sort_unstable();
        self.quorum_root = merkle_root(leaves);
    }

    fn mine(&mut self, mined_height: u32, dkg: &Dkg, members: Vec<Arc<SmlEntry>>, rng: &mut fastrand::Rng) {
        let height = dkg.start + u32::from(dkg.index.unwrap_or(0));
        let quorum_hash = QuorumHash::from_bytes(*self.hash_at(height).as_bytes());
        let commitment = dkg.commitment(quorum_hash, &members, self.is_v19(dkg.start), &mut self.keys, rng);
        self.members.insert((dkg.params.llmq_type, quorum_hash), members);
        let chain_lock_signature = self.signature_for(dkg.start).unwrap_or([0; 96]);
        self.quorums.push(Arc::new(MinedQuorum { commitment, height, mined_height, chain_lock_signature }));
    }

    /// Now and then a miner does not know the parent's ChainLock and repeats the one before.
    fn update_chain_lock(&mut self, height: u32, rng: &mut fastrand::Rng) {
        let Some(locked) = height.checked_sub(1).filter(|locked| *locked >= self.params.v20_height) else { return };
        if rng.f64() < self.params.late_chain_locks {
            return;
        }
        let hash = self.hash_at(locked);
        let signature = self.keys.chain_lock(self.params.network.chain_lock_llmq(), locked, hash, &self.quorums, rng);
        if let Some(signature) = signature {
            self.chain_lock = Some(ChainLock { height: locked, signature });
        }
    }
}

/// Each block has a generator of its own, so that chains of one seed share their blocks up to a fork.
fn rng(seed: u64, height: u32) -> fastrand::Rng {
    let mut input = seed.to_le_bytes().to_vec();
    input.extend(height.to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..] = sha256d(&input);
    fastrand::Rng::with_seed(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

fn random_bytes<const N: usize>(rng: &mut fastrand::Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}
