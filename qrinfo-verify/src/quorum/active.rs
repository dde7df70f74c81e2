//! The active quorums at a height, and the selection of the one that signs.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
};

use qrinfo_core::{
    BlockHash, CycleStart, Hash256, LlmqParams, LlmqType, Network, QuorumHash, message::QuorumIndex, sha256d,
};

use super::{
    mined::MinedQuorum,
    succession::{Succession, firsts, newest},
};
use crate::{headers::KnownBlock, lists::Lists};

/// Quorums by type, and from them the active ones at any height that is covered.
///
/// It [learns](Self::learn) from proven lists, such as those of a [`ListStage`](crate::ListStage) in ascending order.
/// It trusts them and says nothing about the quorums' signatures ([`verify_quorums`](crate::verify_quorums) does).
///
/// ```
/// use qrinfo_core::{LlmqType, Network};
/// use qrinfo_verify::{HeaderMap, Lists, Quorums};
///
/// let headers = HeaderMap::default();
/// let lists = Lists::at_genesis(Network::Mainnet);
/// let mut quorums = Quorums::starting_at(Network::Mainnet, lists.height());
/// quorums.learn(&lists, |block| headers.find(block));
/// assert_eq!(quorums.covered(), 0..=0);
/// assert!(quorums.active_at(LlmqType::LLMQ_60_75, 0).settled.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorums {
    network: Network,
    covered: RangeInclusive<u32>,
    /// By type and, for a rotated type, index.
    successions: BTreeMap<(LlmqType, QuorumIndex), Succession>,
}

/// The active quorums of a type at a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveQuorums<'a> {
    /// The active set without any of `unsettled`, the oldest quorum first: the newest quorum of each index for a
    /// rotated type, the newest quorums up to the active number for other types. If several quorums with blocks below
    /// our headers left between the same two lists, their order is unknown.
    pub settled: Vec<&'a MinedQuorum>,
    /// Quorums that may have been mined by this height, the oldest first. Each one that was mined replaces the oldest
    /// (of its index).
    pub unsettled: Vec<&'a MinedQuorum>,
}

/// The distance from a height down to the quorums that sign for it, in blocks. It makes nodes that are some blocks
/// apart select the same quorum (Dash Core's `SIGN_HEIGHT_OFFSET`).
pub const SIGN_HEIGHT_OFFSET: u32 = 8;

// === impl Quorums ===

impl Quorums {
    /// Creates an empty set that covers one height. Insert the quorums that are active there.
    pub fn starting_at(network: Network, height: u32) -> Self {
        Self { network, covered: height..=height, successions: BTreeMap::new() }
    }

    /// The network whose quorums these are.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The heights at which the active quorums are known.
    pub fn covered(&self) -> RangeInclusive<u32> {
        self.covered.clone()
    }

    /// Learns the quorums of proven lists at most one cycle above the last ones, and covers the heights between. The
    /// first lists are those at the starting height. `headers` answers for our best chain, from the tip down to any
    /// height. A quorum whose block is unknown lies below and is active all the same, as the root of the quorums
    /// proves. Testnet has some with blocks thousands of blocks back.
    ///
    /// After a reorganisation, [forget](Self::forget_above) the heights above the fork.
    pub fn learn(&mut self, lists: &Lists, headers: impl Fn(&BlockHash) -> Option<KnownBlock>) {
        let before = *self.covered.end();
        for ((llmq_type, _), succession) in &mut self.successions {
            succession.seen(lists.height(), |hash| lists.quorums().get(*llmq_type, *hash).is_some());
        }
        for commitment in lists.quorums().iter() {
            let block = BlockHash::from_bytes(*commitment.quorum_hash.as_bytes());
            let known = self.quorum(commitment.llmq_type, &commitment.quorum_hash);
            let is_new = known.is_none();
            let quorum = match headers(&block).map(|block| block.height).or(known.and_then(|known| known.height)) {
                Some(height) => MinedQuorum::new(self.network, commitment.clone(), height),
                None => MinedQuorum::below_headers(commitment.clone()),
            };
            let quorum = quorum.until(lists.height());
            self.insert(if is_new { quorum.after(before) } else { quorum });
        }
        self.cover_until(lists.height());
    }

    /// Declares that all quorums that were active up to this height are inserted. Covered heights stay covered.
    ///
    /// The commitments of a list complete everything up to its height, if those of the list before are inserted and
    /// both are at most a cycle apart: the lists at the work blocks of all cycles leave no gap.
    pub fn cover_until(&mut self, height: u32) {
        self.covered = *self.covered.start()..=height.max(*self.covered.end());
    }

    /// Adds a quorum, or narrows the range at which a known one was mined.
    pub fn insert(&mut self, quorum: MinedQuorum) {
        let index = quorum.commitment.quorum_index.unwrap_or(0);
        self.successions.entry((quorum.commitment.llmq_type, index)).or_default().insert(quorum);
    }

    /// Forgets the quorums that were replaced before this height, which becomes the first covered one.
    pub fn forget_below(&mut self, height: u32) {
        let end = *self.covered.end();
        self.covered = height.clamp(*self.covered.start(), end)..=end;
        let (network, start) = (self.network, *self.covered.start());
        for (&(llmq_type, _), succession) in &mut self.successions {
            succession.forget_below(start, active_count(network, llmq_type));
        }
    }

