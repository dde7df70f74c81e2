//! A made-up chain is what a chain must be, by computations that share nothing with those that made it.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

mod verify;

use std::collections::BTreeSet;

use qrinfo_core::{
    Network,
    message::{GetMnListDiff, GetQRInfo, SkipListMode, SmlEntryKind},
    wire::Wire,
};
use spv_testkit::{Chain, Fork, SyntheticChain, SyntheticParams, builder};
use tokio::time::Instant;
use verify::Light;

const SEEDS: [u64; 4] = [1, 2, 3, 20_260_101];

fn devnet() -> SyntheticParams {
    SyntheticParams { network: Network::DEVNET, tip: 30 * 48 + 30, masternodes: 16, ..SyntheticParams::regtest() }
}

/// The lowest cycle that can be asked for.
fn first_cycle(chain: &Chain) -> u32 {
    let length = chain.network().cycles().length();
    (0..).map(|n| n * length).find(|start| chain.snapshot(*start).is_some()).unwrap() + 4 * length
}

/// The chained plan: from genesis to cycle `first`, and from there step by step to the tip. Counts the requests.
fn sync(chain: &Chain, first: u32, protocol: i32, light: &mut Light<'_>) -> usize {
    let cycles = chain.network().cycles();
    let length = cycles.length();
    let hash = |height: u32| chain.block(height).unwrap().hash;
    let mut count = 0;
    for start in (first..=chain.tip()).step_by(length as usize) {
        let known = (1..=7).rev().filter_map(|back| start.checked_sub(back * length));
        let known = known.filter(|at| start > first && *at >= first - 4 * length).map(|start| start - 8);
        let request = GetQRInfo {
            base_block_hashes: [0].into_iter().chain(known).map(hash).collect(),
            block_hash: hash(cycles.block_to_ask(cycles.start_of(start), chain.tip())),
            extra_share: true,
        };
        light.take(&builder::qr_info(chain, &request, protocol).unwrap());
        count += 1;
    }
    count
}

#[test]
fn whole_syncs_prove_every_root_and_member() {
    let mut modes = BTreeSet::new();
    let mut trailing = 0;
    for params in [SyntheticParams::regtest(), devnet()] {
        for seed in SEEDS {
            eprintln!("seed {seed}, {}", params.network);
            let synthetic = SyntheticChain::generate(seed, &params);
            for protocol in [70230, 70237] {
                let mut light = Light::new(&synthetic.chain);
                let chain = &synthetic.chain;
                let count = sync(chain, first_cycle(chain), protocol, &mut light);
                assert!(count > 20, "{count}");
                let members = light.members();
                assert!(members.len() > 30, "{}", members.len());
                for (quorum, members) in members {
                    let drawn = synthetic.members(params.network.rotated_llmq(), quorum).unwrap();
                    let drawn: Vec<_> = drawn.iter().map(|entry| entry.pro_reg_tx_hash).collect();
                    assert_eq!(drawn, members, "seed {seed}, quorum {quorum}");
                }
                modes.extend(light.snapshots.values().map(|snapshot| snapshot.skip_list_mode as u8));
                trailing += light.trailing;
            }
        }
    }
    assert_eq!(modes, BTreeSet::from([SkipListMode::NoSkipping as u8, SkipListMode::SkipFirst as u8]));
    assert!(trailing > 10, "only {trailing} trailing lists");
}

#[test]
fn masternodes_live_and_quorums_of_every_type_form() {
    for seed in SEEDS {
        eprintln!("seed {seed}");
        let synthetic = SyntheticChain::generate(seed, &SyntheticParams::regtest());
        let chain = &synthetic.chain;
        let mut seen = BTreeSet::new();
        for height in 1..chain.tip() {
            let change = chain.masternodes().change(height, height + 1);
            seen.extend((!change.deleted.is_empty()).then_some("removed"));
            for entry in change.updated {
                let Some(before) = chain.masternodes().get(entry.pro_reg_tx_hash, height) else {
                    seen.insert("registered");
                    continue;
                };
                let verb = match (before.is_valid, entry.is_valid) {
                    (true, false) => "banned",
                    (false, true) => "revived",
                    _ if before.confirmed_hash != entry.confirmed_hash => "confirmed",
                    _ => "updated",
                };
                seen.insert(verb);
                seen.insert(["", "version 1", "version 2", "version 3"][usize::from(entry.version)]);
            }
        }
        let all = ["removed", "registered", "banned", "revived", "confirmed", "updated", "version 2", "version 3"];
        assert!(all.iter().all(|kind| seen.contains(kind)), "seed {seed}: {seen:?}");
        assert!(chain.masternodes().at(1).any(|entry| entry.version == 1));

        let types: BTreeSet<u8> = chain.quorums().iter().map(|quorum| quorum.commitment.llmq_type.0).collect();
        assert_eq!(types, BTreeSet::from([100, 102, 103, 104, 106]), "seed {seed}");
        let versions: BTreeSet<u16> = chain.quorums().iter().map(|quorum| quorum.commitment.version).collect();
        assert!(BTreeSet::from([1, 3, 4]).is_subset(&versions), "seed {seed}: {versions:?}");
        for quorum in chain.quorums().iter() {
            let params = quorum.commitment.llmq_type.params().unwrap();
            let start = quorum.height - quorum.height % params.interval;
            assert!(params.mining_window(start).contains(&quorum.mined_height), "seed {seed}: {quorum:?}");
        }
    }
}

