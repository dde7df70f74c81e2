//! A chain learnt from recorded replies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use qrinfo_core::{
    BlockHash, Cycles, LlmqType, ProTxHash, QuorumHash, WORK_BLOCK_OFFSET,
    message::{Commitment, MnListDiff, QRInfo, QuorumSnapshot, SmlEntry},
    wire::{DecodeError, Wire},
};

use super::{Block, BlockBody, Chain, ChainData, MasternodeLog, MinedQuorum, QuorumLog};
use crate::{Answer, Exchange, Recording};

/// The reasons for which a chain cannot be rebuilt from a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A reply is malformed.
    #[error("the reply of exchange {id} is malformed")]
    Reply {
        /// The exchange.
        id: u32,
        /// The error of the decoder.
        source: DecodeError,
    },
    /// A reply names a block that is not in the recorded headers.
    #[error("a reply names block {0}, which is not among the headers")]
    UnknownBlock(BlockHash),
    /// The replies do not lead to the list at their blocks: one that they start from is missing.
    #[error("no reply leads to the list at height {0}")]
    NoList(u32),
    /// Two replies say different things of one block, or the rules do not lead to what they say.
    #[error("replies contradict each other, or the rules, at height {0}")]
    Contradiction(u32),
}

type QuorumKey = (LlmqType, QuorumHash);

/// The lists at one height.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    masternodes: BTreeMap<ProTxHash, Arc<SmlEntry>>,
    quorums: BTreeMap<QuorumKey, Commitment>,
}

/// A diff with the heights that its hashes stand for.
#[derive(Debug)]
struct Step {
    base: u32,
    target: u32,
    diff: MnListDiff,
}

/// The quorums of some type that are active at some height, all of them.
#[derive(Debug, Default)]
struct Sightings(BTreeMap<LlmqType, BTreeMap<u32, BTreeSet<QuorumHash>>>);

// === impl Chain ===

impl Chain {
    /// Learns a chain from the replies of the chosen exchanges.
    ///
    /// They must lead from genesis to the list at every block that a reply leads to: for instance those whose bases
    /// are genesis, or those of one complete sync. The chain then knows the lists at those blocks and at the bases
    /// next to the tip, the blocks' coinbases, and the commitments and snapshots in the replies. It says of a height
    /// between two known ones what it knows of the lower one.
    ///
    /// # Errors
    /// [`LoadError`] if the replies are malformed, contradict each other, or leave a list out.
    pub fn from_recording(
        recording: &Recording,
        mut is_chosen: impl FnMut(&Exchange) -> bool,
    ) -> Result<Self, LoadError> {
        let mut replies = Vec::new();
        for exchange in recording.exchanges() {
            if let Answer::Reply(reply) = &exchange.answer
                && is_chosen(exchange)
            {
                let id = exchange.id;
                let reply = QRInfo::from_wire(reply.clone()).map_err(|source| LoadError::Reply { id, source })?;
                replies.push((exchange.height, reply));
            }
        }
        let height_of = |hash: &BlockHash| recording.height(hash).ok_or(LoadError::UnknownBlock(*hash));

        let mut steps = Vec::new();
        for diff in replies.iter().flat_map(|(_, reply)| reply.diffs()) {
            let (base, target) = (height_of(&diff.base_block_hash)?, height_of(&diff.block_hash)?);
            steps.push(Step { base, target, diff: diff.clone() });
        }
        steps.sort_by_key(|step| (step.target, step.base));

        let bodies = bodies(&steps)?;
        let mut states = forward(&steps)?;
        backward(&steps, &mut states);

        let mut commitments: BTreeMap<QuorumKey, Commitment> = BTreeMap::new();
        let mut sightings = Sightings::default();
        for (height, state) in &states {
            sightings.add(*height, state.quorums.keys());
            commitments.extend(state.quorums.clone());
        }
        for (height, reply) in &replies {
            let last = reply.last_commitment_per_index.iter().map(|last| ((last.llmq_type, last.quorum_hash), last));
            let last: BTreeMap<_, _> = last.collect();
            sightings.add(*height, last.keys());
            commitments.extend(last);
        }

        let cycles = recording.network().cycles();
        let chain = Self::new(ChainData {
            network: recording.network(),
            // A recording does not tell; every node that can be recorded today has it active where quorums rotate.
            v19_height: 0,
            v20_height: v20_height(&bodies),
            masternodes: masternodes(&states),
            quorums: quorums(commitments, &sightings, &chain_lock_signatures(&steps), height_of)?,
            snapshots: snapshots(&replies, cycles, height_of)?,
            heights: (0..).zip(recording.headers()).filter_map(|(h, _)| Some((recording.block_hash(h)?, h))).collect(),
            blocks: blocks(recording, bodies),
        });
        sightings.check(&chain)?;
        Ok(chain)
    }
}

