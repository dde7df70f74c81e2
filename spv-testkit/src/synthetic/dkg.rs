use std::{collections::BTreeMap, sync::Arc};

use qrinfo_core::{
    Hash256, LlmqParams, QuorumHash,
    message::{Commitment, SmlEntry},
    wire::Bits,
};

use super::{KeyRing, SyntheticParams, random_bytes};

/// The DKGs that are in progress and will succeed, by the height at which their commitment is mined.
#[derive(Debug, Default)]
pub(super) struct DkgSchedule {
    by_mined_height: BTreeMap<u32, Vec<Dkg>>,
}

/// A DKG that will end in a commitment.
#[derive(Debug)]
pub(super) struct Dkg {
    pub(super) params: LlmqParams,
    /// The height at which it starts; of a rotated quorum, its cycle.
    pub(super) start: u32,
    /// The index of a rotated quorum.
    pub(super) index: Option<u16>,
}

// === impl DkgSchedule ===

impl DkgSchedule {
    /// Starts the DKGs of the block at `height`, but for those that are bound to fail.
    pub(super) fn step(&mut self, height: u32, params: &SyntheticParams, rng: &mut fastrand::Rng) {
        for llmq in params.llmq_types(height).into_iter().filter_map(|llmq_type| params.network.llmq_params(llmq_type))
        {
            if !height.is_multiple_of(llmq.interval) {
                continue;
            }
            let indexes = if llmq.rotated { (0..llmq.active).map(Some).collect() } else { vec![None] };
            for index in indexes {
                // A miner takes up a commitment as soon as it may; some come a little later.
                let window = llmq.mining_window(height);
                let late = if rng.u32(0..4) == 0 { rng.u32(0..=window.end() - window.start()) } else { 0 };
                if rng.f64() >= params.failed_dkgs && !params.fails(height, index) {
                    let dkg = Dkg { params: llmq, start: height, index };
                    self.by_mined_height.entry(window.start() + late).or_default().push(dkg);
                }
            }
        }
    }

    /// Takes the DKGs whose commitments are mined at `height`.
    pub(super) fn due(&mut self, height: u32) -> Vec<Dkg> {
        self.by_mined_height.remove(&height).unwrap_or_default()
    }
}

// === impl Dkg ===

impl Dkg {
    /// The commitment that these members make.
    pub(super) fn commitment(
        &self,
        quorum_hash: QuorumHash,
        members: &[Arc<SmlEntry>],
        is_basic: bool,
        keys: &mut KeyRing,
        rng: &mut fastrand::Rng,
    ) -> Commitment {
        let size = usize::from(self.params.size);
        // As many may be missing as leaves the quorum its least size; mostly nearly all are there.
        let spare = members.len().saturating_sub(usize::from(self.params.min_size));
        let missing = rng.usize(0..=spare.div_ceil(3).min(spare));
        let mut valid: Vec<bool> = (0..size).map(|place| place < members.len()).collect();
        for _ in 0..missing {
            if let Some(place) = valid.get_mut(rng.usize(0..members.len())) {
                *place = false;
            }
        }
        let valid_members: Bits = valid.into_iter().collect();
        let mut commitment = Commitment {
            version: match (is_basic, self.index) {
                (false, None) => 1,
                (false, Some(_)) => 2,
                (true, None) => 3,
                (true, Some(_)) => 4,
            },
            llmq_type: self.params.llmq_type,
            quorum_hash,
            quorum_index: self.index.and_then(|index| i16::try_from(index).ok()),
            signers: valid_members.clone(),
            valid_members,
            quorum_public_key: [0; 48],
            quorum_vvec_hash: Hash256::from_bytes(random_bytes(rng)),
            quorum_sig: [0; 96],
            members_sig: [0; 96],
        };
        keys.commit(&mut commitment, members, rng);
        commitment
    }
}
