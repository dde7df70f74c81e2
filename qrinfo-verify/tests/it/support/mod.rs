//! Lists, snapshots and commitments out of recorded replies, applied with a few plain lines: no root is checked here.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use qrinfo_core::{
    BlockHash, LlmqParams, LlmqType, Network, ProTxHash, QuorumHash,
    message::{Commitment, CreditPool, MnListDiff, QRInfo, QuorumSnapshot, SmlEntry},
    wire::Wire,
};
use qrinfo_verify::{Deregistered, Modifier, Quarters, rotated_members, top_members};
use spv_testkit::{Answer, Recording};

/// The facts of a chain in its recorded replies.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) network: Network,
    pub(crate) heights: HashMap<BlockHash, u32>,
    pub(crate) states: BTreeMap<u32, State>,
    /// By the start of their cycle.
    pub(crate) snapshots: BTreeMap<u32, QuorumSnapshot>,
    /// By height of the quorum's block, so by cycle and index.
    pub(crate) rotated: BTreeMap<u32, Commitment>,
}

/// The lists at a block.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) hash: BlockHash,
    pub(crate) list: BTreeMap<ProTxHash, SmlEntry>,
    pub(crate) quorums: BTreeMap<(LlmqType, QuorumHash), Commitment>,
    pub(crate) credit_pool: Option<CreditPool>,
}

impl Facts {
    fn new(network: Network, heights: HashMap<BlockHash, u32>) -> Self {
        let (snapshots, rotated) = Default::default();
        Self { network, heights, states: BTreeMap::from([(0, State::default())]), snapshots, rotated }
    }

    /// Everything that the longest recorded sync brings.
    pub(crate) fn of_recording(recording: &Recording) -> Self {
        let heights = (0..=recording.tip()).map(|height| (recording.block_hash(height).unwrap(), height)).collect();
        let mut facts = Self::new(recording.network(), heights);
        let sync = recording.complete_syncs().iter().min_by_key(|sync| sync.first_cycle).unwrap();
        for exchange in recording.exchanges_of(sync) {
            let Answer::Reply(reply) = &exchange.answer else { panic!("a refusal in a complete sync") };
            facts.take(&QRInfo::from_wire(reply.clone()).unwrap());
        }
        facts
    }

    pub(crate) fn bundled() -> Self {
        Self::of_recording(&Recording::bundled().unwrap())
    }

    /// One of the whole recordings, where they are at hand.
    pub(crate) fn shared(name: &str) -> Option<Self> {
        Recording::shared(name).unwrap().as_ref().map(Self::of_recording)
    }

    /// The recorded `qrinfo` of mainnet and the full list below it.
    pub(crate) fn mainnet() -> Option<Self> {
        let blocks: serde_json::Value = json(&shared_file("mainnet/mainnet_blocks_2240504.json")?);
        let hashes = blocks["hashByHeight"].as_object().unwrap();
        let heights =
            hashes.iter().map(|(height, hash)| (hash.as_str().unwrap().parse().unwrap(), height.parse().unwrap()));
        let mut facts = Self::new(Network::Mainnet, heights.collect());
        let read = |name| fs::read(shared_file(name).unwrap()).unwrap();
        facts.apply(&MnListDiff::from_wire(read("mainnet/mainnet_mnlistdiff_0_2227096.bin")).unwrap());
        facts.take(&QRInfo::from_wire(read("mainnet/mainnet_qrinfo_2240504.bin")).unwrap());
        Some(facts)
    }

    /// The recorded steps of 24 blocks up to 2240464, on top of [`mainnet`](Self::mainnet).
    pub(crate) fn apply_mainnet_chain(&mut self) {
        let heights = [2_239_480, 2_239_768].into_iter().chain((2_239_912..=2_240_464).step_by(24));
        let heights: Vec<u32> = heights.collect();
        for step in heights.windows(2) {
            let name = format!("mainnet/mainnet_mnlistdiff_{}_{}.bin", step[0], step[1]);
            self.apply(&MnListDiff::from_wire(fs::read(shared_file(&name).unwrap()).unwrap()).unwrap());
        }
    }

    pub(crate) fn take(&mut self, reply: &QRInfo) {
        let mut diffs: Vec<_> = reply.diffs().collect();
        diffs.sort_by_key(|diff| self.heights[&diff.block_hash]);
        diffs.into_iter().for_each(|diff| self.apply(diff));
        let extra = reply.extra_share.as_ref().unwrap();
        let with_lists = [
            (&reply.mn_list_diff_at_h_minus_c, &reply.quorum_snapshot_at_h_minus_c),
            (&reply.mn_list_diff_at_h_minus_2c, &reply.quorum_snapshot_at_h_minus_2c),
            (&reply.mn_list_diff_at_h_minus_3c, &reply.quorum_snapshot_at_h_minus_3c),
            (&extra.mn_list_diff_at_h_minus_4c, &extra.quorum_snapshot_at_h_minus_4c),
        ];
        let trailing = reply.mn_list_diff_list.iter().zip(&reply.quorum_snapshot_list);
        for (diff, snapshot) in with_lists.into_iter().chain(trailing) {
            self.snapshots.insert(self.heights[&diff.block_hash] + 8, snapshot.clone());
        }
        for commitment in &reply.last_commitment_per_index {
            self.add_rotated(&commitment);
        }
    }

