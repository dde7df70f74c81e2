//! The checks of a reply that need only the request and the headers.

use std::collections::{BTreeMap, BTreeSet};

use qrinfo_core::{
    BlockHash, CYCLES_BACK, CycleStart, QRInfoRequestSpec, Reply, Request,
    message::{CoinbasePayload, Commitment, MnListDiff, QRInfo, QuorumSnapshot, SkipListMode},
};

use super::error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError};
use crate::{
    headers::{KnownBlock, is_genesis},
    lists::{ApplyFault, merkle},
    quorum::quorum_block,
};

/// A reply that has passed [`check`].
#[derive(Debug, Clone, Default)]
pub struct Checked<'r> {
    pub(crate) diffs: Vec<ProvenDiff<'r>>,
    pub(crate) snapshots: Vec<CycleSnapshot<'r>>,
    pub(crate) commitments: Vec<CycleCommitment>,
    /// Trailing diffs to blocks that are not in our headers. Their heights are those in their coinbases, and neither is
    /// proven. Other diffs may start from the resulting lists.
    pub(crate) set_aside: Vec<ProvenDiff<'r>>,
    /// True if the tip diff was set aside.
    pub(crate) tip_is_unknown: bool,
}

/// A diff to a block of our chain, whose coinbase is proven by that block's header.
#[derive(Debug, Clone, Copy)]
pub struct ProvenDiff<'r> {
    /// Its place in the reply.
    pub name: DiffName,
    /// The diff.
    pub diff: &'r MnListDiff,
    /// The coinbase's payload, with the roots of both lists.
    pub payload: &'r CoinbasePayload,
    /// The target's height.
    pub height: u32,
    /// The base's height.
    pub base_height: u32,
}

/// A snapshot and the cycle that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CycleSnapshot<'r> {
    /// The diff to the list that the snapshot sorts.
    pub(crate) diff: DiffName,
    /// The height of that list: the cycle's work block.
    pub(crate) work_height: u32,
    pub(crate) snapshot: &'r QuorumSnapshot,
}

/// One of the last commitments per index.
#[derive(Debug, Clone)]
pub(crate) struct CycleCommitment {
    pub(crate) place: usize,
    /// The start of the cycle, or `None` if the quorum's block is not in our headers.
    pub(crate) cycle: Option<CycleStart>,
    pub(crate) commitment: Commitment,
}

/// Checks everything about a reply that needs only the headers and the request.
///
/// `headers` answers for the blocks of our best chain, from the tip down to the lowest one in the request, without a
/// gap. The genesis block is not needed. Blocks below are not needed either, but statements about them are then not
/// proven: a quorum index whose DKG keeps failing has a commitment from any number of cycles back.
///
/// * The reply answers the request ([`Request::check_reply`]).
/// * Every diff leads to the block for its place, from a base that was sent, from genesis, or from the target of
///   another diff at a lower height. A diff from its own target is empty.
/// * The header of its target proves its coinbase, and the coinbase names the target's height.
/// * `quorumsCLSigs` names each new quorum once; before v20 it may be empty.
/// * The last commitments have the rotated type, ascending indexes, the blocks that their indexes call for, and enough
///   members, and can have been mined by the requested block; the trailing lists are exactly those that they call for;
///   snapshots skip what their mode says.
///
/// A block that is not in our headers is missing on our side, and is no fault of the peer:
///
/// * A tip diff to such a block is set aside. Otherwise the tip must not be below the work block.
/// * The cycle of a last commitment with such a block is unknown. It may require up to three more trailing lists.
/// * A trailing diff to such a block is set aside.
///
/// # Errors
/// [`Falsehood`] if the peer sent something false, [`Missing`] if our headers lack a block that the request names.
pub fn check<'r>(
    request: &Request,
    reply: &'r Reply,
    headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
) -> Result<Checked<'r>, VerifyError> {
    request.check_reply(reply).map_err(Falsehood::from)?;
    match (request, reply) {
        (Request::QrInfo(spec), Reply::QrInfo(qr_info)) => check_qr_info(spec, qr_info, &headers),
        (_, Reply::MnListDiff(diff)) => {
            let target = headers(&diff.block_hash).ok_or(Missing::Header(diff.block_hash))?;
            // Its base is the one that was sent, by `check_reply`.
            let bases = Bases { sent: &[diff.base_block_hash], claimed: BTreeMap::new(), headers: &headers };
            Ok(Checked { diffs: vec![prove(DiffName::Requested, diff, target, &bases)?], ..Checked::default() })
        }
        // The reply answers the request, so it is of its kind.
        (Request::MnListDiff(spec), Reply::QrInfo(_)) => Err(Missing::Header(spec.block_hash).into()),
    }
}

