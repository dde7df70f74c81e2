//! What a node really answered is true, reply by reply and as whole syncs.

#![allow(clippy::unwrap_used)]

mod common;

use common::{expected_replies, headers, recordings, reply, request};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use qrinfo_core::{
    BlockHash, Hash256, MnListDiffRequestSpec, Network, Request,
    message::{Coinbase, CoinbasePayload, MnListDiff, PROTOCOL_VERSION},
};
use qrinfo_verify::{Level, ListStage, Lists, Proof, Unproven, check};
use serde_json::Value;
use spv_testkit::{Chain, builder};

#[test]
fn every_recorded_reply_is_true_by_its_headers() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let mut count = 0;
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let checked = check(&request(&recording, exchange), &reply, |hash| headers.find(hash));
            let checked = checked.unwrap_or_else(|error| panic!("{name} {}: {error:?}", exchange.id));
            assert!(!checked.tip_is_unknown());
            assert!(checked.diffs().is_sorted_by_key(|diff| diff.height));
            count += 1;
        }
        assert!(count >= expected_replies(name), "{name}: {count}");
    }
}

/// The members that the node itself names, by the hash of the quorum.
fn node_members(name: &str) -> BTreeMap<String, Vec<String>> {
    let path = format!("{}/../../shared/vectors/{name}/quorums.json", env!("CARGO_MANIFEST_DIR"));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{path}: {error}: members are not compared with the node's");
            return BTreeMap::new();
        }
    };
    let quorums: Value = serde_json::from_slice(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members =
        |quorum: &Value| quorum["members"].as_array().unwrap().iter().map(|m| text(&m["proTxHash"])).collect();
    quorums.as_object().unwrap().values().map(|quorum| (text(&quorum["quorumHash"]), members(quorum))).collect()
}

#[test]
fn complete_syncs_at_full_verify_every_rotated_quorum_with_the_nodes_members() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let truth = node_members(name);
        let mut compared = BTreeSet::new();
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Full);
            let cycles = recording.network().cycles();
            let first = recording.exchanges_of(sync).map(|exchange| cycles.start(exchange.height)).min().unwrap();
            for exchange in recording.exchanges_of(sync) {
                let reply = reply(exchange).unwrap();
                let verified = stage.take(&request(&recording, exchange), &reply, |hash| headers.find(hash));
                let verified =
                    verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
                let rotated = recording.network().rotated_llmq();
                for quorum in verified.quorums.iter().filter(|quorum| quorum.commitment.llmq_type == rotated) {
                    let Some(truth) = truth.get(&quorum.commitment.quorum_hash.to_string()) else { continue };
                    if quorum.proof.members_sig == Proof::Verified {
                        let members: Vec<_> = quorum.members.iter().map(ToString::to_string).collect();
                        assert_eq!(members, *truth);
                        compared.insert(quorum.commitment.quorum_hash);
                    }
                }
                let is_commitments = |unproven: &&Unproven| matches!(unproven, Unproven::Commitments(_));
                assert_eq!(verified.unproven.iter().find(is_commitments), None, "{name} {}", exchange.id);
                // Quorums of cycles before the first come without the snapshots that their members hang on.
                for quorum in verified.quorums.iter().filter(|quorum| quorum.proof.members_sig != Proof::Verified) {
                    let block = BlockHash::from_bytes(*quorum.commitment.quorum_hash.as_bytes());
                    let height = headers.find(&block).unwrap().height;
                    let why = quorum.proof.members_sig;
                    assert!(height < first, "{name} {} {}: {height}, {why:?}", sync.name, exchange.id);
                }
            }
        }
        assert_eq!(compared.len(), truth.len(), "{name}");
        eprintln!("{name}: the members of {} quorums are the node's", compared.len());
    }
}

#[test]
fn complete_syncs_lead_to_proven_lists() {
    let mut syncs = 0;
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            for exchange in recording.exchanges_of(sync) {
                let reply = reply(exchange).unwrap();
                let verified = stage.take(&request(&recording, exchange), &reply, |hash| headers.find(hash));
                let verified =
                    verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
                let is_newest = exchange.height == recording.tip();
                assert_eq!(verified.unproven.contains(&Unproven::TipDiff), !is_newest, "{name} {}", exchange.id);
                assert_eq!(verified.tip.is_some(), is_newest);
                // Genesis, and the work blocks of H to H-6C.
                let kept: Vec<_> = stage.kept().collect();
                assert!(kept.len() <= 1 + 7 + usize::from(is_newest), "{kept:?}");
            }
            syncs += 1;
        }
    }
    eprintln!("{syncs} syncs");
}

/// Also those that belong to no sync: the lists at their bases are brought by `mnlistdiff` from genesis, and proven by
/// their roots as well. Two kinds of base have no recorded coinbase: anchors, from which only tip diffs start, and blocks
/// from before the first masternode, whose lists are empty.
#[test]
fn every_recorded_reply_passes_at_roots() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        let find = |hash: &BlockHash| headers.find(hash);
        let first = (0..).find(|height| chain.masternodes().at(*height).next().is_some()).unwrap();
        let lists_at = |height| {
            let block_hash = recording.block_hash(height).unwrap();
            let request = Request::from(MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash });
            let Ok(diff) = builder::answer(&chain, &request.to_message(), PROTOCOL_VERSION).unwrap() else {
                return (height < first).then(|| empty(recording.network(), height, block_hash));
            };
            ListStage::new(recording.network(), Level::Roots).take(&request, &diff, find).unwrap().lists
        };
        let mut bases = BTreeMap::new();
        let mut replies = 0;
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            let mut has_anchor = false;
            for height in exchange.base_heights.iter().copied().filter(|height| *height > 0) {
                match bases.entry(height).or_insert_with(|| lists_at(height)) {
                    Some(lists) => stage.hold(lists.clone()),
                    None => has_anchor = true,
                }
            }
            let verified = stage.take(&request(&recording, exchange), &reply, find);
            let verified = verified.unwrap_or_else(|error| panic!("{name} {}: {error:?}", exchange.id));
            assert!(has_anchor || verified.tip.is_some(), "{name} {}", exchange.id);
            replies += 1;
        }
        assert!(replies >= expected_replies(name), "{name}: {replies}");
    }
}

/// The lists at a block from before the first masternode.
fn empty(network: Network, height: u32, block_hash: BlockHash) -> Lists {
    let payload = CoinbasePayload {
        version: 1,
        height: i32::try_from(height).unwrap(),
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: None,
        credit_pool: None,
    };
    let diff = MnListDiff {
        version: 1,
        base_block_hash: BlockHash::ZERO,
        block_hash,
        total_transactions: 1,
        merkle_hashes: Default::default(),
        merkle_flags: Default::default(),
        coinbase: Coinbase::new(payload),
        deleted_masternodes: Default::default(),
        new_masternodes: Default::default(),
        deleted_quorums: Default::default(),
        new_quorums: Default::default(),
        quorums_cl_sigs: Default::default(),
    };
    Lists::at_genesis(network).apply(&diff).unwrap()
}
