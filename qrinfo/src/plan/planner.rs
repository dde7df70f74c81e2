use std::collections::BTreeSet;

use qrinfo_core::{BlockHash, CYCLES_BACK, CycleStart, Network, QRInfoRequestSpec};

use super::PlanError;

/// The number of cycles back that the bases of a request reach.
///
/// Four are needed for the reply's own diffs. The other three are for stragglers: a quorum index whose DKG failed keeps
/// its older commitment, whose snapshots reach up to three cycles further back. Without a base there, the server sends
/// a full list (523 KB on mainnet).
const BASES_BACK: u32 = 7;

/// Distance of an anchor below the peers' lowest tip, in blocks, so that a reorganisation does not remove it.
const ANCHOR_DEPTH: u32 = 8;

/// The choice of the bases of a plan. It decides the number of bytes of the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlanKind {
    /// A reply brings the step from the cycle before it; each step crosses the wire once. For consumers that apply
    /// replies in the order of the plan and keep the lists.
    #[default]
    Chained,
    /// A reply brings all of its own five steps. For consumers that apply replies one at a time or out of order.
    FiveStep,
}

/// The settings of a plan: the lists that the client knows, and the choice of bases. Makes the requests of a sync.
///
/// Requests are independent on the wire and ordered only when they are applied: every base is a block whose list the
/// client has *by the time the reply is applied*.
///
/// ```
/// use qrinfo::plan::{Planner, anchor};
/// use qrinfo_core::{BlockHash, Network};
///
/// # let hash = |height: u32| { let mut b = [0; 32]; b[..4].copy_from_slice(&height.to_le_bytes()); BlockHash::from_bytes(b) };
/// // Headers up to height 2,240,504, and peers that announced 2,240,504 and 2,240,510.
/// let plan = Planner {
///     anchor: anchor([2_240_504, 2_240_510]),
///     ..Planner::new(Network::Mainnet, 2_240_504)
/// }
/// .plan(2_239_488, 2_240_352, |height| Some(hash(height)))?;
///
/// assert_eq!(plan.len(), 4);
/// assert_eq!(plan[3].block_hash, hash(2_240_504), "the newest cycle is asked for by the tip");
/// assert_eq!(plan[0].block_hash, hash(2_239_775), "an older one by its last block");
/// assert_eq!(plan[0].base_block_hashes, [Network::Mainnet.genesis_hash(), hash(2_240_496)]);
/// # Ok::<(), qrinfo::plan::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Planner {
    /// The network asked.
    pub network: Network,
    /// The height of our newest header.
    pub tip: u32,
    /// The choice of bases.
    pub kind: PlanKind,
    /// Heights of the lists that the client already holds, of blocks in our headers. Empty means that it starts from
    /// nothing. The newest at or below each list that a reply leads to becomes a base, so that the reply brings only
    /// what is missing. Those above a cycle's work block serve the tip diff of the newest cycle alone.
    pub known_lists: BTreeSet<u32>,
    /// The height of a block near the tip that every peer has, see [`anchor`]. As one more base it empties the tip diff
    /// of a historical request, which is not applied. Without an anchor every reply carries a full tip diff.
    pub anchor: Option<u32>,
    /// True if replies bring `H-4C` as well. The first cycle of a sync from nothing needs it for the quorums of the
    /// cycle before. Dash Core up to 23.0 refuses a cycle without `H-4C` even if this is `false`; from 23.1 on it
    /// answers.
    pub extra_share: bool,
}

/// The anchor for peers that announced these heights: eight blocks below the lowest.
///
/// A peer that does not have the block refuses the request and holds it against us, so one anchor must suit all peers
/// of a plan. One peer that is far behind moves it down for all: leave such a peer out. A request whose work block is
/// not below the anchor goes without. `None` without peers, or when their chain is shorter than that.
pub fn anchor(start_heights: impl IntoIterator<Item = u32>) -> Option<u32> {
    start_heights.into_iter().min()?.checked_sub(ANCHOR_DEPTH).filter(|&height| height > 0)
}

// === impl Planner ===

impl Planner {
    /// A chained plan from nothing, without an anchor, with the extra share.
    pub fn new(network: Network, tip: u32) -> Self {
        let kind = PlanKind::default();
        Self { network, tip, kind, known_lists: BTreeSet::new(), anchor: None, extra_share: true }
    }

