//! Members are those that Dash Core drew: on two regtest chains, and in two cycles of mainnet.

use crate::support;
use std::collections::BTreeMap;

use crate::support::{Facts, json, shared_file};
use qrinfo_core::message::SmlEntry;
use qrinfo_verify::commitment_hash;
use serde_json::Value;

fn hashes(members: &[&SmlEntry]) -> Vec<String> {
    members.iter().map(|member| member.pro_reg_tx_hash.to_string()).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The node's own members, by the height of the quorum's block.
fn check_members(facts: &Facts, truth: &BTreeMap<u32, Vec<String>>, count: usize) {
    assert_eq!(truth.len(), count);
    let ours: BTreeMap<u32, Vec<String>> =
        facts.quorums().into_iter().map(|(height, _, members)| (height, hashes(&members))).collect();
    for (height, members) in truth {
        assert_eq!(ours.get(height), Some(members), "the quorum of block {height}");
    }
}

fn quorums_json(name: &str) -> Option<BTreeMap<u32, Vec<String>>> {
    let truth = json(&shared_file(&format!("{name}/quorums.json"))?);
    let member = |member: &Value| member["proTxHash"].as_str().unwrap().to_owned();
    let quorum = |quorum: &Value| {
        let members = quorum["members"].as_array().unwrap().iter().map(member).collect();
        (u32::try_from(quorum["height"].as_u64().unwrap()).unwrap(), members)
    };
    Some(truth.as_object().unwrap().values().map(quorum).collect())
}

#[test]
fn the_bundled_recording_leads_to_the_nodes_members() {
    let truth: Value =
        serde_json::from_str(include_str!("../../../spv-testkit/tests/data/regtest_members.json")).unwrap();
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let quorum = |quorum: &Value| (number(&quorum["cycle"]) + number(&quorum["index"]), texts(&quorum["members"]));
    check_members(&Facts::bundled(), &truth.as_array().unwrap().iter().map(quorum).collect(), 52);
}

#[test]
fn the_whole_recordings_lead_to_the_nodes_members() {
    for (name, count) in [("regtest", 52), ("regtest-churn", 45)] {
        let (Some(truth), Some(facts)) = (quorums_json(name), Facts::shared(name)) else { return };
        check_members(&facts, &truth, count);
    }
}

#[test]
fn mainnet_quorums_have_their_recorded_members_quarters_and_modifiers() {
    let (Some(facts), Some(truth)) = (Facts::mainnet(), shared_file("mainnet/truth.json")) else { return };
    let truth = json(&truth);
    let newest = truth["rotatedQuorums_lastCommitmentPerIndex"].as_object().unwrap().values().next().unwrap();
    for cycle in [newest, &truth["rotatedQuorums_previousCycle"]] {
        let start = u32::try_from(cycle["cycleBaseHeight"].as_u64().unwrap()).unwrap();
        let members = facts.rotated_members(start).unwrap();
        assert_eq!(cycle["quorums"].as_array().unwrap().len(), members.len());
        for (index, quorum) in cycle["quorums"].as_array().unwrap().iter().enumerate() {
            let height = start + u32::try_from(index).unwrap();
            assert_eq!(quorum["quorumHeight"], height);
            assert_eq!(hashes(&members[index]), texts(&quorum["members"]), "cycle {start}, index {index}");
            assert_eq!(quorum["commitmentHash"], commitment_hash(&facts.rotated[&height]).to_string());
        }
        for quarter in cycle["quarters"].as_array().unwrap() {
            let back = u32::try_from(quarter["cyclesBack"].as_u64().unwrap()).unwrap();
            let of_cycle = start - back * 288;
            let mut modifier = *facts.modifier(facts.network.rotated_llmq(), of_cycle).unwrap().as_bytes();
            modifier.reverse();
            assert_eq!(modifier, support::hex(quarter["quorumModifierDisplayHex"].as_str().unwrap()));
            if back == 0 {
                continue;
            }
            let quarters = facts.past(of_cycle).unwrap();
            let at = 15 * (3 - back as usize);
            for (index, quorum) in cycle["quorums"].as_array().unwrap().iter().enumerate() {
                assert_eq!(hashes(quarters.get(index)), texts(&quorum["members"])[at..at + 15]);
            }
        }
    }
}
