//! What [`Level::Full`](crate::Level::Full) adds: the members of a reply's quorums, and their signatures.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use qrinfo_core::{
    LlmqType, Network, ProTxHash,
    dip24::WORK_BLOCK_OFFSET,
    hash::sha256d,
    llmq::LlmqParams,
    message::{Commitment, QuorumSnapshot, SmlEntry},
    wire::Wire,
};

use crate::{
    Deregistered, Falsehood, Lists, Modifier, Proof, Quarters, QuorumCheck, QuorumProof, bls::is_legacy,
    rotated_members, top_members, verify_quorums,
};

/// A quorum whose commitment was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedQuorum {
    /// The commitment.
    pub commitment: Commitment,
    /// The members in the order of the commitment's bits; empty where what they are drawn from is not at hand.
    pub members: Vec<ProTxHash>,
    /// What its signatures prove.
    pub proof: QuorumProof,
}

/// A commitment of the reply that was not verified before.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) commitment: Commitment,
    /// The height of the quorum's block, where our headers have it.
    pub(crate) height: Option<u32>,
    pub(crate) id: CommitmentId,
}

/// A commitment by its quorum's height, or zero where that is not known, and the hash of all of its bytes.
pub(crate) type CommitmentId = (u32, [u8; 32]);

/// The lists and snapshots from which quorums are drawn, and what was drawn from them.
pub(crate) struct Draw<'a, L> {
    network: Network,
    lists_at: L,
    /// By work height.
    snapshots: BTreeMap<u32, &'a QuorumSnapshot>,
    past: BTreeMap<u32, Option<Quarters<'a>>>,
    members: BTreeMap<(u32, bool), Option<Vec<Vec<&'a SmlEntry>>>>,
}

/// What came of a reply's commitments.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) quorums: Vec<VerifiedQuorum>,
    /// Those that need not be verified again.
    pub(crate) settled: Vec<CommitmentId>,
    /// How many commitments are of types without parameters.
    pub(crate) unknown_types: usize,
    /// The work heights of the snapshots that a good signature hangs on.
    pub(crate) snapshots: BTreeSet<u32>,
}

// === impl Candidate ===

impl Candidate {
    pub(crate) fn new(commitment: Commitment, height: Option<u32>) -> Self {
        let id = (height.unwrap_or(0), sha256d(&commitment.to_wire()));
        Self { commitment, height, id }
    }
}

// === impl Draw ===