#[test]
fn quorums_that_are_not_rotated_have_the_highest_scores() {
    let params = SyntheticParams::regtest();
    let mut before_v20 = 0;
    for seed in SEEDS {
        eprintln!("seed {seed}");
        let synthetic = SyntheticChain::generate(seed, &params);
        let chain = &synthetic.chain;
        for quorum in chain.quorums().iter().filter(|quorum| quorum.commitment.quorum_index.is_none()) {
            let llmq_type = quorum.commitment.llmq_type;
            let is_v20 = quorum.height >= params.v20_height;
            let from = if is_v20 { quorum.height - 8 } else { quorum.height };
            let block = chain.block(from).unwrap();
            let pool = block.body.as_ref().unwrap().payload().unwrap().credit_pool.as_ref();
            let signature = pool.map(|pool| pool.best_cl_signature).filter(|_| is_v20);
            let modifier = verify::modifier(llmq_type, from, block.hash, signature.filter(|s| *s != [0; 96]));
            let only_evo = llmq_type.0 == 106 && quorum.height >= params.v19_height;
            let list = chain.masternodes().at(from).filter(|entry| entry.is_valid);
            let list = list.filter(|entry| !only_evo || matches!(entry.kind, SmlEntryKind::Evo { .. }));
            let list = list.map(|entry| (entry.pro_reg_tx_hash, *entry.confirmed_hash.as_bytes())).collect();
            let highest = verify::sort(list, &modifier);
            let size = usize::from(llmq_type.params().unwrap().size);
            let drawn = synthetic.members(llmq_type, quorum.commitment.quorum_hash).unwrap();
            let highest = highest.iter().take(size).map(|(hash, _)| *hash);
            assert!(drawn.iter().map(|entry| entry.pro_reg_tx_hash).eq(highest), "{quorum:?}");
            before_v20 += usize::from(!is_v20);
        }
    }
    assert!(before_v20 > 50, "{before_v20}");
}

#[test]
fn the_same_seed_gives_the_same_chain_and_a_fork_shares_its_start() {
    let params = SyntheticParams::regtest();
    let hashes = |synthetic: &SyntheticChain| -> Vec<_> {
        (0..=params.tip).map(|height| synthetic.chain.block(height).unwrap().hash).collect()
    };
    let one = SyntheticChain::generate(5, &params);
    assert_eq!(hashes(&one), hashes(&SyntheticChain::generate(5, &params)));
    assert_ne!(hashes(&one)[1], hashes(&SyntheticChain::generate(6, &params))[1]);
    let fork = SyntheticChain::generate_fork(5, &params, Fork { height: 700, seed: 9 });
    let shared = hashes(&one).iter().zip(&hashes(&fork)).take_while(|(a, b)| a == b).count();
    assert_eq!(shared, 701);
}

#[test]
fn a_mainnet_like_chain_weighs_what_mainnet_does() {
    let seed = 1;
    eprintln!("seed {seed}");
    let params = SyntheticParams::mainnet_like(56);
    let began = Instant::now();
    let synthetic = SyntheticChain::generate(seed, &params);
    eprintln!("built {} blocks in {:?}", params.tip, began.elapsed());
    let chain = &synthetic.chain;
    let work = |cycle: u32| chain.block(cycle * 288 - 8).unwrap().hash;
    let bytes = |base: u32, target: u32| {
        let request = GetMnListDiff { base_block_hash: work(base), block_hash: work(target) };
        builder::mn_list_diff(chain, &request).unwrap().to_wire().len() as f64
    };
    let one_cycle: Vec<_> = (13..56).map(|cycle| bytes(cycle, cycle + 1)).collect();
    let mean = one_cycle.iter().sum::<f64>() / one_cycle.len() as f64;
    eprintln!("one cycle: mean {mean}, {one_cycle:?}");
    assert!((mean / 19_163.0 - 1.0).abs() < 0.2, "{mean}");
    // 42 cycles are 12,096 blocks.
    let long: Vec<_> = (6..14).map(|cycle| bytes(cycle, cycle + 42)).collect();
    eprintln!("42 cycles: {long:?}");
    assert!(long.iter().all(|bytes| (bytes / 49_499.0 - 1.0).abs() < 0.2), "{long:?}");

    let mut light = Light::new(chain);
    assert_eq!(sync(chain, 50 * 288, 70237, &mut light), 7);
    let members = light.members();
    assert!(members.len() > 200, "{}", members.len());
    for (quorum, members) in members {
        let drawn = synthetic.members(params.network.rotated_llmq(), quorum).unwrap();
        assert!(drawn.iter().map(|entry| entry.pro_reg_tx_hash).eq(members), "quorum {quorum}");
    }

    // What the chained plan asks for, over and over.
    let request = GetQRInfo {
        base_block_hashes: (48..55).map(work).collect(),
        block_hash: chain.block(56 * 288 - 1).unwrap().hash,
        extra_share: true,
    };
    let began = Instant::now();
    let size = builder::qr_info(chain, &request, 70237).unwrap().to_wire().len();
    eprintln!("a reply of {size} bytes in {:?}", began.elapsed());
}
