//! A plan that serves the newest cycle first, and plans of clients that hold lists already.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lists.rs"]
mod lists;

use std::collections::BTreeSet;

use lists::Lists;
use qrinfo::{
    PlannedRequest,
    plan::{PlanKind, Planner, anchor},
};
use qrinfo_core::{QRInfoRequestSpec, Reply, Request, RequestPriority, message::QRInfo, wire::Wire};
use spv_testkit::{Chain, Recording, builder};

const PROTOCOLS: [i32; 2] = [70_230, 70_237];
const FIRST_CYCLE: u32 = 240;

fn chains() -> Vec<Chain> {
    let shared = ["regtest", "regtest-churn", "regtest-v3"].map(|name| Recording::shared(name).unwrap());
    let recordings = [Some(Recording::bundled().unwrap())].into_iter().chain(shared).flatten();
    recordings.map(|recording| Chain::from_recording(&recording, |_| true).unwrap()).collect()
}

/// The lowest cycle that the chain's node answers.
fn first_cycle(chain: &Chain) -> u32 {
    let length = chain.network().cycles().length();
    (FIRST_CYCLE..).step_by(length as usize).find(|cycle| chain.snapshot(cycle - 4 * length).is_some()).unwrap()
}

fn planners(chain: &Chain, known_lists: &BTreeSet<u32>) -> Vec<Planner> {
    let mut planners = Vec::new();
    for kind in [PlanKind::Chained, PlanKind::FiveStep] {
        for anchor in [None, anchor([chain.tip()])] {
            for extra_share in [true, false] {
                let known_lists = known_lists.clone();
                let planner = Planner::new(chain.network(), chain.tip());
                planners.push(Planner { kind, anchor, extra_share, known_lists, ..planner });
            }
        }
    }
    planners
}

fn newest_first(planner: &Planner, chain: &Chain, first: u32) -> Vec<(QRInfoRequestSpec, RequestPriority)> {
    planner.plan_newest_first(first, chain.tip(), |height| chain.block(height).map(|block| block.hash)).unwrap()
}

fn answer(chain: &Chain, spec: &QRInfoRequestSpec, protocol: i32) -> QRInfo {
    let request = Request::from(spec.clone());
    let reply = builder::answer(chain, &request.to_message(), protocol).unwrap().unwrap();
    request.check_reply(&reply).unwrap();
    let Reply::QrInfo(reply) = reply else { panic!("another reply") };
    *reply
}

#[test]
fn the_newest_reply_stands_on_its_own_and_history_joins_it() {
    for chain in chains() {
        let (length, first) = (chain.network().cycles().length(), first_cycle(&chain));
        for planner in planners(&chain, &BTreeSet::new()) {
            let plan = newest_first(&planner, &chain, first);
            for protocol in PROTOCOLS {
                let mut lists = Lists::new(&chain, &BTreeSet::new());
                let newest = chain.network().cycles().start_of(chain.tip()).height();
                lists.take(&answer(&chain, &plan[0].0, protocol));
                let brought = if planner.extra_share { 4 } else { 3 };
                let work_blocks: BTreeSet<_> = (0..=brought).map(|back| newest - back * length - 8).collect();
                assert!(lists.heights().is_superset(&work_blocks));
                assert!(lists.heights().contains(&chain.tip()), "the current quorums");

                for (spec, _) in &plan[1..] {
                    lists.take(&answer(&chain, spec, protocol));
                }
                let all = (first - brought * length..=newest).step_by(length as usize).map(|cycle| cycle - 8);
                assert!(lists.heights().is_superset(&all.collect()));
            }
        }
    }
}

/// A full list comes for the newest cycle and for the first of its history.
#[test]
fn no_later_reply_starts_from_nothing() {
    for chain in chains() {
        let planner = Planner { anchor: anchor([chain.tip()]), ..Planner::new(chain.network(), chain.tip()) };
        let plan = newest_first(&planner, &chain, first_cycle(&chain));
        let mut lists = Lists::new(&chain, &BTreeSet::new());
        for (spec, _) in &plan {
            lists.take(&answer(&chain, spec, 70_237));
        }
        assert_eq!(lists.from_genesis, 2);
    }
}

/// Lists that the first request brought come back as empty diffs where the history reaches them.
#[test]
fn the_step_to_the_newest_lists_is_the_last_that_is_made() {
    for chain in chains() {
        for planner in planners(&chain, &BTreeSet::new()) {
            let plan = newest_first(&planner, &chain, first_cycle(&chain));
            let brought = if planner.extra_share { 5 } else { 4 };
            let brought = &plan[0].0.work_block_hashes[..brought];
            for protocol in PROTOCOLS {
                let replies = plan[1..].iter().map(|(spec, _)| answer(&chain, spec, protocol));
                let diffs: Vec<_> = replies.flat_map(|reply| reply.diffs().cloned().collect::<Vec<_>>()).collect();
                let again: Vec<_> = diffs.iter().filter(|diff| brought.contains(&diff.block_hash)).collect();
                assert!(again.len() >= 6, "{}", again.len());
                assert!(again.iter().all(|diff| diff.base_block_hash == diff.block_hash));
            }
        }
    }
}

