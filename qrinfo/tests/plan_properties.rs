//! Properties of every plan, for any known lists.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use proptest::{collection::btree_set, prelude::*, sample::select};
use qrinfo::plan::{MnListDiffPlanner, PlanKind, Planner, member_list_height};
use qrinfo_core::{BlockHash, LlmqParams, LlmqType, MnListDiffRequestSpec, Network, QRInfoRequestSpec, QuorumHash};

const TIP: u32 = 2_300;

/// The bound that newer servers set.
const MAX_BASES: usize = 10;

fn hash(height: u32) -> BlockHash {
    let mut bytes = [0x77; 32];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

fn height(hash: &BlockHash) -> u32 {
    match *hash == Network::Regtest.genesis_hash() {
        true => 0,
        false => u32::from_le_bytes(*hash.as_bytes().first_chunk().unwrap()),
    }
}

fn heights(hashes: &[BlockHash]) -> Vec<u32> {
    hashes.iter().map(height).collect()
}

prop_compose! {
    fn planners()(
        tip in 200..TIP,
        known_lists in prop_oneof![btree_set(0..TIP + 100, 0..6), btree_set(0..TIP + 100, 0..400)],
        // Lists of work blocks are what a client holds most of.
        work_blocks in btree_set(0..TIP / 24, 0..40),
        anchor in proptest::option::of(0..TIP),
        kind in select(vec![PlanKind::Chained, PlanKind::FiveStep]),
        extra_share: bool,
    ) -> Planner {
        let work_blocks = work_blocks.into_iter().map(|cycle| cycle * 24 + 16);
        let known_lists = known_lists.into_iter().chain(work_blocks).collect();
        let anchor = anchor.filter(|anchor| *anchor <= tip);
        Planner { known_lists, anchor, kind, extra_share, ..Planner::new(Network::Regtest, tip) }
    }
}

/// Checks that each base is available when the reply is applied: known, brought by an earlier reply, genesis, or the
/// anchor, from which only a discarded diff starts.
fn check_qr_infos<'a>(planner: &Planner, plan: impl IntoIterator<Item = &'a QRInfoRequestSpec>) {
    let brings = if planner.extra_share { 5 } else { 4 };
    let mut held = planner.known_lists.clone();
    held.insert(0);
    for spec in plan {
        let bases = heights(&spec.base_block_hashes);
        assert!(bases.is_sorted_by(|a, b| a < b), "sorted and unique: {bases:?}");
        assert!((1..=MAX_BASES).contains(&bases.len()), "{bases:?}");
        assert!(bases.iter().all(|base| *base <= planner.tip));
        let work_blocks = heights(&spec.work_block_hashes);
        let is_newest = spec.cycle == planner.network.cycles().start_of(planner.tip);
        for base in &bases {
            let is_anchor = !is_newest && Some(*base) == planner.anchor && *base > work_blocks[0];
            assert!(is_anchor || held.contains(base), "{base} of {bases:?}");
        }
        // Of what is known, nothing nearer to a list that comes is left out.
        for work_block in &work_blocks[..brings] {
            let known = planner.known_lists.range(..=*work_block).next_back().copied().unwrap_or(0);
            assert!(bases.iter().any(|base| (known..=*work_block).contains(base)), "{work_block} in {bases:?}");
        }
        held.extend(&work_blocks[..brings]);
    }
}

proptest! {
    #[test]
    fn bases_are_there_when_a_reply_is_applied(planner in planners(), first in 120..TIP, last in 120..TIP) {
        if let Ok(plan) = planner.plan(first, last, |height| Some(hash(height))) {
            check_qr_infos(&planner, &plan);
            let cycles = plan.iter().map(|spec| spec.cycle.height());
            prop_assert!(cycles.eq((first - first % 24..=last).step_by(24)));
        }
    }

    #[test]
    fn and_when_the_newest_goes_first(planner in planners(), first in 120..TIP, last in 120..TIP) {
        let in_order = planner.plan(first, last, |height| Some(hash(height)));
        let plan = planner.plan_newest_first(first, last, |height| Some(hash(height)));
        prop_assert_eq!(plan.as_ref().err(), in_order.as_ref().err());
        if let (Ok(plan), Ok(in_order)) = (plan, in_order) {
            check_qr_infos(&planner, plan.iter().map(|(spec, _)| spec));
            let of = |spec: &QRInfoRequestSpec| (spec.cycle.height(), spec.block_hash, spec.work_block_hashes);
            let mut same: Vec<_> = plan.iter().map(|(spec, _)| of(spec)).collect();
            same.rotate_left(1);
            prop_assert_eq!(same, in_order.iter().map(of).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_list_comes_once_from_the_one_below(
        known_lists in btree_set(0..TIP, 0..60),
        quorums in proptest::collection::vec((select(LlmqParams::ALL.to_vec()), 0..TIP / 24), 0..60)
            .prop_map(|quorums| quorums.into_iter().map(|(params, dkg)| (params, dkg * 24)).collect::<Vec<_>>())
            .prop_flat_map(|quorums| (Just(quorums.clone()), Just(quorums).prop_shuffle())),
    ) {
        let (quorums, shuffled) = quorums;
        let planner = MnListDiffPlanner { network: Network::Regtest, known_lists };
        let plan = |quorums: &[(LlmqParams, u32)]| {
            let quorums = quorums.iter().map(|(params, block)| {
                (params.llmq_type, QuorumHash::from_bytes(*hash(*block).as_bytes()))
            });
            planner.plan(quorums, |hash| Some(height(&hash)), |height| Some(hash(height))).unwrap()
        };
        let steps = plan(&quorums);
        prop_assert_eq!(&steps, &plan(&shuffled));

        let mut held = planner.known_lists.clone();
        held.insert(0);
        for MnListDiffRequestSpec { base_block_hash, block_hash } in &steps {
            let target = height(block_hash);
            prop_assert_eq!(held.range(..target).next_back(), Some(&height(base_block_hash)));
            prop_assert!(held.insert(target), "nothing twice, and nothing known");
        }
        prop_assert!(steps.is_sorted_by_key(|spec| height(&spec.block_hash)));

        let plain = quorums.iter().filter(|(params, _)| !params.rotated);
        let wanted: BTreeSet<_> = plain.map(|(_, block)| member_list_height(Network::Regtest, *block)).collect();
        prop_assert!(held.is_superset(&wanted));
        let asked: BTreeSet<_> = steps.iter().map(|spec| height(&spec.block_hash)).collect();
        prop_assert!(asked.is_subset(&wanted));
    }

    #[test]
    fn quorums_of_an_unknown_type_are_planned_for(llmq_type in 108..=u8::MAX) {
        let planner = MnListDiffPlanner { network: Network::Regtest, known_lists: BTreeSet::new() };
        let quorum = (LlmqType(llmq_type), QuorumHash::from_bytes(*hash(48).as_bytes()));
        let plan = planner.plan([quorum], |hash| Some(height(&hash)), |height| Some(hash(height))).unwrap();
        let genesis = Network::Regtest.genesis_hash();
        prop_assert_eq!(plan, [MnListDiffRequestSpec { base_block_hash: genesis, block_hash: hash(40) }]);
    }
}