/// Returns the blocks that [`check`] and [`ListStage::apply`](crate::ListStage::apply) look up for a request and its
/// reply, for a client with async access to its headers. Their number is bounded by the size of the reply. The stage
/// also looks up the blocks of the lists that it [keeps](crate::ListStage::kept).
pub fn blocks_named(request: &Request, reply: &Reply) -> BTreeSet<BlockHash> {
    let mut blocks = BTreeSet::new();
    let mut add = |diff: &MnListDiff| {
        blocks.extend([diff.base_block_hash, diff.block_hash]);
        blocks.extend(diff.new_quorums.iter().map(|commitment| quorum_block(&commitment)));
    };
    match reply {
        Reply::QrInfo(qr_info) => {
            qr_info.diffs().for_each(add);
            blocks.extend(qr_info.last_commitment_per_index.iter().map(|commitment| quorum_block(&commitment)));
        }
        Reply::MnListDiff(diff) => add(diff),
    }
    if let Request::QrInfo(spec) = request {
        blocks.insert(spec.block_hash);
        blocks.extend(spec.work_block_hashes);
    }
    blocks
}

fn check_qr_info<'r>(
    spec: &QRInfoRequestSpec,
    reply: &'r QRInfo,
    headers: &impl Fn(&BlockHash) -> Option<KnownBlock>,
) -> Result<Checked<'r>, VerifyError> {
    // Look up the requested block first: if a reorganisation removed it, later mismatches must not be blamed on the
    // peer.
    let requested = headers(&spec.block_hash).ok_or(Missing::Header(spec.block_hash))?.height;
    let commitments = check_commitments(spec, requested, reply, headers)?;
    let claimed = claimed_heights(reply, headers);
    let bases = Bases { sent: &spec.base_block_hashes, claimed, headers };
    let mut checked = Checked { commitments, ..Checked::default() };
    check_trailing(spec, reply, &bases, &mut checked)?;

    let extra = reply.extra_share.as_ref();
    let cycles = [
        extra.map(|e| (4, &e.mn_list_diff_at_h_minus_4c, Some(&e.quorum_snapshot_at_h_minus_4c))),
        Some((3, &reply.mn_list_diff_at_h_minus_3c, Some(&reply.quorum_snapshot_at_h_minus_3c))),
        Some((2, &reply.mn_list_diff_at_h_minus_2c, Some(&reply.quorum_snapshot_at_h_minus_2c))),
        Some((1, &reply.mn_list_diff_at_h_minus_c, Some(&reply.quorum_snapshot_at_h_minus_c))),
        Some((0, &reply.mn_list_diff_h, None)),
    ];
    for (back, diff, snapshot) in cycles.into_iter().flatten() {
        let name = DiffName::Cycle { back };
        // The work block that the request names, by `check_reply`.
        let target = headers(&diff.block_hash).ok_or(Missing::Header(diff.block_hash))?;
        checked.diffs.push(prove(name, diff, target, &bases)?);
        if let Some(snapshot) = snapshot {
            checked.add_snapshot(name, target.height, snapshot)?;
        }
    }
    match headers(&reply.mn_list_diff_tip.block_hash) {
        Some(target) => {
            // A peer that has the list at the work block has that block.
            let work_height = spec.network.cycles().work_height(spec.cycle).unwrap_or(0);
            if target.height < work_height {
                let fault = DiffFault::TipBelowWork { tip: target.height, work_height };
                return Err(Falsehood::diff(DiffName::Tip, fault).into());
            }
            checked.diffs.push(prove(DiffName::Tip, &reply.mn_list_diff_tip, target, &bases)?);
        }
        None => checked.tip_is_unknown = true,
    }
    // Of two diffs to one block, the one that starts from that block comes last.
    checked.diffs.sort_by_key(|diff| (diff.height, diff.base_height));
    Ok(checked)
}

