//! Which quorums are active at a height, and which of them signs.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
};

use qrinfo_core::{
    BlockHash, CycleStart, Cycles, Hash256, LlmqParams, LlmqType, Network, QuorumHash,
    message::{Commitment, QuorumIndex},
    sha256d,
};

use super::succession::{Succession, firsts, newest};
use crate::{headers::KnownBlock, lists::Lists};

/// A commitment and when it was mined, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinedQuorum {
    /// The commitment.
    pub commitment: Commitment,
    /// The height of the block whose hash names the quorum: where its DKG started. `None` if that block lies below our
    /// headers, and so below those of all quorums whose height is known.
    pub height: Option<u32>,
    /// The heights of the blocks of which one has the commitment.
    pub mined: RangeInclusive<u32>,
}

/// Quorums by type, and from them the active ones at any height that is covered.
///
/// It [learns](Self::learn) from proven lists, those that a [`ListStage`](crate::ListStage) gives out one after the
/// other. It believes them, and says nothing about the quorums' signatures
/// ([`verify_quorums`](crate::verify_quorums) does).
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
    /// Of a rotated type each index has its own.
    successions: BTreeMap<(LlmqType, QuorumIndex), Succession>,
}

/// The active quorums of a type at a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveQuorums<'a> {
    /// The active set, the oldest quorum first, if no more of `unsettled` are mined than the settled ones. Of a rotated
    /// type the newest quorum of each index, of others as many as the type has active. Between two lists of which the
    /// later one has several quorums no more whose blocks lie below our headers, it is not known which of them is older.
    pub settled: Vec<&'a MinedQuorum>,
    /// Quorums that may have been mined by this height or may not, the oldest first. Each takes the place of the oldest
    /// (of its index) if it was.
    pub unsettled: Vec<&'a MinedQuorum>,
}

/// How far below a height the quorums lie that sign for it, so that nodes which are some blocks apart select the same
/// one (Dash Core's `SIGN_HEIGHT_OFFSET`).
pub const SIGN_HEIGHT_OFFSET: u32 = 8;

// === impl MinedQuorum ===

impl MinedQuorum {
    /// A quorum of which nothing but the height of its block is known: it was mined in its type's mining window. Of a
    /// type without parameters, at some height above.
    pub fn new(commitment: Commitment, height: u32) -> Self {
        let mined = match commitment.llmq_type.params() {
            Some(params) if params.rotated => params.mining_window(Cycles::of(params).start_of(height).height()),
            Some(params) => params.mining_window(height),
            None => height.saturating_add(1)..=u32::MAX,
        };
        Self { commitment, height: Some(height), mined }
    }

    /// A quorum of a proven list whose block lies below our headers: it may have been mined at any height.
    pub fn below_headers(commitment: Commitment) -> Self {
        Self { commitment, height: None, mined: 0..=u32::MAX }
    }

    /// The same, seen in a list at this height. Nothing changes if that contradicts what is known.
    pub fn until(self, height: u32) -> Self {
        match self.mined.contains(&height) {
            true => Self { mined: *self.mined.start()..=height, ..self },
            false => self,
        }
    }

    /// The same, absent from the list at this height, which is older. Nothing changes if that contradicts what is
    /// known.
    pub fn after(self, height: u32) -> Self {
        match self.mined.contains(&height.saturating_add(1)) {
            true => Self { mined: height.saturating_add(1)..=*self.mined.end(), ..self },
            false => self,
        }
    }

    /// The same, with what was known of it before. Nothing changes by what was known of another one.
    pub(crate) fn informed_by(self, known: Option<Self>) -> Self {
        match known {
            Some(known) if known.commitment == self.commitment => {
                let (start, end) = known.mined.into_inner();
                let quorum = self.until(end);
                if start == 0 { quorum } else { quorum.after(start - 1) }
            }
            _ => self,
        }
    }
}

// === impl Quorums ===

impl Quorums {
    /// No quorums, covering one height. Those that are active there are to be inserted.
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