fn blocks(recording: &Recording, mut bodies: BTreeMap<u32, BlockBody>) -> Vec<Block> {
    let headers = (0..).zip(recording.headers());
    headers
        .filter_map(|(height, header)| {
            let hash = recording.block_hash(height)?;
            Some(Block { hash, header: *header, body: bodies.remove(&height) })
        })
        .collect()
}

fn bodies(steps: &[Step]) -> Result<BTreeMap<u32, BlockBody>, LoadError> {
    let mut bodies = BTreeMap::new();
    for Step { target, diff, .. } in steps {
        let body = BlockBody {
            total_transactions: diff.total_transactions,
            merkle_hashes: diff.merkle_hashes.clone(),
            merkle_flags: diff.merkle_flags.clone(),
            coinbase: diff.coinbase.clone(),
        };
        if bodies.get(target).is_some_and(|known| *known != body) {
            return Err(LoadError::Contradiction(*target));
        }
        bodies.insert(*target, body);
    }
    Ok(bodies)
}

/// Applies the steps in the order of their targets, starting from the empty list of genesis.
fn forward(steps: &[Step]) -> Result<BTreeMap<u32, State>, LoadError> {
    let mut states = BTreeMap::from([(0, State::default())]);
    for step in steps {
        let Some(base) = states.get(&step.base) else { continue };
        let state = step.apply(base);
        match states.get(&step.target) {
            Some(known) if *known != state => return Err(LoadError::Contradiction(step.target)),
            _ => states.insert(step.target, state),
        };
    }
    match steps.iter().find(|step| !states.contains_key(&step.target)) {
        Some(step) => Err(LoadError::NoList(step.target)),
        None => Ok(states),
    }
}

/// Takes back the steps whose base is no other step's target, such as an anchor next to the tip.
fn backward(steps: &[Step], states: &mut BTreeMap<u32, State>) {
    for step in steps {
        if states.contains_key(&step.base) {
            continue;
        }
        let before = states.range(..step.base).next_back().map(|(_, state)| state.clone()).unwrap_or_default();
        if let Some(target) = states.get(&step.target) {
            let state = step.take_back(target, &before);
            states.insert(step.base, state);
        }
    }
}

impl Step {
    fn apply(&self, base: &State) -> State {
        let mut state = base.clone();
        for hash in &self.diff.deleted_masternodes {
            state.masternodes.remove(&hash);
        }
        for entry in &self.diff.new_masternodes {
            state.masternodes.insert(entry.pro_reg_tx_hash, Arc::new(entry));
        }
        for quorum in &self.diff.deleted_quorums {
            state.quorums.remove(&(quorum.llmq_type, quorum.quorum_hash));
        }
        for quorum in &self.diff.new_quorums {
            state.quorums.insert((quorum.llmq_type, quorum.quorum_hash), quorum);
        }
        state
    }

    /// The state at the base: what the step does not touch is as at the target, the rest as it was before.
    fn take_back(&self, target: &State, before: &State) -> State {
        let mut state = target.clone();
        let touched = self.diff.new_masternodes.iter().map(|entry| entry.pro_reg_tx_hash);
        for hash in touched.chain(&self.diff.deleted_masternodes) {
            match before.masternodes.get(&hash) {
                Some(entry) => state.masternodes.insert(hash, Arc::clone(entry)),
                None => state.masternodes.remove(&hash),
            };
        }
        for quorum in &self.diff.new_quorums {
            state.quorums.remove(&(quorum.llmq_type, quorum.quorum_hash));
        }
        for quorum in &self.diff.deleted_quorums {
            let key = (quorum.llmq_type, quorum.quorum_hash);
            if let Some(commitment) = before.quorums.get(&key) {
                state.quorums.insert(key, commitment.clone());
            }
        }
        state
    }
}

fn masternodes(states: &BTreeMap<u32, State>) -> MasternodeLog {
    let mut log = MasternodeLog::default();
    for ((_, before), (height, state)) in states.iter().zip(states.iter().skip(1)) {
        for (hash, entry) in &state.masternodes {
            if before.masternodes.get(hash) != Some(entry) {
                log.set(*height, Arc::clone(entry));
            }
        }
        for hash in before.masternodes.keys().filter(|hash| !state.masternodes.contains_key(hash)) {
            log.remove(*height, *hash);
        }
    }
    log
}