impl<'a, L: Fn(u32) -> Option<&'a Lists>> Draw<'a, L> {
    pub(crate) fn new(network: Network, snapshots: BTreeMap<u32, &'a QuorumSnapshot>, lists_at: L) -> Self {
        Self { network, lists_at, snapshots, past: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// Verifies commitments, on so many threads.
    pub(crate) fn verify(&mut self, candidates: Vec<Candidate>, threads: NonZeroUsize) -> Result<Outcome, Falsehood> {
        // Types that are not known are left to the merkle root.
        let mut unknown_types = 0;
        let known = candidates.into_iter().filter_map(|candidate| {
            let Some(params) = self.params(&candidate.commitment) else {
                unknown_types += 1;
                return None;
            };
            let members = candidate.height.and_then(|height| self.members(&params, &candidate.commitment, height));
            Some((candidate, params, members))
        });
        let known: Vec<_> = known.collect();
        let checks: Vec<_> = known
            .iter()
            .map(|(candidate, params, members)| QuorumCheck {
                params: *params,
                commitment: &candidate.commitment,
                members: members.as_deref(),
            })
            .collect();
        let verdicts = verify_quorums(&checks, threads);
        let mut outcome = Outcome { unknown_types, ..Outcome::default() };
        for ((candidate, params, members), verdict) in known.into_iter().zip(verdicts) {
            let Candidate { commitment, height, id } = candidate;
            let (llmq_type, quorum_hash) = (commitment.llmq_type, commitment.quorum_hash);
            let proof = verdict.map_err(|fault| Falsehood::Quorum { llmq_type, quorum_hash, fault })?;
            if params.rotated && proof.members_sig == Proof::Verified {
                let cycles = self.network.cycles();
                let back = |back| cycles.work_height_back(height.unwrap_or(0), back);
                outcome.snapshots.extend((1..=3).filter_map(back));
            }
            // A rotated quorum whose members are not known now may be verified by a later reply.
            if !params.rotated || proof.members_sig == Proof::Verified {
                outcome.settled.push(id);
            }
            let members = members.unwrap_or_default().into_iter().map(|member| member.pro_reg_tx_hash).collect();
            outcome.quorums.push(VerifiedQuorum { commitment, members, proof });
        }
        Ok(outcome)
    }

    /// The parameters of a commitment's type. Regtest chains and devnets choose the size of theirs, so there it is what
    /// the commitment says.
    fn params(&self, commitment: &Commitment) -> Option<LlmqParams> {
        let params = commitment.llmq_type.params()?;
        match self.network {
            Network::Regtest | Network::Devnet if !params.rotated => {
                let size = u16::try_from(commitment.signers.len()).ok()?;
                Some(LlmqParams { size, min_size: params.min_size.min(size), ..params })
            }
            _ => Some(params),
        }
    }

    /// The members of a quorum whose block is at `height`; `None` where something is not at hand.
    fn members(&mut self, params: &LlmqParams, commitment: &Commitment, height: u32) -> Option<Vec<&'a SmlEntry>> {
        if params.rotated {
            let index = u16::try_from(commitment.quorum_index?).ok()?;
            let cycle = height.checked_sub(u32::from(index))?;
            return self.rotated(cycle, is_legacy(commitment))?.get(usize::from(index)).cloned();
        }
        // The masternodes from which Platform's quorums are drawn on a devnet or regtest chain hang on its settings.
        let evo_only = match (self.network, commitment.llmq_type) {
            (Network::Mainnet, LlmqType(4)) | (Network::Testnet, LlmqType(6)) => !is_legacy(commitment),
            (Network::Devnet | Network::Regtest, LlmqType(106 | 107)) => return None,
            _ => false,
        };
        // Before v20 the quorum's own block takes the work block's place.
        let at_work = height.checked_sub(WORK_BLOCK_OFFSET).and_then(&self.lists_at).filter(|lists| lists.is_v20());
        let lists = at_work.or_else(|| (self.lists_at)(height).filter(|lists| !lists.is_v20()))?;
        Some(top_members(params, lists.masternodes().iter(), &modifier(lists, commitment.llmq_type), evo_only))
    }

    fn rotated(&mut self, cycle: u32, is_legacy: bool) -> Option<&Vec<Vec<&'a SmlEntry>>> {
        let key = (cycle, is_legacy);
        if !self.members.contains_key(&key) {
            let members = self.draw_rotated(cycle, is_legacy);
            self.members.insert(key, members);
        }
        self.members.get(&key)?.as_ref()
    }

    fn draw_rotated(&mut self, cycle: u32, is_legacy: bool) -> Option<Vec<Vec<&'a SmlEntry>>> {
        let params = self.network.rotated_params();
        let works = [1, 2, 3].map(|back| self.network.cycles().work_height_back(cycle, back));
        for work in works {
            let work = work?;
            if !self.past.contains_key(&work) {
                let quarters = self.draw_past(&params, work);
                self.past.insert(work, quarters);
            }
        }
        let past = |work: Option<u32>| self.past.get(&work?)?.as_ref();
        let [h_c, h_2c, h_3c] = works.map(past);
        let past = [h_c?, h_2c?, h_3c?];
        let lists = (self.lists_at)(self.network.cycles().work_height(cycle)?)?;
        let modifier = modifier(lists, params.llmq_type);
        let deregistered = match self.network {
            // Devnets and regtest chains choose their height of v19. The commitments tell.
            Network::Devnet | Network::Regtest if is_legacy => Deregistered::Used,
            network => Deregistered::at(network, cycle),
        };
        let new = Quarters::new(&params, lists.masternodes().iter(), &modifier, past, deregistered);
        Some(rotated_members(past, &new))
    }

    fn draw_past(&self, params: &LlmqParams, work_height: u32) -> Option<Quarters<'a>> {
        let snapshot = self.snapshots.get(&work_height)?;
        let lists = (self.lists_at)(work_height)?;
        Some(Quarters::past(params, lists.masternodes().iter(), &modifier(lists, params.llmq_type), snapshot))
    }
}

fn modifier(lists: &Lists, llmq_type: LlmqType) -> Modifier {
    Modifier::new(llmq_type, lists.height(), &lists.block_hash(), lists.chain_lock())
}
