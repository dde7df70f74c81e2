//! Verdicts, and the proofs of a true message.

use qrinfo_core::{LlmqType, Reply};
use qrinfo_verify::{Falsehood, Proof, Unproven, Verified};

/// The unproven part of a message that is not true.
pub(super) const WHOLE: &str = "the whole message";

/// The verdict on a message. The order is from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    True,
    Missing,
    False,
}

pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// None if the verdict is "true".
    pub(super) reason: Option<String>,
    pub(super) unproven: Vec<String>,
    pub(super) proven: Proven,
}

/// The counts of what a true message proves.
#[derive(Debug, Default)]
pub(super) struct Proven {
    /// Last commitments of a `qrinfo`, or new rotated quorums of a `mnlistdiff`.
    pub(super) rotated_quorums: usize,
    /// Quorums of all types whose members were drawn, without those that were verified with a message before.
    pub(super) quorums_with_members: usize,
    /// Quorum signatures and members' signatures, without those of messages before.
    pub(super) signatures: usize,
}

// === impl Judgement ===

impl Judgement {
    pub(super) fn of_true(reply: &Reply, verified: &Verified, rotated: LlmqType) -> Self {
        let unproven = verified.unproven.iter().map(ToString::to_string).collect();
        Self { verdict: Verdict::True, reason: None, unproven, proven: Proven::of(reply, verified, rotated) }
    }

    pub(super) fn of_false(falsehood: Falsehood) -> Self {
        let reason = format!("{:#}", anyhow::Error::new(falsehood));
        Self::without_proof(Verdict::False, reason, WHOLE.to_owned())
    }

    pub(super) fn undecodable(error: &anyhow::Error) -> Self {
        let reason = format!("cannot be decoded, so check that the capture is complete: {error:#}");
        Self::without_proof(Verdict::Missing, reason, WHOLE.to_owned())
    }

    pub(super) fn without_proof(verdict: Verdict, reason: String, unproven: String) -> Self {
        Self { verdict, reason: Some(reason), unproven: vec![unproven], proven: Proven::default() }
    }
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Missing => "missing",
            Self::False => "false",
        }
    }
}

// === impl Proven ===

impl Proven {
    fn of(reply: &Reply, verified: &Verified, rotated: LlmqType) -> Self {
        let proofs = verified.quorums.iter().flat_map(|quorum| [quorum.proof.quorum_sig, quorum.proof.members_sig]);
        Self {
            rotated_quorums: rotated_quorums(reply, verified, rotated),
            quorums_with_members: verified.quorums.iter().filter(|quorum| !quorum.members.is_empty()).count(),
            signatures: proofs.filter(|proof| *proof == Proof::Verified).count(),
        }
    }
}

fn rotated_quorums(reply: &Reply, verified: &Verified, rotated: LlmqType) -> usize {
    let unproven = verified.unproven.iter().map(|unproven| match unproven {
        Unproven::Lists => usize::MAX,
        Unproven::Commitments(indexes) => indexes.len(),
        _ => 0,
    });
    let named = match reply {
        Reply::QrInfo(reply) => reply.last_commitment_per_index.len(),
        Reply::MnListDiff(diff) => diff.new_quorums.iter().filter(|quorum| quorum.llmq_type == rotated).count(),
    };
    unproven.fold(named, usize::saturating_sub)
}
