//! The verification of commitments: the quorum's key, and the signatures of the quorum and its members.

use std::{
    num::NonZeroUsize,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use blst::min_pk::PublicKey;
use bytes::{BufMut, BytesMut};
use qrinfo_core::{
    BlockHash, Hash256, LlmqParams, LlmqType, WORK_BLOCK_OFFSET,
    message::{Commitment, SmlEntry},
    sha256d,
    wire::{Bits, Wire},
};

use super::{
    batch,
    bls::{self, Claim, Scheme, is_legacy},
    operator_keys::OperatorKeys,
};

/// A commitment to verify.
///
/// The checks are those of Dash Core's `CFinalCommitment::Verify`, as far as they need no chain:
///
/// * type, version and index fit together, and signers and valid members have one bit for each member;
/// * at least the type's minimum of members signed and is valid, and every set bit belongs to a member;
/// * the quorum's key and both signatures are points of their groups, and not infinity;
/// * `quorumSig` is valid under the quorum's key;
/// * `membersSig` is valid under the keys of the members that signed, if the members are given. Before v19 a mismatch
///   is no fault ([`Unverified::LegacyMembers`]).
///
/// Not checked here: that the quorum's block is the one for its index, which needs the headers.
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use qrinfo_core::{Network, message::{Commitment, SmlEntry}};
/// use qrinfo_verify::{Proof, QuorumCheck, Unverified, verify_quorums};
///
/// /// Returns true if every commitment of a cycle is signed by its selected members.
/// fn all_good(commitments: &[Commitment], members: &[Vec<&SmlEntry>], threads: NonZeroUsize) -> bool {
///     let params = Network::Mainnet.rotated_params();
///     let checks: Vec<_> = commitments
///         .iter()
///         .zip(members)
///         .map(|(commitment, members)| QuorumCheck { params, commitment, members: Some(members) })
///         .collect();
///     verify_quorums(&checks, threads).into_iter().all(|verdict| match verdict {
///         Ok(proof) => proof.members_sig == Proof::Verified,
///         Err(fault) => {
///             println!("{fault}");
///             false
///         }
///     })
/// }
/// # assert!(all_good(&[], &[], NonZeroUsize::MIN));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct QuorumCheck<'a> {
    /// The parameters of the commitment's type. A regtest chain can have its own.
    pub params: LlmqParams,
    /// The commitment.
    pub commitment: &'a Commitment,
    /// The members in the order of the bits, if they are known ([`rotated_members`](crate::rotated_members),
    /// [`top_members`](crate::top_members)).
    pub members: Option<&'a [&'a SmlEntry]>,
}

/// The results for the signatures of a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumProof {
    /// Verified: the maker of the commitment holds the quorum's key. That alone does not identify the maker.
    pub quorum_sig: Proof,
    /// Verified: the selected masternodes made the commitment, at least as many as the type requires. This also
    /// confirms the list and the snapshots from which the signers were selected.
    pub members_sig: Proof,
}

/// The result for one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It was verified and is valid.
    Verified,
    /// It was not verified, and may be false.
    Unverified(Unverified),
}

/// The reason why a signature was not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unverified {
    /// It is of the scheme before v19 (versions 1 and 2), which this build does not verify: the feature `legacy-bls` is
    /// off.
    Legacy,
    /// The commitment is of the scheme before v19, and is not signed by the members that were selected for it.
    ///
    /// That is no proof against the reply. Before v19 the selection depended on data that no list contains: the walk
    /// passed over masternodes that had been removed, skip positions counted them, and owner keys and collaterals of
    /// deregistered masternodes excluded others. The selected members can therefore be the wrong ones.
    LegacyMembers,
    /// The members are not known.
    NoMembers,
}

/// A fault of a commitment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumFault {
    /// It is of another type than the parameters.
    #[error("is of type {got}, expected {expected}")]
    Type {
        /// The type of the parameters.
        expected: LlmqType,
        /// The commitment's.
        got: LlmqType,
    },
    /// Its version has no index although the type is rotated, or the other way round.
    #[error("version {0} does not fit its type")]
    Version(u16),
    /// Its index is out of range for the type.
    #[error("index {0} is out of range for its type")]
    Index(i16),
    /// The number of bits differs from the number of members.
    #[error("{field} has {got} bits, expected {expected}")]
    BitCount {
        /// `signers` or `validMembers`.
        field: &'static str,
        /// The size of the quorum.
        expected: usize,
        /// Bits that there are.
        got: usize,
    },
    /// Fewer members signed or are valid than the type asks for.
    #[error("{field} has {got} members, at least {least} are required")]
    TooFew {
        /// `signers` or `validMembers`.
        field: &'static str,
        /// The type's minimum.
        least: usize,
        /// Bits that are set.
        got: usize,
    },
    /// A bit is set that belongs to no member: there were too few masternodes for a complete quorum.
    #[error("bit {place} of {field} is set, but the quorum has {members} members")]
    BitBeyondMembers {
        /// `signers` or `validMembers`.
        field: &'static str,
        /// The first such bit.
        place: usize,
        /// Members that there are.
        members: usize,
    },
    /// Its verification vector's hash is zero.
    #[error("the hash of the verification vector is zero")]
    NoVerificationVector,
    /// The quorum's key is not a point of its group, or infinity.
    #[error("the quorum public key is invalid")]
    QuorumKey,
    /// The operator key of a signer is not a point of its group, or infinity.
    #[error("the operator public key of member {place}, which signed, is invalid")]
    OperatorKey {
        /// The signer.
        place: usize,
    },
    /// The signature of the quorum is malformed or false.
    #[error("the quorum signature is invalid")]
    QuorumSig,
    /// The signature of the members is malformed or false. Some of the selected members may be wrong.
    #[error("the members' signature is invalid")]
    MembersSig,
}