    /// Returns one request for each cycle from the one that contains `first` to the one that contains `last`, oldest
    /// first. `hash_at` returns our header's hash at a height.
    ///
    /// # Errors
    /// [`PlanError`] if the range is empty, too early, or not covered by headers.
    pub fn plan(
        &self,
        first: u32,
        last: u32,
        hash_at: impl Fn(u32) -> Option<BlockHash>,
    ) -> Result<Vec<QRInfoRequestSpec>, PlanError> {
        let cycles = self.network.cycles();
        let (first, last) = (cycles.start_of(first), cycles.start_of(last));
        if last < first {
            return Err(PlanError::EmptyRange { first: first.height(), last: last.height() });
        }
        if last.height() > self.tip {
            return Err(PlanError::BeyondTip { cycle: last.height(), tip: self.tip });
        }
        let too_early = |cycle: CycleStart| PlanError::TooEarly {
            cycle: cycle.height(),
            first: (self.lists_back() + 1) * cycles.length(),
        };
        let oldest_list = cycles.work_height_back(first, self.lists_back()).ok_or(too_early(first))?;
        let hash = |height| match height {
            // A client whose headers start at a checkpoint has no block 0.
            0 => Ok(self.network.genesis_hash()),
            _ => hash_at(height).ok_or(PlanError::MissingHeader(height)),
        };
        (first.height()..=last.height())
            .step_by(cycles.length() as usize)
            .map(|height| {
                let cycle = cycles.start_of(height);
                let bases = self.bases(cycle, first, oldest_list);
                let mut work_block_hashes = [BlockHash::ZERO; 5];
                for (back, work_block) in (0..).zip(&mut work_block_hashes) {
                    match cycles.work_height_back(cycle, back) {
                        Some(height) => *work_block = hash(height)?,
                        // The reply does not bring it.
                        None if back > self.lists_back() => {}
                        None => return Err(too_early(cycle)),
                    }
                }
                Ok(QRInfoRequestSpec {
                    network: self.network,
                    cycle,
                    base_block_hashes: bases.into_iter().map(hash).collect::<Result<_, _>>()?,
                    block_hash: hash(cycles.block_to_ask(cycle, self.tip))?,
                    extra_share: self.extra_share,
                    work_block_hashes,
                })
            })
            .collect()
    }

    /// Returns the number of cycles before its own of which a reply brings lists.
    pub(crate) const fn lists_back(&self) -> u32 {
        if self.extra_share { CYCLES_BACK } else { CYCLES_BACK - 1 }
    }

    /// The heights of the lists that the reply for a cycle brings.
    pub(super) fn lists_of(&self, cycle: CycleStart) -> impl Iterator<Item = u32> {
        let cycles = self.network.cycles();
        (0..=self.lists_back()).filter_map(move |back| cycles.work_height_back(cycle, back))
    }

