//! Any list and any snapshot give members or none, and what holds for every draw.

use std::collections::BTreeSet;

use proptest::prelude::*;
use qrinfo_core::{
    BlockHash, Hash256, LlmqParams, LlmqType, Network, ProTxHash,
    message::{NetInfo, QuorumSnapshot, SkipListMode, SmlEntry, SmlEntryKind},
};
use qrinfo_verify::{Deregistered, Modifier, Quarters, rotated_members, top_members};

/// Quorums of 8 members, three at a time.
const PARAMS: LlmqParams =
    LlmqParams { size: 8, min_size: 6, threshold: 4, active: 3, ..LlmqParams::LLMQ_DEVNET_DIP0024 };

fn entry(number: u16, address: u16, is_valid: bool, is_confirmed: bool) -> SmlEntry {
    let mut hash = [0; 32];
    hash[..2].copy_from_slice(&number.to_le_bytes());
    let mut key = [7; 48];
    key[..2].copy_from_slice(&number.to_be_bytes());
    SmlEntry {
        version: 2,
        pro_reg_tx_hash: ProTxHash::from_bytes(hash),
        confirmed_hash: Hash256::from_bytes([u8::from(is_confirmed); 32]),
        net_info: NetInfo::Service { ip: [1; 16], port: address },
        pub_key_operator: key,
        key_id_voting: [0; 20],
        is_valid,
        kind: SmlEntryKind::Regular,
    }
}

fn modifier(seed: u8) -> Modifier {
    Modifier::new(LlmqType::LLMQ_60_75, u32::from(seed), &BlockHash::from_bytes([seed; 32]), None)
}

fn numbered(count: u16) -> Vec<SmlEntry> {
    (0..count).map(|number| entry(number, number, true, true)).collect()
}