    pub(crate) fn apply(&mut self, diff: &MnListDiff) {
        let (base, target) = (self.heights[&diff.base_block_hash], self.heights[&diff.block_hash]);
        // Only a tip diff starts from a block in between: from an anchor.
        let Some(mut state) = self.states.get(&base).cloned() else { return };
        state.hash = diff.block_hash;
        diff.deleted_masternodes.iter().for_each(|hash| assert!(state.list.remove(&hash).is_some()));
        state.list.extend(diff.new_masternodes.iter().map(|entry| (entry.pro_reg_tx_hash, entry)));
        diff.deleted_quorums.iter().for_each(|gone| {
            assert!(state.quorums.remove(&(gone.llmq_type, gone.quorum_hash)).is_some());
        });
        for quorum in &diff.new_quorums {
            self.add_rotated(&quorum);
            state.quorums.insert((quorum.llmq_type, quorum.quorum_hash), quorum);
        }
        state.credit_pool = diff.coinbase.payload().unwrap().credit_pool.clone();
        self.states.insert(target, state);
    }

    fn add_rotated(&mut self, commitment: &Commitment) {
        if commitment.llmq_type == self.network.rotated_llmq()
            && let Some(height) = self.quorum_height(commitment)
        {
            self.rotated.insert(height, commitment.clone());
        }
    }

    pub(crate) fn params(&self) -> LlmqParams {
        self.network.rotated_params()
    }

    /// The height of the quorum's block, where it is known.
    pub(crate) fn quorum_height(&self, commitment: &Commitment) -> Option<u32> {
        self.heights.get(&BlockHash::from_bytes(*commitment.quorum_hash.as_bytes())).copied()
    }

    pub(crate) fn modifier(&self, llmq_type: LlmqType, start: u32) -> Option<Modifier> {
        let state = self.states.get(&(start - 8))?;
        Some(Modifier::new(llmq_type, start - 8, &state.hash, state.chain_lock()))
    }

    pub(crate) fn past(&self, cycle: u32) -> Option<Quarters<'_>> {
        let list = self.states.get(&(cycle - 8))?.list.values();
        let modifier = self.modifier(self.network.rotated_llmq(), cycle)?;
        Some(Quarters::past(&self.params(), list, &modifier, self.snapshots.get(&cycle)?))
    }

    /// The members of each quorum of a cycle, if everything is there to draw them.
    pub(crate) fn rotated_members(&self, cycle: u32) -> Option<Vec<Vec<&SmlEntry>>> {
        let length = self.params().interval;
        let [h_c, h_2c, h_3c] = [1, 2, 3].map(|back| self.past(cycle - back * length));
        let past = [&h_c?, &h_2c?, &h_3c?];
        let list = self.states.get(&(cycle - 8))?.list.values();
        let modifier = self.modifier(self.network.rotated_llmq(), cycle)?;
        let deregistered = Deregistered::at(self.network, self.network.cycles().start_of(cycle));
        let new = Quarters::new(&self.params(), list, &modifier, past, deregistered);
        Some(rotated_members(past, &new))
    }

    /// The members of a quorum that is not rotated, if the list at its work block is there.
    pub(crate) fn top_members(&self, params: &LlmqParams, start: u32, evo_only: bool) -> Option<Vec<&SmlEntry>> {
        let list = self.states.get(&(start - 8))?.list.values();
        Some(top_members(params, list, &self.modifier(params.llmq_type, start)?, evo_only))
    }

    /// The rotated commitments with their members, and the height of the quorum's block; those of cycles from which
    /// everything is there.
    pub(crate) fn quorums(&self) -> Vec<(u32, &Commitment, Vec<&SmlEntry>)> {
        let length = self.params().interval;
        let starts: BTreeSet<u32> = self.rotated.keys().map(|height| height - height % length).collect();
        let drawn: BTreeMap<u32, _> =
            starts.into_iter().filter_map(|start| Some((start, self.rotated_members(start)?))).collect();
        let with_members = |(&height, commitment)| {
            let members = drawn.get(&(height - height % length))?;
            Some((height, commitment, members[(height % length) as usize].clone()))
        };
        self.rotated.iter().filter_map(with_members).collect()
    }
}

impl State {
    pub(crate) fn chain_lock(&self) -> Option<&[u8; 96]> {
        self.credit_pool.as_ref().map(|pool| &pool.best_cl_signature)
    }
}

/// A file among the vectors that are too big for the repository. Tells what is not tested where it is missing.
pub(crate) fn shared_file(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(path);
    if !file.is_file() {
        eprintln!("{} is missing: nothing is tested against it", file.display());
        return None;
    }
    Some(file)
}

pub(crate) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Bytes from hexadecimal.
pub(crate) fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}