/// Checks the trailing lists: exactly those that the commitments of known cycles require, in ascending order, and among
/// them up to three more, below the oldest of the cycles, for each commitment of an unknown one.
fn check_trailing<'r>(
    spec: &QRInfoRequestSpec,
    reply: &'r QRInfo,
    bases: &Bases<'_, impl Fn(&BlockHash) -> Option<KnownBlock>>,
    checked: &mut Checked<'r>,
) -> Result<(), VerifyError> {
    let called_for = trailing_work_heights(spec, &checked.commitments);
    let unknown = checked.commitments.iter().filter(|quorum| quorum.cycle.is_none()).count();
    let (diffs, snapshots) = (reply.mn_list_diff_list.len(), reply.quorum_snapshot_list.len());
    let expected = called_for.len();
    if diffs != snapshots || !(expected..=expected + 3 * unknown).contains(&diffs) {
        return Err(Falsehood::TrailingCount { expected, diffs, snapshots }.into());
    }
    let oldest = spec.network.cycles().work_height_back(spec.cycle, cycles_back(spec)).unwrap_or(0);
    let mut called_for = called_for.into_iter().peekable();
    let mut left_for_unknown = diffs - expected;
    let mut above = None;
    for (place, (diff, snapshot)) in reply.mn_list_diff_list.iter().zip(&reply.quorum_snapshot_list).enumerate() {
        let name = DiffName::Trailing(place);
        let target = (bases.headers)(&diff.block_hash);
        let height = match target {
            Some(target) => target.height,
            None => claimed_height(name, diff)?,
        };
        let is_for_unknown = height < oldest && Some(height) > above && spec.network.cycles().is_work_height(height);
        if called_for.next_if_eq(&height).is_none() {
            if left_for_unknown == 0 || !is_for_unknown {
                let expected = called_for.peek().copied().unwrap_or(oldest);
                return Err(Falsehood::diff(name, DiffFault::Height { expected, got: height }).into());
            }
            left_for_unknown -= 1;
        }
        above = Some(height);
        match target {
            Some(target) => checked.diffs.push(prove(name, diff, target, bases)?),
            None => checked.set_aside.push(set_aside(name, diff, height, bases)?),
        }
        checked.add_snapshot(name, height, snapshot)?;
    }
    Ok(())
}

/// Blocks that diffs may start from.
struct Bases<'a, H> {
    sent: &'a [BlockHash],
    /// Targets of the reply that are not among our headers, and the heights that their coinbases name.
    claimed: BTreeMap<BlockHash, u32>,
    headers: &'a H,
}

impl<H: Fn(&BlockHash) -> Option<KnownBlock>> Bases<'_, H> {
    /// Returns the height of a diff's base: genesis, one that was sent and is not above the target, or another target
    /// of the reply that is below. The tip of a node that is behind can be the work block: its diff is then empty.
    fn height_for(&self, name: DiffName, diff: &MnListDiff, target: u32) -> Result<u32, VerifyError> {
        let base = &diff.base_block_hash;
        if is_genesis(base) {
            return Ok(0);
        }
        let is_sent = self.sent.contains(base);
        let may_be_equal = is_sent || name == DiffName::Tip;
        let known = (self.headers)(base).map(|block| block.height).or_else(|| self.claimed.get(base).copied());
        match known {
            Some(height) if height < target || (may_be_equal && height == target) => Ok(height),
            Some(base) => Err(Falsehood::diff(name, DiffFault::BaseAboveTarget { base, target }).into()),
            None if is_sent => Err(Missing::Header(*base).into()),
            // By `check_reply` the target of a trailing diff; its coinbase names no height.
            None => Err(Falsehood::diff(name, DiffFault::UnknownBase(*base)).into()),
        }
    }
}

