//! Plans for the lists of quorums that are not rotated: their answers chain, and mainnet's is what a client asked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lists.rs"]
mod lists;

use std::{collections::BTreeSet, fs, path::Path};

use lists::{List, Lists};
use qrinfo::plan::{MnListDiffPlanner, PlanError, Planner, member_list_height};
use qrinfo_core::{
    BlockHash, LlmqType, MnListDiffRequestSpec, Network, QuorumHash, Reply, Request, message::MnListDiff, wire::Wire,
};
use spv_testkit::{Chain, Recording, SyntheticChain, SyntheticParams, builder, chain::Place};

type ActiveQuorum = (LlmqType, QuorumHash);

fn recorded() -> Vec<Chain> {
    let shared = ["regtest", "regtest-churn", "regtest-v3"].map(|name| Recording::shared(name).unwrap());
    let recordings = [Some(Recording::bundled().unwrap())].into_iter().chain(shared).flatten();
    recordings.map(|recording| Chain::from_recording(&recording, |_| true).unwrap()).collect()
}

fn hash_at(chain: &Chain, height: u32) -> Option<BlockHash> {
    chain.block(height).map(|block| block.hash)
}

fn height_of(chain: &Chain, hash: BlockHash) -> Option<u32> {
    match chain.find(&hash)? {
        Place::Active(height) => Some(height),
        Place::Stale(_) => None,
    }
}

fn plan(chain: &Chain, known_lists: BTreeSet<u32>, quorums: Vec<ActiveQuorum>) -> Vec<MnListDiffRequestSpec> {
    let planner = MnListDiffPlanner { network: chain.network(), known_lists };
    planner.plan(quorums, |hash| height_of(chain, hash), |height| hash_at(chain, height)).unwrap()
}

fn active(chain: &Chain) -> Vec<ActiveQuorum> {
    chain.quorums().active_at(chain.tip()).into_keys().collect()
}

/// Builds the answers and applies them in the order of the plan; says which lists they lead to.
fn apply(chain: &Chain, plan: &[MnListDiffRequestSpec], lists: &mut Lists<'_>) {
    for spec in plan {
        let request = Request::from(spec.clone());
        let reply = builder::answer(chain, &request.to_message(), 70_237).unwrap().unwrap();
        request.check_reply(&reply).unwrap();
        let Reply::MnListDiff(diff) = reply else { panic!("another reply") };
        lists.apply(&diff);
    }
}

/// Every list from which an active quorum was drawn that is not rotated, by the chain's own record of heights.
fn wanted(chain: &Chain, quorums: &[ActiveQuorum]) -> BTreeSet<u32> {
    let plain = chain.quorums().iter().filter(|quorum| quorum.commitment.quorum_index.is_none());
    let plain = plain.filter(|quorum| quorums.contains(&(quorum.commitment.llmq_type, quorum.commitment.quorum_hash)));
    plain.map(|quorum| quorum.height - 8).collect()
}

#[test]
fn a_recorded_chains_quorums_lead_to_lists_that_chain() {
    for chain in recorded() {
        // More than are active at a time: all that the recording shows and whose list it can answer.
        let all: Vec<_> = chain.quorums().iter().map(|q| (q.commitment.llmq_type, q.commitment.quorum_hash)).collect();
        let answerable = |height: &u32| chain.block(*height).unwrap().body.is_some();
        let wanted = wanted(&chain, &all);
        let quorums: Vec<_> = all
            .into_iter()
            .filter(|(kind, hash)| {
                let start = height_of(&chain, BlockHash::from_bytes(*hash.as_bytes())).unwrap();
                *kind == LlmqType::LLMQ_TEST_DIP0024 || answerable(&(start - 8))
            })
            .collect();
        let plan = plan(&chain, BTreeSet::new(), quorums);
        assert!(plan.len() > if chain.tip() > 1000 { 30 } else { 5 }, "{}", plan.len());
        let mut lists = Lists::new(&chain, &BTreeSet::new());
        apply(&chain, &plan, &mut lists);
        assert_eq!((lists.from_genesis, lists.known_already), (1, 0));
        assert_eq!(lists.heights(), wanted.into_iter().filter(answerable).chain([0]).collect());
    }
}

/// On regtest the quorums start where the cycles do: a whole sync brings their lists.
#[test]
fn nothing_is_left_where_a_sync_brought_the_lists() {
    for chain in recorded() {
        let planner = Planner::new(chain.network(), chain.tip());
        let work_blocks = |cycle: u32| (0..=4).map(move |back| cycle - back * 24 - 8);
        let known: BTreeSet<_> = work_blocks(planner.network.cycles().start_of(chain.tip()).height()).collect();
        assert_eq!(plan(&chain, known, active(&chain)), []);
    }
}