#[test]
fn places_and_priorities_say_the_order() {
    let chain = &chains()[0];
    let planner = Planner::new(chain.network(), chain.tip());
    let plan = newest_first(&planner, chain, FIRST_CYCLE);
    assert_eq!(plan[0].1, RequestPriority::Critical);
    assert!(plan[1..].iter().all(|(_, priority)| *priority == RequestPriority::Normal));
    let cycles: Vec<_> = plan.iter().map(|(spec, _)| spec.cycle.height()).collect();
    let newest = chain.network().cycles().start_of(chain.tip()).height();
    assert_eq!(cycles[0], newest);
    assert!(cycles[1..].iter().copied().eq((FIRST_CYCLE..newest).step_by(24)));

    let planned = PlannedRequest::from(plan[0].clone());
    assert_eq!((planned.request, planned.priority), (plan[0].0.clone().into(), RequestPriority::Critical));

    let alone = newest_first(&planner, chain, newest);
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0], plan[0]);
}

/// The newest cycle gets no anchor, its history does.
#[test]
fn the_newest_request_is_that_of_a_plan_for_its_cycle_alone() {
    let chain = &chains()[0];
    let hash = |height| chain.block(height).map(|block| block.hash);
    for planner in planners(chain, &[1000, 1130, 1144, 1760].into()) {
        let plan = newest_first(&planner, chain, FIRST_CYCLE);
        assert_eq!(vec![plan[0].0.clone()], planner.plan(chain.tip(), chain.tip(), hash).unwrap());
        let anchor = planner.anchor.and_then(hash);
        assert!(!plan[0].0.base_block_hashes.contains(&anchor.unwrap_or_default()));
        assert_eq!(anchor.is_some_and(|anchor| plan[1].0.base_block_hashes.contains(&anchor)), anchor.is_some());
    }
}

/// A list that the client holds comes as an empty diff, and only such lists are bases.
#[test]
fn replies_bring_only_what_is_missing() {
    let chain = &chains()[0];
    let tip = chain.tip();
    let known = [232, 400, 424, 1000, 1130, 1144, 1168, 1500, 1744, 1764].into();
    for planner in planners(chain, &known) {
        for protocol in PROTOCOLS {
            let plan = planner.plan(480, tip, |height| chain.block(height).map(|block| block.hash)).unwrap();
            let mut lists = Lists::new(chain, &known);
            let mut bytes = 0;
            for spec in &plan {
                let reply = answer(chain, spec, protocol);
                bytes += reply.to_wire().len();
                lists.take(&reply);
            }
            assert_eq!(lists.from_genesis, 0);

            let knows_nothing = Planner { known_lists: BTreeSet::new(), ..planner.clone() };
            let plan = knows_nothing.plan(480, tip, |height| chain.block(height).map(|block| block.hash)).unwrap();
            let without: usize = plan.iter().map(|spec| answer(chain, spec, protocol).to_wire().len()).sum();
            assert!(bytes < without, "{bytes} of {without}");
        }
    }
}

/// A wallet that was closed for some blocks asks for them, and for nothing else.
#[test]
fn a_client_that_was_here_a_few_blocks_ago_asks_for_little() {
    let chain = &chains()[0];
    let hash = |height| chain.block(height).map(|block| block.hash);
    // The work blocks of the newest cycle and the four before, and the tip of the last visit.
    let known_lists: BTreeSet<u32> = [1648, 1672, 1696, 1720, 1744, 1764].into();
    let planner = Planner { known_lists: known_lists.clone(), ..Planner::new(chain.network(), chain.tip()) };
    let [spec] = &*planner.plan(chain.tip(), chain.tip(), hash).unwrap() else { panic!("one request") };
    for protocol in PROTOCOLS {
        let reply = answer(chain, spec, protocol);
        assert_eq!(reply.mn_list_diff_tip.base_block_hash, hash(1764).unwrap());
        for diff in reply.diffs().take(5) {
            assert_eq!(diff.base_block_hash, diff.block_hash);
            assert!(diff.new_masternodes.is_empty() && diff.new_quorums.is_empty());
        }
        let mut lists = Lists::new(chain, &known_lists);
        lists.take(&reply);
        assert_eq!(lists.known_already, 5);
    }
}