/// The trailing targets that are not among our headers, by what their coinbases say.
fn claimed_heights(reply: &QRInfo, headers: &impl Fn(&BlockHash) -> Option<KnownBlock>) -> BTreeMap<BlockHash, u32> {
    let diffs = reply.mn_list_diff_list.iter().filter(|diff| headers(&diff.block_hash).is_none());
    diffs.filter_map(|diff| Some((diff.block_hash, claimed_height(DiffName::Tip, diff).ok()?))).collect()
}

/// The height that a diff's coinbase names.
fn claimed_height(name: DiffName, diff: &MnListDiff) -> Result<u32, Falsehood> {
    let payload = diff.coinbase.payload().ok_or_else(|| Falsehood::diff(name, DiffFault::NoPayload))?;
    u32::try_from(payload.height).map_err(|_| Falsehood::diff(name, ApplyFault::NegativeHeight(payload.height)))
}

/// Checks one diff to a block of our chain.
fn prove<'r>(
    name: DiffName,
    diff: &'r MnListDiff,
    target: KnownBlock,
    bases: &Bases<'_, impl Fn(&BlockHash) -> Option<KnownBlock>>,
) -> Result<ProvenDiff<'r>, VerifyError> {
    let proven = set_aside(name, diff, target.height, bases)?;
    let faulty = |fault: DiffFault| Falsehood::diff(name, fault);
    merkle::check_coinbase(diff, target.merkle_root).map_err(|fault| faulty(fault.into()))?;
    if i64::from(proven.payload.height) != i64::from(target.height) {
        let fault = DiffFault::CoinbaseHeight { expected: target.height, got: proven.payload.height };
        return Err(faulty(fault).into());
    }
    Ok(proven)
}

/// Checks everything about one diff that needs no header.
fn set_aside<'r>(
    name: DiffName,
    diff: &'r MnListDiff,
    height: u32,
    bases: &Bases<'_, impl Fn(&BlockHash) -> Option<KnownBlock>>,
) -> Result<ProvenDiff<'r>, VerifyError> {
    let base_height = bases.height_for(name, diff, height)?;
    let faulty = |fault: DiffFault| Falsehood::diff(name, fault);
    let is_empty = diff.deleted_masternodes.is_empty()
        && diff.new_masternodes.is_empty()
        && diff.deleted_quorums.is_empty()
        && diff.new_quorums.is_empty();
    if base_height == height && !is_empty {
        return Err(faulty(DiffFault::NotEmpty).into());
    }
    let payload = diff.coinbase.payload().ok_or_else(|| faulty(DiffFault::NoPayload))?;
    if !names_each_quorum_once(diff) {
        return Err(faulty(DiffFault::ChainLockIndexes).into());
    }
    Ok(ProvenDiff { name, diff, payload, height, base_height })
}

fn names_each_quorum_once(diff: &MnListDiff) -> bool {
    // From v20 on, which the version of a coinbase tells, signatures come with each new quorum.
    let is_before_v20 = diff.coinbase.payload().is_none_or(|payload| payload.credit_pool.is_none());
    if diff.quorums_cl_sigs.is_empty() && is_before_v20 {
        return true;
    }
    let mut is_named = vec![false; diff.new_quorums.len()];
    for index in diff.quorums_cl_sigs.iter().flat_map(|group| group.indexes) {
        match is_named.get_mut(usize::from(index)) {
            Some(is_named) if !*is_named => *is_named = true,
            _ => return false,
        }
    }
    is_named.into_iter().all(|is_named| is_named)
}

