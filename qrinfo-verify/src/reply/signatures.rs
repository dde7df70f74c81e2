//! The signatures of a reply's commitments, which [`Level::Full`](crate::Level::Full) verifies.

use std::{collections::BTreeSet, num::NonZeroUsize};

use qrinfo_core::{Network, ProTxHash, message::Commitment, sha256d, wire::Wire};

use super::error::Falsehood;
use crate::{
    lists::Lists,
    quorum::{MemberSelector, Proof, QuorumCheck, QuorumProof, Unverified, verify_quorums},
};

/// A quorum whose commitment was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedQuorum {
    /// The commitment.
    pub commitment: Commitment,
    /// The members in the order of the commitment's bits. Empty if a list or snapshot from which they are selected is
    /// missing, and if the members that were selected did not sign ([`Unverified::LegacyMembers`]).
    pub members: Vec<ProTxHash>,
    /// The result for each of its signatures.
    pub proof: QuorumProof,
}

/// A commitment of the reply that was not verified before.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) commitment: Commitment,
    /// The height of the quorum's block, if our headers have it.
    pub(crate) height: Option<u32>,
    pub(crate) id: CommitmentId,
}

/// A commitment by its quorum's height, or zero if that is unknown, and the hash of all of its bytes.
pub(crate) type CommitmentId = (u32, [u8; 32]);

/// The results for a reply's commitments.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) quorums: Vec<VerifiedQuorum>,
    /// Commitments that need not be verified again.
    pub(crate) done: Vec<CommitmentId>,
    /// The number of commitments of types without parameters.
    pub(crate) unknown_types: usize,
    /// The work heights of the snapshots that a verified members' signature depends on.
    pub(crate) snapshots: BTreeSet<u32>,
}

/// Verifies commitments on up to `threads` threads. Commitments of unknown types are left to the merkle root.
pub(crate) fn verify<'a, L: Fn(u32) -> Option<&'a Lists>>(
    network: Network,
    mut selector: MemberSelector<'a, L>,
    candidates: Vec<Candidate>,
    threads: NonZeroUsize,
) -> Result<Outcome, Falsehood> {
    let mut outcome = Outcome::default();
    let mut known = Vec::new();
    for candidate in candidates {
        let Some(params) = selector.params(&candidate.commitment) else {
            outcome.unknown_types += 1;
            continue;
        };
        let members = candidate.height.and_then(|height| selector.members(&params, &candidate.commitment, height));
        known.push((candidate, params, members));
    }
    let checks: Vec<_> = known
        .iter()
        .map(|(candidate, params, members)| QuorumCheck {
            params: *params,
            commitment: &candidate.commitment,
            members: members.as_deref(),
        })
        .collect();
    let verdicts = verify_quorums(&checks, threads);
    for ((candidate, params, members), verdict) in known.into_iter().zip(verdicts) {
        let Candidate { commitment, height, id } = candidate;
        let (llmq_type, quorum_hash) = (commitment.llmq_type, commitment.quorum_hash);
        let proof = verdict.map_err(|fault| Falsehood::Quorum { llmq_type, quorum_hash, fault })?;
        let is_signed = proof.members_sig == Proof::Verified;
        if params.rotated && is_signed {
            let cycle = network.cycles().start_of(height.unwrap_or(0));
            let back = |back| network.cycles().work_height_back(cycle, back);
            outcome.snapshots.extend((1..=3).filter_map(back));
        }
        // A later reply may bring what is needed to verify a rotated quorum.
        if !params.rotated || is_signed {
            outcome.done.push(id);
        }
        let members = members.filter(|_| proof.members_sig != Proof::Unverified(Unverified::LegacyMembers));
        let members = members.unwrap_or_default().into_iter().map(|member| member.pro_reg_tx_hash).collect();
        outcome.quorums.push(VerifiedQuorum { commitment, members, proof });
    }
    Ok(outcome)
}

// === impl Candidate ===

impl Candidate {
    pub(crate) fn new(commitment: Commitment, height: Option<u32>) -> Self {
        let id = (height.unwrap_or(0), sha256d(&commitment.to_wire()));
        Self { commitment, height, id }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::collections::BTreeMap;

    use qrinfo_core::{LlmqType, message::QRInfo};
    use spv_testkit::{Answer, Recording};

    use super::*;

    /// A later reply may bring the members of a rotated quorum; those of others come with their own list or never.
    #[test]
    fn quorums_without_members_prove_no_snapshot_and_rotated_ones_are_verified_again() {
        let recording = Recording::bundled().unwrap();
        let exchange = recording.exchanges_of(&recording.complete_syncs()[0]).last().unwrap();
        let Answer::Reply(payload) = &exchange.answer else { panic!("refused") };
        let reply = QRInfo::from_wire(payload.clone()).unwrap();
        let rotated = reply.last_commitment_per_index.iter().next().unwrap();
        let plain = reply.mn_list_diff_h.new_quorums.iter().find(|quorum| quorum.quorum_index.is_none()).unwrap();
        let unknown = Commitment { llmq_type: LlmqType(99), ..plain.clone() };
        let candidates = [&rotated, &plain, &unknown].map(|quorum| Candidate::new(quorum.clone(), Some(1_000)));
        let plain_id = candidates[1].id;
        let selector = MemberSelector::new(recording.network(), BTreeMap::new(), |_| None);
        let outcome = verify(recording.network(), selector, candidates.into(), NonZeroUsize::MIN).unwrap();
        let proofs: Vec<_> = outcome.quorums.iter().map(|quorum| quorum.proof).collect();
        let members_sig = Proof::Unverified(Unverified::NoMembers);
        assert_eq!(proofs, [QuorumProof { quorum_sig: Proof::Verified, members_sig }; 2]);
        assert_eq!((outcome.unknown_types, outcome.done), (1, vec![plain_id]));
        assert!(outcome.snapshots.is_empty());
    }
}
