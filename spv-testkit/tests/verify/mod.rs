//! A light client for tests: applies replies and proves what can be proven, from the protocol alone.
//!
//! It shares no code with the chain that it checks. Merkle trees are built level by level from plain pairs, members
//! are drawn with sorted vectors of numbers.

use std::collections::{BTreeMap, HashMap, HashSet};

use qrinfo_core::{
    BlockHash, LlmqType, ProTxHash, QuorumHash,
    message::{Commitment, MnListDiff, QRInfo, QuorumSnapshot, SkipListMode, SmlEntry},
    wire::Wire,
};
use sha2::{Digest, Sha256};
use spv_testkit::Chain;

type List = BTreeMap<ProTxHash, SmlEntry>;
type Quorums = BTreeMap<(u8, QuorumHash), Commitment>;

/// The state of a light client after some replies. It trusts nothing but the headers.
pub(crate) struct Light<'a> {
    headers: &'a Chain,
    heights: HashMap<BlockHash, u32>,
    states: BTreeMap<u32, (List, Quorums)>,
    modifiers: HashMap<u32, [u8; 32]>,
    /// By the start of their cycle.
    pub(crate) snapshots: BTreeMap<u32, QuorumSnapshot>,
    commitments: BTreeMap<QuorumHash, Commitment>,
    /// Trailing lists that came.
    pub(crate) trailing: usize,
}

impl<'a> Light<'a> {
    pub(crate) fn new(headers: &'a Chain) -> Self {
        let heights = (0..=headers.tip()).map(|height| (headers.block(height).unwrap().hash, height)).collect();
        Self {
            headers,
            heights,
            states: BTreeMap::from([(0, Default::default())]),
            modifiers: HashMap::new(),
            snapshots: BTreeMap::new(),
            commitments: BTreeMap::new(),
            trailing: 0,
        }
    }

    fn height(&self, hash: BlockHash) -> u32 {
        *self.heights.get(&hash).expect("a block that is in the headers")
    }

    pub(crate) fn take(&mut self, reply: &QRInfo) {
        let bytes = reply.to_wire();
        let reply = &QRInfo::from_wire(bytes.clone()).unwrap();
        assert_eq!(reply.to_wire(), bytes);
        let mut diffs: Vec<_> = reply.diffs().collect();
        diffs.sort_by_key(|diff| self.height(diff.block_hash));
        for diff in diffs {
            self.apply(diff);
        }
        let extra = reply.extra_share.as_ref().expect("an extra share");
        let mut shots = vec![
            (&reply.mn_list_diff_at_h_minus_c, &reply.quorum_snapshot_at_h_minus_c),
            (&reply.mn_list_diff_at_h_minus_2c, &reply.quorum_snapshot_at_h_minus_2c),
            (&reply.mn_list_diff_at_h_minus_3c, &reply.quorum_snapshot_at_h_minus_3c),
            (&extra.mn_list_diff_at_h_minus_4c, &extra.quorum_snapshot_at_h_minus_4c),
        ];
        assert_eq!(reply.mn_list_diff_list.len(), reply.quorum_snapshot_list.len());
        shots.extend(reply.mn_list_diff_list.iter().zip(&reply.quorum_snapshot_list));
        self.trailing += reply.mn_list_diff_list.len();
        for (diff, snapshot) in shots {
            self.snapshots.insert(self.height(diff.block_hash) + 8, snapshot.clone());
        }
        for commitment in &reply.last_commitment_per_index {
            self.commitments.insert(commitment.quorum_hash, commitment);
        }
    }

    fn apply(&mut self, diff: &MnListDiff) {
        let (base, target) = (self.height(diff.base_block_hash), self.height(diff.block_hash));
        let (mut list, mut quorums) = self.states.get(&base).expect("a list to start from").clone();
        for gone in &diff.deleted_masternodes {
            assert!(list.remove(&gone).is_some(), "deleted, but not there");
        }
        for entry in &diff.new_masternodes {
            assert_ne!(list.insert(entry.pro_reg_tx_hash, entry.clone()), Some(entry), "sent, but not new");
        }
        for gone in &diff.deleted_quorums {
            assert!(quorums.remove(&(gone.llmq_type.0, gone.quorum_hash)).is_some());
        }
        for quorum in &diff.new_quorums {
            assert!(quorums.insert((quorum.llmq_type.0, quorum.quorum_hash), quorum).is_none());
        }

        let header = self.headers.block(target).unwrap().header;
        let payload = diff.coinbase.payload().unwrap();
        assert_eq!(payload.height, target as i32);
        assert_eq!(proof_root(diff), header[36..68], "coinbase proof at {target}");
        let leaves = list.values().map(entry_leaf).collect();
        assert_eq!(*payload.merkle_root_mn_list.as_bytes(), root(leaves), "list root at {target}");
        let mut leaves: Vec<_> = quorums.values().map(|quorum| double(&quorum.to_wire())).collect();
        leaves.sort();
        assert_eq!(*payload.merkle_root_quorums.unwrap().as_bytes(), root(leaves), "quorum root at {target}");
        if let Some((known_list, known_quorums)) = self.states.get(&target) {
            assert!(*known_list == list && *known_quorums == quorums, "two ways to {target} differ");
        }

        let signature = payload.credit_pool.as_ref().map(|pool| pool.best_cl_signature).filter(|s| *s != [0; 96]);
        let llmq_type = self.headers.network().rotated_llmq();
        self.modifiers.insert(target, modifier(llmq_type, target, diff.block_hash, signature));
        self.check_signatures(diff, target);
        self.states.insert(target, (list, quorums));
    }