fn check_commitments(
    spec: &QRInfoRequestSpec,
    requested: u32,
    reply: &QRInfo,
    headers: &impl Fn(&BlockHash) -> Option<KnownBlock>,
) -> Result<Vec<CycleCommitment>, Falsehood> {
    let params = spec.network.rotated_params();
    let mut checked = Vec::new();
    let mut next_index = 0;
    for (place, commitment) in reply.last_commitment_per_index.iter().enumerate() {
        let faulty = |fault| Falsehood::Commitment { place, fault };
        if commitment.llmq_type != params.llmq_type {
            return Err(faulty(CommitmentFault::Type(commitment.llmq_type)));
        }
        // Indexes ascend, so that there are no more commitments than the type has indexes.
        let index = match commitment.quorum_index.map(u16::try_from) {
            Some(Ok(index)) if (next_index..params.active).contains(&index) => index,
            _ => return Err(faulty(CommitmentFault::Index(commitment.quorum_index))),
        };
        next_index = index + 1;
        let block = quorum_block(&commitment);
        let cycle = match headers(&block) {
            Some(block) => Some(commitment_cycle(spec, requested, block.height, index).map_err(faulty)?),
            None => None,
        };
        for bits in [&commitment.signers, &commitment.valid_members] {
            let (expected, least) = (usize::from(params.size), usize::from(params.min_size));
            if bits.len() != expected {
                return Err(faulty(CommitmentFault::BitCount { expected, got: bits.len() }));
            }
            if bits.count_ones() < least {
                return Err(faulty(CommitmentFault::TooFewMembers { least, got: bits.count_ones() }));
            }
        }
        checked.push(CycleCommitment { place, cycle, commitment });
    }
    Ok(checked)
}

/// The cycle of a last commitment, by its block and index.
fn commitment_cycle(
    spec: &QRInfoRequestSpec,
    requested: u32,
    height: u32,
    index: u16,
) -> Result<CycleStart, CommitmentFault> {
    let cycles = spec.network.cycles();
    let cycle = height.checked_sub(u32::from(index)).and_then(|start| CycleStart::new(start, cycles.length()));
    let Some(cycle) = cycle.filter(|&cycle| cycle <= spec.cycle) else {
        let index = index.try_into().unwrap_or_default();
        return Err(CommitmentFault::Height { height, index });
    };
    let from = *spec.network.rotated_params().mining_window(cycle.height()).start();
    if from > requested {
        return Err(CommitmentFault::NotMinedYet { from, requested });
    }
    Ok(cycle)
}

/// Returns the number of cycles before its own from which a reply brings lists.
fn cycles_back(spec: &QRInfoRequestSpec) -> u32 {
    if spec.extra_share { CYCLES_BACK } else { CYCLES_BACK - 1 }
}

/// Returns the work blocks of the trailing lists: those of the three cycles before each commitment's known cycle,
/// without those that the reply contains anyway.
fn trailing_work_heights(spec: &QRInfoRequestSpec, commitments: &[CycleCommitment]) -> BTreeSet<u32> {
    let cycles = spec.network.cycles();
    let back = |cycle, back| cycles.work_height_back(cycle, back);
    let mut needed: BTreeSet<_> = commitments
        .iter()
        .filter_map(|quorum| quorum.cycle)
        .flat_map(|cycle| (1..=3).filter_map(move |cycles_back| back(cycle, cycles_back)))
        .collect();
    for known in (1..=cycles_back(spec)).filter_map(|cycles_back| back(spec.cycle, cycles_back)) {
        needed.remove(&known);
    }
    needed
}

// === impl CycleCommitment ===

impl CycleCommitment {
    /// Returns the height of the quorum's block, if our headers have it.
    pub(crate) fn height(&self) -> Option<u32> {
        Some(self.cycle?.height() + u32::from(self.commitment.quorum_index.unwrap_or(0).unsigned_abs()))
    }
}

// === impl Checked ===

impl<'r> Checked<'r> {
    /// Returns the proven diffs in ascending order of their targets' heights, in which they are applied. A tip diff or
    /// trailing diff that was set aside is not included.
    pub fn diffs(&self) -> &[ProvenDiff<'r>] {
        &self.diffs
    }

    /// Returns true if the tip diff was set aside, because its target is not in our headers.
    pub fn tip_is_unknown(&self) -> bool {
        self.tip_is_unknown
    }

    fn add_snapshot(
        &mut self,
        diff: DiffName,
        work_height: u32,
        snapshot: &'r QuorumSnapshot,
    ) -> Result<(), Falsehood> {
        let lists_skips = !snapshot.skip_list.is_empty();
        let may_list_skips = matches!(snapshot.skip_list_mode, SkipListMode::SkipFirst | SkipListMode::SkipExcept);
        if lists_skips != may_list_skips {
            return Err(Falsehood::Snapshot { diff, fault: SnapshotFault::SkipList });
        }
        self.snapshots.push(CycleSnapshot { diff, work_height, snapshot });
        Ok(())
    }
}
