use std::collections::BTreeSet;

use qrinfo_core::{
    BlockHash, CYCLES_BACK, WORK_BLOCK_OFFSET,
    message::{Commitment, ExtraShare, GetQRInfo, MnListDiff, QRInfo, QuorumSnapshot},
};

use super::{
    Refusal,
    diff::{base_height, between},
};
use crate::{
    ServerSession, ServerVersion,
    chain::{Chain, Place},
};

/// Builds the answer to a `getqrinfo` as this version of Dash Core does in a session of this protocol version; a number
/// stands for a session of the newest version.
///
/// # Errors
/// [`Refusal`]: the node would answer nothing.
pub fn qr_info(chain: &Chain, request: &GetQRInfo, session: impl Into<ServerSession>) -> Result<QRInfo, Refusal> {
    let session = session.into();
    let mut bases = Bases::find(chain, request, session)?;
    let requested = Requested::find(chain, request)?;
    let cycles = chain.network().cycles();
    let start = cycles.start_of(requested.height);
    let cycle = start.height();
    let work = cycles.work_height(start).ok_or(Refusal::BeforeGenesis)?;
    if requested.fork_height.is_some_and(|fork| work > fork) {
        return Err(Refusal::StaleBlock(request.block_hash));
    }

    let cycle_before = |cycle: u32, back: u32| cycle.checked_sub(back * cycles.length()).ok_or(Refusal::BeforeGenesis);
    // Older versions look for H-4C even where it is not asked for, but then not for its work block and snapshot.
    let oldest = cycle_before(cycle, CYCLES_BACK);
    if request.extra_share || session.server() != ServerVersion::V23_1 {
        oldest?;
    }
    let one = PastCycle::find(chain, cycle_before(cycle, 1)?)?;
    let two = PastCycle::find(chain, cycle_before(cycle, 2)?)?;
    let three = PastCycle::find(chain, cycle_before(cycle, 3)?)?;
    let four = if request.extra_share { Some(PastCycle::find(chain, oldest?)?) } else { None };

    let last_commitments = requested.last_commitments(chain)?;
    let mut needed = BTreeSet::new();
    for (height, _) in &last_commitments {
        for back in 1..=3 {
            needed.insert(cycle_before(cycles.start_of(*height).height(), back)?);
        }
    }
    for known in [Some(&one), Some(&two), Some(&three), four.as_ref()].into_iter().flatten() {
        needed.remove(&known.start);
    }
    let trailing = needed.into_iter().map(|start| PastCycle::find(chain, start)).collect::<Result<Vec<_>, _>>()?;

    // The order in which the diffs are built is the order in which they can become each other's bases.
    let mut extra_share = None;
    if session.server() != ServerVersion::V23_1 {
        extra_share = bases.build_extra_share(chain, four.as_ref())?;
    }
    let mn_list_diff_list =
        trailing.iter().map(|cycle| bases.build(chain, cycle.work)).collect::<Result<Vec<_>, _>>()?;
    if session.server() == ServerVersion::V23_1 {
        extra_share = bases.build_extra_share(chain, four.as_ref())?;
    }
    let mn_list_diff_at_h_minus_3c = bases.build(chain, three.work)?;
    let mn_list_diff_at_h_minus_2c = bases.build(chain, two.work)?;
    let mn_list_diff_at_h_minus_c = bases.build(chain, one.work)?;
    let mn_list_diff_h = bases.build(chain, work)?;
    let mn_list_diff_tip = bases.build_tip(chain)?;

    Ok(QRInfo {
        quorum_snapshot_at_h_minus_c: one.snapshot,
        quorum_snapshot_at_h_minus_2c: two.snapshot,
        quorum_snapshot_at_h_minus_3c: three.snapshot,
        mn_list_diff_tip,
        mn_list_diff_h,
        mn_list_diff_at_h_minus_c,
        mn_list_diff_at_h_minus_2c,
        mn_list_diff_at_h_minus_3c,
        extra_share,
        last_commitment_per_index: last_commitments.into_iter().map(|(_, commitment)| commitment).collect(),
        quorum_snapshot_list: trailing.into_iter().map(|cycle| cycle.snapshot).collect(),
        mn_list_diff_list,
    })
}

