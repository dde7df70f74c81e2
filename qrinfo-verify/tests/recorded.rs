//! What a node really answered is true, reply by reply and as whole syncs.

#![allow(clippy::unwrap_used)]

mod common;

use common::{headers, recordings, reply, request};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use qrinfo_core::BlockHash;
use qrinfo_verify::{Level, ListStage, Proof, Unproven, check};
use serde_json::Value;

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
        let expected = match name {
            "regtest" => 588,
            "regtest-churn" => 604,
            _ => 1,
        };
        assert!(count >= expected, "{name}: {count}");
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
