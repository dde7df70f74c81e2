//! What needs only the headers and the request.

use std::collections::BTreeSet;

use qrinfo_core::{
    BlockHash, QRInfoRequestSpec, Reply, Request,
    dip24::{CYCLES_BACK, WORK_BLOCK_OFFSET},
    message::{CoinbasePayload, Commitment, MnListDiff, QRInfo, QuorumSnapshot, SkipListMode},
};

use crate::{
    CommitmentFault, DiffFault, DiffName, Falsehood, KnownBlock, Missing, SnapshotFault, VerifyError,
    headers::is_genesis, merkle,
};

/// A reply that has passed [`check`].
#[derive(Debug, Clone)]
pub struct Checked<'r> {
    pub(crate) diffs: Vec<ProvenDiff<'r>>,
    pub(crate) snapshots: Vec<CycleSnapshot<'r>>,
    pub(crate) commitments: Vec<CycleCommitment>,
    /// Whether the tip diff was set aside.
    pub(crate) tip_is_unknown: bool,
}

/// A diff to a block of our chain, whose coinbase is proven by that block's header.
#[derive(Debug, Clone, Copy)]
pub struct ProvenDiff<'r> {
    /// Its place in the reply.
    pub name: DiffName,
    /// The diff.
    pub diff: &'r MnListDiff,
    /// What the coinbase commits to.
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
    /// The first block of the cycle.
    pub(crate) cycle: u32,
    pub(crate) commitment: Commitment,
}

/// Checks everything about a reply that needs only the headers and the request.
///
/// `headers` answers for the blocks of our best chain. They must reach from the tip down to the blocks that the last
/// commitments of a cycle can name: a quorum index whose DKG keeps failing has an old one, so keep at least ten cycles
/// below the first one that is asked for. The genesis block need not be there.
///
/// * The reply answers the request ([`Request::check_reply`]).
/// * Every diff leads to the block that its place calls for, from a base at or below it; from its own target it is
///   empty.
/// * The header of its target proves its coinbase, and the coinbase names the target's height.
/// * `quorumsCLSigs` names each new quorum once; before v20 it may be empty.
/// * The last commitments have the rotated type, ascending indexes, the blocks that their indexes call for, and enough
///   members, and can have been mined by the requested block; the trailing lists are exactly those that they call for; snapshots skip what their mode says.
///
/// The tip diff leads to the tip of the peer, which is not below the work block. Where that block is not on our chain the diff is set aside, and nobody is
/// to blame.
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
            let diff = prove(DiffName::Requested, diff, target, &headers)?;
            Ok(Checked { diffs: vec![diff], snapshots: Vec::new(), commitments: Vec::new(), tip_is_unknown: false })
        }
        // The reply answers the request, so it is of its kind.
        (Request::MnListDiff(spec), Reply::QrInfo(_)) => Err(Missing::Header(spec.block_hash).into()),
    }
}

/// The blocks that [`check`] and [`ListStage::take`](crate::ListStage::take) look up for a request and its reply, for a
/// client whose headers are in a store that can only be asked in async code. No more than the reply has room for. The
/// stage asks for the blocks of the lists that it [keeps](crate::ListStage::kept) as well.
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
    // First: whatever else has left our chain with it is nobody's fault.
    let requested = headers(&spec.block_hash).ok_or(Missing::Header(spec.block_hash))?.height;
    let commitments = check_commitments(spec, requested, reply, headers)?;
    let trailing = trailing_work_heights(spec, &commitments);
    let counts = [trailing.len(), reply.mn_list_diff_list.len(), reply.quorum_snapshot_list.len()];
    let [expected, diffs, snapshots] = counts;
    if diffs != expected || snapshots != expected {
        return Err(Falsehood::TrailingCount { expected, diffs, snapshots }.into());
    }

    let mut checked =
        Checked { diffs: Vec::with_capacity(6 + expected), snapshots: Vec::new(), commitments, tip_is_unknown: false };
    let extra = reply.extra_share.as_ref();
    let cycles = [
        extra.map(|e| (4, &e.mn_list_diff_at_h_minus_4c, Some(&e.quorum_snapshot_at_h_minus_4c))),
        Some((3, &reply.mn_list_diff_at_h_minus_3c, Some(&reply.quorum_snapshot_at_h_minus_3c))),
        Some((2, &reply.mn_list_diff_at_h_minus_2c, Some(&reply.quorum_snapshot_at_h_minus_2c))),
        Some((1, &reply.mn_list_diff_at_h_minus_c, Some(&reply.quorum_snapshot_at_h_minus_c))),
        Some((0, &reply.mn_list_diff_h, None)),
    ];
    for (place, ((&work_height, diff), snapshot)) in
        trailing.iter().zip(&reply.mn_list_diff_list).zip(&reply.quorum_snapshot_list).enumerate()
    {
        let name = DiffName::Trailing(place);
        let unknown = || Falsehood::diff(name, DiffFault::UnknownBlock(diff.block_hash));
        let target = headers(&diff.block_hash).ok_or_else(unknown)?;
        if target.height != work_height {
            let fault = DiffFault::Height { expected: work_height, got: target.height };
            return Err(Falsehood::diff(name, fault).into());
        }
        checked.diffs.push(prove(name, diff, target, headers)?);
        checked.add_snapshot(name, work_height, snapshot)?;
    }
    for (back, diff, snapshot) in cycles.into_iter().flatten() {
        let name = DiffName::Cycle { back };
        // The work block that the request names, by `check_reply`.
        let target = headers(&diff.block_hash).ok_or(Missing::Header(diff.block_hash))?;
        checked.diffs.push(prove(name, diff, target, headers)?);
        if let Some(snapshot) = snapshot {
            checked.add_snapshot(name, target.height, snapshot)?;
        }
    }
    match headers(&reply.mn_list_diff_tip.block_hash) {
        Some(target) => {
            // Whoever has the list at the work block has that block.
            let work_height = spec.network.cycles().work_height(spec.cycle_height).unwrap_or(0);
            if target.height < work_height {
                let fault = DiffFault::TipBelowWork { tip: target.height, work_height };
                return Err(Falsehood::diff(DiffName::Tip, fault).into());
            }
            checked.diffs.push(prove(DiffName::Tip, &reply.mn_list_diff_tip, target, headers)?);
        }
        None => checked.tip_is_unknown = true,
    }
    // Stable: of two diffs to one block, the one that a server builds later may start from the other.
    checked.diffs.sort_by_key(|diff| diff.height);
    Ok(checked)
}