    /// Signatures of new quorums belong to the coinbases of their work blocks.
    fn check_signatures(&self, diff: &MnListDiff, target: u32) {
        let quorums = diff.new_quorums.to_vec();
        let mut named: Vec<u16> = Vec::new();
        for group in &diff.quorums_cl_sigs {
            named.extend(&group.indexes);
            for place in group.indexes {
                let quorum = &quorums[usize::from(place)];
                let height = self.height(BlockHash::from_bytes(*quorum.quorum_hash.as_bytes()));
                let work = height - u32::from(quorum.quorum_index.unwrap_or(0).unsigned_abs()) - 8;
                let coinbase = &self.headers.block(work).unwrap().body.as_ref().unwrap().coinbase;
                let pool = coinbase.payload().unwrap().credit_pool.as_ref();
                assert_eq!(pool.map_or([0; 96], |pool| pool.best_cl_signature), group.signature);
            }
        }
        let hashes: Vec<_> = diff.quorums_cl_sigs.iter().map(|group| double(&group.signature)).collect();
        assert!(hashes.is_sorted(), "Core's map of signatures is sorted by their hashes");
        named.sort();
        let is_v20 = target + 1 >= self.headers.v20_height();
        assert_eq!(named, if is_v20 { (0..quorums.len() as u16).collect() } else { Vec::new() });
    }

    /// The members of every commitment that what was received suffices for.
    pub(crate) fn members(&self) -> BTreeMap<QuorumHash, Vec<ProTxHash>> {
        let params = self.headers.network().rotated_params();
        let (count, quarter, length) = (usize::from(params.active), usize::from(params.size / 4), params.interval);
        let known = |start: u32| {
            Some((&self.states.get(&(start - 8))?.0, self.modifiers.get(&(start - 8))?, self.snapshots.get(&start)?))
        };
        let old: HashMap<u32, _> = self
            .snapshots
            .keys()
            .filter_map(|start| Some((*start, known(*start)?)))
            .map(|(start, (list, modifier, snapshot))| (start, old_quarters(list, modifier, snapshot, count, quarter)))
            .collect();
        let mut new = HashMap::new();
        let mut members = BTreeMap::new();
        for (hash, commitment) in &self.commitments {
            let index = commitment.quorum_index.unwrap() as usize;
            let cycle = self.height(BlockHash::from_bytes(*hash.as_bytes())) - index as u32;
            let past: Option<Vec<_>> = [3, 2, 1].iter().map(|back| old.get(&(cycle - back * length))).collect();
            let (Some(past), Some((list, _))) = (past, self.states.get(&(cycle - 8))) else { continue };
            let new = new.entry(cycle).or_insert_with(|| {
                let removed_count = cycle < self.headers.v19_height();
                new_quarters(list, &self.modifiers[&(cycle - 8)], &past, count, quarter, removed_count)
            });
            let quarters = past.into_iter().chain([&*new]);
            members.insert(*hash, quarters.flat_map(|quarters| quarters[index].iter().map(|m| m.0)).collect());
        }
        members
    }
}

pub(crate) type Member = (ProTxHash, [u8; 32]);

fn single(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn double(bytes: &[u8]) -> [u8; 32] {
    single(&[&single(&[bytes])])
}

fn entry_leaf(entry: &SmlEntry) -> [u8; 32] {
    double(&entry.to_wire()[2..])
}

fn root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    if level.is_empty() {
        return [0; 32];
    }
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(*level.last().unwrap());
        }
        level = (0..level.len() / 2).map(|i| double(&[level[2 * i], level[2 * i + 1]].concat())).collect();
    }
    level[0]
}