/// The ChainLock signature that each quorum's members were drawn with, as diffs tell it.
fn chain_lock_signatures(steps: &[Step]) -> HashMap<QuorumKey, [u8; 96]> {
    let mut signatures = HashMap::new();
    for Step { diff, .. } in steps {
        let quorums = diff.new_quorums.to_vec();
        for group in &diff.quorums_cl_sigs {
            let of_group = group.indexes.iter().filter_map(|index| quorums.get(usize::from(*index)));
            signatures.extend(of_group.map(|quorum| ((quorum.llmq_type, quorum.quorum_hash), group.signature)));
        }
    }
    signatures
}

fn quorums(
    commitments: BTreeMap<QuorumKey, Commitment>,
    sightings: &Sightings,
    signatures: &HashMap<QuorumKey, [u8; 96]>,
    height_of: impl Fn(&BlockHash) -> Result<u32, LoadError>,
) -> Result<QuorumLog, LoadError> {
    let mut quorums = Vec::new();
    for (key, commitment) in commitments {
        let height = height_of(&BlockHash::from_bytes(*commitment.quorum_hash.as_bytes()))?;
        let mined_height = sightings.mined_height(key, height).ok_or(LoadError::Contradiction(height))?;
        let chain_lock_signature = signatures.get(&key).copied().unwrap_or([0; 96]);
        quorums.push(Arc::new(MinedQuorum { commitment, height, mined_height, chain_lock_signature }));
    }
    quorums.sort_by_key(|quorum| (quorum.mined_height, quorum.height));
    let mut log = QuorumLog::default();
    quorums.into_iter().for_each(|quorum| log.push(quorum));
    Ok(log)
}

fn snapshots(
    replies: &[(u32, QRInfo)],
    cycles: Cycles,
    height_of: impl Fn(&BlockHash) -> Result<u32, LoadError>,
) -> Result<BTreeMap<u32, QuorumSnapshot>, LoadError> {
    let mut snapshots = BTreeMap::new();
    for (_, reply) in replies {
        let extra = reply.extra_share.as_ref();
        let named = [
            (&reply.mn_list_diff_at_h_minus_c, &reply.quorum_snapshot_at_h_minus_c),
            (&reply.mn_list_diff_at_h_minus_2c, &reply.quorum_snapshot_at_h_minus_2c),
            (&reply.mn_list_diff_at_h_minus_3c, &reply.quorum_snapshot_at_h_minus_3c),
        ];
        let extra = extra.map(|extra| (&extra.mn_list_diff_at_h_minus_4c, &extra.quorum_snapshot_at_h_minus_4c));
        let trailing = reply.mn_list_diff_list.iter().zip(&reply.quorum_snapshot_list);
        for (diff, snapshot) in named.into_iter().chain(extra).chain(trailing) {
            let cycle = cycles.start_of(height_of(&diff.block_hash)?.saturating_add(WORK_BLOCK_OFFSET)).height();
            if snapshots.get(&cycle).is_some_and(|known| known != snapshot) {
                return Err(LoadError::Contradiction(cycle));
            }
            snapshots.insert(cycle, snapshot.clone());
        }
    }
    Ok(snapshots)
}

/// Coinbases have carried the ChainLock's signature since v20.
fn v20_height(bodies: &BTreeMap<u32, BlockBody>) -> u32 {
    let has_pool = |body: &BlockBody| body.payload().is_some_and(|payload| payload.credit_pool.is_some());
    bodies.iter().find(|(_, body)| has_pool(body)).map_or(u32::MAX, |(height, _)| *height)
}

// === impl Sightings ===

impl Sightings {
    fn add<'a>(&mut self, height: u32, quorums: impl Iterator<Item = &'a QuorumKey>) {
        for (llmq_type, hash) in quorums {
            self.0.entry(*llmq_type).or_default().entry(height).or_default().insert(*hash);
        }
    }

    /// A height at which a quorum's commitment may have been mined, given where it is first seen and, before that,
    /// where others of its type are seen and it is not.
    fn mined_height(&self, (llmq_type, hash): QuorumKey, height: u32) -> Option<u32> {
        let params = llmq_type.params()?;
        let seen = self.0.get(&llmq_type)?;
        let (&first, _) = seen.iter().find(|(_, quorums)| quorums.contains(&hash))?;
        let missing = seen.range(..first).next_back().map_or(0, |(height, _)| height + 1);
        let window = params.mining_window(height - height % params.interval);
        Some((*window.start()).clamp(missing, first))
    }

    /// Checks that the rules for active quorums lead to the recorded replies.
    fn check(&self, chain: &Chain) -> Result<(), LoadError> {
        for (llmq_type, seen) in &self.0 {
            for (height, quorums) in seen {
                let active = chain.quorums().active_at(*height).into_keys();
                let active: BTreeSet<_> = active.filter(|key| key.0 == *llmq_type).map(|key| key.1).collect();
                if active != *quorums {
                    return Err(LoadError::Contradiction(*height));
                }
            }
        }
        Ok(())
    }
}