    /// Learns the quorums of proven lists, which follow those learned before by a cycle at most, and covers what lies
    /// between. The first lists are those at the height where this starts. `headers` answers for our best chain, from
    /// the tip down to any height. A quorum whose block it does not know lies below and is active all the same, as the
    /// root of the quorums proves. Testnet has some whose blocks are thousands of blocks back.
    ///
    /// After a reorganisation, [forget](Self::forget_above) what is above the fork.
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
                Some(height) => MinedQuorum::new(commitment.clone(), height),
                None => MinedQuorum::below_headers(commitment.clone()),
            };
            let quorum = quorum.until(lists.height());
            self.insert(if is_new && before < lists.height() { quorum.after(before) } else { quorum });
        }
        self.cover_until(lists.height());
    }

    /// Says that whatever was active at any height up to this one is inserted. Heights that are covered stay so.
    ///
    /// With the commitments of a list everything up to its height is known, if those of the list before are inserted
    /// and both lie at most a cycle apart: the lists at the work blocks of all cycles leave nothing out.
    pub fn cover_until(&mut self, height: u32) {
        self.covered = *self.covered.start()..=height.max(*self.covered.end());
    }

    /// Adds a quorum, or learns more about when one was mined.
    pub fn insert(&mut self, quorum: MinedQuorum) {
        let index = quorum.commitment.quorum_index.unwrap_or(0);
        self.successions.entry((quorum.commitment.llmq_type, index)).or_default().insert(quorum);
    }

    /// Forgets the quorums that were replaced before this height, which becomes the first that is covered.
    pub fn forget_below(&mut self, height: u32) {
        let end = *self.covered.end();
        self.covered = height.clamp(*self.covered.start(), end)..=end;
        let start = *self.covered.start();
        for (&(llmq_type, _), succession) in &mut self.successions {
            succession.forget_below(start, active_count(llmq_type));
        }
    }

    /// Forgets what blocks above this height have taught, which a reorganisation has replaced. Go on with the lists of
    /// the chain that stays; until then no more is covered than is certain without them.
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

    /// The active quorums of a type at a height (Dash Core's `ScanQuorums`). Only a height that is covered has all.
    pub fn active_at(&self, llmq_type: LlmqType, height: u32) -> ActiveQuorums<'_> {
        let mut active = ActiveQuorums { settled: Vec::new(), unsettled: Vec::new() };
        for succession in self.successions(llmq_type) {
            let (settled, unsettled) = succession.split(height);
            active.settled.extend(newest(&settled, active_count(llmq_type)));
            active.unsettled.extend(unsettled.iter().map(|placed| placed.quorum));
        }
        active.settled.sort_by_key(|quorum| quorum.height);
        active.unsettled.sort_by_key(|quorum| quorum.height);
        active
    }

    /// The quorum that signs a request at a height, by the active quorums *of that height* (Dash Core's
    /// `SelectQuorumForSigning`; what is signed for a height is selected [`SIGN_HEIGHT_OFFSET`] blocks below it).
    ///
    /// Of a rotated type the quorum with the index that bits of the request's id name (DIP-24), of others the one with
    /// the smallest hash of type, quorum and id (DIP-7).
    ///
    /// One quorum, or none if none is active. Where it hangs on quorums whose mining is not settled at this height, each
    /// that it can be, the oldest active set's first.
    pub fn signers(&self, llmq_type: LlmqType, request_id: &Hash256, height: u32) -> Vec<&MinedQuorum> {
        let Some(params) = llmq_type.params() else { return Vec::new() };
        let index = if params.rotated { selected_index(&params, request_id) } else { 0 };
        let Some(succession) = self.successions.get(&(llmq_type, index)) else { return Vec::new() };
        let (settled, unsettled) = succession.split(height);
        let score = |quorum: &MinedQuorum| score(llmq_type, &quorum.commitment.quorum_hash, request_id);
        let mut signers: Vec<&MinedQuorum> = Vec::new();
        for mined in 0..=unsettled.len() {
            let set: Vec<_> = settled.iter().chain(unsettled.iter().take(mined)).copied().collect();
            for signer in firsts(&set, active_count(llmq_type), score) {
                if !signers.contains(&signer) {
                    signers.push(signer);
                }
            }
        }
        signers
    }

    /// The rotated quorum that this request selects among those of the cycle that starts at a height.
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

/// How many quorums of a succession are active at a time.
fn active_count(llmq_type: LlmqType) -> usize {
    llmq_type.params().map_or(0, |params| if params.rotated { 1 } else { usize::from(params.active) })
}

/// The index that the id's highest bits name, but for the very highest: so Dash Core takes them.
fn selected_index(params: &LlmqParams, request_id: &Hash256) -> QuorumIndex {
    let bits = params.active.max(1).ilog2();
    let [.., a, b, c, d, e, f, g, h] = *request_id.as_bytes();
    let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let index = number >> (u64::BITS - bits - 1) & ((1 << bits) - 1);
    QuorumIndex::try_from(index).unwrap_or(QuorumIndex::MAX)
}

/// What the quorums of a request compete with. Dash Core compares these hashes byte by byte from the first.
fn score(llmq_type: LlmqType, quorum_hash: &QuorumHash, request_id: &Hash256) -> [u8; 32] {
    sha256d(&[&[llmq_type.0], quorum_hash.as_bytes().as_slice(), request_id.as_bytes()].concat())
}