    /// The heights of a request's bases, ascending and unique. Ten at most, as newer servers bound their number: one for
    /// each list that the reply may lead to, the start, and one for the tip diff.
    fn bases(&self, cycle: CycleStart, first: CycleStart, oldest_list: u32) -> BTreeSet<u32> {
        let cycles = self.network.cycles();
        let known = |height| self.known_lists.range(..=height).next_back().copied();
        let nearest = match self.kind {
            PlanKind::Chained => 1,
            PlanKind::FiveStep => self.lists_back() + 1,
        };
        // The newest list that the client has, or has from earlier replies of this plan, below the one wanted.
        let newest_below = |back: u32| {
            let brought = cycles.work_height_back(cycle, back.max(nearest));
            let brought = brought.filter(|height| cycle > first && *height >= oldest_list);
            brought.max(known(cycles.work_height_back(cycle, back)?))
        };
        let recent = (0..=BASES_BACK).filter_map(newest_below);
        let is_newest = cycle == cycles.start_of(self.tip);
        let for_tip_diff = match is_newest {
            true => known(self.tip),
            // At or below the work block it would count as a list that the client has.
            false => self.anchor.filter(|&anchor| Some(anchor) > cycles.work_height(cycle)),
        };
        recent.chain([known(oldest_list).unwrap_or(0)]).chain(for_tip_diff).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(height: u32) -> BlockHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&height.to_le_bytes());
        BlockHash::from_bytes(bytes)
    }

    fn bases(planner: &Planner, first: u32, last: u32) -> Vec<Vec<u32>> {
        let plan = planner.plan(first, last, |height| Some(hash(height))).unwrap();
        let height = |hash: &BlockHash| match *hash == planner.network.genesis_hash() {
            true => 0,
            false => u32::from_le_bytes(*hash.as_bytes().first_chunk().unwrap()),
        };
        plan.iter().map(|spec| spec.base_block_hashes.iter().map(height).collect()).collect()
    }

    #[test]
    fn a_client_that_holds_lists_goes_on_from_them() {
        let known_lists = [1000, 1024, 1048, 1072, 1096, 1120].into();
        let planner = Planner { known_lists, ..Planner::new(Network::Regtest, 1772) };
        // Cycle 1152: work blocks 1144 (itself), 1120, 1096, 1072, 1048, 1024, 1000.
        assert_eq!(
            bases(&planner, 1152, 1176),
            [vec![1000, 1024, 1048, 1072, 1096, 1120], vec![1000, 1024, 1048, 1072, 1096, 1120, 1144]]
        );
    }

    #[test]
    fn a_known_list_is_a_base_below_the_list_it_is_nearest_to() {
        let planner = Planner { known_lists: [1130].into(), ..Planner::new(Network::Regtest, 1772) };
        // Work blocks: 1144, 1120, 1096, 1072, 1048. The lists up to 1120 start from nothing.
        assert_eq!(bases(&planner, 1152, 1152), [[0, 1130]]);
        let planner = Planner { known_lists: [900, 1000, 1046, 1047, 1100, 1145].into(), ..planner };
        assert_eq!(bases(&planner, 1152, 1152), [[900, 1000, 1047, 1100]]);
        let planner = Planner { kind: PlanKind::FiveStep, ..planner };
        assert_eq!(bases(&planner, 1152, 1152), [[900, 1000, 1047, 1100]]);
    }

    #[test]
    fn only_the_newest_cycles_tip_diff_starts_from_a_known_list() {
        let known_lists = [1700, 1760, 1770, 1780].into();
        let planner = Planner { known_lists, ..Planner::new(Network::Regtest, 1772) };
        // The newest cycle starts at 1752; 1780 is not in our headers yet.
        assert_eq!(bases(&planner, 1752, 1752), [[0, 1700, 1770]]);
        assert_eq!(bases(&planner, 1728, 1728), [[0, 1700]]);
    }

    #[test]
    fn without_the_extra_share_a_reply_brings_four_lists() {
        let planner = Planner { extra_share: false, ..Planner::new(Network::Regtest, 1772) };
        // Cycle 264 brings 184, 208, 232 and 256.
        assert_eq!(bases(&planner, 264, 288), [vec![0], vec![0, 184, 208, 232, 256]]);
    }

    #[test]
    fn every_range_that_cannot_be_planned_has_its_reason() {
        let planner = Planner::new(Network::Regtest, 1772);
        let plan = |first, last| planner.plan(first, last, |height| Some(hash(height)).filter(|_| height != 1500));
        assert_eq!(plan(96, 1772), Err(PlanError::TooEarly { cycle: 96, first: 120 }));
        let without_extra = Planner { extra_share: false, ..planner.clone() };
        let plan_without = |first| without_extra.plan(first, first, |height| Some(hash(height)));
        assert_eq!(plan_without(72), Err(PlanError::TooEarly { cycle: 72, first: 96 }));
        assert_eq!(
            plan_without(96).unwrap()[0].work_block_hashes,
            [hash(88), hash(64), hash(40), hash(16), BlockHash::ZERO]
        );
        assert_eq!(plan(264, 240), Err(PlanError::EmptyRange { first: 264, last: 240 }));
        assert_eq!(plan(264, 1776), Err(PlanError::BeyondTip { cycle: 1776, tip: 1772 }));
        assert!(plan(1488, 1488).is_ok());
        assert_eq!(plan(1488, 1512).map(|plan| plan.len()), Ok(2));
        let planner = Planner { anchor: Some(1500), ..planner.clone() };
        let plan = planner.plan(1488, 1512, |height| Some(hash(height)).filter(|_| height != 1500));
        assert_eq!(plan, Err(PlanError::MissingHeader(1500)));
    }

    #[test]
    fn an_anchor_is_never_a_base_of_the_lists_that_a_reply_leads_to() {
        let planner = Planner { anchor: Some(1692), ..Planner::new(Network::Regtest, 1772) };
        let bases = bases(&planner, 1656, 1752);
        // Work blocks: 1648, 1672, 1696, 1720, 1744.
        let with_anchor: Vec<_> = bases.iter().map(|bases| bases.contains(&1692)).collect();
        assert_eq!(with_anchor, [true, true, false, false, false]);
    }

    #[test]
    fn an_anchor_suits_the_lowest_peer() {
        assert_eq!(anchor([]), None);
        assert_eq!(anchor([8, 100]), None);
        assert_eq!(anchor([1772, 1700]), Some(1692));
    }
}