/// Checks one diff to a block of our chain.
fn prove<'r>(
    name: DiffName,
    diff: &'r MnListDiff,
    target: KnownBlock,
    headers: &impl Fn(&BlockHash) -> Option<KnownBlock>,
) -> Result<ProvenDiff<'r>, VerifyError> {
    let base = &diff.base_block_hash;
    let base_height = match is_genesis(base) {
        true => 0,
        // One of ours: `check_reply` knows no other.
        false => headers(base).ok_or(Missing::Header(*base))?.height,
    };
    let faulty = |fault: DiffFault| Falsehood::diff(name, fault);
    if base_height > target.height {
        return Err(faulty(DiffFault::BaseAboveTarget { base: base_height, target: target.height }).into());
    }
    let is_empty = diff.deleted_masternodes.is_empty()
        && diff.new_masternodes.is_empty()
        && diff.deleted_quorums.is_empty()
        && diff.new_quorums.is_empty();
    if base_height == target.height && !is_empty {
        return Err(faulty(DiffFault::NotEmpty).into());
    }
    merkle::check_coinbase(diff, target.merkle_root).map_err(|fault| faulty(fault.into()))?;
    let payload = diff.coinbase.payload().ok_or_else(|| faulty(DiffFault::NoPayload))?;
    if i64::from(payload.height) != i64::from(target.height) {
        return Err(faulty(DiffFault::CoinbaseHeight { expected: target.height, got: payload.height }).into());
    }
    if !names_each_quorum_once(diff) {
        return Err(faulty(DiffFault::ChainLockIndexes).into());
    }
    Ok(ProvenDiff { name, diff, payload, height: target.height, base_height })
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
    let cycles = spec.network.cycles();
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
        let height = headers(&block).ok_or_else(|| faulty(CommitmentFault::UnknownBlock(block)))?.height;
        let cycle = height.checked_sub(u32::from(index)).filter(|&cycle| cycles.start(cycle) == cycle);
        let Some(cycle) = cycle.filter(|&cycle| cycle <= spec.cycle_height) else {
            let index = commitment.quorum_index.unwrap_or_default();
            return Err(faulty(CommitmentFault::Height { height, index }));
        };
        let from = *params.mining_window(cycle).start();
        if from > requested {
            return Err(faulty(CommitmentFault::NotMinedYet { from, requested }));
        }
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

/// The work blocks of the trailing lists: those of the three cycles before each commitment's, but for those that the
/// reply has anyway.
fn trailing_work_heights(spec: &QRInfoRequestSpec, commitments: &[CycleCommitment]) -> BTreeSet<u32> {
    let cycles = spec.network.cycles();
    let back = |cycle, back| cycles.work_height_back(cycle, back);
    let mut needed: BTreeSet<_> = commitments
        .iter()
        .flat_map(|quorum| (1..=3).filter_map(|cycles_back| back(quorum.cycle, cycles_back)))
        .collect();
    let last = if spec.extra_share { CYCLES_BACK } else { 3 };
    for known in (1..=last).filter_map(|cycles_back| back(spec.cycle_height, cycles_back)) {
        needed.remove(&known);
    }
    needed
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

// === impl CycleCommitment ===

impl CycleCommitment {
    /// The height of the quorum's block.
    pub(crate) fn height(&self) -> u32 {
        self.cycle + u32::from(self.commitment.quorum_index.unwrap_or(0).unsigned_abs())
    }
}

// === impl Checked ===

impl<'r> Checked<'r> {
    /// The diffs, in the order in which they are to be applied: that of their targets' heights. The tip diff is not
    /// among them if it was set aside.
    pub fn diffs(&self) -> &[ProvenDiff<'r>] {
        &self.diffs
    }

    /// Whether the tip diff leads to a block that our headers do not have, and was set aside.
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
