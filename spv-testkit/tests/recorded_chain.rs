//! A chain learnt from some of a node's replies gives all its other replies, to the byte, and its refusals.

use std::{collections::BTreeMap, fs, path::Path};

use qrinfo_core::{
    BlockHash, Reply,
    message::{GetMnListDiff, GetQRInfo, MnListDiff, NetworkMessage},
    wire::Wire,
};
use serde_json::Value;
use spv_testkit::{
    Answer, Chain, Exchange, Recording,
    builder::{self, Refusal},
};

fn is_genesis_based(exchange: &Exchange) -> bool {
    matches!(exchange.note.as_str(), "genesis" | "genesis and anchor")
}

/// Answers every recorded request and counts replies and refusals.
fn replay(name: &str, recording: &Recording, chain: &Chain) -> (usize, usize) {
    let (mut replies, mut refusals) = (0, 0);
    for exchange in recording.exchanges() {
        let request = GetQRInfo::from_wire(exchange.request.clone()).unwrap();
        let built = builder::qr_info(chain, &request, exchange.protocol);
        let place = format!("{name}, exchange {} ({}, {})", exchange.id, exchange.protocol, exchange.note);
        match (&exchange.answer, built) {
            (Answer::Reply(recorded), Ok(built)) => {
                assert!(built.to_wire() == *recorded, "{place}: other bytes");
                replies += 1;
            }
            (Answer::Refused, Err(refusal)) => {
                check_reason(exchange, &request, refusal);
                refusals += 1;
            }
            (_, built) => panic!("{place}: {built:?}"),
        }
    }
    (replies, refusals)
}

fn check_reason(exchange: &Exchange, request: &GetQRInfo, refusal: Refusal) {
    let expected = match exchange.note.as_str() {
        "refused: unknown base" | "refused: all-zero base" => Refusal::UnknownBase(request.base_block_hashes[0]),
        "refused: unknown requested block" => Refusal::UnknownBlock(request.block_hash),
        // Snapshots are stored from 144 on; four cycles before the requested one are wanted.
        "genesis" => match exchange.height / 24 * 24 {
            24 | 48 | 72 => Refusal::NoAncestor(4),
            96 | 120 => Refusal::NoSnapshot(exchange.height / 24 * 24 - 24),
            cycle => Refusal::NoSnapshot(cycle - 24),
        },
        note => panic!("a refusal that was not expected: {note}"),
    };
    match (expected, refusal) {
        (Refusal::NoSnapshot(_), Refusal::NoSnapshot(cycle)) => assert!(cycle < 144, "{cycle}"),
        (expected, refusal) => assert_eq!(refusal, expected, "{}", exchange.id),
    }
}

#[test]
fn genesis_based_replies_lead_to_all_others() {
    for (name, counts) in [("regtest", (588, 24)), ("regtest-churn", (604, 24))] {
        let Some(recording) = Recording::shared(name).unwrap() else { continue };
        let chain = Chain::from_recording(&recording, is_genesis_based).unwrap();
        assert_eq!(replay(name, &recording, &chain), counts);
    }
}

#[test]
fn one_bundled_sync_leads_to_the_whole_bundle() {
    let recording = Recording::bundled().unwrap();
    for sync in recording.complete_syncs() {
        let chain = Chain::from_recording(&recording, |exchange| sync.ids.contains(&exchange.id)).unwrap();
        assert_eq!(replay(&sync.name, &recording, &chain), (192 - 1, 24));
    }
}

/// The members of rotated quorums as the node computed them (`quorum info`).
fn recorded_members(name: &str) -> Option<BTreeMap<(u32, usize), Vec<String>>> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name).join("quorums.json");
    let json: Value = serde_json::from_slice(&fs::read(shared).ok()?).unwrap();
    let quorums = json.as_object().unwrap().values().map(|quorum| {
        let height = quorum["height"].as_u64().unwrap() as u32;
        let index = quorum["quorumIndex"].as_u64().unwrap() as usize;
        let members = quorum["members"].as_array().unwrap().iter();
        ((height - height % 24, index), members.map(|m| m["proTxHash"].as_str().unwrap().to_owned()).collect())
    });
    Some(quorums.collect())
}

#[test]
fn members_are_drawn_as_the_node_draws_them() {
    for (name, count) in [("regtest", 52), ("regtest-churn", 45)] {
        let (Some(recording), Some(truth)) = (Recording::shared(name).unwrap(), recorded_members(name)) else {
            continue;
        };
        let chain = Chain::from_recording(&recording, is_genesis_based).unwrap();
        assert_eq!(truth.len(), count);
        for ((cycle, index), members) in truth {
            let drawn = chain.rotated_members(cycle).unwrap_or_else(|| panic!("{name}: no members at {cycle}"));
            let drawn: Vec<_> = drawn[index].iter().map(|entry| entry.pro_reg_tx_hash.to_string()).collect();
            assert_eq!(drawn, members, "{name}, cycle {cycle}, index {index}");
        }
    }
}