fn any_list() -> impl Strategy<Value = Vec<SmlEntry>> {
    let masternode = (0..60_u16, prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    prop::collection::btree_map(0..40_u16, masternode, 0..40).prop_map(|list| {
        list.into_iter().map(|(number, (address, valid, confirmed))| entry(number, address, valid, confirmed)).collect()
    })
}

fn own_addresses() -> impl Strategy<Value = Vec<SmlEntry>> {
    any_list().prop_map(|list| {
        let own = |masternode: SmlEntry| {
            let port = masternode.pub_key_operator[1].into();
            SmlEntry { net_info: NetInfo::Service { ip: [1; 16], port }, ..masternode }
        };
        list.into_iter().map(own).collect()
    })
}

fn any_snapshot() -> impl Strategy<Value = QuorumSnapshot> {
    let mode = prop::sample::select(vec![
        SkipListMode::NoSkipping,
        SkipListMode::SkipFirst,
        SkipListMode::SkipExcept,
        SkipListMode::SkipAll,
    ]);
    let skip = prop_oneof![0..45_i32, any::<i32>(), Just(i32::MIN), Just(i32::MAX)];
    let bits = prop::collection::vec(any::<bool>(), 0..60);
    (mode, bits, prop::collection::vec(skip, 0..30)).prop_map(|(skip_list_mode, bits, skip_list)| QuorumSnapshot {
        skip_list_mode,
        active_quorum_members: bits.into_iter().collect(),
        skip_list,
    })
}

fn hashes(members: &[&SmlEntry]) -> Vec<ProTxHash> {
    members.iter().map(|member| member.pro_reg_tx_hash).collect()
}

fn plain(used: &[bool]) -> QuorumSnapshot {
    QuorumSnapshot {
        skip_list_mode: SkipListMode::NoSkipping,
        active_quorum_members: used.iter().copied().collect(),
        skip_list: Vec::new(),
    }
}

proptest! {
    #[test]
    fn past_quarters_are_full_of_masternodes_that_can_be_drawn(list in any_list(), snapshot in any_snapshot(), seed: u8) {
        let quarters = Quarters::past(&PARAMS, &list, &modifier(seed), &snapshot);
        let drawable: BTreeSet<_> = list
            .iter()
            .filter(|entry| entry.is_valid && entry.confirmed_hash != Hash256::ZERO)
            .map(|entry| entry.pro_reg_tx_hash)
            .collect();
        let draws = matches!(snapshot.skip_list_mode, SkipListMode::NoSkipping | SkipListMode::SkipFirst);
        prop_assert_eq!(quarters.iter().len(), 3);
        for quarter in quarters.iter() {
            prop_assert_eq!(quarter.len(), if draws && !drawable.is_empty() { 2 } else { 0 });
            prop_assert!(hashes(quarter).iter().all(|hash| drawable.contains(hash)));
        }
    }

    /// Without takeovers of addresses: an entry that was crowded out of the used ones can be selected again.
    #[test]
    fn new_quarters_hold_no_member_of_the_quorum(
        lists in [own_addresses(), own_addresses(), own_addresses(), own_addresses()],
        snapshots in [any_snapshot(), any_snapshot(), any_snapshot()],
        seeds: [u8; 4],
        forgets: bool,
    ) {
        let [list, olds @ ..] = &lists;
        let [h_c, h_2c, h_3c] = [0, 1, 2].map(|at| {
            Quarters::past(&PARAMS, &olds[at], &modifier(seeds[at + 1]), &snapshots[at])
        });
        let past = [&h_c, &h_2c, &h_3c];
        let deregistered = if forgets { Deregistered::Forgotten } else { Deregistered::Used };
        let new = Quarters::new(&PARAMS, list, &modifier(seeds[0]), past, deregistered);
        let is_valid = |hash: &ProTxHash| list.iter().any(|entry| entry.pro_reg_tx_hash == *hash && entry.is_valid);
        let is_listed = |hash: &ProTxHash| list.iter().any(|entry| entry.pro_reg_tx_hash == *hash);
        let members = rotated_members(past, &new);
        for (index, quarter) in new.iter().enumerate() {
            let quarter = hashes(quarter);
            prop_assert!(quarter.len() <= 2);
            prop_assert!(quarter.iter().all(|hash| is_valid(hash) || !forgets && !is_listed(hash)));
            let before: Vec<_> = past.iter().flat_map(|quarters| hashes(quarters.get(index))).collect();
            prop_assert!(quarter.iter().all(|hash| !before.contains(hash)));
            prop_assert_eq!(quarter.iter().collect::<BTreeSet<_>>().len(), quarter.len());
            let oldest_first = [hashes(h_3c.get(index)), hashes(h_2c.get(index)), hashes(h_c.get(index)), quarter];
            prop_assert_eq!(hashes(&members[index]), oldest_first.concat());
        }
    }

    #[test]
    fn the_highest_scores_do_not_hang_on_the_order_of_the_list(list in any_list(), seed: u8) {
        let top = hashes(&top_members(&PARAMS, &list, &modifier(seed), false));
        let mut turned = list.clone();
        turned.reverse();
        prop_assert_eq!(&top, &hashes(&top_members(&PARAMS, &turned, &modifier(seed), false)));
        prop_assert!(top.len() <= 8);
        prop_assert!(top_members(&PARAMS, &list, &modifier(seed), true).is_empty());
    }

    #[test]
    fn addresses_that_wander_give_new_quarters_of_masternodes_that_are_valid(
        lists in [any_list(), any_list(), any_list(), any_list()],
        snapshots in [any_snapshot(), any_snapshot(), any_snapshot()],
        seeds: [u8; 4],
    ) {
        let [list, olds @ ..] = &lists;
        let past = [0, 1, 2].map(|at| {
            Quarters::past(&PARAMS, &olds[at], &modifier(seeds[at + 1]), &snapshots[at])
        });
        let new = Quarters::new(&PARAMS, list, &modifier(seeds[0]), past.each_ref(), Deregistered::Forgotten);
        for quarter in new.iter() {
            prop_assert!(quarter.len() <= 2);
            let is_valid = |hash: &ProTxHash| list.iter().any(|now| now.pro_reg_tx_hash == *hash && now.is_valid);
            prop_assert!(hashes(quarter).iter().all(is_valid));
        }
    }
}

#[test]
fn the_longest_skip_list_takes_no_longer_than_it_is() {
    let list = numbered(3000);
    let all_scored = modifier(1);
    for skip_list in [vec![0; 1 << 16], vec![i32::MAX; 1 << 16], vec![-1; 1 << 16], (0..1 << 16).collect()] {
        let snapshot = QuorumSnapshot { skip_list_mode: SkipListMode::SkipFirst, skip_list, ..plain(&[]) };
        let quarters = Quarters::past(&LlmqParams::LLMQ_60_75, &list, &all_scored, &snapshot);
        assert!(quarters.iter().all(|quarter| quarter.len() == 15));
    }
}

#[test]
fn skipped_positions_are_relative_to_the_first_that_is_not_0() {
    let list = numbered(20);
    let first_quarter = |skip_list: &[i32]| {
        let snapshot =
            QuorumSnapshot { skip_list_mode: SkipListMode::SkipFirst, skip_list: skip_list.to_vec(), ..plain(&[]) };
        hashes(Quarters::past(&PARAMS, &list, &modifier(1), &snapshot).get(0))
    };
    let sorted = hashes(&top_members(&LlmqParams { size: 20, ..PARAMS }, &list, &modifier(1), false));
    assert_eq!(first_quarter(&[]), [sorted[0], sorted[1]]);
    assert_eq!(first_quarter(&[0, 1, 1]), [sorted[3], sorted[4]]);
    assert_eq!(first_quarter(&[1, 1]), [sorted[0], sorted[3]]);
    assert_eq!(first_quarter(&[i32::MIN, i32::MIN]), [sorted[0], sorted[1]]);
}

#[test]
fn used_masternodes_come_behind_the_others() {
    let list = numbered(6);
    let sorted = hashes(&top_members(&PARAMS, &list, &modifier(3), false));
    let quarters = Quarters::past(&PARAMS, &list, &modifier(3), &plain(&[true, false, true]));
    let drawn: Vec<_> = quarters.iter().flat_map(hashes).collect();
    assert_eq!(drawn, [1, 3, 4, 5, 0, 2].map(|place| sorted[place]));
}

#[test]
fn before_v19_a_masternode_that_is_gone_still_counts_as_used() {
    // One quorum has had it in all three cycles, the other two may draw it.
    let old = numbered(1);
    let list: Vec<_> = numbered(4)[1..].to_vec();
    let past = Quarters::past(&LlmqParams { active: 1, ..PARAMS }, &old, &modifier(1), &plain(&[]));
    let draws_it = |deregistered| {
        let new = Quarters::new(&PARAMS, &list, &modifier(2), [&past; 3], deregistered);
        new.iter().flatten().any(|entry| entry.pro_reg_tx_hash == old[0].pro_reg_tx_hash)
    };
    assert!(draws_it(Deregistered::Used));
    assert!(!draws_it(Deregistered::Forgotten));
    let at = |network: Network, height| Deregistered::at(network, network.cycles().start_of(height));
    let forgets = |network, height| at(network, height) == Deregistered::Forgotten;
    assert!(!forgets(Network::Mainnet, 1_899_071) && forgets(Network::Mainnet, 1_899_072));
    assert!(forgets(Network::Testnet, 0) && forgets(Network::Regtest, 0));
}

/// A left its address and B took it. B was drawn one cycle ago and A, as it was then, two cycles ago: Dash Core's list
/// of used masternodes has no room for both.
#[test]
fn the_new_owner_of_an_address_crowds_out_the_former_one() {
    let alone = LlmqParams { active: 1, ..PARAMS };
    fn quarter(list: &[SmlEntry]) -> Quarters<'_> {
        Quarters::past(&LlmqParams { size: 4, active: 1, ..PARAMS }, list, &modifier(1), &plain(&[]))
    }
    let a_before = [entry(0, 100, true, true)];
    let b_now = [entry(1, 100, true, true)];
    let mut list = numbered(3);
    list[0] = entry(0, 101, true, true);
    list[1] = b_now[0].clone();
    let empty = quarter(&[]);
    let (drew_b, drew_a) = (quarter(&b_now), quarter(&a_before));
    let new = |past| Quarters::new(&alone, &list, &modifier(2), past, Deregistered::Forgotten);
    // A counts as unused and is drawn; were it used, only C could be.
    let drawn: BTreeSet<_> = hashes(new([&drew_b, &drew_a, &empty]).get(0)).into_iter().collect();
    assert_eq!(drawn, BTreeSet::from([list[0].pro_reg_tx_hash, list[2].pro_reg_tx_hash]));
    // With an address of its own it is not.
    let apart = [entry(0, 102, true, true)];
    let drew_a = quarter(&apart);
    let drawn: Vec<_> = hashes(new([&drew_b, &drew_a, &empty]).get(0));
    assert_eq!(drawn, [list[2].pro_reg_tx_hash]);
}

/// In a list of ours no two masternodes share an address. A peer's list may be anything until its root is checked.
#[test]
fn where_every_masternode_has_the_address_of_a_used_one_the_quarters_are_empty() {
    let params = LlmqParams { size: 4, active: 1, ..PARAMS };
    let used = [entry(0, 100, true, true)];
    let past = Quarters::past(&params, &used, &modifier(1), &plain(&[]));
    assert_eq!(past.get(0).len(), 1);
    let list = [entry(1, 100, true, true), entry(2, 100, true, true)];
    let new = Quarters::new(&params, &list, &modifier(2), [&past; 3], Deregistered::Used);
    assert!(new.iter().all(<[_]>::is_empty));
}

#[test]
fn too_few_masternodes_for_a_quarter_give_empty_quarters() {
    let empty = Quarters::past(&PARAMS, [], &modifier(1), &plain(&[]));
    let list = numbered(1);
    let new = Quarters::new(&PARAMS, &list, &modifier(1), [&empty; 3], Deregistered::Forgotten);
    assert!(new.iter().all(<[_]>::is_empty));
}