/// Bitcoin's partial merkle tree, read as its inventor wrote it down: by depth, from the top.
fn proof_root(diff: &MnListDiff) -> [u8; 32] {
    struct Walk {
        bits: Vec<bool>,
        hashes: Vec<[u8; 32]>,
        total: usize,
        matched: Vec<(usize, [u8; 32])>,
    }
    impl Walk {
        fn width(&self, height: u32) -> usize {
            (self.total + (1 << height) - 1) >> height
        }
        fn node(&mut self, height: u32, place: usize) -> [u8; 32] {
            let bit = self.bits.remove(0);
            if height == 0 || !bit {
                let hash = self.hashes.remove(0);
                if height == 0 && bit {
                    self.matched.push((place, hash));
                }
                return hash;
            }
            let left = self.node(height - 1, place * 2);
            let right =
                if place * 2 + 1 < self.width(height - 1) { self.node(height - 1, place * 2 + 1) } else { left };
            double(&[left, right].concat())
        }
    }
    let bits = diff.merkle_flags.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
    let hashes = diff.merkle_hashes.iter().map(|hash| *hash.as_bytes()).collect();
    let mut walk = Walk { bits, hashes, total: diff.total_transactions as usize, matched: Vec::new() };
    let height = (0..).find(|height| walk.width(*height) <= 1).unwrap();
    let root = walk.node(height, 0);
    assert!(walk.hashes.is_empty() && walk.bits.len() < 8 && !walk.bits.contains(&true), "something is left over");
    assert_eq!(walk.matched, [(0, double(diff.coinbase.as_bytes()))], "the coinbase alone is shown");
    root
}

pub(crate) fn modifier(llmq_type: LlmqType, height: u32, hash: BlockHash, signature: Option<[u8; 96]>) -> [u8; 32] {
    match signature {
        Some(signature) => double(&[&[llmq_type.0], &height.to_le_bytes()[..], &signature].concat()),
        None => double(&[&[llmq_type.0], &hash.as_bytes()[..]].concat()),
    }
}

/// Highest score first. A score is a little-endian number.
pub(crate) fn sort(mut members: Vec<Member>, modifier: &[u8; 32]) -> Vec<Member> {
    members.retain(|(_, confirmed)| *confirmed != [0; 32]);
    let score = |(hash, confirmed): &Member| -> (u128, u128) {
        let score = single(&[&single(&[hash.as_bytes(), confirmed]), modifier]);
        let half = |at: usize| u128::from_le_bytes(score[at..at + 16].try_into().unwrap());
        (half(16), half(0))
    };
    members.sort_by_cached_key(score);
    members.reverse();
    members
}

fn valid(list: &List) -> Vec<Member> {
    let valid = list.values().filter(|entry| entry.is_valid);
    valid.map(|entry| (entry.pro_reg_tx_hash, *entry.confirmed_hash.as_bytes())).collect()
}

fn old_quarters(
    list: &List,
    modifier: &[u8; 32],
    snapshot: &QuorumSnapshot,
    count: usize,
    quarter: usize,
) -> Vec<Vec<Member>> {
    assert_eq!(snapshot.active_quorum_members.len(), list.len());
    let sorted = sort(valid(list), modifier);
    let is_used = |place: &usize| snapshot.active_quorum_members.get(*place).unwrap();
    let mut order: Vec<_> = (0..sorted.len()).filter(|place| !is_used(place)).collect();
    order.extend((0..sorted.len()).filter(is_used));
    let mut skips = Vec::new();
    match snapshot.skip_list_mode {
        SkipListMode::NoSkipping => assert!(snapshot.skip_list.is_empty()),
        SkipListMode::SkipFirst => {
            let mut first = 0;
            for skip in &snapshot.skip_list {
                skips.push((first + skip) as usize);
                if first == 0 {
                    first = *skip;
                }
            }
        }
        mode => panic!("{mode:?}"),
    }
    skips.reverse();
    let mut at = 0;
    let mut quarters = vec![Vec::new(); count];
    for members in &mut quarters {
        while members.len() < quarter {
            if skips.last() == Some(&at) {
                skips.pop();
            } else {
                members.push(sorted[order[at]]);
            }
            at = (at + 1) % order.len();
        }
    }
    quarters
}

fn new_quarters(
    list: &List,
    modifier: &[u8; 32],
    past: &[&Vec<Vec<Member>>],
    count: usize,
    quarter: usize,
    removed_count: bool,
) -> Vec<Vec<Member>> {
    let counts = |member: &Member| list.get(&member.0).map_or(removed_count, |entry| entry.is_valid);
    let mut own: Vec<HashSet<ProTxHash>> = vec![HashSet::new(); count];
    let mut used: BTreeMap<ProTxHash, Member> = BTreeMap::new();
    for quarters in past {
        for (index, members) in quarters.iter().enumerate() {
            for member in members.iter().filter(|member| counts(member)) {
                own[index].insert(member.0);
                used.insert(member.0, *member);
            }
        }
    }
    let unused = valid(list).into_iter().filter(|member| !used.contains_key(&member.0)).collect();
    let mut combined = sort(unused, modifier);
    combined.extend(sort(used.into_values().collect(), modifier));
    let mut at = 0;
    let mut quarters = vec![Vec::new(); count];
    for (members, own) in quarters.iter_mut().zip(&mut own) {
        let before = own.len();
        while members.len() < quarter && before + members.len() < combined.len() {
            let member = combined[at];
            if own.insert(member.0) {
                members.push(member);
            }
            at = (at + 1) % combined.len();
        }
    }
    quarters
}