/// The blocks that a diff may start from.
#[derive(Debug)]
struct Bases {
    heights: BTreeSet<u32>,
    session: ServerSession,
}

/// A cycle before the requested one.
#[derive(Debug)]
struct PastCycle {
    start: u32,
    work: u32,
    snapshot: QuorumSnapshot,
}

/// The block asked for. It need not be on the active chain, as long as the reply's blocks are.
#[derive(Debug)]
struct Requested {
    height: u32,
    fork_height: Option<u32>,
}

// === impl Bases ===

impl Bases {
    /// The bases that the request names; none at all means genesis.
    fn find(chain: &Chain, request: &GetQRInfo, session: ServerSession) -> Result<Self, Refusal> {
        let heights = request.base_block_hashes.iter().map(|hash| base_height(chain, *hash));
        let mut heights = heights.collect::<Result<BTreeSet<_>, _>>()?;
        if heights.is_empty() {
            heights.insert(0);
        }
        Ok(Self { heights, session })
    }

    /// Builds the diff to `target` from the highest base that counts for it, or from genesis.
    fn build(&mut self, chain: &Chain, target: u32) -> Result<MnListDiff, Refusal> {
        if self.session.server() == ServerVersion::V22_1 {
            return self.build_as_v22_1(chain, target);
        }
        let base = self.heights.range(..=target).next_back().copied().unwrap_or(0);
        if self.session.is_efficient() {
            self.heights.insert(target);
        }
        between(chain, base, target)
    }

    /// A base at the target's own height does not count, and genesis that was not sent is all zero.
    fn build_as_v22_1(&self, chain: &Chain, target: u32) -> Result<MnListDiff, Refusal> {
        match self.heights.range(..target).next_back() {
            Some(&base) => between(chain, base, target),
            None => Ok(MnListDiff { base_block_hash: BlockHash::ZERO, ..between(chain, 0, target)? }),
        }
    }

    fn build_extra_share(&mut self, chain: &Chain, four: Option<&PastCycle>) -> Result<Option<ExtraShare>, Refusal> {
        let Some(four) = four else { return Ok(None) };
        Ok(Some(ExtraShare {
            quorum_snapshot_at_h_minus_4c: four.snapshot.clone(),
            mn_list_diff_at_h_minus_4c: self.build(chain, four.work)?,
        }))
    }

    /// The diff to the tip starts from the highest base of all, in every version.
    fn build_tip(&self, chain: &Chain) -> Result<MnListDiff, Refusal> {
        between(chain, self.heights.last().copied().unwrap_or(0), chain.tip())
    }
}

// === impl PastCycle ===

impl PastCycle {
    fn find(chain: &Chain, start: u32) -> Result<Self, Refusal> {
        let work = start.checked_sub(WORK_BLOCK_OFFSET).ok_or(Refusal::BeforeGenesis)?;
        let snapshot = chain.snapshot(start).cloned().ok_or(Refusal::NoSnapshot(start))?;
        Ok(Self { start, work, snapshot })
    }
}

// === impl Requested ===

impl Requested {
    fn find(chain: &Chain, request: &GetQRInfo) -> Result<Self, Refusal> {
        match chain.find(&request.block_hash) {
            Some(Place::Active(height)) => Ok(Self { height, fork_height: None }),
            Some(Place::Stale(stale)) => Ok(Self { height: stale.height, fork_height: Some(stale.fork_height) }),
            None => Err(Refusal::UnknownBlock(request.block_hash)),
        }
    }

    /// The newest commitment of each index as of the requested block, with the height of the quorum's block. They are
    /// those of the active chain; one of a quorum above the fork is not found under the other branch's hash.
    fn last_commitments(&self, chain: &Chain) -> Result<Vec<(u32, Commitment)>, Refusal> {
        let llmq_type = chain.network().rotated_llmq();
        let until = self.height.min(chain.tip());
        let mut commitments = Vec::new();
        for quorum in chain.quorums().last_per_index(llmq_type, until) {
            if self.fork_height.is_some_and(|fork| quorum.height > fork) {
                return Err(Refusal::StaleBlock(BlockHash::from_bytes(*quorum.commitment.quorum_hash.as_bytes())));
            }
            commitments.push((quorum.height, quorum.commitment.clone()));
        }
        Ok(commitments)
    }
}