/// Returns the hash that a quorum and its members sign (Dash Core's `BuildCommitmentHash`).
pub fn commitment_hash(commitment: &Commitment) -> Hash256 {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_u8(commitment.llmq_type.0);
    commitment.quorum_hash.encode(&mut bytes);
    commitment.valid_members.encode(&mut bytes);
    bytes.put_slice(&commitment.quorum_public_key);
    commitment.quorum_vvec_hash.encode(&mut bytes);
    Hash256::from_bytes(sha256d(&bytes))
}

/// The block that names a quorum.
pub(crate) fn quorum_block(commitment: &Commitment) -> BlockHash {
    BlockHash::from_bytes(*commitment.quorum_hash.as_bytes())
}

/// The height of the work block of a quorum whose block is at `height`.
pub(crate) fn work_height(commitment: &Commitment, height: u32) -> Option<u32> {
    let index = u32::try_from(commitment.quorum_index.unwrap_or(0)).ok()?;
    height.checked_sub(index)?.checked_sub(WORK_BLOCK_OFFSET)
}

/// Verifies many commitments on up to `threads` threads, the calling one included. The results are in the order of the
/// checks.
///
/// Each thread takes an equal share of the commitments and verifies their signatures in one batch. If one of them is
/// false, each of that share is verified by itself, so that the false one is named. A quorum of 60 takes about 3 ms among
/// many on one core, and 1.5 ms more if a signature of its share is false; call it where blocking is allowed.
pub fn verify_quorums(checks: &[QuorumCheck<'_>], threads: NonZeroUsize) -> Vec<Result<QuorumProof, QuorumFault>> {
    let count = threads.get().min(checks.len());
    let verdicts: Vec<OnceLock<_>> = (0..count).map(|_| OnceLock::new()).collect();
    let verify = |share| verify_together(checks.iter().skip(share).step_by(count));
    let next = AtomicUsize::new(0);
    let work = || {
        while let share = next.fetch_add(1, Ordering::Relaxed)
            && let Some(verdicts) = verdicts.get(share)
        {
            verdicts.get_or_init(|| verify(share));
        }
    };
    thread::scope(|scope| {
        for _ in 1..count {
            // If this thread cannot be started, the others do its share.
            let _ = thread::Builder::new().name("qrinfo-verify".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let verdicts = verdicts.into_iter().map(OnceLock::into_inner).enumerate();
    let verdicts = verdicts.map(|(share, verdicts)| verdicts.unwrap_or_else(|| verify(share)).into_iter());
    let mut shares: Vec<_> = verdicts.collect();
    (0..checks.len()).filter_map(|place| shares.get_mut(place % count)?.next()).collect()
}

/// Verifies a share: all signatures at once, and each by itself if one is false.
fn verify_together<'c>(
    checks: impl Iterator<Item = &'c QuorumCheck<'c>> + Clone,
) -> Vec<Result<QuorumProof, QuorumFault>> {
    let keys = OperatorKeys::of(checks.clone().flat_map(QuorumCheck::signers).map(|(_, member)| member));
    let opened: Vec<_> = checks.map(|check| check.open(&keys)).collect();
    let are_signed = batch::are_signed(opened.iter().flatten().flat_map(Opened::claims));
    opened.into_iter().map(|opened| opened?.judge(are_signed)).collect()
}

/// A commitment that was decoded, before its signatures are verified.
struct Opened {
    /// The claim of the quorum, or the reason why it is not verified.
    quorum: Result<Claim, Unverified>,
    /// The claim of the members, or the reason why it is not verified. A fault counts only if the quorum's claim is true.
    members: Result<Result<Claim, Unverified>, QuorumFault>,
}

// === impl Opened ===

impl Opened {
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.quorum.iter().chain(self.members.iter().flatten())
    }

    /// Verifies each signature, except for those of the basic scheme if they `are_signed`.
    fn judge(self, are_signed: bool) -> Result<QuorumProof, QuorumFault> {
        let is_true = |claim: &Claim| (are_signed && claim.is_basic()) || claim.is_signed();
        let quorum_sig = match self.quorum {
            Ok(claim) if is_true(&claim) => Proof::Verified,
            Ok(_) => return Err(QuorumFault::QuorumSig),
            Err(reason) => Proof::Unverified(reason),
        };
        let members_sig = match self.members? {
            Ok(claim) if is_true(&claim) => Proof::Verified,
            Ok(claim) if claim.is_basic() => return Err(QuorumFault::MembersSig),
            Ok(_) => Proof::Unverified(Unverified::LegacyMembers),
            Err(reason) => Proof::Unverified(reason),
        };
        Ok(QuorumProof { quorum_sig, members_sig })
    }
}

// === impl QuorumCheck ===

impl QuorumCheck<'_> {
    /// Verifies this commitment.
    ///
    /// # Errors
    /// [`QuorumFault`] names the first check that fails. With members that come from a snapshot,
    /// [`MembersSig`](QuorumFault::MembersSig), [`OperatorKey`](QuorumFault::OperatorKey) and
    /// [`BitBeyondMembers`](QuorumFault::BitBeyondMembers) may as well mean that the snapshot is false.
    pub fn verify(&self) -> Result<QuorumProof, QuorumFault> {
        let keys = OperatorKeys::of(self.signers().map(|(_, member)| member));
        let opened = self.open(&keys)?;
        let are_signed = batch::are_signed(opened.claims());
        opened.judge(are_signed)
    }

    /// Checks and decodes everything; only the signatures are left to verify.
    fn open(&self, keys: &OperatorKeys) -> Result<Opened, QuorumFault> {
        self.check_structure()?;
        let commitment = self.commitment;
        let key = bls::quorum_key(commitment).ok_or(QuorumFault::QuorumKey)?;
        let Some(scheme) = Scheme::of(commitment) else {
            return Ok(Opened { quorum: Err(Unverified::Legacy), members: Ok(Err(Unverified::Legacy)) });
        };
        let hash = *commitment_hash(commitment).as_bytes();
        let quorum = scheme.claim(&commitment.quorum_sig, hash, key).ok_or(QuorumFault::QuorumSig)?;
        Ok(Opened { quorum: Ok(quorum), members: self.open_members(keys, scheme, hash) })
    }

    /// The claim that the members made the commitment, or the reason why it is not verified.
    fn open_members(
        &self,
        keys: &OperatorKeys,
        scheme: Scheme,
        hash: [u8; 32],
    ) -> Result<Result<Claim, Unverified>, QuorumFault> {
        let signature = scheme.signature(&self.commitment.members_sig).ok_or(QuorumFault::MembersSig)?;
        Ok(match self.members.map(|members| self.members_key(members, keys, scheme)) {
            None => Err(Unverified::NoMembers),
            Some(Ok(key)) => Ok(Claim { message: hash, key, signature }),
            Some(Err(_)) if is_legacy(self.commitment) => Err(Unverified::LegacyMembers),
            Some(Err(fault)) => return Err(fault),
        })
    }

    /// The key under which the signature of the members that signed is valid.
    fn members_key(
        &self,
        members: &[&SmlEntry],
        keys: &OperatorKeys,
        scheme: Scheme,
    ) -> Result<PublicKey, QuorumFault> {
        let commitment = self.commitment;
        for (field, bits) in [("signers", &commitment.signers), ("validMembers", &commitment.valid_members)] {
            if let Some(place) = set_bits(bits).find(|place| *place >= members.len()) {
                return Err(QuorumFault::BitBeyondMembers { field, place, members: members.len() });
            }
        }
        let key = |(place, member)| keys.get(member).ok_or(QuorumFault::OperatorKey { place });
        let keys = self.signers().map(key).collect::<Result<Vec<_>, _>>()?;
        scheme.aggregate_key(&keys).ok_or(QuorumFault::MembersSig)
    }

    fn check_structure(&self) -> Result<(), QuorumFault> {
        let Self { params, commitment, .. } = self;
        if commitment.llmq_type != params.llmq_type {
            return Err(QuorumFault::Type { expected: params.llmq_type, got: commitment.llmq_type });
        }
        match commitment.quorum_index {
            Some(index) if params.rotated => {
                if !u16::try_from(index).is_ok_and(|index| index < params.active) {
                    return Err(QuorumFault::Index(index));
                }
            }
            None if !params.rotated => {}
            _ => return Err(QuorumFault::Version(commitment.version)),
        }
        for (field, bits) in [("signers", &commitment.signers), ("validMembers", &commitment.valid_members)] {
            let (expected, least) = (usize::from(params.size), usize::from(params.min_size));
            if bits.len() != expected {
                return Err(QuorumFault::BitCount { field, expected, got: bits.len() });
            }
            if bits.count_ones() < least {
                return Err(QuorumFault::TooFew { field, least, got: bits.count_ones() });
            }
        }
        if commitment.quorum_vvec_hash == Hash256::ZERO {
            return Err(QuorumFault::NoVerificationVector);
        }
        Ok(())
    }

    /// The known members that signed, by their places.
    fn signers(&self) -> impl Iterator<Item = (usize, &SmlEntry)> {
        let members = self.members.unwrap_or_default();
        set_bits(&self.commitment.signers).filter_map(|place| Some((place, *members.get(place)?)))
    }
}

fn set_bits(bits: &Bits) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().filter_map(|(place, is_set)| is_set.then_some(place))
}