/// After a whole sync of a chain with mainnet's types, some of whose DKGs failed.
#[test]
fn the_lists_between_those_that_a_sync_brought_are_filled_in() {
    let params =
        SyntheticParams { masternodes: 700, evo_share: 0.3, failed_dkgs: 0.1, ..SyntheticParams::mainnet_like(8) };
    let chain = &SyntheticChain::generate(1, &params).chain;
    let quorums: Vec<_> = active(chain).into_iter().filter(|(kind, _)| [2, 4, 5].contains(&kind.0)).collect();
    let known: BTreeSet<u32> = (1..=8).map(|cycle| cycle * 288 - 8).collect();
    // This chain is lower than mainnet was when it got v20, which a devnet has from the start on.
    let planner = MnListDiffPlanner { network: Network::DEVNET, known_lists: known.clone() };
    let plan = planner.plan(quorums.clone(), |hash| height_of(chain, hash), |height| hash_at(chain, height)).unwrap();

    let wanted = wanted(chain, &quorums);
    let mut lists = Lists::new(chain, &known);
    apply(chain, &plan, &mut lists);
    assert_eq!((lists.from_genesis, lists.known_already), (0, 0));
    assert_eq!(lists.heights(), wanted.iter().chain(&known).copied().chain([0]).collect());
    assert_eq!(plan.len(), wanted.difference(&known).count());
    assert!(plan.len() > 15, "{}", plan.len());
}

/// A client of mainnet fetched the lists of the ChainLock and Platform quorums; so does the plan.
#[test]
fn mainnets_plan_is_what_a_client_asked() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/mainnet");
    if !folder.is_dir() {
        eprintln!("{} is missing: the plan is not compared with mainnet's", folder.display());
        return;
    }
    let read = |from: u32, to: u32| {
        let bytes = fs::read(folder.join(format!("mainnet_mnlistdiff_{from}_{to}.bin"))).unwrap();
        MnListDiff::from_wire(bytes).unwrap()
    };
    let blocks: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("mainnet_blocks_2240504.json")).unwrap()).unwrap();
    let blocks: Vec<(u32, BlockHash)> = blocks["hashByHeight"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(height, hash)| (height.parse().unwrap(), hash.as_str().unwrap().parse().unwrap()))
        .collect();
    let height_of = |hash| blocks.iter().find(|block| block.1 == hash).map(|block| block.0);
    let hash_at = |height| blocks.iter().find(|block| block.0 == height).map(|block| block.1);

    let mut newest = List::default();
    newest.apply(&read(0, 2_227_096));
    newest.apply(&read(2_227_096, 2_240_504));
    let quorums: Vec<_> = newest.quorums().into_iter().filter(|(kind, _)| [2, 4, 5].contains(&kind.0)).collect();
    assert_eq!(quorums.len(), 4 + 24 + 32);

    let mut asked: Vec<(u32, u32)> = Vec::new();
    for file in fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(step) = name.strip_prefix("mainnet_mnlistdiff_").and_then(|name| name.strip_suffix(".bin")) else {
            continue;
        };
        let (from, to) = step.split_once('_').unwrap();
        asked.push((from.parse().unwrap(), to.parse().unwrap()));
    }
    asked.retain(|(from, _)| *from >= 2_239_480);
    asked.sort_unstable();

    let planner = MnListDiffPlanner { network: Network::Mainnet, known_lists: [2_227_096, 2_239_480].into() };
    let plan = planner.plan(quorums, height_of, hash_at).unwrap();
    let steps = plan.iter().map(|spec| (spec.base_block_hash, spec.block_hash));
    let steps: Vec<_> = steps.map(|(base, block)| (height_of(base).unwrap(), height_of(block).unwrap())).collect();
    assert_eq!(steps, asked);
}

/// Dash Core asks whether v20 is active behind the quorum's block.
#[test]
fn before_v20_the_list_is_that_of_the_quorums_own_block() {
    for (network, v20_height) in [(Network::Mainnet, 1_987_776), (Network::Testnet, 905_100)] {
        assert_eq!(member_list_height(network, v20_height - 2), v20_height - 2);
        assert_eq!(member_list_height(network, v20_height - 1), v20_height - 9);
    }
    assert_eq!(member_list_height(Network::Regtest, 24), 16);
    assert_eq!(member_list_height(Network::Regtest, 7), 0);
    assert_eq!(member_list_height(Network::Mainnet, u32::MAX), u32::MAX - 8);
}

#[test]
fn what_is_not_in_our_headers_is_named() {
    let chain = &recorded()[0];
    let planner = MnListDiffPlanner { network: chain.network(), known_lists: [1000].into() };
    let hash = |height| hash_at(chain, height);
    let quorum = (LlmqType(100), QuorumHash::from_bytes(*hash(1728).unwrap().as_bytes()));
    let plan = |quorum, missing| {
        planner.plan([quorum], |hash| height_of(chain, hash), |height| hash(height).filter(|_| height != missing))
    };
    let spec = MnListDiffRequestSpec { base_block_hash: hash(1000).unwrap(), block_hash: hash(1720).unwrap() };
    assert_eq!(plan(quorum, 0), Ok(vec![spec]));
    assert_eq!(plan(quorum, 1720), Err(PlanError::MissingHeader(1720)));
    assert_eq!(plan(quorum, 1000), Err(PlanError::MissingHeader(1000)));
    let unknown = (LlmqType(100), QuorumHash::ZERO);
    let error = PlanError::UnknownQuorum { llmq_type: LlmqType(100), quorum_hash: QuorumHash::ZERO };
    assert_eq!(plan(unknown, 0), Err(error));
    // Whose lists a `qrinfo` brings is not looked up.
    assert_eq!(plan((LlmqType::LLMQ_TEST_DIP0024, QuorumHash::ZERO), 0), Ok(vec![]));
}