    /// Forgets everything learned from blocks above this height, which a reorganisation has replaced. Continue with the
    /// lists of the remaining chain; until then only heights that are certain without them stay covered.
    pub fn forget_above(&mut self, height: u32) {
        let uncertain = self.successions.values_mut().filter_map(|succession| succession.forget_above(height)).min();
        let certain = uncertain.map_or(height, |mined| height.min(mined.saturating_sub(1)));
        let end = certain.min(*self.covered.end());
        self.covered = (*self.covered.start()).min(end)..=end;
    }

    /// The quorum of this type with this hash.
    pub fn quorum(&self, llmq_type: LlmqType, quorum_hash: &QuorumHash) -> Option<&MinedQuorum> {
        self.successions(llmq_type)
            .flat_map(Succession::iter)
            .find(|quorum| quorum.commitment.quorum_hash == *quorum_hash)
    }

    /// Returns the active quorums of a type at a height (Dash Core's `ScanQuorums`), complete for covered heights only.
    pub fn active_at(&self, llmq_type: LlmqType, height: u32) -> ActiveQuorums<'_> {
        let mut active = ActiveQuorums { settled: Vec::new(), unsettled: Vec::new() };
        for succession in self.successions(llmq_type) {
            let (settled, unsettled) = succession.split(height);
            active.settled.extend(newest(&settled, active_count(self.network, llmq_type)));
            active.unsettled.extend(unsettled.iter().map(|placed| placed.quorum));
        }
        active.settled.sort_by_key(|quorum| quorum.height);
        active.unsettled.sort_by_key(|quorum| quorum.height);
        active
    }

    /// Selects the quorum that signs a request at a height, among the active quorums *of that height* (Dash Core's
    /// `SelectQuorumForSigning`; signatures for a height use the quorums [`SIGN_HEIGHT_OFFSET`] blocks below it).
    ///
    /// For a rotated type this is the quorum whose index is given by bits of the request's id (DIP-24), for other types
    /// the one with the smallest hash of type, quorum and id (DIP-7).
    ///
    /// Returns the candidate signers. Usually one; several, those of the oldest active set first, if it is unknown
    /// whether recent quorums were mined by `height`; none if no quorum is active.
    pub fn signers(&self, llmq_type: LlmqType, request_id: &Hash256, height: u32) -> Vec<&MinedQuorum> {
        let Some(params) = self.network.llmq_params(llmq_type) else { return Vec::new() };
        let index = if params.rotated { selected_index(&params, request_id) } else { 0 };
        let Some(succession) = self.successions.get(&(llmq_type, index)) else { return Vec::new() };
        let (settled, unsettled) = succession.split(height);
        let score = |quorum: &MinedQuorum| score(llmq_type, &quorum.commitment.quorum_hash, request_id);
        let mut signers: Vec<&MinedQuorum> = Vec::new();
        for mined in 0..=unsettled.len() {
            let set: Vec<_> = settled.iter().chain(unsettled.iter().take(mined)).copied().collect();
            for signer in firsts(&set, active_count(self.network, llmq_type), score) {
                if !signers.contains(&signer) {
                    signers.push(signer);
                }
            }
        }
        signers
    }

    /// Returns the rotated quorum of one cycle that this request selects.
    pub(crate) fn signer_of_cycle(&self, request_id: &Hash256, cycle: CycleStart) -> Option<&MinedQuorum> {
        let params = self.network.rotated_params();
        let index = selected_index(&params, request_id);
        let height = cycle.height().checked_add(u32::try_from(index).ok()?)?;
        let mut succession = self.successions.get(&(params.llmq_type, index))?.iter();
        succession.find(|quorum| quorum.height == Some(height))
    }

    fn successions(&self, llmq_type: LlmqType) -> impl Iterator<Item = &Succession> {
        let indexes = (Bound::Included((llmq_type, QuorumIndex::MIN)), Bound::Included((llmq_type, QuorumIndex::MAX)));
        self.successions.range(indexes).map(|(_, succession)| succession)
    }
}

/// The number of quorums of a succession that are active at a time.
fn active_count(network: Network, llmq_type: LlmqType) -> usize {
    network.llmq_params(llmq_type).map_or(0, |params| if params.rotated { 1 } else { usize::from(params.active) })
}

/// The index in the highest bits of the id, without the very highest one, as in Dash Core.
fn selected_index(params: &LlmqParams, request_id: &Hash256) -> QuorumIndex {
    let bits = params.active.max(1).ilog2();
    let [.., a, b, c, d, e, f, g, h] = *request_id.as_bytes();
    let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let index = number >> (u64::BITS - bits - 1) & ((1 << bits) - 1);
    QuorumIndex::try_from(index).unwrap_or(QuorumIndex::MAX)
}

/// The score of a quorum for a request. Dash Core compares these hashes byte by byte from the first.
fn score(llmq_type: LlmqType, quorum_hash: &QuorumHash, request_id: &Hash256) -> [u8; 32] {
    sha256d(&[&[llmq_type.0], quorum_hash.as_bytes().as_slice(), request_id.as_bytes()].concat())
}
